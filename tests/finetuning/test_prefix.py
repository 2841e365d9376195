"""A prefix is keys and values that stand before those of the tokens."""

import pytest
import torch
from torch import nn

from mmbook.finetuning import add_prefix
from mmbook.layers import Attention, AttentionCache

WIDTH = 16


def prefixed():
    """Plain attention, two tokens, and attention with these tokens as its prefix."""
    torch.manual_seed(0)
    holder = nn.ModuleDict({"attention": Attention(WIDTH, 2)})
    plain, first = holder["attention"], torch.randn(1, 2, WIDTH)
    with torch.no_grad():
        split = [f(first).unflatten(-1, (2, -1)) for f in (plain.key, plain.value)]
    changed = add_prefix(holder, 2, keep=())["attention"]
    changed.prefix.data = torch.cat(split).transpose(1, 2)  # (2, heads, P, d)
    return plain, first, changed


def test_a_prefix_is_keys_and_values_of_tokens():
    plain, first, changed = prefixed()
    x, first = torch.randn(3, 4, WIDTH), first.expand(3, -1, -1)
    wanted = plain(x, torch.cat([first, x], 1))
    assert torch.allclose(changed(x), wanted, atol=1e-6)
    assert torch.allclose(changed(x, x), wanted, atol=1e-6), "also for a context"
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    assert torch.allclose(changed(x, mask=nothing), plain(x, first), atol=1e-6)


def test_a_prefix_stands_before_what_a_cache_keeps():
    _, _, changed = prefixed()
    x, cache = torch.randn(3, 4, WIDTH), AttentionCache(4)
    parts = [changed(part, causal=True, cache=cache) for part in x.split((1, 2, 1), 1)]
    torch.testing.assert_close(torch.cat(parts, 1), changed(x, causal=True))
    context, own = torch.randn(3, 5, WIDTH), AttentionCache(0)
    for _ in range(2):  # the second time from the cache
        found = changed(x, context, cache=own)
        torch.testing.assert_close(found, changed(x, context))


def test_the_weights_of_a_prefixed_attention_are_not_shown():
    _, _, changed = prefixed()
    with pytest.raises(NotImplementedError, match="prefix"):
        changed.weights(torch.zeros(1, 2, WIDTH))
