"""What do six ways to pre-train teach, and how many labels does each of them save?

One small encoder is pre-trained for 1,000 steps of 64 pictures on 8,192 pictures: by
masked words, masked patches, two views of a picture (SimCLR), pictures with captions
(InfoNCE) and captioning. Then it is fine-tuned with 50 to 1,600 labelled pictures: which
of 8 colours *and* which of 6 shapes? Beside them stands the encoder that has learned
nothing.

What is equal: the pictures, the encoder, the steps and the batches of each pre-training;
its three rates, of which the objective's own loss on 512 new pictures chooses (no label
takes part); the labelled pictures of a seed, the steps, and three rates in each
fine-tuning, of which 500 labelled pictures choose (they are labels, too, and the counts
leave them out, for all arms alike). With each seed everything is new: the pre-training,
the labelled pictures, the heads.

What could reverse the answer, and is tried: four times the steps of fine-tuning, and for
the probes three times the steps of the two pre-trainings without captions. Whether
an objective can forget something is asked of two more: two views whose colour channels
are shuffled, and captions that name the colour alone. They are probed and not
fine-tuned.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pretexts
import torch
from fingerprint import ROOT, training_hash
from pretexts import WIDTH, Objective, linear_accuracy, pictures
from runner import Condition, Design, Run, Trained, main
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from trials import seed_everything

NOTHING, WORDS, PATCHES = "no pre-training", "masked words", "masked patches"
VIEWS, INFONCE, CAPTIONS = "two views", "InfoNCE", "captioning"
SHUFFLED, COLOURS_ONLY = "two views, recoloured", "InfoNCE, colours"
OBJECTIVES = {
    NOTHING: Objective,
    WORDS: pretexts.MaskedWords,
    PATCHES: pretexts.MaskedPatches,
    VIEWS: pretexts.TwoViews,
    INFONCE: pretexts.Pair,
    CAPTIONS: pretexts.Captions,
    SHUFFLED: pretexts.RecolouredViews,
    COLOURS_ONLY: pretexts.ColourPair,
}
KINDS = ("colour", "shape", "size")
STEPS, TUNING = 1000, 200
START_RATES, SEEDS, SEARCH = (2e-3, 5e-3, 1.2e-2), (0, 1, 2), 99
FOLDER = ROOT / "_build" / "pretraining" / training_hash(Path(__file__))


def train(run: Run) -> Trained:
    """A pre-training, or the fine-tuning of what came out of one."""
    if "labels" in run.condition.values:
        return fine_tune(run)
    state, curve = pretrained(run.arm, run["rate"], run.seed, run.quick, run["steps"])
    return Trained(curve, curve[-1][1], state)


@cache
def pretrained(arm: str, rate: float, seed: int, quick: bool, steps=STEPS) -> tuple:
    """State and curve: per cent of the blind loss that is gone, on new pictures."""
    file = FOLDER / f"{arm} {rate} {seed} {steps}.safetensors"
    if file.is_file() and not quick:
        state = load_file(file)
        return state, [(int(s), v) for s, v in state.pop("curve").tolist()]
    seed_everything(seed)
    model, steps = OBJECTIVES[arm](), 8 if quick else steps
    marks = range(steps // 8, steps + 1, steps // 8)
    curve = [(at, 0.0) for at in marks]
    if arm != NOTHING:
        curve = learn(model, rate, steps)
    state = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    if not quick:
        FOLDER.mkdir(parents=True, exist_ok=True)
        save_file(state | {"curve": torch.tensor(curve)}, file)
    return state, curve


def learn(model: Objective, rate: float, steps: int) -> list:
    """Train an objective; its curve."""
    images, ids, _ = pictures(8192, 0)
    step_of, curve = steps_of(model, rate, steps), []
    for step in range(1, steps + 1):
        rows = torch.randint(len(images), (64,))
        step_of(model.loss(images[rows], ids[rows]))
        if step % (steps // 8) == 0:
            curve.append((step, solved(model)))
    return curve


def steps_of(model: nn.Module, rate: float, steps: int):
    """A function that takes one step down a loss; the rate rises, then falls."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)

    def step_of(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    return step_of


@torch.no_grad()
def solved(model: Objective) -> float:
    """Per cent of the blind loss that is gone on new pictures."""
    images, ids, _ = pictures(512, 50)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the same masks and views each time
        model.eval()
        pairs = zip(images.split(64), ids.split(64), strict=True)
        losses = [model.loss(*pair).item() for pair in pairs]
    model.train()
    return 100 * (1 - sum(losses) / len(losses) / model.blind)


@cache
def start(arm: str, seed: int, quick: bool) -> dict[str, Tensor]:
    """The pre-training of a seed, with the rate that the runner chooses as well."""

    def score(rate: float, seeds) -> float:
        found = [pretrained(arm, rate, each, quick)[1][-1][1] for each in seeds]
        return sum(found) / len(found)

    leading = sorted(START_RATES, key=lambda rate: -score(rate, [SEARCH]))[:2]
    rate = START_RATES[0] if quick else max(leading, key=lambda r: score(r, SEEDS))
    return pretrained(arm, rate, seed, quick)[0]


class Finetuned(nn.Module):
    """An encoder with new heads for colour and shape."""

    def __init__(self, arm: str, seed: int, quick: bool):
        super().__init__()
        self.start = OBJECTIVES[arm]()
        self.start.load_state_dict(start(arm, seed, quick))
        self.start = only_encoder(self.start)
        self.heads = nn.ModuleList(nn.Linear(WIDTH, n) for n in (8, 6))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of the colours and of the shapes."""
        pooled = self.start.pooled(image)
        return [head(pooled) for head in self.heads]


def only_encoder(model: Objective) -> Objective:
    """Without what turned the tokens into a loss."""
    plain = Objective()
    plain.encoder = copy.deepcopy(model.encoder)
    return plain


def fine_tune(run: Run) -> Trained:
    """All parameters, with few labelled pictures."""
    images, _, labels = pictures(1600, 100 + run.seed)
    model = Finetuned(run.arm, run.seed, run.quick)
    steps, curve = 8 if run.quick else run["steps"], []
    step_of = steps_of(model, run["rate"], steps)
    for step in range(1, steps + 1):
        rows = torch.randint(run["labels"], (32,))
        pairs = zip(model(images[rows]), labels[rows].T[:2], strict=True)
        step_of(sum(F.cross_entropy(logits, y) for logits, y in pairs))
        if step % (steps // 8) == 0:
            curve.append((step, right(model, *pictures(500, 51)[::2])))
    return Trained(curve, curve[-1][1], model.state_dict())


@torch.no_grad()
def right(model: Finetuned, images: Tensor, labels: Tensor) -> float:
    """Per cent of the pictures of which colour and shape are both right."""
    model.eval()
    colour, shape = (logits.argmax(-1) for logits in model(images))
    model.train()
    both = (colour == labels[:, 0]) & (shape == labels[:, 1])
    return 100 * both.float().mean().item()


def test_data() -> tuple[Tensor, Tensor]:
    """2,000 new pictures with their labels."""
    return pictures(2000, 52)[::2]


@torch.no_grad()
def test(run: Run, state: dict[str, Tensor], data: tuple) -> dict:
    """Per cent right: after fine-tuning, or linear probes on the frozen encoder."""
    if "labels" in run.condition.values:
        model = Finetuned(run.arm, run.seed, run.quick)
        model.load_state_dict(state)
        return {"accuracy": right(model, *data)}
    model = OBJECTIVES[run.arm]()
    model.load_state_dict(state)
    model.eval()
    known, _, labels = pictures(1600, 100 + run.seed)
    x, new = model.pooled(known), model.pooled(data[0])
    hits = [
        linear_accuracy(x, y, new, z) for y, z in zip(labels.T, data[1].T, strict=True)
    ]
    shares = [100 * hit.float().mean().item() for hit in hits]
    both = 100 * (hits[0] & hits[1]).float().mean().item()
    return {"accuracy": both, **dict(zip(KINDS, shares, strict=True))}


MAIN = (NOTHING, WORDS, PATCHES, VIEWS, INFONCE, CAPTIONS)
COUNTS = (50, 100, 200, 400, 800, 1600)
LONGER = "four times the steps"
DESIGN = Design(
    question="What do six ways to pre-train teach, and how many labels do they save?",
    tries={arm: [{"rate": rate} for rate in START_RATES] for arm in OBJECTIVES},
    conditions=[
        Condition("pre-training", {"steps": STEPS}, MAIN),
        *(
            Condition(f"{n} labels", {"labels": n, "steps": TUNING}, MAIN)
            for n in COUNTS
        ),
        *(
            Condition(
                f"{n} labels, longer",
                {"labels": n, "steps": 4 * TUNING},
                MAIN,
                like=f"{n} labels",
                asks=LONGER,
            )
            for n in COUNTS
        ),
        Condition(
            "pre-training, something missing",
            {"steps": STEPS},
            (SHUFFLED, COLOURS_ONLY),
        ),
        Condition(
            "pre-training, longer",
            {"steps": 3 * STEPS},
            (PATCHES, VIEWS),
            like="pre-training",
            asks="three times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    seeds=SEEDS,
    search_seed=SEARCH,
    tolerance=2.0,
)

if __name__ == "__main__":
    main(DESIGN, __file__)
