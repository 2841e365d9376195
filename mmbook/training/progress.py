"""How far a run is: a bar where somebody watches, lines in a log file."""

from __future__ import annotations

import builtins
import os
import sys
import warnings

from tqdm import tqdm

SECONDS = 60.0  # between two lines


class Lines(tqdm):
    """A bar that prints a whole line now and then."""

    @staticmethod
    def status_printer(file):
        """Called by tqdm, whose own one goes back to the beginning of the line."""
        return lambda text: print(text, file=file, flush=True)


def progress_bar(steps: int, start: int, shown: bool | None) -> tqdm:
    """A bar, or lines where it is not asked for (None) and nobody watches."""
    if shown is None and not (sys.stderr.isatty() or hasattr(builtins, "__IPYTHON__")):
        how = {"mininterval": SECONDS, "delay": SECONDS, "miniters": 1}
        text = "step {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} to go{postfix}"
        silent = bool(os.environ.get("CI"))
        return Lines(total=steps, initial=start, disable=silent, bar_format=text, **how)
    hidden = bool(os.environ.get("CI")) if shown is None else not shown
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm asks for ipywidgets, which are optional
        from tqdm.auto import tqdm as bar

        return bar(total=steps, initial=start, disable=hidden, leave=False)
