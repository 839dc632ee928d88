import json
import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from ragtune_lib.judges.agreement import BlindJudging, agreements, choose_pairs, cohen_kappa
from ragtune_lib.records import Answer, Question, Verdict

SYSTEMS = ("rag_tuned", "vanilla_rag", "base")
PAIRS = [("rag_tuned", "vanilla_rag"), ("rag_tuned", "base")]
QUESTIONS = [
    Question(f"{scope}{n}", scope, f"{scope} question {n}?", "Reference.", (), ())
    for scope, count in (("local", 40), ("global", 20), ("unanswerable", 4))
    for n in range(count)
]
ANSWERS = [Answer(q.id, s, f"{s} on {q.id}", (), 1, 1, 0.1) for q in QUESTIONS for s in SYSTEMS]


def blind(tmp_path, reviewer=""):
    return BlindJudging(tmp_path, choose_pairs(QUESTIONS, ANSWERS, PAIRS, 6), reviewer)


# the choice


def test_thirty_pairs_spread_over_scopes_systems_and_questions():
    chosen = choose_pairs(QUESTIONS, ANSWERS, PAIRS)
    scopes = Counter(one.question.scope for one in chosen)
    assert len(chosen) == 30 == len({one.id for one in chosen})
    assert scopes["local"] + scopes["global"] + scopes["unanswerable"] == 30
    assert abs(scopes["local"] - scopes["global"]) <= 1
    assert scopes["unanswerable"] == 8  # all there are: four questions with two pairs each
    for scope in ("local", "global"):
        systems = Counter(one.system_b for one in chosen if one.question.scope == scope)
        assert abs(systems["vanilla_rag"] - systems["base"]) <= 1
        questions = Counter(one.question.id for one in chosen if one.question.scope == scope)
        assert set(questions.values()) == {1}
    assert 8 <= sum(one.swapped for one in chosen) <= 22
    places = [one.question.scope for one in chosen]
    assert places != sorted(places) != sorted(places, reverse=True)  # the order says nothing about the scope


def test_the_choice_is_the_same_every_time_and_another_with_another_seed():
    ids = [one.id for one in choose_pairs(QUESTIONS, ANSWERS, PAIRS)]
    shuffled = random.Random(1).sample(ANSWERS, len(ANSWERS))
    assert [one.id for one in choose_pairs(QUESTIONS, shuffled, PAIRS)] == ids
    assert [one.id for one in choose_pairs(QUESTIONS, ANSWERS, PAIRS, seed=3)] != ids


def test_the_answers_shown_are_those_of_the_systems():
    for one in choose_pairs(QUESTIONS, ANSWERS, PAIRS):
        a, b = (one.second, one.first) if one.swapped else (one.first, one.second)
        assert (a, b) == (f"{one.system_a} on {one.question.id}", f"{one.system_b} on {one.question.id}")


def test_what_is_shown_does_not_depend_on_the_direction_of_a_pair():
    here = choose_pairs(QUESTIONS[:1], ANSWERS, PAIRS[:1])[0]
    there = choose_pairs(QUESTIONS[:1], ANSWERS, [PAIRS[0][::-1]])[0]
    assert (here.id, here.first, here.swapped) == (there.id, there.first, not there.swapped)


def test_there_is_nothing_to_judge_where_an_answer_is_missing_blank_or_twice_the_same():
    texts = {"local0": (" ", "x"), "local1": ("x", "x "), "local2": ("x", "y"), "local3": ("x", None)}
    answers = [
        Answer(q, s, text, (), 1, 1, 0.1)
        for q, both in texts.items()
        for s, text in zip(SYSTEMS, both, strict=False)
        if text
    ]
    assert [one.question.id for one in choose_pairs(QUESTIONS, answers, PAIRS)] == ["local2"]
    assert choose_pairs(QUESTIONS, [], PAIRS) == choose_pairs([], ANSWERS, PAIRS) == []


# the person


def test_verdicts_are_kept_and_a_new_kernel_goes_on(tmp_path):
    first = blind(tmp_path)
    ids = list(first.pairs)
    assert first.open() == ids
    first.decide(ids[0], "first")
    first.decide(ids[2], "tie")
    again = blind(tmp_path)
    assert (again.choices(), again.open()) == ({ids[0]: "first", ids[2]: "tie"}, [ids[1], *ids[3:]])


def test_a_choice_becomes_the_system_whose_answer_was_shown_there(tmp_path):
    judging = blind(tmp_path)
    for pair_id in judging.pairs:
        judging.decide(pair_id, "first")
    assert {pair.swapped for pair in judging.pairs.values()} == {True, False}
    for verdict, pair in zip(judging.verdicts(), judging.pairs.values(), strict=True):
        assert verdict.winner == ("b" if pair.swapped else "a")
        assert (verdict.value_a, verdict.value_b) == ((0.0, 1.0) if pair.swapped else (1.0, 0.0))
        assert (verdict.judge, verdict.criterion, verdict.system_a) == ("person", "overall", pair.system_a)
        assert pair.first.startswith(verdict.system_b if pair.swapped else verdict.system_a)


def test_undo_takes_back_the_last_verdict_and_the_one_before_counts_again(tmp_path):
    judging = blind(tmp_path)
    one, two = list(judging.pairs)[:2]
    for pair_id, choice in ((one, "first"), (two, "second"), (one, "tie")):
        judging.decide(pair_id, choice)
    assert judging.undo().action == "tie"
    assert judging.choices() == {one: "first", two: "second"}
    assert [judging.undo().pair_id, judging.undo().pair_id, judging.undo()] == [two, one, None]
    assert blind(tmp_path).choices() == {}
    assert len((tmp_path / "human_verdicts.jsonl").read_text().splitlines()) == 6  # nothing is erased


def test_each_reviewer_judges_alone(tmp_path):
    anna, ben = blind(tmp_path, "anna"), blind(tmp_path, "ben")
    one = next(iter(anna.pairs))
    anna.decide(one, "first")
    ben.decide(one, "second")
    assert (blind(tmp_path, "anna").choices(), blind(tmp_path, "ben").choices()) == ({one: "first"}, {one: "second"})
    later = blind(tmp_path, "ben")
    later.undo()
    assert blind(tmp_path, "anna").choices() == {one: "first"}


def test_the_verdicts_of_all_reviewers_count_whoever_reads_them(tmp_path):
    blind(tmp_path, "anna").decide(next(iter(blind(tmp_path).pairs)), "first")
    blind(tmp_path).decide(next(iter(blind(tmp_path).pairs)), "tie")
    found = blind(tmp_path, "ben").verdicts()
    assert [(verdict.judge, verdict.winner == "tie") for verdict in found] == [
        ("person", True),
        ("person (anna)", False),
    ]


@pytest.mark.parametrize(("pair_id", "choice", "why"), [("zz", "first", "no pair"), (None, "undo", "unknown choice")])
def test_a_wrong_verdict_is_refused_and_not_written(tmp_path, pair_id, choice, why):
    judging = blind(tmp_path)
    with pytest.raises(ValueError, match=why):
        judging.decide(pair_id or next(iter(judging.pairs)), choice)
    assert not judging.path.exists()


def test_bad_and_stale_lines_are_named_and_neither_fatal_nor_lost(tmp_path):
    judging = blind(tmp_path)
    one = next(iter(judging.pairs))
    lines = [
        json.dumps({"pair_id": one, "action": "tie"}), '{"pair_id": "x", "act', '{"pair_id": "gone", "action": "first"}',
        '{"pair_id": "x", "action": "like"}', '{"pair_id": ["x"], "action": "tie"}', "[]", '{"action": "tie"}',
    ]  # fmt: skip
    judging.path.write_text("\n".join(lines) + "\n")
    again = blind(tmp_path)
    assert again.choices() == {one: "tie"}
    assert [problem.item for problem in again.problems] == [f"human_verdicts.jsonl, line {n}" for n in range(2, 8)]
    again.decide(one, "first")
    assert judging.path.read_text().splitlines()[:7] == lines


def test_a_changed_answer_is_another_pair(tmp_path):
    judging = blind(tmp_path)
    one = next(iter(judging.pairs.values()))
    judging.decide(one.id, "first")
    changed = [replace(a, text="new") if a.question_id == one.question.id else a for a in ANSWERS]
    changed = [replace(a, text=a.text + a.system) if a.text == "new" else a for a in changed]
    again = BlindJudging(tmp_path, choose_pairs(QUESTIONS, changed, PAIRS, 1000))
    assert again.choices() == {}
    assert len(again.problems) == 1


def test_a_verdict_that_cannot_be_written_changes_no_state(tmp_path):
    judging = blind(tmp_path)
    judging.path.mkdir()
    with pytest.raises(OSError, match="human_verdicts"):
        judging.decide(next(iter(judging.pairs)), "first")
    assert judging.choices() == {}


# kappa


def test_kappa_by_hand():
    """Cohen's usual example: 20 + 15 of 50 agree, expected 0.5 * 0.6 + 0.5 * 0.4 = 0.5."""
    one = ["yes"] * 20 + ["yes"] * 5 + ["no"] * 10 + ["no"] * 15
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(one, other) == pytest.approx(0.4)
    assert cohen_kappa(["a", "b", "tie"], ["b", "tie", "a"]) == pytest.approx((0 - 1 / 3) / (2 / 3))
    assert cohen_kappa(["a", "b"], ["a", "b"]) == 1.0
    assert cohen_kappa(["a", "b"], ["a", "a"]) == 0.0
    assert math.isnan(cohen_kappa(["a", "a"], ["a", "a"])) and math.isnan(cohen_kappa([], []))


def test_kappa_of_independent_judges_is_about_nothing():
    rng = random.Random(0)
    one, other = ([rng.choice(("a", "b", "tie")) for _ in range(5000)] for _ in range(2))
    assert abs(cohen_kappa(one, other)) < 0.05


def verdict(number, winner, judge, criterion="overall", systems=("x", "y")):
    return Verdict(f"q{number}", "local", criterion, *systems, winner, 0.0, 0.0, judge)


def test_agreement_by_hand():
    person = [verdict(n, w, "person") for n, w in enumerate(["a", "a", "b", "tie", "b", "a"])]
    model = [verdict(n, w, "m") for n, w in enumerate(["a", "b", "b", "tie", "invalid"])]
    other = [verdict(n, "a", "m", "insight") for n in range(5)]
    (row,) = agreements([*model, *other, *person])
    assert (row["judge"], row["other"], row["n"], row["agree"]) == ("person", "m", 4, 0.75)
    assert row["kappa"] == pytest.approx((0.75 - (2 * 1 + 1 * 2 + 1 * 1) / 16) / (1 - 5 / 16))
    assert row["low"] <= row["kappa"] <= row["high"] <= 1


def test_the_direction_of_a_comparison_does_not_matter():
    turned = [verdict(n, w, "m", systems=("y", "x")) for n, w in enumerate(["b", "a", "tie"])]
    (row,) = agreements([verdict(n, w, "person") for n, w in enumerate(["a", "b", "tie"])] + turned)
    assert (row["n"], row["kappa"]) == (3, 1.0)


def test_each_two_judges_have_a_row_and_nothing_shared_is_no_number():
    rows = agreements([verdict(1, "a", "m"), verdict(1, "b", "reference"), verdict(2, "a", "person")])
    assert [(row["judge"], row["other"], row["n"]) for row in rows] == [
        ("person", "m", 0), ("person", "reference", 0), ("m", "reference", 1),
    ]  # fmt: skip
    assert all(math.isnan(rows[0][name]) for name in ("agree", "kappa", "low", "high"))
    assert agreements([]) == []
