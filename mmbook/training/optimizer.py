"""The optimiser (优化器), its parameter groups, and the learning rate of each step."""

import math

import torch
from torch import nn

from ..models import names_that_begin
from .config import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """A step's rate: linear warm-up, then constant or cosine (余弦退火). Chapter 4.2."""
    warmup = max(1, round(config.warmup * config.steps)) if config.warmup else 0
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW or SGD, with weight decay only where it belongs. Chapter 4.2.

    It pulls matrices to zero: each ``weight`` of two or more dimensions, and what a
    module's ``decays`` names; not biases, norms, embeddings, positions.
    """
    groups: dict[tuple[float, float], dict] = {}
    decayed = _decayed(model)
    names_that_begin(model, tuple(config.rates), "rates")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if name in decayed else 0.0
            starts = [start for start in config.rates if name.startswith(start)]
            factor = config.rates[max(starts, key=len)] if starts else 1.0
            group = {"params": [], "weight_decay": decay, "factor": factor}
            groups.setdefault((decay, factor), group)["params"].append(parameter)
    if not groups:
        raise ValueError("nothing to train: no parameter requires a gradient")
    options, rate = list(groups.values()), config.learning_rate
    if config.optimizer == "sgd":
        return torch.optim.SGD(options, lr=rate, momentum=0.9)
    parameters = [p for group in options for p in group["params"]]
    kinds = {(p.device.type, p.is_floating_point()) for p in parameters}
    fused = kinds in ({("cpu", True)}, {("cuda", True)})
    return torch.optim.AdamW(options, lr=rate, betas=(0.9, 0.98), fused=fused)


def _decayed(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay may touch."""
    spared: set[int] = set()
    named: list[str] = []
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.LayerNorm | nn.RMSNorm):
            spared |= {id(p) for p in module.parameters(recurse=False)}
        own = getattr(module, "decays", ())
        named += [f"{prefix}.{name}".strip(".") for name in own]
    return {
        name
        for name, parameter in model.named_parameters()
        if (name.endswith("weight") or name.startswith(tuple(named)))
        and parameter.ndim >= 2
        and id(parameter) not in spared  # also where it is tied to the output
    }
