"""Q-Former, querying transformer (查询变换器): queries that a text can instruct."""

import torch
from torch import nn

from ..layers import Attention, FeedForward
from ..tokens import Tokens
from .base import AttentionFusion, repeated


class QFormer(AttentionFusion):
    r"""Learned queries (可学习查询) that talk with the text and look at the rest: (B, n, D).

    $$[q; t] \leftarrow [q; t] + \mathrm{self}([q; t]), \quad
    q \leftarrow q + \mathrm{cross}(q, [x_1; x_2; \dots]), \quad
    [q; t] \leftarrow [q; t] + f([q; t])$$

    per layer, with a layer norm before each part, for tokens $t$ of the modality
    ``text``, if there is one, and $x_m$ of the others. BLIP-2 (Li et al. 2023,
    https://arxiv.org/abs/2301.12597); the text came with InstructBLIP (Dai et al. 2023,
    https://arxiv.org/abs/2305.06500), with a feed-forward layer for it. Chapter 2.5.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        layers: int = 2,
        heads: int = 4,
        queries: int = 8,
        text: str = "text",
        dropout: float = 0.0,
    ):
        super().__init__(widths, width, layers, heads, dropout, queries)
        self.text = text

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """Self-attention with the text, cross-attention to the rest, feed-forward."""
        return QFormerLayer(self.width, heads, dropout)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → n tokens."""
        parts = self.aligned(tokens)
        queries = repeated(self.queries, parts)
        text = [parts.pop(self.text)] if self.text in parts else []
        context = Tokens.concatenate(list(parts.values())) if parts else None
        x = Tokens.concatenate([queries, *text])
        for layer in self.blocks:
            x = layer(x, len(self.queries), context)
        return Tokens(self.norm(x.values[:, : len(self.queries)]), queries.mask)


class QFormerLayer(nn.Module):
    """All look at each other, the first ``n`` look at a context, all think."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.attention = Attention(width, heads, dropout=dropout)
        self.cross = Attention(width, heads, dropout=dropout)
        self.feed_forward = FeedForward(width, dropout=dropout)
        self.attention_norm, self.cross_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tokens, n: int, context: Tokens | None) -> Tokens:
        """(B, n + L, D) → (B, n + L, D)"""
        h = x.values
        h = h + self.dropout(self.attention(self.attention_norm(h), mask=x.mask))
        if context is not None:
            queries, text = h[:, :n], h[:, n:]
            asked = self.cross_norm(queries)
            found = self.dropout(self.cross(asked, context.values, context.mask))
            found = found * context.mask.any(1)[:, None, None]  # nothing to look at
            h = torch.cat([queries + found, text], dim=1)
        h = h + self.feed_forward(self.feed_forward_norm(h))
        return Tokens(h, x.mask)
