import math
import random

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from ragtune_lib.judges.preference_models import _resamples, bradley_terry, fit_logistic, length_controlled
from ragtune_lib.records import Answer, Verdict


def verdict(question, value, pair=("x", "y"), scope="local", criterion="insight"):
    winner = "invalid" if value is None else "a" if value > 0.5 else "b" if value < 0.5 else "tie"
    return Verdict(f"q{question}", scope, criterion, *pair, winner, value or 0.0, 1 - (value or 0.0), "m (paper)")


def answers(lengths):
    """One answer of so many words for each (question, system)."""
    return [Answer(f"q{q}", system, "word " * n, (), 1, 1, 0.1) for (q, system), n in lengths.items()]


def controlled(values, lengths, **options):
    """The row of scope "all" for one pair; lengths are (a, b) by question."""
    said = answers({(q, s): n for q, both in enumerate(lengths) for s, n in zip("xy", both, strict=True)})
    rows = length_controlled([verdict(q, value) for q, value in enumerate(values)], said, **options)
    return next(row for row in rows if row["scope"] == "all")


def test_the_fit_is_where_an_independent_optimiser_ends():
    rng = np.random.default_rng(5)
    design, precision = rng.normal(size=(40, 3)), np.array([0.01, 0.5, 1.0])
    games = rng.integers(0, 3, size=(6, 40)).astype(float)
    wins = games * rng.choice([0, 0.25, 0.5, 1], size=(6, 40))
    found = fit_logistic(design, wins, games, precision)
    for row in range(6):

        def loss(parameters, row=row):
            z = design @ parameters
            return (games[row] * np.logaddexp(0, z) - wins[row] * z).sum() + (precision * parameters**2).sum() / 2

        assert found[row] == pytest.approx(minimize(loss, np.zeros(3), tol=1e-10).x, abs=1e-4)


@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_separable_data_end_at_the_maximum_and_do_not_explode(scale):
    x = np.linspace(-1, 1, 20) * scale
    design, precision = np.column_stack([np.ones(20), x]), np.array([0.01, 1.0])
    wins = (x > 0).astype(float)[None]
    found = fit_logistic(design, wins, np.ones((1, 20)), precision)
    gradient = (wins - expit(found @ design.T)) @ design - precision * found
    assert np.abs(gradient).max() < 1e-6
    assert np.abs(found).max() < 20


def test_equally_long_answers_keep_their_rate():
    values = [1, 1, 0.5, 0, 0.75, 1, 0.25, 1]
    row = controlled(values, [(9, 9)] * 8)
    assert row["rate"] == pytest.approx(sum(values) / 8)
    assert row["controlled"] == pytest.approx(row["rate"], abs=0.002)
    assert (row["length_effect"], row["longer"], row["n"]) == (pytest.approx(0), 0.0, 8)


def test_a_judge_who_counts_words_is_found_out():
    """The longer answer wins nine of ten times, and a's is longer on 30 of 40 questions: 70 % raw, 50 % controlled."""
    lengths = [(60, 20)] * 30 + [(20, 60)] * 10
    row = controlled([1.0] * 27 + [0.0] * 3 + [1.0] + [0.0] * 9, lengths)
    assert (row["rate"], row["longer"]) == (0.7, 0.75)
    assert row["controlled"] == pytest.approx(0.5, abs=0.02)
    assert row["controlled_low"] < 0.5 < row["controlled_high"]
    assert row["length_effect"] > 2


def test_where_length_explains_every_win_the_rate_moves_towards_a_half_and_stays_finite():
    row = controlled([1.0] * 30 + [0.0] * 10, [(60, 20)] * 30 + [(20, 60)] * 10)
    assert 0.5 < row["controlled"] < 0.65 < row["rate"] == 0.75
    assert 3 < row["length_effect"] < 10


def test_length_that_does_not_matter_changes_nothing():
    """Three of four questions are won by a, where it is the longer one as where it is the shorter one."""
    lengths = [(60, 20)] * 20 + [(20, 60)] * 20
    row = controlled([1, 1, 1, 0] * 10, lengths)
    assert row["length_effect"] == pytest.approx(0, abs=1e-6)
    assert row["controlled"] == pytest.approx(0.75, abs=0.01)


def test_the_known_effect_is_recovered():
    rng = random.Random(4)
    lengths = [(max(1, int(rng.gauss(60, 20))), max(1, int(rng.gauss(40, 20)))) for _ in range(4000)]
    apart = [a - b for a, b in lengths]
    deviation = float(np.std(apart))
    values = [float(rng.random() < expit(0.4 + 0.9 * math.tanh(d / deviation))) for d in apart]
    row = controlled(values, lengths, samples=50)
    assert row["controlled"] == pytest.approx(expit(0.4), abs=0.03)
    assert row["length_effect"] == pytest.approx(0.9, abs=0.15)
    assert row["controlled_low"] < expit(0.4) < row["controlled_high"] < row["rate"]


def test_swapping_the_systems_mirrors_both_rates():
    lengths, values = [(3, 9), (12, 4), (7, 7), (30, 2)], [1, 0.5, 0.25, 1]
    here = controlled(values, lengths)
    there = controlled([1 - value for value in values], [pair[::-1] for pair in lengths])
    for name, low, high in (("rate", "low", "high"), ("controlled", "controlled_low", "controlled_high")):
        assert here[name] == pytest.approx(1 - there[name])
        assert here[low] == pytest.approx(1 - there[high])
    assert here["length_effect"] == pytest.approx(there["length_effect"])


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [1.0] * 12, [0.5]])
def test_few_questions_and_clean_sweeps_stay_finite(values):
    row = controlled(values, [(50, 1)] * len(values))
    names = ("rate", "low", "high", "controlled", "controlled_low", "controlled_high")
    assert all(0 <= row[name] <= 1 for name in names)
    assert abs(row["length_effect"]) < 5


def test_all_pairs_share_one_taste_for_length():
    verdicts = [verdict(q, float(q % 2), pair) for q in range(8) for pair in (("x", "y"), ("x", "z"))]
    lengths = {(q, s): n for q in range(8) for s, n in (("x", 9 if q % 2 else 3), ("y", 5), ("z", 6))}
    rows = [row for row in length_controlled(verdicts, answers(lengths)) if row["scope"] == "all"]
    assert len(rows) == 2
    assert rows[0]["length_effect"] == rows[1]["length_effect"] > 0.5


def test_invalid_verdicts_are_left_out_and_scopes_apart():
    verdicts = [verdict(0, 1.0), verdict(1, None), verdict(2, 0.0, scope="global")]
    rows = length_controlled(verdicts, [])
    assert [(row["scope"], row["n"], row["rate"]) for row in rows] == [
        ("local", 1, 1.0), ("global", 1, 0.0), ("all", 2, 0.5),
    ]  # fmt: skip
    assert length_controlled([verdict(1, None)], []) == bradley_terry([verdict(1, None)]) == []


def test_questions_are_resampled_as_a_whole():
    weights = _resamples(["q1", "q2", "q1", "q3"], 17, 50)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert (weights[0] == 1).all() and len(np.unique(weights[1:, 1])) > 1
    assert (weights == _resamples(["q1", "q2", "q1", "q3"], 17, 50)).all()


def strengths(verdicts):
    return {row["system"]: row for row in bradley_terry(verdicts) if row["scope"] == "all"}


def test_three_wins_of_four_are_log_3_apart():
    found = strengths([verdict(q, value) for q, value in enumerate([1, 1, 1, 0])])
    assert list(found) == ["x", "y"]
    assert found["x"]["strength"] - found["y"]["strength"] == pytest.approx(math.log(3), abs=0.02)
    assert found["x"]["strength"] == pytest.approx(-found["y"]["strength"])
    assert (found["x"]["rate"], found["x"]["n"]) == (pytest.approx(0.75, abs=0.01), 4)


def test_three_systems_with_consistent_odds_have_their_strengths():
    """Odds of 2 : 1 between neighbours are 4 : 1 between the ends, so log-odds are log 2, 0 and -log 2."""
    counts = {("x", "y"): (20, 10), ("y", "z"): (20, 10), ("x", "z"): (24, 6)}
    verdicts = [verdict(q, float(q < won), pair) for pair, (won, lost) in counts.items() for q in range(won + lost)]
    found = strengths(verdicts)
    assert [found[s]["strength"] for s in "xyz"] == pytest.approx([math.log(2), 0, -math.log(2)], abs=0.01)
    assert found["x"]["low"] < found["x"]["strength"] < found["x"]["high"]
    assert found["x"]["rate"] == pytest.approx((2 / 3 + 4 / 5) / 2, abs=0.01)
    assert sum(row["strength"] for row in found.values()) == pytest.approx(0)


def test_a_system_that_wins_everything_is_far_ahead_and_finite():
    found = strengths([verdict(q, 1.0, pair) for q in range(50) for pair in (("x", "y"), ("x", "z"))])
    assert next(iter(found)) == "x"
    assert 2 < found["x"]["strength"] < 10
    assert found["y"]["strength"] == pytest.approx(found["z"]["strength"])


def test_the_ranking_depends_neither_on_the_direction_of_a_pair_nor_on_the_order_of_verdicts():
    rng = random.Random(2)
    verdicts = [verdict(q, rng.choice([0, 0.5, 1]), p) for q in range(9) for p in (("x", "y"), ("y", "z"), ("x", "z"))]
    turned = [verdict(one.question_id[1:], 1 - one.value_a, (one.system_b, one.system_a)) for one in verdicts]
    rng.shuffle(turned)
    here, there = strengths(verdicts), strengths(turned)
    for system in "xyz":
        for name in ("strength", "low", "high", "rate"):
            assert here[system][name] == pytest.approx(there[system][name])
