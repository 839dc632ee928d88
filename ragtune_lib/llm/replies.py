"""Is a reply an answer? Cut off, refused, empty and unreadable replies are none, and are never kept as such.

A call may ask to keep what was cut off (`Call.keep_cut`): answers that are compared all have the same limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ragtune_lib.llm.calls import Call, Unusable

KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
TEXT, YES = {"type": "string"}, {"type": "boolean"}
KEYWORDS = {"type", "properties", "required", "items", "enum", "additionalProperties", "description", "title"}
FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
INSTRUCTION = "Reply with JSON alone, without any other text, that fits this JSON schema:\n{schema}"


def fields(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schema of an object that has exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_reply(call: Call, text: str, finish: str, refusal: str = "") -> tuple[Any, Unusable | None]:
    """Read a reply strictly.

    Args:
        call: What was asked.
        text: What the model said.
        finish: The server's finish reason, "" where it gave none.
        refusal: The server's refusal text, "" where it gave none.

    Returns:
        The parsed JSON (None without a schema) and None; or None and why the reply cannot be used.
    """
    if refusal or finish == "content_filter":
        return None, Unusable("refused", refusal or "the server's content filter", text)
    if finish == "length" and not call.keep_cut:
        return None, Unusable("cut off", f"the reply is longer than max_tokens={call.max_tokens}", text)
    if not text.strip():
        return None, Unusable("empty", "the reply has no text")
    if call.schema is None:
        return None, None
    try:
        value = find_json(text)
    except ValueError as error:
        return None, Unusable("unreadable", str(error), text)
    wrong = misfit(value, call.schema)
    return (None, Unusable("unreadable", wrong, text)) if wrong else (value, None)


def find_json(text: str) -> Any:
    """The JSON value of a reply: the whole of it, or what stands in a code fence, or from the first bracket on.

    >>> find_json('Sure! {"winner": "a"} I hope this helps.')
    {'winner': 'a'}

    Raises:
        ValueError: if there is none.
    """
    body = THOUGHT.sub("", text).strip()
    fenced = FENCE.search(body)
    start = re.search(r"[{\[]", body)
    decoder = json.JSONDecoder(parse_constant=_refuse)
    for part in (body, fenced and fenced[1].strip(), start and body[start.start() :]):
        if part:
            try:
                value, end = decoder.raw_decode(part)
            except (ValueError, RecursionError):
                continue
            if part is not body or not part[end:].strip():
                return _storable(value) if SURROGATE.search(part) else value
    raise ValueError("no JSON in the reply")


def _storable(value: Any) -> Any:
    """Half a surrogate pair, as models write it into escapes, has no UTF-8: it becomes a question mark."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def check_schema(schema: Mapping[str, Any]) -> None:
    """Make sure that `misfit` understands a schema: to ignore a keyword would be to check less than was asked.

    Understood are type, properties, required, additionalProperties, items and enum: what a list of records or a
    verdict needs.

    Raises:
        ValueError: for a keyword or a type beyond those.
    """
    unknown = sorted(set(schema) - KEYWORDS)
    if unknown:
        raise ValueError(f"JSON schema keyword {unknown[0]!r} is not supported here")
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind not in KINDS:
            raise ValueError(f"JSON schema type {kind!r} is unknown")
    for inner in _inner(schema):
        check_schema(inner)


def _inner(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]


def misfit(value: Any, schema: Mapping[str, Any], where: str = "reply") -> str:
    """Where a value departs from a JSON schema, "" if nowhere.

    The schema is one that `check_schema` accepts.
    """
    if "enum" in schema and value not in schema["enum"]:
        return f"{where}: {value!r:.60} is none of {schema['enum']}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"{where}: expected {' or '.join(kinds)}, got {value!r:.60}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        missing = [name for name in schema.get("required", ()) if name not in value]
        if missing:
            return f"{where}: {missing[0]!r} is missing"
        extra = [name for name in value if name not in known]
        if extra and schema.get("additionalProperties") is False:
            return f"{where}: {extra[0]!r} was not asked for"
        inner = ((value[name], known[name], f"{where}.{name}") for name in known if name in value)
    elif isinstance(value, list) and "items" in schema:
        inner = ((item, schema["items"], f"{where}[{number}]") for number, item in enumerate(value))
    else:
        return ""
    return next((found for found in (misfit(*parts) for parts in inner) if found), "")


def _is(value: Any, kind: str) -> bool:
    # in Python True is an integer; and 3.0 is one in JSON schema
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, KINDS[kind])


def instructed(call: Call) -> tuple[tuple[str, str], ...]:
    """The messages with the schema spelt out at their end, for servers that do not enforce one."""
    (role, text), schema = call.messages[-1], json.dumps(call.schema, ensure_ascii=False)
    return (*call.messages[:-1], (role, f"{text}\n\n{INSTRUCTION.format(schema=schema)}"))


def repair(call: Call, said: Unusable) -> tuple[tuple[str, str], ...]:
    """The messages that ask once more after an unreadable reply."""
    schema = json.dumps(call.schema, ensure_ascii=False)
    again = f"That reply cannot be used ({said.detail}). {INSTRUCTION.format(schema=schema)}"
    return (*call.messages, ("assistant", said.text), ("user", again))


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The endpoint's own way of enforcing a schema; strict where the schema keeps to the strict rules."""
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": _strict(schema)}}


def _strict(schema: Mapping[str, Any]) -> bool:
    """Strict mode wants every property required and no others, at every depth."""
    all_required = set(schema.get("required", ())) == set(schema.get("properties", {}))
    closed = schema.get("type") != "object" or (schema.get("additionalProperties") is False and all_required)
    return closed and all(map(_strict, _inner(schema)))
