"""How far does pre-training carry, and does a distance of the data foretell it?

The task is to name six shapes on noisy cut-outs, with 100 labels. The package's image
encoder was pre-trained on pictures like them. The conditions change the pictures: 30 % of
the pixels in other places (the same in all pictures), all of them, inverted colours, each
picture turned by an angle of its own; and not at all.

The arms: training from scratch; a linear probe on the frozen encoder; fine-tuning from that
probe. Both pre-trained arms take the statistics of batch norm anew from the 100 pictures.

What is equal: the pictures of a seed, steps and batches, six settings for each arm in each
condition (rates, or decays of the probe), and 300 validation pictures that choose. What could
reverse the answer, and is tried: three times the steps.
"""

from __future__ import annotations

import functools
import math

import torch
from forgetting import CHECKS, Classifier, _Looks, accuracy, labelled, learn
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder
from mmbook.training import linear_probe, reestimate_batch_norm
from mmbook.world import SHAPES

SCRATCH, PROBE, TUNED = "from scratch", "linear probe", "fine-tuned"
STEPS, LABELS, PROBE_STEPS = 150, 100, (5, 15, 30, 60)


def moved(share: float):
    """This share of the pixels changes places, in all pictures alike."""
    order, dice = torch.arange(576), torch.Generator().manual_seed(6)
    some = torch.randperm(576, generator=dice)[: int(share * 576)]
    order[some] = some.roll(1)
    return lambda images: images.flatten(2)[..., order].view_as(images)


def turned(images: Tensor) -> Tensor:
    """Each picture by an angle of its own."""
    dice = torch.Generator().manual_seed(3)
    a = 2 * math.pi * torch.rand(len(images), generator=dice)
    rows = [
        torch.stack([a.cos(), -a.sin(), 0 * a], 1),
        torch.stack([a.sin(), a.cos(), 0 * a], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


SHIFTS = {
    "none": lambda images: images,
    "30 % moved": moved(0.3),
    "all moved": moved(1.0),
    "inverted": lambda images: 1 - images,
    "turned": turned,
}


@functools.cache
def changed(shift: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Labelled pictures after a shift."""
    images, labels = labelled(count, seed)
    return SHIFTS[shift](images), labels


def fitted(model, x: Tensor, labels: Tensor, decay: float, steps: int, held) -> float:
    """Gives the head a probe on vectors (n, D), and says how good it is on ``held``."""
    layer = linear_probe(x, labels, len(SHAPES), decay=decay, steps=steps)
    model.head.layers[-1].load_state_dict(layer.state_dict())
    return accuracy(model, held)


def train(run: Run) -> Trained:
    """One start."""
    data = changed(run["shift"], LABELS, 200 + run.seed)
    held = changed(run["shift"], 300, 1)
    torch.manual_seed(run.seed)
    model = Classifier("batch norm")
    if run.arm == SCRATCH:
        model.encoder = ConvImageEncoder(96, size=24)
    else:
        reestimate_batch_norm(model.encoder, [data[0]])
        with torch.no_grad():
            x = model.encoder.eval()(data[0]).pooled()
        decay = run.setting.get("decay", 0.01)
        fits = [fitted(model, x, data[1], decay, n, held) for n in PROBE_STEPS]
    curve = [(0, accuracy(model, held))]
    if run.arm == PROBE:
        curve = list(zip(PROBE_STEPS, fits, strict=True))
    if run.arm != PROBE:
        steps = CHECKS if run.quick else run["steps"]
        shell = _Looks(model, steps, lambda n: curve.append((n, accuracy(model, held))))
        learn(shell, data, run["rate"], steps, run.seed)
        curve = [point for point in curve if point[0] < steps]
        curve.append((steps, accuracy(model, held)))
    return Trained(curve, curve[-1][1], dict(model.state_dict()))


def test_data() -> dict:
    """500 new pictures for each shift."""
    return {name: changed(name, 500, 31) for name in SHIFTS}


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Per cent right."""
    model = Classifier("batch norm")
    model.load_state_dict(state)
    return {"accuracy": accuracy(model, data[run["shift"]])}


LONG = "three times the steps"
DESIGN = Design(
    question="How far does pre-training carry, and does a distance foretell it?",
    tries={
        SCRATCH: [{"rate": r} for r in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)],
        PROBE: [{"decay": d} for d in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)],
        TUNED: [{"rate": r} for r in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)],
    },
    conditions=[
        case
        for name in SHIFTS
        for case in (
            Condition(name, {"shift": name, "steps": STEPS}),
            Condition(
                f"{name}, {LONG}",
                {"shift": name, "steps": 3 * STEPS},
                [SCRATCH, TUNED],
                like=name,
                asks=LONG,
            ),
        )
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
