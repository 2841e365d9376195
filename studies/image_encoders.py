"""How much data do a convolutional network and a vision transformer need, and where?

Both are trained from random weights on one task: a red and a blue object lie side by
side, or one above the other, and the class says where the red one is (four classes). The
places are multiples of a patch, so that every patch cuts the pair in the same way. Two
questions are asked.

*Data.* 20, 200 or 2,000 labelled pictures with the pair at any place.

*Places.* 1,000 pictures with the pair in the left half only. Tested in the left half and
in the right half, which no training picture and no validation picture used. A third arm
trains the same transformer on the same pictures, each shifted to the right by 0, 8 or 16
pixels in each step; the label stays true.

What is equal: the pictures of a seed, the batches, the number of steps, the head (the
mean of all tokens and a linear layer), the search over four rates. What could reverse
the answer, and is tried with 200 and 2,000 pictures and in the halves: three times the
steps.
"""

from __future__ import annotations

import random
from functools import cache

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder, PatchImageEncoder
from mmbook.heads import ClassificationHead
from mmbook.world import SHAPES, Scene, Thing, render

CNN, VIT, SHIFTED = "CNN", "ViT", "ViT, shifted pictures"
CENTRES = [(0.25, 0.5), (0.75, 0.5), (0.5, 0.25), (0.5, 0.75)]  # of the red object
EVERYWHERE, LEFT, RIGHT = (0, 8, 16), (0,), (16,)  # columns where a pair may begin
BATCH, VALIDATED, TESTED, POINTS = 32, 300, 1000, 16
STEPS, LONGER = 400, 1200


# ------------------------------------------------------------------------ the pictures


@cache
def pairs(count: int, seed: str, columns=EVERYWHERE) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 32, 32) of a pair, and where the red object is (n,)."""
    rng = random.Random(seed)
    noise = torch.Generator().manual_seed(rng.randrange(2**31))
    labels = [rng.randrange(4) for _ in range(count)]
    scenes = []
    for x, y in (CENTRES[label] for label in labels):
        one, two = rng.choice(SHAPES), rng.choice(SHAPES)
        red = Thing(one, "red", "big", x, y)
        scenes.append(Scene((red, Thing(two, "blue", "big", 1 - x, 1 - y))))
    images = torch.full((count, 3, 32, 32), 0.93)
    for image, pair in zip(images, render(scenes, 16, noise=0), strict=True):
        left, top = rng.choice(columns), rng.choice(EVERYWHERE)
        image[:, top : top + 16, left : left + 16] = pair
    images += 0.02 * torch.randn(count, 1, 32, 32, generator=noise)
    return images.clamp(0, 1), torch.tensor(labels)


def shifted(images: Tensor, dice: torch.Generator) -> Tensor:
    """Each picture, moved to the right by 0, 8 or 16 pixels."""
    moves = 8 * torch.randint(3, (len(images),), generator=dice)
    pairs_of = zip(images, moves.tolist(), strict=True)
    return torch.stack([torch.roll(image, move, -1) for image, move in pairs_of])


# -------------------------------------------------------------------------- the models


class Classifier(nn.Module):
    """An encoder, the mean of its tokens, a linear layer."""

    def __init__(self, arm: str):
        super().__init__()
        if arm == CNN:
            self.encoder = ConvImageEncoder(48, 32, channels=(8, 16))
        else:
            self.encoder = PatchImageEncoder(48, 2, 4, size=32, hidden=96)
        self.head = ClassificationHead(48, 4)

    def forward(self, image: Tensor, labels: Tensor | None = None):
        return self.head(self.encoder(image), labels)


@torch.no_grad()
def answers(model: nn.Module, images: Tensor) -> Tensor:
    """The class that a model names for each picture, (n,)."""
    model.eval()
    return torch.cat([model(some)[0].argmax(-1) for some in images.split(250)])


def per_cent(said: Tensor, true: Tensor) -> float:
    return 100 * (said == true).float().mean().item()


def train(run: Run) -> Trained:
    """One training of an arm, with its curve on validation pictures."""
    steps = 48 if run.quick else run["steps"]
    columns = LEFT if run["left"] else EVERYWHERE
    images, labels = pairs(run["pictures"], f"training {run.seed}", columns)
    held, truth = pairs(VALIDATED, f"validation {run.seed}", columns)
    model, dice = Classifier(run.arm), torch.Generator().manual_seed(run.seed)
    optimizer = torch.optim.AdamW(model.parameters(), run["rate"], fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["rate"], steps, pct_start=0.2
    )
    curve = []
    for step in range(1, steps + 1):
        at = torch.randint(len(images), (BATCH,), generator=dice)
        x = shifted(images[at], dice) if run.arm == SHIFTED else images[at]
        loss = model.train()(x, labels[at])[1]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % (steps // POINTS) == 0:
            curve.append((step, per_cent(answers(model, held), truth)))
    score = curve[-1][1] if loss.isfinite() else None
    return Trained(curve, score, model.state_dict())


# ---------------------------------------------------------------------------- the test


def test_data() -> dict[str, tuple[Tensor, Tensor]]:
    halves = {"everywhere": EVERYWHERE, "left half": LEFT, "right half": RIGHT}
    return {name: pairs(TESTED, f"test {name}", at) for name, at in halves.items()}


def test(run: Run, state: dict[str, Tensor], data) -> dict:
    """Accuracy; for the halves also what is right of an answer in the right half."""
    model = Classifier(run.arm)
    model.load_state_dict(state)
    said = {name: answers(model, images) for name, (images, _) in data.items()}
    found = {name: per_cent(said[name], data[name][1]) for name in said}
    if not run["left"]:
        likeness = neighbours(model.encoder.position) if run.arm == VIT else {}
        return {"accuracy": found["everywhere"], **likeness}
    mine, true = said["right half"], data["right half"][1]
    axis = mine // 2 == true // 2  # beside or above is right
    return {
        "accuracy": found["left half"],
        "right half": found["right half"],
        "axis": 100 * axis.float().mean().item(),
        "side, given the axis": per_cent(mine[axis], true[axis]),
    }


def neighbours(position: Tensor) -> dict:
    """Cosines of the position vectors of 4 × 4 patches: near ones, far ones, all."""
    vectors = F.normalize(position[1:], dim=-1)  # without [CLS]
    cosines = vectors @ vectors.T
    at = torch.cartesian_prod(torch.arange(4), torch.arange(4)).float()
    distance = torch.cdist(at, at, p=1)
    return {
        "next to each other": cosines[distance == 1].mean().item(),
        "further apart": cosines[distance > 1].mean().item(),
        "cosines": [[round(v, 2) for v in row] for row in cosines.tolist()],
    }


# -------------------------------------------------------------------------- the design


def conditions() -> list[Condition]:
    """Each condition, and after most of them the same with three times the steps."""
    found = []
    cases = [(f"{n:,} pictures", n, False) for n in (200, 2000, 20)]
    for name, count, left in [("left half", 1000, True), *cases]:
        values = {"pictures": count, "left": left}
        arms = (CNN, VIT, SHIFTED) if left else (CNN, VIT)
        found.append(Condition(name, {**values, "steps": STEPS}, arms))
        if count > 20:
            longer = {**values, "steps": LONGER}
            asks = "three times the steps"
            found.append(Condition(f"{name}, longer", longer, arms, name, asks))
    return found


RATES = [{"rate": rate} for rate in (5e-4, 1.5e-3, 5e-3, 1.5e-2)]
DESIGN = Design(
    question="How much data do a CNN and a ViT need, and does it carry over to places "
    "that were never shown?",
    tries={CNN: RATES, VIT: RATES, SHIFTED: RATES},
    conditions=conditions(),
    train=train,
    test_data=test_data,
    test=test,
    seeds=(0, 1, 2, 3, 4),
    tolerance=2.0,
)

if __name__ == "__main__":
    main(DESIGN, __file__)
