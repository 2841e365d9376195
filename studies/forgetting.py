"""What does a model forget that is tuned for new pictures, and what helps?

An expert names six shapes on noisy cut-outs with a light ground (1,000 labels). It is
fine-tuned with 100 labels for pictures with inverted colours: the shapes and the head are
the same. Both kinds of pictures count alike: the measure is the mean of the accuracy on
new and on old ones. Two conditions differ in the encoder: the package's, with batch norm,
and the same convolutions with a layer norm in the place of each batch norm.

The arms: fine-tuning; replay (20 of the old labelled pictures are half of each batch); L2-SP
(each parameter is pulled towards its start); WiSE-FT (parameters before and after are
averaged); a frozen encoder, of which only the head learns; and, with batch norm, fine-tuning
with fixed statistics. *Before* is the expert as it was.

What is equal: the experts and the pictures of a seed, steps and batches, six settings for
each arm, and 300 validation pictures of each kind, which choose them. What could reverse the
answer, and is tried: three times the steps; and 20 new labels more for all arms but replay,
which has 20 old ones.

With batch norm, part of the loss is in its statistics and not in the parameters. So old
pictures are also asked with the means and variances of the expert put back.
"""

from __future__ import annotations

import copy
import functools
import random
from dataclasses import replace

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn

from mmbook.encoders import ConvImageEncoder
from mmbook.heads import ClassificationHead
from mmbook.models import Output
from mmbook.training import TrainingConfig, fit
from mmbook.world import SHAPES, Scene, render, sample_scenes

TUNED, REPLAY, SPRING = "fine-tuned", "replay", "L2-SP"
AVERAGED, HEAD, FIXED = "WiSE-FT", "head alone", "fixed statistics"
BEFORE = "before"
STEPS, LABELS, REPLAYED, BATCH, CHECKS = 120, 100, 20, 20, 6


# --------------------------------------------------------------------------- the pictures


def labelled(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy cut-outs of 24 × 24 pixels (n, 3, 24, 24), and their shapes (n,)."""
    rng, centred = random.Random(seed), []
    scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
    for scene in scenes:
        x, y = (0.5 + rng.uniform(-0.06, 0.06) for _ in "xy")
        centred.append(Scene((replace(scene.things[0], x=x, y=y),)))
    pictures = render(centred, noise=0.1, seed=seed)[..., 12:36, 12:36].contiguous()
    return pictures, torch.tensor([SHAPES.index(s.things[0].shape) for s in scenes])


def inverted(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """The same with inverted colours."""
    images, labels = labelled(count, seed)
    return 1 - images, labels


@functools.cache
def validation() -> tuple:
    """New and old pictures that choose."""
    return inverted(300, 3), labelled(300, 1)


# ------------------------------------------------------------------------------ the model


class Classifier(nn.Module):
    """An encoder, and a linear head on the mean of its tokens."""

    def __init__(self, norm: str):
        super().__init__()
        source = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
        self.encoder = ConvImageEncoder(96, size=24)
        self.encoder.stages.load_state_dict(source.stages.state_dict())
        self.encoder.position.data.copy_(source.position.detach().mean(0))
        if norm == "layer norm":
            for number, layer in enumerate(self.encoder.stages):
                if isinstance(layer, nn.BatchNorm2d):
                    self.encoder.stages[number] = nn.GroupNorm(1, layer.num_features)
        self.head = ClassificationHead(96, len(SHAPES))

    def forward(self, image: Tensor, labels: Tensor | None = None) -> Output:
        logits, loss = self.head(self.encoder(image), labels)
        return Output(loss=loss, logits=logits)


class Tuned(nn.Module):
    """A model in training: pulled to its start, or with fixed statistics."""

    def __init__(self, model: Classifier, pull: float = 0.0, fixed: bool = False):
        super().__init__()
        self.model, self.pull, self.fixed = model, pull, fixed
        self.start = copy.deepcopy(model).requires_grad_(False)

    def train(self, mode: bool = True):
        """Fixed statistics: each batch norm stays in evaluation mode."""
        super().train(mode)
        if self.fixed:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def forward(self, image: Tensor, labels: Tensor) -> Output:
        output = self.model(image, labels)
        if self.pull:
            pairs = zip(self.model.parameters(), self.start.parameters(), strict=True)
            distance = sum((p - q).square().sum() for p, q in pairs)
            output.loss = output.loss + self.pull / 2 * distance
        return output


def learn(model: nn.Module, data, rate: float, steps: int, seed: int, **how) -> None:
    """Train on pictures (n, 3, 24, 24) and labels (n,)."""
    images, labels = data
    config = TrainingConfig(
        steps=steps,
        batch_size=how.pop("batch", BATCH),
        learning_rate=rate,
        weight_decay=0.05,
        seed=seed,
        precision="no",
        compile=False,
        progress=False,
        **how,
    )
    fit(
        model,
        range(len(images)),
        config,
        lambda rows: {"image": images[rows], "labels": labels[rows]},
    )
    model.cpu().eval()


@functools.cache
def expert(norm: str, seed: int, quick: bool) -> Classifier:
    """Knows the old pictures; every arm of a seed starts from it."""
    torch.manual_seed(seed)
    model = Classifier(norm)
    steps = 5 if quick else 300
    learn(
        model,
        labelled(1000, 200 + seed),
        3e-3,
        steps,
        seed,
        batch=32,
        rates={"head": 5.0},
    )
    return model


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Per cent right."""
    said = torch.cat([model.eval()(x).logits.argmax(1) for x in data[0].split(250)])
    return 100 * (said == data[1]).float().mean().item()


def both(model: nn.Module) -> float:
    """Mean accuracy on new and old validation pictures, per cent."""
    return sum(accuracy(model, data) for data in validation()) / 2


@torch.no_grad()
def averaged(before: nn.Module, after: nn.Module, share: float) -> nn.Module:
    """WiSE-FT: this share of what was learned, statistics included."""
    model, start = copy.deepcopy(after), before.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(start[name].lerp(value, share))
    return model


def pictures(run: Run) -> tuple[Tensor, Tensor]:
    """What an arm learns from; replay repeats old pictures as often as new ones."""
    more = run["more"] if run.arm != REPLAY else 0
    fresh = inverted(LABELS + more, 800 + run.seed)
    if run.arm != REPLAY:
        return fresh
    known = labelled(REPLAYED, 200 + run.seed)  # of those that the expert has seen
    times = LABELS // REPLAYED
    return tuple(
        torch.cat([a, *[b] * times]) for a, b in zip(fresh, known, strict=True)
    )


def train(run: Run) -> Trained:
    """Fine-tune a copy of the expert of this seed."""
    before = expert(run["norm"], run.seed, run.quick)
    model, curve = copy.deepcopy(before), [(0, both(before))]
    if run.arm == BEFORE:
        return Trained(curve, curve[0][1], state_of(before, model))
    steps = CHECKS if run.quick else run["steps"]
    if run.arm == HEAD:
        model.encoder.requires_grad_(False)
    shell = Tuned(model, run.setting.get("pull", 0.0), run.arm in (FIXED, HEAD))
    data = pictures(run)

    def look(step: int) -> None:
        now = model
        if run.arm == AVERAGED:
            now = averaged(before, model, run["share"])
        curve.append((step, both(now)))

    learn(_Looks(shell, steps, look), data, run["rate"], steps, run.seed)
    if run.arm == AVERAGED:
        model = averaged(before, model, run["share"])
    curve = [point for point in curve if point[0] < steps]
    curve.append((steps, both(model)))
    return Trained(curve, curve[-1][1], state_of(before, model))


class _Looks(nn.Module):
    """Calls a function at equal distances during a training."""

    def __init__(self, inner: nn.Module, steps: int, look):
        super().__init__()
        self.inner, self.look, self.done = inner, look, 0
        self.every = max(1, steps // CHECKS)

    def forward(self, image: Tensor, labels: Tensor) -> Output:
        if self.done and self.done % self.every == 0:
            state = torch.get_rng_state()
            self.look(self.done)
            torch.set_rng_state(state)
            self.inner.train()
        self.done += 1
        return self.inner(image, labels)


def state_of(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """Both models: the test puts the old statistics back."""
    pairs = ("before", before), ("after", after)
    return {
        f"{name}.{key}": value.clone()
        for name, model in pairs
        for key, value in model.state_dict().items()
    }


def test_data() -> tuple:
    """New and old pictures of the test."""
    return inverted(500, 4), labelled(500, 31)


def test(run: Run, state: dict[str, Tensor], data: tuple) -> dict:
    """Accuracy on new and old pictures, and on old ones with the old statistics."""
    models = {}
    for name in ("before", "after"):
        models[name] = Classifier(run["norm"])
        own = {
            k.removeprefix(f"{name}."): v
            for k, v in state.items()
            if k.startswith(name)
        }
        models[name].load_state_dict(own)
    new, old = (accuracy(models["after"], part) for part in data)
    theirs = dict(models["before"].named_buffers())
    with torch.no_grad():
        for name, value in models["after"].named_buffers():
            value.copy_(theirs[name])
    back = accuracy(models["after"], data[1])
    return {"both": (new + old) / 2, "new": new, "old": old, "old statistics": back}


RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
GRID = (3e-4, 1e-3, 3e-3)
ARMS = {
    BEFORE: [{}],
    TUNED: [{"rate": r} for r in RATES],
    REPLAY: [{"rate": r} for r in RATES],
    SPRING: [{"rate": r, "pull": p} for r in (1e-3, 3e-3) for p in (0.1, 1.0, 10.0)],
    AVERAGED: [
        {"rate": r, "share": s} for r in (1e-3, 3e-3, 1e-2) for s in (0.5, 0.75)
    ],
    HEAD: [{"rate": r} for r in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)],
    FIXED: [{"rate": r} for r in RATES],
}
SHARED = [arm for arm in ARMS if arm != FIXED]
LONG, MORE = "three times the steps", "20 new labels more"
DESIGN = Design(
    question="What does a model forget that is tuned for new pictures, and what helps?",
    tries=ARMS,
    conditions=[
        case
        for norm, arms in (("batch norm", [*ARMS]), ("layer norm", SHARED))
        for case in (
            Condition(norm, {"norm": norm, "steps": STEPS, "more": 0}, arms),
            Condition(
                f"{norm}, {LONG}",
                {"norm": norm, "steps": 3 * STEPS, "more": 0},
                arms[1:],
                like=norm,
                asks=LONG,
            ),
            Condition(
                f"{norm}, {MORE}",
                {"norm": norm, "steps": STEPS, "more": REPLAYED},
                arms[1:],
                like=norm,
                asks=MORE,
            ),
        )
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="both",
    seeds=(0, 1, 2, 3, 4),
    untrained=[BEFORE],
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
