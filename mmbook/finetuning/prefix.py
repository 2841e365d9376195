"""Prefix tuning (前缀微调): learned keys and values."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from ..layers.attention import Attention
from .replacing import HEAD, Names, Where, replace_modules, take_over


class PrefixedAttention(Attention):
    """Attention with learned keys and values before those of the tokens (前缀微调).

    ``prefix`` is (2, heads, P, D / heads): the keys and the values. Every query may
    attend to them, also where there is a mask. Li and Liang 2021,
    https://arxiv.org/abs/2101.00190; they learn the prefix through one more network,
    which is left out here.
    """

    def __init__(self, base: Attention, tokens: int):
        take_over(self, base)
        width = base.query.out_features
        shape = (2, base.heads, tokens, width // base.heads)
        new = next(base.parameters()).new_empty(shape)
        self.prefix = nn.Parameter(0.1 * torch.randn_like(new))

    def forward(self, x, context=None, mask=None, causal=False, cache=None) -> Tensor:
        """As :meth:`Attention.forward`; ``mask`` is of the tokens alone."""
        if mask is not None:
            mask = F.pad(mask, (self.prefix.shape[2], 0), value=True)
        return super().forward(x, context, mask, causal, cache)

    def weights(self, x, context=None, mask=None, causal=False) -> Tensor:
        """Not offered: the rows of the tokens alone do not add up to one."""
        raise NotImplementedError("attention with a prefix does not show its weights")

    def _keys_and_values(self, x, context, cache) -> tuple[Tensor, Tensor]:
        found = super()._keys_and_values(x, context, cache)
        keys, values = (
            torch.cat([first.to(rest).expand(len(rest), -1, -1, -1), rest], 2)
            for first, rest in zip(self.prefix, found, strict=True)
        )
        return keys, values


def add_prefix(
    model: nn.Module, tokens: int = 8, where: Where = ("attention",), keep: Names = HEAD
) -> nn.Module:
    """Freeze a model; learn ``tokens`` keys and values for each attention layer.

    ``where`` names the attention layers of the book (``"cross"`` are those that attend
    to a context); ``keep`` as for :func:`add_lora`.
    """
    at_least_one(tokens=tokens)
    return replace_modules(model, (Attention,), where, keep, PrefixedAttention, tokens)
