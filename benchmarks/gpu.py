"""The programme of chapter 5.2 at the scale of a GPU: fit against transformers' Trainer.

A captioner with a vision transformer of ViT-B's shape (12 layers, 768 wide, 196 patches
a picture) and a decoder of the same shape (199 million parameters) describes scenes of
112 pixels. Both loops train it from the same weights, on the same batches, with the same
fused AdamW, in bf16 (fp16 on cards without it), compiled. The first part of each run,
in which it compiles, is not counted.

Model FLOP utilisation is what one forward and backward must compute (counted by
``torch.utils.flop_counter``), times the steps a second, divided by what the card can
compute in 16 bits without sparsity.

    python benchmarks/gpu.py [--steps 100] [--rounds 3] [--batch 128] [--workers 8]
    python benchmarks/gpu.py --cpu        # a tiny model: only shows that it runs

Bound: fit is at least 0.98 times as fast as Trainer. Without a GPU it says so and ends.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from common import TOKENIZER, Bound, captioner, report, spread, table, trainer
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainerCallback

from mmbook.data import Collate
from mmbook.encoders import PatchImageEncoder
from mmbook.training import TrainingConfig, fit, to_device
from mmbook.training.order import ShuffledStream
from mmbook.world import CaptionedScenes, sample_scenes

OURS, THEIRS = "mmbook.training.fit", "transformers.Trainer"
COLLATE = Collate(TOKENIZER, max_length=16, pad_to=16)  # shapes stay the same
PARTS = 5  # of a run, each timed; the first one is not counted
PEAK = {  # 10^12 operations a second, dense, 16 bits; not checked yet
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10G": 70,
    "A10": 125,
    "RTX 4090": 165,
    "RTX 3090": 71,
    "V100": 125,
    "T4": 65,
}


@dataclass
class Scale:
    """How large everything is."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    size: int = 112
    patch: int = 8
    scenes: int = 4096

    def model(self) -> nn.Module:
        """The captioner, with the same weights each time."""
        shape = (self.width, self.layers, self.heads)
        encoder = partial(PatchImageEncoder, *shape, self.size, self.patch)
        width, layers, heads = shape
        return captioner(encoder=encoder, width=width, layers=layers, heads=heads)


TINY = Scale(width=32, layers=1, heads=2, size=16, scenes=64)


class Clock(TrainerCallback):
    """Looks at the time after each part of a run, when the device has done its work."""

    def __init__(self, every: int):
        self.every, self.times = every, []

    def tick(self, *_) -> dict[str, float]:
        """Note the time; the signature is that of a validation of ``fit``."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        return {}

    def on_step_end(self, arguments, state, control, **_) -> None:
        """As Trainer calls it."""
        if state.global_step % self.every == 0:
            self.tick()

    def per_step(self) -> float:
        """Seconds a step: the median over the parts but the first."""
        pairs = zip(self.times[1:], self.times, strict=False)
        return median(after - before for after, before in pairs) / self.every


def ours(model: nn.Module, data, config: TrainingConfig, clock: Clock) -> None:
    """The loop of the book."""
    fit(model, data, config, COLLATE, validate=clock.tick)


def theirs(model: nn.Module, data, config: TrainingConfig, clock: Clock) -> None:
    """``transformers.Trainer`` with the same batches."""
    loader = DataLoader(
        data,
        batch_sampler=ShuffledStream(len(data), config),
        collate_fn=COLLATE,
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    settings = {
        config.precision: True,
        "torch_compile": bool(config.compile),
        "accelerator_config": {"non_blocking": torch.cuda.is_available()},
        "use_cpu": not torch.cuda.is_available(),
    }
    with tempfile.TemporaryDirectory() as folder:
        run = trainer(model, config, loader, folder, **settings)
        run.add_callback(clock)
        run.train()


def seconds(loop: Callable, scale: Scale, data, config) -> tuple[float, float]:
    """Of one run: seconds a step, and the loss on a fixed batch at the end."""
    torch._dynamo.reset()  # what was compiled for another run
    model, clock = scale.model(), Clock(config.steps // PARTS)
    loop(model, data, config, clock)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fixed = COLLATE([data[index] for index in range(min(64, len(data)))])
    plain = scale.model().to(device).eval()
    plain.load_state_dict(model.state_dict())
    with torch.inference_mode():
        loss = plain(**to_device(fixed, torch.device(device))).loss.item()
    return clock.per_step(), loss


def operations(scale: Scale, data, batch_size: int) -> int:
    """Floating-point operations of one forward and backward of a batch."""
    few = COLLATE([data[index] for index in range(2)])
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:  # so that attention is counted, too
        scale.model()(**few).loss.backward()
    return counter.get_total_flops() * batch_size // 2


def peak(card: str) -> float | None:
    """What the card can compute in a second; None if it is not in the table."""
    found = [value for name, value in PEAK.items() if name in card]
    return 1e12 * found[0] if found else None


def row(name: str, times: list[float], flops: int, batch: int, card: str) -> list[str]:
    """One row of the table."""
    most = peak(card)
    used = [100 * flops / t / most for t in times] if most else None
    return [
        name,
        spread([1e3 * t for t in times]),
        spread([batch / t for t in times], 4),
        spread([flops / t / 1e12 for t in times]),
        spread(used) if used else f"unknown card ({card})",
    ]


def settings() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="a tiny model on the CPU")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, default=8)
    return parser.parse_args()


def main() -> None:
    """Run both loops in turn and report."""
    given = settings()
    if not (torch.cuda.is_available() or given.cpu):
        print("No GPU here: nothing was measured. --cpu shows that the programme runs.")
        return
    if given.cpu:
        torch.set_num_threads(1)  # two wait for each other where others use the cores
    scale = TINY if given.cpu else Scale()
    data = CaptionedScenes(sample_scenes(scale.scenes, seed=1), size=scale.size)
    native = given.cpu or torch.cuda.get_device_capability() >= (8, 0)
    config = TrainingConfig(
        steps=given.steps,
        batch_size=given.batch,
        learning_rate=1e-4,
        precision="bf16" if native else "fp16",
        compile=True,
        workers=given.workers,
        validate_every=given.steps // PARTS,
    )
    loops = {OURS: ours, THEIRS: theirs}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(given.rounds):
        order = list(loops) if turn % 2 == 0 else list(loops)[::-1]
        losses = {}
        for name in order:
            taken, losses[name] = seconds(loops[name], scale, data, config)
            times[name].append(taken)
            print(f"round {turn + 1}: {name} {1e3 * taken:.2f} ms a step", flush=True)
        low, high = sorted(losses.values())
        assert high - low < 0.1 * low, f"not the same work: {losses}"
    finish(given, scale, data, times)


def finish(given, scale: Scale, data, times: dict[str, list[float]]) -> None:
    """The table and the bound."""
    flops = operations(scale, data, given.batch)
    card = "CPU" if given.cpu else torch.cuda.get_device_name()
    header = ["loop", "ms a step", "pictures a second", "TFLOP/s", "utilisation, %"]
    rows = [row(name, times[name], flops, given.batch, card) for name in times]
    faster = [b / a for a, b in zip(times[OURS], times[THEIRS], strict=True)]
    bound = Bound("speed of fit ÷ Trainer", median(faster), 0.98, at_most=False)
    about = " ".join(" ".join(__doc__.split("\n\n")[1:3]).split())
    about = "A tiny model, only to show that it runs." if given.cpu else about
    report(
        "gpu",
        f"{about} Batches of {given.batch}, {given.steps} steps, {given.rounds} rounds; "
        f"{flops / 1e12:.3g} TFLOP a step; median (smallest to largest).",
        table(header, rows),
        [] if given.cpu else [bound],
        keep=not given.cpu,
    )


if __name__ == "__main__":
    main()
