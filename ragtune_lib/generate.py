"""Text generation in batches, and answers after a long text that is read only once."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ragtune_lib.models import has_token, progress

SHRINK = 0.85  # rows that have ended leave the batch when no more than this share is left: leaving copies the cache


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
    batch_tokens: int = 20_000,
    label: str = "generate",
    done: Callable[[list[int], list[str], list[int], float], None] | None = None,
    prefix: str = "",
    stop: str = "",
) -> list[str]:
    """Continue many prompts, in batches of like length; answers that have ended leave their batch, several at a time.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, padding on the left.
        prompts: complete texts, in chat form already.
        max_new_tokens: at most this many tokens each.
        temperature: 0 is greedy (the default); above it, nucleus sampling with p = 0.95.
        seed: for sampling; the same prompts in the same order then give the same texts.
        batch_tokens: padded prefix, prompt and answer tokens per batch; bounds the memory.
        label: shown by the progress bar.
        done: called after each batch with positions, texts, output token counts (the end token left out) and its wall
            seconds, so that a caller can store finished answers at once.
        prefix: a short text before every prompt, tokenized by itself; read once and then held in memory once per
            prompt of a batch. For a long one see `Prefix`.
        stop: a text of one token that ends an answer beside the model's own end tokens.

    Returns:
        One continuation per prompt, in the order of `prompts`, special tokens removed.
    """
    encoded = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    texts = [""] * len(prompts)
    bar = progress(len(prompts), label)

    def decode(group: list[int], rows: list[list[int]], seconds: float) -> None:
        found = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]
        for position, text in zip(group, found, strict=True):
            texts[position] = text
        if done:
            done(group, found, [len(row) for row in rows], seconds)
        bar.update(len(group))

    generate_ids(model, tokenizer, encoded, max_new_tokens, temperature, seed, batch_tokens, decode, prefix, stop)
    bar.close()
    return texts


def generate_ids(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 17,
    batch_tokens: int = 20_000,
    done: Callable[[list[int], list[list[int]], float], None] | None = None,
    prefix: str = "",
    stop: str = "",
) -> list[list[int]]:
    """`generate` on token ids: the new ids of each prompt, the end token left out, without a progress bar."""
    import torch

    before = _read_prefix(model, tokenizer, prefix) if prefix else None
    held = before.get_seq_length() if before else 0
    ends = {*stop_ids(tokenizer), *(tokenizer(stop, add_special_tokens=False)["input_ids"][-1:] if stop else ())}
    random = torch.Generator(device="cpu").manual_seed(seed)
    output: list[list[int]] = [[] for _ in prompts]
    for group in batches_by_length([held + len(ids) + max_new_tokens for ids in prompts], batch_tokens):
        started = time.perf_counter()
        batch = tokenizer.pad({"input_ids": [list(prompts[position]) for position in group]}, return_tensors="pt")
        rows = _continue(model, batch, max_new_tokens, ends, temperature, random, before)
        for position, row in zip(group, rows, strict=True):
            output[position] = row
        if done:
            done(group, rows, time.perf_counter() - started)
    return output


def _read_prefix(model: Any, tokenizer: Any, text: str) -> Any:
    """Key/value cache of a text, one row."""
    import torch

    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"].to(model.device)
    with torch.inference_mode():
        return model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values


def _continue(
    model: Any, batch: Any, max_new_tokens: int, ends: set[int], temperature: float, random: Any, before: Any = None
) -> list[list[int]]:
    """New token ids of each row of a left-padded batch, the end token left out.

    Own loop and not `model.generate`: the cache has its room from the start, rows that have ended leave it, and no
    processor copies the logits. On two CPU cores that is several times as fast (`make bench`).
    """
    import torch

    tokens, mask = batch["input_ids"].to(model.device), batch["attention_mask"].to(model.device)
    held = before.get_seq_length() if before else 0
    cache = _roomy_cache(model, len(tokens), held + tokens.shape[1] + max_new_tokens, before)
    mask = torch.cat([mask.new_ones(len(mask), held), mask], 1)
    places = (mask.cumsum(-1) - 1).clamp(min=0)[:, held:]
    output: list[list[int]] = [[] for _ in range(len(tokens))]
    live, ended = list(range(len(tokens))), [False] * len(tokens)
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            step = model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            chosen = _choose(step.logits[:, -1], temperature, random)
            ended = [end or token in ends for end, token in zip(ended, chosen, strict=True)]
            keep = [row for row, end in enumerate(ended) if not end]
            for row in keep:
                output[live[row]].append(chosen[row])
            if not keep:
                break
            if len(keep) <= SHRINK * len(live):
                at = torch.tensor(keep, device=model.device)
                cache.batch_select_indices(at)
                mask, places = mask[at], places[at]
                live, chosen, ended = [live[row] for row in keep], [chosen[row] for row in keep], [False] * len(keep)
            tokens = torch.tensor(chosen, device=model.device)[:, None]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            places = places[:, -1:] + 1
    return output


def _roomy_cache(model: Any, rows: int, room: int, before: Any = None) -> Any:
    """A key/value cache with room for `room` tokens, holding what was read before, once per row.

    transformers' own cache makes a new tensor at every step and copies everything that is in it.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class Roomy(DynamicLayer):
        def update(self, key_states: Any, value_states: Any, *args: Any, **rest: Any) -> tuple[Any, Any]:
            self.keys, self.keys_room = _append(self.keys, key_states, getattr(self, "keys_room", None), room)
            self.values, self.values_room = _append(self.values, value_states, getattr(self, "values_room", None), room)
            self.is_initialized = True
            return self.keys, self.values

        def batch_select_indices(self, indices: Any) -> None:
            self.keys_room, self.values_room = self.keys_room[indices], self.values_room[indices]
            length = self.keys.shape[-2]
            self.keys, self.values = self.keys_room[..., :length, :], self.values_room[..., :length, :]

    cache = copy.deepcopy(before) if before else DynamicCache(config=model.config)
    if before:
        cache.batch_repeat_interleave(rows)
    for number, old in enumerate(cache.layers):
        if type(old) is DynamicLayer:  # a sliding window keeps its own, which is short
            cache.layers[number] = Roomy()
            if old.is_initialized:
                cache.layers[number].update(old.keys, old.values)
    return cache


def _append(held: Any, fresh: Any, buffer: Any, room: int) -> tuple[Any, Any]:
    """Write new keys or values, shape (rows, heads, tokens, size), behind those held; returns held and the buffer."""
    length = 0 if buffer is None else held.shape[-2]
    end = length + fresh.shape[-2]
    if buffer is None or end > buffer.shape[-2]:
        larger = fresh.new_empty(*fresh.shape[:2], max(room, end), fresh.shape[-1])
        if length:
            larger[..., :length, :] = held
        buffer = larger
    buffer[..., length:end, :] = fresh
    return buffer[..., :end, :], buffer


def stop_ids(tokenizer: Any) -> list[int]:
    """Tokens that end an answer: the tokenizer's end of text and the chat form's end of turn."""
    turns = [token for token in ("<|im_end|>", "<|eot_id|>") if has_token(tokenizer, token)]
    ends = {tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(turns)}
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
                    chosen = _choose(self.model.lm_head(hidden), temperature, random)
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
    shares, order = (logits.float().cpu() / temperature).softmax(-1).topk(min(400, logits.shape[-1]))
    shares[shares.cumsum(-1) - shares > 0.95] = 0
    picked = torch.multinomial(shares, 1, generator=random)
    return order.gather(-1, picked)[:, 0].tolist()
