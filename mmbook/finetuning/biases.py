"""Biases alone (BitFit)."""

from torch import nn

from .freezing import freeze
from .replacing import HEAD, Names


def train_biases(model: nn.Module, keep: Names = HEAD) -> nn.Module:
    """Freeze a model but for its biases (BitFit); ``keep`` as for :func:`add_lora`.

    Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199.
    """
    named = model.named_parameters()
    biases = [p for name, p in named if name.rpartition(".")[2] == "bias"]
    if not biases:
        raise ValueError("no parameter of this model is called bias: nothing to train")
    freeze(model, keep)
    for bias in biases:
        bias.requires_grad_(True)
    return model
