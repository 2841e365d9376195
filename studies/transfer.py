"""What does pre-training bring to 300 labels, and which way to fine-tune keeps most of it?

Two questions about pictures of one object: *which* of 48 pairs of colour and shape is it,
and *where* is its centre (right is an answer within two pixels of 48). The head is the
same in all arms: it chooses a field of the encoder's grid by attention and reads the
answer there.

Compared: a head on the frozen pre-trained encoder; fine-tuning of everything; fine-tuning
with a pull towards the start (L2-SP); the head first, then everything (LP-FT); from
scratch; pre-trained weights shuffled within each tensor, which keeps their scale and
nothing else; and a head on a frozen random encoder, whose batch norm was calibrated on
the training pictures. All else is equal: the pictures, their order, the steps, the number
of tries. What could reverse the answer, and is tried: four times the steps, and ten times
fewer labels.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn

from mmbook.data import Collate
from mmbook.encoders import ConvImageEncoder, PrecomputedTokens
from mmbook.losses import cross_entropy
from mmbook.models import MultimodalModel, Output, eval_mode
from mmbook.saving import Configured, build
from mmbook.training import TrainingConfig, fit, reestimate_batch_norm
from mmbook.world import COLOURS, SHAPES, render, sample_scenes

FOLDER = "mmbook/weights/scene-image-encoder"
FROZEN, TUNED, L2SP, LPFT = "frozen", "fine-tuned", "L2-SP", "LP-FT"
SCRATCH, SHUFFLED, RANDOM = "from scratch", "shuffled", "frozen random"
PAIRS = list(product(COLOURS, SHAPES))
VALIDATED, TESTED, BATCH, POINTS, NEAR = 300, 1000, 24, 8, 2 / 48


class Look(Configured):
    """Which field? Then a linear layer reads the answer there."""

    def __init__(self, outputs: int, width: int = 96, side: int = 6):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)
        self.say = nn.Linear(width + 2, outputs)
        c = (torch.arange(side) + 0.5) / side
        grid = torch.stack([c.repeat(side), c.repeat_interleave(side)], 1)
        self.register_buffer("grid", grid, persistent=False)

    def forward(self, tokens, labels=None, items=None):
        v = self.norm(tokens["image"].values)  # (B, N, D)
        a = self.score(v).softmax(1)  # (B, N, 1)
        v = torch.cat([v, self.grid.expand(len(v), -1, -1)], -1)
        said = self.say((a * v).sum(1))  # (B, outputs)
        if labels is None:
            return said, None
        if labels.is_floating_point():
            return said, nn.functional.mse_loss(said, labels)
        return said, cross_entropy(said, labels)


class Pulled(nn.Module):
    """A model whose encoder is pulled towards its start: L2-SP (Li et al. 2018)."""

    def __init__(self, model: MultimodalModel, strength: float):
        super().__init__()
        self.model, self.strength = model, strength
        encoder = model.encoders["image"]
        self.start = [p.detach().clone() for p in encoder.parameters()]

    def forward(self, **batch) -> Output:
        output = self.model(**batch)
        if output.loss is None:
            return output
        now = self.model.encoders["image"].parameters()
        far = sum((p - q).square().sum() for p, q in zip(now, self.start, strict=True))
        loss = output.loss + self.strength / 2 * far
        return Output(loss=loss, logits=output.logits)


# --------------------------------------------------------------------------- the data


@cache
def pictures(count: int, seed: int, task: str) -> list[dict]:
    """Items with a picture and an answer."""
    scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
    things = [scene.things[0] for scene in scenes]
    if task == "which":
        labels = [PAIRS.index((t.colour, t.shape)) for t in things]
    else:
        labels = [[t.x, t.y] for t in things]
    images = render(scenes, seed=seed)
    return [{"image": x, "label": y} for x, y in zip(images, labels, strict=True)]


@torch.no_grad()
def kept(encoder: nn.Module, items: list[dict]) -> list[dict]:
    """The same items with the tokens of a frozen encoder in place of the pictures."""
    with eval_mode(encoder):
        images = torch.stack([item["image"] for item in items])
        seen = torch.cat([encoder(x).values for x in images.split(250)])
    return [item | {"image": v} for item, v in zip(items, seen, strict=True)]


# -------------------------------------------------------------------------- the models


def encoder_of(arm: str, items: list[dict]) -> ConvImageEncoder:
    """The encoder from which an arm starts."""
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
    if arm in (SCRATCH, RANDOM):
        encoder = build(encoder.to_config())
    if arm == SHUFFLED:
        with torch.no_grad():
            for tensor in encoder.state_dict().values():
                mixed = tensor.flatten()[torch.randperm(tensor.numel())]
                tensor.copy_(mixed.view_as(tensor))
    if arm == RANDOM:
        images = torch.stack([item["image"] for item in items])
        reestimate_batch_norm(encoder, images.split(100))
    return encoder


def with_head(encoder: nn.Module, task: str) -> MultimodalModel:
    outputs = len(PAIRS) if task == "which" else 2
    return MultimodalModel({"image": encoder}, None, Look(outputs))


def right(model: nn.Module, items: list[dict]) -> float:
    """The share of right answers, in per cent."""
    batch = Collate()(items)
    with torch.no_grad(), eval_mode(model):
        said = torch.cat([model(image=x).logits for x in batch["image"].split(250)])
    if batch["labels"].is_floating_point():
        found = (said - batch["labels"]).norm(dim=1) < NEAR
    else:
        found = said.argmax(-1) == batch["labels"]
    return 100 * found.float().mean().item()


# ------------------------------------------------------------------------ the training


def train(run: Run) -> Trained:
    """The curve is the share of right answers on validation pictures."""
    task = run["task"]
    items = pictures(run["labels"], 100 * run.seed + 1, task)
    held = pictures(VALIDATED, 100 * run.seed + 2, task)
    steps = 8 if run.quick else run["steps"]
    torch.manual_seed(run.seed)
    encoder = encoder_of(run.arm, items)
    if run.arm in (FROZEN, RANDOM):
        model = with_head(PrecomputedTokens(encoder.width), task)
        known, seen = kept(encoder, items), kept(encoder, held)
        curve = trained(model, known, seen, steps, run)
        state = {f"head.{k}": v for k, v in model.head.state_dict().items()}
        state |= {f"encoders.image.{k}": v for k, v in encoder.state_dict().items()}
        return Trained(curve, max(value for _, value in curve), state)
    model = with_head(encoder, task)
    if run.arm == LPFT:
        first = with_head(PrecomputedTokens(encoder.width), task)
        trained(first, kept(encoder, items), kept(encoder, held), steps, run, rate=1e-2)
        model.head.load_state_dict(first.head.state_dict())
    pulled = Pulled(model, run["pull"]) if run.arm == L2SP else model
    curve = trained(pulled, items, held, steps, run)
    return Trained(curve, max(value for _, value in curve), model.state_dict())


def trained(model, items, held, steps: int, run: Run, rate: float | None = None):
    """Train, keep the best, and give the curve."""
    inside = "model." if isinstance(model, Pulled) else ""
    config = TrainingConfig(
        steps=steps,
        batch_size=min(BATCH, len(items)),
        learning_rate=rate or run["rate"],
        rates={} if rate else {f"{inside}head.": run.setting.get("head", 1.0)},
        validate_every=max(1, steps // POINTS),
        patience=steps,  # never stops
        metric="right",
        maximise=True,
        progress=False,
        seed=run.seed,
        precision="no",
        compile=False,
    )
    history = fit(
        model, items, config, Collate(), lambda now: {"right": right(now, held)}
    )
    return [(row["step"], row["right"]) for row in history.validations]


def test_data() -> dict[str, list[dict]]:
    return {task: pictures(TESTED, 9_999, task) for task in ("which", "where")}


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Right answers on new pictures, and how far the encoder is from its start."""
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
    model = with_head(encoder, run["task"])
    start = [p.detach().clone() for p in encoder.parameters()]
    model.load_state_dict(state)
    now = list(model.encoders["image"].parameters())
    far = sum((a - b).square().sum() for a, b in zip(now, start, strict=True))
    whole = sum(b.square().sum() for b in start)
    return {
        "right": right(model, data[run["task"]]),
        "distance": (far / whole).sqrt().item(),
    }


HEADS = [{"rate": rate} for rate in (3e-3, 1e-2, 3e-2, 1e-1)]
ALL = [
    {"rate": 1e-3, "head": 10.0},
    {"rate": 3e-3, "head": 1.0},
    {"rate": 3e-3, "head": 10.0},
    {"rate": 1e-2, "head": 1.0},
]
DESIGN = Design(
    question="What does pre-training bring, and which way to fine-tune keeps it?",
    tries={
        FROZEN: HEADS,
        TUNED: ALL,
        L2SP: [
            {**each, "pull": pull}
            for each, pull in zip(ALL, (0.01, 0.1, 0.1, 0.01), strict=True)
        ],
        LPFT: [{"rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3)],
        SCRATCH: ALL,
        SHUFFLED: ALL,
        RANDOM: HEADS,
    },
    conditions=[
        Condition("which, 300 labels", {"task": "which", "labels": 300, "steps": 120}),
        Condition(
            "which, four times the steps",
            {"task": "which", "labels": 300, "steps": 480},
            like="which, 300 labels",
            asks="four times the steps",
        ),
        Condition("which, 48 labels", {"task": "which", "labels": 48, "steps": 120}),
        Condition("where, 300 labels", {"task": "where", "labels": 300, "steps": 120}),
        Condition(
            "where, four times the steps",
            {"task": "where", "labels": 300, "steps": 480},
            like="where, 300 labels",
            asks="four times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="right",
    rests_on=[f"{FOLDER}/model.safetensors", f"{FOLDER}/config.json"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
