from dataclasses import replace

import pytest
from teacher import part, parts, teacher
from tiny import CHUNKS

from ragtune_lib.llm import StageError
from ragtune_lib.records import QAPair
from ragtune_lib.teacher.rewrite import rewriter

OLD = QAPair("p", "local", "entity", "What of it?", "Jam was sold.", "Jam.", ("c2", "c0"), "t", "f", "jam, sold")
NEW = {"question": " What did Ilse sell? ", "reasoning": "Ilse sold jam.", "answer": "Plum jam."}


def test_the_teacher_sees_the_pair_its_source_and_what_is_wrong_and_the_rest_of_the_pair_stays(tmp_path):
    model, asked = teacher(tmp_path, lambda call: NEW)
    found = rewriter(model, CHUNKS)(OLD, "unclear $source {question}")
    words = {"question": "What did Ilse sell?", "reasoning": "Ilse sold jam.", "answer": "Plum jam."}
    assert found == replace(OLD, **words, cues="", writer="teacher")
    (call,) = asked
    assert part(call, "what is wrong") == "unclear $source {question}"
    assert (part(call, "question"), part(call, "reasoning"), part(call, "answer")) == (
        "What of it?", "Jam was sold.", "Jam."
    )  # fmt: skip
    assert [text for heading, text in parts(call) if heading.startswith("passage")] == [CHUNKS[2].text, CHUNKS[0].text]


def test_asked_again_the_teacher_writes_again_and_for_another_reason_too(tmp_path):
    model, asked = teacher(tmp_path, lambda call: NEW | {"answer": f"Answer {call.sample}."})
    rewrite = rewriter(model, CHUNKS)
    assert [rewrite(OLD, "dull").answer, rewrite(OLD, "dull").answer] == ["Answer 0.", "Answer 1."]
    rewrite(OLD, "wrong")
    assert len(asked) == 3
    rewriter(model, CHUNKS)(OLD, "dull")  # after a restart: the first wording is kept and costs nothing
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("pair", "reply", "error", "says"),
    [
        (replace(OLD, evidence_ids=("gone",)), NEW, ValueError, "none of its evidence"),
        (OLD, NEW | {"answer": " "}, ValueError, "empty"),
        (OLD, "no JSON", StageError, "not one call succeeded"),
    ],
)
def test_what_cannot_be_worded_anew_is_said(tmp_path, pair, reply, error, says):
    model, _ = teacher(tmp_path, lambda call: reply)
    with pytest.raises(error, match=says):
        rewriter(model, CHUNKS)(pair, "dull")
