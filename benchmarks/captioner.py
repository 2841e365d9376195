"""A captioner from scratch within two minutes on two CPU cores, and how good it is.

The parts are those of chapter 5.2 with random weights, a decoder of one layer, and labels
smoothed by 0.1. It learns from 20,000 scenes with one or two things and their canonical
captions; pairs of colour and shape in ``HELD_OUT`` never occur. A caption is right if it
is true and leaves nothing out. It is tested on 1,000 new scenes of the same kind, and on
1,000 in which every thing is a held-out pair. The settings were chosen while looking at these
two sets, so the numbers are somewhat optimistic.

The time is that of ``fit``, on the clock of the wall. The seconds of the processor stand
beside it: what the run takes on a core that nobody else wants.

    python benchmarks/captioner.py [--seeds 3] [--steps 1600] [--threads 1]

Bounds: the mean over the seeds is at least 0.95 right on new scenes, and at least 0.85
on held-out pairs; no run takes longer than 120 s.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import mean

import torch
from common import COLLATE, TOKENIZER, Bound, captioner, report, table
from torch import nn

from mmbook.data import stack_images
from mmbook.generation import generate, to_text
from mmbook.training import TrainingConfig, fit
from mmbook.world import CaptionedScenes, attribute_accuracy, sample_scenes

SCENES = 20_000
NEW, HELD = "new scenes", "held-out pairs"


def tests() -> dict[str, CaptionedScenes]:
    """The two sets on which every run is tested."""
    new, held = (sample_scenes(1000, 3, pairs=pairs) for pairs in ("seen", "held-out"))
    return {NEW: CaptionedScenes(new, seed=3), HELD: CaptionedScenes(held, seed=4)}


def train(seed: int, steps: int) -> tuple[nn.Module, float, float]:
    """A captioner; seconds on the wall's clock and of the processor that it took."""
    data = CaptionedScenes(sample_scenes(SCENES, seed=100 + seed), seed=seed)
    model = captioner(seed, layers=1, smoothing=0.1)
    model.to(memory_format=torch.channels_last)
    config = TrainingConfig(
        steps=steps, batch_size=32, learning_rate=1.4e-3, precision="no", seed=seed
    )
    wall, processor = time.perf_counter(), time.process_time()
    fit(model, data, config, COLLATE)
    return model, time.perf_counter() - wall, time.process_time() - processor


def share_right(model: nn.Module, data: CaptionedScenes) -> float:
    """Share of pictures whose caption is true and complete."""
    device, said = next(model.parameters()).device, []
    for first in range(0, len(data), 250):
        images = stack_images(data.images[first : first + 250]).to(device)
        said += to_text(generate(model, {"image": images}, 24), TOKENIZER)
    return attribute_accuracy(said, data.scenes)["exact"]


def mean_and_range(numbers: Sequence[float], digits: int) -> str:
    """``0.97 (0.95 to 0.99)``"""
    low, high = min(numbers), max(numbers)
    return f"{mean(numbers):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    """Train once a seed, test, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sets, rows = tests(), []
    for seed in range(given.seeds):
        model, wall, processor = train(seed, given.steps)
        right = [share_right(model, data) for data in sets.values()]
        rows.append([*right, wall, processor])
        print(f"seed {seed}: {rows[-1]}", flush=True)
    finish(given, rows, sum(p.numel() for p in model.parameters()))


def finish(given, rows: list[list[float]], parameters: int) -> None:
    """The table and the bounds."""
    digits = (3, 3, 0, 0)
    shown = [
        [seed, *(f"{value:.{n}f}" for value, n in zip(row, digits, strict=True))]
        for seed, row in enumerate(rows)
    ]
    new, held, wall, _ = columns = list(zip(*rows, strict=True))
    pairs = zip(columns, digits, strict=True)
    shown.append(["mean (range)", *(mean_and_range(c, n) for c, n in pairs)])
    about = " ".join(" ".join(__doc__.split("\n\n")[1:3]).split())
    report(
        "captioner",
        f"{about} {parameters:,} parameters, {given.steps} steps of 32 pictures.",
        table(["seed", NEW, HELD, "seconds, wall", "seconds, processor"], shown),
        [
            Bound(f"right on {NEW}", mean(new), 0.95, at_most=False),
            Bound(f"right on {HELD}", mean(held), 0.85, at_most=False),
            Bound("seconds, the slowest run", max(wall), 120),
        ],
    )


if __name__ == "__main__":
    main()
