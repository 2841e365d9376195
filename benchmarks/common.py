"""What the benchmarks share: interleaved runs, medians, bounds, a file of results.

Machines are noisy and never the same, so a bare time says little. Whatever is compared
runs in turn, round after round, and each round gives one ratio. The median of the
ratios counts; the smallest and the largest are its spread.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.metadata
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from torch import nn

from mmbook.data import Collate
from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import Concatenation
from mmbook.heads import GenerationHead
from mmbook.models import MultimodalModel
from mmbook.training import TrainingConfig, learning_rate, make_optimizer
from mmbook.world import scene_tokenizer

RESULTS = Path(__file__).parent / "results"
TOKENIZER = scene_tokenizer()
COLLATE = Collate(TOKENIZER)


@dataclass
class Bound:
    """A number that was promised, and the one that was measured.

    Parameters
    ----------
    what : what the number is, with its unit.
    value, limit : measured and promised.
    at_most : True if ``value`` must not be above the limit; False if not below.
    """

    what: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def holds(self) -> bool:
        """Is the promise kept?"""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "holds" if self.holds else "MISSED"
        return f"{self.what}: {self.value:.3g} (bound {sign} {self.limit:g}): {verdict}"


def interleaved(
    contenders: dict[str, Callable[[], object]], rounds: int = 5
) -> dict[str, list[float]]:
    """Seconds that each contender took in each round.

    In every round all of them run, each round beginning with another one. A contender
    that returns a float is believed (it took the time itself, without its set-up).
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            gc.collect()
            start = time.perf_counter()
            own = contenders[name]()
            taken = time.perf_counter() - start
            times[name].append(own if isinstance(own, float) else taken)
        if turn % max(1, rounds // 10) == 0:
            shown = ", ".join(f"{n} {each[-1]:.3f} s" for n, each in times.items())
            print(f"round {turn + 1} of {rounds}: {shown}", flush=True)
    return times


def in_turn(loops: dict[str, Callable[[Callable], object]]) -> dict[str, list[float]]:
    """Let several training loops take one step each, in turn: seconds of each step.

    Noise that lasts for seconds then meets all of them alike. Each loop runs in its own
    thread and gets a function ``turn()``, which it calls before every step; only one
    thread is awake at a time. What comes before the first step is not counted.
    """
    _share_memory()
    turns = _Turns(list(loops))
    threads = [
        threading.Thread(target=turns.live, args=(name, loop))
        for name, loop in loops.items()
    ]
    for thread in threads:
        thread.start()
    turns.gates[next(iter(loops))].release()
    for thread in threads:
        thread.join()
    if turns.errors:
        raise turns.errors[0]
    return turns.seconds


def _share_memory() -> None:
    """Let all threads take memory from one place, and keep what was freed.

    Otherwise each thread has an arena of its own, and which one is lucky decides some
    per cent. Only glibc knows these settings; elsewhere nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        allocator = ctypes.CDLL(None).mallopt
        arenas, mapping, trimming = -8, -3, -1
        for setting, value in ((arenas, 1), (mapping, 2**25), (trimming, 2**31 - 1)):
            allocator(setting, value)


class _Turns:
    """Who may run now, and how long each step took."""

    def __init__(self, names: list[str]):
        self.ring, self.errors = names, []
        self.gates = {name: threading.Semaphore(0) for name in names}
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.started: dict[str, float] = {}

    def live(self, name: str, loop: Callable) -> None:
        """Run a loop from its first turn to its end."""
        self.gates[name].acquire()
        torch.set_num_threads(torch.get_num_threads())  # each thread has its own number
        try:
            loop(lambda: self.turn(name))
        except BaseException as error:
            self.errors.append(error)
        self._stop(name)
        following = self._following(name)
        self.ring.remove(name)
        if self.ring:
            self.gates[following].release()

    def turn(self, name: str) -> None:
        """A step ends; the others take theirs; the next one begins."""
        self._stop(name)
        self.gates[self._following(name)].release()
        self.gates[name].acquire()
        self.started[name] = time.perf_counter()

    def _stop(self, name: str) -> None:
        if name in self.started:
            self.seconds[name].append(time.perf_counter() - self.started[name])

    def _following(self, name: str) -> str:
        return self.ring[(self.ring.index(name) + 1) % len(self.ring)]


def ratios(times: dict[str, list[float]], name: str, base: str) -> list[float]:
    """Of each round, how much longer ``name`` took than ``base``."""
    return [a / b for a, b in zip(times[name], times[base], strict=True)]


def spread(numbers: Sequence[float], digits: int = 3) -> str:
    """The median with the smallest and the largest: ``1.01 (0.98 to 1.04)``."""
    middle = statistics.median(numbers)
    return (
        f"{middle:.{digits}g} ({min(numbers):.{digits}g} to {max(numbers):.{digits}g})"
    )


def captioner(
    seed: int = 0,
    encoder=None,
    width: int = 96,
    layers: int = 2,
    heads: int = 4,
    smoothing: float = 0.0,
) -> MultimodalModel:
    """The captioner of chapter 5.2 with random weights; other sizes where asked for."""
    torch.manual_seed(seed)
    encoder = encoder() if encoder else ConvImageEncoder(width, size=48)
    head = GenerationHead.for_tokenizer(
        TOKENIZER,
        width=width,
        layers=layers,
        heads=heads,
        max_length=32,
        context_width=width,
        smoothing=smoothing,
    )
    joined = Concatenation({"image": encoder.width}, width)
    return MultimodalModel({"image": encoder}, joined, head)


def trainer(model: nn.Module, config: TrainingConfig, batches, folder: str, **settings):
    """A ``transformers.Trainer`` that does what ``config`` says, with these batches.

    It prepares the loader as it prepares its own, and looks at the loss every 20 steps,
    as :func:`mmbook.training.fit` does. ``settings`` go to ``TrainingArguments``.
    """
    from transformers import PrinterCallback, Trainer, TrainingArguments

    optimizer, highest = make_optimizer(model, config), config.learning_rate
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, config) / highest
    )
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        max_grad_norm=config.clip,
        logging_steps=20,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **settings,
    )
    run = Trainer(model, arguments, optimizers=(optimizer, schedule))
    run.get_train_dataloader = lambda: run.accelerator.prepare(batches)
    run.remove_callback(PrinterCallback)
    return run


def hardware() -> str:
    """The machine in words: processor, threads, graphics card."""
    words = f"{os.cpu_count()} CPU cores ({_processor()}), "
    words += f"{torch.get_num_threads()} thread(s) used by PyTorch, "
    if torch.cuda.is_available():
        return words + torch.cuda.get_device_name()
    return words + "no GPU"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def versions() -> str:
    """Python and the libraries on which the numbers depend."""
    parts = [f"Python {platform.python_version()}"]
    for name in ("torch", "transformers", "accelerate", "numpy"):
        parts.append(f"{name} {importlib.metadata.version(name).split('+')[0]}")
    return ", ".join(parts)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def report(
    name: str, about: str, body: str, bounds: Sequence[Bound] = (), keep: bool = True
) -> None:
    """Print the result, write ``results/NAME.md``, and exit with 1 if a bound is missed.

    Parameters
    ----------
    name : of the benchmark.
    about : what was compared and how, one paragraph.
    body : Markdown: the table.
    bounds : what was promised.
    keep : False writes no file.
    """
    text = f"# {name}\n\n{about}\n\n{body}\n"
    if bounds:
        text += "\n" + "\n".join(f"- {bound}" for bound in bounds) + "\n"
    text += f"\n{date.today()} · {hardware()} · {versions()}\n"
    if keep:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")
    sys.exit(0 if all(bound.holds for bound in bounds) else 1)
