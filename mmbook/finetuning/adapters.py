"""Adapters (适配器): a small network behind each sub-layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from .replacing import ANSWERS, Where, replace_modules, take_over


class AdaptedLinear(nn.Linear):
    """A linear layer with an adapter (适配器) behind it: y + up(gelu(down(y))).

    ``up`` is zero at the start. Houlsby et al. 2019, https://arxiv.org/abs/1902.00751.
    """

    def __init__(self, base: nn.Linear, hidden: int):
        take_over(self, base)
        width = base.out_features
        self.adapter = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        ).to(base.weight)
        nn.init.zeros_(self.adapter[2].weight)
        nn.init.zeros_(self.adapter[2].bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        y = F.linear(x, self.weight, self.bias)
        return y + self.adapter(y)


def add_adapters(
    model: nn.Module,
    hidden: int = 8,
    where: Where = ANSWERS,
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model and put a small network behind each of its sub-layers.

    ``hidden`` is the width of its bottleneck; ``where`` names the linear layers that end
    a sub-layer, before the sum. ``keep`` and errors as for :func:`add_lora`.
    """
    at_least_one(hidden=hidden)
    return replace_modules(
        model, nn.Linear, where, keep, lambda base: AdaptedLinear(base, hidden)
    )
