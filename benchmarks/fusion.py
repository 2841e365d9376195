"""Each fusion beside the plainest PyTorch expression of the same operation.

Both get the same weights, the same tokens and the same masks; their results are equal
(asserted), and what is timed is forward and backward. The plain expressions are those of
chapter 2.5, with attention written out as softmax(QKᵀ/√d)V. Attention itself also stands
beside ``torch.nn.MultiheadAttention`` and the attention of transformers' BERT (with
``scaled_dot_product_attention``), with the same weights.

    python benchmarks/fusion.py [--rounds 30]

Bound: the median of the ratios is at most 1.1: equal, but for noise and for the checks of what
was given (some 0.05 ms, which only the cheapest fusions feel).
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from common import Bound, interleaved, ratios, report, table
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.fusion import fusion
from mmbook.layers import Attention
from mmbook.tokens import Tokens

B, D, HEADS = 16, 128, 4
SIZES = {"image": (196, 768), "text": (12, 384)}  # tokens, width


# --- the plain expressions ------------------------------------------------------------


def mean(part: Tokens) -> Tensor:
    """Mean of the real tokens."""
    real = part.mask[..., None].float()
    return (part.values * real).sum(1) / real.sum(1)


def vector(f, tokens, name: str) -> Tensor:
    """(B, D)"""
    return f.project[name](mean(tokens[name])) + f.mark[name]


def sequence(f, tokens, name: str) -> Tensor:
    """(B, N, D)"""
    return f.project[name](tokens[name].values) + f.mark[name]


def attend(a: Attention, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """Attention, written out."""

    def split(y):
        return y.view(*y.shape[:2], a.heads, -1).transpose(1, 2)

    q, k, v = split(a.query(x)), split(a.key(context)), split(a.value(context))
    scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~mask[:, None, None], float("-inf"))
    return a.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def block(b, x, mask, context=None, context_mask=None) -> Tensor:
    """A pre-norm block, written out."""
    h = b.attention_norm(x)
    x = x + attend(b.attention, h, h, mask)
    if context is not None:
        x = x + attend(b.cross, b.cross_norm(x), context, context_mask)
    return x + b.feed_forward(b.feed_forward_norm(x))


def joined(f, t) -> tuple[Tensor, Tensor]:
    """All tokens behind each other, and their mask."""
    values = torch.cat([sequence(f, t, name) for name in f.modalities], 1)
    return values, torch.cat([t[name].mask for name in f.modalities], 1)


def both(f, t) -> tuple[Tensor, Tensor]:
    """The two mean vectors."""
    return tuple(vector(f, t, name) for name in f.modalities)


def gated_cross_attention(f, t):
    x, c = sequence(f, t, "text"), sequence(f, t, "image")
    for look, b in f.blocks:
        alpha, beta = look.gates.tanh()
        mask = t["image"].mask
        x = x + alpha * attend(look.attention, look.attention_norm(x), c, mask)
        x = x + beta * look.feed_forward(look.feed_forward_norm(x))
        x = block(b, x, t["text"].mask)
    return f.norm(x)


def projector(f, t):
    parts = []
    for name in f.modalities:
        before, first, _, second, after = f.project[name]
        h = second(F.gelu(first(before(t[name].values))))
        parts.append(after(h) + f.mark[name])
    return torch.cat(parts, 1)


def late(f, t):
    voices = zip(f.modalities, both(f, t), strict=True)
    return torch.stack([f.norm[n](x + f.transform[n](x)) for n, x in voices], 1)


def gated(f, t):
    x, y = both(f, t)
    g = f.gate(torch.cat([x, y], 1)).view(len(x), 2, -1).softmax(1)
    return g[:, :1] * x.tanh()[:, None] + g[:, 1:] * y.tanh()[:, None]


def with_one(f, t):
    one = torch.ones(B, 1)
    return [torch.cat([x, one], 1) for x in both(f, t)]


def bilinear(f, t):
    x, y = with_one(f, t)
    outer = torch.einsum("bi,bj->bij", x, y)
    return f.norm(torch.einsum("bij,ijk->bk", outer, f.weight[0]))[:, None]


def low_rank(f, t):
    x, y = with_one(f, t)
    left, right = (f.factors[name] for name in f.modalities)
    x, y = torch.einsum("bi,rik->brk", x, left), torch.einsum("bj,rjk->brk", y, right)
    return f.norm((x * y).sum(1))[:, None]


def film(f, t):
    x, y = sequence(f, t, "image"), vector(f, t, "text")
    for b in f.blocks:
        gamma, beta = b.modulation(y)[:, None].chunk(2, -1)
        h = F.relu(b.first(x))
        x = h + F.relu((1 + gamma) * b.norm(b.second(h)) + beta)
    return f.norm(x)


def cross_attention(f, t):
    x, y = (sequence(f, t, name) for name in f.modalities)
    masks = [t[name].mask for name in f.modalities]
    for b in f.blocks:
        x = block(b, x, masks[0], y, masks[1])
    return f.norm(x)


def merged_attention(f, t):
    x, mask = joined(f, t)
    for b in f.blocks:
        x = block(b, x, mask)
    return f.norm(x)


def co_attention(f, t):
    x, y = sequence(f, t, "image"), sequence(f, t, "text")
    m, n = t["image"].mask, t["text"].mask
    for b in f.blocks:
        x, y = block(b["image"], x, m, y, n), block(b["text"], y, n, x, m)
    return f.norm(torch.cat([x, y], 1))


def bottleneck(f, t):
    x, y = sequence(f, t, "image"), sequence(f, t, "text")
    shared = f.queries.expand(B, -1, -1)
    ones = torch.ones(B, len(f.queries), dtype=torch.bool)
    m, n = (torch.cat([t[name].mask, ones], 1) for name in f.modalities)
    for b in f.blocks:
        x = block(b["image"], torch.cat([x, shared], 1), m)
        y = block(b["text"], torch.cat([y, shared], 1), n)
        (x, p), (y, q) = (z.split([z.shape[1] - 4, 4], 1) for z in (x, y))
        shared = (p + q) / 2
    return f.norm(torch.cat([x, y, shared], 1))


def resampler(f, t):
    x, mask = joined(f, t)
    q = f.queries.expand(B, -1, -1)
    mask = torch.cat([mask, torch.ones(B, q.shape[1], dtype=torch.bool)], 1)
    for b in f.blocks:
        h = b.query_norm(q)
        q = q + attend(b.attention, h, torch.cat([b.context_norm(x), h], 1), mask)
        q = q + b.feed_forward(b.feed_forward_norm(q))
    return f.norm(q)


def q_former(f, t):
    x, mask, n = sequence(f, t, "image"), t["image"].mask, len(f.queries)
    h = torch.cat([f.queries.expand(B, -1, -1), sequence(f, t, "text")], 1)
    own = torch.cat([torch.ones(B, n, dtype=torch.bool), t["text"].mask], 1)
    for b in f.blocks:
        y = b.attention_norm(h)
        h = h + attend(b.attention, y, y, own)
        q, text = h[:, :n], h[:, n:]
        h = torch.cat([q + attend(b.cross, b.cross_norm(q), x, mask), text], 1)
        h = h + b.feed_forward(b.feed_forward_norm(h))
    return f.norm(h[:, :n])


PLAIN = {
    "concatenation": lambda f, t: f.norm(joined(f, t)[0]),
    "late": late,
    "sum": lambda f, t: sum(both(f, t))[:, None],
    "product": lambda f, t: f.norm(torch.mul(*both(f, t)))[:, None],
    "gated": gated,
    "bilinear": bilinear,
    "low_rank": low_rank,
    "film": film,
    "cross_attention": cross_attention,
    "gated_cross_attention": gated_cross_attention,
    "merged_attention": merged_attention,
    "co_attention": co_attention,
    "bottleneck": bottleneck,
    "resampler": resampler,
    "q_former": q_former,
    "projector": projector,
}


# --- timing ---------------------------------------------------------------------------


def given() -> dict[str, Tokens]:
    """Tokens of two modalities; the text is padded."""
    torch.manual_seed(0)
    values = {name: torch.randn(B, *size) for name, size in SIZES.items()}
    length = torch.randint(4, SIZES["text"][0] + 1, (B, 1))
    mask = torch.arange(SIZES["text"][0]) < length
    return {"image": Tokens(values["image"]), "text": Tokens(values["text"], mask)}


def timed(compute, module: nn.Module, repeats: int):
    """A contender: forward and backward, some times over."""

    def run() -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            module.zero_grad(set_to_none=True)
            compute().pow(2).mean().backward()
        return time.perf_counter() - start

    return run


def compare(rounds: int) -> tuple[list, list[Bound]]:
    """Rows of the table, and the bounds, for all fusions."""
    tokens, rows, bounds = given(), [], []
    for name, plain in PLAIN.items():
        torch.manual_seed(0)
        widths = {n: size for n, (_, size) in SIZES.items()}
        if name.endswith("cross_attention"):
            widths = dict(reversed(widths.items()))
        f = fusion(name, widths=widths, width=D)
        ours, real = f(tokens), f(tokens).mask
        torch.testing.assert_close(
            ours.values[real], plain(f, tokens)[real], rtol=1e-4, atol=1e-5
        )
        pair = {
            "ours": lambda f=f: f(tokens).values,
            "plain": lambda f=f, p=plain: p(f, tokens),
        }
        rows.append(measure(name, "plain", pair, f, rounds, bounds))
    return rows, bounds


def measure(name, peer, pair, module, rounds, bounds) -> list:
    """One row: median and quartiles of the ratios, and the median time."""
    single = timed(pair["ours"], module, 1)
    single()
    repeats = max(1, int(0.01 / single()))
    contenders = {key: timed(value, module, repeats) for key, value in pair.items()}
    for run in contenders.values():
        run()
    times = interleaved(contenders, rounds)
    found = ratios(times, "ours", peer)
    low, middle, high = statistics.quantiles(found, n=4)
    bounds.append(Bound(f"{name} / {peer}", middle, 1.1))
    own = 1000 * statistics.median(times["ours"]) / repeats
    return [name, peer, f"{own:.2f}", f"{middle:.2f} ({low:.2f} to {high:.2f})"]


def attention_peers(rounds: int) -> tuple[list, list[Bound]]:
    """Cross-attention beside PyTorch's and transformers' with the same weights."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertSelfAttention

    torch.manual_seed(0)
    ours, x, context = Attention(D, HEADS), *(torch.randn(B, n, D) for n in (12, 49))
    torchs = nn.MultiheadAttention(D, HEADS, batch_first=True)
    parts = ours.query, ours.key, ours.value
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        torchs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
    torchs.out_proj.load_state_dict(ours.out.state_dict())
    config = BertConfig(hidden_size=D, num_attention_heads=HEADS)
    config.attention_probs_dropout_prob = 0.0
    config._attn_implementation = "sdpa"
    bert = BertSelfAttention(config)
    for p, name in zip(parts, ("query", "key", "value"), strict=True):
        getattr(bert, name).load_state_dict(p.state_dict())
    runs = {
        "ours": lambda: ours(x, context),
        "torch.nn.MultiheadAttention": lambda: torchs(
            x, context, context, need_weights=False
        )[0],
    }
    rows, bounds = [], []
    peer = "torch.nn.MultiheadAttention"
    torch.testing.assert_close(runs["ours"](), runs[peer](), rtol=1e-4, atol=1e-5)
    rows.append(measure("attention, cross", peer, runs, ours, rounds, bounds))
    peer = "transformers BertSelfAttention + out"
    runs = {
        "ours": lambda: ours(context),
        peer: lambda: ours.out(bert(context)[0]),
    }
    torch.testing.assert_close(runs["ours"](), runs[peer](), rtol=1e-4, atol=1e-5)
    rows.append(measure("attention, self", peer, runs, ours, rounds, bounds))
    return rows, bounds


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows, bounds = compare(asked.rounds)
    more, other = attention_peers(asked.rounds)
    report(
        "fusion",
        f"Forward and backward with the same weights, in turn, {asked.rounds} rounds; "
        f"{B} rows of 196 image tokens (768 wide) and 12 text tokens (384 wide, padded), "
        f"D = {D}. The ratio is the median of the rounds, with the quartiles.",
        table(["fusion", "beside", "ours, ms", "time / peer's"], rows + more),
        bounds + other,
    )


if __name__ == "__main__":
    main()
