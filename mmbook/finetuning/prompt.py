"""Prompt tuning (提示微调): learned tokens before the input."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from ..layers.block import Block
from .freezing import HEAD, Names, freeze
from .replacing import Where, frozen_modules, matches, take_over


class PromptedBlock(Block):
    """A block of a stack into which learned tokens go first (提示微调).

    The last one takes them out. Lester et al. 2021, https://arxiv.org/abs/2104.08691.
    """

    def __init__(self, base, tokens: int, first: bool, last: bool):
        take_over(self, base)
        self.tokens, self.last, self.prompt = tokens, last, None
        if first:
            width = base.attention.query.in_features
            new = next(base.parameters()).new_empty(tokens, width)
            self.prompt = nn.Parameter(width**-0.5 * torch.randn_like(new))

    def forward(self, x, mask=None, *rest, cache=None, **more) -> Tensor:
        """As :meth:`Block.forward`."""
        if cache is not None:
            raise ValueError("a model with a prompt has no cache: use_cache=False")
        if self.prompt is not None:
            x = torch.cat([self.prompt.to(x.dtype).expand(len(x), -1, -1), x], 1)
        if mask is not None:
            mask = F.pad(mask, (self.tokens, 0), value=True)
        x = super().forward(x, mask, *rest, **more)
        return x[:, self.tokens :] if self.last else x


def add_prompt(
    model: nn.Module, tokens: int = 8, where: Where = ("*blocks",), keep: Names = HEAD
) -> nn.Module:
    """Freeze; learn ``tokens`` vectors before the first of some blocks. Chapter 3.3."""
    at_least_one(tokens=tokens)
    lists = [(n, m) for n, m in frozen_modules(model, keep) if type(m) is nn.ModuleList]
    of_blocks = [(n, m) for n, m in lists if {type(block) for block in m} == {Block}]
    stacks = {n: m for n, m in of_blocks if matches(n, m, where)}
    if len(stacks) != 1:
        found = ", ".join(stacks) or "none that is frozen and of mmbook"
        raise ValueError(f"one stack of blocks is needed; where={where} fits {found}")
    freeze(model, keep)
    (stack,) = stacks.values()
    for number, base in enumerate(stack):
        ends = number == 0, number == len(stack) - 1
        stack[number] = PromptedBlock(base, tokens, *ends)
    return model
