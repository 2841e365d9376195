"""IA³: one learned factor for each activation."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .freezing import HEAD, Names
from .replacing import ReplacedLinear, Where, linears, replace_modules

KEYS_AND_VALUES = ("key", "value", "k_proj", "v_proj", "c_attn")
FEED_FORWARD_ENDS = ("feed_forward.2", "*[0-9].output.dense", "fc2", "mlp.c_proj")


class ScaledLinear(ReplacedLinear):
    """A linear layer with one learned factor for each activation, 1 at the start (IA³).

    ``inputs`` scales what goes in. Liu et al. 2022, https://arxiv.org/abs/2205.05638.
    """

    def __init__(self, base: nn.Module, inputs: bool = False):
        super().__init__(base)
        self.inputs = inputs
        size = self.in_features if inputs else self.out_features
        self.factors = nn.Parameter(torch.ones_like(self.base()[0].new_empty(size)))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        if self.inputs:
            return F.linear(x * self.factors, *self.base())
        return F.linear(x, *self.base()) * self.factors

    def _effective(self) -> tuple[Tensor, Tensor | None]:
        weight, bias = self.base()
        if self.inputs:
            return weight * self.factors, bias
        bias = None if bias is None else bias * self.factors
        return weight * self.factors[:, None], bias


def add_ia3(
    model: nn.Module,
    outputs: Where = KEYS_AND_VALUES,
    inputs: Where = FEED_FORWARD_ENDS,
    keep: Names = HEAD,
) -> nn.Module:
    """Freeze; learn factors of some ``outputs`` and ``inputs`` (IA³). Chapter 3.3."""
    replace_modules(model, linears(), outputs, keep, ScaledLinear)
    trained = [p for p in model.parameters() if p.requires_grad]
    replace_modules(model, linears(), inputs, keep, ScaledLinear, True)
    for parameter in trained:
        parameter.requires_grad_(True)
    return model
