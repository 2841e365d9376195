"""LoRA (低秩适配): a change of low rank beside frozen weights."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from .freezing import HEAD, Names
from .replacing import ReplacedLinear, Where, linears, replace_modules

QUERIES_AND_VALUES = ("query", "value", "q_proj", "v_proj", "c_attn")  # Hu et al.'s


class LoRALinear(ReplacedLinear):
    r"""A linear layer with a learned change of low rank (低秩适配):

    $$y = W x + b + \frac{\alpha}{r}\, B A x$$

    A is ``down`` (r, in), drawn as the weights of a linear layer are; B is ``up``
    (out, r), zero at the start, so nothing changes at first. Hu et al. 2021,
    https://arxiv.org/abs/2106.09685; chapter 3.3.
    """

    scale: Tensor
    decays = ("down", "up")  # by weight decay, as the weights of linear layers do

    def __init__(self, base: nn.Module, rank: int, alpha: float):
        super().__init__(base)
        new = self.base()[0].new_empty
        self.down = nn.Parameter(new(rank, self.in_features))
        self.up = nn.Parameter(torch.zeros_like(new(self.out_features, rank)))
        self.register_buffer("scale", torch.full_like(new(()), alpha / rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        change = F.linear(F.linear(x, self.down), self.up)
        return F.linear(x, *self.base()) + self.scale * change

    def _effective(self) -> tuple[Tensor, Tensor | None]:
        weight, bias = self.base()
        return weight + self.scale * self.up @ self.down, bias


def add_lora(
    model: nn.Module,
    rank: int = 4,
    alpha: float | None = None,
    where: Where = QUERIES_AND_VALUES,
    keep: Names = HEAD,
) -> nn.Module:
    """Freeze; give linear layers a change of low rank, still zero. Chapter 3.3.

    ``alpha`` is 2 · ``rank`` if not given. ``where``: last parts of names, with ``*``
    for anything (``("query", "feed_forward.*")``), or a function of name and layer.
    """
    at_least_one(rank=rank)
    alpha = 2 * rank if alpha is None else alpha
    return replace_modules(model, linears(), where, keep, LoRALinear, rank, alpha)
