"""Linear probes, and what they need: vectors of examples, accuracy, batch norm."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ITERATIONS, POINTS = 240, 12  # of L-BFGS; of the learning curve


def probe(
    x: Tensor,
    labels: Tensor,
    classes: int,
    decay: float,
    validate: Callable[[nn.Linear], float],
) -> tuple[nn.Linear, list[tuple[int, float]]]:
    """Softmax regression on vectors (n, D), each number scaled to spread one.

    Returns the layer, which takes vectors as they are, and the learning curve.
    """
    centre, width = x.mean(0), x.std(0) + 1e-3
    layer, scaled = nn.Linear(x.shape[1], classes), (x - centre) / width
    nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    each, curve = ITERATIONS // POINTS, []
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=each, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(layer(scaled), labels)
        value = value + decay * layer.weight.square().sum()
        value.backward()
        return value

    for point in range(1, POINTS + 1):
        optimizer.step(loss)
        curve.append((point * each, validate(_unscaled(layer, centre, width))))
    return _unscaled(layer, centre, width), curve


@torch.no_grad()
def _unscaled(layer: nn.Linear, centre: Tensor, width: Tensor) -> nn.Linear:
    """The scaling becomes part of the layer."""
    plain = nn.Linear(layer.in_features, layer.out_features)
    plain.weight.copy_(layer.weight / width)
    plain.bias.copy_(layer.bias - plain.weight @ centre)
    return plain


@torch.no_grad()
def vectors(encoder: nn.Module, data, train: bool = False) -> Tensor:
    """The mean of each example's tokens: (n, D)."""
    encoder.train(train)
    rows = []
    for batch in data.batches():
        batch.pop("labels")
        rows.append(encoder(*batch.values()).pooled())
    return torch.cat(rows)


def re_estimate(encoder: nn.Module, data) -> None:
    """Batch norm gets the statistics of these examples: the mean over their batches."""
    for module in encoder.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over batches
    vectors(encoder, data, train=True)
    encoder.eval()


@torch.no_grad()
def accuracy(model: nn.Module, data) -> float:
    """Per cent right of a model that takes the batches of the data."""
    model.eval()
    logits = []
    for batch in data.batches():
        batch.pop("labels")
        logits.append(model(**batch).logits)
    return per_cent(torch.cat(logits), data.labels)


def per_cent(logits: Tensor, labels: Tensor) -> float:
    """Per cent of the rows whose largest logit is the right one."""
    return 100 * (logits.argmax(-1) == labels).double().mean().item()
