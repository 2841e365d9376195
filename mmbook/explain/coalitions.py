"""What each modality is worth: models without some of them, and Shapley values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial

import torch
from torch import Tensor

from .attribution import Score, one_per_row

Worth = Mapping[frozenset, Tensor | float]


def blindfold(
    batch: dict[str, Tensor], *names: str, fill: Tensor | float | None = None
) -> dict[str, Tensor]:
    """A batch in which some modalities are hidden from the model: itself is not changed.

    What a model answers without a modality is the baseline of what it answers with it.

    Parameters
    ----------
    names : the modalities to hide.
    fill : what stands in their place, as it broadcasts: for example the mean picture, for
        a model that cannot do without one. None leaves them out, with their masks.
    """
    if missing := [name for name in names if name not in batch]:
        raise ValueError(f"the batch has {', '.join(batch)}; got {', '.join(missing)}")
    if fill is None:
        kept = [key for key in batch if key.removesuffix("_mask") not in names]
        return {key: batch[key] for key in kept}
    hidden = {n: torch.as_tensor(fill).to(batch[n]).expand_as(batch[n]) for n in names}
    return batch | hidden


@torch.no_grad()
def coalitions(
    score: Score, batch: dict[str, Tensor], empty: Tensor | float
) -> dict[frozenset, Tensor]:
    """The score with every subset of the modalities of a batch (联盟).

    What is not in the subset is left out of the batch, with its mask. The model must
    have been trained to do without, or its score means little.

    Parameters
    ----------
    score : batch → (B,).
    batch : the modalities, and their ``…_mask``; labels are ignored.
    empty : the score without any input, which no model can give: (B,), or a number,
        such as the share of the answer in the training data.

    Returns
    -------
    (B,) for each subset, as a frozenset of names; $2^n$ of them.
    """
    names = [n for n in batch if n != "labels" and not n.endswith("_mask")]
    if not names:
        raise ValueError(f"a batch with modalities is needed; got {list(batch)}")
    rows = len(batch[names[0]])
    spread = torch.as_tensor(empty, dtype=torch.float32, device=batch[names[0]].device)
    worth: dict[frozenset, Tensor] = {frozenset(): spread.expand(rows).clone()}
    for size in range(1, len(names) + 1):
        for chosen in combinations(names, size):
            part = blindfold(batch, *set(names).difference(chosen))
            part.pop("labels", None)
            worth[frozenset(chosen)] = one_per_row(score(part), rows).float()
    return worth


def shapley(worth: Worth) -> dict[str, Tensor | float]:
    r"""Shapley values: the share of each player in what all reach together (沙普利值).

    $$\phi_m = \sum_{S \not\ni m} \frac{|S|!\,(n - |S| - 1)!}{n!}
    \left(v(S \cup \{m\}) - v(S)\right)$$

    the mean, over all orders in which the players could come, of what a player adds when
    it comes (Shapley 1953, https://doi.org/10.1515/9781400881970-018; for models Lundberg
    and Lee 2017, https://arxiv.org/abs/1705.07874). The shares add up to the worth of all
    minus the worth of none. Chapter 3.5.

    Parameters
    ----------
    worth : $v$, for every subset of the players as a frozenset, e.g. from
        :func:`coalitions`; numbers or tensors of one shape.

    Returns
    -------
    The share of each player, by name.
    """
    players = sorted(frozenset().union(*worth))
    n = len(players)
    shares: dict[str, Tensor | float] = {}
    for player in players:
        others = [p for p in players if p != player]
        shares[player] = 0.0
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for chosen in map(frozenset, combinations(others, size)):
                gain = _of(worth, chosen | {player}) - _of(worth, chosen)
                shares[player] = shares[player] + weight * gain
    return shares


def _of(worth: Worth, chosen: frozenset) -> Tensor | float:
    if chosen not in worth:
        raise ValueError(
            "the worth of every subset is needed, as a frozenset; missing: "
            f"{set(chosen) or 'the empty one'}"
        )
    return worth[chosen]
