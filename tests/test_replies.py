import json

import pytest

from ragtune_lib.llm.calls import Call, prompt
from ragtune_lib.llm.replies import check_schema, find_json, instructed, misfit, read_reply, repair, response_format

VERDICT = {
    "type": "object",
    "properties": {
        "winner": {"enum": ["a", "b", "tie"]},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "score": {"type": ["integer", "null"]},
    },
    "required": ["winner"],
    "additionalProperties": False,
}
CALL = Call("q1", prompt("Which is better?"), schema=VERDICT)


@pytest.mark.parametrize(
    "text",
    [
        '{"winner": "a"}',
        ' {"winner":"a"}\n',
        'Sure:\n```json\n{"winner": "a"}\n```\nIs that all?',
        '<think>Perhaps {"winner": "b"}?</think>\n{"winner": "a"}',
        'The verdict is {"winner": "a"}.',
    ],
)
def test_the_json_of_a_reply_is_found(text):
    assert find_json(text) == {"winner": "a"}


@pytest.mark.parametrize(
    "text", ["", "a", '{"winner": "a"', "{winner: a}", '{"score": NaN}', "[" * 100_000, "```json\n```"]
)
def test_a_reply_without_json_is_no_answer(text):
    with pytest.raises(ValueError, match="no JSON"):
        find_json(text)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"winner": "a", "reasons": ["x"], "score": 3}, ""),
        ({"winner": "a", "score": None}, ""),
        ({"winner": "a", "score": 3.0}, ""),
        ({"winner": "c"}, "reply.winner"),
        ({}, "'winner' is missing"),
        ({"winner": "a", "reasons": ["x", 1]}, "reply.reasons[1]"),
        ({"winner": "a", "reasons": "x"}, "expected array"),
        ({"winner": "a", "score": True}, "expected integer or null"),
        ({"winner": "a", "score": 3.5}, "expected integer or null"),
        ({"winner": "a", "why": ""}, "'why' was not asked for"),
        (["a"], "expected object"),
    ],
)
def test_a_value_is_held_against_the_schema(value, where):
    assert (where in misfit(value, VERDICT)) if where else misfit(value, VERDICT) == ""


def test_every_kind_of_value_is_told_from_every_other():
    values = {"object": {}, "array": [], "string": "", "integer": 1, "number": 1.5, "boolean": True, "null": None}
    for kind in values:
        fits = {name for name, value in values.items() if not misfit(value, {"type": kind})}
        assert fits == ({"integer", "number"} if kind == "number" else {kind})


@pytest.mark.parametrize("schema", [{"pattern": "a"}, {"type": "array", "items": {"minItems": 1}}, {"type": "text"}])
def test_a_schema_that_cannot_be_checked_is_refused(schema):
    check_schema(VERDICT)
    with pytest.raises(ValueError, match=r"not supported|unknown"):
        check_schema(schema)


@pytest.mark.parametrize(
    ("text", "finish", "refusal", "kind"),
    [
        ('{"winner": "a"}', "stop", "", None),
        ('{"winner": "a"}', "", "", None),
        ('{"winner": "a"}', "length", "", "cut off"),
        ('{"winner": "a"}', "content_filter", "", "refused"),
        ("", "stop", "No.", "refused"),
        (" \n", "stop", "", "empty"),
        ("a", "stop", "", "unreadable"),
        ('{"winner": "c"}', "stop", "", "unreadable"),
    ],
)
def test_only_a_whole_and_fitting_reply_is_an_answer(text, finish, refusal, kind):
    data, unusable = read_reply(CALL, text, finish, refusal)
    assert (unusable and unusable.kind) == kind
    assert data == ({"winner": "a"} if kind is None else None)
    assert kind in (None, "empty") or unusable.text == text


def test_without_a_schema_any_text_is_an_answer():
    assert read_reply(Call("q", prompt("Hello")), "{", "stop") == (None, None)


def test_the_model_is_told_the_schema_and_what_was_wrong():
    (role, text), *_ = instructed(CALL)
    assert role == "user" and text.startswith("Which is better?") and json.dumps(VERDICT) in text
    said = read_reply(CALL, "a is better", "stop")[1]
    *before, answer, again = repair(CALL, said)
    assert tuple(before) == CALL.messages and answer == ("assistant", "a is better")
    assert again[0] == "user" and "no JSON" in again[1] and json.dumps(VERDICT) in again[1]


def test_strict_mode_is_asked_for_where_the_schema_allows_it():
    assert not response_format(VERDICT)["json_schema"]["strict"]  # two properties are optional
    assert response_format(VERDICT | {"required": list(VERDICT["properties"])})["json_schema"]["strict"]
    inner = {
        "type": "object",
        "properties": {"a": {"type": "object"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert not response_format(inner)["json_schema"]["strict"]
