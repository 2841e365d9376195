"""Fine-tuning (微调): what learns, what rests, and how little has to learn.

:func:`freeze` and its like decide which parameters of a model learn, and how fast. The
functions behind them are the parameter-efficient methods (参数高效微调): each takes a
model, freezes it, puts few new parameters into it, and gives the same model back.
Chapter 3.3 derives and compares them.

Parameters are named by the *beginnings* of their names, as in ``TrainingConfig.rates``:
``"head."`` is the whole head, ``"encoders.text.blocks.1."`` one of its layers.
"""

from __future__ import annotations

import copy
import math
import os
import types
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration import write_folder
from .fusion.base import at_least_one
from .layers import Attention, AttentionCache, Block

# ------------------------------------------------------------------ what learns


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
    kept = _named(module, keep, "keep")
    for name, parameter in module.named_parameters():
        if name not in kept:
            parameter.requires_grad_(False)
    for name, part in module.named_modules():
        if not _begins(f"{name}.", keep):
            part.train = types.MethodType(_stay_at_rest, part)
    module.eval()
    return module


def unfreeze(module: nn.Module, *names: str) -> nn.Module:
    """Let it learn again: all of it, or what has a name that begins so."""
    wanted = _named(module, names or ("",), "unfreeze")
    for name, parameter in module.named_parameters():
        if name in wanted:
            parameter.requires_grad_(True)
    for name, part in module.named_modules():
        if not names or _begins(f"{name}.", names):
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


def _begins(name: str, beginnings: Iterable[str]) -> bool:
    return any(name.startswith(start) for start in beginnings)


def _named(module: nn.Module, beginnings: Sequence[str], what: str) -> set[str]:
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
    return {name for name in names if _begins(name, beginnings)}


def _begins_any(names: list[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)


# ------------------------------------------------------------- low-rank adaptation

Where = Sequence[str] | Callable[[str, nn.Module], bool]
LOOKING = ("query", "value", "q_proj", "v_proj")  # of attention, as Hu et al. chose
ANSWERS = ("out", "feed_forward.2", "output.dense", "o_proj", "fc2")  # end a sub-layer
STORED = ("key", "value", "k_proj", "v_proj")  # what attention finds
THOUGHTS = ("feed_forward.2", "*[0-9].output.dense", "fc2")  # behind the activation
FILE = "trained.safetensors"


class LoRALinear(nn.Linear):
    r"""A linear layer with a learned change of low rank (低秩适配):

    $$y = W x + b + \frac{\alpha}{r}\, B A x$$

    A is ``down`` (r, in), drawn as the weights of a linear layer are; B is ``up``
    (out, r), zero at the start, so nothing changes at first. Hu et al. 2021,
    https://arxiv.org/abs/2106.09685; chapter 3.3. Weight and bias keep their names.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        _take_over(self, base)
        new = base.weight.new_empty
        self.down = nn.Parameter(new(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros_like(new(base.out_features, rank)))
        self.register_buffer("scale", torch.full_like(new(()), alpha / rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        change = F.linear(F.linear(x, self.down), self.up)
        return F.linear(x, self.weight, self.bias) + self.scale * change

    def merged(self) -> nn.Linear:
        """The plain linear layer that gives the same."""
        return _plain(self, self.weight + self.scale * self.up @ self.down, self.bias)


def add_lora(
    model: nn.Module,
    rank: int = 4,
    alpha: float | None = None,
    where: Where = LOOKING,
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model and give linear layers of it a change of low rank (LoRA).

    Parameters
    ----------
    rank : r, of the change; a layer then trains r · (in + out) numbers.
    alpha : the change is multiplied by ``alpha / rank``; 2 · ``rank`` if not given.
    where : which layers: names, of which the last parts count and ``*`` may stand for
        anything (``("query", "feed_forward.*")``); or a function of name and layer.
        ``("*",)`` is every linear layer that is frozen.
    keep : beginnings of the names of what is trained as a whole beside them: a new head.
        ``()`` if there is nothing.

    Returns
    -------
    nn.Module
        The same model; what it says has not changed yet.

    Raises
    ------
    ValueError
        If no linear layer has such a name, or nothing has the name of ``keep``.
    """
    at_least_one(rank=rank)
    alpha = 2 * rank if alpha is None else alpha
    return _change(
        model, nn.Linear, where, keep, lambda base: LoRALinear(base, rank, alpha)
    )


# ------------------------------------------------------------------ adapters, scales


class AdaptedLinear(nn.Linear):
    """A linear layer with an adapter (适配器) behind it: y + up(gelu(down(y))).

    ``up`` is zero at the start. Houlsby et al. 2019, https://arxiv.org/abs/1902.00751.
    """

    def __init__(self, base: nn.Linear, hidden: int):
        _take_over(self, base)
        width = base.out_features
        self.adapter = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        ).to(base.weight)
        nn.init.zeros_(self.adapter[2].weight)
        nn.init.zeros_(self.adapter[2].bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        y = F.linear(x, self.weight, self.bias)
        return y + self.adapter(y)


def add_adapters(
    model: nn.Module,
    hidden: int = 8,
    where: Where = ANSWERS,
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model and put a small network behind each of its sub-layers.

    ``hidden`` is the width of its bottleneck; ``where`` names the linear layers that end
    a sub-layer, before the sum. ``keep`` and errors as for :func:`add_lora`.
    """
    at_least_one(hidden=hidden)
    return _change(
        model, nn.Linear, where, keep, lambda base: AdaptedLinear(base, hidden)
    )


class ScaledLinear(nn.Linear):
    """A linear layer with one learned factor a number, 1 at the start (IA³).

    ``inputs=True`` scales what goes in, else what comes out. Liu et al. 2022,
    https://arxiv.org/abs/2205.05638.
    """

    def __init__(self, base: nn.Linear, inputs: bool = False):
        _take_over(self, base)
        self.inputs = inputs
        size = base.in_features if inputs else base.out_features
        self.factors = nn.Parameter(torch.ones_like(base.weight.new_empty(size)))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        if self.inputs:
            return F.linear(x * self.factors, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias) * self.factors

    def merged(self) -> nn.Linear:
        """The plain linear layer that gives the same."""
        if self.inputs:
            return _plain(self, self.weight * self.factors, self.bias)
        bias = None if self.bias is None else self.bias * self.factors
        return _plain(self, self.weight * self.factors[:, None], bias)


def add_ia3(
    model: nn.Module,
    outputs: Where = STORED,
    inputs: Where = THOUGHTS,
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model; learn factors for keys, values and inner activations (IA³).

    ``outputs`` names the layers whose outputs are scaled, ``inputs`` those whose inputs
    are. ``keep`` and errors as for :func:`add_lora`.
    """
    _change(model, nn.Linear, outputs, keep, ScaledLinear)
    also = [name for name, p in model.named_parameters() if p.requires_grad]
    _change(model, nn.Linear, inputs, keep, lambda base: ScaledLinear(base, True))
    for name in also:
        model.get_parameter(name).requires_grad_(True)
    return model


def train_biases(
    model: nn.Module, keep: Sequence[str] = ("head",), where: Where = ("*",)
) -> nn.Module:
    """Freeze a model but for its biases (BitFit).

    Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199. ``where`` names the modules
    whose biases are meant; ``keep`` as for :func:`add_lora`.

    Raises
    ------
    ValueError
        If there is no bias, or nothing has the name of ``keep``.
    """
    biases = {
        name: part.bias
        for name, part in model.named_modules()
        if isinstance(getattr(part, "bias", None), nn.Parameter)
        and _fits(name, part, where)
    }
    if not biases:
        raise ValueError(f"no bias was found in {_meant(where)}: nothing to train")
    freeze(model, keep)
    for bias in biases.values():
        bias.requires_grad_(True)
    return model


# ------------------------------------------------------------------ learned tokens


class PrefixedAttention(Attention):
    """Attention with learned keys and values before those of the tokens (前缀微调).

    ``prefix`` is (2, heads, P, D / heads): the keys and the values. Each query may look
    at them, also where there is a mask. Li and Liang 2021,
    https://arxiv.org/abs/2101.00190; they learn the prefix through one more network,
    which is left out here.
    """

    def __init__(self, base: Attention, tokens: int):
        _take_over(self, base)
        width = base.query.out_features // base.heads
        shape = (2, base.heads, tokens, width)
        self.prefix = nn.Parameter(0.1 * torch.randn_like(_new(base, shape)))

    def forward(self, x, context=None, mask=None, causal=False, cache=None) -> Tensor:
        """As :meth:`Attention.forward`; ``mask`` is of the tokens alone."""
        if mask is not None:
            mask = F.pad(mask, (self.prefix.shape[2], 0), value=True)
        return super().forward(x, context, mask, causal, _Behind(self.prefix, cache))

    def _context(self, context: Tensor, cache: _Behind):
        return cache.put_before(*super()._context(context, cache.tokens))

    def weights(self, x, context=None, mask=None, causal=False) -> Tensor:
        """Not offered: the rows of the tokens alone no longer add up to one."""
        raise NotImplementedError("attention with a prefix does not show its weights")


class _Behind:
    """A cache of the tokens' keys and values that shows them behind the prefix."""

    def __init__(self, prefix: Tensor, tokens: AttentionCache | None):
        self.prefix, self.tokens = prefix, tokens

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.tokens is not None:
            keys, values = self.tokens.append(keys, values)
        return self.put_before(keys, values)

    def put_before(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        first = self.prefix.to(keys.dtype)[:, None].expand(-1, len(keys), -1, -1, -1)
        return torch.cat([first[0], keys], 2), torch.cat([first[1], values], 2)


def add_prefix(
    model: nn.Module,
    tokens: int = 8,
    where: Where = ("attention",),
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model; learn ``tokens`` keys and values for each attention layer.

    ``where`` names the attention layers of the book (``"cross"`` are those that look at
    a context); ``keep`` and errors as for :func:`add_lora`.
    """
    at_least_one(tokens=tokens)
    return _change(
        model, Attention, where, keep, lambda base: PrefixedAttention(base, tokens)
    )


class PromptedBlock(Block):
    """A block of a stack into which learned tokens go first (提示微调).

    The first block puts them before its input, the last one takes them out again.
    """

    def __init__(self, base: Block, tokens: int, first: bool, last: bool):
        _take_over(self, base)
        self.tokens, self.last, self.prompt = tokens, last, None
        if first:
            width = base.attention.query.in_features
            new = torch.randn_like(_new(base, (tokens, width)))
            self.prompt = nn.Parameter(width**-0.5 * new)

    def forward(self, x, mask=None, *rest, cache=None, **more) -> Tensor:
        """As :meth:`Block.forward`."""
        if cache is not None:
            raise ValueError("a model with a prompt has no cache: use_cache=False")
        if self.prompt is not None:
            x = torch.cat([self.prompt.to(x.dtype).expand(len(x), -1, -1), x], 1)
        if mask is not None:
            mask = F.pad(mask, (self.tokens, 0), value=True)
        x = super().forward(x, mask, *rest, **more)
        return x[:, self.tokens :] if self.last else x


def add_prompt(
    model: nn.Module,
    tokens: int = 8,
    where: Where = ("*blocks",),
    keep: Sequence[str] = ("head",),
) -> nn.Module:
    """Freeze a model; learn ``tokens`` vectors that stand before its input tokens.

    Lester et al. 2021, https://arxiv.org/abs/2104.08691. They go before the first block
    of a stack and are taken out behind its last one.

    Parameters
    ----------
    where : names the stack, a list of blocks of the book; if there is only one that is
        frozen, it need not be named.
    keep : as for :func:`add_lora`.
    """
    at_least_one(tokens=tokens)
    stacks = {
        name: part
        for name, part in _frozen_modules(model, keep)
        if isinstance(part, nn.ModuleList)
        and len(part)
        and all(type(block) is Block for block in part)
        and _fits(name, part, where)
    }
    if len(stacks) != 1:
        raise ValueError(
            f"a prompt goes before one stack of blocks; {_meant(where)} fits "
            f"{', '.join(stacks) or 'none that is frozen and of mmbook'}: give where"
        )
    freeze(model, keep)
    (stack,) = stacks.values()
    for number, base in enumerate(stack):
        last = number == len(stack) - 1
        stack[number] = PromptedBlock(base, tokens, number == 0, last)
    return model


# ------------------------------------------------------------------ merge and store


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
        _put(model, name, plain[id(part)])
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


# -------------------------------------------------------------------------- tools


def _change(model, kind, where, keep, make) -> nn.Module:
    """Freeze a model; put what ``make`` makes of them in the place of some modules."""
    frozen = [(n, m) for n, m in _frozen_modules(model, keep) if type(m) is kind]
    found = [(name, part) for name, part in frozen if _fits(name, part, where)]
    if not found:
        names = ", ".join(name for name, _ in frozen[:12])
        raise ValueError(
            f"no {kind.__name__} fits {_meant(where)}; those that could are "
            f"{names or 'none: they are kept, changed already, or of another kind'}"
        )
    freeze(model, keep)
    made = {id(part): make(part) for _, part in found}
    for name, part in found:
        _put(model, name, made[id(part)])
    return model


def _frozen_modules(model: nn.Module, keep: Sequence[str]):
    """Names and modules of what will be frozen; each under all of its names."""
    _named(model, keep, "keep")
    return [
        (name, part)
        for name, part in model.named_modules(remove_duplicate=False)
        if name and not _begins(f"{name}.", keep)
    ]


def _fits(name: str, part: nn.Module, where: Where) -> bool:
    if callable(where):
        return where(name, part)
    if isinstance(where, str):
        raise ValueError(f"where must be a list of names, or a function; got {where!r}")
    return any(
        fnmatchcase(name, wanted) or fnmatchcase(name, f"*.{wanted}")
        for wanted in where
    )


def _meant(where: Where) -> str:
    return "where(name, module)" if callable(where) else f"where={tuple(where)}"


def _put(model: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, part)


def _take_over(new: nn.Module, base: nn.Module) -> None:
    """Make ``new`` a module with the very parameters and parts that ``base`` has."""
    nn.Module.__init__(new)
    for name, value in vars(base).items():
        if name != "train":  # of a frozen module: it is bound to the base
            vars(new)[name] = (
                copy.copy(value) if isinstance(value, dict | set) else value
            )


def _plain(base: nn.Linear, weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with these numbers, frozen where ``base`` is."""
    plain = nn.Linear(base.in_features, base.out_features, device="meta")
    wanted = base.weight.requires_grad
    plain.weight = nn.Parameter(weight.detach(), requires_grad=wanted)
    plain.bias = None
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach().clone(), requires_grad=wanted)
    return plain.train(base.training)


def _new(base: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """An empty tensor of the kind and on the device of a module's parameters."""
    return next(base.parameters()).new_empty(shape)
