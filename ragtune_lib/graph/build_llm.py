"""What a model extracted becomes the graph: records merged by name, described in one text, tied to the sentences."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ragtune_lib.graph.build import name_key
from ragtune_lib.graph.extract import whole_sentences
from ragtune_lib.graph.extract_llm import ask_on
from ragtune_lib.llm import Call, Model, prompt
from ragtune_lib.llm.cost import CHARACTERS
from ragtune_lib.llm.replies import TEXT, fields
from ragtune_lib.prompt_files import fenced, template
from ragtune_lib.records import (
    Chunk,
    Entity,
    ExtractedEntity,
    ExtractedRelationship,
    Problem,
    Relationship,
    Sentence,
)
from ragtune_lib.store import content_id
from ragtune_lib.text import normalize, without_owner

LIMIT = 2_000  # characters of joined descriptions, some 500 tokens, up to which no summary is needed
WINDOW = 8_000  # tokens of descriptions in one call
MAX_TOKENS = 500  # of a summary, as in the paper
WORDS = 300  # that the prompt allows: well below MAX_TOKENS, since a longer reply counts as failed
STAGE = "summarize descriptions"
SUMMARY = fields(description=TEXT)


@dataclass
class _Gathered:
    """All that was extracted about one entity or relationship."""

    spellings: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    descriptions: dict[str, str] = field(default_factory=dict)  # text: earliest date
    chunk_ids: set[str] = field(default_factory=set)
    weight: float = 0.0

    def describe(self, text: str, date: str) -> None:
        if text:
            self.descriptions[text] = min(date, self.descriptions.get(text, date))

    def texts(self) -> tuple[str, ...]:
        """In order of date, then of the words: the same however the chunks are ordered, so that replies are kept."""
        return tuple(sorted(self.descriptions, key=lambda text: (self.descriptions[text], text)))


def merge(
    entities: Iterable[ExtractedEntity], relationships: Iterable[ExtractedRelationship], chunks: Sequence[Chunk]
) -> tuple[list[Entity], list[Relationship], dict[str, tuple[str, ...]]]:
    """Merge records by name.

    Names are one entity when they are equal as in `build.build_graph`: after `text.normalize` and without a leading
    "the"; but "C", "C++" and "C#" stay three. Nothing else is merged, not even "Ilse" with "Ilse Brandt": who is the
    same is for a person to say. An entity has its most frequent spelling and type (ties: the first by alphabet). A
    relationship has no direction; its weight is the sum over all records. An end that was not extracted as an entity
    is added as one, without type and description, so that the relationship is not lost.

    Evidence are the sentences that name the entity, or both ends, in the chunks that it was extracted from. There may
    be none: a model may spell a name otherwise than the text does.

    Args:
        entities: as `extract_llm.extract` gives them, in any order.
        relationships: likewise.
        chunks: which they were extracted from, in reading order.

    Returns:
        Entities and relationships, each sorted by id, with all their descriptions joined by a blank; and the
        descriptions one by one, by the id of what they describe, for `summarize`. Ids depend on the names alone.
    """
    dates = {chunk.id: chunk.date for chunk in chunks}
    nodes: dict[str, _Gathered] = defaultdict(_Gathered)
    links: dict[tuple[str, str], _Gathered] = defaultdict(_Gathered)
    ends: dict[str, _Gathered] = defaultdict(_Gathered)
    for entity in entities:
        node = nodes[_key(entity.name)]
        node.spellings[entity.name] += 1
        node.kinds[entity.kind] += bool(entity.kind)
        node.describe(entity.description, dates[entity.chunk_id])
        node.chunk_ids.add(entity.chunk_id)
    for record in relationships:
        keys = _key(record.source), _key(record.target)
        link = links[min(keys), max(keys)]
        link.weight += record.weight
        link.describe(record.description, dates[record.chunk_id])
        link.chunk_ids.add(record.chunk_id)
        for key, name in zip(keys, (record.source, record.target), strict=True):
            if key not in nodes:
                ends[key].spellings[name] += 1
                ends[key].chunk_ids.add(record.chunk_id)
    nodes |= ends
    named = _Sentences(chunks)
    places = {key: named.by(key, node.spellings, node.chunk_ids) for key, node in nodes.items()}
    evidence = named.evidence({place for found in places.values() for place in found})
    ids = {key: content_id(key) for key in nodes}
    merged_entities = []
    for key, node in nodes.items():
        found = tuple(evidence[place] for place in sorted(places[key]))
        name, kind = _commonest(node.spellings), _commonest(node.kinds)
        merged_entities.append(
            Entity(ids[key], name, kind, " ".join(node.texts()), found, _chunk_ids(node.chunk_ids, found))
        )
    merged_relationships = []
    for keys, link in links.items():
        source, target = sorted(ids[key] for key in keys)
        both = places[keys[0]] & places[keys[1]] & named.inside(link.chunk_ids)
        found = tuple(evidence[place] for place in sorted(both))
        merged_relationships.append(
            Relationship(
                content_id(source, target),
                source,
                target,
                link.weight,
                " ".join(link.texts()),
                found,
                _chunk_ids(link.chunk_ids, found),
            )
        )
    descriptions = {ids[key]: node.texts() for key, node in nodes.items()}
    descriptions |= {content_id(*sorted(ids[key] for key in keys)): link.texts() for keys, link in links.items()}
    return (
        sorted(merged_entities, key=lambda entity: entity.id),
        sorted(merged_relationships, key=lambda link: link.id),
        descriptions,
    )


def _key(name: str) -> str:
    return name_key(_signs(name))


def _signs(text: str) -> str:
    """The text with the signs spelt out that tell C from C++ and C#."""
    return re.sub(r"(?<=\w)#", "sharp", re.sub(r"(?<=[\w+])\+", "plus", text))


def _commonest(counts: Counter[str]) -> str:
    return min(counts, key=lambda text: (-counts[text], text), default="")


def _chunk_ids(ids: Iterable[str], evidence: Iterable[Sentence]) -> tuple[str, ...]:
    """Chunks that it was extracted from; and those of its sentences, which may begin in the chunk before."""
    return tuple(sorted({*ids, *(sentence.chunk_id for sentence in evidence)}))


class _Sentences:
    """The sentences of the corpus, each once, and which of them lie in a chunk. A place is (document, start)."""

    def __init__(self, chunks: Sequence[Chunk]):
        self.chunks = chunks
        documents: dict[str, int] = {}
        for chunk in chunks:
            documents.setdefault(chunk.document_id, len(documents))
        self.texts: dict[tuple[int, int], tuple[str, str, Chunk]] = {}  # place: text, its words, chunk
        spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for rank, start, end in whole_sentences(chunks):
            chunk = chunks[rank]
            text = " ".join(chunk.text[start - chunk.start : end - chunk.start].split())
            document = documents[chunk.document_id]
            self.texts[document, start] = (text, f" {normalize(_signs(without_owner(text)))} ", chunk)
            spans[document].append((start, end))
        self.places: dict[str, list[tuple[int, int]]] = {}
        for chunk in chunks:
            document = documents[chunk.document_id]
            self.places[chunk.id] = [
                (document, start) for start, end in spans[document] if start < chunk.end and end > chunk.start
            ]

    def by(self, key: str, spellings: Iterable[str], chunk_ids: Iterable[str]) -> set[tuple[int, int]]:
        """Places of the sentences in these chunks that name an entity.

        "Go" and "Meta" are words too: a single name counts where it is written as one, if it is anywhere.
        """
        words = f" {key} "
        found = {place for place in self.inside(chunk_ids) if words in self.texts[place][1]}
        if " " in key or any(spelling.islower() for spelling in spellings):
            return found
        as_written = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, sorted(spellings)))})(?!\w)")
        return {place for place in found if as_written.search(self.texts[place][0])} or found

    def inside(self, chunk_ids: Iterable[str]) -> set[tuple[int, int]]:
        return {place for chunk_id in chunk_ids for place in self.places[chunk_id]}

    def evidence(self, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Sentence]:
        """The records of sentences, ranked in reading order."""
        records = {}
        for position, place in enumerate(sorted(places)):
            text, _, chunk = self.texts[place]
            records[place] = Sentence(text, chunk.id, chunk.date, position)
        return records


def summarize(
    model: Model,
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    descriptions: Mapping[str, Sequence[str]],
    limit: int = LIMIT,
) -> tuple[list[Entity], list[Relationship], list[Problem]]:
    """Have a model make one description out of several where together they are long.

    What does not fit into one call is summarised in parts, and these again. Where a call fails, the descriptions stay
    joined and a problem says so.

    Args:
        model: of the seam.
        entities: as `merge` gives them.
        relationships: likewise.
        descriptions: likewise.
        limit: characters of joined descriptions up to which they stay as they are.

    Raises:
        StageError: if no call can succeed (key, model, quota, server).
    """
    names = {entity.id: entity.name for entity in entities}
    subjects = {**names, **{link.id: f"{names[link.source]} and {names[link.target]}" for link in relationships}}
    texts = {one: list(found) for one, found in descriptions.items()}
    due = sorted(one for one in texts if len(texts[one]) > 1 and len(" ".join(texts[one])) > limit)
    changed, problems = set(due), []
    while due:
        parts = {one: _parts(texts[one]) for one in due}
        calls = {
            (one, number): _summary_call(subjects[one], f"{one} {number}", part)
            for one in due
            for number, part in enumerate(parts[one])
            if len(part) > 1
        }
        asked = ask_on(model, STAGE, list(calls.values()))
        told = {result.call.item: _one_line(result.reply.data["description"]) for result in asked.results}
        problems += [replace(fault, item=fault.item.split()[0]) for fault in asked.problems]
        problems += [Problem(STAGE, item.split()[0], "the summary is empty") for item, text in told.items() if not text]
        for one in due:
            texts[one] = [
                text
                for number, part in enumerate(parts[one])
                for text in ([told[f"{one} {number}"]] if told.get(f"{one} {number}") else part)
            ]
        failed = {problem.item for problem in problems}
        due = [
            one for one in due if one not in failed and 1 < len(texts[one]) < sum(map(len, parts[one]))
            and len(" ".join(texts[one])) > limit
        ]  # fmt: skip
    told = {one: " ".join(texts[one]) for one in changed}
    return (
        [replace(entity, description=told.get(entity.id, entity.description)) for entity in entities],
        [replace(link, description=told.get(link.id, link.description)) for link in relationships],
        problems,
    )


def _summary_call(subject: str, item: str, texts: Sequence[str]) -> Call:
    notes = fenced("\n".join([f"subject: {subject}", *texts]))  # the name comes from a document too
    text = template("summarize_descriptions").substitute(words=WORDS, notes=notes)
    return Call(item, prompt(text), MAX_TOKENS, schema=SUMMARY)


def _parts(texts: Sequence[str]) -> list[list[str]]:
    """Texts in order, in parts that fit into a call; at least two in each but the last, so that there will be fewer."""
    parts: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if len(parts[-1]) > 1 and size + len(text) > WINDOW * CHARACTERS:
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += len(text)
    return parts


def _one_line(text: str) -> str:
    return " ".join(text.split())
