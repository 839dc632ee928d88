import math
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from reader import reader_of

from ragtune_lib import models
from ragtune_lib.baselines.reading import (
    ABOUT_TOKENS,
    CHARACTERS,
    HEADER,
    SLACK,
    ModelReader,
    Spent,
    Turn,
    make_answer,
    open_reader,
    read_all,
)
from ragtune_lib.llm import Call, Model, StageError, local_model, open_model, prompt
from ragtune_lib.llm.calls import Reply, Unusable
from ragtune_lib.llm.each import Rehearsal
from ragtune_lib.llm.replies import read_reply
from ragtune_lib.prompt_files import template

NOTHING = Spent()


def turn(name, contexts=("c1",), spent=NOTHING):
    return Turn(name, lambda: Call(f"{name} sys", prompt(f"About {name}"), 90), contexts, spent)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("abcdefgh", ["abcd", "efgh"]),
        ("abcde", ["abcd", "e"]),
        ("\u65e5\u672c!?", ["\u65e5", "\u672c", "!?"]),  # two characters of Japanese count as two tokens
        ("a\u00e9b\n\n c", ["a", "\u00e9", "b\n\n ", "c"]),
    ],
)
def test_about_tokens_are_four_ascii_characters_or_one_other(text, pieces):
    found = ABOUT_TOKENS(text)
    assert found["input_ids"] == pieces
    assert [text[start:end] for start, end in found["offset_mapping"]] == pieces
    assert ABOUT_TOKENS.decode(pieces) == text


def test_characters_are_counted_one_by_one_line_ends_included():
    assert len(CHARACTERS("a\nb \u65e5")["input_ids"]) == 5


def test_the_first_texts_that_fit_are_kept_and_only_the_very_first_is_cut(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "")
    assert reader.fit(["aaa", "bb", "c"], 9) == (["aaa", "bb", "c"], 9)  # 3 + 1, 2 + 1, 1 + 1
    assert reader.fit(["aaa", "bb", "c"], 8) == (["aaa", "bb"], 7)
    assert reader.fit(["aaa", "bbbbb", "c"], 8) == (["aaa"], 4)  # what does not fit ends it: the order is by weight
    assert reader.fit(["aaaaaa", "b"], 5) == (["aaaa"], 5)
    assert reader.fit(["aaaaaa"], 20, extra=15) == (["aaaaa"], 20)
    assert reader.fit(["aaa"], 1) == reader.fit(["aaa"], -3) == reader.fit([], 9) == ([], 0)


def test_a_text_is_cut_at_a_token(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "")
    rough = replace(reader, tokenizer=ABOUT_TOKENS)
    assert rough.cut("abcdefghij", 2) == "abcdefgh"
    assert rough.cut("abcdefgh", 2) == "abcdefgh"
    assert rough.cut("abcdefgh", 0) == rough.cut("abcdefgh", -1) == ""


def test_the_room_is_what_prompt_longest_question_and_reply_leave(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "", window=5_000)
    size = len(template("read_passages").template)
    assert reader.room("read_passages", ["Who?", "Who was it?"], 90) == 5_000 - size - 11 - 90 - SLACK
    with pytest.raises(ValueError, match="window of 500 tokens has no room for the prompt 'read_passages'"):
        replace(reader, window=500).room("read_passages", ["Who?"], 90)
    assert HEADER > 0


def test_the_length_that_is_asked_for_fits_the_limit(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "", max_tokens=96)
    assert reader.length == "Use at most 64 words."


def test_every_question_gives_an_answer_or_a_problem_with_what_it_took(tmp_path):
    def reply(call):
        return {"q1 sys": "", "q2 sys": "<think>Jam or tea?</think>\n", "q3 sys": "<think>Jam.</think> Plum jam."}.get(
            call.item, "Tea."
        )

    reader, model = reader_of(tmp_path, reply)
    spent = Spent(100, 10, 1.5)
    answers, problems = read_all(reader, "sys", [turn("q0"), turn("q1"), turn("q2"), turn("q3", ("c2", "c3"), spent)])
    assert [(one.question_id, one.system, one.text, one.context_ids) for one in answers] == [
        ("q0", "sys", "Tea.", ("c1",)),
        ("q3", "sys", "Plum jam.", ("c2", "c3")),
    ]
    assert [(one.stage, one.item) for one in problems] == [("06_answer sys", "q1 sys"), ("06_answer sys", "q2 sys")]
    assert "blank" in problems[1].reason and "Jam or tea?" in problems[1].reply
    first, second = answers
    assert (first.prompt_tokens, first.output_tokens, first.seconds) == (2, 1, 0.0)  # 8 and 4 characters
    assert first.cost == pytest.approx((2 * 2.0 + 1 * 8.0) / 1e6)
    read, written = 100 + 2, 10 + len("<think>Jam.</think> Plum jam.") // 4
    assert (second.prompt_tokens, second.output_tokens, second.seconds) == (read, written, 1.5)
    assert second.cost == pytest.approx((read * 2.0 + written * 8.0) / 1e6)
    assert all(call.keep_cut for call in model.asked)
    assert read_all(reader, "sys", []) == ([], [])


def test_an_unknown_price_is_not_zero(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "Tea.", price=None)
    assert math.isnan(make_answer(reader, "q", "sys", "Tea.", (), Spent(1, 1)).cost)
    rehearsed = replace(reader, model=Rehearsal(reader.model))
    assert math.isnan(make_answer(rehearsed, "q", "sys", "Tea.", (), Spent(1, 1)).cost)


def test_a_reader_that_never_answers_stops_the_stage_with_its_problems(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "")
    with pytest.raises(StageError, match="06_answer sys: not one call succeeded") as caught:
        read_all(reader, "sys", [turn("q0"), turn("q1")])
    assert [one.item for one in caught.value.problems] == ["q0 sys", "q1 sys"]


def test_one_refused_reply_to_a_single_question_is_its_problem(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "")
    answers, problems = read_all(reader, "sys", [turn("q0")])
    assert answers == [] and [one.item for one in problems] == ["q0 sys"]


def test_a_thought_without_an_answer_is_a_problem(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "<think>Jam or tea? Let me see")
    answers, problems = read_all(reader, "sys", [turn("q0")])
    assert answers == [] and [(one.reason, one.reply) for one in problems] == [
        ("the thought was cut off before an answer", "<think>Jam or tea? Let me see")
    ]


class Cuts:
    """A server that is cut off at the limit every time."""

    identity = "cuts"

    def __init__(self):
        self.asked = 0

    def complete(self, call, stop):
        """A reply like that of `Endpoint.complete`."""
        assert isinstance(stop, threading.Event)
        self.asked += 1
        data, unusable = read_reply(call, "Plum jam is", "length")
        return unusable or Reply("Plum jam is", data, "cuts", 7, call.max_tokens, 0.5)


def test_an_answer_that_reaches_the_limit_is_an_answer_and_is_not_asked_for_again(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "")
    backend = Cuts()
    model = Model("scripted", reader.model.cache, backend, reader.model.meter, 1)
    for _ in range(2):
        (answer,), problems = read_all(replace(reader, model=model), "sys", [turn("q0")])
        assert (answer.text, answer.output_tokens, problems) == ("Plum jam is", 90, [])
    assert backend.asked == 1
    data, unusable = read_reply(turn("q0").call(), "Plum jam is", "length")
    assert data is None and isinstance(unusable, Unusable) and unusable.kind == "cut off"


def test_an_endpoint_is_as_large_as_said_and_its_tokens_are_estimated(tmp_path):
    reader, _ = reader_of(tmp_path, lambda call: "")
    model = Model("openai:gpt-4o-mini", reader.model.cache, reader.model.backend, reader.model.meter)
    assert open_reader(model, 96, 128_000) == ModelReader(model, ABOUT_TOKENS, 128_000, 96)


def test_a_model_that_runs_here_says_how_large_it_is(tmp_path, monkeypatch):
    configured = SimpleNamespace(from_pretrained=lambda path: SimpleNamespace(max_position_embeddings=512))
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(AutoConfig=configured))
    monkeypatch.setattr(models, "load_tokenizer", lambda spec: f"tokenizer of {spec}")
    reader, _ = reader_of(tmp_path, lambda call: "")
    model = Model("some/model", reader.model.cache, reader.model.backend, reader.model.meter)
    assert open_reader(model, 96, 128_000) == ModelReader(model, "tokenizer of some/model", 512, 96)
    assert open_reader(model, 96, 128_000, CHARACTERS).tokenizer is CHARACTERS


def test_weights_that_are_in_memory_are_not_loaded_again(tmp_path, monkeypatch):
    model = open_model("some/model", tmp_path / "calls.sqlite", loaded=("weights", CHARACTERS))
    seen = []

    def generate(weights, tokenizer, prompts, most, *_, done, **__):
        seen.append((weights, prompts))
        done([0], ["Plum jam is"], [most], 0.5)

    monkeypatch.setattr(local_model, "generate", generate)
    monkeypatch.setattr(local_model, "_chat", lambda tokenizer, messages: messages[-1][1])
    (answer,), problems = read_all(ModelReader(model, CHARACTERS, 512, 90), "sys", [turn("q0")])
    assert seen == [("weights", ["About q0"])]
    assert (answer.text, answer.output_tokens, answer.cost, problems) == ("Plum jam is", 90, 0.0, [])
