"""Evidence for a graph that came without: which sentences name its entities, and how the text spells them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ragtune_lib.graph.extract import whole_sentences
from ragtune_lib.records import Chunk, Entity, Relationship, Sentence
from ragtune_lib.text import normalize


def with_evidence(
    entities: Sequence[Entity], relationships: Sequence[Relationship], chunks: Sequence[Chunk]
) -> tuple[list[Entity], list[Relationship]]:
    """Give each entity the sentences of its chunks that name it, and each relationship those that name both ends.

    Compared are whole words after `text.normalize`. What the text names in other words ("he", "the old man") gets no
    evidence.

    Args:
        entities: their `chunk_ids` say where to look.
        relationships: links between them.
        chunks: in reading order; a sentence that two chunks share is looked at in one of them.

    Returns:
        The same records in the same order, with evidence in reading order instead of what they had.
    """
    inside: dict[str, list[tuple[Sentence, str]]] = defaultdict(list)
    for position, (rank, start, end) in enumerate(whole_sentences(chunks)):
        chunk = chunks[rank]
        text = " ".join(chunk.text[start - chunk.start : end - chunk.start].split())
        inside[chunk.id].append((Sentence(text, chunk.id, chunk.date, position), f" {normalize(text)} "))
    named: dict[str, tuple[Sentence, ...]] = {}
    for entity in entities:
        name = f" {normalize(entity.name)} "
        nearby = [pair for chunk_id in entity.chunk_ids for pair in inside.get(chunk_id, ())]
        found = [sentence for sentence, words in nearby if name.strip() and name in words]
        named[entity.id] = tuple(sorted(found, key=lambda sentence: sentence.position))
    told = []
    for link in relationships:
        both = set(named[link.target])
        told.append(replace(link, evidence=tuple(sentence for sentence in named[link.source] if sentence in both)))
    return [replace(entity, evidence=named[entity.id]) for entity in entities], told


def spelled_as_in_text(entities: Sequence[Entity], chunks: Sequence[Chunk]) -> list[Entity]:
    """Rename entities to the spelling that is most frequent in their chunks; one that is not found keeps its name.

    It is for indexes that write all names in capitals.
    """
    texts = {chunk.id: " ".join(chunk.text.split()) for chunk in chunks}
    small = {chunk_id: text.lower() for chunk_id, text in texts.items()}
    spelled = []
    for entity in entities:
        found: Counter[str] = Counter()
        for chunk_id in entity.chunk_ids:
            if entity.name.lower() in small.get(chunk_id, ""):  # a cheap look before the dear one
                whole_name = rf"(?<!\w){re.escape(entity.name)}(?!\w)"
                found.update(re.findall(whole_name, texts[chunk_id], re.IGNORECASE))
        best = min(found, key=lambda spelling: (-found[spelling], spelling), default=entity.name)
        spelled.append(replace(entity, name=best))
    return spelled
