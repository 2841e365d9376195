"""Prefix tuning (前缀微调): learned keys and values for each attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from ..layers.attention import Attention
from .freezing import HEAD, Names
from .replacing import Where, replace_modules, take_over


class PrefixedAttention(Attention):
    """Attention with learned keys and values before those of the tokens (前缀微调).

    ``prefix``: (2, kv_heads, P, D / heads). After https://arxiv.org/abs/2101.00190.
    """

    def __init__(self, base: Attention, tokens: int):
        take_over(self, base)
        shape = (2, base.kv_heads, tokens, base.query.out_features // base.heads)
        new = next(base.parameters()).new_empty(shape)
        self.prefix = nn.Parameter(0.1 * torch.randn_like(new))

    def forward(
        self, x, context=None, mask=None, causal=False, cache=None, places=None
    ) -> Tensor:
        """As :meth:`Attention.forward`; ``mask`` is of the tokens alone."""
        if mask is not None:
            mask = F.pad(mask, (self.prefix.shape[2], 0), value=True)
        return super().forward(x, context, mask, causal, cache, places)

    def weights(self, x, context=None, mask=None, causal=False, places=None) -> Tensor:
        """Not offered: the rows of the tokens alone do not add up to one."""
        raise NotImplementedError("attention with a prefix does not show its weights")

    def _keys_and_values(self, x, context, cache, places) -> tuple[Tensor, Tensor]:
        keys, values = super()._keys_and_values(x, context, cache, places)
        learned = self.prefix.to(keys)[:, None].expand(-1, len(keys), -1, -1, -1)
        return torch.cat([learned[0], keys], 2), torch.cat([learned[1], values], 2)


def add_prefix(
    model: nn.Module, tokens: int = 8, where: Where = ("attention",), keep: Names = HEAD
) -> nn.Module:
    """Freeze; learn ``tokens`` keys and values at each of ``where``. Chapter 3.3."""
    at_least_one(tokens=tokens)
    return replace_modules(model, (Attention,), where, keep, PrefixedAttention, tokens)
