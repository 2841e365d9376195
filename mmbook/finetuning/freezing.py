"""Which parameters are trained, which are frozen (冻结), and at which rates."""

from collections.abc import Sequence
from functools import partial
from itertools import chain, zip_longest
from typing import NamedTuple

from torch import nn

from ..models import names_that_begin

Names = Sequence[str]
HEAD = ("head",)  # what is trained as a whole, unless something else is kept


class Counted(NamedTuple):
    """How many numbers are trained, of how many."""

    trained: int
    total: int

    @property
    def share(self) -> float:
        return self.trained / max(1, self.total)


def count_parameters(model: nn.Module) -> Counted:
    """Count a model's parameters; what is shared counts once. Chapter 3.3."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return Counted(sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes))


def freeze(module: nn.Module, keep: Names = ()) -> nn.Module:
    """Exclude a module from training (冻结), but for the names that begin with ``keep``.

    It gets no gradient and stays in eval mode when ``fit`` calls ``model.train()``. So
    does a copy or a pickle of it, but not what ``save_pretrained`` wrote. Chapter 3.2.
    """
    kept = names_that_begin(module, keep, "keep")
    for name, parameter in module.named_parameters():
        if name not in kept:
            parameter.requires_grad_(False)
    for name, part in module.named_modules():
        if not f"{name}.".startswith(tuple(keep)):
            stay_in_eval(part)
    return module.eval()


def unfreeze(module: nn.Module, *names: str) -> nn.Module:
    """Train it again: all, or what has a name that begins so. Chapter 3.2."""
    wanted = names_that_begin(module, names or ("",), "unfreeze")
    for name, parameter in module.named_parameters():
        if name in wanted:
            parameter.requires_grad_(True)
    for name, part in module.named_modules():
        if not names or f"{name}.".startswith(names):
            vars(part).pop("train", None)
    return module


def stay_in_eval(module: nn.Module) -> None:
    """Give a module a ``train`` that leaves it, but not its children, in eval mode."""
    vars(module)["train"] = partial(_train_children, module)  # can be pickled


def _train_children(module: nn.Module, mode: bool = True) -> nn.Module:
    module.training = False
    for child in module.children():
        child.train(mode)
    return module


def train_biases(model: nn.Module, keep: Names = HEAD) -> nn.Module:
    """Freeze all but the biases: https://arxiv.org/abs/2106.10199. Chapter 3.3."""
    named = model.named_parameters()
    biases = [p for name, p in named if name.rpartition(".")[2] == "bias"]
    if not biases:
        raise ValueError("no parameter of this model is called bias: nothing to train")
    freeze(model, keep)
    for bias in biases:
        bias.requires_grad_(True)
    return model


def stages(model: nn.Module) -> list[tuple[str, ...]]:
    """A model's layers from the top down, each as beginnings of names. Chapter 3.2.

    For ``unfreeze(model, *stage)``, stage after stage (逐层解冻, Howard and Ruder 2018,
    https://arxiv.org/abs/1801.06146). Layers are what a module's ``layers()`` lists.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    known, found = list(names.values()), []
    for layer in _layers(model):
        found.append([names.pop(id(p)) for p in layer if id(p) in names])
    return [_beginnings(layer, known) for layer in found[::-1] if layer]


def layerwise_rates(model: nn.Module, decay: float = 0.5) -> dict[str, float]:
    """``TrainingConfig.rates`` (分层学习率): 1 on top, ``decay`` below, … Chapter 3.2."""
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be above 0 and at most 1; got {decay}")
    order = enumerate(stages(model))
    return {name: decay**depth for depth, stage in order for name in stage}


def _layers(module: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of a module, layer by layer from the input to the output."""
    if isinstance(module, nn.ModuleDict):  # side by side: aligned at the top
        towers = [_layers(part)[::-1] for part in module.values()]
        levels = zip_longest(*towers, fillvalue=[])
        return [[*chain(*level)] for level in levels][::-1]
    layers = getattr(type(module), "layers", None)
    if layers is None:
        return [list(module.parameters())]
    found = [layer for part in layers(module) for layer in _layers(part)]
    depths = {id(p): depth for depth, layer in enumerate(found) for p in layer}
    depth = 0
    for parameter in module.parameters():  # a norm belongs to the layer before it
        depth = depths.get(id(parameter), depth)
        if id(parameter) not in depths:
            found[depth].append(parameter)
    return found


def _beginnings(layer: list[str], names: list[str]) -> tuple[str, ...]:
    """The shortest beginnings, up to a dot, that only names of this layer have."""
    others = set(names) - set(layer)
    found: dict[str, None] = {}
    for name in layer:
        start, dot, rest = name.partition(".")
        while rest and any(other.startswith(start + dot) for other in others):
            head, dot, rest = rest.partition(".")
            start += f".{head}"
        found[start + dot] = None
    return tuple(found)
