"""A model's side of a dry run: replies that fit each call's schema, made from the call itself and worth nothing.

They are made so that the work goes on as it would: entities are what rules find in the text, a question names its
subject, facts stand in the source and in every answer, and no two texts are alike. So as many calls follow as a model
that is always able would cause. Tokens are those of the forecast: of a reply as long as it may be, until enough real
replies are kept.
"""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ragtune_lib.graph.extract import extract_mentions
from ragtune_lib.llm import Call, Model
from ragtune_lib.llm.calls import Reply, Unusable, call_key
from ragtune_lib.llm.cost import rates
from ragtune_lib.llm.each import LIST, TEXT
from ragtune_lib.llm.replies import read_reply
from ragtune_lib.records import Chunk
from ragtune_lib.text import content_words, normalize

FACTS = 3  # words of a source that count as its facts
_PASSAGE = re.compile(r"^===== (\w+) passage 1 of [^\n]*\n(.*?)(?=^===== \1 )", re.MULTILINE | re.DOTALL)
_SUBJECT = re.compile(r"^===== (\w+) subject:[^\n]*\n(.*?)(?=^===== \1 )", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^(=== \w+ ===)\n(.*?)\n\1$", re.MULTILINE | re.DOTALL)
_TYPES = re.compile(r"exactly one of these: ([^,\n]+)")
_WORD = re.compile(r"[^\W\d_]{5,}")


class StandIns:
    """Answers in a model's place and sends nothing.

    Args:
        model: the one that the run will ask; its kept replies are used, and say how long replies are.
    """

    def __init__(self, model: Model):
        self.identity = model.backend.identity  # so that what is kept is not planned for again
        self.rates = rates(model.cache.usage(model.name))

    def complete(self, call: Call, stop: threading.Event) -> Reply | Unusable:
        """A reply that is read as strictly as that of any model."""
        text = reply(call)
        data, unusable = read_reply(call, text, "")
        counts = round(self.rates.prompt_tokens(call)), round(self.rates.output_tokens(call))
        return unusable or Reply(text, data, "stand-in", *counts, 0.0)


@dataclass(frozen=True, slots=True)
class _Matter:
    """What a stand-in is made of."""

    names: str  # that a question has to hold
    facts: tuple[str, ...]
    words: tuple[str, ...]  # of the whole prompt, but for the facts
    chooser: random.Random

    def text(self, question: bool) -> str:
        chosen = self.chooser.choices(self.words or ("word",), k=TEXT // 8)
        start = f"{self.names} {' '.join(chosen[:10])}?" if question else " ".join((*self.facts, *chosen))
        return start.strip()


def reply(call: Call) -> str:
    """The stand-in for a call: the same for the same call, another for another one."""
    first, last = call.messages[0][1], call.messages[-1][1]
    if call.schema and {"entities", "relationships"} <= set(call.schema["properties"]):
        nothing_more: dict[str, list] = {"entities": [], "relationships": []}
        return json.dumps(_graph(first) if len(call.messages) == 1 else nothing_more, ensure_ascii=False)
    subject, passage = _SUBJECT.search(last), _PASSAGE.search(last)
    names = " and ".join(subject[2].split("\n")).strip() if subject else ""
    known = normalize(names)
    distinct = dict.fromkeys(_WORD.findall(passage[2] if passage else ""))
    facts = tuple(word for word in distinct if content_words(word) and normalize(word) not in known)[:FACTS]
    taken = {normalize(fact) for fact in facts}
    words = tuple(word for word in dict.fromkeys(_WORD.findall(last)) if normalize(word) not in taken)
    matter = _Matter(names, facts, words, random.Random(call_key("stand-in", call)))
    return json.dumps(_fill(call.schema, "", matter), ensure_ascii=False) if call.schema else matter.text(False)


def _fill(schema: Mapping[str, Any], name: str, matter: _Matter) -> Any:
    """A value for one field."""
    if "enum" in schema:
        return matter.chooser.choice(list(schema["enum"]))
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return {field: _fill(inner, field, matter) for field, inner in schema.get("properties", {}).items()}
    if kind == "array":
        if name == "facts":
            return [[fact] for fact in matter.facts]
        return [_fill(schema.get("items", {}), name, matter) for _ in range(LIST)]
    if kind == "boolean":
        return name != "stated"  # able, faithful, worth asking; but a twin is not answered by the corpus
    return {"integer": 1, "number": 1.0, "null": None}.get(kind, matter.text(name.startswith("question")))


def _graph(prompt: str) -> dict[str, list[dict[str, Any]]]:
    """Entities and relationships of the fenced text: what rules find, each linked to the one named before it."""
    fenced, types = _FENCED.search(prompt), _TYPES.search(prompt)
    text = fenced[2] if fenced else ""
    mentions = extract_mentions([Chunk("plan", "plan", 0, len(text), text, "")])
    said = {mention.name: mention.sentence for mention in reversed(mentions)}
    kind = types[1].strip() if types else ""
    links = {tuple(sorted((one.name, other.name))): other.sentence for one, other in pairwise(mentions)}
    return {
        "entities": [{"name": name, "type": kind, "description": text} for name, text in said.items()],
        "relationships": [
            {"source": source, "target": target, "description": text, "strength": 5}
            for (source, target), text in links.items()
            if source != target
        ],
    }
