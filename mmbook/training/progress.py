"""What a run measured, and how far it is: a bar, or lines in a log file."""

import builtins
import os
import sys
import warnings
from dataclasses import dataclass, field

from tqdm import tqdm

SECONDS = 60.0  # between two lines


@dataclass
class History:
    """One record a step, one a validation; ``plot_history`` draws it. Chapter 5.2."""

    steps: list[dict[str, float]] = field(default_factory=list)
    validations: list[dict[str, float]] = field(default_factory=list)
    stopped_early: bool = False

    def __getitem__(self, name: str) -> list[float]:
        """One quantity over the steps, e.g. ``history["loss"]``."""
        return [record[name] for record in self.steps]

    def __repr__(self) -> str:
        if not self.steps:
            return "History of no steps"
        text = f"History of {len(self.steps)} steps, last loss {self['loss'][-1]:.4f}"
        last = dict(self.validations[-1] if self.validations else {}, step=None)
        numbers = [f"{name} {x:.4f}" for name, x in last.items() if x is not None]
        return text + ("; last validation " + ", ".join(numbers) if numbers else "")


class Lines(tqdm):
    """A bar that prints a whole line now and then."""

    @staticmethod
    def status_printer(file):
        """Called by tqdm, whose own one goes back to the beginning of the line."""
        return lambda text: print(text, file=file, flush=True)


def progress_bar(steps: int, start: int, shown: bool | None) -> tqdm:
    """A bar, or lines where it is not asked for (None) and nobody watches."""
    silent = bool(os.environ.get("CI")) if shown is None else not shown
    if not (shown or sys.stderr.isatty() or hasattr(builtins, "__IPYTHON__")):
        how = {"mininterval": SECONDS, "delay": SECONDS, "miniters": 1}
        text = "step {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} to go{postfix}"
        return Lines(total=steps, initial=start, disable=silent, bar_format=text, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm asks for ipywidgets, which are optional
        from tqdm.auto import tqdm as bar

        return bar(total=steps, initial=start, disable=silent, leave=False)
