"""Which choices of a fine-tuning matter? Head or everything, batch, rate, and the rest.

Pictures of two objects side by side; the question is which of six shapes is further left.
All models start from the book's image encoder, which never saw this question.

*What is trained.* The head alone, everything at once, or the head first and then
everything, with 100 and with 1,000 labels: four rates for each, 300 steps of 16 pictures.
The head alone reads features that were computed once.

*Batches of 8, 32 and 128* at equal epochs, each with four rates of its own.

*AdamW and SGD*, four rates each. *Weight decay and dropout* with 200 labels: four
strengths, against four rates without either. *Four heads*: the mean of the tokens or nine
places, linear or with a hidden layer.

*When to stop.* The head with 100 labels at its last step, at its lowest validation loss
and at its highest validation accuracy.

*Again.* A head that is in use meets pictures that are darker by a fifth. With 100 new
labels it goes on from where it stands, with old examples or without, or starts anew. The
rate is chosen by the mean of the accuracies on old and on dark validation pictures.

What could reverse an answer, and is tried: three times the steps, or the epochs.
"""

from __future__ import annotations

import copy
from functools import cache, lru_cache

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder
from mmbook.world import SHAPES, render, sample_scenes

HEAD, ALL, THEN = "head only", "everything", "head first, then everything"
BATCHES = {"batches of 8": 8, "batches of 32": 32, "batches of 128": 128}
OPTIMISERS = {"AdamW": torch.optim.AdamW, "SGD": torch.optim.SGD}
PLAIN, DECAY, DROP = "neither", "weight decay", "dropout"
MEAN, MEAN_DEEP = "mean, linear", "mean, hidden layer"
PLACES, PLACES_DEEP = "places, linear", "places, hidden layer"
DEPLOYED, NEW, REPLAY, ANEW = "deployed", "new alone", "new and old", "from nothing"
LABELS, VALIDATED, TESTED, WIDE = 1000, 400, 2000, 64
POINTS, FEW_POINTS = 16, 8  # of a curve; looking costs a whole model more
STEPS, BATCH, RATE, DARK = 400, 16, 0.01, 0.97**8
VALIDATION, TEST, EVENING = 1, 2, 3  # which pictures of a seed; 0 is training


# ------------------------------------------------------------------------ the pictures


@lru_cache(maxsize=20)
def pictures(count: int, seed: int, part: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 48, 48) uint8 of two objects side by side, and the left shape."""
    number = 1000 + 10 * seed + part
    many = sample_scenes(3 * count + 30, number, (2,))
    beside = [s for s in many if s.relation() in ("left of", "right of")][:count]
    left = [min(s.things, key=lambda thing: thing.x).shape for s in beside]
    images = (render(beside, seed=number) * 255).round().byte()
    return images, torch.tensor([SHAPES.index(shape) for shape in left])


def encoder() -> ConvImageEncoder:
    return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()


@cache
def frozen() -> ConvImageEncoder:
    return encoder()


def places(values: Tensor) -> Tensor:
    """Tokens (B, 36, 96) → the mean of each third by third: (B, 9, 96)."""
    return F.adaptive_avg_pool2d(values.mT.unflatten(2, (6, 6)), 3).flatten(2).mT


@lru_cache(maxsize=20)
@torch.no_grad()
def kept(count: int, seed: int, part: int = 0, dark: bool = False) -> Tensor:
    """What the frozen encoder says, (n, 9, 96)."""
    images = pictures(count, seed, part)[0]
    images = (images * DARK).round() if dark else images
    return torch.cat([places(frozen()(x / 255).values) for x in images.split(250)])


# -------------------------------------------------------------------------- the models


class Head(nn.Module):
    """(B, 9, 96) → six logits: from the mean or from all places."""

    def __init__(self, mean: bool = False, deep: bool = True, dropout: float = 0.0):
        super().__init__()
        self.mean, wide = mean, 96 if mean else 9 * 96
        inner = [nn.Linear(wide, WIDE), nn.GELU()] if deep else []
        last = nn.Linear(WIDE if deep else wide, len(SHAPES))
        self.layers = nn.Sequential(*inner, nn.Dropout(dropout), last)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.mean(1) if self.mean else x.flatten(1))


class Whole(nn.Module):
    """The encoder and a head: pictures uint8 → logits."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = encoder(), Head()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(places(self.encoder(images / 255).values))


def model_of(run: Run) -> nn.Module:
    """What an arm trains."""
    if run.arm in (ALL, THEN):
        return Whole()
    deep = run.arm not in (MEAN, PLACES)
    return Head(run.arm in (MEAN, MEAN_DEEP), deep, run.setting.get("dropout", 0.0))


@torch.no_grad()
def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model(some) for some in x.split(250)])


def per_cent(logits: Tensor, truth: Tensor) -> float:
    return 100 * (logits.argmax(-1) == truth).float().mean().item()


# ------------------------------------------------------------------------ the training


def fitted(model, x, y, rate, steps, look, seed, size=BATCH, kind="AdamW", decay=0.0):
    """Train in place; yields (step, what ``look`` sees) at equal distances."""
    options = {"momentum": 0.9} if kind == "SGD" else {"fused": True}
    options["weight_decay"] = decay
    optimizer = OPTIMISERS[kind](model.parameters(), rate, **options)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, steps, pct_start=0.1, cycle_momentum=False
    )
    dice = torch.Generator().manual_seed(seed)
    points = min(FEW_POINTS if isinstance(model, Whole) else POINTS, steps)
    for step in range(1, steps + 1):
        at = torch.randint(len(x), (size,), generator=dice)
        loss = F.cross_entropy(model.train()(x[at]), y[at])
        if not loss.isfinite():
            raise FloatingPointError(f"diverged at step {step}")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step * points // steps > (step - 1) * points // steps:
            yield step, look(model)


def train(run: Run) -> Trained:
    """One training, with its curve of accuracy on validation pictures."""
    if run["kind"] == "again":
        return train_again(run)
    size = BATCHES.get(run.arm, BATCH)
    steps = run["examples"] // size
    steps = max(steps // 20, 8) if run.quick else steps
    count, whole = run["labels"], run.arm in (ALL, THEN)
    source = (lambda *of: pictures(*of)[0]) if whole else kept
    x, y = source(LABELS, run.seed)[:count], pictures(LABELS, run.seed)[1][:count]
    own = VALIDATED, run.seed, VALIDATION
    shown, truth = source(*own), pictures(*own)[1]
    torch.manual_seed(run.seed)
    model = model_of(run)
    if run.arm == THEN:
        first = kept(LABELS, run.seed)[:count]
        rows = fitted(model.head, first, y, RATE, steps, lambda _: 0, run.seed)
        all(step for step, _ in rows)
    states, best = {}, {}

    def look(model: nn.Module) -> float:
        logits = logits_of(model, shown)
        found = {
            "loss": -F.cross_entropy(logits, truth).item(),
            "accuracy": per_cent(logits, truth),
        }
        for name, value in found.items():
            if run.arm == HEAD and value > best.get(name, -float("inf")):
                best[name] = value
                states[name] = copy.deepcopy(model.state_dict())
        return found["accuracy"]

    curve = list(
        fitted(
            *(model, x, y, run["rate"], steps, look, run.seed, size),
            run.arm if run.arm in OPTIMISERS else "AdamW",
            run.setting.get("decay", 0.0),
        )
    )
    state = {"": model.state_dict()} | {f"{name}.": s for name, s in states.items()}
    flat = {start + key: v for start, s in state.items() for key, v in s.items()}
    return Trained(curve, curve[-1][1], flat)


@cache
def deployed(seed: int, steps: int) -> Head:
    """A head that was trained on 1,000 labels and is in use."""
    torch.manual_seed(seed)
    model, x, y = Head(), kept(LABELS, seed), pictures(LABELS, seed)[1]
    all(step for step, _ in fitted(model, x, y, RATE, steps, lambda _: 0, seed, 32))
    return model


def train_again(run: Run) -> Trained:
    """100 labels of dark pictures, with old examples or without."""
    steps = 20 if run.quick else run["examples"] // 32
    torch.manual_seed(run.seed)
    model = Head()
    if run.arm != ANEW:
        model.load_state_dict(deployed(run.seed, 20 if run.quick else 400).state_dict())
    if run.arm == DEPLOYED:
        return Trained([], 0.0, model.state_dict())
    x, y = kept(100, run.seed, EVENING, True), pictures(100, run.seed, EVENING)[1]
    if run.arm == REPLAY:  # half of each batch is old
        old = kept(LABELS, run.seed)[:500], pictures(LABELS, run.seed)[1][:500]
        x, y = torch.cat([x.repeat(5, 1, 1), old[0]]), torch.cat([y.repeat(5), old[1]])
    own = VALIDATED, run.seed, VALIDATION
    truth, sides = pictures(*own)[1], (kept(*own), kept(*own, True))

    def look(model: nn.Module) -> float:
        return sum(per_cent(logits_of(model, side), truth) for side in sides) / 2

    curve = list(fitted(model, x, y, run["rate"], steps, look, run.seed, 32))
    return Trained(curve, curve[-1][1], model.state_dict())


# ---------------------------------------------------------------------------- the test


def test_data() -> tuple[int, int, int]:
    """2,000 other pictures, the same for all."""
    return TESTED, 77, TEST


def test(run: Run, state: dict[str, Tensor], data) -> dict:
    """Accuracy; of the head with 100 labels also by three rules when to stop."""
    model, (images, truth) = model_of(run), pictures(*data)
    x = images if run.arm in (ALL, THEN) else kept(*data)
    found = {}
    for name in ("", "loss.", "accuracy."):
        part = {k.removeprefix(name): v for k, v in state.items() if k.startswith(name)}
        part = {k: v for k, v in part.items() if k in model.state_dict()}
        if not part:
            continue
        model.load_state_dict(part)
        logits = logits_of(model, x)
        sure = 100 * logits.softmax(-1).amax(-1).mean().item()
        found[f"{name}accuracy"] = per_cent(logits, truth)
        if run.arm == HEAD:
            found[f"{name}loss"] = F.cross_entropy(logits, truth).item()
            found[f"{name}sure"] = sure
    if run["kind"] == "again":
        dark = per_cent(logits_of(model, kept(*data, True)), truth)
        old = found["accuracy"]
        found = {"accuracy": (old + dark) / 2, "old": old, "dark": dark}
    return found


# -------------------------------------------------------------------------- the design


def rates(*values: float) -> list[dict]:
    return [{"rate": rate} for rate in values]


def thrice(name: str, asks: str, **values) -> list[Condition]:
    """A condition, and the same with three times the examples."""
    values["kind"] = values.get("kind", name)
    arms, examples = values.pop("arms"), values.pop("examples")
    return [
        Condition(name, {**values, "examples": examples}, arms),
        Condition(
            f"{name}, longer", {**values, "examples": 3 * examples}, arms, name, asks
        ),
    ]


HEADS = (MEAN, MEAN_DEEP, PLACES, PLACES_DEEP)
EXAMPLES = STEPS * BATCH
WAYS = {"examples": 300 * BATCH, "kind": "labels"}
HIGH, LOW = rates(1e-3, 3e-3, 1e-2, 3e-2), rates(3e-4, 1e-3, 3e-3, 1e-2)
LARGE = rates(3e-3, 1e-2, 3e-2, 1e-1)
DESIGN = Design(
    question="Which choices of a fine-tuning matter?",
    tries={
        HEAD: HIGH,
        ALL: LOW,
        THEN: LOW,
        **dict.fromkeys(BATCHES, HIGH),
        "AdamW": LARGE,
        "SGD": rates(1e-2, 3e-2, 1e-1, 3e-1),
        PLAIN: HIGH,
        DECAY: [{"rate": RATE, "decay": decay} for decay in (0.01, 0.1, 1.0, 10.0)],
        DROP: [{"rate": RATE, "dropout": share} for share in (0.1, 0.3, 0.5, 0.7)],
        **dict.fromkeys(HEADS, LARGE),
        MEAN: rates(3e-2, 1e-1, 3e-1, 1.0),
        DEPLOYED: [{}],
        NEW: LOW,
        REPLAY: LOW,
        ANEW: HIGH,
    },
    conditions=[
        *thrice(
            *("batch size", "three times the epochs"),
            labels=400,
            arms=list(BATCHES),
            examples=3200,
        ),
        *thrice(
            *("optimiser", "three times the steps"),
            labels=400,
            arms=list(OPTIMISERS),
            examples=EXAMPLES,
        ),
        *thrice(
            *("regularisation", "three times the steps"),
            labels=200,
            arms=[PLAIN, DECAY, DROP],
            examples=EXAMPLES,
        ),
        *thrice(
            *("heads", "three times the steps"),
            labels=400,
            arms=list(HEADS),
            examples=EXAMPLES,
        ),
        *thrice(
            *("again", "three times the steps"),
            labels=100,
            arms=[DEPLOYED, NEW, REPLAY, ANEW],
            examples=100 * 32,
        ),
        *thrice(
            *("1000 labels", "three times the steps"),
            labels=1000,
            arms=[HEAD, ALL, THEN],
            **WAYS,
        ),
        *thrice(
            *("100 labels", "three times the steps"),
            labels=100,
            arms=[HEAD, ALL, THEN],
            **WAYS,
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    seeds=(0, 1, 2, 3, 4),
    untrained=[DEPLOYED],
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
