"""Late fusion (晚期融合): each modality by itself, until the head."""

from __future__ import annotations

import torch
from torch import nn

from ..layers.block import FeedForward
from ..tokens import Tokens
from .base import Fusion


class LateFusion(Fusion):
    r"""One token for each modality, made from it alone: (B, modalities, D).

    $$z_m = \mathrm{norm}(\bar x_m + f_m(\bar x_m))$$

    $\bar x_m$ is the mean of the tokens of modality $m$; $f_m$ has one hidden layer.
    Nothing meets here. A linear head takes the mean of the tokens, so it can only add
    up the votes of the modalities; chapter 1.1 shows what votes can't do. A survey:
    Baltrušaitis et al. 2017, https://arxiv.org/abs/1705.09406.

    There is always one token for each modality. That of a missing one is not real in
    the mask, so it has no vote.

    Parameters
    ----------
    width, hidden : D, and the width of the hidden layers, 4 D if not given.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        hidden: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__(widths, width)
        self.transform = nn.ModuleDict(
            {name: FeedForward(width, hidden, dropout) for name in widths}
        )
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name in widths})

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token for each of all of them."""
        vectors, real = zip(*self.means(tokens), strict=True)
        voices = []
        for name, x in zip(self.modalities, vectors, strict=True):
            voices.append(self.norm[name](x + self.transform[name](x)))
        return Tokens(torch.stack(voices, 1), torch.cat(real, 1))
