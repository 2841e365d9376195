"""Biases alone (BitFit)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .freezing import freeze
from .replacing import Where, fits, meant


def train_biases(
    model: nn.Module, keep: Sequence[str] = ("head",), where: Where = ("*",)
) -> nn.Module:
    """Freeze a model but for its biases (BitFit).

    Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199. ``where`` names the modules
    whose biases are meant; ``keep`` as for :func:`add_lora`.

    Raises
    ------
    ValueError
        If there is no bias, or nothing has the name of ``keep``.
    """
    biases = {
        name: part.bias
        for name, part in model.named_modules()
        if isinstance(getattr(part, "bias", None), nn.Parameter)
        and fits(name, part, where)
    }
    if not biases:
        raise ValueError(f"no bias was found in {meant(where)}: nothing to train")
    freeze(model, keep)
    for bias in biases.values():
        bias.requires_grad_(True)
    return model
