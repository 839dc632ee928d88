"""Our attention gives what a plain one gives, laid out in memory or not."""

import pytest
import torch

from ragtune_lib import attention as module
from ragtune_lib.attention import grouped_attention


def by_hand(query, key, value, mask, scaling):
    """One head at a time, in the order of the formula."""
    shared = query.shape[1] // key.shape[1]
    heads = []
    for head in range(query.shape[1]):
        scores = query[:, head] @ key[:, head // shared].transpose(1, 2) * scaling
        scores = scores if mask is None else scores + mask[:, 0]
        heads.append(scores.softmax(-1) @ value[:, head // shared])
    return torch.stack(heads, 2)


@pytest.mark.parametrize("large", [0, 2**21], ids=["fused", "laid out"])
@pytest.mark.parametrize(("heads", "groups"), [(6, 2), (4, 4), (3, 1)])
@pytest.mark.parametrize("masked", [True, False])
def test_heads_that_share_keys_see_what_each_would_see_alone(monkeypatch, large, heads, groups, masked):
    monkeypatch.setattr(module, "LARGE", large)
    torch.manual_seed(1)
    query = torch.randn(2, heads, 5, 8)
    key, value = torch.randn(2, groups, 7, 8), torch.randn(2, groups, 7, 8)
    mask = torch.zeros(2, 1, 5, 7)
    mask[0, :, :, :3] = torch.finfo(torch.float32).min  # left padding of the first row
    mask[:, :, 0, 5:] = torch.finfo(torch.float32).min
    mask = mask if masked else None
    given, weights = grouped_attention(None, query, key, value, mask, 0.3)
    assert weights is None
    assert given.shape == (2, 5, heads, 8)
    torch.testing.assert_close(given, by_hand(query, key, value, mask, 0.3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("more", [{"softcap": 50.0}, {"s_aux": torch.zeros(2)}])
def test_a_model_whose_attention_has_more_to_it_is_refused(more):
    with pytest.raises(NotImplementedError):
        grouped_attention(None, *(torch.randn(1, 2, 3, 8) for _ in range(3)), None, 0.5, **more)


@pytest.mark.parametrize("large", [0, 2**21], ids=["fused", "laid out"])
def test_both_ways_have_the_same_gradient(monkeypatch, large):
    monkeypatch.setattr(module, "LARGE", large)
    torch.manual_seed(2)
    query, key, value = (torch.randn(1, heads, 4, 8, requires_grad=True) for heads in (4, 2, 2))
    grouped_attention(None, query, key, value, None, 0.5)[0].square().sum().backward()
    given = [leaf.grad.clone() for leaf in (query, key, value)]
    for leaf in (query, key, value):
        leaf.grad = None
    by_hand(query, key, value, None, 0.5).square().sum().backward()
    for mine, plain in zip(given, (query.grad, key.grad, value.grad), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)
