"""Gated cross-attention (门控交叉注意力): looks at the others, as far as its gates open."""

import torch
from torch import Tensor, nn

from ..layers import Attention, AttentionCache, Block, FeedForward
from ..tokens import Tokens
from .base import AttentionFusion


class GatedCrossAttention(AttentionFusion):
    r"""The first modality's tokens; the others add nothing until the gates have learned:

    $$x \leftarrow x + \tanh(\alpha)\,\mathrm{cross}(x, c), \quad
    x \leftarrow x + \tanh(\beta)\,f(x), \quad x \leftarrow \mathrm{block}(x)$$

    per layer, with $c = [x_2; x_3; \dots]$ and gates $\alpha, \beta$ that begin at 0.
    What stands before each layer of a frozen language model in Flamingo (Alayrac et al.
    2022, https://arxiv.org/abs/2204.14198), with trained blocks. Chapter 2.5.
    """

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """A gated look at the others, then a block of self-attention."""
        look = GatedLayer(self.width, heads, self.width)
        return nn.ModuleList([look, Block(self.width, heads, dropout=dropout)])

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → the tokens of the first one present."""
        asking, *others = self.aligned(tokens).values()
        x = asking.values
        for layer in self.blocks:
            look, block = layer.children()
            x = look(x, Tokens.concatenate(others)) if others else x
            x = block(x, asking.mask)
        return Tokens(self.norm(x), asking.mask)


class GatedLayer(nn.Module):
    """Cross-attention and feed-forward, each behind a gate that begins shut."""

    def __init__(self, width: int, heads: int, context_width: int):
        super().__init__()
        self.gates = nn.Parameter(torch.zeros(2))
        self.attention = Attention(width, heads, context_width)
        self.feed_forward = FeedForward(width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tokens, cache: AttentionCache | None = None):
        """(B, L, D) and tokens (B, N, C) → (B, L, D); as it was where none is real."""
        real = context.mask.any(1)[:, None, None]
        look, think = self.gates.tanh()
        keys, mask = context.values, context.mask
        found = self.attention(self.attention_norm(x), keys, mask, cache=cache)
        x = x + look * found * real
        return x + think * self.feed_forward(self.feed_forward_norm(x)) * real
