"""GraphRAG's local search: the entities nearest to a question, and what the index holds around them.

After the published code (microsoft/graphrag) with the settings of RAG-Tuned-LLM's baselines (arXiv 2503.16071): half of
the budget for text units, a tenth for community reports, the rest for entities and relationships. Ours is that one
long description cannot use up its part: it is cut, see `ROW`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ragtune_lib.baselines.reading import HEADER, ModelReader, Turn, item_of, read_all
from ragtune_lib.graph.communities import homes
from ragtune_lib.llm import Call
from ragtune_lib.records import Answer, Chunk, Community, Entity, Problem, Question, Relationship
from ragtune_lib.retrieve import Retriever
from ragtune_lib.source_calls import source_call

if TYPE_CHECKING:
    import numpy as np

TOKENS = 12_000  # of the context, as in the paper's settings
TEXT_SHARE, REPORT_SHARE = 0.5, 0.1  # text_unit_prop and community_prop there
ENTITIES = 10  # nearest entities per question; GraphRAG's default
OUTSIDE = 10  # relationships to other entities for each of them; GraphRAG's default
ROW = 500  # tokens of one description; the paper has them summarised to that
PROMPT = "graphrag_local"


@dataclass(frozen=True, slots=True)
class LocalContext:
    """What stands before one question."""

    reports: tuple[str, ...]  # a line each
    entities: tuple[str, ...]
    relationships: tuple[str, ...]
    chunks: tuple[Chunk, ...]  # the last one may be cut, if it is the first

    @property
    def texts(self) -> dict[str, str]:
        """The parts for the prompt, besides the chunks."""
        parts = {"reports": self.reports, "entities": self.entities, "relationships": self.relationships}
        return {name: "\n".join(lines) or "(none)" for name, lines in parts.items()}


class LocalIndex:
    """A graph, arranged for local search at one community level.

    Args:
        entities: all entities.
        relationships: all relationships; those with an end that is no entity are left out.
        communities: of all levels, with their reports.
        chunks: the text units.
        level: 0 is the coarsest.
    """

    def __init__(
        self,
        entities: Sequence[Entity],
        relationships: Sequence[Relationship],
        communities: Sequence[Community],
        chunks: Sequence[Chunk],
        level: int,
    ):
        self.names = {entity.id: entity.name for entity in entities}
        self.homes = homes(communities, level)
        self.chunks = {chunk.id: chunk for chunk in chunks}
        self.place = {chunk.id: place for place, chunk in enumerate(chunks)}
        self.links: dict[str, list[Relationship]] = defaultdict(list)
        for link in relationships:
            if link.source in self.names and link.target in self.names:
                for end in dict.fromkeys((link.source, link.target)):
                    self.links[end].append(link)
        self.degree = {entity: len(links) for entity, links in self.links.items()}

    def context(self, found: Sequence[Entity], tokens: int, reader: ModelReader) -> LocalContext:
        """Fill a budget with what the index holds around some entities.

        Args:
            found: entities, nearest first, not empty.
            tokens: budget of all parts; what a part does not use is not passed on.
            reader: who counts.
        """
        text_room, report_room = int(tokens * TEXT_SHARE), int(tokens * REPORT_SHARE)
        rest = tokens - text_room - report_room
        row = max(1, min(ROW, rest // (2 * len(found))))  # so at least half of the room is left for relationships
        reports, _ = reader.fit(map(_report_line, self.reports(found)), report_room)
        entities, used = reader.fit((reader.cut(self._entity_line(one), row) for one in found), rest)
        links = (reader.cut(self._link_line(link), row) for link in self.relationships(found))
        relationships, _ = reader.fit(links, rest - used)
        chunks = self.text_units(found)
        texts, _ = reader.fit((chunk.text for chunk in chunks), text_room, HEADER)
        shown = [replace(chunk, text=text) for chunk, text in zip(chunks, texts, strict=False)]
        return LocalContext(tuple(reports), tuple(entities), tuple(relationships), tuple(shown))

    def reports(self, found: Sequence[Entity]) -> list[Community]:
        """Communities of these entities at the level: most of the entities first, then the larger ones."""
        members = Counter(self.homes[one.id] for one in found if one.id in self.homes)
        ranked = sorted(members, key=lambda one: (-members[one], -len(one.entity_ids), one.title, one.id))
        return [one for one in ranked if one.summary.strip()]

    def relationships(self, found: Sequence[Entity]) -> list[Relationship]:
        """All relationships among these entities, then the best `OUTSIDE` times their number that lead out of them.

        Among them those of the best connected ends come first. Of the others those whose far end has relationships
        with most of the entities come first, then likewise.
        """
        inside = {one.id for one in found}
        links = {link.id: link for one in found for link in self.links.get(one.id, ())}.values()
        known: dict[str, set[str]] = defaultdict(set)  # far end: entities that it is related to
        for link in links:
            known[link.source].add(link.target)
            known[link.target].add(link.source)

        def rank(link: Relationship) -> tuple:
            far = [end for end in (link.source, link.target) if end not in inside]
            shared = len(known[far[0]] & inside) if far else 0
            ends = sorted((self.names[link.source], self.names[link.target]))
            return -shared, -self.degree[link.source] - self.degree[link.target], -link.weight, *ends, link.id

        among = [link for link in links if {link.source, link.target} <= inside]
        out = [link for link in links if not {link.source, link.target} <= inside]
        return sorted(among, key=rank) + sorted(out, key=rank)[: OUTSIDE * len(inside)]

    def text_units(self, found: Sequence[Entity]) -> list[Chunk]:
        """Chunks of the nearest entity first; of one entity those that hold most of its relationships first."""
        ranked: list[str] = []
        for one in found:
            held = Counter(chunk for link in self.links.get(one.id, ()) for chunk in link.chunk_ids)
            mine = [chunk for chunk in one.chunk_ids if chunk in self.chunks]
            ranked += sorted(mine, key=lambda chunk: (-held[chunk], self.place[chunk]))
        return [self.chunks[chunk] for chunk in dict.fromkeys(ranked)]

    def _entity_line(self, entity: Entity) -> str:
        kind = f" ({entity.kind})" if entity.kind else ""
        return _line(f"{entity.name}{kind}, {self.degree.get(entity.id, 0)} relationships: {entity.description}")

    def _link_line(self, link: Relationship) -> str:
        return _line(f"{self.names[link.source]} and {self.names[link.target]}: {link.description}")


def nearest_entities(
    entities: Sequence[Entity],
    questions: Sequence[str],
    embed: Callable[[Sequence[str]], np.ndarray],
    count: int = ENTITIES,
) -> list[list[Entity]]:
    """The entities whose name and description are nearest to each question, nearest first.

    Raises:
        ValueError: if there are no entities.
    """
    if not entities:
        raise ValueError("GraphRAG's local search needs entities, and 02_graph found none")
    by_id = {entity.id: entity for entity in entities}
    told = [Chunk(one.id, "", 0, 0, f"{one.name}: {one.description}", "") for one in entities]
    return [[by_id[one.id] for one in row] for row in Retriever(told, embed, "dense").top(questions, count)]


def local_call(reader: ModelReader, system: str, question: Question, context: LocalContext) -> Call:
    """The question of a local search."""
    return source_call(
        PROMPT,
        item_of(question.id, system),
        context.chunks,
        None,
        reader.max_tokens,
        question=question.question,
        length=reader.length,
        **context.texts,
    )


def local_search(
    reader: ModelReader,
    system: str,
    questions: Sequence[Question],
    found: Sequence[Sequence[Entity]],
    index: LocalIndex,
    tokens: int = TOKENS,
) -> tuple[list[Answer], list[Problem]]:
    """Answer questions by local search.

    Args:
        reader: who answers.
        system: name of the system.
        questions: to be answered.
        found: the nearest entities of each question, see `nearest_entities`.
        index: of the corpus.
        tokens: budget of the context; less where the reader's window is smaller.

    Returns:
        One answer or one problem for each question; context ids are those of the chunks.

    Raises:
        StageError: if not one question could be asked.
        ValueError: if the window has no room at all.
    """
    budget = min(tokens, reader.room(PROMPT, (one.question for one in questions), reader.max_tokens))
    turns = []
    for question, entities in zip(questions, found, strict=True):
        context = index.context(entities, budget, reader)
        ids = tuple(chunk.id for chunk in context.chunks)
        turns.append(Turn(question.id, partial(local_call, reader, system, question, context), ids))
    return read_all(reader, system, turns)


def _report_line(community: Community) -> str:
    return _line(f"{community.title}: {community.summary}")


def _line(text: str) -> str:
    return " ".join(text.split())
