"""What do small batches cost InfoNCE: its direction, its bound, or what a model finds?

Two worlds. In "Gaussians", x and y have four numbers each, correlated number by number
(0.8), so they share 2.04 nats and the best critic, log r = log p(y | x) / p(y), is known.
Three critics are trained from pictures of nothing else: one parameter, ``w x·y``, which
can't represent log r; two parameters, ``w x·y - c |y|²/2``, which can, up to what is the
same for a whole row; and two small networks whose scalar product is the score. The loss
asks in rows only. In "scenes", pictures of two objects (the package's frozen encoder)
and their sentences get a matrix each, as in a dual encoder of which only the last layer
is trained, with InfoNCE, with the sigmoid loss, or with InfoNCE at a fixed temperature.

What is equal: a step sees 512 pairs, whatever the batch. With B = 8 they are cut into 64
batches that know nothing of each other, and the gradients are averaged. So arms and
conditions differ in the number of negatives of a row alone, and not in examples or steps.
Each arm has three learning rates; 4,096 other pairs (Gaussians) or 500 other scenes choose.

What could reverse the answer, and is tried: three times the steps.

Tested are, for Gaussians, log B - loss with batches of 512 and of the size of training,
on 32,768 new pairs, in nats and in per cent of the information; for scenes, recall
among 1,000 scenes with different sentences, alignment and uniformity.
"""

from __future__ import annotations

import functools
import math

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder
from mmbook.metrics import retrieval
from mmbook.world import describe, render, sample_scenes, scene_tokenizer

ONE, TWO, NETS = "one parameter", "two parameters", "two encoders"
INFONCE, SIGMOID = "InfoNCE", "sigmoid"
FIXED = {f"InfoNCE, τ = {tau}": tau for tau in (0.3, 0.1, 0.03)}
RHO, D, WIDE, EACH, VALIDATIONS = 0.8, 4, 512, 64, 8
INFORMATION = -D / 2 * math.log(1 - RHO**2)
PLACES, TOKENIZER = 10, scene_tokenizer()


def gaussians(count: int, made: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pairs (n, 4) and (n, 4) with the correlation RHO in each place."""
    x, noise = (torch.randn(count, D, generator=made) for _ in range(2))
    return x, RHO * x + (1 - RHO**2) ** 0.5 * noise


@functools.cache
def image_encoder() -> ConvImageEncoder:
    """The package's encoder of scenes."""
    return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()


@torch.no_grad()
def scenes(count: int, seed: int, different: bool) -> tuple[Tensor, Tensor]:
    """Pictures as 3 x 3 fields of the encoder, sentences as words at places."""
    drawn = sample_scenes(2 * count if different else count, seed, objects=(2,))
    if different:
        drawn = list({describe(scene): scene for scene in drawn}.values())[:count]
    pixels = render(drawn, seed=seed)
    seen = torch.cat([image_encoder()(part).values for part in pixels.split(256)])
    fields = seen.unflatten(1, (3, 2, 3, 2)).mean((2, 4)).flatten(1)
    ids = TOKENIZER(
        [describe(scene) for scene in drawn],
        padding="max_length",
        max_length=PLACES,
        return_tensors="pt",
    )["input_ids"]
    return fields, F.one_hot(ids, len(TOKENIZER)).float().flatten(1)


@functools.cache
def training_scenes() -> tuple:
    """6,144 scenes to learn from, 500 to choose with; the scale of the features."""
    learn, held = scenes(6144, 1, False), scenes(500, 2, True)
    centre, spread = learn[0].mean(0), learn[0].std(0) + 1e-3
    made = torch.random.get_rng_state()
    torch.manual_seed(0)
    _, lengths, axes = torch.pca_lowrank((learn[0] - centre) / spread, 160)
    torch.random.set_rng_state(made)
    axes = axes / (lengths / lengths.mean()).sqrt() / 2

    def reduced(data):
        return ((data[0] - centre) / spread @ axes, data[1])

    return reduced(learn), reduced(held), reduced


class Simple(nn.Module):
    """w x·y - c |y|²/2, with c or without: ``parts`` tables (parts, B, B)."""

    def __init__(self, arm: str):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.1))
        self.c = nn.Parameter(torch.tensor(0.0), requires_grad=arm == TWO)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        square = y.square().sum(-1)[..., None, :] / 2
        return self.w * x @ y.mT - self.c * square


class Encoders(nn.Module):
    """Two networks; their scalar product is the score."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (
            nn.Sequential(nn.Linear(D, 64), nn.GELU(), nn.Linear(64, 16))
            for _ in range(2)
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.first(x) @ self.second(y).mT


class Matrices(nn.Module):
    """A matrix for each modality, a temperature, a bias."""

    def __init__(self, arm: str, size: int):
        super().__init__()
        self.first, self.second = (
            nn.Linear(width, EACH, bias=False)
            for width in (160, PLACES * len(TOKENIZER))
        )
        scale = 1 / FIXED.get(arm, 0.1)
        self.log_scale = nn.Parameter(
            torch.tensor(math.log(scale)), requires_grad=arm not in FIXED
        )
        start = -math.log(size - 1) if arm == SIGMOID else 0.0
        self.bias = nn.Parameter(torch.tensor(start), requires_grad=arm == SIGMOID)

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Both, of length one."""
        return F.normalize(self.first(x), dim=-1), F.normalize(self.second(y), dim=-1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = self.embed(x, y)
        return self.log_scale.exp() * a @ b.mT + self.bias


def loss_of(arm: str, s: Tensor) -> Tensor:
    """Of tables of scores (parts, B, B): rows for Gaussians, both ways for scenes."""
    if arm in (ONE, TWO, NETS):
        return -s.log_softmax(-1).diagonal(dim1=-2, dim2=-1).mean()
    if arm == SIGMOID:
        sign = 2 * torch.eye(s.shape[-1]) - 1
        return F.softplus(-sign * s).sum((-2, -1)).mean() / s.shape[-1]
    both = s.log_softmax(-1) + s.log_softmax(-2)
    return -both.diagonal(dim1=-2, dim2=-1).mean() / 2


def model_of(run: Run) -> nn.Module:
    """Before training."""
    if run["world"] == "scenes":
        return Matrices(run.arm, run["batch"])
    return Encoders() if run.arm == NETS else Simple(run.arm)


@torch.no_grad()
def bound(model: nn.Module, x: Tensor, y: Tensor, size: int) -> float:
    """log B - loss in nats, with batches of that size."""
    losses = [
        loss_of(NETS, model(a, b)[None]).item()
        for a, b in zip(x.split(size), y.split(size), strict=True)
    ]
    return math.log(size) - sum(losses) / len(losses)


@torch.no_grad()
def recall(model: Matrices, x: Tensor, y: Tensor) -> float:
    """R@1, the mean of both directions, in per cent."""
    a, b = model.embed(x, y)
    s = a @ b.T
    return 50 * (retrieval(s)["R@1"] + retrieval(s.T)["R@1"])


@functools.cache
def held_gaussians() -> tuple[Tensor, Tensor]:
    """4,096 pairs that choose."""
    return gaussians(8 * WIDE, torch.Generator().manual_seed(10_001))


def validated(run: Run, model: nn.Module) -> float:
    """Per cent: R@1, or the bound of the information."""
    if run["world"] == "scenes":
        return recall(model, *training_scenes()[1])
    return 100 * bound(model, *held_gaussians(), WIDE) / INFORMATION


def drawn(run: Run, steps: int):
    """Pairs of each step, 512: new ones, or rows of the scenes in a random order."""
    made = torch.Generator().manual_seed(run.seed)
    if run["world"] == "Gaussians":
        for _ in range(steps):
            yield gaussians(WIDE, made)
        return
    x, y = training_scenes()[0]
    order: list[Tensor] = []
    for _ in range(steps):
        if not order:
            order = list(torch.randperm(len(x), generator=made).split(WIDE))
        rows = order.pop()
        yield x[rows], y[rows]


def train(run: Run) -> Trained:
    """Adam; the rate rises for a tenth of the steps, then falls to zero."""
    model, size = model_of(run), run["batch"]
    steps = 20 if run.quick else run["steps"]
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, run["rate"], (0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["rate"], steps, pct_start=0.1, cycle_momentum=False
    )
    curve = [(0, validated(run, model))]
    for step, pairs in enumerate(drawn(run, steps), 1):
        x, y = (side.unflatten(0, (-1, size)) for side in pairs)
        optimizer.zero_grad()
        loss_of(run.arm, model(x, y)).backward()
        optimizer.step()
        schedule.step()
        if step % (steps // VALIDATIONS) == 0:
            curve.append((step, validated(run, model)))
    good = math.isfinite(curve[-1][1])
    return Trained(curve, curve[-1][1] if good else None, model.state_dict())


def test_data() -> dict:
    """32,768 Gaussian pairs; 1,000 scenes with different sentences."""
    made = torch.Generator().manual_seed(10_002)
    return {
        "Gaussians": gaussians(64 * WIDE, made),
        "scenes": training_scenes()[2](scenes(1000, 3, True)),
    }


@torch.no_grad()
def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """What came out, on new pairs."""
    model = model_of(run)
    model.load_state_dict(state)
    x, y = data[run["world"]]
    if run["world"] == "scenes":
        a, b = model.embed(x, y)
        apart = torch.pdist(b).square().mul(-2).exp().mean().log()
        return {
            "score": recall(model, x, y),
            "alignment": (a - b).square().sum(1).mean().item(),
            "uniformity": apart.item(),
            "temperature": (-model.log_scale).exp().item(),
            "bias": model.bias.item(),
        }
    wide = bound(model, x, y, WIDE)
    result = {
        "score": 100 * wide / INFORMATION,
        "bound at 512": wide,
        "bound at B": bound(model, x, y, run["batch"]),
    }
    if run.arm != NETS:
        result |= {"w": model.w.item(), "c": model.c.item()}
    return result


GAUSSIANS = {"world": "Gaussians", "steps": 300}
SCENES = {"world": "scenes", "steps": 240}
SLOW, FAST, SIMPLE = (
    [{"rate": rate} for rate in rates]
    for rates in ((3e-3, 1e-2, 3e-2), (1e-2, 3e-2, 1e-1), (3e-2, 1e-1, 3e-1))
)
CRITICS, LOSSES = (ONE, TWO, NETS), (INFONCE, SIGMOID)


def longer(name: str, values: dict, arms: tuple[str, ...]) -> Condition:
    """The same with three times the steps."""
    values = values | {"steps": 3 * values["steps"]}
    asks = "three times the steps"
    return Condition(f"{name}, longer", values, arms, like=name, asks=asks)


DESIGN = Design(
    question="What do small batches cost InfoNCE?",
    tries={
        ONE: SIMPLE,
        TWO: SIMPLE,
        NETS: SLOW,
        INFONCE: SLOW,
        SIGMOID: FAST,
        **dict.fromkeys(FIXED, SLOW),
    },
    conditions=[
        Condition("Gaussians, B = 2", GAUSSIANS | {"batch": 2}, CRITICS),
        Condition("Gaussians, B = 8", GAUSSIANS | {"batch": 8}, CRITICS),
        Condition("Gaussians, B = 512", GAUSSIANS | {"batch": 512}, CRITICS),
        Condition("scenes, B = 8", SCENES | {"batch": 8}, LOSSES),
        Condition("scenes, B = 512", SCENES | {"batch": 512}, (*LOSSES, *FIXED)),
        longer("Gaussians, B = 2", GAUSSIANS | {"batch": 2}, CRITICS),
        longer("scenes, B = 8", SCENES | {"batch": 8}, LOSSES),
        longer("scenes, B = 512", SCENES | {"batch": 512}, LOSSES),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="score",
    tolerance=0.5,
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
