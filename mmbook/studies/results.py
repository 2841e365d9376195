"""Reading the result of a study: means, paired differences, curves, reversals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .intervals import Interval, interval

FOLDER = Path(__file__).parent
_WORDS = {1: "better", -1: "worse", 0: "within noise"}


class Reversal(NamedTuple):
    """One answer to "what would reverse this?": a paired difference before and after.

    ``before`` and ``after`` are intervals of the difference between two arms, in the
    condition itself and in the changed one; ``verdicts`` says both in words.
    """

    asks: str
    condition: str
    before: Interval
    after: Interval
    verdicts: tuple[str, str]

    @property
    def holds(self) -> bool:
        """Is the verdict the same in the changed condition?"""
        return self.verdicts[0] == self.verdicts[1]


class Study:
    """The result of one study.

    An *arm* is a method that is compared, a *condition* what all arms have in common in
    one comparison (for example, the number of labels). Within a condition, runs of
    different arms with the same seed saw the same data, so differences are paired.

    Attributes
    ----------
    name, question : of the study.
    metric, unit, maximise : what was measured on the test set; is more better?
    arms, conditions, seeds : their names, and the seeds.
    record : everything, as it stands in the json file.
    """

    def __init__(self, record: dict):
        self.record, self.name = record, record["study"]
        self.question, self.metric = record["question"], record["metric"]
        self.unit, self.maximise = record["unit"], record["maximise"]
        self.arms, self.seeds = list(record["tries"]), record["seeds"]
        self._conditions = {row["name"]: row for row in record["conditions"]}
        self._runs = {
            (row["arm"], row["condition"], row["seed"]): row for row in record["runs"]
        }

    def __repr__(self) -> str:
        return f"Study {self.name}: {self.question}"

    @property
    def conditions(self) -> list[str]:
        """Names of the conditions, those that try to reverse a finding included."""
        return list(self._conditions)

    def values(
        self, arm: str, condition: str, metric: str | None = None
    ) -> list[float]:
        """The test results of an arm, one for each seed in order."""
        name = metric or self.metric
        return [run["test"][name] for run in self.runs(arm, condition)]

    def result(self, arm: str, condition: str, metric: str | None = None) -> Interval:
        """Mean over the seeds and its 95 % interval."""
        return interval(self.values(arm, condition, metric))

    def difference(
        self, a: str, b: str, condition: str, metric: str | None = None
    ) -> Interval:
        """How much more ``a`` has than ``b``: the paired difference over the seeds."""
        pairs = (self.values(arm, condition, metric) for arm in (a, b))
        return interval([one - other for one, other in zip(*pairs, strict=True)])

    def better(self, a: str, b: str, condition: str) -> bool:
        """Is ``a`` better than ``b``: does the interval of the difference exclude zero?"""
        return self.verdict(a, b, condition) == "better"

    def verdict(self, a: str, b: str, condition: str) -> str:
        """``"better"``, ``"worse"`` or ``"within noise"``: ``a`` compared with ``b``."""
        sign = self.difference(a, b, condition).sign
        return _WORDS[sign if self.maximise else -sign]

    def reversals(self, a: str, b: str) -> list[Reversal]:
        """What was tried to reverse the comparison of two arms, and what came of it.

        An arm that a change doesn't concern (a linear probe has no more steps to take)
        keeps its result.
        """
        found = []
        for name, row in self._conditions.items():
            if not row["like"] or not {a, b} & set(row["arms"]):
                continue
            if {a, b} - set(self._conditions[row["like"]]["arms"]):
                continue
            before, after = (self.difference(a, b, n) for n in (row["like"], name))
            words = self.verdict(a, b, row["like"]), self.verdict(a, b, name)
            found.append(Reversal(row["asks"], row["like"], before, after, words))
        return found

    def runs(self, arm: str, condition: str) -> list[dict]:
        """The records of an arm's runs, one for each seed in order."""
        if arm not in self.arms or condition not in self._conditions:
            raise KeyError(
                f"no runs of {arm!r} in {condition!r}; arms: {', '.join(self.arms)}; "
                f"conditions: {', '.join(self.conditions)}"
            )
        row = self._conditions[condition]
        if arm not in row["arms"] and row["like"]:
            return self.runs(arm, row["like"])
        if arm not in row["arms"]:
            raise KeyError(f"{arm!r} did not run in {condition!r}: {row['arms']} did")
        return [self._runs[arm, condition, seed] for seed in self.seeds]

    def curves(self, arm: str, condition: str) -> list[list[tuple[int, float]]]:
        """Learning curves (学习曲线) on validation data: for each seed (step, value)."""
        return [[(s, v) for s, v in run["curve"]] for run in self.runs(arm, condition)]

    def flat(self, arm: str, condition: str) -> bool:
        """Was every curve flat at its end, by the study's tolerance?

        A rate that falls to zero flattens any curve, so this is necessary, but not
        sufficient: the longer training among the reversals decides.
        """
        return all(run["flat"] for run in self.runs(arm, condition))

    def chosen(self, arm: str, condition: str) -> dict:
        """The setting with which an arm ran."""
        return self.runs(arm, condition)[0]["setting"]

    def search(self, arm: str, condition: str) -> list[tuple[dict, float]]:
        """The settings that were tried for an arm, each with its validation result."""
        origin = self._conditions[condition]["like"] or condition
        return [
            (row["setting"], row["score"])
            for row in self.record["search"]
            if (row["arm"], row["condition"]) == (arm, origin)
            and row["seed"] == self.record["search_seed"]
        ]

    def table(self, conditions: Sequence[str] | None = None) -> list[list[str]]:
        """Rows of text: a header, then for each arm its result in each condition."""
        names = list(conditions or self.conditions)
        rows = [["", *names]]
        for arm in self.arms:
            present = [arm in self._conditions[name]["arms"] for name in names]
            if any(present):
                cells = zip(names, present, strict=True)
                rows.append(
                    [arm, *(str(self.result(arm, n)) if p else "" for n, p in cells)]
                )
        return rows

    @property
    def how(self) -> str:
        """How the study was made, in a few sentences."""
        record, made = self.record, self.record["made"]
        tries = max(map(len, record["tries"].values()))
        runs = len(record["runs"]) + len(record["search"])
        lengths = [run["curve"][-1][0] for run in record["runs"] if run["curve"]]
        return (
            f"{len(self.arms)} arms in {len(self.conditions)} conditions; {tries} "
            f"settings were tried for each trained arm; the two best on validation data "
            f"ran with {len(self.seeds)} seeds, and the better mean on validation data "
            f"counts. The test set was used once, at the end. {runs} trainings of up to {max(lengths, default=0):,} "
            f"{record['step']}s in {made['seconds'] / 60:.0f} minutes on "
            f"{made['hardware']}, {made['threads']} thread"
            f"{'s' if made['threads'] > 1 else ''}, {made['date']} "
            f"({made['versions']}). Intervals are 95 % over the seeds."
        )


def available() -> list[str]:
    """Names of the studies whose results are here."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def load(name: str) -> Study:
    """The result of a study by its name: the file ``studies/NAME.py`` made it."""
    file = FOLDER / f"{name}.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"no result of a study {name!r}; there are: {', '.join(available())}"
        )
    return Study(json.loads(file.read_text(encoding="utf-8")))
