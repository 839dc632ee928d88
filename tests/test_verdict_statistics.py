import math
import random

import pytest

from ragtune_lib.judges.verdict_statistics import holm, mean_win_rates, position_effects, question_score, wilcoxon
from ragtune_lib.records import JudgeCall, Verdict


def verdict(number, value, criterion="insight", scope="local", pair=("x", "y"), judge="m (paper)"):
    winner = "invalid" if value is None else "a" if value > 0.5 else "b" if value < 0.5 else "tie"
    value = 0.0 if value is None else value
    return Verdict(f"q{number}", scope, criterion, *pair, winner, value, 1 - value, judge)


def call(question, replicate, winner, criterion="insight", judge="m (paper)", pair=("x", "y")):
    order = "ba" if replicate % 2 else "ab"
    return JudgeCall(f"q{question}", "local", criterion, *pair, order, replicate, winner, "", 1, 1, judge)


def test_the_score_is_the_mean_of_a_model_judge_and_the_winner_of_the_reference_judge():
    assert question_score(verdict(1, 0.75)) == 0.75
    assert question_score(verdict(1, None)) is None
    reference = Verdict("q", "local", "overall", "x", "y", "a", 0.5, 0.25, "reference")
    assert question_score(reference) == 1.0


def test_the_mean_win_rate_by_hand():
    values = [0.75, 1.0, 0.5, None]
    (local, everything) = mean_win_rates([verdict(n, value) for n, value in enumerate(values)])
    assert (local["scope"], everything["scope"]) == ("local", "all")
    assert (local["rate"], local["n"], local["invalid"]) == (0.75, 3, 1)
    assert 0.5 <= local["low"] < 0.75 < local["high"] <= 1.0
    assert local["p"] == local["p_holm"] == 0.5  # two differences, both up: 2 / 2^2


def test_equal_differences_are_ties_whatever_their_rounding():
    up, down = (0.5 + 0.5 + 0.75) / 3, (0.5 + 0.5 + 0.25) / 3
    assert 2 * up - 1 != 1 - 2 * down, "in the last digit alone"
    assert mean_win_rates([verdict(n, value) for n, value in enumerate([up] * 6 + [down] * 6)])[0]["p"] == 1.0


def test_questions_are_resampled_and_not_verdicts_of_several_criteria():
    rows = mean_win_rates([verdict(n, n % 2, c) for n in range(10) for c in ("insight", "richness")])
    assert [row["n"] for row in rows] == [10] * 4


def test_only_invalid_verdicts_have_no_rate_and_take_no_part_in_the_correction():
    rows = mean_win_rates([verdict(1, None)] + [verdict(n, 1.0, "richness") for n in range(6)])
    nothing, some = (next(row for row in rows if row["criterion"] == c) for c in ("insight", "richness"))
    assert math.isnan(nothing["rate"]) and math.isnan(nothing["p_holm"])
    assert (nothing["n"], nothing["invalid"]) == (0, 1)
    assert some["p_holm"] == some["p"] == pytest.approx(2 / 64)


def test_the_correction_is_over_pairs_and_criteria_of_one_judge_and_scope():
    rows = mean_win_rates(
        [
            verdict(n, 1.0, c, pair=pair)
            for n in range(6)
            for c in ("insight", "richness")
            for pair in (("x", "y"), ("x", "z"))
        ]
        + [verdict(n, 1.0, judge="another") for n in range(6)]
    )
    assert {row["p_holm"] for row in rows if row["judge"] == "m (paper)"} == {4 * 2 / 64}
    assert {row["p_holm"] for row in rows if row["judge"] == "another"} == {2 / 64}


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, -2, 3], 0.75),  # the sum of negative ranks is 2; {}, {1}, {2} are at most that: 2 * 3 / 8
        ([1, 2, 3, 4, 5], 2 / 32),
        ([0.5] * 6, 2 / 64),  # ties among them
        ([0, 0, 1, 2, 3, 0], 2 / 8),  # zeros left out
        ([0, 0], 1.0),
        ([], 1.0),
    ],
)
def test_the_signed_rank_test_by_hand(differences, p):
    assert wilcoxon(differences) == pytest.approx(p)
    assert wilcoxon([-one for one in differences]) == pytest.approx(p)


def test_many_differences_are_tested_too():
    assert wilcoxon([1.0] * 40 + [-1.0] * 10) < 0.001 < 0.5 < wilcoxon([1.0] * 25 + [-1.0] * 25)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    with_nan = holm([math.nan, 0.02, 0.03])
    assert with_nan[1:] == pytest.approx([0.04, 0.04]) and math.isnan(with_nan[0])


def test_a_corrected_p_is_never_smaller_and_keeps_the_order():
    rng = random.Random(3)
    for _ in range(100):
        p = [rng.random() for _ in range(rng.randrange(1, 9))]
        adjusted = holm(p)
        assert all(before <= after <= 1 for before, after in zip(p, adjusted, strict=True))
        assert sorted(p) == [one for _, one in sorted(zip(adjusted, p, strict=True))]


def positions(calls):
    return {row["criterion"]: row for row in position_effects(calls)}


def test_consistency_and_bias_by_hand():
    calls = [call(1, 0, "a"), call(1, 1, "a")]  # the same in both orders
    calls += [call(2, 0, "a"), call(2, 1, "b")]  # the first wins each time
    calls += [call(3, 0, "tie"), call(3, 1, "b")]  # the first wins once, one tie
    calls += [call(4, 0, "b"), call(4, 1, "invalid")]
    row = positions(calls)["insight"]
    assert (row["questions"], row["matches"], row["invalid"]) == (3, 3, 1)
    assert row["consistency"] == pytest.approx(1 / 3)
    assert (row["first"], row["tie"], row["second"]) == (4, 1, 1)
    assert row["bias"] == pytest.approx((0 + 1 / 2 + 1 / 4) / 3)
    assert row["bias_low"] <= row["bias"] <= row["bias_high"]


@pytest.mark.parametrize(
    ("winners", "consistency", "bias"), [("ab", 0.0, 0.5), ("ba", 0.0, -0.5), ("aa", 1.0, 0.0), ("bb", 1.0, 0.0)]
)
def test_a_judge_of_places_and_a_judge_of_answers(winners, consistency, bias):
    calls = [call(question, n, winners[n % 2]) for question in range(5) for n in range(4)]
    row = positions(calls)["insight"]
    assert (row["consistency"], row["bias"], row["matches"]) == (consistency, bias, 10)


def test_criteria_and_judges_have_their_own_rows_and_one_for_all():
    calls = [call(1, n, "a", c, judge) for n in (0, 1) for judge in ("m", "k") for c in ("insight", "richness")]
    rows = position_effects(calls)
    assert [(row["judge"], row["criterion"], row["matches"]) for row in rows] == [
        ("m", "insight", 1), ("m", "richness", 1), ("m", "all", 2),
        ("k", "insight", 1), ("k", "richness", 1), ("k", "all", 2),
    ]  # fmt: skip


def test_nothing_valid_is_no_number():
    row = positions([call(1, 0, "invalid"), call(1, 1, "a")])["all"]
    assert math.isnan(row["consistency"]) and math.isnan(row["bias"])
    assert (row["matches"], row["invalid"], row["first"]) == (0, 1, 0)
    assert position_effects([]) == []
