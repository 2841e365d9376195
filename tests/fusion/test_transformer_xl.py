"""Transformer-XL against a double loop, and what its memory is worth exactly."""

import pytest
import torch
from torch import nn

from mmbook.fusion import TransformerXL, transformer_xl
from mmbook.fusion.transformer_xl import Memory, RelativeAttention, shift
from mmbook.tokens import Tokens

WIDTHS = {"image": 6, "text": 8}
D = 16
exactly = {"rtol": 0, "atol": 1e-12}


def far_from_zero(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval().double()


def make(**arguments):
    return far_from_zero(TransformerXL(WIDTHS, D, **arguments))


def stream(length, rows=2, seed=1):
    """One modality that can be cut anywhere."""
    torch.manual_seed(seed)
    return torch.randn(rows, length, 8, dtype=torch.float64)


def in_segments(module, x, S, mask=None):
    """All outputs behind each other, and the last memory."""
    memory, outputs = None, []
    for i in range(0, x.shape[1], S):
        part = Tokens(x[:, i : i + S], None if mask is None else mask[:, i : i + S])
        out, memory = module.stream({"text": part}, memory)
        outputs.append(out.values)
    return torch.cat(outputs, 1), memory


# ----------------------------------------------------------------- relative attention


def double_loop(attention, seen, N, mask):
    """Every pair of a query and a key, with the four terms written out."""
    (B, K, _), H = seen.shape, attention.heads
    d = D // H
    q, k, v = (
        part(seen).unflatten(-1, (H, d))
        for part in (attention.query, attention.key, attention.value)
    )
    mixed = torch.zeros(B, N, H, d, dtype=seen.dtype)
    for b in range(B):
        for h in range(H):
            u, v_bias = attention.u[h, 0], attention.v[h, 0]
            W_R = attention.position.weight[h * d : (h + 1) * d]
            for i in range(K - N, K):
                may = [j for j in range(i + 1) if mask[b, j] or j == i]
                scores = []
                for j in may:
                    R = wave(i - j)
                    a, c = q[b, i, h] @ k[b, j, h], u @ k[b, j, h]
                    b_, d_ = q[b, i, h] @ (W_R @ R), v_bias @ (W_R @ R)
                    scores.append((a + b_ + c + d_) / d**0.5)
                weights = torch.stack(scores).softmax(0)
                mixed[b, i - K + N, h] = weights @ v[b, may, h]
    return attention.out(mixed.flatten(2))


def wave(distance):
    """R of one distance: sines at D / 2 frequencies, then cosines."""
    angles = torch.tensor(
        [distance / 10_000 ** (2 * f / D) for f in range(D // 2)], dtype=torch.float64
    )
    return torch.cat([angles.sin(), angles.cos()])


@pytest.mark.parametrize("N, K", [(1, 1), (5, 5), (1, 6), (4, 9), (6, 7)])
def test_attention_is_the_double_loop(N, K):
    attention = far_from_zero(RelativeAttention(D, 2))
    seen = torch.randn(3, K, D, dtype=torch.float64)
    mask = torch.rand(3, K) < 0.7
    for shown in (torch.ones(3, K, dtype=torch.bool), mask):
        expected = double_loop(attention, seen, N, shown)
        torch.testing.assert_close(attention(seen, N, shown), expected, **exactly)
    torch.testing.assert_close(
        attention(seen, N), double_loop(attention, seen, N, torch.ones(3, K)), **exactly
    )


@pytest.mark.parametrize("N, K", [(1, 1), (3, 3), (1, 4), (3, 5), (4, 5)])
def test_the_shift_brings_each_distance_to_its_key(N, K):
    distances = torch.arange(K - 1, -1, -1).expand(N, K).float()
    place = shift(distances)
    for i in range(N):
        for j in range(K):
            distance = K - N + i - j
            if distance >= 0:
                assert place[i, j] == distance


def test_the_wrong_slice_is_found_out(monkeypatch):
    """Keeping the first numbers, [:-1], gives each query the scores of another."""

    def off_by_one(scores):
        N, K = scores.shape[-2:]
        padded = nn.functional.pad(scores, (1, 0)).unflatten(-1, (K + 1,))
        return padded.reshape(*scores.shape[:-2], K + 1, N)[..., :-1, :].reshape_as(
            scores
        )

    scores = torch.randn(4, 4)
    assert torch.equal(off_by_one(scores)[1:].tril(), shift(scores)[:-1].tril(0))
    attention = far_from_zero(RelativeAttention(D, 2))
    seen = torch.randn(1, 6, D, dtype=torch.float64)
    right = attention(seen, 4)
    monkeypatch.setattr(transformer_xl, "shift", off_by_one)
    assert (attention(seen, 4) - right).abs().max() > 1e-2


def test_only_the_distance_counts():
    """The same tokens later in the stream: the same answer, to the last digit but a few."""
    attention = far_from_zero(RelativeAttention(D, 2))
    seen = torch.randn(1, 5, D, dtype=torch.float64)
    later = torch.cat([torch.randn(1, 40, D, dtype=torch.float64), seen], 1)
    hidden = torch.arange(45)[None] >= 40
    torch.testing.assert_close(
        attention(later, 5, hidden), attention(seen, 5), rtol=0, atol=1e-11
    )


# ----------------------------------------------------------------------------- memory


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("S", [1, 3, 4])
def test_with_enough_memory_segments_are_one_long_pass(layers, S):
    module, x = make(layers=layers, memory=12), stream(12)
    cut, _ = in_segments(module, x, S)
    torch.testing.assert_close(cut, module({"text": Tokens(x)}).values, **exactly)


@pytest.mark.parametrize("S, M", [(4, 0), (4, 4), (4, 8), (4, 2), (3, 5)])
def test_with_less_memory_it_is_a_long_pass_under_a_mask(monkeypatch, S, M):
    """Position p sees from M before the start of its segment to itself, in every layer."""
    module, x = make(layers=3, memory=M), stream(16)
    cut, _ = in_segments(module, x, S)
    place = torch.arange(16)
    first = place // S * S - M
    band = (place[None] <= place[:, None]) & (place[None] >= first[:, None])
    monkeypatch.setattr(transformer_xl, "may_look_back", lambda *_: band[None, None])
    torch.testing.assert_close(cut, module({"text": Tokens(x)}).values, **exactly)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("S, M", [(4, 4), (4, 8), (4, 0), (4, 1)])
def test_reach(layers, S, M):
    """layers · M before the segment, if M is a multiple of S; less than S counts once."""
    module, x = make(layers=layers, memory=M), stream(48, rows=1)
    before = in_segments(module, x, S)[0][0, 44:]
    reached = []
    for j in range(44):
        other = x.clone()
        other[:, j] += 1
        if not torch.equal(in_segments(module, other, S)[0][0, 44:], before):
            reached.append(j)
    expected = (layers - 1) * (S if 0 < M < S else M) + M
    assert reached == list(range(44 - expected, 44))


def test_memory_has_a_value_but_no_gradient():
    module, x = make(memory=8), stream(8).requires_grad_()
    _, memory = module.stream({"text": Tokens(x[:, :4])})
    second, _ = module.stream({"text": Tokens(x[:, 4:])}, memory)
    assert not any(state.requires_grad for state in memory.states)
    (gradient,) = torch.autograd.grad(second.values.pow(3).sum(), x)
    assert gradient[:, :4].abs().max() == 0 and gradient[:, 4:].abs().min() > 0
    alone, _ = module.stream({"text": Tokens(x[:, 4:])})
    assert not torch.allclose(second.values, alone.values)


def test_memory_keeps_the_last_real_tokens():
    module, x = make(layers=2, memory=5), stream(9)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 3:6] = False  # the whole second segment of one row
    mask[1, 8] = False
    _, memory = in_segments(module, x, 3, mask)
    assert memory.mask.all() and memory.mask.shape == (2, 5)
    entered = module.project["text"](x) + module.mark["text"]
    expected = torch.stack([entered[0, [1, 2, 6, 7, 8]], entered[1, 3:8]])
    torch.testing.assert_close(memory.states[0], expected)
    assert make(memory=0).stream({"text": Tokens(x)})[1].mask.shape == (2, 0)


def test_padding_in_memory_leaves_no_gap():
    """Each row as if it had been read alone, without its padding."""
    module, x = make(layers=2, memory=6), stream(12)
    mask = torch.rand(2, 12) < 0.6
    mask[:, 11] = True
    memory = None
    for i in range(0, 12, 4):
        part = Tokens(x[:, i : i + 4], mask[:, i : i + 4])
        out, memory = module.stream({"text": part}, memory)
    for row in range(2):
        alone = None
        for i in range(0, 12, 4):
            real = x[row, i : i + 4][mask[row, i : i + 4]][None]
            expected, alone = module.stream({"text": Tokens(real)}, alone)
        torch.testing.assert_close(
            out.values[row][out.mask[row]], expected.values[0], **exactly
        )


def test_memory_can_be_made_longer_after_training():
    module, x = make(layers=1, memory=4), stream(12)
    short, _ = in_segments(module, x, 4)
    module.memory = 12
    longer, _ = in_segments(module, x, 4)
    torch.testing.assert_close(short[:, :8], longer[:, :8], **exactly)
    assert not torch.allclose(short[:, 8:], longer[:, 8:])


# ----------------------------------------------------------------------------- stream


def test_without_times_one_modality_stands_behind_the_other():
    image, text = torch.randn(2, 3, 6).double(), stream(4)
    module = make()
    fused = module({"image": Tokens(image), "text": Tokens(text)})
    x = torch.cat(
        [
            module.project["image"](image) + module.mark["image"],
            module.project["text"](text) + module.mark["text"],
        ],
        1,
    )
    torch.testing.assert_close(fused.values, plain(module, x), **exactly)


def plain(module, x):
    for block in module.blocks:
        h, everything = block.attention_norm(x), torch.ones(x.shape[:2])
        x = x + double_loop(block.attention, h, h.shape[1], everything)
        x = x + block.feed_forward(block.feed_forward_norm(x))
    return module.norm(x)


def test_times_put_the_stream_in_order():
    module = make()
    given = {
        "image": Tokens(torch.randn(1, 2, 6).double()),
        "text": Tokens(stream(3, 1)),
    }
    times = {
        "image": torch.tensor([[0.0, 2.0]]),
        "text": torch.tensor([[2.0, 1.0, 3.0]]),
    }
    fused = module(given, times)
    parts = [module.project[n](given[n].values) + module.mark[n] for n in given]
    x = torch.cat(parts, 1)[:, [0, 3, 1, 2, 4]]
    torch.testing.assert_close(fused.values, plain(module, x), **exactly)


def test_real_tokens_come_first():
    text = Tokens(stream(4), torch.tensor([[False, True, False, True], [True] * 4]))
    fused = make()({"text": text})
    assert fused.mask.tolist() == [[True, True, False, False], [True] * 4]
    alone = make()({"text": Tokens(text.values[:1, [1, 3]])})
    torch.testing.assert_close(fused.values[:1, :2], alone.values, **exactly)


def test_later_tokens_are_not_seen():
    module, x = make(layers=2), stream(6)
    other = x.clone()
    other[:, 3] += 1
    before, after = (module({"text": Tokens(v)}).values for v in (x, other))
    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(-1).all()


def test_wrong_input_is_named():
    module, text = make(), Tokens(stream(3))
    with pytest.raises(ValueError, match=r"times.*text.*\(2, 3\); got \(2, 2\)"):
        module({"text": text}, {"text": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"times.*text.*got nothing"):
        module({"text": text}, {"image": torch.zeros(2, 3)})
    _, memory = module.stream({"text": text})
    with pytest.raises(ValueError, match=r"2 layers, 1 rows.*got 2 layers, 2 rows"):
        module.stream({"text": Tokens(stream(3, 1))}, memory)
    with pytest.raises(ValueError, match="memory must be 0 tokens or more; got -1"):
        make(memory=-1)
    with pytest.raises(ValueError, match=r"width must be even.*width 15"):
        RelativeAttention(15, 3)
    assert isinstance(memory, Memory)
