"""Put another module in the place of one, by name."""

import copy
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase

from torch import Tensor, nn

from ..models import names_that_begin
from .freezing import Names, freeze, stay_in_eval

Where = Names | Callable[[str, nn.Module], bool]


class ReplacedLinear(nn.Module):
    """What stands in the place of a linear layer, or of a ``Conv1D`` of GPT-2.

    ``weight`` and ``bias`` are the effective ones, for parents that only read them.
    """

    weight = property(lambda self: self._turned(self._effective()[0]))
    bias = property(lambda self: self._effective()[1])

    def __init__(self, base: nn.Module):
        take_over(self, base)
        self.base_class = type(base)
        self.out_features, self.in_features = self.base()[0].shape

    def base(self) -> tuple[Tensor, Tensor | None]:
        """W (out, in) and b (out,) of the replaced layer."""
        return self._turned(self._parameters["weight"]), self._parameters["bias"]

    def merged(self) -> nn.Module:
        """A layer of the replaced class with the same outputs."""
        plain = object.__new__(self.base_class)
        take_over(plain, self)
        plain._parameters, plain._buffers = {}, {}
        for name, value in (("weight", self.weight), ("bias", self.bias)):
            base = self._parameters[name]
            if value is not None and base is not None:
                value = nn.Parameter(value.detach().clone(), base.requires_grad)
            plain.register_parameter(name, value)
        return plain

    def _effective(self) -> tuple[Tensor, Tensor | None]:
        """W and b of a linear layer with the same outputs."""
        raise NotImplementedError

    def _turned(self, weight):
        """(out, in) as the replaced layer has it, or back: ``Conv1D`` has (in, out)."""
        return weight if self.base_class is nn.Linear else weight.T


def linears() -> tuple[type[nn.Module], ...]:
    """``nn.Linear``, and GPT-2's ``Conv1D`` if transformers has been imported."""
    transformers = sys.modules.get("transformers.pytorch_utils")
    return (nn.Linear, *([transformers.Conv1D] if transformers else []))


def replace_modules(model, classes, where, keep, new, *arguments) -> nn.Module:
    """Freeze a model; put ``new(module, *arguments)`` in the place of some modules."""
    could = [(n, m) for n, m in frozen_modules(model, keep) if type(m) in classes]
    found = [(name, part) for name, part in could if matches(name, part, where)]
    if not found:
        kind, names = classes[0].__name__, ", ".join(name for name, _ in could[:12])
        names = names or "none: they are kept, changed already, or of another kind"
        raise ValueError(f"no {kind} fits where={where}; those that could are {names}")
    freeze(model, keep)
    made = {id(part): new(part, *arguments) for _, part in found}
    for name, part in found:
        model.set_submodule(name, made[id(part)])
    for part in model.modules():
        if isinstance(part, nn.TransformerEncoder):
            part.use_nested_tensor = False  # what is new takes plain tensors
    return model


def frozen_modules(model: nn.Module, keep: Names) -> list[tuple[str, nn.Module]]:
    """Names and modules of what will be frozen; each under all of its names."""
    names_that_begin(model, keep, "keep")
    named = model.named_modules(remove_duplicate=False)
    return [(n, m) for n, m in named if n and not f"{n}.".startswith(tuple(keep))]


def matches(name: str, part: nn.Module, where: Where) -> bool:
    """Does ``where`` mean this module? The last parts of its name are enough."""
    if callable(where):
        return where(name, part)
    if isinstance(where, str):
        raise ValueError(f"where must be a list of names, or a function; got {where!r}")
    return any(fnmatchcase(f".{name}", f"*.{end}") for end in where)


def take_over(new: nn.Module, base: nn.Module) -> None:
    """Make ``new`` a module with the very parameters and parts that ``base`` has."""
    nn.Module.__init__(new)
    for name, value in vars(base).items():
        vars(new)[name] = copy.copy(value) if isinstance(value, dict | set) else value
    if "train" in vars(base):
        stay_in_eval(new)  # the one of the base would train the base
