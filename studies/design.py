"""What a study declares: its arms, its search, its conditions, its seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """What all arms have in common in one comparison.

    Parameters
    ----------
    name : as it stands in tables, ``"pictures, 100 labels"``.
    values : what training needs to know, ``{"labels": 100, "steps": 600}``.
    arms : that run in it; empty: all.
    like : the condition that this one tries to reverse. It has no search of its own but
        takes the settings that were chosen there.
    asks : what is tried, ``"three times the steps"``; only with ``like``.
    """

    name: str
    values: dict = field(default_factory=dict)
    arms: Sequence[str] = ()
    like: str = ""
    asks: str = ""


@dataclass(frozen=True)
class Run:
    """One training: an arm in a condition with a setting and a seed.

    ``run["labels"]`` looks into the condition's values, then into the setting. ``quick``
    says that only the code is to be tried: a few steps are enough.
    """

    arm: str
    condition: Condition
    setting: dict
    seed: int
    quick: bool = False

    def __getitem__(self, name: str):
        return {**self.setting, **self.condition.values}[name]

    def __str__(self) -> str:
        setting = ", ".join(f"{name} {value}" for name, value in self.setting.items())
        return " · ".join(
            filter(None, [self.condition.name, self.arm, setting, f"seed {self.seed}"])
        )


class Trained(NamedTuple):
    """What a training returns.

    curve : (step, value of the metric on validation data), from first to last.
    score : the metric on validation data of the state that is given back; None if the
        training diverged.
    state : tensors from which the test can make the model again.
    """

    curve: list[tuple[int, float]]
    score: float | None
    state: dict[str, Tensor]


@dataclass(frozen=True)
class Design:
    """The design of a study (实验设计).

    Parameters
    ----------
    question : that the study answers, one sentence.
    tries : of each arm the settings to be tried, as many for each arm.
    conditions : in each of them every arm searches anew.
    train : trains a :class:`Run` and gives :class:`Trained`; knows no test data.
    test_data : loads the test set; the runner calls it once, after all training.
    test : ``test(run, state, data)`` gives a dictionary with ``metric`` and whatever else
        is to be kept: numbers, or a few words that a chapter shows.
    metric, unit, maximise : what decides; is more better?
    step : what a curve counts.
    seeds, search_seed : of the final runs, three or more, and of the search.
    tolerance : a curve that gains no more in its last quarter is flat.
    untrained : arms with nothing to search or train (a majority vote).
    rests_on : files of the repository from which training starts, such as weights.
    needs : environment variables without which it can't run.
    """

    question: str
    tries: dict[str, Sequence[dict]]
    conditions: Sequence[Condition]
    train: Callable[[Run], Trained]
    test_data: Callable[[], object]
    test: Callable[[Run, dict[str, Tensor], object], dict]
    metric: str = "accuracy"
    unit: str = "%"
    maximise: bool = True
    step: str = "step"
    seeds: Sequence[int] = (0, 1, 2)
    search_seed: int = 99
    tolerance: float = 1.0
    untrained: Sequence[str] = ()
    rests_on: Sequence[str] = ()
    needs: Sequence[str] = ()

    def __post_init__(self):
        counts = {a: len(t) for a, t in self.tries.items() if a not in self.untrained}
        if len(set(counts.values())) > 1 or 1 in counts.values():
            raise ValueError(
                f"each trained arm must have as many tries, two or more; got {counts}"
            )
        seeds = set(self.seeds)
        if len(seeds) < 3 or len(seeds) < len(self.seeds) or self.search_seed in seeds:
            raise ValueError(
                "a study needs three different seeds or more, and another one for the "
                f"search; got {list(self.seeds)} and {self.search_seed}"
            )
        self._check_conditions()

    def _check_conditions(self) -> None:
        known: dict[str, Condition] = {}
        for condition in self.conditions:
            name, arms = condition.name, condition.arms or self.tries
            if name in known:
                raise ValueError(f"two conditions are called {name!r}")
            if unknown := set(arms) - set(self.tries):
                raise ValueError(f"{name!r} names unknown arms: {sorted(unknown)}")
            if condition.like and (
                condition.like not in known or known[condition.like].like
            ):
                raise ValueError(
                    f"{name!r} is like {condition.like!r}, which must be an earlier "
                    "condition with a search of its own"
                )
            if condition.like and not set(arms) <= set(
                self.arms_in(known[condition.like])
            ):
                raise ValueError(f"{name!r} has arms that {condition.like!r} has not")
            if bool(condition.like) != bool(condition.asks):
                raise ValueError(f"{name!r} needs both like and asks, or neither")
            known[name] = condition

    def arms_in(self, condition: Condition) -> list[str]:
        """The arms that run in a condition, in the order of the search space."""
        return [arm for arm in self.tries if arm in (condition.arms or self.tries)]

    def origin(self, condition: Condition) -> Condition:
        """The condition whose search counts: itself, or the one that it is like."""
        wanted = condition.like or condition.name
        return next(each for each in self.conditions if each.name == wanted)
