"""Merged attention (合并注意力): all tokens of all modalities look at each other."""

from torch import nn

from ..layers.block import Block
from ..tokens import Tokens
from .base import AttentionFusion


class MergedAttention(AttentionFusion):
    r"""One sequence of all tokens, self-attention: (B, N₁ + N₂ + …, D). Chapter 2.5.

    $$z = \mathrm{blocks}([x_1 + e_1; x_2 + e_2; \dots])$$

    Early fusion (早期融合), each modality with its mark $e_m$: Dou et al. 2021,
    https://arxiv.org/abs/2111.02387, and ViLT, https://arxiv.org/abs/2102.03334.
    """

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """Self-attention and feed-forward, for the tokens of all modalities alike."""
        return Block(self.width, heads, dropout=dropout)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one sequence."""
        joined = Tokens.concatenate(list(self.aligned(tokens).values()))
        x = joined.values
        for block in self.blocks:
            x = block(x, joined.mask)
        return Tokens(self.norm(x), joined.mask)
