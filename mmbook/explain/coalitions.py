"""What each modality is worth: models with some of them left out, and fair shares."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial

import torch
from torch import Tensor

from .attribution import Score, checked

Worth = Mapping[frozenset, Tensor | float]


@torch.no_grad()
def coalitions(
    score: Score, batch: dict[str, Tensor], empty: Tensor | float
) -> dict[frozenset, Tensor]:
    """The score with every subset of the modalities of a batch (联盟).

    What is not in the subset is left out of the batch, with its mask. The model must
    have learned to answer with less, or its score with less means little.

    Parameters
    ----------
    score : batch → (B,).
    batch : the modalities, and their ``…_mask``; labels are passed to no one.
    empty : the score without any input, which no model can be asked: (B,), or a number,
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
    worth = {frozenset(): spread.expand(rows).clone()}
    for size in range(1, len(names) + 1):
        for chosen in combinations(names, size):
            part = {
                name: value
                for name, value in batch.items()
                if name.removesuffix("_mask") in chosen
            }
            worth[frozenset(chosen)] = checked(score(part), rows).float()
    return worth


def shapley(worth: Worth) -> dict:
    r"""The fair share of each player in what all of them reach together (沙普利值).

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
    n, shares = len(players), {}
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
