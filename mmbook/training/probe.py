"""A linear probe: what a linear layer alone can read from features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@torch.enable_grad()
def linear_probe(
    features: Tensor, labels: Tensor, classes: int, decay: float = 0.01, steps: int = 60
) -> nn.Linear:
    """Softmax regression on features that stay as they are (线性探测).

    For the fit, by L-BFGS, each feature is scaled to mean zero and standard deviation one;
    then the scaling becomes part of the layer, which takes features as they are (Alain and
    Bengio 2016, https://arxiv.org/abs/1610.01644). Chapter 3.4.

    Parameters
    ----------
    features, labels : (n, D), such as the mean of a frozen encoder's tokens; (n,).
    decay : factor of the squared weights in the loss.
    steps : iterations of L-BFGS; a longer fit changes little if ``decay`` is above zero.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(labels) < 2:
        raise ValueError(
            "features must be (n, D) and labels (n,), of two examples or more; got "
            f"{tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if not features.isfinite().all():
        raise ValueError("features must be finite; some are nan or inf")
    x = features.detach()
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    layer = nn.Linear(x.shape[1], classes).to(x)
    nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    _fit(layer, (x - mean) / deviation, labels, decay, steps)
    with torch.no_grad():
        layer.weight.div_(deviation)
        layer.bias.sub_(layer.weight @ mean)
    return layer


def _fit(layer: nn.Linear, x: Tensor, labels: Tensor, decay: float, steps: int) -> None:
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=steps, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        penalty = decay * layer.weight.square().sum()
        value = F.cross_entropy(layer(x), labels) + penalty
        value.backward()
        return value

    optimizer.step(loss)
