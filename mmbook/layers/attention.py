"""Attention (注意力) and what it keeps between the steps of generation."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class AttentionCache:
    """Keys and values of one attention layer, kept between the steps of generation.

    The room for ``capacity`` tokens is allocated once; each step writes its own slot.
    A cross-attention layer fills it in one go and never writes again.

    Shapes: ``keys`` and ``values`` are (B, heads, capacity, D / heads).
    """

    capacity: int
    keys: Tensor | None = None
    values: Tensor | None = None
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values (B, heads, T, d); give back all so far."""
        if self.keys is None:
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


@dataclass
class DecoderCache:
    """The caches of all layers of a decoder: one for itself, one for the context."""

    layers: int
    capacity: int
    own: list[AttentionCache] = field(init=False)
    context: list[AttentionCache] = field(init=False)

    def __post_init__(self):
        self.own = [AttentionCache(self.capacity) for _ in range(self.layers)]
        self.context = [AttentionCache(0) for _ in range(self.layers)]

    @property
    def length(self) -> int:
        """The number of tokens that were decoded so far."""
        return self.own[0].length

    def reorder(self, rows: Tensor, context: bool = True) -> None:
        """Put these rows of the batch into their places (beam search)."""
        for cache in self.own + (self.context if context else []):
            cache.reorder(rows)


class Attention(nn.Module):
    r"""Multi-head attention, to oneself or to a context (注意力).

    $$\mathrm{softmax}\left(QK^\top / \sqrt{d}\right) V$$

    per head, with $d = D / \text{heads}$ (Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762). The sum is computed by
    ``scaled_dot_product_attention``; chapter 5.2 derives it by hand and compares.

    Parameters
    ----------
    width : D, of the tokens that ask.
    heads : number of heads; must divide ``width``.
    context_width : width of the tokens that are asked; ``width`` if not given.
    dropout : share of attention weights dropped in training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide the width; got {heads} and {width}")
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width or width, width)
        self.value = nn.Linear(context_width or width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: AttentionCache | None = None,
    ) -> Tensor:
        """Let ``x`` (B, N, D) look at ``context`` (B, M, ·), or at itself.

        ``mask`` (B, M) is True for tokens that may be looked at. ``causal`` hides what
        comes later; with a ``cache`` the new tokens stand behind those already kept.
        """
        query = self._split(self.query(x))  # (B, heads, N, d)
        if context is None:
            keys, values = self._split(self.key(x)), self._split(self.value(x))
            if cache is not None:
                keys, values = cache.append(keys, values)
        else:
            keys, values = self._context(context, cache)
        allowed = _allowed(mask, query.shape[2], keys.shape[2], causal, x.device)
        mixed = F.scaled_dot_product_attention(
            query,
            keys,
            values,
            attn_mask=allowed,
            is_causal=causal and mask is None and query.shape[2] == keys.shape[2],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, N, D)

    def weights(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """The attention weights themselves, (B, heads, N, M): for looking inside."""
        query = self._split(self.query(x))
        keys = self._split(self.key(x if context is None else context))
        scores = query @ keys.transpose(-2, -1) / query.shape[-1] ** 0.5
        allowed = _allowed(mask, query.shape[2], keys.shape[2], causal, x.device, True)
        if allowed is None:
            return scores.softmax(-1)
        weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
        return weights.masked_fill(~allowed, 0)  # also where nothing may be seen

    def _context(self, context: Tensor, cache: AttentionCache | None):
        if cache is not None and cache.keys is not None:
            return cache.keys, cache.values  # computed once, at the first step
        if context.shape[-1] != self.key.in_features:
            raise ValueError(
                f"this attention looks at a context of width {self.key.in_features}; "
                f"got width {context.shape[-1]}: set context_width"
            )
        keys = self._split(self.key(context))
        values = self._split(self.value(context))
        if cache is not None:
            cache.keys, cache.values, cache.length = keys, values, keys.shape[2]
        return keys, values

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, D) → (B, heads, N, D / heads)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _allowed(mask, queries, keys, causal, device, always=False) -> Tensor | None:
    """Which key each query may see: (B or 1, 1, N, M) bool, or None for all."""
    allowed = None
    if causal and (mask is not None or queries != keys or always) and queries > 1:
        ones = torch.ones(queries, keys, dtype=torch.bool, device=device)
        allowed = ones.tril(keys - queries)[None, None]
    if mask is not None:
        if mask.dtype != torch.bool or mask.ndim != 2 or mask.shape[1] != keys:
            raise ValueError(
                f"a mask must be bool (B, {keys}), True = may be looked at; got "
                f"{mask.dtype} {tuple(mask.shape)}"
            )
        shown = mask[:, None, None, :]  # (B, 1, 1, M)
        allowed = shown if allowed is None else allowed & shown
    return allowed
