import math
from dataclasses import replace

from ragtune_lib.judges.verdict_view import pick_examples, question_card, reading, readings, score_table
from ragtune_lib.records import Answer, Question, Verdict, WinRate


def rate(value, low, high, n=10, ties=0, invalid=0):
    return WinRate("rag_tuned", "vanilla_rag", "local", "overall", "reference", value, low, high, n, ties, invalid)


def verdict(number, winner, baseline="vanilla_rag", value=1.0, criterion="overall"):
    return Verdict(f"q{number}", "local", criterion, "rag_tuned", baseline, winner, value, value, "reference")


def test_a_reading_says_plainly_whether_the_interval_lies_above_a_half():
    assert "lies above 0.5" in reading(rate(0.8, 0.6, 0.9))
    assert "does **not** lie above 0.5" in reading(rate(0.6, 0.5, 0.8))
    assert "it loses" in reading(rate(0.2, 0.1, 0.4))


def test_a_reading_carries_its_counts():
    text = reading(rate(0.7, 0.5, 0.9, n=10, ties=2, invalid=3))
    assert "0.70 [0.50, 0.90] (6 won, 2 tied, 2 lost, n=10" in text
    assert "3 could not be judged" in text
    assert "nothing to compare" in reading(rate(math.nan, math.nan, math.nan, n=0))


def test_readings_name_what_is_missing():
    assert "No verdicts" in readings([], "rag_tuned")
    assert readings([rate(0.8, 0.6, 0.9)] * 2, "rag_tuned").count("\n") == 1


def test_examples_are_one_win_one_loss_and_one_telling_tie():
    found = [
        verdict(0, "a", criterion="facts"), verdict(1, "tie", value=0.0), verdict(2, "a", "base"), verdict(3, "b"),
        verdict(4, "tie"), verdict(5, "a"),
    ]  # fmt: skip
    assert [one.question_id for one in pick_examples(found, "rag_tuned")] == ["q5", "q3", "q4"]
    assert [one.winner for one in pick_examples(found[:2], "rag_tuned")] == ["tie"]
    assert pick_examples(found, "base") == []


def test_a_card_escapes_questions_and_answers_and_names_the_winner():
    bad = "<script>alert(1)</script>"
    question = Question("q1", "local", bad, bad, ((bad,),), ())
    answers = {("q1", "rag_tuned"): Answer("q1", "rag_tuned", bad, (), 1, 1, 0.1)}
    card = question_card(verdict(1, "a"), {"q1": question}, answers)
    assert "<script" not in card
    assert card.count("&lt;script&gt;") == 4
    assert "RAG-tuned (memory only) wins" in card
    assert "no answer" in card  # VanillaRAG said nothing


def test_the_score_table_has_one_row_for_each_system_and_scope():
    rows = [
        {"system": "base", "scope": scope, "metric": metric, "value": 0.5, "n": 4, "low": 0.25, "high": 0.75}
        for scope in ("local", "all")
        for metric in ("f1", "em")
    ]
    cell = "0.50 [0.25, 0.75] n=4"
    assert score_table(rows)[0] == {"system": "base", "scope": "local", "f1": cell, "em": cell}
    assert len(score_table(rows)) == 2


def test_several_judges_have_lists_and_examples_of_their_own():
    other = replace(rate(0.2, 0.1, 0.3), judge="m <b>")
    text = readings([rate(0.8, 0.6, 0.9), other], "rag_tuned")
    first, second = text.split("Judge: m &lt;b&gt;")
    assert "win rate 0.80" in first and "win rate 0.20" not in first
    assert "win rate 0.20" in second
    found = [verdict(1, "a"), replace(verdict(2, "a"), judge="m"), replace(verdict(3, "b"), judge="m")]
    assert [one.question_id for one in pick_examples(found, "rag_tuned")] == ["q1"]
    assert [one.question_id for one in pick_examples(found, "rag_tuned", "m")] == ["q2", "q3"]
