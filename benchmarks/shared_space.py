"""One space for picture, voice, clip and sentence: chapter 2.8's cells, with more seeds.

The chapter's code is executed as it stands, up to its table; then the model is trained
again from other random starts, on the same examples, and tested on the same 500 unseen
scenes. Text is in every trained pair; no other two modalities ever meet in training. All
500 sentences of the test are different, so each row has one right column.

    python benchmarks/shared_space.py

Bounds, for the mean of the seeds: R@1 of image and text at least 0.85 both ways, of each
other trained pair 0.7, of each pair that was never trained ten times chance, 0.02.
"""

from __future__ import annotations

import argparse
import os
import statistics
from itertools import permutations
from pathlib import Path

import nbformat
import torch
from common import Bound, report, table

CHAPTER = Path(__file__).parent.parent / "chapters/2-concepts"
CHAPTER /= "28_cross_modal_embedding.ipynb"
LAST = "never = ["  # how the cell after the table begins


def cells() -> list[str]:
    """The chapter's code up to the table."""
    found = []
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        if cell.cell_type != "code" or "%pip" in cell.source:
            continue
        if cell.source.startswith(LAST):
            return found
        found.append(cell.source)
    raise ValueError(f"{CHAPTER.name} has no cell that begins with {LAST!r}")


def measured(seeds: int) -> list[torch.Tensor]:
    """For each seed R@1 of all pairs: (4, 4), asked with the row."""
    code, known, found = cells(), {}, []
    beginnings = ("model = space", "history =", "pixels =", "matrix =")
    again = [source for source in code if source.startswith(beginnings)]
    if len(again) != len(beginnings):
        raise ValueError(f"{CHAPTER.name} has no cell for each of {beginnings}")
    for source in code:
        exec(source, known)
    for seed in range(seeds):
        if seed:
            known["space"].__defaults__ = (1, seed)  # layers, seed
            for source in again:
                exec(source, known)
        found.append(known["matrix"].clone())
        print(f"seed {seed}", found[-1], flush=True)
    return found


def main() -> None:
    """Measure, and hold the means to the bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    os.environ["CI"] = "true"
    torch.set_num_threads(1)
    runs, names = measured(given.seeds), ("image", "audio", "video", "text")
    rows, bounds = [], []
    for (i, one), (j, two) in permutations(enumerate(names), 2):
        values = [run[i, j].item() for run in runs]
        mean, pair = statistics.mean(values), f"{one} → {two}"
        kind = "trained" if "text" in (one, two) else "never trained"
        rows.append(
            [pair, kind, f"{mean:.2f} ({min(values):.2f} to {max(values):.2f})"]
        )
        limit = 0.02 if kind == "never trained" else 0.7
        limit = 0.85 if {one, two} == {"image", "text"} else limit
        bounds.append(Bound(f"R@1 {pair}", round(mean, 3), limit, at_most=False))
    report(
        "shared_space",
        " ".join(__doc__.split("\n\n")[1].split()),
        f"{given.seeds} seeds. Chance is 0.002.\n\n"
        + table(["asked → searched", "pair", "R@1 among 500"], rows),
        bounds,
    )


if __name__ == "__main__":
    main()
