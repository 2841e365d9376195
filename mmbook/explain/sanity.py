"""Can a map be believed? Spoil the model, and see whether its maps change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn


def randomised(
    model: nn.Module, names: Sequence[str], seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """A model that forgets what it learned, part by part (随机化检验).

    Each part is made as it was before any training, and stays so: a cascade from the
    first name to the last. A map that does not change does not tell what the model
    learned (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292). Chapter 3.5.

    Parameters
    ----------
    model : is left as it is.
    names : of its modules as in ``named_modules``, from the top down, for example
        ``["head", "fusion", "encoders"]``.
    seed : of the new weights.

    Yields
    ------
    (name, model): a copy in which this part and all before it are random, in eval mode.
    """
    wrong = [name for name in names if name not in dict(model.named_modules())]
    if wrong:
        known = [name for name, _ in model.named_modules() if name.count(".") < 2][1:]
        raise ValueError(
            f"names must be modules of the model, such as {', '.join(known)}; got "
            f"{', '.join(wrong)}"
        )
    model = deepcopy(model).eval()
    for number, name in enumerate(names):
        with torch.random.fork_rng():
            torch.manual_seed(seed + number)
            for module in model.get_submodule(name).modules():
                _forget(module)
        yield name, deepcopy(model)


@torch.no_grad()
def _forget(module: nn.Module) -> None:
    """New weights: as torch makes them, else drawn as spread as the old ones were."""
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()
        return
    for parameter in module.parameters(recurse=False):
        mean, spread = parameter.mean(), parameter.std(unbiased=False)
        parameter.copy_(mean + spread * torch.randn_like(parameter))


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """How alike two maps order their places (秩相关), from −1 to 1: (B, …) twice → (B,).

    Spearman's: the correlation of the ranks, equal values sharing theirs. A map that is
    the same everywhere has no order, and gets 0.
    """
    if first.shape != second.shape or first.ndim < 2:
        raise ValueError(
            "two batches of maps of one shape (B, …) are needed; got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    a, b = (_ranks(maps.flatten(1)) for maps in (first, second))
    norm = a.norm(dim=1) * b.norm(dim=1)
    return ((a * b).sum(1) / norm.clamp(min=1e-12)).float()


def _ranks(rows: Tensor) -> Tensor:
    """The rank of each number in its row, around zero; equal ones share the mean."""
    rows = rows.detach().contiguous()
    ordered = rows.sort(1).values
    low = torch.searchsorted(ordered, rows)
    high = torch.searchsorted(ordered, rows, right=True)
    ranks = (low + high).double() / 2
    return ranks - ranks.mean(1, keepdim=True)
