"""Which entities may be the same: scored pairs for a person to accept or reject, never merged by themselves.

Three things are looked at: whether the names are alike, whether names and descriptions mean the same, and whether both
are linked with the same others. Only pairs with something in common are compared at all, so the work grows with the
number of names and not with its square.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from ragtune_lib.graph.extract import fold_plural
from ragtune_lib.records import AliasPair, Entity, Relationship
from ragtune_lib.text import normalize, numbers

if TYPE_CHECKING:
    import numpy as np

# Own choice, set by eye on one index: a like name is the best sign, a like meaning often only says "of the same sort".
NAME, MEANING, NEIGHBOURS = 0.5, 0.3, 0.2
AGAINST = 0.1  # taken off where the two stand in one sentence, and where their types differ
INITIALS = 0.9  # likeness of "USI" and "University of Southern Indiana"
AT_END, AT_START, WITHIN = 0.85, 0.75, 0.65  # of "Scrooge", of "Ebenezer", of any other part, and "Ebenezer Scrooge"
FEW = 4  # neighbours; two that share their only two may do so by chance
MAX_BLOCK = 60  # a word that more names share says nothing
MAX_DEGREE = 15  # an entity with more links is everybody's neighbour
START = 5  # letters of a word that a misspelling is expected to leave alone
DESCRIPTION = 300  # characters that are embedded

LITTLE = frozenset("the a an of and in at on for to my our his her their its your".split())  # noqa: SIM905
POSSESSIVE = re.compile(r"(\w)['\u2019]s (?=\S)", re.IGNORECASE)

Pair = tuple[str, str]


def suggest_aliases(
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    embed: Callable[[Sequence[str]], np.ndarray] | None = None,
    at_least: float = 0.65,
    most: int = 500,
) -> list[AliasPair]:
    """Find pairs of entities that may be the same.

    The score is 0.5 name + 0.3 meaning + 0.2 neighbours, less 0.1 if a sentence names both and less 0.1 if their types
    differ; without `embed` the first two weigh 0.7 and the third 0.3. It orders the pairs and is no probability.
    Compared are names that share a word, the beginning of a word or the initials, and entities that share two
    neighbours without being linked. Names with different numbers ("Level 1", "Level 2") are never paired.

    Args:
        entities: nodes of the graph.
        relationships: its edges.
        embed: maps n texts to an n x d array of unit vectors, e.g. `models.load_embedder()`; it is called once, with
            the names and descriptions of those entities alone that may still reach `at_least`.
        at_least: lowest score to suggest, in [0, 1].
        most: the best so many pairs.

    Returns:
        Pairs, best first; ties by name.
    """
    by_id = {entity.id: entity for entity in entities}
    near = _neighbours(relationships)
    weights = (NAME, MEANING, NEIGHBOURS) if embed else (NAME + 0.2, 0.0, NEIGHBOURS + 0.1)
    likely = []
    for pair in sorted(_candidates(entities, near)):
        left, right = (by_id[entity_id] for entity_id in pair)
        name, why = name_likeness(left.name, right.name)
        shared = near[left.id] & near[right.id]
        smaller = min(len(near[left.id] - {right.id}), len(near[right.id] - {left.id}))
        overlap = len(shared) / max(smaller, FEW) if len(shared) > 1 else 0.0
        against = AGAINST * ((right.id in near[left.id]) + (left.kind != right.kind))
        if weights[0] * name + weights[1] + weights[2] * overlap - against >= at_least:
            likely.append((left, right, name, why, overlap, against, shared))
    meaning = _meanings(sorted({one.id for found in likely for one in found[:2]}), by_id, embed)
    pairs = []
    for left, right, name, why, overlap, against, shared in likely:
        cosine = meaning(left.id, right.id)
        score = weights[0] * name + weights[2] * overlap - against
        score += weights[1] * max(cosine, 0.0) if embed else 0.0
        if score >= at_least:
            common = [by_id[entity_id].name for entity_id in sorted(shared)]
            reasons = _reasons(left, right, why, cosine, sorted(common), right.id in near[left.id])
            ids, names = (left.id, right.id), (left.name, right.name)
            pairs.append(AliasPair(ids, names, round(score, 4), round(name, 4), cosine, round(overlap, 4), reasons))
    return sorted(pairs, key=lambda pair: (-pair.score, pair.names, pair.entity_ids))[:most]


def name_likeness(left: str, right: str) -> tuple[float, str]:
    """How alike two names are, in [0, 1], and why, in words.

    >>> name_likeness("Scrooge", "Ebenezer Scrooge")
    (0.85, 'one name is part of the other')
    >>> name_likeness("Scrooge", "Scrooge's clerk")[0] < 0.7
    True
    >>> name_likeness("USI", "University of Southern Indiana")
    (0.9, 'one name is the initials of the other')
    """
    from rapidfuzz import fuzz

    one, other = sorted((_words(left), _words(right)), key=len)
    if not one:
        return 0.0, "a name without letters"
    if sorted(one) == sorted(other):
        return 1.0, "the same name in another spelling"
    if (left.isupper() and _initials(right) == left.lower()) or (right.isupper() and _initials(left) == right.lower()):
        return INITIALS, "one name is the initials of the other"
    shared = set(one) & set(other)
    if shared == set(one):
        at_edge = AT_END if other[-len(one) :] == one else AT_START if other[: len(one)] == one else WITHIN
        return at_edge, "one name is part of the other"
    # The words they do not share must be alike: Kristin and Kristen Wilkins, but not Peter and Martha Wilkins.
    rests = [" ".join(word for word in words if word not in shared) for words in (one, other)]
    likeness = fuzz.token_sort_ratio(*rests) / 100
    return likeness, f"names {likeness:.0%} alike"


def _words(name: str) -> list[str]:
    """Words of a name that tell it from others, in the singular; "Scrooge's" in "Scrooge's clerk" is not "Scrooge"."""
    # U+02BC is an apostrophe that counts as a letter, so the possessive stays a word of its own.
    found = normalize(POSSESSIVE.sub("\\1\u02bcs ", name)).split()
    kept = [word for word in found if word not in LITTLE] or found
    return [fold_plural(word) for word in kept]


def _initials(name: str) -> str:
    words = [word for word in normalize(name).split() if word not in LITTLE]
    return "".join(word[0] for word in words) if len(words) > 1 else ""


def _neighbours(relationships: Sequence[Relationship]) -> Mapping[str, set[str]]:
    near: dict[str, set[str]] = defaultdict(set)
    for link in relationships:
        near[link.source].add(link.target)
        near[link.target].add(link.source)
    return near


def _candidates(entities: Sequence[Entity], near: Mapping[str, set[str]]) -> set[Pair]:
    """Pairs of ids worth a comparison, each sorted."""
    holding: dict[str, list[Entity]] = defaultdict(list)  # by word
    starting: dict[str, list[Entity]] = defaultdict(list)  # by the beginning of a word
    initials: dict[str, list[Entity]] = defaultdict(list)
    for entity in entities:
        words = set(_words(entity.name))
        for word in words:
            holding[word].append(entity)
        for start in {word[:START] for word in words}:
            starting[start].append(entity)
        initials[_initials(entity.name)].append(entity)
    blocks = [block for block in [*holding.values(), *starting.values()] if len(block) <= MAX_BLOCK]
    pairs = {pair for block in blocks for pair in combinations(block, 2)}
    for entity in entities:
        words = _words(entity.name)
        if len(words) == 1:  # "Scrooge" is compared with all names that hold it, however many
            others = holding[words[0]] + (initials[entity.name.lower()] if entity.name.isupper() else [])
            pairs |= {(entity, other) for other in others if other is not entity}
    by_id = {entity.id: entity for entity in entities}
    found = {in_order(left.id, right.id) for left, right in pairs}
    found |= {pair for pair, count in _sharing(near).items() if count > 1 and pair[1] not in near[pair[0]]}
    told = {entity.id: numbers(entity.name) for entity in entities}
    return {pair for pair in found if pair[0] in by_id and pair[1] in by_id and told[pair[0]] == told[pair[1]]}


def _sharing(near: Mapping[str, set[str]]) -> Counter[Pair]:
    """How many neighbours with few links two entities share."""
    few = (sorted(found) for found in near.values() if len(found) <= MAX_DEGREE)
    return Counter(pair for found in few for pair in combinations(found, 2))


def in_order(left: str, right: str) -> Pair:
    """Two ids as the key of their pair, whichever came first."""
    return (left, right) if left < right else (right, left)


def _meanings(
    ids: Sequence[str], by_id: Mapping[str, Entity], embed: Callable[[Sequence[str]], np.ndarray] | None
) -> Callable[[str, str], float]:
    """The cosine of two entities' names and descriptions."""
    if embed is None or not ids:
        return lambda left, right: math.nan
    told = [f"{by_id[one].name}: {by_id[one].description}"[:DESCRIPTION] for one in ids]
    vectors = embed(told)
    row = {entity_id: number for number, entity_id in enumerate(ids)}
    return lambda left, right: round(float(vectors[row[left]] @ vectors[row[right]]), 4)


def _reasons(
    left: Entity, right: Entity, why: str, cosine: float, common: Sequence[str], linked: bool
) -> tuple[str, ...]:
    reasons = [why]
    if not math.isnan(cosine):
        reasons.append(f"name and description mean {cosine:.0%} the same")
    if len(common) > 1:
        some = ", ".join(common[:3])
        reasons.append(f"both are linked with {some}" + (f" and {len(common) - 3} more" if len(common) > 3 else ""))
    if linked:
        reasons.append("against it: a sentence names both")
    if left.kind != right.kind:
        reasons.append(f"against it: {left.name} is {left.kind}, {right.name} is {right.kind}")
    return tuple(reasons)
