"""Perceiver resampler (感知重采样器): any number of tokens in, a fixed number out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Attention, FeedForward
from ..tokens import Tokens
from .base import AttentionFusion, repeated


class PerceiverResampler(AttentionFusion):
    r"""Learned queries (可学习查询) that look at all tokens: (B, n, D). Chapter 2.5.

    $$q \leftarrow q + \mathrm{attention}(q,\ [x_1; x_2; \dots; q]), \qquad
    q \leftarrow q + f(q)$$

    per layer, normed before each part, for n = ``queries``. Alayrac et al. 2022,
    https://arxiv.org/abs/2204.14198, after Perceiver, https://arxiv.org/abs/2103.03206.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        layers: int = 2,
        heads: int = 4,
        queries: int = 8,
        dropout: float = 0.0,
    ):
        super().__init__(widths, width, layers, heads, dropout, queries)

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """The queries attend to the tokens and to themselves."""
        return ResamplerLayer(self.width, heads, dropout)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → n tokens."""
        parts = self.aligned(tokens)
        context = Tokens.concatenate(list(parts.values()))
        queries = repeated(self.queries, parts)
        x = queries.values
        for layer in self.blocks:
            x = layer(x, context)
        return Tokens(self.norm(x), queries.mask)


class ResamplerLayer(nn.Module):
    """The queries look at the context and at themselves, then think."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.context_norm, self.query_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout=dropout)
        self.feed_forward = FeedForward(width, dropout=dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, context: Tokens) -> Tensor:
        """(B, n, D) → (B, n, D)"""
        h = self.query_norm(queries)
        seen = torch.cat([self.context_norm(context.values), h], dim=1)
        mask = F.pad(context.mask, (0, queries.shape[1]), value=True)
        queries = queries + self.dropout(self.attention(h, seen, mask))
        return queries + self.feed_forward(self.feed_forward_norm(queries))
