"""Attention and the block equal their twins in torch.nn, masks included."""

import pytest
import torch
from torch import nn

from mmbook.layers import Attention, AttentionCache, Block, DecoderCache

B, N, M, D, HEADS = 3, 5, 4, 16, 4
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def right_padding():
    return torch.arange(M)[None] < torch.tensor([4, 2, 1])[:, None]  # (B, M)


def attention_twins(context_width=None, bias=True):
    """Ours and ``nn.MultiheadAttention`` with the same weights."""
    torch.manual_seed(0)
    width = context_width or D
    twin = nn.MultiheadAttention(
        D, HEADS, bias=bias, kdim=width, vdim=width, batch_first=True
    )
    if bias:
        nn.init.normal_(twin.in_proj_bias)
        nn.init.normal_(twin.out_proj.bias)
    ours = Attention(D, HEADS, context_width, bias=bias)
    copy_attention(twin, ours)
    return ours, twin


@torch.no_grad()
def copy_attention(twin, ours):
    if twin.in_proj_weight is not None:
        weights = twin.in_proj_weight.chunk(3)
    else:
        weights = twin.q_proj_weight, twin.k_proj_weight, twin.v_proj_weight
    parts = ours.query, ours.key, ours.value
    for part, weight in zip(parts, weights, strict=True):
        part.weight.copy_(weight)
    if twin.in_proj_bias is not None:
        for part, bias in zip(parts, twin.in_proj_bias.chunk(3), strict=True):
            part.bias.copy_(bias)
    ours.out.load_state_dict(twin.out_proj.state_dict())


@pytest.mark.parametrize("bias", [True, False])
def test_self_attention_equals_torch(bias):
    ours, twin = attention_twins(bias=bias)
    assert [n for n, _ in ours.named_parameters() if "bias" in n] == [
        f"{part}.bias" for part in ("query", "key", "value", "out") if bias
    ]
    x = torch.randn(B, M, D)
    expected, weights = twin(x, x, x, average_attn_weights=False)
    torch.testing.assert_close(ours(x), expected, **CLOSE)
    torch.testing.assert_close(ours.weights(x), weights, **CLOSE)


@pytest.mark.parametrize("context_width", [None, 6])
def test_masked_cross_attention_equals_torch(context_width):
    ours, twin = attention_twins(context_width)
    x, context = torch.randn(B, N, D), torch.randn(B, M, context_width or D)
    mask = right_padding()
    expected, weights = twin(
        x, context, context, key_padding_mask=~mask, average_attn_weights=False
    )
    torch.testing.assert_close(ours(x, context, mask), expected, **CLOSE)
    torch.testing.assert_close(ours.weights(x, context, mask), weights, **CLOSE)


@pytest.mark.parametrize("padded", [False, True])
def test_causal_attention_equals_torch(padded):
    ours, twin = attention_twins()
    x = torch.randn(B, M, D)
    mask = right_padding() if padded else None
    hidden = torch.ones(M, M, dtype=torch.bool).triu(1)
    expected, weights = twin(
        x,
        x,
        x,
        attn_mask=hidden,
        key_padding_mask=None if mask is None else ~mask,
        average_attn_weights=False,
    )
    torch.testing.assert_close(ours(x, mask=mask, causal=True), expected, **CLOSE)
    found = ours.weights(x, mask=mask, causal=True)
    torch.testing.assert_close(found, weights, **CLOSE)


def test_the_formula_by_hand_equals_the_fast_kernel():
    torch.manual_seed(0)
    attention, x = Attention(D, HEADS), torch.randn(B, M, D)
    mask = right_padding()
    heads = []
    for q, k, v in zip(
        attention.query(x).chunk(HEADS, -1),
        attention.key(x).chunk(HEADS, -1),
        attention.value(x).chunk(HEADS, -1),
        strict=True,
    ):
        scores = q @ k.mT / (D / HEADS) ** 0.5  # (B, M, M)
        scores[~mask[:, None].expand_as(scores)] = float("-inf")
        heads.append(scores.softmax(-1) @ v)
    by_hand = attention.out(torch.cat(heads, -1))
    torch.testing.assert_close(attention(x, mask=mask), by_hand, **CLOSE)


@pytest.mark.parametrize("norm_first", [True, False])
def test_left_and_right_padding_give_real_tokens_the_same(norm_first):
    torch.manual_seed(0)
    block, real = Block(D, HEADS, norm_first=norm_first).eval(), torch.randn(1, 3, D)
    junk, yes, no = torch.randn(1, 2, D), [True] * 3, [False] * 2
    left = block(torch.cat([junk, real], 1), torch.tensor([no + yes]))[:, 2:]
    right = block(torch.cat([real, junk], 1), torch.tensor([yes + no]))[:, :3]
    torch.testing.assert_close(left, right, **CLOSE)
    torch.testing.assert_close(left, block(real), **CLOSE)


def test_what_stands_at_hidden_tokens_changes_nothing():
    torch.manual_seed(0)
    block = Block(D, HEADS, context_width=D).eval()
    x, context, mask = torch.randn(B, N, D), torch.randn(B, M, D), right_padding()
    other = context.masked_fill(~mask[..., None], 1e4)
    first = block(x, context=context, context_mask=mask)
    torch.testing.assert_close(first, block(x, context=other, context_mask=mask))


def test_a_context_of_padding_alone_is_as_good_as_none():
    """Also with a bias behind the attention, and in one row of several."""
    torch.manual_seed(0)
    block = Block(D, HEADS, context_width=D).eval()
    nn.init.normal_(block.cross.out.bias)
    x, context, mask = torch.randn(B, N, D), torch.randn(B, M, D), right_padding()
    mask[1] = False
    found = block(x, context=context, context_mask=mask)
    torch.testing.assert_close(found[1], block(x)[1], **CLOSE)
    assert not torch.allclose(found[0], block(x)[0], atol=1e-3)


def test_a_wholly_masked_row_gives_no_nan():
    torch.manual_seed(0)
    block = Block(D, HEADS, context_width=D)
    x = torch.randn(B, N, D, requires_grad=True)
    context, mask = torch.randn(B, M, D, requires_grad=True), right_padding()
    mask[1] = False  # a modality that is missing in this row
    out = block(x, context=context, context_mask=mask)
    out.sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in block.parameters())
    assert torch.equal(context.grad[1], torch.zeros(M, D))
    weights = block.cross.weights(x, context, mask)
    assert torch.equal(weights[1], torch.zeros(HEADS, N, M))
    torch.testing.assert_close(weights[0].sum(-1), torch.ones(HEADS, N))


@pytest.mark.parametrize("norm_first", [True, False])
def test_block_equals_torch_encoder_layer(norm_first):
    torch.manual_seed(0)
    twin = nn.TransformerEncoderLayer(
        D, HEADS, 24, 0.0, "gelu", batch_first=True, norm_first=norm_first
    )
    ours = Block(D, HEADS, 24, norm_first=norm_first)
    copy_layer(twin, ours)
    x, mask = torch.randn(B, M, D), right_padding()
    expected = twin(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, mask)[mask], expected[mask], **CLOSE)


@pytest.mark.parametrize("norm_first", [True, False])
def test_block_equals_torch_decoder_layer(norm_first):
    torch.manual_seed(0)
    twin = nn.TransformerDecoderLayer(
        D, HEADS, 24, 0.0, "gelu", batch_first=True, norm_first=norm_first
    )
    ours = Block(D, HEADS, 24, context_width=D, norm_first=norm_first)
    copy_layer(twin, ours)
    x, context, mask = torch.randn(B, N, D), torch.randn(B, M, D), right_padding()
    hidden = torch.ones(N, N, dtype=torch.bool).triu(1)
    expected = twin(
        x, context, tgt_mask=hidden, memory_key_padding_mask=~mask, tgt_is_causal=True
    )
    found = ours(x, causal=True, context=context, context_mask=mask)
    torch.testing.assert_close(found, expected, **CLOSE)


@torch.no_grad()
def copy_layer(twin, ours):
    for norm in (m for m in twin.modules() if isinstance(m, nn.LayerNorm)):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    copy_attention(twin.self_attn, ours.attention)
    ours.attention_norm.load_state_dict(twin.norm1.state_dict())
    last = twin.norm2
    if ours.cross is not None:
        copy_attention(twin.multihead_attn, ours.cross)
        ours.cross_norm.load_state_dict(twin.norm2.state_dict())
        last = twin.norm3
    ours.feed_forward_norm.load_state_dict(last.state_dict())
    ours.feed_forward[0].load_state_dict(twin.linear1.state_dict())
    ours.feed_forward[2].load_state_dict(twin.linear2.state_dict())


@pytest.mark.parametrize("sizes", [(1,) * 5, (3, 2), (2, 1, 2)])
def test_a_cache_gives_the_same_in_any_portions(sizes):
    torch.manual_seed(0)
    attention, x = Attention(D, HEADS).eval(), torch.randn(B, 5, D)
    cache, portions = AttentionCache(5), x.split(sizes, dim=1)
    found = [attention(portion, causal=True, cache=cache) for portion in portions]
    torch.testing.assert_close(torch.cat(found, 1), attention(x, causal=True), **CLOSE)


def test_a_cache_is_allocated_once_and_says_when_it_is_full():
    cache, new = AttentionCache(3), torch.randn(2, HEADS, 1, 4)
    cache.append(new, new)
    place = cache.keys.data_ptr()
    cache.append(new, new)
    cache.reorder(torch.tensor([1, 0]))
    keys, values = cache.append(new, new)
    assert cache.keys.data_ptr() == place == keys.data_ptr()
    assert keys.shape == values.shape == (2, HEADS, 3, 4)
    with pytest.raises(ValueError, match="holds 3 tokens; got 4"):
        cache.append(new, new)


def test_reorder_moves_the_rows_of_a_cache():
    cache, keys = DecoderCache(layers=1, capacity=2), torch.randn(3, HEADS, 1, 4)
    cache.own[0].append(keys, -keys)
    context = cache.context[0]
    context.capacity = 1
    context.append(keys, keys)
    rows = torch.tensor([2, 2, 0])
    cache.reorder(rows, context=False)
    assert torch.equal(cache.own[0].keys[:, :, :1], keys[rows])
    assert torch.equal(cache.own[0].values[:, :, :1], -keys[rows])
    assert torch.equal(context.keys, keys)
    cache.reorder(rows)
    assert torch.equal(context.keys, keys[rows])
    assert cache.length == 1


def test_the_keys_of_a_context_are_computed_once():
    torch.manual_seed(0)
    attention, context = Attention(D, HEADS).eval(), torch.randn(B, M, D)
    calls = []
    attention.key.register_forward_hook(lambda *_: calls.append(1))
    cache, x = AttentionCache(0), torch.randn(B, 3, D)
    found = [attention(x[:, [t]], context, cache=cache) for t in range(3)]
    assert len(calls) == 1
    torch.testing.assert_close(torch.cat(found, 1), attention(x, context), **CLOSE)


def test_dropout_works_in_training_only():
    torch.manual_seed(0)
    attention, x = Attention(D, HEADS, dropout=0.5), torch.randn(B, N, D)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


def test_a_block_without_a_context_skips_its_cross_attention():
    torch.manual_seed(0)
    block, x = Block(D, HEADS, context_width=8), torch.randn(B, N, D)
    twin = Block(D, HEADS)
    twin.load_state_dict(block.state_dict(), strict=False)
    torch.testing.assert_close(block(x), twin(x))


def test_wrong_widths_are_named():
    with pytest.raises(ValueError, match=r"heads must divide.*3 and 16"):
        Attention(16, 3)
    with pytest.raises(ValueError, match=r"context.*width 8.*got.*12"):
        Attention(D, HEADS, context_width=8)(
            torch.zeros(B, N, D), torch.zeros(B, M, 12)
        )
    with pytest.raises(ValueError, match=r"context.*width 8.*got.*16"):
        Attention(D, HEADS, context_width=8)(torch.zeros(B, N, D))


@pytest.mark.parametrize("rows", [(1, 2), (2, 1), (3, 2)])
def test_batches_of_different_sizes_are_refused(rows):
    """A batch of one would be broadcast."""
    x, context = (torch.zeros(n, N, D) for n in rows)
    attention, block = Attention(D, HEADS), Block(D, HEADS, context_width=D)
    message = f"one batch size; got {rows[0]} and {rows[1]}"
    for call in (
        lambda: attention(x, context),
        lambda: attention.weights(x, context),
        lambda: block(x, context=context),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    own, other = AttentionCache(2 * N), AttentionCache(0)
    attention(context, cache=own)
    attention(context, context, cache=other)
    with pytest.raises((ValueError, RuntimeError), match=r"one batch|must match"):
        attention(x, cache=own)
    with pytest.raises(ValueError, match=message):
        attention(x, context, cache=other)


@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(1, M, dtype=torch.bool),
        torch.ones(B, M + 1, dtype=torch.bool),
        torch.ones(B, N, M, dtype=torch.bool),
        torch.ones(B, M),
    ],
    ids=["rows", "tokens", "dimensions", "type"],
)
def test_a_mask_has_a_bool_for_each_token(mask):
    attention = Attention(D, HEADS)
    x, context = torch.zeros(B, N, D), torch.zeros(B, M, D)
    for call in (attention, attention.weights):
        with pytest.raises(ValueError, match=r"bool \(B, 4\) with B = 3.*; got torch"):
            call(x, context, mask)
