"""Batch norm on new data: its statistics are taken anew."""

from collections.abc import Iterable, Mapping
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def reestimate_batch_norm(
    model: nn.Module, batches: Iterable[Tensor | Mapping[str, Tensor]]
) -> None:
    """Batch norm gets the mean and variance of these data (批归一化统计量重估).

    Batches are tensors, or arguments by name; dropout adds no noise. Chapter 3.4.
    """
    batches = iter(batches)
    if (first := next(batches, None)) is None:
        raise ValueError("batches is empty: there is nothing to take the statistics of")
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    before = [(layer.momentum, layer.training) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum, layer.training = None, True  # None: the plain mean
    try:
        for batch in chain([first], batches):
            model(**batch) if isinstance(batch, Mapping) else model(batch)
    finally:
        for layer, (momentum, training) in zip(layers, before, strict=True):
            layer.momentum, layer.training = momentum, training
