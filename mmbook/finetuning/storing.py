"""Merge what was learned into the weights (权重合并), or store it alone."""

import os
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..saving import find_folder, reading, write_folder
from .ia3 import ScaledLinear
from .lora import LoRALinear

FILE = "trained.safetensors"


def merge(model: nn.Module) -> nn.Module:
    """LoRA, IA³ into the weights (权重合并): same outputs, plain layers. Chapter 3.3."""
    named = model.named_modules(remove_duplicate=False)
    found = [(n, m) for n, m in named if isinstance(m, LoRALinear | ScaledLinear)]
    if not found:
        raise ValueError("nothing to merge: this model has no LoRA and no IA³")
    uses = Counter(id(p) for m in model.modules() for p in m._parameters.values())
    for name, part in found:
        if any(uses[id(p)] > 1 for p in part.parameters(recurse=False)):
            raise ValueError(f"{name} shares its weight or bias: untie it first")
    plain = {id(part): part.merged() for _, part in found}
    for name, part in found:
        model.set_submodule(name, plain[id(part)])
    return model


def save_trained(model: nn.Module, folder: str | os.PathLike) -> Path:
    """Write what is trained, or nothing, as ``trained.safetensors``. Chapter 3.3."""
    own = _trained(model).items()
    trained = {name: tensor.detach().cpu().contiguous() for name, tensor in own}
    if not trained:
        raise ValueError("nothing to save: no parameter of this model is trained")
    return write_folder(folder, lambda draft: save_file(trained, draft / FILE))


def load_trained(model: nn.Module, folder: str | os.PathLike) -> nn.Module:
    """Read what :func:`save_trained` wrote into a model prepared alike. Chapter 3.3."""
    file, own = find_folder(folder, needs=FILE) / FILE, _trained(model)
    with reading(file):
        stored = load_file(file)
    here = {name: tuple(tensor.shape) for name, tensor in own.items()}
    there = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    if here != there:
        name = min(dict(here.items() ^ there.items()))
        one, other = there.get(name, "absent"), here.get(name, "not trained")
        found = f"{name} is {one} there and {other} in the model"
        raise ValueError(f"{file} does not fit: {found}; prepare both alike")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(stored[name])
    return model


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, and the buffers of the modules they stand in."""
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    modules = {name.rpartition(".")[0] for name in own}
    state = model.state_dict(keep_vars=True).items()
    beside = {n: tensor for n, tensor in state if n.rpartition(".")[0] in modules}
    return own | {n: x for n, x in beside.items() if not isinstance(x, nn.Parameter)}
