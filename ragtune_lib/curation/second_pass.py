"""How far to trust what was decided: a blind second opinion, agreement, adjudication, and what nobody looked at.

A second person decides about a seeded sample of what a first one decided, without seeing those decisions (`blind`).
`agreement` then says how often both agree, and how much more often than by chance. What they disagree about
(`disagreements`) is settled by a named person with `Curation.decide(..., adjudication=True)`.

For pairs that nobody has looked at, a random sample is drawn and kept in the run folder (`quality_sample`); what is
dropped or edited of it gives the share of errors among all of them (`error_rate`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ragtune_lib.curate import Curation
from ragtune_lib.curation.events import DECIDING, pair_hash
from ragtune_lib.curation.queues import ordered
from ragtune_lib.records import Decision
from ragtune_lib.store import read_json, write_json

SAMPLE_FILE = "quality_sample.json"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two people agree on the pairs that both decided: keep, edit or drop."""

    first: str
    second: str
    n: int  # pairs that both decided
    agree: float | None  # share with the same action, None when n is 0
    kappa: float | None  # Cohen's; None when undefined: n is 0, or both said one and the same throughout
    table: dict[tuple[str, str], int]  # number of pairs by (action of the first, of the second), all nine


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A pair that people decided differently and that nobody has settled."""

    pair_id: str
    decisions: tuple[Decision, ...]  # the last of each person, by name


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Share of errors among pairs that nobody decided, estimated from a random sample of them."""

    n: int  # pairs of the sample that were decided by now
    errors: int  # of these, dropped or edited
    rate: float | None  # errors / n, None when n is 0
    low: float  # Wilson interval at 95 %; 0 and 1 when n is 0
    high: float
    sample: int  # pairs of the sample that are still there
    unseen: int  # pairs that are used without anybody having decided about them


def decided_by(curation: Curation, reviewer: str) -> dict[str, Decision]:
    """What one person decided about the pairs as they are, in the order of the pairs; adjudications do not count."""
    found = {}
    for pair_id, pair in curation.pairs.items():
        if pair_id in curation.events.about:
            words = curation.events.words(pair_id, pair_hash(pair), adjudications=False)
            if reviewer in words and words[reviewer][3].action in DECIDING:
                found[pair_id] = words[reviewer][3]
    return found


def blind(curation: Curation, first: str, count: int = 50, seed: int = 17) -> Curation:
    """A review of a sample of what `first` decided that shows nothing of those decisions.

    What is decided goes to the file of the curation's own reviewer, so `curation` itself has to be made anew to see it.
    The sample is the same each time, as long as `first` decides nothing new.

    Args:
        curation: opened by the second person.
        first: name of the first, "" for who gave none.
        count: pairs in the sample, fewer where fewer were decided.
        seed: of the choice.

    Raises:
        ValueError: if both are the same person.
    """
    if first == curation.reviewer:
        raise ValueError(f"a second opinion needs another person than {first or 'the one without a name'}")
    chosen = ordered(curation, list(decided_by(curation, first)), "random", seed)[:count]
    flags = [flag for flags in curation.flags.values() for flag in flags]
    pairs, chunks = list(curation.pairs.values()), list(curation.chunks.values())
    return Curation(curation.folder, pairs, flags, curation.reviewer, chunks, blind=chosen)


def agreement(curation: Curation, first: str, second: str) -> Agreement:
    """Raw agreement, Cohen's kappa and confusion table of two people, over the pairs that both decided.

    Two edits agree whatever their wording. What a person said as an adjudicator is left out: that was not blind.
    """
    one, other = decided_by(curation, first), decided_by(curation, second)
    said = [(one[pair_id].action, other[pair_id].action) for pair_id in one if pair_id in other]
    counts = Counter(said)
    kappa = cohen_kappa([a for a, _ in said], [b for _, b in said])
    return Agreement(
        first,
        second,
        len(said),
        sum(a == b for a, b in said) / len(said) if said else None,
        None if math.isnan(kappa) else kappa,
        {(a, b): counts[a, b] for a in DECIDING for b in DECIDING},
    )


def cohen_kappa(one: Sequence[str], other: Sequence[str]) -> float:
    """Agreement of two judges beyond chance, at most 1; 0 is what chance gives.

        kappa = (p_o - p_e) / (1 - p_e)

    p_o is the share of items with equal verdicts, p_e the sum over verdicts of the product of both judges' shares. nan
    without items, and where both give one and the same verdict throughout: then chance explains everything.

    Source: Cohen 1960, doi:10.1177/001316446002000104.
    """
    n = len(one)
    if not n:
        return math.nan
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    first, second = Counter(one), Counter(other)
    expected = sum(first[name] * second[name] for name in first) / n**2
    return math.nan if expected >= 1 else (observed - expected) / (1 - expected)


def disagreements(curation: Curation) -> list[Disagreement]:
    """The adjudication queue, in the order of the pairs: different decisions, or edits in different wordings."""
    found = []
    for pair_id, pair in curation.pairs.items():
        if len(curation.events.about.get(pair_id, ())) < 2:
            continue
        words = [entry[3] for _, entry in sorted(curation.events.words(pair_id, pair_hash(pair)).items())]
        decisions = tuple(word for word in words if word.action in DECIDING)
        said = {(one.action, one.question, one.reasoning, one.answer) for one in decisions}
        if len(said) > 1 and not any(one.adjudication for one in decisions):
            found.append(Disagreement(pair_id, decisions))
    return found


def quality_sample(curation: Curation, count: int = 100, seed: int = 17) -> list[str]:
    """A random sample of the pairs that would be used without anybody having decided about them.

    Drawn once and kept in `quality_sample.json` of the run folder, for all people: after a few decisions nobody could
    tell any more which pairs were decided because they had been drawn. Delete the file to draw another one.

    Returns:
        Ids in the order of the draw; those of pairs that are gone are left out.
    """
    path = curation.folder / SAMPLE_FILE
    if not path.exists():
        drawn = ordered(curation, _unseen(curation), "random", seed)[:count]
        write_json(path, {"seed": seed, "count": count, "pair_ids": drawn})
    return [pair_id for pair_id in read_json(path)["pair_ids"] if pair_id in curation.pairs]


def _unseen(curation: Curation) -> list[str]:
    blocked = curation.blocked
    return [one for one in curation.pairs if one not in blocked and curation.state(one) not in DECIDING]


def error_rate(curation: Curation, sample: Collection[str]) -> ErrorRate:
    """How many of the pairs that nobody looked at are probably wrong.

    Args:
        curation: the state.
        sample: ids from `quality_sample`. Those that are not decided yet are left out of n, so decide them in their
            order and leave out none: who skips the hard ones gets too low a rate.
    """
    states = [curation.state(pair_id) for pair_id in sample]
    n = sum(state in DECIDING for state in states)
    errors = sum(state in ("drop", "edit") for state in states)
    low, high = wilson(errors, n)
    return ErrorRate(n, errors, errors / n if n else None, low, high, len(states), len(_unseen(curation)))


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a share at `z` standard deviations (1.96: 95 %); 0 and 1 when n is 0.

        (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n),  p = hits / n

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.

    >>> [round(end, 4) for end in wilson(5, 50)]
    [0.0435, 0.2136]
    """
    if not n:
        return 0.0, 1.0
    p = hits / n
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    return low if hits else 0.0, high if hits < n else 1.0
