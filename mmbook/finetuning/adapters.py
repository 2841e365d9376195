"""Adapters (适配器): a small network behind each sub-layer."""

from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from .freezing import HEAD, Names
from .replacing import ReplacedLinear, Where, linears, replace_modules

SUBLAYER_ENDS = ("out", "feed_forward.2", "output.dense", "o_proj", "fc2", "c_proj")


class AdaptedLinear(ReplacedLinear):
    """A linear layer with an adapter (适配器) behind it: y + up(gelu(down(y))).

    ``up`` is zero at the start. Houlsby et al. 2019, https://arxiv.org/abs/1902.00751.
    """

    def __init__(self, base: nn.Module, hidden: int):
        super().__init__(base)
        down = nn.Linear(self.out_features, hidden)
        up = nn.Linear(hidden, self.out_features)
        nn.init.zeros_(up.weight), nn.init.zeros_(up.bias)
        self.adapter = nn.Sequential(down, nn.GELU(), up).to(self.base()[0])

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)"""
        y = F.linear(x, *self.base())
        return y + self.adapter(y)

    def _effective(self) -> tuple[Tensor, Tensor | None]:
        weight, bias = self.base()
        return weight.detach().as_subclass(_NoMatrix), bias


class _NoMatrix(Tensor):
    """A weight of known type and shape that no fast path of torch may compute with."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ == "__get__":  # type, shape, device
            return super().__torch_function__(func, types, args, kwargs)
        what = "the weight of this layer is read, and the layer not called"
        raise ValueError(f"{what}: no adapter can stand behind it")


def add_adapters(
    model: nn.Module, hidden: int = 8, where: Where = SUBLAYER_ENDS, keep: Names = HEAD
) -> nn.Module:
    """Freeze; put networks of width ``hidden`` behind layers ``where``. Chapter 3.3."""
    at_least_one(hidden=hidden)
    return replace_modules(model, linears(), where, keep, AdaptedLinear, hidden)
