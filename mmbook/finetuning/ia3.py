"""IA³: one learned factor for each activation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .replacing import STORED, THOUGHTS, Where, plain_linear, replace_modules, take_over


class ScaledLinear(nn.Linear):
    """A linear layer with one learned factor a number, 1 at the start (IA³).

    ``inputs=True`` scales what goes in, else what comes out. Liu et al. 2022,
    https://arxiv.org/abs/2205.05638.
    """

    def __init__(self, base: nn.Linear, inputs: bool = False):
        take_over(self, base)
        self.inputs = inputs
        size = base.in_features if inputs else base.out_features
        self.factors = nn.Parameter(torch.ones_like(base.weight.new_empty(size)))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        if self.inputs:
            return F.linear(x * self.factors, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias) * self.factors

    def merged(self) -> nn.Linear:
        """The plain linear layer that gives the same."""
        if self.inputs:
            return plain_linear(self, self.weight * self.factors, self.bias)
        bias = None if self.bias is None else self.bias * self.factors
        return plain_linear(self, self.weight * self.factors[:, None], bias)


def add_ia3(
    model: nn.Module,
    outputs: Where = STORED,
    inputs: Where = THOUGHTS,
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model; learn factors for keys, values and inner activations (IA³).

    ``outputs`` names the layers whose outputs are scaled, ``inputs`` those whose inputs
    are. ``keep`` and errors as for :func:`add_lora`.
    """
    replace_modules(model, nn.Linear, outputs, keep, ScaledLinear)
    also = [name for name, p in model.named_parameters() if p.requires_grad]
    replace_modules(
        model, nn.Linear, inputs, keep, lambda base: ScaledLinear(base, True)
    )
    for name in also:
        model.get_parameter(name).requires_grad_(True)
    return model
