"""Put another module in the place of one, by name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from .freezing import begins, check_names, freeze

Where = Sequence[str] | Callable[[str, nn.Module], bool]


LOOKING = ("query", "value", "q_proj", "v_proj")  # of attention, as Hu et al. chose


ANSWERS = ("out", "feed_forward.2", "output.dense", "o_proj", "fc2")  # end a sub-layer


STORED = ("key", "value", "k_proj", "v_proj")  # what attention finds


THOUGHTS = ("feed_forward.2", "*[0-9].output.dense", "fc2")  # behind the activation


def replace_modules(model, kind, where, keep, make) -> nn.Module:
    """Freeze a model; put what ``make`` makes of them in the place of some modules."""
    frozen = [(n, m) for n, m in frozen_modules(model, keep) if type(m) is kind]
    found = [(name, part) for name, part in frozen if fits(name, part, where)]
    if not found:
        names = ", ".join(name for name, _ in frozen[:12])
        raise ValueError(
            f"no {kind.__name__} fits {meant(where)}; those that could are "
            f"{names or 'none: they are kept, changed already, or of another kind'}"
        )
    freeze(model, keep)
    made = {id(part): make(part) for _, part in found}
    for name, part in found:
        replace_module(model, name, made[id(part)])
    return model


def frozen_modules(model: nn.Module, keep: Sequence[str]):
    """Names and modules of what will be frozen; each under all of its names."""
    check_names(model, keep, "keep")
    return [
        (name, part)
        for name, part in model.named_modules(remove_duplicate=False)
        if name and not begins(f"{name}.", keep)
    ]


def fits(name: str, part: nn.Module, where: Where) -> bool:
    if callable(where):
        return where(name, part)
    if isinstance(where, str):
        raise ValueError(f"where must be a list of names, or a function; got {where!r}")
    return any(
        fnmatchcase(name, wanted) or fnmatchcase(name, f"*.{wanted}")
        for wanted in where
    )


def meant(where: Where) -> str:
    return "where(name, module)" if callable(where) else f"where={tuple(where)}"


def replace_module(model: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, part)


def take_over(new: nn.Module, base: nn.Module) -> None:
    """Make ``new`` a module with the very parameters and parts that ``base`` has."""
    nn.Module.__init__(new)
    for name, value in vars(base).items():
        if name != "train":  # of a frozen module: it is bound to the base
            vars(new)[name] = (
                copy.copy(value) if isinstance(value, dict | set) else value
            )


def plain_linear(base: nn.Linear, weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with these numbers, frozen where ``base`` is."""
    plain = nn.Linear(base.in_features, base.out_features, device="meta")
    wanted = base.weight.requires_grad
    plain.weight = nn.Parameter(weight.detach(), requires_grad=wanted)
    plain.bias = None
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach().clone(), requires_grad=wanted)
    return plain.train(base.training)


def new_like(base: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """An empty tensor of the kind and on the device of a module's parameters."""
    return next(base.parameters()).new_empty(shape)
