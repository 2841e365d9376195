"""What does each part of a small captioner contribute, and does its score tell?

A captioner of scenes, 500 training pictures with one caption each: an image encoder and
a decoder, each from random weights or pre-trained on other scenes, and the whole trained.
One arm gets the same mean picture for every example, so it can only learn what captions
are like. Two baselines need no training: one caption for all, and the caption of the most
similar training picture. Each trained arm has the same tries. What could reverse the
order, and is tried: twice the steps.

At the test each caption is judged exactly (is it true and complete?), for new scenes and
for pairs of colour and shape that were never shown. The judgement of every single test
picture is kept, as a string of 0 and 1, so that a chapter can compare two arms in pairs;
so are BLEU and CIDEr.
"""

from __future__ import annotations

import functools
from collections import Counter

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from torch.nn import functional as F

from mmbook.data import Collate
from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import fusion
from mmbook.generation import generate, to_text
from mmbook.heads import GenerationHead
from mmbook.metrics import bleu, cider
from mmbook.models import MultimodalModel
from mmbook.saving import build
from mmbook.training import TrainingConfig, fit
from mmbook.world import CaptionedScenes, is_complete, sample_scenes, scene_tokenizer

SCRATCH, ENCODER = "from scratch", "pre-trained encoder"
DECODER, BOTH = "pre-trained decoder", "both pre-trained"
BLIND, NEIGHBOUR, CONSTANT = "image-blind", "nearest picture", "one caption for all"
TRAINED = (SCRATCH, ENCODER, DECODER, BOTH, BLIND)
STEPS, LONGER = 400, 800


@functools.cache
def captioned(name: str) -> CaptionedScenes:
    """Scenes with captions; no scene of training is in another set."""
    count, seed, pairs = {
        "train": (500, 1, "seen"),
        "valid": (200, 2, "seen"),
        "new": (400, 3, "seen"),
        "held out": (400, 3, "held-out"),
    }[name]
    return CaptionedScenes(sample_scenes(count, seed, pairs=pairs), seed=seed)


@functools.cache
def tools() -> tuple:
    """The tokenizer, and what makes a batch."""
    tokenizer = scene_tokenizer()
    return tokenizer, Collate(tokenizer, max_length=24)


@functools.cache
def mean_picture() -> Tensor:
    """The mean of the training pictures: (3, H, W)."""
    data = captioned("train")
    return torch.stack([pixels(data, n) for n in range(len(data))]).mean(0)


def pixels(data: CaptionedScenes, number: int) -> Tensor:
    """A picture in [0, 1]."""
    return data.picture(number).float() / 255


class Shown(torch.utils.data.Dataset):
    """What an arm sees of a set."""

    def __init__(self, data: CaptionedScenes, blind: bool):
        self.data, self.blind = data, blind

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict:
        caption = self.data.references[index][0]
        return {"image": self.image(index), "caption": caption}

    def image(self, index: int) -> Tensor:
        """The picture, or the same for all."""
        return mean_picture() if self.blind else pixels(self.data, index)


def new_model(arm: str, seed: int) -> MultimodalModel:
    """The captioner of an arm before its training."""
    torch.manual_seed(seed)
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
    head = GenerationHead.from_pretrained("mmbook/scene-language-model")
    if arm in (SCRATCH, DECODER):
        encoder = build(encoder.to_config())
    if arm in (SCRATCH, ENCODER):
        head = build(head.to_config())
    width = encoder.width
    join = fusion("concatenation", widths={"image": width}, width=width)
    return MultimodalModel({"image": encoder}, join, head.with_context(width))


def described(model: MultimodalModel, shown: Shown) -> list[str]:
    """A caption of each picture, the likeliest word at each step."""
    said = []
    for first in range(0, len(shown), 100):
        some = range(first, min(first + 100, len(shown)))
        images = torch.stack([shown.image(n) for n in some])
        said += to_text(generate(model, {"image": images}, 24), tools()[0])
    return said


def judged(said: list[str], data: CaptionedScenes) -> list[bool]:
    """Which captions are true and complete?"""
    return [is_complete(t, scene) for t, scene in zip(said, data.scenes, strict=True)]


def train(run: Run) -> Trained:
    """Train an arm; the curve is the share of exact captions in validation."""
    if run.arm not in TRAINED:
        return Trained([(0, 0.0)], 0.0, {})
    blind = run.arm == BLIND
    model = new_model(run.arm, run.seed)
    held = Shown(captioned("valid"), blind)
    steps = 8 if run.quick else run["steps"]

    def validate(model):
        right = judged(described(model, held), held.data)
        return {"exact": 100 * sum(right) / len(right)}

    history = fit(
        model,
        Shown(captioned("train"), blind),
        TrainingConfig(
            steps=steps,
            batch_size=32,
            learning_rate=run["rate"],
            weight_decay=0.01,
            warmup=0.1,
            validate_every=max(1, steps // 8),
            patience=steps,  # never stops; the best state stays
            metric="exact",
            maximise=True,
            precision="no",
            compile=False,
            progress=False,
            seed=run.seed,
        ),
        tools()[1],
        validate,
    )
    curve = [(row["step"], row["exact"]) for row in history.validations]
    state = {n: t.detach().clone() for n, t in model.state_dict().items()}
    return Trained(curve, max(value for _, value in curve), state)


def test_data() -> dict[str, CaptionedScenes]:
    """New scenes, and pairs of colour and shape that were never shown."""
    return {name: captioned(name) for name in ("new", "held out")}


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Exact captions, BLEU and CIDEr, and which pictures were described rightly."""
    found = {}
    for name, scenes in data.items():
        said = say(run, state, scenes)
        right = judged(said, scenes)
        found |= {
            f"exact, {name}": 100 * sum(right) / len(right),
            f"BLEU, {name}": bleu(said, scenes.references),
            f"CIDEr, {name}": cider(said, scenes.references),
            f"right, {name}": "".join(str(int(x)) for x in right),
        }
    return {"exact": found["exact, new"], **found}


def say(run: Run, state: dict[str, Tensor], scenes: CaptionedScenes) -> list[str]:
    """The captions of an arm."""
    if run.arm == CONSTANT:
        usual = Counter(g[0] for g in captioned("train").references).most_common(1)
        return [usual[0][0]] * len(scenes)
    if run.arm == NEIGHBOUR:
        known = captioned("train").references
        return [known[n][0] for n in nearest(scenes)]
    model = new_model(run.arm, run.seed)
    model.load_state_dict(state)
    return described(model.eval(), Shown(scenes, run.arm == BLIND))


@torch.inference_mode()
def nearest(scenes: CaptionedScenes) -> list[int]:
    """The most similar training picture, by the pre-trained encoder's tokens."""
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()

    def seen(data):
        images = torch.stack([pixels(data, n) for n in range(len(data))])
        flat = torch.cat([encoder(x).values.flatten(1) for x in images.split(100)])
        return flat

    known, here = seen(captioned("train")), seen(scenes)
    known, here = known - known.mean(0), here - known.mean(0)
    return (F.normalize(here, dim=-1) @ F.normalize(known, dim=-1).T).argmax(1).tolist()


DESIGN = Design(
    question="What does each part of a small captioner contribute?",
    tries={
        **{arm: [{"rate": r} for r in (5e-4, 2e-3, 5e-3)] for arm in TRAINED},
        NEIGHBOUR: [{}],
        CONSTANT: [{}],
    },
    conditions=[
        Condition("500 pictures", {"steps": STEPS}),
        Condition(
            "twice the steps",
            {"steps": LONGER},
            TRAINED,
            like="500 pictures",
            asks="twice the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="exact",
    seeds=(0, 1, 2, 3, 4),
    tolerance=2.0,
    untrained=(NEIGHBOUR, CONSTANT),
    rests_on=[
        "mmbook/weights/scene-image-encoder/model.safetensors",
        "mmbook/weights/scene-language-model/model.safetensors",
    ],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
