"""Data drift (数据漂移): have the inputs of a model changed since it was trained?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class HotellingT2:
    r"""Hotelling's $T^2$: how far has the mean of features moved from the past mean?

    $$T^2 = n\,(\bar x - \mu)^\top \Sigma^{-1} (\bar x - \mu)$$

    for $n$ new examples, in the directions in which past features vary most; there
    $\Sigma$ is diagonal. The past is taken as known: then $T^2$ of independent examples
    from the same distribution is about $\chi^2$ with as many degrees of freedom as there
    are directions (Hotelling 1931, https://doi.org/10.1214/aoms/1177732979). Chapter 3.2.

    Parameters
    ----------
    past : (N, D) features of past examples.
    directions : how many principal components are watched.
    """

    def __init__(self, past: Tensor, directions: int = 10):
        if past.ndim != 2 or not 1 <= directions <= min(past.shape):
            raise ValueError(
                "past must be (N, D), and directions from 1 to the smaller of both; got "
                f"{tuple(past.shape)} and {directions}"
            )
        self.mean = past.mean(0)
        parts = torch.linalg.svd(past - self.mean, full_matrices=False)
        self.axes = parts.Vh[:directions]  # (K, D)
        self.deviation = parts.S[:directions] / len(past) ** 0.5  # (K,)
        if not self.deviation.min() > 0:
            raise ValueError(
                f"the past must be finite and vary in {directions} directions; got "
                f"standard deviations {self.deviation.tolist()}"
            )

    def __call__(self, new: Tensor) -> Tensor:
        """(n, D) features of new examples → one number."""
        if new.ndim != 2 or new.shape[1:] != self.mean.shape or not len(new):
            raise ValueError(
                f"new must be (n, {len(self.mean)}), as the past; got {tuple(new.shape)}"
            )
        moved = (new.mean(0) - self.mean) @ self.axes.T / self.deviation
        return moved.square().sum() * len(new)


def alarm_threshold(
    statistic: Callable[[Tensor], Tensor],
    quiet: Tensor,
    size: int,
    false_alarms: float = 0.01,
    draws: int = 500,
    seed: int = 0,
) -> Tensor:
    """The value that a statistic exceeds in this share of groups where nothing changed.

    Thresholds that were set in this way, at the same share, make statistics comparable:
    which one notices a drift first?

    Parameters
    ----------
    statistic : (size, …) → one number, or several, which get a threshold each.
    quiet : (M, …) examples from a time without drift, others than the statistic's own
        past; groups of ``size`` of them are drawn, without replacement within a group.
    """
    if not 0 < size <= len(quiet) or not 0 < false_alarms < 1:
        raise ValueError(
            f"size must be 1 to {len(quiet)} and false_alarms between 0 and 1; got {size} "
            f"and {false_alarms}"
        )
    generator = torch.Generator().manual_seed(seed)
    order = (torch.randperm(len(quiet), generator=generator) for _ in range(draws))
    values = torch.stack([statistic(quiet[rows[:size]]) for rows in order])
    return values.quantile(1 - false_alarms, dim=0)
