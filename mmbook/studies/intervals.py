"""Confidence intervals (置信区间) over a few seeds; where a curve reaches a value."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

# 97.5 % quantiles of Student's t with 1, 2, … 30 degrees of freedom
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 if the whole interval is above zero, −1 if below, 0 if it includes zero."""
        return (self.low > 0) - (self.high < 0)

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


def interval(values: Sequence[float]) -> Interval:
    """The mean of some values and its 95 % interval by Student's t distribution.

    With three values it is 2.5 standard deviations wide on each side. For a paired
    comparison give the differences: one for each seed. With more than 31 values the
    interval is slightly too wide.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs two values or more; got {len(values)}")
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = _T[min(len(values) - 1, len(_T)) - 1] * error
    return Interval(mean, mean - half, mean + half)


def crossing(xs: Sequence[float], ys: Sequence[float], wanted: float) -> float:
    """The x at which a learning curve first reaches a value: how many labels it needs.

    Between the points it is interpolated on the logarithm of x. Infinite if the curve
    never reaches the value; the first x, which is then a bound, if it begins above.
    """
    if ys[0] >= wanted:
        return float(xs[0])
    points = list(zip(xs, ys, strict=True))
    for (x, y), (following, above) in pairwise(points):
        if above >= wanted:
            share = (wanted - y) / (above - y)
            return float(x * (following / x) ** share)
    return math.inf
