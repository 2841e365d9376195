"""What data cost: making a batch of scenes, as a share of one training step with it.

A batch of 64 scenes is made from nothing (sampled, rendered, described, put together),
and also taken from a ready ``CaptionedScenes`` (items fetched and put together, as in
each step of ``fit``). Both are compared with one training step of the captioner of
chapter 5.2 on that batch: forward, backward, clipping and update. All run in turn, on
the same number of threads.

    python benchmarks/data.py [--rounds 40] [--threads 1]

Bounds: each of the two takes less than 0.1 of the step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch
from common import COLLATE, Bound, captioner, interleaved, ratios, report, spread, table
from torch import nn

from mmbook.training import TrainingConfig, make_optimizer
from mmbook.world import CaptionedScenes, describe, render, sample_scenes

BATCH = 64
STEP, MADE, FETCHED = "one training step", "made from nothing", "taken from a ready set"


def make_batch(seed: int) -> dict:
    """Sample, render, describe, collate."""
    scenes = sample_scenes(BATCH, seed)
    pictures, captions = render(scenes, seed=seed), map(describe, scenes)
    pairs = zip(pictures, captions, strict=True)
    return COLLATE([{"image": image, "caption": text} for image, text in pairs])


def training_step() -> Callable[[], None]:
    """A function that trains the captioner one step further on a fixed batch."""
    model, batch = captioner().train(), make_batch(0)
    optimizer = make_optimizer(model, TrainingConfig())

    def step() -> None:
        model(**batch).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def contenders() -> dict[str, Callable]:
    """The step, the two ways to a batch, and the parts of the first one."""
    scenes = sample_scenes(BATCH, seed=0)
    ready = CaptionedScenes(sample_scenes(2000, seed=1))
    items = [ready[index] for index in range(BATCH)]
    order = torch.randperm(len(ready), generator=torch.Generator().manual_seed(0))
    some = order[:BATCH].tolist()
    return {
        STEP: training_step(),
        MADE: lambda: make_batch(0),
        "· sample": lambda: sample_scenes(BATCH, seed=0),
        "· render": lambda: render(scenes),
        "· describe": lambda: [describe(scene) for scene in scenes],
        "· collate": lambda: COLLATE(items),
        FETCHED: lambda: COLLATE([ready[index] for index in some]),
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    ways = contenders()
    interleaved(ways, 3)  # once without looking at the clock
    times = interleaved(ways, given.rounds)
    rows = [
        [
            name,
            spread([1e3 * seconds for seconds in times[name]]),
            f"{median(ratios(times, name, STEP)):.3f}",
        ]
        for name in ways
    ]
    about = " ".join(__doc__.split("\n\n")[1].split())
    report(
        "data",
        f"{about} {given.rounds} rounds; median (smallest to largest).",
        table(["", "ms a batch of 64", "÷ step"], rows),
        [
            Bound(f"{name} ÷ step", median(ratios(times, name, STEP)), 0.1)
            for name in (MADE, FETCHED)
        ],
    )


if __name__ == "__main__":
    main()
