"""Cross-attention (交叉注意力): one modality asks, the others answer."""

from torch import nn

from ..layers.block import Block
from ..tokens import Tokens
from .base import AttentionFusion


class CrossAttention(AttentionFusion):
    """The asking modality's tokens, each enriched by what it found in the others.

    The first of ``widths`` asks. Per layer: self-attention, cross-attention to all
    tokens of the others, feed-forward. Either side may be missing. Chapter 2.5.
    """

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """Self-attention, cross-attention to the others, feed-forward."""
        return Block(self.width, heads, context_width=self.width, dropout=dropout)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → the tokens of the first one present."""
        asking, *others = self.aligned(tokens).values()
        context = context_mask = None
        if others:
            joined = Tokens.concatenate(others)
            context, context_mask = joined.values, joined.mask
        x = asking.values
        for block in self.blocks:
            x = block(x, asking.mask, context=context, context_mask=context_mask)
        return Tokens(self.norm(x), asking.mask)
