"""What verdicts show: win rates by mean score with tests, and how far a judge follows the place of an answer.

All intervals are bootstraps over questions (`score.bootstrap_interval`), since the calls about one question are no
independent observations. Length and the ranking of several systems are in `preference_models`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from statistics import fmean

from ragtune_lib.judges.llm_judge import POINTS
from ragtune_lib.judges.reference import JUDGE
from ragtune_lib.records import JudgeCall, Verdict
from ragtune_lib.score import SCOPES, bootstrap_interval


def question_score(verdict: Verdict) -> float | None:
    """Score of system a on one question in [0, 1]; None for an invalid verdict.

    Where a model judged it is the mean over its replies, so a question won in one order and tied in the other is 0.75.
    The reference judge's values are counts of its own; there it is 1, 1/2 or 0 by the winner.
    """
    if verdict.winner == "invalid":
        return None
    return POINTS[verdict.winner] if verdict.judge == JUDGE else verdict.value_a


def in_scope(verdicts: Sequence[Verdict], scope: str) -> list[Verdict]:
    """Verdicts of one scope; "all" takes every one."""
    return [verdict for verdict in verdicts if scope in (verdict.scope, "all")]


def mean_win_rates(verdicts: Sequence[Verdict], seed: int = 17, samples: int = 2000) -> list[dict]:
    """Mean score of system a against system b, with a test and its correction for many tests.

        W = (1 / Q) sum over questions of (1 / R) sum over replicates of s,   s in {0, 1/2, 1}

    as GraphRAG computes it (arXiv 2404.16130). `score.win_rates` counts who won each question instead; the two differ
    where the orders of a question disagree. `p` is `wilcoxon` over the questions, `p_holm` the same after `holm` over
    all pairs and criteria of one judge and scope.

    Returns:
        Rows {system, baseline, criterion, judge, scope, n, invalid, rate, low, high, p, p_holm}, by pair, criterion and
        judge in order of appearance, then scope; rate, low, high and p are nan where n is 0.
    """
    groups: defaultdict[tuple[str, str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.system_a, verdict.system_b, verdict.criterion, verdict.judge].append(verdict)
    rows = []
    for (system, baseline, criterion, judge), group in groups.items():
        for scope in SCOPES:
            if not (chosen := in_scope(group, scope)):
                continue
            values = [score for score in map(question_score, chosen) if score is not None]
            low, high = bootstrap_interval(values, seed, samples)
            rows.append(
                {
                    "system": system, "baseline": baseline, "criterion": criterion, "judge": judge, "scope": scope,
                    "n": len(values), "invalid": len(chosen) - len(values),
                    "rate": fmean(values) if values else math.nan, "low": low, "high": high,
                    "p": wilcoxon([round(2 * value - 1, 9) for value in values]) if values else math.nan,
                }
            )  # fmt: skip
    families: defaultdict[tuple[str, str], list[dict]] = defaultdict(list)
    for row in rows:
        families[row["judge"], row["scope"]].append(row)
    for family in families.values():
        for row, adjusted in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = adjusted
    return rows


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p-value of the signed-rank test: are the differences even around 0?

    Differences of 0 are left out; without any other it is 1. Up to 13 differences with ties, or 50 without, the p-value
    is exact, above that it is the normal approximation with its correction for ties (scipy.stats.wilcoxon).

    Source: Wilcoxon 1945, doi:10.2307/3001968.
    """
    nonzero = [difference for difference in differences if difference]
    if not nonzero:
        return 1.0
    from scipy.stats import wilcoxon as signed_rank

    return float(signed_rank(nonzero).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that stay valid for all tests together; nan (no test) stays nan and counts for nothing.

    Sorted upwards, the k-th of m (from 0) becomes the largest of (m - j) p_j over j <= k, at most 1.

    Source: Holm 1979, jstor.org/stable/4615733.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted, largest = list(p_values), 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, (len(tested) - rank) * p)
        adjusted[place] = min(1.0, largest)
    return adjusted


def position_effects(calls: Sequence[JudgeCall], seed: int = 17, samples: int = 2000) -> list[dict]:
    """Does a judge keep its verdict when the answers change places, and which place does it favour?

    The replicate that shows a first is matched with the next one, which shows b first; a match with an invalid half is
    left out and counted.

        consistency = share of matches with the same outcome in both orders (a tie and a win are not the same)
        bias = P(first wins) - 1/2, a tie as half, over both orders of each match

    The bias of a judge that looks only at the answers is 0 whatever their quality, since each is first equally often;
    1/2 means that the first one always wins. Both are means over questions of the mean over a question's matches.

    Returns:
        Rows {judge, criterion, questions, matches, invalid, consistency, consistency_low, consistency_high, bias,
        bias_low, bias_high, first, tie, second} with the three counts over the replies of the matches; for each judge
        its criteria in order of appearance, then "all".
    """
    matches: dict[tuple[Hashable, ...], dict[int, JudgeCall]] = defaultdict(dict)
    for call in calls:
        key = (call.judge, call.criterion, call.question_id, call.system_a, call.system_b, call.replicate // 2)
        matches[key][call.replicate % 2] = call
    groups: defaultdict[tuple[str, str], list[dict[int, JudgeCall]]] = defaultdict(list)
    for key, match in matches.items():
        groups[key[0], key[1]].append(match)
    for judge in dict.fromkeys(judge for judge, _ in groups):
        groups[judge, "all"] = [match for (name, _), group in groups.items() if name == judge for match in group]
    rows = [_position_row(judge, criterion, group, seed, samples) for (judge, criterion), group in groups.items()]
    judges = list(dict.fromkeys(row["judge"] for row in rows))
    return sorted(rows, key=lambda row: judges.index(row["judge"]))


def _position_row(judge: str, criterion: str, matches: Sequence[dict[int, JudgeCall]], seed: int, samples: int) -> dict:
    same: defaultdict[str, list[float]] = defaultdict(list)
    firsts: defaultdict[str, list[float]] = defaultdict(list)
    outcomes: Counter[str] = Counter()
    valid = 0
    for match in matches:
        if len(match) < 2 or "invalid" in (match[0].winner, match[1].winner):
            continue
        valid += 1
        question = match[0].question_id
        same[question].append(float(match[0].winner == match[1].winner))
        for call in match.values():
            place = "tie" if call.winner == "tie" else "first" if call.winner == call.order[0] else "second"
            outcomes[place] += 1
            firsts[question].append({"first": 0.5, "tie": 0.0, "second": -0.5}[place])
    row = {
        "judge": judge, "criterion": criterion, "questions": len(same), "matches": valid,
        "invalid": len(matches) - valid,
    }  # fmt: skip
    for name, values in (("consistency", same), ("bias", firsts)):
        means = list(map(fmean, values.values()))
        low, high = bootstrap_interval(means, seed, samples)
        row |= {name: fmean(means) if means else math.nan, f"{name}_low": low, f"{name}_high": high}
    return row | {place: outcomes[place] for place in ("first", "tie", "second")}
