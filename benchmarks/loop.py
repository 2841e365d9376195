"""The book's loop against a bare PyTorch loop and against transformers' Trainer.

The captioner of chapter 5.2 (477,000 parameters) is trained from the same weights, on
the same batches in the same order, with the same fused AdamW, clipping and schedule. The
bare loop does the same work, but keeps no history and looks at nothing. That all three
end at the same loss is asserted. The three loops run side by side and take one step
each, in turn. A ratio is the median over the steps of a round; making the batch counts,
what comes before the first step does not.

A second table does the same with a model so small that mostly the loop itself is seen.

    python benchmarks/loop.py [--steps 100] [--rounds 5] [--threads 1]

Bounds: a step of fit takes at most 1.05 times as long as one of the bare loop, and less
than one of Trainer.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from common import (
    COLLATE,
    Bound,
    captioner,
    in_turn,
    ratios,
    report,
    spread,
    table,
    trainer,
)
from torch import nn
from torch.utils.data import DataLoader

from mmbook.encoders import ConvImageEncoder
from mmbook.training import (
    TrainingConfig,
    fit,
    learning_rate,
    make_optimizer,
    to_device,
)
from mmbook.training.order import ShuffledStream
from mmbook.world import CaptionedScenes, sample_scenes

DATA = CaptionedScenes(sample_scenes(2000, seed=1))
BARE, OURS, THEIRS = "bare PyTorch", "mmbook.training.fit", "transformers.Trainer"


def ours(model: nn.Module, config: TrainingConfig, collate: Callable) -> None:
    """The loop of the book."""
    fit(model, DATA, config, collate)


def bare(model: nn.Module, config: TrainingConfig, collate: Callable) -> None:
    """The same work in plain PyTorch, without history."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    optimizer = make_optimizer(model, config)
    for step, batch in enumerate(batches(config, collate)):
        loss = model(**to_device(batch, device)).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()


def theirs(model: nn.Module, config: TrainingConfig, collate: Callable) -> None:
    """The same under ``transformers.Trainer``."""
    with tempfile.TemporaryDirectory() as folder:
        trainer(model, config, batches(config, collate), folder).train()
    model.eval()


def batches(config: TrainingConfig, collate: Callable) -> DataLoader:
    """What :func:`mmbook.training.fit` puts through the model, in its order."""
    stream = ShuffledStream(len(DATA), config)
    return DataLoader(DATA, batch_sampler=stream, collate_fn=collate)


def tiny() -> nn.Module:
    """A captioner that takes a few milliseconds a step."""
    encoder = partial(ConvImageEncoder, 16, channels=(4, 8))
    return captioner(encoder=encoder, width=16, layers=1, heads=2)


def one_round(make, config: TrainingConfig, order: list[str]) -> tuple[dict, dict]:
    """All three from the same weights: seconds of each step, and losses at the end."""
    functions = {BARE: bare, OURS: ours, THEIRS: theirs}
    models = {name: make() for name in order}

    def loop(name, turn):
        def collate(items):
            turn()
            return COLLATE(items)

        functions[name](models[name], config, collate)

    seconds = in_turn({n: lambda turn, n=n: loop(n, turn) for n in order})
    return seconds, {name: loss_of(model) for name, model in models.items()}


@torch.inference_mode()
def loss_of(model: nn.Module) -> float:
    """The loss on the first 256 pictures."""
    device = next(model.parameters()).device
    batch = to_device(COLLATE([DATA[index] for index in range(256)]), device)
    return model(**batch).loss.item()


def measure(make, config: TrainingConfig, rounds: int) -> tuple[dict, dict]:
    """Of each round: the step times of each loop; and where it ended."""
    names = [BARE, OURS, THEIRS]
    times: dict[str, list[list[float]]] = {name: [] for name in names}
    for turn in range(rounds):
        order = (names[turn % 3 :] + names[: turn % 3])[:: 1 if turn % 2 else -1]
        seconds, losses = one_round(make, config, order)
        ends = losses.values()
        assert max(ends) - min(ends) < 0.02 * min(ends), f"not the same work: {losses}"
        for name in names:
            times[name].append(seconds[name][5:])  # the first ones warm up
        shown = ", ".join(f"{n} {1e3 * median(t[-1]):.1f}" for n, t in times.items())
        print(f"round {turn + 1} of {rounds}, ms a step: {shown}", flush=True)
    return times, losses


def of_rounds(times: dict, name: str, base: str) -> list[float]:
    """Of each round, the median ratio of two loops' steps."""
    each = zip(times[name], times[base], strict=True)
    return [median(ratios({name: a, base: b}, name, base)) for a, b in each]


def rows(times: dict, losses: dict) -> list[list[str]]:
    """One row of the table for each loop."""
    return [
        [
            name,
            spread([1e3 * median(seconds) for seconds in times[name]]),
            spread(of_rounds(times, name, BARE)),
            spread(of_rounds(times, name, THEIRS)),
            f"{losses[name]:.4f}",
        ]
        for name in times
    ]


def main() -> None:
    """Run all three in turn, with the captioner and with a tiny one, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings = {"learning_rate": 2e-3, "precision": "no", "compile": False}
    config = TrainingConfig(steps=given.steps, batch_size=64, **settings)
    small = TrainingConfig(steps=5 * given.steps, batch_size=1, **settings)
    times, losses = measure(captioner, config, given.rounds)
    own_times, own_losses = measure(tiny, small, given.rounds)
    header = ["loop", "ms a step", "÷ bare", "÷ Trainer", "loss at the end"]
    about = " ".join(__doc__.split("\n\n")[1].split())
    report(
        "loop",
        f"{about} {given.rounds} rounds; median of the rounds (smallest to largest).",
        f"The captioner, batches of 64, {config.steps} steps:\n\n"
        f"{table(header, rows(times, losses))}\n\n"
        f"A tiny model, batches of 1, {small.steps} steps: mostly the loop itself.\n\n"
        f"{table(header, rows(own_times, own_losses))}",
        [
            Bound("fit ÷ bare loop", median(of_rounds(times, OURS, BARE)), 1.05),
            Bound("fit ÷ Trainer", median(of_rounds(times, OURS, THEIRS)), 1.0),
            Bound(
                "fit ÷ Trainer, tiny model",
                median(of_rounds(own_times, OURS, THEIRS)),
                1.0,
            ),
        ],
    )


if __name__ == "__main__":
    main()
