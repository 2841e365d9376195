"""Why so few labels are saved on easy-VQA: the shape and the colour asked for alone.

In ``label_efficiency.py`` the book's encoder saves a factor of 3 to 4 only, if training
from scratch gets three times the steps and 300 labels. Each class there is a pair of a
shape and a colour. Here the two are asked for apart, on the same pictures, with the same
labels: a linear probe on the mean token of the frozen encoder, and training from scratch
with 720 steps of 32. Beside the colour stands a probe that has seen no network at all, on
nine numbers of each picture: the mean red, green and blue of the 20 pixels that are
farthest from the picture's median colour, their squares and their products.

The factor is 300, divided by the number of labels with which a probe reaches what training
from scratch reaches with 300; 0 where it does not get there with 1000.

    MMBOOK_DATA=… MMBOOK_MODELS=… python benchmarks/label_efficiency_parts.py

No bound: it is an explanation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from common import report, table
from label_efficiency import (
    FROZEN,
    LONGER,
    SIZES,
    Examples,
    Task,
    _said,
    _spread,
    needed,
    pictures,
)
from torch import Tensor

LABELS, STEPS, RATE, SEEDS = 300, 720, 1e-3, range(3)
COLOURS = 8  # a pair is numbered shape · 8 + colour
QUESTIONS = {
    "which shape": (3, lambda pair: pair // COLOURS),
    "which colour": (COLOURS, lambda pair: pair % COLOURS),
}
NINE = "nine numbers of the pixels, linear probe"


def nine_numbers(data: Examples) -> Tensor:
    """Of each picture (n, 3, H, W), what its least usual pixels look like: (n, 9)."""
    pixels = data.values.flatten(2)
    far = (pixels - pixels.median(-1, keepdim=True).values).square().sum(1)
    places = far.topk(20).indices[:, None].expand(-1, 3, -1)
    mean = pixels.gather(2, places).mean(-1)
    return torch.cat([mean, mean**2, mean * mean.roll(1, dims=1)], dim=1)


def asked(task: Task, pairs: list[Tensor], question: str) -> None:
    """The same pictures with the answers of one question."""
    task.classes, answer = QUESTIONS[question]
    for part, pair in zip((task.train, task.held, task.test), pairs, strict=True):
        part.labels = answer(pair)


def main() -> None:
    """Both questions, and a report."""
    if missing := [n for n in ("MMBOOK_DATA", "MMBOOK_MODELS") if n not in os.environ]:
        sys.exit(f"set {' and '.join(missing)}: see the head of this file")
    torch.set_num_threads(1)
    task = pictures(*(Path(os.environ[n]) for n in ("MMBOOK_DATA", "MMBOOK_MODELS")))
    parts = (task.train, task.held, task.test)
    pairs, sizes, rows = [part.labels for part in parts], SIZES["pictures"], []
    task.probes = {FROZEN: task.probes[FROZEN], NINE: (None, parts)}
    task.kept[NINE] = tuple(map(nine_numbers, parts))
    for question in QUESTIONS:
        asked(task, pairs, question)
        scratch = [task.run(LONGER, LABELS, seed, RATE, STEPS) for seed in SEEDS]
        blank = ["" if n != LABELS else _said(scratch) for n in sizes]
        rows.append([question, LONGER, *blank, ""])
        for kind in (FROZEN, NINE) if question == "which colour" else (FROZEN,):
            curves = [
                [task.run(kind, n, seed, None, STEPS) for n in sizes] for seed in SEEDS
            ]
            saved = [
                LABELS / needed(curve, sizes, top)
                for curve, top in zip(curves, scratch, strict=True)
            ]
            columns = map(_said, map(list, zip(*curves, strict=True)))
            rows.append([question, kind, *columns, _spread(saved)])
            print(rows[-1], flush=True)
    about = " ".join(" ".join(__doc__.split("\n\n")[1:3]).split())
    report(
        "label_efficiency_parts",
        f"{about} Three seeds; per cent right in the test, mean ± standard deviation; of "
        "the factors the median, the smallest and the largest.",
        table(["question", "", *map(str, sizes), "times fewer than 300"], rows),
    )


if __name__ == "__main__":
    main()
