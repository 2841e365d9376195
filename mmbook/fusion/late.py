"""Late fusion (晚期融合): each modality by itself, until the head."""

import torch
from torch import nn

from ..layers.block import FeedForward
from ..tokens import Tokens
from .base import Fusion


class LateFusion(Fusion):
    r"""One token for each modality, made from it alone: (B, modalities, D).

    $$z_m = \mathrm{norm}(\bar x_m + f_m(\bar x_m))$$

    $f_m$ has one hidden layer. Nothing meets here: a linear head can only add scores:
    chapter 1.1. A survey: Baltrušaitis et al. 2017, https://arxiv.org/abs/1705.09406.
    """

    def __init__(self, widths: dict[str, int], width: int, dropout: float = 0.0):
        super().__init__(widths, width)
        self.transform = nn.ModuleDict(
            {name: FeedForward(width, dropout=dropout) for name in widths}
        )
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name in widths})

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token for each of all of them."""
        vectors = self.vectors(tokens)
        pairs = zip(self.modalities, vectors.values.unbind(1), strict=True)
        voices = [self.norm[name](x + self.transform[name](x)) for name, x in pairs]
        return Tokens(torch.stack(voices, 1), vectors.mask)
