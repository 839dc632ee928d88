"""What a person decided about entities that may be the same, and the graph that follows from it.

Decisions are appended to aliases.jsonl and never changed; the graph is merged anew from them each time, so an undo
brings the old graph back.

Two entities are merged only if a person said so of these two. A = B and B = C do not make A = C: where decisions would
unite two groups, each pair across them must have been accepted. They are looked at in the order in which they were
made, so what was merged first stays merged, and a later one that would bring in an undecided pair waits ("open") until
that pair is accepted too. A decision may name more than two entities; it then speaks of every pair of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import get_args, get_type_hints

from ragtune_lib.graph.aliases import in_order
from ragtune_lib.graph.events import STAGE, EventLog, read_events, standing
from ragtune_lib.records import AliasDecision, AliasPair, Community, Entity, Problem, Relationship, Sentence
from ragtune_lib.store import content_id

ACTIONS = get_args(get_type_hints(AliasDecision)["action"])
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Grouping:
    """What the decisions come to."""

    groups: tuple[tuple[str, ...], ...]  # entity ids that are one, each sorted, at least two; disjoint
    open: tuple[Pair, ...]  # undecided pairs that stand between accepted ones and their merging: to be asked next
    contradicted: tuple[Pair, ...]  # accepted pairs that cannot be merged, since that would unite a rejected pair


@dataclass(frozen=True, slots=True)
class Merged:
    """A graph after merging. Communities name entity ids: detect them anew, or see `remaining`."""

    entities: list[Entity]  # sorted by id
    relationships: list[Relationship]  # sorted by id
    loops: list[Relationship]  # links between entities that are one now; dropped
    problems: list[Problem]  # groups that name entities which are gone


def grouped(decisions: Iterable[AliasDecision]) -> Grouping:
    """Groups of entities that are one, from all decisions in the order of the file.

    The last standing decision about a pair counts; see the top of this module for how pairs become groups.
    """
    verdict: dict[Pair, str] = {}
    for event in standing(decisions):
        for pair in combinations(sorted(event.entity_ids), 2):
            verdict.pop(pair, None)  # so that it stands at the place of its last decision
            verdict[pair] = event.action
    group: dict[str, frozenset[str]] = {}
    waiting: set[Pair] = set()
    contradicted: list[Pair] = []
    for pair in [pair for pair, action in verdict.items() if action == "accept"]:
        left, right = (group.get(one, frozenset([one])) for one in pair)
        if left == right:
            continue
        across = {in_order(*both): verdict.get(in_order(*both)) for both in product(left, right)}
        if set(across.values()) == {"accept"}:
            group |= dict.fromkeys(left | right, left | right)
        elif "reject" in across.values():
            contradicted.append(pair)
        else:
            waiting |= {both for both, action in across.items() if action is None}
    groups = {tuple(sorted(members)) for members in group.values()}
    return Grouping(tuple(sorted(groups)), tuple(sorted(waiting)), tuple(sorted(contradicted)))


def merge(entities: Sequence[Entity], relationships: Sequence[Relationship], groups: Iterable[Sequence[str]]) -> Merged:
    """Make one entity of each group; pure, in any order of the input.

    The one with most evidence (then most chunks, then the smallest id) gives id, name and type. Descriptions are
    joined, sentences and chunks united. Links to the same other entity become one: weights are summed, descriptions
    joined, evidence and chunks united. A sentence that names two spellings beside the other end so counts twice.

    Args:
        entities: nodes of the graph.
        relationships: its edges.
        groups: `Grouping.groups`; disjoint.

    Returns:
        The graph, with the dropped self-loops, and a problem for each id of a group that is no entity any more.

    Raises:
        ValueError: if two groups share an entity.
    """
    by_id = {entity.id: entity for entity in entities}
    into: dict[str, str] = {}
    merged: dict[str, Entity] = {}
    problems: list[Problem] = []
    for group in groups:
        gone = sorted(set(group) - set(by_id))
        problems += [Problem(STAGE, f"alias {one}", "accepted as an alias, but no entity any more") for one in gone]
        members = [by_id[one] for one in set(group) if one in by_id]
        members.sort(key=lambda entity: (-len(entity.evidence), -len(entity.chunk_ids), entity.id))
        for member in members:
            if member.id in into:
                raise ValueError(f"{member.name} ({member.id}) is in two groups")
            into[member.id] = members[0].id
        if members:
            merged[members[0].id] = _one_entity(members)
    kept = [merged.get(entity.id, entity) for entity in entities if into.get(entity.id, entity.id) == entity.id]
    links, loops = _relinked(relationships, into)
    return Merged(sorted(kept, key=lambda entity: entity.id), sorted(links, key=lambda link: link.id), loops, problems)


def remaining(communities: Iterable[Community], entities: Iterable[Entity]) -> list[Community]:
    """Communities of a graph before merging with those members that are still there, the reports as they were.

    It is for communities that were not made here and cannot be made again. A merged entity stays where the one was
    that gave it its id; a community without members goes.
    """
    known = {entity.id for entity in entities}
    left = [replace(one, entity_ids=tuple(filter(known.__contains__, one.entity_ids))) for one in communities]
    return [one for one in left if one.entity_ids]


def _one_entity(members: Sequence[Entity]) -> Entity:
    return replace(
        members[0],
        description=_joined(member.description for member in members),
        evidence=_united(member.evidence for member in members),
        chunk_ids=tuple(sorted({one for member in members for one in member.chunk_ids})),
    )


def _relinked(
    relationships: Sequence[Relationship], into: Mapping[str, str]
) -> tuple[list[Relationship], list[Relationship]]:
    """Relationships between the merged entities, and those that have become loops."""
    found: dict[Pair, list[Relationship]] = {}
    loops = []
    for link in sorted(relationships, key=lambda link: link.id):
        source, target = into.get(link.source, link.source), into.get(link.target, link.target)
        if source == target:
            loops.append(link)
        else:
            found.setdefault(in_order(source, target), []).append(link)
    return [_one_link(pair, links) for pair, links in found.items()], loops


def _one_link(pair: Pair, links: Sequence[Relationship]) -> Relationship:
    own = next((link for link in links if (link.source, link.target) == pair), None)
    if own and len(links) == 1:
        return own
    source, target = pair
    return Relationship(
        own.id if own else content_id(source, target),
        source,
        target,
        sum(link.weight for link in links),
        _joined(link.description for link in links),
        _united(link.evidence for link in links),
        tuple(sorted({one for link in links for one in link.chunk_ids})),
    )


def _joined(descriptions: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(text for text in descriptions if text))


def _united(evidence: Iterable[Iterable[Sentence]]) -> tuple[Sentence, ...]:
    distinct = {sentence for sentences in evidence for sentence in sentences}
    return tuple(sorted(distinct, key=lambda one: (one.position, one.date, one.chunk_id, one.text)))


def read_alias_decisions(path: Path) -> tuple[list[AliasDecision], list[Problem]]:
    """Read a file of decisions; a missing one is empty, and each line that is none is a problem."""
    return read_events(path, AliasDecision, _complaint)


def _complaint(decision: AliasDecision) -> str:
    ids = decision.entity_ids
    if decision.action not in ACTIONS:
        return f"unknown action {decision.action!r:.60}, expected one of {', '.join(ACTIONS)}"
    if not isinstance(ids, tuple) or len(set(ids)) < 2 or not all(isinstance(one, str) for one in ids):
        return f"expected at least two entity ids, got {ids!r:.60}"
    return ""


class AliasReview(EventLog[AliasDecision]):
    """The state of reviewing aliases, and the way to change it; every change is on the disk before it shows.

    Args:
        folder: the run folder; decisions are appended to its aliases.jsonl.
        entities: for their names.
        reviewer: name written into each decision; undo only takes back this reviewer's own.
    """

    def __init__(self, folder: Path, entities: Sequence[Entity], reviewer: str = ""):
        super().__init__(folder / "aliases.jsonl", AliasDecision, _complaint, reviewer)
        self.names = {entity.id: entity.name for entity in entities}

    def accept(self, *entity_ids: str) -> AliasDecision:
        """These entities are one, every two of them.

        Raises:
            ValueError: fewer than two different entities, or one that is not in the graph.
            OSError: if the decision cannot be written; the state is then unchanged.
        """
        return self._decide("accept", entity_ids)

    def reject(self, *entity_ids: str) -> AliasDecision:
        """No two of these entities are one; errors as in `accept`."""
        return self._decide("reject", entity_ids)

    def grouped(self) -> Grouping:
        """What the decisions come to as things stand; its `groups` are what `merge` wants."""
        return grouped(self.events)

    def queue(self, suggestions: Sequence[AliasPair]) -> list[Pair]:
        """What to ask next: first the pairs that hold up a merging, then undecided suggestions in their order."""
        decided = {pair for event in self.standing() for pair in combinations(sorted(event.entity_ids), 2)}
        waiting = [pair for pair in self.grouped().open if set(pair) <= set(self.names)]
        undecided = [pair.entity_ids for pair in suggestions if pair.entity_ids not in decided]
        return list(dict.fromkeys([*waiting, *undecided]))

    def _decide(self, action: str, entity_ids: Sequence[str]) -> AliasDecision:
        ids = tuple(sorted(set(entity_ids)))
        if unknown := [one for one in ids if one not in self.names]:
            raise ValueError(f"no entity with id {unknown[0]!r}")
        if len(ids) < 2:
            raise ValueError("name at least two different entities")
        return self.append(AliasDecision(content_id(*ids), ids, action, tuple(self.names[one] for one in ids)))
