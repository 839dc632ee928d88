"""Win rates as if both answers were equally long, and one ranking of more than two systems.

Both are logistic models of who wins, fitted to scores in [0, 1], so a tie or a split question is half a win:

    length:         logit P(a beats b on question q) = theta_ab + beta tanh((length_a - length_b) / s)
    Bradley-Terry:  logit P(a beats b) = strength_a - strength_b

A weak penalty keeps both finite when one system wins everything. Intervals resample questions and fit again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ragtune_lib.judges.verdict_statistics import in_scope, question_score
from ragtune_lib.records import Answer, Verdict
from ragtune_lib.score import SCOPES
from ragtune_lib.text import words

if TYPE_CHECKING:
    import numpy as np

WEAK = 0.01  # precision of theta and of strengths: a normal prior with deviation 10, felt only when one wins all
LENGTH = 0.1  # precision of beta: a normal prior with deviation 3 on the log-odds between much longer and equally long
STEP = 2.0  # largest step of Newton's method in any parameter


def fit_logistic(design: np.ndarray, wins: np.ndarray, games: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Penalised logistic regression of many resamples at once, by Newton's method.

    Maximises, for each resample b, sum over rows n of wins log p + (games - wins) log(1 - p) with
    p = sigmoid(design @ parameters), less half the sum of precision * parameters ** 2. That has one maximum, also
    for data that can be separated.

    Args:
        design: (rows, parameters).
        wins: (resamples, rows), may be fractions.
        games: (resamples, rows), at least wins.
        precision: (parameters,), above 0.

    Returns:
        (resamples, parameters).
    """
    import numpy as np
    from scipy.special import expit

    rows, count = design.shape
    products = (design[:, :, None] * design[:, None, :]).reshape(rows, count * count)
    # the first row is the data themselves: their maximum is a good start for all resamples
    start = fit_logistic(design, wins[:1], games[:1], precision) if len(wins) > 1 else np.zeros((1, count))
    found = np.repeat(start, len(wins), axis=0)
    for _ in range(100):
        chance = expit(found @ design.T)
        gradient = (wins - games * chance) @ design - precision * found
        curvature = ((games * chance * (1 - chance)) @ products).reshape(-1, count, count) + np.diag(precision)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        largest = np.abs(step).max(axis=1, keepdims=True, initial=0.0)
        found += step * np.minimum(1.0, STEP / np.maximum(largest, STEP))
        if largest.max(initial=0.0) < 1e-5:  # Newton's error is squared each time: what is left is below 1e-9
            break
    return found


def length_controlled(
    verdicts: Sequence[Verdict], answers: Sequence[Answer], seed: int = 17, samples: int = 500
) -> list[dict]:
    """Raw win rate beside the one that is left when the judge's taste for length is taken out.

        logit P(a beats b on q) = theta_ab + beta x_q,   x_q = tanh((words of a - words of b) / s)
        controlled = sigmoid(theta_ab), the chance of a win between equally long answers

    s is the standard deviation of the differences. theta is free for each pair (precision 0.01); beta, the taste for
    length, belongs to judge and criterion and is shared by all pairs (precision 0.1), so few questions do. Without
    differences in length the two rates agree within 0.01.

    It can only separate length from quality where the longer answer is now one, now the other. `longer` is the share of
    questions on which a's answer is the longer one: near 0 or 1 the controlled rate rests on the other pairs and on the
    penalty, and says little.

    The idea is that of AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475); it has a term for each instruction too,
    which needs many systems, and fits beta for each system.

    Args:
        verdicts: of any judges; reference verdicts too.
        answers: what was judged, for the lengths.
        seed: of the resampling.
        samples: resamples of the questions.

    Returns:
        Rows {system, baseline, criterion, judge, scope, n, rate, low, high, controlled, controlled_low,
        controlled_high, length_effect, longer}, length_effect being beta; nothing for a pair without valid verdicts.
    """
    import numpy as np
    from scipy.special import expit

    lengths = {(answer.question_id, answer.system): len(words(answer.text)) for answer in answers}
    rows = []
    for judge, criterion, scope, chosen in _groups(verdicts):
        scores = np.array([question_score(verdict) for verdict in chosen])
        apart = np.array(
            [
                lengths.get((one.question_id, one.system_a), 0) - lengths.get((one.question_id, one.system_b), 0)
                for one in chosen
            ],
            dtype=float,
        )
        pairs = list(dict.fromkeys((one.system_a, one.system_b) for one in chosen))
        places = np.array([pairs.index((one.system_a, one.system_b)) for one in chosen])
        member = (places[:, None] == np.arange(len(pairs))).astype(float)
        x = np.tanh(apart / (apart.std() or 1.0))
        weights = _resamples([one.question_id for one in chosen], seed, samples)
        precision = np.array([WEAK] * len(pairs) + [LENGTH])
        found = fit_logistic(np.column_stack([member, x]), weights * scores, weights, precision)
        games = weights @ member
        raw = (weights * scores) @ member / np.where(games, games, np.nan)
        for at, (system, baseline) in enumerate(pairs):
            mine = places == at
            rows.append(
                {
                    "system": system, "baseline": baseline, "criterion": criterion, "judge": judge, "scope": scope,
                    "n": int(mine.sum()),
                    **_interval("", raw[:, at], "rate"),
                    **_interval("controlled_", expit(found[:, at]), "controlled"),
                    "length_effect": float(found[0, -1]),
                    "longer": float((apart[mine] > 0).mean()),
                }
            )  # fmt: skip
    return rows


def bradley_terry(verdicts: Sequence[Verdict], seed: int = 17, samples: int = 500) -> list[dict]:
    """One strength for each system from all pairs that were judged, with bootstrap intervals.

        logit P(a beats b) = strength_a - strength_b,   strengths sum to 0 (an even penalty sees to that)

    Log-odds: a lead of 1 wins 73 % of the questions. `rate` is the mean chance to beat each of the others. Systems that
    no chain of comparisons connects cannot be ranked against each other.

    Source: Bradley and Terry 1952, doi:10.2307/2334029; scores as fractions of a win, precision 0.01 on each strength.

    Returns:
        Rows {judge, criterion, scope, system, n, strength, low, high, rate}, for each judge, criterion and scope the
        strongest system first; n is the number of its verdicts.
    """
    import numpy as np
    from scipy.special import expit

    rows = []
    for judge, criterion, scope, chosen in _groups(verdicts):
        systems = sorted({system for one in chosen for system in (one.system_a, one.system_b)})
        a = np.array([systems.index(one.system_a) for one in chosen])
        b = np.array([systems.index(one.system_b) for one in chosen])
        pairs, place = np.unique(np.column_stack([a, b]), axis=0, return_inverse=True)
        member = (place.reshape(-1, 1) == np.arange(len(pairs))).astype(float)
        eye = np.eye(len(systems))
        weights = _resamples([one.question_id for one in chosen], seed, samples)
        scores = np.array([question_score(one) for one in chosen])
        found = fit_logistic(
            eye[pairs[:, 0]] - eye[pairs[:, 1]],
            (weights * scores) @ member,
            weights @ member,
            np.full(len(systems), WEAK),
        )
        best = found[0]
        chances = expit(best[:, None] - best[None, :])
        for at in np.argsort(-best, kind="stable"):
            rows.append(
                {
                    "judge": judge, "criterion": criterion, "scope": scope, "system": systems[at],
                    "n": int(((a == at) | (b == at)).sum()),
                    **_interval("", found[:, at], "strength"),
                    "rate": float((chances[at].sum() - 0.5) / (len(systems) - 1)),
                }
            )  # fmt: skip
    return rows


def _groups(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, str, list[Verdict]]]:
    """The valid verdicts of each judge, criterion and scope that has any."""
    groups: defaultdict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.winner != "invalid":
            groups[verdict.judge, verdict.criterion].append(verdict)
    for (judge, criterion), group in groups.items():
        for scope in SCOPES:
            if chosen := in_scope(group, scope):
                yield judge, criterion, scope, chosen


def _resamples(questions: Sequence[str], seed: int, samples: int) -> np.ndarray:
    """How often each row counts: (1 + samples, rows); the first row is the data as they are."""
    import numpy as np

    names, place = np.unique(np.array(questions), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=samples)
    return np.vstack([np.ones(len(place)), drawn[:, place].astype(float)])


def _interval(prefix: str, values: np.ndarray, name: str) -> dict[str, float]:
    import numpy as np

    low, high = np.nanpercentile(values[1:], (2.5, 97.5)) if len(values) > 1 else (np.nan, np.nan)
    return {name: float(values[0]), f"{prefix}low": float(low), f"{prefix}high": float(high)}
