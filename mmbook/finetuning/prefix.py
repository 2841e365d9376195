"""Prefix tuning (前缀微调): learned keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from ..layers.attention import Attention, AttentionCache
from .replacing import Where, new_like, replace_modules, take_over


class PrefixedAttention(Attention):
    """Attention with learned keys and values before those of the tokens (前缀微调).

    ``prefix`` is (2, heads, P, D / heads): the keys and the values. Each query may look
    at them, also where there is a mask. Li and Liang 2021,
    https://arxiv.org/abs/2101.00190; they learn the prefix through one more network,
    which is left out here.
    """

    def __init__(self, base: Attention, tokens: int):
        take_over(self, base)
        width = base.query.out_features // base.heads
        shape = (2, base.heads, tokens, width)
        self.prefix = nn.Parameter(0.1 * torch.randn_like(new_like(base, shape)))

    def forward(self, x, context=None, mask=None, causal=False, cache=None) -> Tensor:
        """As :meth:`Attention.forward`; ``mask`` is of the tokens alone."""
        if mask is not None:
            mask = F.pad(mask, (self.prefix.shape[2], 0), value=True)
        return super().forward(x, context, mask, causal, _Behind(self.prefix, cache))

    def _context(self, context: Tensor, cache: _Behind):
        return cache.put_before(*super()._context(context, cache.tokens))

    def weights(self, x, context=None, mask=None, causal=False) -> Tensor:
        """Not offered: the rows of the tokens alone no longer add up to one."""
        raise NotImplementedError("attention with a prefix does not show its weights")


class _Behind:
    """A cache of the tokens' keys and values that shows them behind the prefix."""

    def __init__(self, prefix: Tensor, tokens: AttentionCache | None):
        self.prefix, self.tokens = prefix, tokens

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.tokens is not None:
            keys, values = self.tokens.append(keys, values)
        return self.put_before(keys, values)

    def put_before(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        first = self.prefix.to(keys.dtype)[:, None].expand(-1, len(keys), -1, -1, -1)
        return torch.cat([first[0], keys], 2), torch.cat([first[1], values], 2)


def add_prefix(
    model: nn.Module,
    tokens: int = 8,
    where: Where = ("attention",),
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model; learn ``tokens`` keys and values for each attention layer.

    ``where`` names the attention layers of the book (``"cross"`` are those that look at
    a context); ``keep`` and errors as for :func:`add_lora`.
    """
    at_least_one(tokens=tokens)
    return replace_modules(
        model, Attention, where, keep, lambda base: PrefixedAttention(base, tokens)
    )
