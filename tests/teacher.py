"""A scripted teacher for tests: replies by the fields that a call's schema asks for, and remembers its calls."""

import json
from collections import Counter

from ragtune_lib.llm import Model, Scripted
from ragtune_lib.llm.cost import FREE, Meter
from ragtune_lib.llm.each import stand_in
from ragtune_lib.llm.reply_cache import ReplyCache


def part(call, name):
    """What stands in a call's prompt under the heading that begins with `name`, as the reader of the marks sees it."""
    return next(text for heading, text in parts(call) if heading.startswith(name))


def parts(call):
    """(heading, text) of everything between marked lines, in order; the mark is the one that the rules name."""
    text = call.messages[-1][1]
    mark = text.split("the mark ", 1)[1].split(" ", 1)[0]
    found = []
    for block in text.split(f"===== {mark} ")[1:]:
        heading, _, body = block.partition("\n")
        found.append((heading, body.rstrip("\n")))
    return found


def asks(call):
    """Names of the fields that a call wants, "" for free text."""
    return " ".join(call.schema["properties"]) if call.schema else ""


def teacher(folder, reply=None, name="teacher"):
    """A model whose `reply(call)` gives data or text; None takes a stand-in that fits, a lone "" fails the call."""

    def said(call):
        data = reply(call) if reply else None
        if data is None:
            number = str(len(scripted.asked))
            data = stand_in(call.schema, number) if call.schema else f"free text {number}"
        return data if isinstance(data, str) else json.dumps(data)

    scripted = Scripted(said)
    model = Model(name, ReplyCache(folder / "calls.sqlite"), scripted, Meter(FREE), 1)
    return model, scripted.asked


def by_kind(calls):
    """How many calls wanted which fields."""
    return Counter(asks(call) for call in calls)


YES_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
