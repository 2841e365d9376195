"""What learns and what rests (冻结), and at which rate."""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from torch import nn


class Counted(NamedTuple):
    """How many numbers are trained, of how many."""

    trained: int
    total: int

    @property
    def share(self) -> float:
        """The trained ones as a share of all."""
        return self.trained / self.total if self.total else 0.0


def count_parameters(model: nn.Module) -> Counted:
    """Count the numbers in a model's parameters; what is shared counts once."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return Counted(
        sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)
    )


def freeze(module: nn.Module, keep: Sequence[str] = ()) -> nn.Module:
    """Let a module learn no more (冻结), whatever the mode of the whole.

    It gets no gradient, and it stays at rest: when ``fit`` calls ``model.train()``, its
    batch norms keep their statistics and its dropout drops nothing, so its outputs are
    the same after training as before. For this, each of its modules gets a ``train`` of
    its own, which a ``deepcopy`` takes along. A saved module does not know that it was
    frozen: freeze it again when it was loaded.

    Parameters
    ----------
    keep : beginnings of the names of what is not frozen, e.g. ``("head",)``.

    Returns
    -------
    nn.Module
        The same module.
    """
    kept = check_names(module, keep, "keep")
    for name, parameter in module.named_parameters():
        if name not in kept:
            parameter.requires_grad_(False)
    for name, part in module.named_modules():
        if not begins(f"{name}.", keep):
            part.train = types.MethodType(_stay_at_rest, part)
    module.eval()
    return module


def unfreeze(module: nn.Module, *names: str) -> nn.Module:
    """Let it learn again: all of it, or what has a name that begins so."""
    wanted = check_names(module, names or ("",), "unfreeze")
    for name, parameter in module.named_parameters():
        if name in wanted:
            parameter.requires_grad_(True)
    for name, part in module.named_modules():
        if not names or begins(f"{name}.", names):
            vars(part).pop("train", None)
    return module


def _stay_at_rest(self: nn.Module, mode: bool = True) -> nn.Module:
    """The ``train`` of a frozen module; what was unfrozen inside it may train."""
    self.training = False
    for child in self.children():
        child.train(mode)
    return self


def stages(model: nn.Module) -> list[tuple[str, ...]]:
    """The layers of a model from the top down, each as beginnings of names.

    For unfreezing one after the other (逐层解冻, Howard and Ruder 2018,
    https://arxiv.org/abs/1801.06146):

        freeze(model)
        for stage in stages(model):
            unfreeze(model, *stage)
            fit(model, …)

    Each parameter stands in one stage. Layers are the elements of a ``ModuleList``, and
    of a ``Sequential`` that has several norms; a norm goes with the layer before it.
    Several encoders stand side by side: their top layers are one stage.
    """
    return [tuple(stage) for stage in reversed(_layers(model, "", root=True))]


def layerwise_rates(model: nn.Module, decay: float = 0.5) -> dict[str, float]:
    """Factors for ``TrainingConfig.rates``: 1 at the top, ``decay`` times it below, …

    Lower layers learn slower (分层学习率): what they know is more general. Howard and
    Ruder 2018 (https://arxiv.org/abs/1801.06146) take 1 / 2.6.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be above 0 and at most 1; got {decay}")
    return {
        name: decay**depth
        for depth, stage in enumerate(stages(model))
        for name in stage
    }


_NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._BatchNorm,
)


def _layers(module: nn.Module, prefix: str, root: bool = False) -> list[list[str]]:
    """The stages of a module from the bottom up."""
    stack = _is_stack(module)
    if not root and not stack and not any(map(_is_stack, module.modules())):
        return [[prefix]]
    found = []
    children = [
        (part, f"{prefix}{name}.")
        for name, part in module.named_children()
        if next(part.parameters(), None) is not None
    ]
    if isinstance(module, nn.ModuleDict):  # side by side: aligned at the top
        each = [reversed(_layers(*child)) for child in children]
        aligned = zip_longest(*each, fillvalue=())
        return [[n for names in level for n in names] for level in aligned][::-1]
    for part, name in children:
        if isinstance(part, _NORMS) and found:
            found[-1].append(name)
        else:
            found += [[name]] if stack else _layers(part, name)
    own = [prefix + name for name, _ in module.named_parameters(recurse=False)]
    if own:
        found = [own + found[0], *found[1:]] if found else [own]
    return found


def _is_stack(module: nn.Module) -> bool:
    if isinstance(module, nn.ModuleList):
        return True
    norms = [m for m in module.children() if isinstance(m, _NORMS)]
    return isinstance(module, nn.Sequential) and len(norms) > 1


def begins(name: str, beginnings: Iterable[str]) -> bool:
    return any(name.startswith(start) for start in beginnings)


def check_names(module: nn.Module, beginnings: Sequence[str], what: str) -> set[str]:
    """The names of the parameters that begin so; none for a beginning is an error."""
    if isinstance(beginnings, str):
        raise ValueError(f"{what} must be a list of names; got {beginnings!r}")
    names = [name for name, _ in module.named_parameters()]
    for start in beginnings:
        if not _begins_any(names, start):
            known = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ValueError(
                f"{what} names {start!r}, but no parameter begins so; they begin with "
                f"{', '.join(known)}"
            )
    return {name for name in names if begins(name, beginnings)}


def _begins_any(names: list[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)
