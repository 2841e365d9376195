"""Low-rank adaptation (低秩适配)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from .replacing import LOOKING, Where, plain_linear, replace_modules, take_over


class LoRALinear(nn.Linear):
    r"""A linear layer with a learned change of low rank (低秩适配):

    $$y = W x + b + \frac{\alpha}{r}\, B A x$$

    A is ``down`` (r, in), drawn as the weights of a linear layer are; B is ``up``
    (out, r), zero at the start, so nothing changes at first. Hu et al. 2021,
    https://arxiv.org/abs/2106.09685; chapter 3.3. Weight and bias keep their names.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        take_over(self, base)
        new = base.weight.new_empty
        self.down = nn.Parameter(new(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros_like(new(base.out_features, rank)))
        self.register_buffer("scale", torch.full_like(new(()), alpha / rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        change = F.linear(F.linear(x, self.down), self.up)
        return F.linear(x, self.weight, self.bias) + self.scale * change

    def merged(self) -> nn.Linear:
        """The plain linear layer that gives the same."""
        return plain_linear(
            self, self.weight + self.scale * self.up @ self.down, self.bias
        )


def add_lora(
    model: nn.Module,
    rank: int = 4,
    alpha: float | None = None,
    where: Where = LOOKING,
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model and give linear layers of it a change of low rank (LoRA).

    Parameters
    ----------
    rank : r, of the change; a layer then trains r · (in + out) numbers.
    alpha : the change is multiplied by ``alpha / rank``; 2 · ``rank`` if not given.
    where : which layers: names, of which the last parts count and ``*`` may stand for
        anything (``("query", "feed_forward.*")``); or a function of name and layer.
        ``("*",)`` is every linear layer that is frozen.
    keep : beginnings of the names of what is trained as a whole beside them: a new head.
        ``()`` if there is nothing.

    Returns
    -------
    nn.Module
        The same model; what it says has not changed yet.

    Raises
    ------
    ValueError
        If no linear layer has such a name, or nothing has the name of ``keep``.
    """
    at_least_one(rank=rank)
    alpha = 2 * rank if alpha is None else alpha
    return replace_modules(
        model, nn.Linear, where, keep, lambda base: LoRALinear(base, rank, alpha)
    )
