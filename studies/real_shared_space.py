"""How well do two frozen released encoders share a space, and what does it not know?

MobileNetV2 (photographs) and MiniLM (captions) stay frozen; what they give is computed
once. Two projections are trained on photographs of ``flickr8k_1000`` with their captions
and tested on its test split: 202 photographs, 1010 captions. Compared are linear
projections with projections of two layers, and InfoNCE with the sigmoid loss.

What is equal: the photographs and captions that a seed draws, five rates for each arm in
each condition, steps, batch, dropout and weight decay (as cross-validation found them for
``benchmarks/retrieval.py``), and the 200 photographs of the training split that choose.
What could reverse the answer, and is tried: twice the steps; all 798 photographs
of the training split with the settings that were chosen on 598.

The 42 photographs of ``mmbook.samples`` come from another collection (COCO). They are
searched by their captions, named by prompts, and offered two sentences with the same
words. Of one run the embeddings are kept, so that a chapter can search among them.

MiniLM was tuned on captions of COCO and of Flickr30k, which extends Flickr8k, so the
captions may not be new to it.

    MMBOOK_DATA=… MMBOOK_MODELS=… python studies/real_shared_space.py

needs ``flickr8k_1000`` in the first folder, ``mobilenet_v2_1.0_224`` and
``all-MiniLM-L6-v2`` in the second.
"""

from __future__ import annotations

import base64
import math
import os
from functools import cache
from pathlib import Path

import torch
from fingerprint import ROOT
from photograph_probes import CLASSES, COLOURS_SWAPPED, OBJECTS_SWAPPED, TEMPLATES
from runner import Condition, Design, Run, Trained, main
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.data import captioned_photographs
from mmbook.losses import contrastive, sigmoid_contrastive
from mmbook.metrics import bootstrap, retrieval
from mmbook.pretrained import (
    PretrainedImageEncoder,
    PretrainedTextEncoder,
    keep_features,
)
from mmbook.samples import photographs

IMAGE_MODEL, TEXT_MODEL = "mobilenet_v2_1.0_224", "all-MiniLM-L6-v2"
ARMS = {
    "linear, InfoNCE": (False, False),
    "two layers, InfoNCE": (True, False),
    "linear, sigmoid": (False, True),
}
WIDTH, HIDDEN, DROPOUT, DECAY = 128, 256, 0.6, 1.0
KEPT = ROOT / "_build" / "features"  # of the frozen encoders, computed once
STEPS, BATCH, VALIDATIONS, CHECKED = 300, 299, 12, 200


# ------------------------------------------------------------------------- the encoders


@cache
def encoders():
    """The two frozen encoders and the tokenizer."""
    folder = Path(os.environ["MMBOOK_MODELS"])
    image = PretrainedImageEncoder.from_pretrained(folder / IMAGE_MODEL)
    text = PretrainedTextEncoder.from_pretrained(folder / TEXT_MODEL)
    return image.eval(), text.eval(), text.tokenizer(folder / TEXT_MODEL)


@torch.no_grad()
def said(texts: list[str]) -> Tensor:
    """The mean token of each text, (n, 384)."""
    _, encoder, tokenizer = encoders()
    rows = []
    for first in range(0, len(texts), 50):
        given = tokenizer(texts[first : first + 50], padding=True, return_tensors="pt")
        mask = given["attention_mask"].bool()
        rows.append(encoder(given["input_ids"], mask).pooled())
    return torch.cat(rows)


@torch.no_grad()
def seen(photos) -> Tensor:
    """The mean token of each photograph and of its mirror image, (n, 2, 1280)."""
    mirrored = (photos.pixels(i).flip(-1) for i in range(len(photos.files)))
    image = encoders()[0]
    return torch.stack([keep_features(image, x).mean(1) for x in (photos, mirrored)], 1)


@cache
def vectors(split: str) -> tuple[Tensor, Tensor]:
    """Photographs (n, 2, 1280) and captions (n, 5, 384) of a split."""
    folder = Path(os.environ["MMBOOK_DATA"], "flickr8k_1000")
    return described(captioned_photographs(folder, split))


def described(photos) -> tuple[Tensor, Tensor]:
    """Photographs and their captions as vectors; kept in a file."""
    file = KEPT / f"{photos.fingerprint()}.safetensors"
    if not file.is_file():
        captions = said([text for group in photos.references for text in group])
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"seen": seen(photos), "said": captions.unflatten(0, (-1, 5))}, file)
    return tuple(load_file(file)[name] for name in ("seen", "said"))


# ---------------------------------------------------------------------- the projections


class Projection(nn.Module):
    """A vector (B, C) of a frozen encoder → (B, E) of length one."""

    def __init__(self, width: int, deep: bool):
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        inner = [nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH)]
        self.layers = nn.Sequential(*(inner if deep else [nn.Linear(width, WIDTH)]))

    def forward(self, x: Tensor) -> Tensor:
        """Its length is not used; part of it is dropped in training."""
        x = F.normalize(x, dim=-1) * x.shape[-1] ** 0.5
        return F.normalize(self.layers(self.dropout(x)), dim=-1)


class Space(nn.Module):
    """Two projections, the scale (1 / temperature) and the bias of the sigmoid loss."""

    def __init__(self, deep: bool, sigmoid: bool):
        super().__init__()
        self.image, self.text = Projection(1280, deep), Projection(384, deep)
        start = 10.0 if sigmoid else 1 / 0.07
        self.log_scale = nn.Parameter(torch.tensor(math.log(start)))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if sigmoid else None

    def loss(self, images: Tensor, texts: Tensor) -> Tensor:
        """Of a batch of pairs."""
        pair = self.image(images), self.text(texts)
        scale = self.log_scale.clamp(max=math.log(100)).exp()
        if self.bias is None:
            return contrastive(*pair, scale)
        return sigmoid_contrastive(*pair, scale, self.bias)

    @torch.no_grad()
    def embed(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Photographs (n, 2, C), with their mirror images, and texts (m, C)."""
        self.eval()
        both = self.image(images[:, 0]) + self.image(images[:, 1])
        return F.normalize(both, dim=-1), self.text(texts)


def drawn(images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """A batch: half of the photographs mirrored; one caption, or the mean of some."""
    rows = torch.randperm(len(images))[:BATCH]
    weights = (torch.rand(len(rows), 5) < 0.5).float()
    one = F.one_hot(torch.randint(5, (len(rows),)), 5).float()
    alone = (torch.rand(len(rows), 1) < 0.5) | (weights.sum(1, keepdim=True) == 0)
    weights = torch.where(alone, one, weights)
    weights = weights / weights.sum(1, keepdim=True)
    mirrored = torch.randint(2, (len(rows),))
    return images[rows, mirrored], (texts[rows] * weights[..., None]).sum(1)


def train(run: Run) -> Trained:
    """Two projections on the photographs of a condition."""
    images, texts = vectors("train")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(7))
    held, known = order[:CHECKED], order[CHECKED:]
    if run["photographs"] > len(known):
        known = order  # all of them; nothing is chosen here
    known = known[: run["photographs"]]
    images, texts, *checked = images[known], texts[known], images[held], texts[held]
    space = Space(*ARMS[run.arm])
    steps = 24 if run.quick else run["steps"]
    decayed = [p for p in space.parameters() if p.ndim > 1]
    others = [p for p in space.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": DECAY},
            {"params": others, "weight_decay": 0},
        ],
        lr=run["rate"],
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["rate"], steps, pct_start=0.1, cycle_momentum=False
    )
    curve = [(0, score(space, *checked))]
    for step in range(1, steps + 1):
        space.train()
        optimizer.zero_grad()
        loss = space.loss(*drawn(images, texts))
        if not loss.isfinite():
            raise FloatingPointError("the loss is not finite")
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % (steps // VALIDATIONS) == 0:
            curve.append((step, score(space, *checked)))
    return Trained(curve, curve[-1][1], space.state_dict())


# --------------------------------------------------------------------------- the search


def ways(images: Tensor, texts: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Scores and truth both ways, of photographs with five captions each."""
    truth = torch.eye(len(images), dtype=torch.bool).repeat_interleave(5, 1)
    scores = images @ texts.T
    return {"to captions": (scores, truth), "to photographs": (scores.T, truth.T)}


def score(space: Space, images: Tensor, texts: Tensor) -> float:
    """R@1 in per cent, the mean of both ways."""
    pairs = ways(*space.embed(images, texts.flatten(0, 1)))
    return 50 * sum(retrieval(*pair)["R@1"] for pair in pairs.values())


def searched(images: Tensor, texts: Tensor, name: str = "") -> dict:
    """R@k both ways and the interval of R@1 over the questions; per cent."""
    found = {}
    for way, (scores, truth) in ways(images, texts).items():
        rows = retrieval(scores, truth)
        found |= {f"{name}R@{k} {way}": 100 * rows[f"R@{k}"] for k in (1, 5, 10)}
        best = truth.gather(1, scores.argmax(1, keepdim=True)).float()
        groups = best.view(len(images), -1).mean(1)  # captions of one picture together
        found[f"{name}R@1 {way}, interval"] = [100 * x for x in bootstrap(groups)]
    firsts = (found[f"{name}R@1 to captions"], found[f"{name}R@1 to photographs"])
    return {f"{name}R@1": sum(firsts) / 2} | found


def closed(rows: Tensor) -> Tensor:
    """Without the mean of the modality."""
    return F.normalize(rows - rows.mean(0), dim=-1)


def test_data() -> dict:
    """The test split; the 42 photographs, their captions, the prompts and the pairs."""
    shown = photographs()
    images, captions = described(shown)
    prompts = {n: said([t.format(c) for c in CLASSES]) for n, t in TEMPLATES.items()}
    pairs = {}
    for name, rows in ("colours", COLOURS_SWAPPED), ("objects", OBJECTS_SWAPPED):
        numbers, right, wrong = zip(*rows, strict=True)
        pairs[name] = list(numbers), said(list(right)), said(list(wrong))
    return {
        "test": vectors("test"),
        "shown": (images, captions),
        "prompts": prompts,
        "pairs": pairs,
    }


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Retrieval, the gap, prompts and pairs of sentences; per cent."""
    space = Space(*ARMS[run.arm])
    space.load_state_dict(state)
    images, texts = data["test"]
    z = space.embed(images, texts.flatten(0, 1))
    found = searched(*z) | {
        "R@1, gap closed": searched(*map(closed, z))["R@1"],
        "gap": (z[0].mean(0) - z[1].mean(0)).norm().item(),
        "temperature": 1 / space.log_scale.clamp(max=math.log(100)).exp().item(),
    }
    images, captions = data["shown"]
    z = space.embed(images, captions.flatten(0, 1))
    found |= searched(*z, "COCO ") | named(space, data) | told_apart(space, data)
    if (run.arm, run.seed) == ("linear, InfoNCE", 0) and run["photographs"] > 598:
        words = [data["prompts"][name] for name in ("the name", "a photo of …")]
        words += [x for _, *both in data["pairs"].values() for x in both]
        kept = torch.cat([*z, *(space.embed(images, x)[1] for x in words)])
        found["embeddings"] = as_text(kept)
        found["sentences"] = [list(each) for each in COLOURS_SWAPPED + OBJECTS_SWAPPED]
        found["classes"] = {name: list(rows) for name, rows in CLASSES.items()}
    return found


def named(space: Space, data: dict) -> dict:
    """How many photographs get the right one of 25 names, with each template?"""
    numbers = [n for each in CLASSES.values() for n in each]
    truth = torch.tensor([k for k, each in enumerate(CLASSES.values()) for _ in each])
    found, together = {}, []
    for name, prompts in data["prompts"].items():
        z, words = space.embed(data["shown"][0][numbers], prompts)
        together.append(words)
        found[name] = (z @ words.T).argmax(1).eq(truth).float().mean().item()
    mean = F.normalize(torch.stack(together).mean(0), dim=-1)
    found["mean of all"] = (z @ mean.T).argmax(1).eq(truth).float().mean().item()
    return {f"prompt: {name}": 100 * share for name, share in found.items()}


def told_apart(space: Space, data: dict) -> dict:
    """How often is the true sentence nearer than the false one?"""
    found = {}
    for name, (numbers, right, wrong) in data["pairs"].items():
        z, true = space.embed(data["shown"][0][numbers], right)
        false = space.embed(data["shown"][0][numbers], wrong)[1]
        other = true.roll(1, 0)  # true of another photograph
        for foil, words in ("swapped", false), ("another", other):
            nearer = ((z * true).sum(1) > (z * words).sum(1)).float()
            found[f"{name}, {foil}"] = 100 * nearer.mean().item()
    return found


def as_text(rows: Tensor) -> dict:
    """Rows of length one as bytes: -127 to 127 stand for minus to plus the largest."""
    largest = rows.abs().max().item()
    whole = (rows / largest * 127).round().to(torch.int8)
    text = base64.b64encode(whole.numpy().tobytes()).decode()
    return {"shape": list(rows.shape), "largest": largest, "bytes": text}


RATES = [{"rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3)]
MAIN, LONGER = "598 photographs", "598 photographs, twice the steps"
DESIGN = Design(
    question="How well do two frozen released encoders share a space?",
    tries={arm: [*RATES, {"rate": 1e-2}] for arm in ARMS},
    conditions=[
        Condition(MAIN, {"photographs": 598, "steps": STEPS}),
        Condition(
            LONGER,
            {"photographs": 598, "steps": 2 * STEPS},
            like=MAIN,
            asks="twice the steps",
        ),
        Condition(
            "798 photographs",
            {"photographs": 798, "steps": STEPS},
            like=MAIN,
            asks="all photographs of the training split",
        ),
        Condition("150 photographs", {"photographs": 150, "steps": STEPS}, [*ARMS][:1]),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="R@1",
    rests_on=["mmbook/samples/photographs/captions.json"],
    needs=["MMBOOK_DATA", "MMBOOK_MODELS"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
