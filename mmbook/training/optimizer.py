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
    """AdamW or SGD, with weight decay only where it belongs. Chapter 4.1.

    Weight decay pulls matrices that multiply their input towards zero: each ``weight`` of
    two or more dimensions, and the parameters that a module names in its attribute
    ``decays``. Biases, norms, embeddings, positions and learned tokens are left alone:
    zero is no natural place for them. Each parameter group keeps its factor on the
    learning rate as ``group["factor"]``.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    decayed = _decayed(model)
    _check_rates(model, config.rates)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if name in decayed else 0.0
            starts = [start for start in config.rates if name.startswith(start)]
            factor = config.rates[max(starts, key=len)] if starts else 1.0
            groups.setdefault((decay, factor), []).append(parameter)
    if not groups:
        raise ValueError("nothing to train: no parameter requires a gradient")
    options = [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (decay, factor), parameters in groups.items()
    ]
    rate = config.learning_rate
    if config.optimizer == "sgd":
        return torch.optim.SGD(options, lr=rate, momentum=0.9)
    kinds = {
        (p.device.type, p.is_floating_point()) for ps in groups.values() for p in ps
    }
    fused = kinds in ({("cpu", True)}, {("cuda", True)})
    return torch.optim.AdamW(options, lr=rate, betas=(0.9, 0.98), fused=fused)


def _decayed(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay may touch."""
    spared: set[int] = set()
    named: list[str] = []
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.LayerNorm | nn.RMSNorm):
            spared |= {id(p) for p in module.parameters(recurse=False)}
        named += [
            f"{prefix}.{name}".strip(".") for name in getattr(module, "decays", ())
        ]
    return {
        name
        for name, parameter in model.named_parameters()
        if (name.endswith("weight") or name.startswith(tuple(named)))
        and parameter.ndim >= 2
        and id(parameter) not in spared  # also where it is tied to the output
    }


def _check_rates(model: nn.Module, rates: dict[str, float]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for start in rates:
        if not any(name.startswith(start) for name in names):
            known = ", ".join(sorted({".".join(n.split(".")[:2]) for n in names}))
            raise ValueError(f"rates names {start!r}, but all names begin with {known}")
