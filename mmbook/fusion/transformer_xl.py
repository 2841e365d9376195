"""Transformer-XL: a stream of any length, segment by segment, with a memory (片段循环)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import FeedForward, sinusoids
from ..tokens import Tokens
from .base import AttentionFusion


class TransformerXL(AttentionFusion):
    r"""One stream of the tokens of all modalities, read in segments: (B, N₁ + N₂ + …, D).

    $$x^{n} = \mathrm{block}\big(x^{n-1},\ [\mathrm{SG}(m^{n-1}); x^{n-1}]\big)$$

    per layer $n$. $m^{n-1}$ are its earlier inputs, ``memory`` tokens at most; SG lets
    no gradient through. A token looks back only, and knows distances, counted in real
    tokens, not places. Dai et al. 2019, https://arxiv.org/abs/1901.02860, with the
    layer norm before each part. Chapter 2.6. What comes out stands in the order of the
    stream, real tokens first: without ``times`` the order of ``widths``.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        layers: int = 2,
        heads: int = 4,
        memory: int = 64,
        dropout: float = 0.0,
    ):
        super().__init__(widths, width, layers, heads, dropout)
        if memory < 0:
            raise ValueError(f"memory must be 0 tokens or more; got {memory}")
        self.memory = memory

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """A look at the memory and the segment, then a feed-forward network."""
        return RelativeBlock(self.width, heads, dropout)

    def forward(
        self, tokens: dict[str, Tokens], times: dict[str, Tensor] | None = None
    ) -> Tokens:
        """Any subset of the modalities → one segment, as if nothing was before it."""
        return self.stream(tokens, times=times)[0]

    def stream(
        self,
        tokens: dict[str, Tokens],
        memory: Memory | None = None,
        times: dict[str, Tensor] | None = None,
    ) -> tuple[Tokens, Memory]:
        """Read the next segment of a stream; give the memory to the call after this.

        ``times`` says when each token is, (B, N) for each modality: the order of the
        stream. At equal times the order of ``widths`` decides.
        """
        segment = merged(self.aligned(tokens), times)
        x, mask = segment.values, segment.mask
        if memory is None:
            memory = Memory.empty(len(self.blocks), x)
        memory.check(len(self.blocks), x)
        seen = torch.cat([memory.mask, mask], dim=1)  # (B, M + N)
        entered = []
        for block, past in zip(self.blocks, memory.states, strict=True):
            entered.append(x)
            x = block(x, past, seen)
        return Tokens(self.norm(x), mask), memory.followed_by(
            entered, mask, self.memory
        )


@dataclass(frozen=True, eq=False)
class Memory:
    """What entered each layer earlier, without a gradient; real tokens stand last."""

    states: tuple[Tensor, ...]  # of each layer, (B, M, D)
    mask: Tensor  # (B, M) bool, True where a token is real

    @classmethod
    def empty(cls, layers: int, like: Tensor) -> Memory:
        """The memory before the first segment, for a batch like this one (B, N, D)."""
        nothing = like.new_zeros(len(like), 0, like.shape[-1])
        return cls((nothing,) * layers, nothing[..., 0].bool())

    def followed_by(self, entered: list[Tensor], mask: Tensor, length: int) -> Memory:
        """Append a segment's states to each layer; keep the last ``length`` tokens."""
        mask = torch.cat([self.mask, mask], dim=1)
        order = mask.byte().argsort(dim=1, stable=True)  # padding first, real last
        order = order[:, max(order.shape[1] - length, 0) :]  # (B, M)
        states = [
            _taken(torch.cat([old, new.detach()], dim=1), order)
            for old, new in zip(self.states, entered, strict=True)
        ]
        return Memory(tuple(states), mask.gather(1, order))

    def check(self, layers: int, like: Tensor) -> None:
        """Raise ValueError if this memory is of another model or another batch."""
        own = (len(self.states), len(self.mask))
        if own != (layers, len(like)):
            wanted = f"{layers} layers, {len(like)} rows"
            given = f"{own[0]} layers, {own[1]} rows"
            raise ValueError(f"a memory of {wanted} is needed; got {given}")


def merged(parts: dict[str, Tokens], times: dict[str, Tensor] | None = None) -> Tokens:
    """All tokens in order of time, or modality by modality, the real ones first."""
    joined = Tokens.concatenate(list(parts.values()))
    device = joined.mask.device  # Apple's GPUs have no float64
    exact = torch.float32 if device.type == "mps" else torch.float64
    when = torch.arange(joined.mask.shape[1], device=device).expand_as(joined.mask)
    if times is not None:
        for name, part in parts.items():
            own = tuple(times[name].shape) if name in times else "nothing"
            if own != (shape := tuple(part.mask.shape)):
                raise ValueError(f"times of {name} must be (B, N) = {shape}; got {own}")
        when = torch.cat([times[name].to(exact) for name in parts], dim=1)
    when = when.to(exact).masked_fill(~joined.mask, float("inf"))
    order = when.argsort(dim=1, stable=True)
    return Tokens(_taken(joined.values, order), joined.mask.gather(1, order))


def _taken(values: Tensor, order: Tensor) -> Tensor:
    """Tokens (B, N, D) at the places (B, M) of each row: (B, M, D)."""
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))


class RelativeBlock(nn.Module):
    """One layer: look at the memory and at what came before in the segment, then think."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.attention = RelativeAttention(width, heads, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, dropout=dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) and (B, M, D), mask (B, M + N) → (B, N, D)"""
        seen = self.attention_norm(torch.cat([past, x], dim=1))
        x = x + self.dropout(self.attention(seen, x.shape[1], mask))
        return x + self.feed_forward(self.feed_forward_norm(x))


class RelativeAttention(nn.Module):
    r"""Attention that looks back and knows distances, not places (相对位置注意力).

    $$A_{ij} = q_i^\top k_j + q_i^\top W_R R_{i-j} + u^\top k_j + v^\top W_R R_{i-j}$$

    per head, $j \le i$, before division by $\sqrt d$ and softmax; $R_\delta$ are
    sinusoids (Dai et al. 2019, https://arxiv.org/abs/1901.02860).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if width % heads or width % 2:
            given = f"width {width}, {heads} heads"
            raise ValueError(f"width must be even, and heads divide it; got {given}")
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.position = nn.Linear(width, width, bias=False)  # W_R
        self.out = nn.Linear(width, width, bias=False)
        self.u = nn.Parameter(0.02 * torch.randn(heads, 1, width // heads))
        self.v = nn.Parameter(0.02 * torch.randn(heads, 1, width // heads))

    def forward(self, seen: Tensor, N: int, mask: Tensor | None = None) -> Tensor:
        """Let the last N of the tokens ``seen`` (B, K, D) look back: (B, N, D).

        ``mask`` (B, K) is True for what may be looked at; each may look at itself.
        """
        query = self._split(self.query(seen[:, -N:]))  # (B, heads, N, d)
        key, value = self._split(self.key(seen)), self._split(self.value(seen))
        K, d = key.shape[-2:]
        far_to_near = torch.arange(K - 1, -1, -1, device=seen.device)
        R = sinusoids(far_to_near, self.position.in_features, "halves").to(seen)
        R = self.position(R).unflatten(-1, (self.heads, d)).transpose(0, 1)
        by_distance = shift((query + self.v) @ R.transpose(-2, -1))  # (B, heads, N, K)
        allowed = may_look_back(N, K, mask, seen.device)
        bias = (by_distance / d**0.5).masked_fill(~allowed, float("-inf"))
        p, query = self.dropout if self.training else 0.0, query + self.u
        mixed = F.scaled_dot_product_attention(query, key, value, bias, p)
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, N, D)

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, D) → (B, heads, N, D / heads)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def shift(scores: Tensor) -> Tensor:
    """Scores by distance → scores by place: (…, N, K) → (…, N, K), N ≤ K.

    What comes in has the distances K - 1, …, 0 in its columns; what goes out has the
    keys, of which the last N are the queries themselves. Entry (i, j) is the one for
    the distance K - N + i - j; where that is negative, it means nothing.

    A column of zeros in front, and the same numbers read in rows of another length:
    each row moves one step further to the left than the row below it. The *first* N
    numbers are dropped (``1:``); dropping the last would shift everything by a row.
    """
    *lead, N, K = scores.shape
    padded = F.pad(scores, (1, 0))  # (…, N, K + 1)
    return padded.reshape(*lead, K + 1, N)[..., 1:, :].reshape(*lead, N, K)


def may_look_back(N: int, K: int, mask: Tensor | None, device=None) -> Tensor:
    """Which of K tokens the last N may see: (1 or B, 1, N, K) bool."""
    ones = torch.ones(N, K, dtype=torch.bool, device=device)
    back = ones.tril(K - N)[None, None]
    if mask is None:
        return back
    itself = back & ones.triu(K - N)
    return back & mask[:, None, None, :] | itself
