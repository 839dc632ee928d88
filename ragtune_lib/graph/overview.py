"""An index of a large graph: its communities as a graph of their own, and every smaller part of it at once.

A picture of 100,000 entities shows nothing. Their communities do: one node each, a line where links lead across.
From there a person goes to the entities of one community, to the neighbourhood of one entity, or searches.
All links are put into arrays once, so that each of these steps looks at little.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import numpy as np

from ragtune_lib.graph.colours import communities_of, community_names
from ragtune_lib.graph.edits import Corrections
from ragtune_lib.records import Chunk, Community, Entity, Relationship
from ragtune_lib.text import normalize

NO_COMMUNITY = "in no community"
LOOSE = ""  # in the place of a community's id: entities that are in none
NEAR = 100  # entities of a neighbourhood at most
DRAWN = 300  # entities or communities of a picture at most
FOUND = 50  # names of a search at most


@dataclass(frozen=True, slots=True)
class Filter:
    """Which part of the graph to look at; "" and 0 let everything pass."""

    kind: str = ""  # type of the entity
    document: str = ""  # document id: entities with a chunk of it, links that a chunk of it tells
    since: str = ""  # ISO dates, inclusive: likewise with the date of a chunk; what has no date does not pass
    until: str = ""
    min_weight: float = 0.0  # of a link

    @property
    def by_chunk(self) -> bool:
        """Whether chunks decide what passes."""
        return bool(self.document or self.since or self.until)

    def chunk_ids(self, chunks: Iterable[Chunk]) -> set[str]:
        """The chunks that pass."""
        return {
            chunk.id
            for chunk in chunks
            if self.document in ("", chunk.document_id)
            and (not self.since or chunk.date >= self.since)
            and (not self.until or "" < chunk.date <= self.until)
        }


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Part:
    """Some entities, and all links among them."""

    entities: tuple[Entity, ...]  # most important first
    links: tuple[Relationship, ...]
    whole: int  # entities that there would be without the limit


@dataclass(frozen=True, slots=True)
class Group:
    """One community in the overview."""

    id: str  # LOOSE for what is in none
    members: int  # that pass the filter


@dataclass(frozen=True, slots=True)
class Overview:
    """Communities as a graph."""

    groups: tuple[Group, ...]  # largest first
    links: tuple[tuple[str, str, int], ...]  # two group ids and the number of links between them
    whole: int  # groups that there would be without the limit


class GraphIndex:
    """A graph with its links in arrays, made once: about 2 s for 100,000 entities and 1,000,000 relationships.

    Args:
        entities: nodes.
        relationships: edges; several between the same two and loops are kept.
        communities: of all levels.
        chunks: for the filters by document and date; may be empty.
        corrections: what a person changed since; see `corrected`.

    Raises:
        ValueError: if a relationship names an unknown entity.
    """

    def __init__(
        self,
        entities: Sequence[Entity],
        relationships: Sequence[Relationship],
        communities: Sequence[Community],
        chunks: Sequence[Chunk] = (),
    ):
        self.entities, self.links, self.chunks = list(entities), relationships, chunks
        self.communities = {community.id: community for community in communities}
        self.place = {entity.id: at for at, entity in enumerate(self.entities)}
        count = len(relationships)
        try:
            self._source, self._target = (
                np.fromiter(map(self.place.__getitem__, map(attrgetter(end), relationships)), np.int32, count)
                for end in ("source", "target")
            )
        except KeyError as error:
            raise ValueError(f"a relationship names an unknown entity {error}") from error
        self._weight = np.fromiter(map(attrgetter("weight"), relationships), np.float64, count)
        # rows of both directions, sorted by where they start: those of entity n are at _first[n] to _first[n + 1]
        ends = np.concatenate([self._source, self._target])
        order = np.argsort(ends, kind="stable")
        self._link = np.concatenate([np.arange(count)] * 2)[order].astype(np.int32)
        self._other = np.concatenate([self._target, self._source])[order]
        self._first = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=len(self.entities)))])
        self._here = np.ones(len(self.entities), bool)
        self._linked = np.ones(count, bool)
        self._levels: dict[int, tuple[list[str], np.ndarray]] = {}
        self.levels = 1 + max((community.level for community in communities), default=0)

    def corrected(self, found: Corrections) -> GraphIndex:
        """This index of the corrected graph; the arrays are shared, so it takes no time."""
        other = object.__new__(GraphIndex)
        other.__dict__.update(self.__dict__)
        other.__dict__.pop("degree", None)
        other.entities = list(self.entities)
        if "_names" in self.__dict__:
            other._names = list(self._names)
        for one in {*found.names, *found.kinds} & self.place.keys():
            at = self.place[one]
            other.entities[at] = found.entity(self.entities[at])
            if "_names" in self.__dict__:
                other._names[at] = _searched(other.entities[at].name)
        other._here, other._linked = self._here.copy(), self._linked.copy()
        other._here[[self.place[one] for one in found.deleted & self.place.keys()]] = False
        if found.unlinked:
            other._linked[[at for at, link in enumerate(self.links) if link.id in found.unlinked]] = False
        if found.deleted:
            other._linked &= other._here[self._source] & other._here[self._target]
        return other

    def entity(self, entity_id: str) -> Entity:
        """The entity as it is now.

        Raises:
            ValueError: if there is none, or it was deleted.
        """
        at = self.place.get(entity_id)
        if at is None or not self._here[at]:
            raise ValueError(f"no entity with id {entity_id!r:.60}")
        return self.entities[at]

    @cached_property
    def _names(self) -> list[str]:
        return [_searched(entity.name) for entity in self.entities]

    @cached_property
    def degree(self) -> np.ndarray:
        """Number of links of each entity, in their order; a loop counts once."""
        left = self._linked
        loops = self._source == self._target
        ends = np.concatenate([self._source[left], self._target[left & ~loops]])
        return np.bincount(ends, minlength=len(self.entities))

    def degrees(self, entity_ids: Collection[str]) -> dict[str, int]:
        """Number of links of each of these entities."""
        return {one: int(self.degree[self.place[one]]) for one in entity_ids}

    def kinds(self) -> list[str]:
        """Types of entities, most frequent first."""
        counts: dict[str, int] = {}
        for entity in self.entities:
            counts[entity.kind] = counts.get(entity.kind, 0) + 1
        return sorted(filter(None, counts), key=lambda kind: (-counts[kind], kind))

    def overview(self, level: int = 0, wanted: Filter = EVERYTHING, limit: int = DRAWN) -> Overview:
        """The communities of a level and how many links lead from each to each other.

        Where a community was not split as far as `level`, it stands there itself, so that every entity is in exactly
        one group; those in no community are the group LOOSE.

        Args:
            level: 0 is the coarsest.
            wanted: what to count.
            limit: groups at most, the largest.
        """
        ids, group = self._groups(level)
        passes = self._passing(wanted)
        sizes = np.bincount(group[passes], minlength=len(ids))
        best = sorted(np.flatnonzero(sizes), key=lambda at: (-sizes[at], ids[at]))
        shown = np.zeros(len(ids), bool)
        shown[best[:limit]] = True
        links = self._passing_links(wanted, passes)
        one, other = group[self._source[links]], group[self._target[links]]
        across = (one != other) & shown[one] & shown[other]
        low, high = np.minimum(one, other)[across].astype(np.int64), np.maximum(one, other)[across]
        pairs, counts = np.unique(low * len(ids) + high, return_counts=True)
        return Overview(
            tuple(Group(ids[at], int(sizes[at])) for at in best[:limit]),
            tuple(
                (ids[pair // len(ids)], ids[pair % len(ids)], int(count))
                for pair, count in zip(pairs.tolist(), counts, strict=True)
            ),
            len(best),
        )

    def members(self, community_id: str, level: int = 0, wanted: Filter = EVERYTHING, limit: int = DRAWN) -> Part:
        """The entities of one community, best connected first, or those of none (LOOSE).

        Raises:
            ValueError: if there is no such community.
        """
        if community_id == LOOSE:
            ids, group = self._groups(level)
            at = np.flatnonzero(group == ids.index(LOOSE)) if LOOSE in ids else np.array([], int)
        elif community_id in self.communities:
            inside = self.communities[community_id].entity_ids
            at = np.array([self.place[one] for one in inside if one in self.place], int)
        else:
            raise ValueError(f"no community with id {community_id!r:.60}")
        return self._part(self._best(at[self._passing(wanted)[at]]), wanted, limit)

    def best_connected(self, wanted: Filter = EVERYTHING, limit: int = DRAWN) -> Part:
        """The entities with most links of all that pass."""
        return self._part(self._best(np.flatnonzero(self._passing(wanted))), wanted, limit)

    def near(self, entity_id: str, steps: int = 1, wanted: Filter = EVERYTHING, limit: int = NEAR) -> Part:
        """An entity and what it is linked to, the strongest links first.

        A neighbour counts by the weight of its link; one at two steps by the weaker link of its best way. So whoever is
        there has a whole way there. The entity itself is there whatever the filter.

        Args:
            entity_id: in the middle.
            steps: 1 or 2.
            wanted: what to look at.
            limit: entities at most.

        Raises:
            ValueError: if there is no such entity, or for other steps.
        """
        self.entity(entity_id)
        if steps not in (1, 2):
            raise ValueError(f"steps={steps}: a neighbourhood has 1 or 2")
        middle = self.place[entity_id]
        passes = self._passing(wanted)
        score = np.zeros(len(self.entities))
        rows = self._rows(np.array([middle]), wanted, passes)
        np.maximum.at(score, self._other[rows], self._weight[self._link[rows]])
        first = np.flatnonzero(score)
        far = np.zeros(len(self.entities), np.int8)
        far[first] = 1
        if steps == 2:
            rows = self._rows(first, wanted, passes)
            starts = np.searchsorted(self._first, rows, side="right") - 1
            way = np.minimum(score[starts], self._weight[self._link[rows]])
            beyond = far[self._other[rows]] == 0
            np.maximum.at(score, self._other[rows[beyond]], way[beyond])
            far[(score > 0) & (far == 0)] = 2
        score[middle] = 0
        around = np.flatnonzero(score)
        order = np.lexsort((around, far[around], -score[around]))
        return self._part(np.concatenate([[middle], around[order]]), wanted, limit)

    def relations(self, entity_id: str) -> list[Relationship]:
        """All links of an entity, strongest first."""
        at = self.place[entity_id]
        rows = np.arange(self._first[at], self._first[at + 1])
        links = np.unique(self._link[rows][self._linked[self._link[rows]]])
        return sorted((self.links[one] for one in links), key=lambda link: (-link.weight, link.id))

    def search(self, text: str, limit: int = FOUND) -> list[Entity]:
        """Entities whose name holds a text: the same name first, then names that begin with it, then by degree."""
        wanted = _searched(text)
        if not wanted:
            return []
        found = [at for at, name in enumerate(self._names) if wanted in name and self._here[at]]
        names, degree = self._names, self.degree
        found.sort(key=lambda at: (names[at] != wanted, not names[at].startswith(wanted), -degree[at], names[at], at))
        return [self.entities[at] for at in found[:limit]]

    def communities_of(self, entity_id: str) -> list[Community]:
        """The communities that an entity is in, coarsest first."""
        found = [self._community(level, entity_id) for level in range(self.levels)]
        return [one for one in dict.fromkeys(found) if one is not None]

    def group_name(self, group_id: str) -> str:
        """Name of a community that no other has."""
        return self._group_names.get(group_id, NO_COMMUNITY)

    def group_names(self, entities: Iterable[Entity], level: int) -> dict[str, str]:
        """Name of the community of each of these entities that is in one."""
        ids, group = self._groups(level)
        found = {entity.id: ids[group[self.place[entity.id]]] for entity in entities}
        return {one: self._group_names[group_id] for one, group_id in found.items() if group_id != LOOSE}

    def grouped(self, level: int) -> dict[str, list[Entity]]:
        """The entities of each group of a level."""
        ids, group = self._groups(level)
        inside: dict[str, list[Entity]] = {one: [] for one in ids}
        for at in np.flatnonzero(self._here).tolist():
            inside[ids[group[at]]].append(self.entities[at])
        return inside

    @cached_property
    def _group_names(self) -> dict[str, str]:
        return community_names(list(self.communities.values()))

    def _community(self, level: int, entity_id: str) -> Community | None:
        ids, group = self._groups(level)
        return self.communities.get(ids[group[self.place[entity_id]]])

    def _groups(self, level: int) -> tuple[list[str], np.ndarray]:
        """Group ids of a level, and the place among them of each entity's group."""
        if level not in self._levels:
            found = communities_of(list(self.communities.values()), level)
            ids = [*dict.fromkeys(one.id for one in found.values()), LOOSE]
            number = {one: at for at, one in enumerate(ids)}
            groups = (number[found[entity.id].id if entity.id in found else LOOSE] for entity in self.entities)
            self._levels[level] = ids, np.fromiter(groups, np.int32, len(self.entities))
        return self._levels[level]

    def _passing(self, wanted: Filter) -> np.ndarray:
        """Which entities pass, as a mask in their order."""
        passes = self._here.copy()
        if wanted.kind:
            passes &= np.fromiter((entity.kind == wanted.kind for entity in self.entities), bool, len(passes))
        if wanted.by_chunk:
            allowed = wanted.chunk_ids(self.chunks)
            told = (not allowed.isdisjoint(entity.chunk_ids) for entity in self.entities)
            passes &= np.fromiter(told, bool, len(passes))
        return passes

    def _passing_links(self, wanted: Filter, passes: np.ndarray) -> np.ndarray:
        """Places of the links that pass, both ends included."""
        kept = self._linked & passes[self._source] & passes[self._target] & (self._weight >= wanted.min_weight)
        return self._told(np.flatnonzero(kept), wanted)

    def _told(self, links: np.ndarray, wanted: Filter) -> np.ndarray:
        if not wanted.by_chunk:
            return links
        allowed = wanted.chunk_ids(self.chunks)
        return links[[not allowed.isdisjoint(self.links[at].chunk_ids) for at in links.tolist()]]

    def _rows(self, starts: np.ndarray, wanted: Filter, passes: np.ndarray) -> np.ndarray:
        """Rows of these entities that lead to something that passes."""
        counts = self._first[starts + 1] - self._first[starts]
        if not counts.sum():
            return np.array([], int)
        ends = np.cumsum(counts)
        rows = np.arange(ends[-1]) + np.repeat(self._first[starts] - (ends - counts), counts)
        links = self._link[rows]
        rows = rows[self._linked[links] & passes[self._other[rows]] & (self._weight[links] >= wanted.min_weight)]
        if wanted.by_chunk:
            rows = rows[np.isin(self._link[rows], self._told(np.unique(self._link[rows]), wanted))]
        return rows

    def _best(self, places: np.ndarray) -> np.ndarray:
        return places[np.lexsort((places, -self.degree[places]))]

    def _part(self, places: np.ndarray, wanted: Filter, limit: int) -> Part:
        """The first of these entities and all links among them that pass."""
        chosen = places[:limit]
        inside = np.zeros(len(self.entities), bool)
        inside[chosen] = True
        rows = self._rows(chosen, wanted, inside)
        links = np.unique(self._link[rows])
        return Part(
            tuple(self.entities[at] for at in chosen.tolist()),
            tuple(self.links[at] for at in links.tolist()),
            len(places),
        )


def _searched(text: str) -> str:
    """A name as it is searched for; signs alone stay as they are."""
    return normalize(text) or text.strip().lower()
