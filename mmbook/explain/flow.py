"""What flows through a model: each part that ran, with its shapes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..models import MultimodalModel, eval_mode
from ..tokens import Tokens


class Part(NamedTuple):
    """A part of a model while it ran: its name, its class, and the shapes that flowed.

    ``inputs`` and ``outputs`` are shapes by name: of the modality, or of the argument.
    """

    name: str
    kind: str
    parameters: int
    inputs: dict[str, tuple]
    outputs: dict[str, tuple]


@torch.no_grad()
def parts(model: MultimodalModel, batch: dict[str, Tensor]) -> list[Part]:
    """Each encoder, the fusion and the head, in the order in which they ran.

    The model runs once on the batch. What did not run, because its modality is missing,
    is not in the list.

    Parameters
    ----------
    model : a :class:`mmbook.models.MultimodalModel`.
    batch : as the model takes it.
    """
    modules = {f"{name} encoder": part for name, part in model.encoders.items()}
    modules |= {"fusion": model.fusion, "head": model.head}
    seen: list[Part] = []
    handles = []
    for name, module in modules.items():
        if module is not None:
            hook = _recording(name, seen)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
    try:
        with eval_mode(model):
            model(**batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _recording(name: str, seen: list[Part]):
    """A hook that records a part with its shapes."""

    def hook(module, args, kwargs, out):
        inputs: dict[str, tuple] = {}
        for key, value in [*enumerate(args), *kwargs.items()]:
            inputs |= _shapes(value, name.split()[0] if key == 0 else str(key))
        count = sum(p.numel() for p in module.parameters())
        out = out[0] if isinstance(out, tuple) else out
        kind = type(module).__name__
        seen.append(Part(name, kind, count, inputs, _shapes(out, "out")))

    return hook


def _shapes(value, name: str) -> dict[str, tuple]:
    """The shapes of a tensor, of tokens, or of a dictionary of them."""
    if isinstance(value, dict):
        found = [_shapes(each, key) for key, each in value.items()]
        return {key: shape for each in found for key, shape in each.items()}
    if isinstance(value, Tokens):
        value = value.values
    return {name: tuple(value.shape)} if isinstance(value, Tensor) else {}
