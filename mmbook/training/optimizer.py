"""The optimiser (优化器), its parameter groups, and the learning rate of each step."""

from __future__ import annotations

import math

import torch
from torch import nn

from .config import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """The rate of a step: linear warm-up, then constant or half a cosine (余弦退火)."""
    warmup = max(1, round(config.warmup * config.steps)) if config.warmup else 0
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW or SGD, with decay only where it belongs.

    Weight decay pulls the matrices of linear and convolutional layers towards zero. Norms,
    biases, embeddings and positions are left alone: zero is no natural place for them.
    Each parameter group keeps its factor on the learning rate as ``group["factor"]``.
    """
    _check_rates(model, config.rates)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    decayed = _decayed(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if id(parameter) in decayed else 0.0
            groups.setdefault((decay, _factor(name, config.rates)), []).append(
                parameter
            )
    if not groups:
        raise ValueError("nothing to train: no parameter requires a gradient")
    options = [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (decay, factor), parameters in groups.items()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(options, lr=config.learning_rate, momentum=0.9)
    return torch.optim.AdamW(
        options, lr=config.learning_rate, betas=(0.9, 0.98), fused=_can_fuse(options)
    )


def _decayed(model: nn.Module) -> set[int]:
    """Identities of the parameters that weight decay may touch."""
    spared = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    return {
        id(parameter)
        for name, parameter in model.named_parameters()
        if name.endswith("weight")
        and parameter.ndim >= 2
        and id(parameter) not in spared
    }


def _check_rates(model: nn.Module, rates: dict[str, float]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for start in rates:
        if not any(name.startswith(start) for name in names):
            known = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ValueError(
                f"rates names {start!r}, but no parameter begins so; they begin with "
                f"{', '.join(known)}"
            )


def _factor(name: str, rates: dict[str, float]) -> float:
    matches = [start for start in rates if name.startswith(start)]
    return rates[max(matches, key=len)] if matches else 1.0


def _can_fuse(groups: list[dict]) -> bool:
    kinds = {
        (p.device.type, p.is_floating_point()) for g in groups for p in g["params"]
    }
    return len(kinds) == 1 and kinds <= {("cuda", True), ("cpu", True)}
