"""The trainings of a study: for each condition and arm the search, then the seeds."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from design import Condition, Design, Run, Trained
from keeping import Finished, rounded
from reporting import Progress

POINTS = 30  # of a curve, at most


@dataclass
class Trials:
    """Trains what is not finished yet.

    Attributes
    ----------
    runs : the final runs, each with its record: the chosen setting with all seeds.
    search : the records of the others.
    chosen : the setting of an arm in a condition.
    """

    design: Design
    finished: Finished
    quick: bool = False
    runs: list[tuple[Run, dict]] = field(default_factory=list)
    search: list[dict] = field(default_factory=list)
    chosen: dict[tuple[str, str], dict] = field(default_factory=dict)

    def __post_init__(self):
        self.seeds = list(self.design.seeds[: 2 if self.quick else None])
        self.progress = Progress(self.total())

    def all(self) -> None:
        """Condition by condition, arm by arm."""
        for condition in self.design.conditions:
            for arm in self.design.arms_in(condition):
                self.compare(arm, condition)

    def compare(self, arm: str, condition: Condition) -> None:
        """Run the best settings of an arm with all seeds; the best of them stays."""
        found = [
            [self.once(Run(arm, condition, setting, s, self.quick)) for s in self.seeds]
            for setting in self.leading(arm, condition)
        ]
        scores = [self.mean([row for _, row in pairs]) for pairs in found]
        best = found.pop(scores.index(max(scores)))
        if max(scores) == -float("inf"):
            raise FloatingPointError(f"{arm} diverged in {condition.name}: {best}")
        self.runs += best
        self.search += [row for pairs in found for _, row in pairs]
        self.chosen[arm, condition.name] = best[0][0].setting

    def leading(self, arm: str, condition: Condition) -> list[dict]:
        """The settings that run with all seeds: the two best of the search."""
        if condition.like:
            return [self.chosen[arm, condition.like]]
        tries = self.tries(arm)
        if len(tries) == 1:
            return tries
        seed = self.design.search_seed
        rows = [self.once(Run(arm, condition, t, seed, self.quick))[1] for t in tries]
        self.search += rows
        ranked = sorted(rows, key=lambda row: self.mean([row]), reverse=True)
        return [row["setting"] for row in ranked[:2]]

    def tries(self, arm: str) -> list[dict]:
        """The settings of an arm; trying the code, two are enough."""
        return list(self.design.tries[arm][: 2 if self.quick else None])

    def mean(self, rows: list[dict]) -> float:
        """The mean score, turned so that more is better; a run that diverged is last."""
        if any(row["score"] is None for row in rows):
            return -float("inf")
        sign = 1 if self.design.maximise else -1
        return sign * statistics.fmean(row["score"] for row in rows)

    def total(self) -> int:
        """How many runs there are."""
        total = 0
        for condition in self.design.conditions:
            for arm in self.design.arms_in(condition):
                tries = len(self.tries(arm))
                searched = tries > 1 and not condition.like
                total += len(self.seeds) * (2 if searched else 1) + searched * tries
        return total

    def once(self, run: Run) -> tuple[Run, dict]:
        """A run and its record; it is trained unless it is finished."""
        row = self.finished.row(run)
        if row is None:
            start = time.perf_counter()
            result = self.train(run)
            row = self.row(run, result, time.perf_counter() - start)
            final = run.seed in self.design.seeds
            self.finished.keep(run, row, result.state if final else {})
        self.progress.line(run, row)
        return run, {"arm": run.arm, "condition": run.condition.name, **row}

    def train(self, run: Run) -> Trained:
        """What a run depends on is its seed, not what ran before it."""
        seed_everything(run.seed)
        try:
            return self.design.train(run)
        except FloatingPointError:  # diverged
            return Trained([], None, {})

    def row(self, run: Run, result: Trained, seconds: float) -> dict:
        """The record of a run."""
        curve = [(int(step), float(value)) for step, value in result.curve]
        return {
            "seed": run.seed,
            "setting": run.setting,
            "score": rounded(result.score),
            "curve": rounded(_thinned(curve)),
            "flat": is_flat(curve, self.design.tolerance, self.design.maximise),
            "seconds": round(seconds, 1),
        }


def is_flat(curve: list, tolerance: float, maximise: bool = True) -> bool:
    """Was the last quarter of the steps no better than the best before, by a tolerance?

    A curve of less than four points is not known to be flat.
    """
    if len(curve) < 4:
        return False
    start, end = curve[0][0], curve[-1][0]
    sign = 1 if maximise else -1
    early = [sign * v for step, v in curve if step <= end - (end - start) / 4]
    return max(sign * v for _, v in curve) - max(early) <= tolerance


def _thinned(curve: list) -> list:
    """At most ``POINTS`` points, the first and the last among them."""
    if len(curve) <= POINTS:
        return curve
    gap = (len(curve) - 1) / (POINTS - 1)
    return [curve[round(number * gap)] for number in range(POINTS)]


def seed_everything(seed: int) -> None:
    """Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
