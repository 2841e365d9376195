"""Gated fusion (门控融合): a learned gate says how much of each modality passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..tokens import Tokens
from .base import Fusion


class Gated(Fusion):
    r"""A weighted sum whose weights depend on all modalities: (B, 1, D).

    $$z = \sum_m g_m \odot \tanh(\bar x_m), \qquad
    g = \mathrm{softmax}_m\big(W [\bar x_1; \bar x_2; \dots] + b\big)$$

    There is one gate for each modality and each of the D numbers. With two modalities
    and softmax this is the gated multimodal unit of Arevalo et al. 2017,
    https://arxiv.org/abs/1702.01992; with sigmoid it is their form for any number, in
    which several gates can be open, or none.

    A missing modality is zero in what the gates read, and its own gate is shut. Under
    softmax the others share the whole weight.

    Parameters
    ----------
    gate : "softmax" or "sigmoid".
    """

    def __init__(self, widths: dict[str, int], width: int, gate: str = "softmax"):
        super().__init__(widths, width)
        if gate not in ("softmax", "sigmoid"):
            raise ValueError(f"gate must be softmax or sigmoid; got {gate!r}")
        self.kind = gate
        self.gate = nn.Linear(len(widths) * width, len(widths) * width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors = self.vectors(tokens)
        passed = self.gates(vectors) * vectors.values.tanh()  # (B, modalities, D)
        return Tokens(passed.sum(1, keepdim=True), vectors.mask.any(1, keepdim=True))

    def gates(self, vectors: Tokens) -> Tensor:
        """How far each gate is open, from 0 to 1: (B, modalities, D), to look at.

        ``vectors`` come from :meth:`vectors`.
        """
        scores = self.gate(vectors.values.flatten(1))  # (B, modalities · D)
        scores = scores.unflatten(1, (-1, self.width))
        real = vectors.mask[..., None]
        if self.kind == "sigmoid":
            return scores.sigmoid() * real
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~real, lowest).softmax(1) * real
