"""What flows through a model: each part that ran, with its shapes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..models import counting, eval_mode
from ..tokens import Tokens


class Part(NamedTuple):
    """A part of a model while it ran: its name, its class, and the shapes that flowed.

    ``inputs`` and ``outputs`` are shapes by name: of the modality, or of the argument.
    Of its ``parameters`` so many are ``trained``; ``operations`` are those of its
    matrix products, if they were counted.
    """

    name: str
    kind: str
    parameters: int
    inputs: dict[str, tuple]
    outputs: dict[str, tuple]
    trained: int = 0
    operations: int | None = None


@torch.no_grad()
def parts(
    model: Any,
    batch: dict[str, Tensor],
    modules: dict[str, nn.Module] | None = None,
    count: bool = False,
) -> list[Part]:
    """Each encoder, the fusion and the head, in the order in which they ran.

    The model runs once on the batch. What did not run, because its modality is missing,
    is not in the list.

    Parameters
    ----------
    model : a :class:`mmbook.models.MultimodalModel`; any other with its ``modules``.
    batch : as the model takes it.
    modules : what is watched, by name, in place of encoders, fusion and head.
    count : count the operations of each part, too.
    """
    if modules is None:
        modules = {f"{name} encoder": part for name, part in model.encoders.items()}
        modules |= {"fusion": model.fusion, "head": model.head}
    modules = {name: part for name, part in modules.items() if part is not None}
    sizes = {name: _sizes(part) for name, part in modules.items()}
    seen: list[Part] = []
    handles = []
    counter = counting(model) if count else nullcontext()
    with counter as counted, eval_mode(model):
        for name, module in modules.items():
            before, after = _recording(name, sizes[name], seen, counted)
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        try:
            model(**batch)
        finally:
            for handle in handles:
                handle.remove()
    return seen


def _sizes(module: nn.Module) -> tuple[int, int]:
    """How many parameters it has, and how many of them are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns)


def _recording(name: str, sizes: tuple[int, int], seen: list[Part], counted):
    """Hooks before and after a part, that record it with its shapes."""
    started: list[int] = []

    def before(module, args):
        started.append(counted() if counted else 0)

    def after(module, args, kwargs, out):
        operations = counted() - started.pop() if counted else None
        inputs: dict[str, tuple] = {}
        for key, value in [*enumerate(args), *kwargs.items()]:
            inputs |= _shapes(value, name.split()[0] if key == 0 else str(key))
        out = out[0] if isinstance(out, tuple) else out
        kind, shapes = type(module).__name__, _shapes(out, "out")
        seen.append(Part(name, kind, sizes[0], inputs, shapes, sizes[1], operations))

    return before, after


def _shapes(value, name: str) -> dict[str, tuple]:
    """The shapes of a tensor, of tokens, or of a dictionary of them."""
    if isinstance(value, dict):
        found = [_shapes(each, key) for key, each in value.items()]
        return {key: shape for each in found for key, shape in each.items()}
    if isinstance(value, Tokens):
        value = value.values
    return {name: tuple(value.shape)} if isinstance(value, Tensor) else {}
