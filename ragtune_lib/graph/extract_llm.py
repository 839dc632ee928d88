"""Extraction by a model: chunks to the entities and relationships that it wrote down for each.

After the method of GraphRAG (Edge et al. 2024, arXiv 2404.16130) with the entity types of RAG-Tuned-LLM (arXiv
2503.16071); the prompts are our own. Replies are JSON by a schema and not lines with delimiters: a server that
enforces the schema cannot get the form wrong, one that does not is asked again once by the seam, and no text of a
document can be mistaken for a delimiter. Each record is a JSON object of its own, so of a broken reply those that are
whole are kept.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ragtune_lib.graph.build import name_key
from ragtune_lib.graph.entity_types import ENTITY_TYPES, is_time, nearest_type, plain
from ragtune_lib.llm import Asked, Call, Model, StageError, prompt
from ragtune_lib.llm.replies import TEXT, fields
from ragtune_lib.llm.tally import REPLY_FAULTS
from ragtune_lib.prompt_files import fenced, template
from ragtune_lib.records import Chunk, ExtractedEntity, ExtractedRelationship, Problem
from ragtune_lib.text import spoken_date

MAX_TOKENS = 4_000  # of a reply, as in the paper
WEAKEST, STRONGEST = 1.0, 10.0
LONGEST_NAME = 200  # characters; beyond it is a sentence

SCHEMA = fields(
    # no enum for the type: a wrong word is put right here, and is not worth asking for the whole reply again
    entities={"type": "array", "items": fields(name=TEXT, type=TEXT, description=TEXT)},
    relationships={
        "type": "array",
        "items": fields(source=TEXT, target=TEXT, description=TEXT, strength={"type": "number"}),
    },
)


def extraction_calls(
    model: Model,
    chunks: Sequence[Chunk],
    types: Sequence[str] = ENTITY_TYPES,
    gleanings: int = 1,
    max_tokens: int = MAX_TOKENS,
) -> list[Call]:
    """The calls that `extract` will make, for `model.forecast`; nothing is sent.

    A gleaning repeats the replies before it. One that is not known yet is taken to be as long as its chunk. There may
    be fewer: a chunk is not read again once a reading found nothing new, or failed.

    Args:
        model: its kept replies tell what is known.
        chunks: see `extract`, as are the rest.
        types: entity types.
        gleanings: further readings of each chunk.
        max_tokens: of a reply.
    """
    calls = []
    for chunk in _readable(chunks):
        call = first_call(chunk, types, max_tokens)
        calls.append(call)
        for _ in range(gleanings):
            kept = model.cache.get(model.key(call))
            if kept and not _rows(kept.data):
                break
            call = gleaning_call(call, kept.text if kept else chunk.text)
            calls.append(call)
    return calls


def extract(
    model: Model,
    chunks: Sequence[Chunk],
    types: Sequence[str] = ENTITY_TYPES,
    gleanings: int = 1,
    max_tokens: int = MAX_TOKENS,
) -> tuple[list[ExtractedEntity], list[ExtractedRelationship], list[Problem]]:
    """Have a model write down the entities and relationships of every chunk.

    Left out, each as a problem, are names without a letter or digit, dates and times, and relationships of an entity
    with itself. A type that is not of the list becomes the nearest one; where none is near, the entity is kept without
    a type and the type is a problem. A strength outside 1 to 10 becomes the nearer end; one that is no number becomes 1
    and is a problem. Of a reply that is broken or cut off the whole records are kept, and the problem says how many;
    like every failed call it is asked again by the next run.

    Args:
        model: of the seam; what it replied before is not asked again.
        chunks: what to read; those without text are passed over.
        types: entity types to choose from. Default: the six of the paper.
        gleanings: how often to ask for what was missed, with the replies so far in the conversation. Default 1, as in
            the paper. It ends early for a chunk once a reading found nothing new, or failed.
        max_tokens: of a reply. Default 4,000, as in the paper.

    Returns:
        Entities and relationships in the order of the chunks, those of later readings after those of the first; and
        the problems. Repetitions are kept: `build_llm.merge` adds them up.

    Raises:
        StageError: if not one chunk could be read, or no call can succeed (key, model, quota, server).
        ValueError: if there is no type, or two are the same.
    """
    if not types or len({plain(kind) for kind in types}) < len(types):
        raise ValueError(f"types={tuple(types)}: name at least one type, and each once")
    chunks = _readable(chunks)
    found: dict[str, list[Any]] = defaultdict(list)  # chunk id: what its readings gave, each {"entities": [...], ...}
    problems: list[Problem] = []
    calls = [first_call(chunk, types, max_tokens) for chunk in chunks]
    for reading in range(1 + gleanings):
        if not calls:
            break
        asked = ask_on(model, "extract again", calls) if reading else model.ask("extract", calls)
        for problem in asked.problems:
            rows = salvage(problem.reply)
            found[problem.item].append(rows)
            kept = f"; {len(_rows(rows))} whole records of it are kept" if _rows(rows) else ""
            problems.append(replace(problem, reason=problem.reason + kept))
        for result in asked.results:
            found[result.call.item].append(result.reply.data)
        calls = [gleaning_call(one.call, one.reply.text) for one in asked.results if _rows(one.reply.data)]
    entities: list[ExtractedEntity] = []
    relationships: list[ExtractedRelationship] = []
    for chunk in chunks:
        own = [row for data in found[chunk.id] for row in data["entities"]]
        read = [_entity(row, chunk.id, types, problems) for row in own]
        entities += filter(None, read)
        known = {name_key(entity.name) for entity in read if entity}
        links = [row for data in found[chunk.id] for row in data["relationships"]]
        relationships += filter(None, (_relationship(row, chunk.id, known, problems) for row in links))
    return entities, relationships, problems


def ask_on(model: Model, stage: str, calls: Sequence[Call]) -> Asked:
    """Ask the calls of a step without which an index is still one: if all replies are unusable, all are problems.

    Raises:
        StageError: if the server, the key or the budget is to blame.
    """
    try:
        return model.ask(stage, calls)
    except StageError as error:
        if len(error.problems) < len(calls) or not all(
            fault.reason.startswith(REPLY_FAULTS) for fault in error.problems
        ):
            raise
        return Asked((), error.problems, str(error))


def first_call(chunk: Chunk, types: Sequence[str], max_tokens: int = MAX_TOKENS) -> Call:
    """The call that reads a chunk. It depends on its text and date alone, so a chunk that moves is not read again."""
    text = template("extract").substitute(
        types=", ".join(types),
        dated=f"The text is from {spoken_date(chunk.date)}." if chunk.date else "",
        text=fenced(chunk.text),
    )
    return Call(chunk.id, prompt(text), max_tokens, schema=SCHEMA)


def gleaning_call(call: Call, reply: str) -> Call:
    """The call that asks what the readings so far have missed."""
    again = template("extract_again").substitute()
    return replace(call, messages=(*call.messages, ("assistant", reply), ("user", again)))


def salvage(text: str) -> dict[str, list[Any]]:
    """The whole records of a broken reply, wherever they stand in it.

    >>> salvage('{"entities": [{"name": "Ada", "type": "person"}, {"name": "Be')
    {'entities': [{'name': 'Ada', 'type': 'person'}], 'relationships': []}
    """
    rows: dict[str, list[Any]] = {"entities": [], "relationships": []}
    decoder, place = json.JSONDecoder(), 0
    while (place := text.find("{", place)) >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        if "name" in value:
            rows["entities"].append(value)
        elif "source" in value and "target" in value:
            rows["relationships"].append(value)
        else:
            end = place + 1  # what is inside it is looked at next
        place = end
    # half a surrogate pair, as models write it into escapes, has no UTF-8
    return json.loads(json.dumps(rows, ensure_ascii=False).encode("utf-8", "replace"))


def _readable(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Each chunk once, without the blank ones."""
    return list({chunk.id: chunk for chunk in chunks if chunk.text.strip()}.values())


def _rows(data: Any) -> list[dict[str, Any]]:
    return [*data["entities"], *data["relationships"]]


def _entity(row: Any, chunk_id: str, types: Sequence[str], problems: list[Problem]) -> ExtractedEntity | None:
    """One record; what is wrong with it goes to the problems."""
    name, told = _clean(row.get("name")), _clean(row.get("type"))
    kind = nearest_type(told, types)
    if reason := _no_name(name) or (is_time(name, kind) and f"a time and no entity: {name!r:.60}"):
        problems.append(_problem(chunk_id, reason, row))
        return None
    if not kind:
        problems.append(_problem(chunk_id, f"type {told!r:.60} is none of {', '.join(types)}; kept without", row))
    return ExtractedEntity(name, kind, _clean(row.get("description")), chunk_id)


def _relationship(row: Any, chunk_id: str, known: set[str], problems: list[Problem]) -> ExtractedRelationship | None:
    """Likewise; `known` are the keys of the chunk's entities, so that a person called April is no month."""
    ends = _clean(row.get("source")), _clean(row.get("target"))
    reason = _no_name(ends[0]) or _no_name(ends[1])
    if times := [end for end in ends if name_key(end) not in known and is_time(end, "")]:
        reason = reason or f"a time and no entity: {times[0]!r:.60}"
    if name_key(ends[0]) == name_key(ends[1]):
        reason = reason or f"{ends[0]!r:.60} is related to itself"
    if reason:
        problems.append(_problem(chunk_id, reason, row))
        return None
    weight = _number(row.get("strength"))
    if math.isnan(weight):
        problems.append(_problem(chunk_id, f"strength {row.get('strength')!r:.60} is no number; taken as 1", row))
        weight = WEAKEST
    return ExtractedRelationship(*ends, _clean(row.get("description")), min(max(weight, WEAKEST), STRONGEST), chunk_id)


def _problem(chunk_id: str, reason: str, row: Any) -> Problem:
    return Problem("extract", chunk_id, reason, json.dumps(row, ensure_ascii=False))


def _no_name(name: str) -> str:
    """Why a name is none, "" if it is one."""
    return f"no name: {name!r:.60}" if not name_key(name) or len(name) > LONGEST_NAME else ""


def _clean(value: Any) -> str:
    """A text in one line; anything but a text is none."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", value).split()) if isinstance(value, str) else ""


def _number(value: Any) -> float:
    """A finite number, also one that is written as a text; else NaN."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
