"""What a judge model's verdicts show, in one place; and nothing where none was asked."""

import pytest

from ragtune_lib.judges.llm_judge import GRAPHRAG, PAPER, Judged, verdicts
from ragtune_lib.judges.summary import NOBODY, chosen_rubrics, judged_pairs, summarize
from ragtune_lib.records import Answer, JudgeCall, Verdict

PAIR = ("rag_tuned", "base")


def call(question, order, winner, judge="m (paper)"):
    replicate = 0 if order == "ab" else 1
    return JudgeCall(question, "local", "insight", *PAIR, order, replicate, winner, "because", 3, 3, judge)


def by(judge, winners):
    values = {"a": 1.0, "tie": 0.5, "b": 0.0}
    return [
        Verdict(f"q{at}", "local", "overall", *PAIR, winner, values[winner], 1 - values[winner], judge)
        for at, winner in enumerate(winners)
    ]


def test_rubrics_are_named_in_a_parameter():
    assert chosen_rubrics("paper") == (PAPER,)
    assert chosen_rubrics("graphrag, paper graphrag") == (GRAPHRAG, PAPER)
    for names in ("papper", ""):
        with pytest.raises(ValueError, match="choose of paper, graphrag"):
            chosen_rubrics(names)


def test_the_charted_system_comes_first_and_its_pairs_alone_are_judged():
    pairs = [("rag_tuned", "base"), ("rag_tuned", "vanilla_rag"), ("vanilla_rag", "base")]
    assert judged_pairs(pairs, "base") == [("base", "rag_tuned"), ("base", "vanilla_rag")]
    every = judged_pairs(pairs, "base", True)
    assert every == [("base", "rag_tuned"), ("rag_tuned", "vanilla_rag"), ("base", "vanilla_rag")]


def test_without_a_judge_model_there_is_nothing_but_a_person_s_agreement():
    reference = by("reference", "aab")
    assert not any(summarize(NOBODY, reference, []).values())
    found = summarize(NOBODY, reference, [], person=by("person", "aaa"), samples=50)
    assert [name for name, rows in found.items() if rows] == ["agreement"]
    (row,) = found["agreement"]
    assert (row["judge"], row["other"], row["n"], row["agree"]) == ("person", "reference", 3, pytest.approx(2 / 3))


def test_all_judges_are_summarized_and_none_is_taken_for_another():
    calls = [call(f"q{at}", order, winner) for at, winner in enumerate("aab") for order in ("ab", "ba")]
    judged = Judged(tuple(calls), tuple(verdicts(calls)), ())
    answers = [Answer(f"q{at}", system, "some words here", (), 1, 1, 0.1) for at in range(3) for system in PAIR]
    found = summarize(judged, by("reference", "abb"), answers, published=by("m (as published)", "aaa"), samples=40)
    overall = [row for row in found["mean_win_rates"] if (row["criterion"], row["scope"]) == ("overall", "all")]
    assert [(row["judge"], row["n"], row["rate"]) for row in overall] == [("m (paper)", 3, pytest.approx(2 / 3))]
    assert {row["consistency"] for row in found["positions"]} == {1.0}
    assert {row["judge"] for row in found["bradley_terry"]} == {"reference", "m (paper)"}
    (flaw,) = [row for row in found["flaws"] if (row["criterion"], row["scope"]) == ("overall", "all")]
    assert flaw["difference"] == pytest.approx(1 / 3)
    (row,) = found["agreement"]
    assert (row["judge"], row["other"], row["n"], row["agree"]) == ("m (paper)", "reference", 3, pytest.approx(2 / 3))
