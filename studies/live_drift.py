"""How soon does a service notice that its pictures change; how often does it cry wolf?

Nothing is trained. The drift alarm of the service (Hotelling's T² on the mean token of a
picture, ten directions, threshold for one false alarm in a hundred groups) watches streams
of pictures in groups of 10 or of 50. Beside it stands an alarm on what the model says: the
mean probability of its words, in groups of 50, with a threshold that was set in the same
way. Each seed has another reference of 3,000 usual pictures and other streams, of 5,000
pictures for each condition: so an interval is one over references and streams.

The conditions: nothing has changed; a third more noise; a tenth less light; pairs of colour
and shape that were never trained; another camera (15 % less light and more noise);
photographs. The first is the false-alarm rate. What could reverse it, and is tried: a
reference of 600 pictures.
"""

from __future__ import annotations

import functools

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from tuned_again import other_camera, served

from mmbook.explain import alarm_threshold
from mmbook.samples import photographs
from mmbook.service.answering import Captioner
from mmbook.service.drift import DriftMonitor
from mmbook.world import render, sample_scenes, scene_tokenizer

TEN, FIFTY, WORDS = "T², groups of 10", "T², groups of 50", "word probability, 50"
STREAM, REFERENCE, TOLD = 5000, 3000, 0.01
QUIET = "nothing has changed"


@functools.cache
def captioner() -> Captioner:
    """Of the service."""
    return Captioner(served(), scene_tokenizer())


def drawn(count: int, seed: int, pairs: str = "seen", noise: float = 0.02) -> Tensor:
    """Usual pictures (n, 3, 48, 48) in [0, 1]: half with noise, half clean."""
    scenes = sample_scenes(count, seed, pairs=pairs)
    halves = [
        render(scenes[i::2], noise=n, seed=seed) for i, n in enumerate((noise, 0.0))
    ]
    return torch.cat(halves)[torch.randperm(count, generator=_dice(seed))]


def _dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stream(kind: str, seed: int, count: int) -> Tensor:
    """Live pictures (n, 3, 48, 48) in [0, 1]."""
    if kind == "photographs":
        shown = photographs(48)
        rows = torch.randint(42, (count,), generator=_dice(seed))
        return torch.stack([shown.pixels(int(n)) for n in rows]) / 255
    if kind == "never trained pairs":
        return drawn(count, seed, pairs="held-out")
    if kind == "a third more noise":
        return drawn(count, seed, noise=0.02 * 4 / 3)
    images = drawn(count, seed)
    if kind == "a tenth less light":
        return 0.9 * images
    return other_camera(images, seed) if kind == "another camera" else images


@torch.inference_mode()
def watched(images: Tensor) -> tuple[Tensor, Tensor]:
    """The mean tokens (n, D), and the mean probability of the words of each answer (n,)."""
    features, sure = [], []
    for part in (images * 255).round().byte().split(64):
        tokens = captioner().see(list(part))
        features.append(tokens.pooled())
        steps = list(captioner().words(tokens))
        for row in zip(*steps, strict=True):
            p = [word.probability for word in row if word]
            sure.append(sum(p) / max(len(p), 1))
    return torch.cat(features), torch.tensor(sure)


@functools.cache
def reference(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Of usual pictures."""
    return watched(drawn(count, 10_000 + seed))


@functools.cache
def live(kind: str, seed: int, quick: bool) -> tuple[Tensor, Tensor]:
    """Of a stream."""
    return watched(stream(kind, 20_000 + seed, 200 if quick else STREAM))


def train(run: Run) -> Trained:
    """Nothing is trained."""
    return Trained([], 0.0, {})


def test(run: Run, state: dict[str, Tensor], data: object) -> dict:
    """Per cent of the groups that raise an alarm; what the monitor had promised."""
    features, sure = reference(run.seed, 300 if run.quick else run["reference"])
    seen, words = live(run["kind"], run.seed, run.quick)
    if run.arm == WORDS:
        doubt = lambda group: -group.mean()  # noqa: E731
        quiet = sure[len(sure) // 3 :]
        limit = alarm_threshold(doubt, quiet, 50, TOLD, draws=2000)
        alarms = [doubt(group) > limit for group in words.split(50)]
        promised = TOLD
    else:
        size = 10 if run.arm == TEN else 50
        monitor = DriftMonitor(features, size, TOLD)
        alarms = [monitor.statistic(g) > monitor.threshold for g in seen.split(size)]
        promised = monitor.measured
    share = 100 * sum(map(float, alarms)) / len(alarms)
    return {"alarms": share, "promised": 100 * promised}


KINDS = (
    QUIET,
    "a third more noise",
    "a tenth less light",
    "never trained pairs",
    "another camera",
    "photographs",
)
DESIGN = Design(
    question="How soon does a service notice a change, how often does it cry wolf?",
    tries={arm: [{}] for arm in (TEN, FIFTY, WORDS)},
    conditions=[
        *(Condition(kind, {"kind": kind, "reference": REFERENCE}) for kind in KINDS),
        Condition(
            f"{QUIET}, a small reference",
            {"kind": QUIET, "reference": 600},
            like=QUIET,
            asks="a reference of 600 pictures",
        ),
    ],
    train=train,
    test_data=lambda: None,
    test=test,
    metric="alarms",
    seeds=(0, 1, 2, 3, 4),
    untrained=[TEN, FIFTY, WORDS],
    rests_on=["mmbook/weights/scene-captioner/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
