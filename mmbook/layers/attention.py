"""Attention (注意力), and the keys and values that generation keeps of it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .positions import rotate


@dataclass
class AttentionCache:
    """An attention layer's keys and values: (B, heads, capacity, d). Chapter 5.2."""

    capacity: int
    keys: Tensor | None = None
    values: Tensor | None = None
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values (B, heads, T, d); return all so far."""
        if self.keys is None or self.values is None:
            batch, heads, _, width = keys.shape
            self.keys = keys.new_empty(batch, heads, self.capacity, width)
            self.values = torch.empty_like(self.keys)
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens; got {end}")
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Put these rows of the batch, as many as it has, into their places."""
        for kept in (self.keys, self.values):
            if kept is not None:
                kept[:, :, : self.length] = kept[rows, :, : self.length]


class DecoderCache:
    """The caches of all layers of a decoder: words, and context. Chapter 5.2."""

    def __init__(self, layers: int, capacity: int):
        self.own = [AttentionCache(capacity) for _ in range(layers)]
        self.context = [AttentionCache(0) for _ in range(layers)]

    @property
    def length(self) -> int:
        """The number of tokens decoded so far."""
        return self.own[0].length

    def reorder(self, rows: Tensor, context: bool = True) -> None:
        """Put these rows of the batch into their places (beam search)."""
        for cache in self.own + (self.context if context else []):
            cache.reorder(rows)


class Attention(nn.Module):
    r"""Multi-head attention (多头注意力), to the tokens themselves or to a context.

    $$\mathrm{softmax}\left(QK^\top / \sqrt{d}\right) V$$

    per head, with $d = D / \text{heads}$ (Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762). Fewer ``kv_heads`` than heads share keys and
    values among several queries (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245);
    ``rotary``: the base of :func:`rotate`, which turns queries and keys. Chapter 2.1.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        kv_heads: int | None = None,
        rotary: float | None = None,
    ):
        super().__init__()
        kv_heads = kv_heads or heads
        if width % heads or heads % kv_heads:
            given = f"{heads} and {width}, {kv_heads} and {heads}"
            raise ValueError(
                f"heads must divide the width, kv_heads the heads; {given}"
            )
        self.heads, self.kv_heads, self.dropout = heads, kv_heads, dropout
        self.rotary = rotary
        source, kept = context_width or width, width // heads * kv_heads
        self.query = nn.Linear(width, width, bias)
        self.key = nn.Linear(source, kept, bias)
        self.value = nn.Linear(source, kept, bias)
        self.out = nn.Linear(width, width, bias)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: AttentionCache | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """``x`` (B, N, D) attends to ``context`` (B, M, ·), or to itself: (B, N, D).

        ``mask`` (B, M): True is seen. With a ``cache`` new tokens follow what it keeps.
        ``places`` (B, N): where the tokens stand, for rotary positions.
        """
        query = self._turned(self._split(self.query(x)), places)  # (B, heads, N, d)
        keys, values = self._keys_and_values(x, context, cache, places)  # (B, ·, M, d)
        allowed = _allowed(mask, query, keys, causal)
        square = causal and mask is None and query.shape[2] == keys.shape[2]
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            query, keys, values, allowed, dropout, square, enable_gqa=self._grouped
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, x, context=None, mask=None, causal=False, places=None) -> Tensor:
        """The attention weights, (B, heads, N, M), of what :meth:`forward` takes."""
        query = self._turned(self._split(self.query(x)), places)
        keys = self._split(self.key(x if context is None else context))
        keys = self._turned(keys, places)
        keys = keys.repeat_interleave(self.heads // self.kv_heads, 1)
        allowed = _allowed(mask, query, keys, causal, always=True)
        scores = query @ keys.transpose(-2, -1) / query.shape[-1] ** 0.5
        if allowed is None:
            return scores.softmax(-1)
        weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
        return weights.masked_fill(~allowed, 0)  # where all is masked: 0, not NaN

    @property
    def _grouped(self) -> bool:
        return self.kv_heads != self.heads

    def _turned(self, x: Tensor, places: Tensor | None) -> Tensor:
        if self.rotary is None:
            return x
        if places is None:
            places = torch.arange(x.shape[2], device=x.device)[None]
        return rotate(x, places, self.rotary)

    def _keys_and_values(self, x, context, cache, places) -> tuple[Tensor, Tensor]:
        if context is not None and cache is not None and cache.keys is not None:
            return cache.keys, cache.values  # computed once, at the first step
        source = x if context is None else context
        if source.shape[-1] != (width := self.key.in_features):
            raise ValueError(f"context must have width {width}; got {source.shape[-1]}")
        keys, values = self._split(self.key(source)), self._split(self.value(source))
        keys = self._turned(keys, places)
        if cache is not None and context is None:
            return cache.append(keys, values)
        if cache is not None:
            cache.keys, cache.values, cache.length = keys, values, keys.shape[2]
        return keys, values

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, heads · d) → (B, heads, N, d)"""
        width = self.query.out_features // self.heads
        return x.unflatten(-1, (-1, width)).transpose(1, 2)


def _allowed(mask, query, keys, causal: bool, always: bool = False) -> Tensor | None:
    """Where each query may attend, (B or 1, 1, N, M) bool; None if the kernel knows."""
    (B, _, N, _), (rows, _, M, _) = query.shape, keys.shape
    if rows != B:
        raise ValueError(f"x and its context need one batch size; got {B} and {rows}")
    allowed = None
    if causal and (mask is not None or N != M or always) and N > 1:
        ones = torch.ones(N, M, dtype=torch.bool, device=query.device)
        allowed = ones.tril(M - N)[None, None]
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != (B, M):
            given = f"{mask.dtype} {tuple(mask.shape)}"
            raise ValueError(f"a mask must be bool (B, {M}) with B = {B}; got {given}")
        shown = mask[:, None, None, :]  # (B, 1, 1, M)
        allowed = shown if allowed is None else allowed & shown
    return allowed
