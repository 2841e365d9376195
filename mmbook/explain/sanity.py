"""Can a map be believed? Randomise the model, and see whether its maps change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn


def randomised(
    model: nn.Module, names: Sequence[str], seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """A model whose parts are randomised one after the other (随机化检验).

    Each part gets new initial weights and keeps them: a cascade from the first name to
    the last. A map that does not change does not tell what the model learned (Adebayo et
    al. 2018, https://arxiv.org/abs/1810.03292). Chapter 3.5.

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
                _reinitialise(module)
        yield name, deepcopy(model)


@torch.no_grad()
def _reinitialise(module: nn.Module) -> None:
    """New weights: as torch makes them, else with the old ones' mean and spread."""
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
        return
    for parameter in module.parameters(recurse=False):
        mean, spread = parameter.mean(), parameter.std(unbiased=False)
        parameter.copy_(mean + spread * torch.randn_like(parameter))


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation (秩相关) of two batches of maps: (B, …) twice → (B,).

    Equal values share their rank. A map that is the same everywhere has no order, and
    gets 0; nan has no rank, and is an error.
    """
    if first.shape != second.shape or first.ndim < 2:
        raise ValueError(
            "two batches of maps of one shape (B, …) are needed; got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    if first.isnan().any() or second.isnan().any():
        raise ValueError("maps with nan have no ranks: look for what made it")
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
