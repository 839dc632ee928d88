"""All that a judge model's verdicts show, as rows: what `judge_statistics.json` holds and the report draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragtune_lib.judges.agreement import agreements
from ragtune_lib.judges.as_published import raw_against_published
from ragtune_lib.judges.llm_judge import GRAPHRAG, PAPER, Judged, Rubric
from ragtune_lib.judges.preference_models import bradley_terry, length_controlled
from ragtune_lib.judges.verdict_statistics import mean_win_rates, position_effects
from ragtune_lib.records import Answer, Verdict

RUBRICS = {rubric.name: rubric for rubric in (PAPER, GRAPHRAG)}
NOBODY = Judged((), (), ())  # what came of a judge model that was not asked


def chosen_rubrics(names: str) -> tuple[Rubric, ...]:
    """Rubrics from their names, separated by blanks or commas.

    Raises:
        ValueError: for a name that is none, or if there is none.
    """
    asked = list(dict.fromkeys(names.replace(",", " ").split()))
    unknown = [name for name in asked if name not in RUBRICS]
    if unknown or not asked:
        raise ValueError(f"rubric {' '.join(unknown)!r}: choose of {', '.join(RUBRICS)}")
    return tuple(RUBRICS[name] for name in asked)


def judged_pairs(pairs: Sequence[tuple[str, str]], system: str, every: bool = False) -> list[tuple[str, str]]:
    """The pairs of systems that a judge model compares: those of one system, which comes first; or every pair.

    >>> judged_pairs([("rag_tuned", "base"), ("vanilla_rag", "rag_tuned"), ("vanilla_rag", "base")], "rag_tuned")
    [('rag_tuned', 'base'), ('rag_tuned', 'vanilla_rag')]
    """
    turned = [(b, a) if b == system else (a, b) for a, b in pairs]
    return [pair for pair in turned if every or pair[0] == system]


def summarize(
    judged: Judged,
    reference: Sequence[Verdict],
    answers: Sequence[Answer],
    published: Sequence[Verdict] = (),
    person: Sequence[Verdict] = (),
    seed: int = 17,
    samples: int = 2000,
) -> dict[str, list[dict[str, Any]]]:
    """Rows of every statistic; without a judge model all are empty but for `agreement`.

    Args:
        judged: by a judge model; `NOBODY` where none was asked.
        reference: verdicts of the reference judge.
        answers: what was judged.
        published: verdicts of `judge_as_published`.
        person: verdicts of `agreement.BlindJudging`.
        seed: of the bootstraps.
        samples: resamples of the questions; a quarter of them where a model is fitted to each.

    Returns:
        `mean_win_rates`, `positions`, `length_controlled`, `bradley_terry` (the reference judge beside the model),
        `published` (rates as published), `flaws` (`raw_against_published`) and `agreement`; rows as those functions
        give them.
    """
    fits = max(1, samples // 4)
    return {
        "mean_win_rates": mean_win_rates(judged.verdicts, seed, samples),
        "positions": position_effects(judged.calls, seed, samples),
        "length_controlled": length_controlled(judged.verdicts, answers, seed, fits),
        "bradley_terry": bradley_terry([*reference, *judged.verdicts], seed, fits) if judged.verdicts else [],
        "published": mean_win_rates(published, seed, samples),
        "flaws": raw_against_published(judged.verdicts, published),
        "agreement": agreements([*person, *judged.verdicts, *reference], seed=seed, samples=samples),
    }
