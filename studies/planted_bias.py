"""Does a bias of pre-training outlive fine-tuning, and what reduces it?

In a *biased world* each of six shapes has a colour of its own, which it wears in 95 of 100
pictures. A parent model learns to name shapes there (1,000 pictures); a control parent
learns in a world without the habit. Both are fine-tuned on 60 *balanced* pictures, in which
no colour goes with a shape. Four other ways start from the biased parent: the last layer
alone; the 60 pictures in all six colours (counterfactual augmentation); 240 pictures of the
biased world; the same with the groups reweighted.

Measured on balanced pictures: accuracy; accuracy where the colour fits the shape and where
it does not; and the *flips*: how often the answer changes if the colour is exchanged and
nothing else.

What is equal: the pictures of a seed, steps and batches, six settings for each arm, and 300
balanced validation pictures that choose (those who live in the biased world would not have
them). What could reverse the answer, and is tried: three times the steps, and five times as
many balanced labels.
"""

from __future__ import annotations

import copy
import functools
import random
from dataclasses import replace

import torch
from forgetting import CHECKS, Classifier, _Looks, accuracy, learn
from runner import Condition, Design, Run, Trained, main
from shifts import PROBE_STEPS, fitted
from torch import Tensor

from mmbook.world import COLOURS, SHAPES, Scene, render, sample_scenes

CONTROL, BIASED, LAST = "control", "biased", "last layer alone"
ALL_COLOURS, WORLD, EVENED = "in all colours", "biased world", "groups reweighted"
SIX = list(COLOURS)[:6]
PARTNER = dict(zip(SHAPES, SIX, strict=True))
STEPS, HABIT, TYPICAL = 120, 0.95, 240
FEW, MANY = "60 balanced", "300 balanced"


def world(count: int, seed: int, share: float) -> list[Scene]:
    """Scenes of one object; this share has the colour that belongs to the shape."""
    rng, made = random.Random(seed), []
    for scene in sample_scenes(count, seed, objects=(1,), pairs="all"):
        thing, fits = scene.things[0], rng.random() < share
        colour = PARTNER[thing.shape] if fits else rng.choice(SIX)
        made.append(Scene((replace(thing, colour=colour),)))
    return made


def shown(scenes: list[Scene], seed: int) -> tuple[Tensor, Tensor]:
    """Noisy cut-outs and their shapes."""
    rng, centred = random.Random(seed), []
    for scene in scenes:
        x, y = (0.5 + rng.uniform(-0.06, 0.06) for _ in "xy")
        centred.append(Scene((replace(scene.things[0], x=x, y=y),)))
    pictures = render(centred, noise=0.1, seed=seed)[..., 12:36, 12:36].contiguous()
    return pictures, torch.tensor([SHAPES.index(s.things[0].shape) for s in scenes])


def recoloured(scenes: list[Scene], by: int) -> list[Scene]:
    """The same scenes; each object has the colour so many places on."""
    turn = {c: SIX[(i + by) % 6] for i, c in enumerate(SIX)}
    things = (scene.things[0] for scene in scenes)
    return [Scene((replace(t, colour=turn[t.colour]),)) for t in things]


def fits(scene: Scene) -> bool:
    """Has the object the colour of its shape?"""
    return PARTNER[scene.things[0].shape] == scene.things[0].colour


@functools.cache
def parent(share: float, seed: int, quick: bool) -> Classifier:
    """Learned in a world with this habit."""
    torch.manual_seed(seed)
    model = Classifier("batch norm")
    data = shown(world(1000, 400 + seed, share), 400 + seed)
    steps = 5 if quick else 200
    learn(model, data, 3e-3, steps, seed, batch=32, rates={"head": 5.0})
    return model


def pictures(run: Run) -> tuple[Tensor, Tensor]:
    """What an arm learns from."""
    balanced = world(run["labels"], 500 + run.seed, 0)
    typical = world(TYPICAL, 700 + run.seed, HABIT)
    if run.arm == ALL_COLOURS:
        parts = [shown(recoloured(balanced, by), 500 + run.seed) for by in range(6)]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))
    if run.arm == EVENED:
        apart = [scene for scene in typical if not fits(scene)]
        often = (len(typical) - len(apart)) // max(len(apart), 1)
        return shown([*typical, *apart * (often - 1)], 700 + run.seed)
    if run.arm == WORLD:
        return shown(typical, 700 + run.seed)
    return shown(balanced, 500 + run.seed)


@functools.cache
def held() -> tuple[Tensor, Tensor]:
    """Balanced validation pictures."""
    return shown(world(300, 9, 0), 9)


def train(run: Run) -> Trained:
    """Fine-tune a parent, from the probe that fits the labels."""
    share = 0.0 if run.arm == CONTROL else HABIT
    model, data = copy.deepcopy(parent(share, run.seed, run.quick)), pictures(run)
    with torch.no_grad():
        x = model.encoder.eval()(data[0]).pooled()
    decay = run.setting.get("decay", 0.01)
    fits = [fitted(model, x, data[1], decay, n, held()) for n in PROBE_STEPS]
    curve = [(0, accuracy(model, held()))]
    if run.arm == LAST:
        curve = list(zip(PROBE_STEPS, fits, strict=True))
    if run.arm != LAST:
        steps = CHECKS if run.quick else run["steps"]
        shell = _Looks(
            model, steps, lambda n: curve.append((n, accuracy(model, held())))
        )
        learn(shell, data, run["rate"], steps, run.seed)
        curve = [point for point in curve if point[0] < steps]
        curve.append((steps, accuracy(model, held())))
    return Trained(curve, curve[-1][1], dict(model.state_dict()))


def test_data() -> tuple:
    """Balanced pictures, which of them fit, and their twins in two other colours."""
    scenes = world(600, 8, 0)
    looks = [shown(recoloured(scenes, by), 8) for by in (0, 1, 3)]
    return looks, torch.tensor([fits(scene) for scene in scenes])


@torch.no_grad()
def test(run: Run, state: dict[str, Tensor], data: tuple) -> dict:
    """Accuracy by group, and flips, per cent; of the parent, too."""
    found, (looks, fit) = {}, data
    models = {"": Classifier("batch norm")}
    models[""].load_state_dict(state)
    if run.arm in (BIASED, CONTROL):
        share = 0.0 if run.arm == CONTROL else HABIT
        models["parent, "] = parent(share, run.seed, run.quick)
    for name, model in models.items():
        said = [model.eval()(images).logits.argmax(1) for images, _ in looks]
        right = (said[0] == looks[0][1]).float()
        flips = torch.stack([(other != said[0]).float() for other in said[1:]])
        found |= {
            f"{name}accuracy": 100 * right.mean().item(),
            f"{name}fits": 100 * right[fit].mean().item(),
            f"{name}others": 100 * right[~fit].mean().item(),
            f"{name}flips": 100 * flips.mean().item(),
        }
    return found


RATES = [{"rate": r} for r in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)]
ARMS = {arm: RATES for arm in (CONTROL, BIASED, ALL_COLOURS, WORLD, EVENED)}
ARMS[LAST] = [{"decay": d} for d in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)]
LONG = "three times the steps"
DESIGN = Design(
    question="Does a bias of pre-training outlive fine-tuning, and what reduces it?",
    tries=ARMS,
    conditions=[
        Condition(FEW, {"labels": 60, "steps": STEPS}),
        Condition(
            f"{FEW}, {LONG}",
            {"labels": 60, "steps": 3 * STEPS},
            [CONTROL, BIASED, ALL_COLOURS, WORLD, EVENED],
            like=FEW,
            asks=LONG,
        ),
        Condition(
            MANY,
            {"labels": 300, "steps": STEPS},
            [CONTROL, BIASED, ALL_COLOURS, LAST],
            like=FEW,
            asks="five times as many balanced labels",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="accuracy",
    seeds=(0, 1, 2, 3, 4),
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
