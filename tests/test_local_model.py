"""The model that runs here, behind the seam; generation itself is tested in test_models.py."""

import json
import time

import pytest

from ragtune_lib.llm import local_model, open_model
from ragtune_lib.llm.calls import Call, StageError, prompt

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Tokenizer:
    """Words are tokens; the chat form is ChatML without line breaks."""

    def apply_chat_template(self, turns, tokenize, add_generation_prompt):
        """The turns, then what the assistant's begins with."""
        return "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns) + "assistant:"

    def __call__(self, text, add_special_tokens):
        """The words."""
        return {"input_ids": text.split()}


@pytest.fixture
def prompts(monkeypatch):
    """What the model was given, batch by batch; it answers with a number once it is told a schema twice."""
    seen = []

    def generate(model, tokenizer, texts, max_new_tokens, temperature, seed, label, done):
        for start in range(0, len(texts), 3):
            group = list(range(start, min(start + 3, len(texts))))
            seen.append(([texts[place] for place in group], max_new_tokens, temperature, seed))
            replies = ['{"n": 3}' if "cannot be used" in texts[place] else "three" for place in group]
            counts = [max_new_tokens if "endless" in texts[place] else 1 for place in group]
            done(group, replies, counts, 0.3)

    monkeypatch.setattr(local_model, "generate", generate)
    monkeypatch.setattr(local_model, "load_model", lambda spec: "model")
    monkeypatch.setattr(local_model, "load_tokenizer", lambda spec: Tokenizer())
    return seen


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_replies_come_in_order_and_are_kept(prompts, folder, tmp_path):
    model = open_model(str(folder), tmp_path / "c")
    calls = [Call(f"i{number}", prompt(f"question {number}"), 20) for number in range(7)]
    asked = model.ask("stage", [*calls, calls[0]])
    assert [result.call.item for result in asked.results] == ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i0"]
    assert asked.results[0].reply.seconds == 0.1 and asked.results[0].reply.output_tokens == 1
    assert prompts[0][0][0] == "<|im_start|>user\nquestion 0<|im_end|>\nassistant:"  # without an empty system turn
    assert model.meter.requests == 7 and model.meter.money == 0
    assert model.ask("stage", calls).summary == "7 ok (7 kept from before), 0 failed"
    assert sum(len(group) for group, *_ in prompts) == 7


def test_what_was_finished_before_a_crash_is_not_done_again(prompts, folder, tmp_path, monkeypatch):
    calls = [Call(f"i{number}", prompt(f"question {number}"), 20) for number in range(7)]
    generate = local_model.generate

    def dies(model, tokenizer, texts, *rest, done, **options):
        generate(model, tokenizer, texts[:3], *rest, done=done, **options)
        raise MemoryError

    monkeypatch.setattr(local_model, "generate", dies)
    with pytest.raises(MemoryError):
        open_model(str(folder), tmp_path / "c").ask("stage", calls)
    monkeypatch.setattr(local_model, "generate", generate)
    assert open_model(str(folder), tmp_path / "c").ask("stage", calls).summary == "7 ok (3 kept from before), 0 failed"


def test_settings_are_kept_apart(prompts, folder, tmp_path):
    calls = [Call("a", prompt("x"), 20), Call("b", prompt("x"), 30), Call("c", prompt("x"), 20, 0.7),
             Call("d", prompt("x"), 20, 0.7, None, 1)]  # fmt: skip
    open_model(str(folder), tmp_path / "c").ask("stage", calls)
    assert sorted(rest for _, *rest in prompts) == [[20, 0.0, 17], [20, 0.7, 17], [20, 0.7, 18], [30, 0.0, 17]]


def test_an_unreadable_reply_is_asked_again_once(prompts, folder, tmp_path):
    asked = open_model(str(folder), tmp_path / "c").ask("stage", [Call("a", prompt("How many?"), 20, schema=SCHEMA)])
    assert asked.results[0].reply.data == {"n": 3}
    assert json.dumps(SCHEMA) in prompts[0][0][0] and len(prompts) == 2


def test_a_reply_without_an_end_is_cut_off(prompts, folder, tmp_path):
    with pytest.raises(StageError, match="1 cut off"):
        open_model(str(folder), tmp_path / "c").ask("stage", [Call("a", prompt("endless"), 20)])


def test_a_model_trained_again_in_place_is_another_model(prompts, folder, tmp_path):
    calls = [Call("a", prompt("x"), 20)]
    open_model(str(folder), tmp_path / "c").ask("stage", calls)
    time.sleep(0.01)
    (folder / "model.safetensors").write_bytes(b"WEIGHTS")
    open_model(str(folder), tmp_path / "c").ask("stage", calls)
    assert len(prompts) == 2


def test_a_forecast_loads_no_model(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(local_model, "load_model", None)
    found = open_model("embedded", tmp_path / "c").forecast([Call("a", prompt("x"), 20)])
    assert (found.due, found.money) == (1, 0.0)
