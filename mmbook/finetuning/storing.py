"""Merge what was learned into the weights (权重合并), or store it alone."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..saving import write_folder
from .ia3 import ScaledLinear
from .lora import LoRALinear
from .replacing import replace_module

FILE = "trained.safetensors"


def merge(model: nn.Module) -> nn.Module:
    """Fold LoRA and IA³ into the weights (权重合并): the same outputs, plain layers again.

    The model is then as fast and as large as it was, and can be saved as ever. Adapters,
    prompts and prefixes can't be folded, because no matrix does what they do.

    Raises
    ------
    ValueError
        If there is nothing to fold.
    """
    found = [
        (name, part)
        for name, part in model.named_modules(remove_duplicate=False)
        if isinstance(part, LoRALinear | ScaledLinear)
    ]
    if not found:
        raise ValueError("nothing to merge: this model has no LoRA and no IA³")
    plain = {id(part): part.merged() for _, part in found}
    for name, part in found:
        replace_module(model, name, plain[id(part)])
    return model


def save_trained(model: nn.Module, folder: str | os.PathLike) -> Path:
    """Write only what is trained, as ``trained.safetensors``; all of it or nothing."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in _trained(model).items()
    }
    if not tensors:
        raise ValueError("nothing to save: no parameter of this model is trained")
    return write_folder(folder, lambda draft: save_file(tensors, draft / FILE))


def load_trained(model: nn.Module, folder: str | os.PathLike) -> nn.Module:
    """Read what :func:`save_trained` wrote into a model that was prepared as that one was.

    The rest of the model stays as it is: so one base serves many tasks in turn.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or belongs to a model that trains other parameters; nothing has
        been read into the model then.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        raise FileNotFoundError(f"no trained parameters at {file}")
    try:
        stored = load_file(file)
    except SafetensorError as error:
        raise ValueError(
            f"{file} is damaged or cut off ({file.stat().st_size:,} bytes; {error}): "
            "fetch or save it again"
        ) from error
    own = _trained(model)
    for what, names in (
        ("the model trains, and the file lacks,", own.keys() - stored.keys()),
        ("the file holds, and the model does not train,", stored.keys() - own.keys()),
    ):
        if names:
            raise ValueError(
                f"{file} does not fit: {what} {min(names)!r} ({len(names)} in all); "
                "prepare the model as the saved one was (add_lora, …)"
            )
    for name, tensor in own.items():
        if tensor.shape != stored[name].shape:
            raise ValueError(
                f"{file} does not fit: {name} is {tuple(stored[name].shape)} there and "
                f"{tuple(tensor.shape)} in the model; is the rank the same?"
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(stored[name])
    return model


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, and the buffers of the modules they stand in."""
    found = {}
    for prefix, part in model.named_modules():
        own = dict(part.named_parameters(recurse=False))
        trained = {name: p for name, p in own.items() if p.requires_grad}
        if trained:
            kept = {n: b for n, b in part.named_buffers(recurse=False) if b is not None}
            left_out = part._non_persistent_buffers_set
            trained |= {n: b for n, b in kept.items() if n not in left_out}
        found |= {f"{prefix}.{n}" if prefix else n: t for n, t in trained.items()}
    return found
