"""How likely a model finds a text, and batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


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


def log_likelihood(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], batch_tokens: int = 2_000
) -> list[float]:
    """Natural log of P(text | context), summed over the tokens of the text.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, for padding.
        pairs: token ids of context and text; a context is not empty.
        batch_tokens: padded tokens per batch; bounds the memory.
    """
    import torch

    values = [0.0] * len(pairs)
    lengths = [len(context) + len(text) for context, text in pairs]
    for group in batches_by_length(lengths, batch_tokens):
        batch = tokenizer.pad({"input_ids": [[*pairs[at][0], *pairs[at][1]] for at in group]}, return_tensors="pt")
        batch = batch.to(model.device)
        keep = max(len(pairs[at][1]) for at in group) + 1  # padding is on the left: texts end together
        with torch.inference_mode():
            logits = model(**batch, logits_to_keep=keep).logits[:, :-1].float()
        wanted = batch["input_ids"][:, -keep + 1 :]
        chances = (logits.gather(-1, wanted[..., None])[..., 0] - logits.logsumexp(-1)).tolist()
        for at, row in zip(group, chances, strict=True):
            values[at] = sum(row[len(row) - len(pairs[at][1]) :])
    return values
