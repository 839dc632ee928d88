"""The attention that models run with on a CPU; on a GPU transformers chooses."""

from __future__ import annotations

from typing import Any

LARGE = 2**21  # scores per head above which they are not laid out in memory: 1,450 x 1,450, or 290 after 7,500 tokens


def attention() -> str | None:
    """Name of the attention to load a model with: our own on a CPU, transformers' choice (None) on a GPU."""
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    if torch.cuda.is_available():
        return None
    AttentionInterface.register("grouped", grouped_attention)
    AttentionMaskInterface.register("grouped", eager_mask)
    return "grouped"


def grouped_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **_: Any
) -> tuple[Any, None]:
    """Attention in which query heads that share a key head are one matrix, so that no key is ever copied.

    transformers repeats keys and values once per query head at every step, and torch's fused attention has a slow
    backward pass on a CPU. For a long text, whose scores would fill gigabytes, the fused one is taken all the same.
    Shapes: query (rows, heads, queries, size), key and value (rows, key heads, keys, size), mask (rows or 1, 1,
    queries, keys), added; the result is (rows, queries, heads, size).
    """
    import torch

    rows, heads, queries, size = query.shape
    groups = key.shape[1]
    if queries * key.shape[2] > LARGE:
        mask = None if attention_mask is None else attention_mask.to(query.dtype)
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scaling, enable_gqa=heads != groups
        )
        return mixed.transpose(1, 2).contiguous(), None
    asked = query.reshape(rows, groups, heads // groups * queries, size)
    weights = (asked @ key.transpose(2, 3) * scaling).view(rows, groups, heads // groups, queries, -1)
    if attention_mask is not None:
        weights = weights + attention_mask[:, :, None]
    weights = weights.float().softmax(-1).to(query.dtype).view(rows, groups, heads // groups * queries, -1)
    return (weights @ value).view(rows, heads, queries, size).transpose(1, 2).contiguous(), None
