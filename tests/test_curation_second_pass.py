import random

import pytest

from ragtune_lib.curate import Curation
from ragtune_lib.curation.second_pass import agreement, blind, disagreements, error_rate, quality_sample, wilson
from ragtune_lib.records import Flag, QAPair

PAIRS = [QAPair(f"p{n:02}", "local", "entity", f"question {n}?", "r", "a", ("c1",), "template", "f") for n in range(40)]
FLAGS = [Flag("p39", "quote", "x", True)]
EDIT = ("a question?", "", "an answer")


def opened(folder, reviewer=""):
    return Curation(folder, PAIRS, FLAGS, reviewer)


def decide(folder, reviewer, **actions):
    review = opened(folder, reviewer)
    for pair_id, action in actions.items():
        review.decide(pair_id, action, *(EDIT if action == "edit" else ()))


def test_agreement_kappa_and_table_are_those_computed_by_hand(tmp_path):
    # both decided p00 to p04: agree on 3 of 5; by chance 3/5 * 2/5 + 1/5 * 2/5 + 1/5 * 1/5 = 9/25
    decide(tmp_path, "ada", p00="keep", p01="keep", p02="keep", p03="drop", p04="edit", p05="keep", p06="flag")
    decide(tmp_path, "bob", p00="keep", p01="keep", p02="drop", p03="drop", p04="keep", p06="keep", p07="drop")
    found = agreement(opened(tmp_path), "ada", "bob")
    assert (found.n, found.agree) == (5, 0.6)
    expected = (3 * 3 + 1 * 2 + 1 * 0) / 25
    assert found.kappa == pytest.approx((0.6 - expected) / (1 - expected))
    assert {key: count for key, count in found.table.items() if count} == {
        ("keep", "keep"): 2, ("keep", "drop"): 1, ("drop", "drop"): 1, ("edit", "keep"): 1,
    }  # fmt: skip
    assert len(found.table) == 9


def test_kappa_is_none_where_it_is_undefined(tmp_path):
    empty = agreement(opened(tmp_path), "ada", "bob")
    assert (empty.n, empty.agree, empty.kappa) == (0, None, None)
    for name in ("ada", "bob"):
        decide(tmp_path, name, p00="keep", p01="keep")
    same = agreement(opened(tmp_path), "ada", "bob")
    assert (same.n, same.agree, same.kappa) == (2, 1.0, None)


def test_a_blind_pass_shows_a_sample_and_nothing_of_the_first_decisions(tmp_path):
    ada = opened(tmp_path, "ada")
    ada.bulk([pair.id for pair in PAIRS[:20]], "drop")
    ada.decide("p00", "edit", *EDIT)
    first = blind(opened(tmp_path, "bob"), "ada", count=8, seed=1)
    assert len(first.pairs) == 8
    assert set(first.pairs) <= {pair.id for pair in PAIRS[:20]}
    assert {first.state(one) for one in first.pairs} == {"undecided"}
    assert [first.pair(one) for one in first.pairs] == [first.original(one) for one in first.pairs]
    assert (first.history(), first.problems) == ([], [])
    chosen = list(first.pairs)
    first.decide(chosen[0], "keep")
    opened(tmp_path, "bob").decide("p30", "keep")
    again = blind(opened(tmp_path, "bob"), "ada", count=8, seed=1)
    assert list(again.pairs) == chosen  # a restart goes on with the same sample
    assert (again.state(chosen[0]), again.problems) == ("keep", [])
    assert list(blind(opened(tmp_path, "bob"), "ada", count=8, seed=2).pairs) != chosen
    assert agreement(opened(tmp_path), "ada", "bob").n == 1
    with pytest.raises(ValueError, match="another person than ada"):
        blind(ada, "ada")


def test_disagreements_are_listed_until_somebody_settles_them(tmp_path):
    decide(tmp_path, "ada", p00="keep", p01="drop", p02="edit", p03="edit", p04="keep")
    decide(tmp_path, "bob", p00="keep", p01="keep", p02="edit", p04="flag")
    opened(tmp_path, "bob").decide("p03", "edit", "another question?", "", "an answer")
    found = disagreements(opened(tmp_path))
    assert [(one.pair_id, [event.reviewer for event in one.decisions]) for one in found] == [
        ("p01", ["ada", "bob"]), ("p03", ["ada", "bob"]),
    ]  # fmt: skip
    carol = opened(tmp_path, "carol")
    carol.decide("p01", "drop", adjudication=True)
    assert [one.pair_id for one in disagreements(opened(tmp_path))] == ["p03"]
    carol.undo()
    assert len(disagreements(opened(tmp_path))) == 2


def test_an_adjudication_is_no_second_opinion(tmp_path):
    decide(tmp_path, "ada", p00="keep", p01="drop")
    decide(tmp_path, "bob", p00="keep", p01="keep")
    opened(tmp_path, "bob").decide("p01", "drop", adjudication=True)
    assert agreement(opened(tmp_path), "ada", "bob").agree == 0.5


def test_the_error_rate_counts_what_was_dropped_or_edited_of_the_sample(tmp_path):
    decide(tmp_path, "ada", p00="drop", p01="keep")
    review = opened(tmp_path, "ada")
    sample = quality_sample(review, count=10, seed=4)
    assert len(set(sample)) == 10
    assert not {"p00", "p01", "p39"} & set(sample)  # decided, and blocked: nobody would use it unseen
    assert error_rate(review, sample).rate is None
    for place, action in enumerate(["keep"] * 5 + ["drop", "edit", "flag"]):
        review.decide(sample[place], action, *(EDIT if action == "edit" else ()))
    assert quality_sample(opened(tmp_path, "bob"), count=10, seed=9) == sample  # drawn once, for all
    found = error_rate(opened(tmp_path), sample)
    assert (found.n, found.errors, found.sample, found.unseen) == (7, 2, 10, 40 - 3 - 7)
    assert found.rate == pytest.approx(2 / 7)
    assert (found.low, found.high) == wilson(2, 7)
    assert 0 < found.low < found.rate < found.high < 1


def test_wilson_intervals_stay_inside_and_cover_the_true_share():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 20)[0] == 0.0 and wilson(20, 20)[1] == 1.0
    chance = random.Random(1)
    covered = 0
    for _ in range(1000):
        hits = sum(chance.random() < 0.1 for _ in range(60))
        low, high = wilson(hits, 60)
        covered += low <= 0.1 <= high
    assert covered > 920
