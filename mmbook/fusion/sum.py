"""Sum (求和): add the mean vectors of the modalities."""

from __future__ import annotations

from functools import reduce

import torch

from ..tokens import Tokens
from .base import Fusion


class Sum(Fusion):
    r"""The modalities' mean vectors, projected and added: (B, 1, D).

    $$z = \sum_m (W_m \bar x_m + b_m)$$

    One of the baselines of Kiela et al. 2018, https://arxiv.org/abs/1802.02892. A
    linear head on it can only add votes, as in :class:`.LateFusion`; a head with a
    hidden layer can relate what was added. There is no layer norm at the end, on
    purpose: to divide by the spread of the *sum* already relates its parts.

    A missing modality drops out of the sum.
    """

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors, real = zip(*self.means(tokens), strict=True)  # a missing one is zero
        return Tokens(
            reduce(torch.add, vectors)[:, None], reduce(torch.logical_or, real)
        )
