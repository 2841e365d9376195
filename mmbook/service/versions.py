"""Versions of a model on disk: one is current; a better one is promoted, or it goes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ..saving import find_folder, write_folder
from ..studies.intervals import Interval, interval
from .disk import write_whole

Judge = Callable[[Path], Sequence[float]]  # a model's folder → a score for each example


class Versions:
    """Saved models, numbered; ``current.json`` says which one serves. Chapter 5.5.

    The pointer is replaced in one step (原子替换): whoever reads it finds the old version or
    the new one, complete. It keeps the versions that served before, so that one can go back.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pointer = self.folder / "current.json"

    def begin(self, model: str | Path) -> None:
        """Copy a saved model as the first version, unless there is one already."""
        if self.history():
            return
        source = find_folder(model, needs="config.json")
        self._point([self.add(lambda draft: _copy(source, draft))])

    def add(self, write: Callable[[Path], object]) -> str:
        """A new version, written by ``write(folder)``; its name. It doesn't serve yet."""
        taken = [int(p.name) for p in self.folder.iterdir() if p.name.isdigit()]
        name = str(max(taken, default=0) + 1)

        def draft(folder: Path) -> None:
            write(folder)

        write_folder(self.folder / name, draft)
        return name

    def history(self) -> list[str]:
        """The versions that serve and served: the current one first."""
        if not self.pointer.is_file():
            return []
        return json.loads(self.pointer.read_text(encoding="utf-8"))["history"]

    @property
    def current(self) -> str:
        """The name of the version that serves."""
        if not (history := self.history()):
            raise FileNotFoundError(f"{self.folder} has no version: begin(model) first")
        return history[0]

    def folder_of(self, name: str) -> Path:
        """Where a version is."""
        return self.folder / name

    def promote(self, name: str, judge: Judge) -> Interval:
        """Let a version serve if it is better (晋升): the paired difference per example.

        Better means that the 95 % interval of new − old is above zero: a tie, or a gain
        within noise, changes nothing. ``judge`` scores a model on held-out examples.
        """
        difference = self.compare(self.current, name, judge)
        if difference.sign > 0:
            self._point([name, *self.history()])
        return difference

    def compare(self, old: str, new: str, judge: Judge) -> Interval:
        """The mean of new − old over the same examples, with its 95 % interval."""
        scores = [judge(self.folder_of(name)) for name in (old, new)]
        return interval([b - a for a, b in zip(*scores, strict=True)])

    def roll_back(self) -> str:
        """The version before the current one serves again (回滚); its name."""
        if len(history := self.history()) < 2:
            raise ValueError(
                f"no version served before {self.current}: nothing to undo"
            )
        self._point(history[1:])
        return history[1]

    def _point(self, history: list[str]) -> None:
        text = json.dumps({"history": history})
        write_whole(self.pointer, text.encode())


def _copy(source: Path, target: Path) -> None:
    for file in source.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copyfile(file, target / file.name)
