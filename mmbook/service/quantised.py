"""Weights in 8 or 4 bits (量化): smaller files, less memory to read for each word."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class QuantisedLinear(nn.Module):
    r"""A linear layer whose weights are small integers with a scale per group.

    $$\hat w = s\,q, \qquad s = \frac{\max |w|}{2^{b-1} - 1}, \qquad
    q = \mathrm{round}(w / s) \in [-(2^{b-1} - 1),\, 2^{b-1} - 1]$$

    over the weights of one group (symmetric, 对称量化): a whole row (per channel, 逐通道) or
    ``group`` neighbours in it (group-wise, 分组). Of 4 bits, two share a byte. Only the
    weights are quantised: it computes in the type of its input. Chapter 5.5.
    """

    packed: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, bits: int = 8, group: int | None = None):
        super().__init__()
        self.out_features, self.in_features = shape = linear.weight.shape
        self.bits, self.group = bits, group or shape[1]
        if bits not in (4, 8) or shape[1] % self.group or shape[1] % 2:
            rule = "bits must be 4 or 8, and groups must fill a row of even length"
            raise ValueError(f"{rule}; got {bits}, {self.group} and {shape[1]}")
        w = linear.weight.detach().unflatten(
            1, (-1, self.group)
        )  # (out, groups, group)
        scale = w.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
        scale = scale.clamp(min=torch.finfo(w.dtype).tiny)
        q = (w / scale).round().to(torch.int8).flatten(1)
        if bits == 4:
            first, second = (q + 8).to(torch.uint8).unflatten(1, (-1, 2)).unbind(-1)
            q = first | second << 4
        self.register_buffer("packed", q)
        self.register_buffer("scale", scale[..., 0])
        bias = linear.bias
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @property
    def weight(self) -> Tensor:
        """The weights that it computes with, (out, in)."""
        q = self.packed
        if self.bits == 4:
            q = torch.stack([q & 15, q >> 4], -1).flatten(1).to(torch.int8) - 8
        w = q.unflatten(1, (-1, self.group)) * self.scale[..., None]
        return w.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        return F.linear(x, self.weight.to(x.dtype), self.bias)


def quantised(model: nn.Module, bits: int = 8, group: int | None = None) -> nn.Module:
    """A copy of a model with all its linear layers quantised. Chapter 5.5."""
    model = copy.deepcopy(model)
    for name, part in [*model.named_modules()]:
        if type(part) is nn.Linear:
            model.set_submodule(name, QuantisedLinear(part, bits, group))
    return model


def size_of(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, each once. Chapter 5.5."""
    held = [*model.parameters(), *model.buffers()]
    return sum(x.numel() * x.element_size() for x in {id(x): x for x in held}.values())
