"""Cross-attention (交叉注意力): one modality asks, the others answer."""

from __future__ import annotations

from torch import nn

from ..layers import Block
from ..tokens import Tokens
from .base import Fusion, at_least_one


class CrossAttention(Fusion):
    """The asking modality's tokens, each enriched by what it found in the others.

    Per layer: self-attention among the asking tokens, cross-attention to all tokens of
    the other modalities, feed-forward. If the asking modality is missing, the others
    pass through a self-attention alone; if the others are, the asking ones do.

    Parameters
    ----------
    widths : width of each modality's tokens; the first one asks.
    width, layers, heads : D, number of blocks, number of heads.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        layers: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
    ):
        super().__init__(widths, width)
        at_least_one(layers=layers)
        self.blocks = nn.ModuleList(
            Block(width, heads, context_width=width, dropout=dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

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
