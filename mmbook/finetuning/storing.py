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
from .replacing import replace_module

FILE = "trained.safetensors"


def merge(model: nn.Module) -> nn.Module:
    """Fold LoRA and IA³ into the weights (权重合并): the same outputs, plain layers again.

    Adapters, prompts and prefixes can't be folded: no matrix does what they do.
    """
    found = [
        (name, part)
        for name, part in model.named_modules(remove_duplicate=False)
        if isinstance(part, LoRALinear | ScaledLinear)
    ]
    if not found:
        raise ValueError("nothing to merge: this model has no LoRA and no IA³")
    uses = Counter(id(p) for m in model.modules() for p in m._parameters.values())
    for name, part in found:
        if any(uses[id(p)] > 1 for p in part.parameters(recurse=False)):
            raise ValueError(
                f"{name} shares its weight or bias with another layer: a merged model "
                "that is saved would not come back the same; untie them first"
            )
    plain = {id(part): part.merged() for _, part in found}
    for name, part in found:
        replace_module(model, name, plain[id(part)])
    return model


def save_trained(model: nn.Module, folder: str | os.PathLike) -> Path:
    """Write only what is trained, as ``trained.safetensors``; all of it or nothing."""
    own = _trained(model).items()
    trained = {name: tensor.detach().cpu().contiguous() for name, tensor in own}
    if not trained:
        raise ValueError("nothing to save: no parameter of this model is trained")
    return write_folder(folder, lambda draft: save_file(trained, draft / FILE))


def load_trained(model: nn.Module, folder: str | os.PathLike) -> nn.Module:
    """Read what :func:`save_trained` wrote into a model that was prepared as that one was.

    The rest of the model stays as it is: so one base serves many tasks in turn. A file
    that does not fit changes nothing.
    """
    file, own = find_folder(folder, needs=FILE) / FILE, _trained(model)
    with reading(file):
        stored = load_file(file)
    here = {name: tuple(tensor.shape) for name, tensor in own.items()}
    there = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    if differing := sorted(dict(here.items() ^ there.items())):
        first = differing[0]
        raise ValueError(
            f"{file} does not fit: {first} is {there.get(first, 'absent')} there and "
            f"{here.get(first, 'not trained')} in the model ({len(differing)} in all): "
            "prepare the model as the saved one was (add_lora of the same rank, …)"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(stored[name])
    return model


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, and the buffers of the modules they stand in."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    modules = {name.rpartition(".")[0] for name in trained}
    return trained | {
        name: tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if name.rpartition(".")[0] in modules and not isinstance(tensor, nn.Parameter)
    }
