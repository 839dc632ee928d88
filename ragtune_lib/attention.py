"""The attention that our models answer with, and train with on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LARGE = 2**21  # scores per head above which they are not laid out in memory: 1,450 x 1,450, or 290 after 7,500 tokens


def attention() -> str:
    """Name under which a model is loaded with `grouped_attention`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register("grouped", grouped_attention)
    AttentionMaskInterface.register("grouped", eager_mask)
    return "grouped"


def grouped_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float,
    shared: Sequence[tuple[Any, Any]] | None = None,
    softcap: float | None = None,
    s_aux: Any = None,
    **_: Any,
) -> tuple[Any, None]:
    """Attention in which query heads that share a key head are one matrix, so that no key is ever copied.

    transformers repeats keys and values once per query head at every step, and torch's fused attention has a slow
    backward pass on a CPU. For a long text, whose scores would fill gigabytes, the fused one is taken all the same.

    Args:
        module: the layer; its `layer_idx` says which of the shared states are its own.
        query: shape (rows, heads, queries, size).
        key: shape (rows, key heads, keys, size).
        value: likewise.
        attention_mask: shape (rows or 1, 1, queries, keys), added to the scores.
        scaling: of the scores.
        shared: per layer keys and values that stand before those of every row and that every query sees, shape
            (1, key heads, earlier keys, size).
        softcap: not supported, as Gemma 2 has it.
        s_aux: not supported, as gpt-oss has it.

    Returns:
        Shape (rows, queries, heads, size), and None for the weights.

    Raises:
        NotImplementedError: for a model whose attention has more to it; left out, its answers would be wrong unseen.
    """
    import torch

    if softcap is not None or s_aux is not None:
        raise NotImplementedError("this model's attention has soft caps or sinks, which ragtune does not compute")

    rows, heads, queries, size = query.shape
    groups = key.shape[1]
    if shared is None and queries * key.shape[2] > LARGE:
        mask = None if attention_mask is None else attention_mask.to(query.dtype)
        key, value = (states.repeat_interleave(heads // groups, 1) for states in (key, value))
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
        return mixed.transpose(1, 2).contiguous(), None
    asked = query.reshape(rows, groups, heads // groups * queries, size)
    scores = (asked @ key.transpose(2, 3) * scaling).view(rows, groups, heads // groups, queries, -1)
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, None]
    scores = scores.view(rows, groups, heads // groups * queries, -1)
    if shared is None:
        mixed = scores.float().softmax(-1).to(query.dtype) @ value
    else:
        early_keys, early_values = (states[0] for states in shared[module.layer_idx])
        early = _all_rows(asked) @ early_keys.transpose(1, 2) * scaling
        early = early.view(groups, rows, heads // groups * queries, -1).transpose(0, 1)
        weights = torch.cat([early, scores], -1).float().softmax(-1).to(query.dtype)
        early, own = weights.split([early.shape[-1], scores.shape[-1]], -1)
        told = (_all_rows(early) @ early_values).view(groups, rows, heads // groups * queries, size)
        mixed = own @ value + told.transpose(0, 1)
    return mixed.view(rows, heads, queries, size).transpose(1, 2).contiguous(), None


def _all_rows(states: Any) -> Any:
    """Rows side by side as one matrix per key head: (rows, key heads, n, m) to (key heads, rows times n, m)."""
    return states.transpose(0, 1).flatten(1, 2)
