"""Which optimiser and which schedule train a small captioner best in a fixed budget?

A language model of two blocks reads nine tokens of a frozen image encoder and writes the
sentence of a scene with two objects, for 240 or 720 steps of 16 pictures. Compared are SGD
with momentum, Adam, AdamW and Muon under one schedule (warm-up, then a cosine), and AdamW
under three others: constant after the warm-up, WSD (warm-up, stable, decay), and a cosine
without warm-up.

What is equal: the pictures and their order for a seed, the model and its first weights,
the batches, the steps, clipping at length 1, and five learning rates for each arm, a
factor of three apart, tried for each number of steps anew; the list of SGD is thirty times
that of the others, since its step is not divided by anything. What is not tuned: the
averages (momentum 0.9 for SGD, 0.9 and 0.98 for Adam and AdamW, 0.95 for Muon), the decay
(0.1 for AdamW and Muon, none for the others) and the share of warm-up (a tenth) and of
WSD's decay (a fifth). Muon moves the matrices of the blocks; all other parameters move by
AdamW with the same rate.

What could reverse the answer of 720 steps, and is tried for SGD, AdamW and Muon:
three times as many, with the rates that were chosen there. The 240 steps
say what a budget does that is too short.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder
from mmbook.heads import GPT
from mmbook.tokens import Tokens
from mmbook.world import describe, render, sample_scenes, scene_tokenizer

SGD, ADAM, ADAMW, MUON = "SGD + momentum", "Adam", "AdamW", "Muon"
CONSTANT, WSD, AT_ONCE = "AdamW, constant", "AdamW, WSD", "AdamW, no warm-up"
BATCH, WIDTH, DECAY = 16, 64, 0.1
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
TOKENIZER = scene_tokenizer()


@cache
def captioned(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens of pictures (n, 9, 96) and their sentences (n, L)."""
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()
    scenes = sample_scenes(count, seed, objects=(2,))
    with torch.no_grad():
        found = [
            encoder(render(scenes[i : i + 100], seed=seed + i)).values
            for i in range(0, count, 100)
        ]
    grid = torch.cat(found).mT.unflatten(2, (6, 6))
    ids = TOKENIZER([describe(s) for s in scenes], padding=True, return_tensors="pt")
    return F.avg_pool2d(grid, 2).flatten(2).mT.contiguous(), ids["input_ids"]


class Captioner(nn.Module):
    """Nine tokens of a picture, then the words."""

    def __init__(self):
        super().__init__()
        self.projector = nn.Linear(96, WIDTH)
        self.model = GPT(len(TOKENIZER), WIDTH, layers=2)

    def forward(self, tokens: Tensor, ids: Tensor) -> Tensor:
        """The loss: nats for each word."""
        return self.model(Tokens(self.projector(tokens)), ids)[1]


def optimizers(arm: str, model: Captioner, rate: float) -> list:
    """One for all parameters, or Muon for the blocks' matrices and AdamW for the rest."""
    matrices = [p for p in model.model.blocks.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in inside]
    if arm == SGD:
        return [torch.optim.SGD(model.parameters(), rate, momentum=0.9)]
    if arm == ADAM:
        return [torch.optim.Adam(model.parameters(), rate, (0.9, 0.98), fused=True)]
    groups = [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]
    if arm != MUON:
        options = {"betas": (0.9, 0.98), "weight_decay": DECAY, "fused": True}
        return [torch.optim.AdamW(groups, rate, **options)]
    muon = torch.optim.Muon(
        matrices, rate, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"
    )
    other = torch.optim.AdamW(rest, rate, (0.9, 0.98), weight_decay=0.0, fused=True)
    return [muon, other]


def share(arm: str, step: int, steps: int) -> float:
    """The rate of a step as a share of the highest."""
    warm, last = steps // 10, steps // 5
    if step < warm and arm != AT_ONCE:
        return (step + 1) / warm
    if arm == CONSTANT:
        return 1.0
    if arm == WSD:
        return min(1.0, (steps - step) / last)
    start = 0 if arm == AT_ONCE else warm
    return (1 + math.cos(math.pi * (step - start) / (steps - start))) / 2


def train(run: Run) -> Trained:
    """All arms see the same batches with the same seed."""
    tokens, ids = captioned(400 if run.quick else 4000, 1)
    model, steps = Captioner(), 16 if run.quick else run["steps"]
    movers, curve, clipped = optimizers(run.arm, model, run["rate"]), [], 0
    order = torch.Generator().manual_seed(run.seed)
    for step in range(steps):
        rows = torch.randint(len(tokens), (BATCH,), generator=order)
        loss = model(tokens[rows], ids[rows])
        model.zero_grad()
        loss.backward()
        clipped += nn.utils.clip_grad_norm_(model.parameters(), 1.0).item() > 1
        for mover in movers:
            for group in mover.param_groups:
                group["lr"] = run["rate"] * share(run.arm, step, steps)
            mover.step()
        if (step + 1) % (steps // 12 or 1) == 0:
            curve.append((step + 1, validated(model, 300, 2)))
    state = model.state_dict() | {"clipped": torch.tensor(100 * clipped / steps)}
    return Trained(curve, curve[-1][1], state)


@torch.no_grad()
def validated(model: Captioner, count: int, seed: int) -> float:
    """Nats for each word on new pictures."""
    loss = model(*captioned(count, seed)).item()
    if not math.isfinite(loss):
        raise FloatingPointError("diverged")
    return loss


def test_data() -> tuple[Tensor, Tensor]:
    """2,000 new pictures with their sentences."""
    return captioned(2000, 3)


@torch.no_grad()
def test(run: Run, state: dict[str, Tensor], data: tuple) -> dict:
    """Nats for each word, and in how many steps the gradient was clipped."""
    model, state = Captioner(), dict(state)
    clipped = state.pop("clipped").item()
    model.load_state_dict(state)
    return {"loss": model(*data).item(), "clipped": clipped}


TRIES = [{"rate": rate} for rate in RATES]
DESIGN = Design(
    question="Which optimiser and schedule train a small captioner best?",
    tries={
        SGD: [{"rate": round(30 * rate, 4)} for rate in RATES],
        **dict.fromkeys((ADAM, ADAMW, MUON, CONSTANT, WSD, AT_ONCE), TRIES),
    },
    conditions=[
        Condition("240 steps", {"steps": 240}),
        Condition("720 steps", {"steps": 720}),
        Condition(
            "2,160 steps",
            {"steps": 2160},
            (SGD, ADAMW, MUON),
            like="720 steps",
            asks="three times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="loss",
    unit="nats",
    maximise=False,
    seeds=(0, 1, 2, 3, 4),
    tolerance=0.005,
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
