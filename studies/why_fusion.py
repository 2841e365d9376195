"""Must the modalities meet, and does a second one help where they repeat each other?

Two tasks of chapter 1.1. "is it true": a picture of one object and a sentence that names
a colour and a shape; the answer is independent of the picture and of the sentence alone.
"which colour": picture and sentence both tell the colour, if the picture is not empty
(30 %) and the sentence names it (60 %).

What is equal: all arms have the same number of parameters, up to 0.1 per cent; the hidden
layer of the head is as wide as needed. All have the same precomputed image tokens, 4,000
examples, five learning rates, steps, and 1,000 validation examples, which choose rate and
moment.

In "is it true" an arm of one modality needs no training: it is right in half of the cases,
whatever it answers. The test is the whole distribution: each of 48 x 5 pictures with each
of 48 sentences, weighted as the recipe draws them. The same is asked of the model's additive
projection (EMAP, Hessel and Lee 2020, https://arxiv.org/abs/2010.06572): row means
plus column means minus the mean of the margin between the two answers.

What could reverse the answer, and is tried: three times the steps.
"""

from __future__ import annotations

import functools
import random
from itertools import product

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor

from mmbook.data import Collate
from mmbook.encoders import ConvImageEncoder, PrecomputedTokens, TextEncoder
from mmbook.fusion import fusion
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel
from mmbook.training import TrainingConfig, fit
from mmbook.world import (
    COLOURS,
    SHAPES,
    Matching,
    Scene,
    render,
    sample_scenes,
    scene_tokenizer,
)

PICTURE, SENTENCE, LATE = "picture only", "sentence only", "late fusion"
MEAN, CROSS, DROPPED = (
    "concatenation",
    "cross-attention",
    "cross-attention, modality dropout",
)
ARMS = (PICTURE, SENTENCE, LATE, MEAN, CROSS, DROPPED)
LATE_WIDTH = 66  # all others are made as large as this late fusion
OBJECTS = list(product(COLOURS, SHAPES))
COPIES = {(True, True): 105, (False, True): 5, (True, False): 7, (False, False): 1}
TOKENIZER = scene_tokenizer()
COLLATE = Collate(TOKENIZER)
SPLITS = {"learn": (4000, 1), "held": (1000, 3), "test": (2000, 2)}


@torch.no_grad()
def look(images: Tensor) -> Tensor:
    """The tokens (n, 36, 96) of pictures in [0, 1], computed once."""
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()
    return torch.cat([encoder(part).values for part in images.split(250)])


def read(texts: list[str]) -> dict[str, Tensor]:
    """The words of sentences as numbers, with their mask."""
    return COLLATE([{"text": text} for text in texts])


def say(*words: str) -> str:
    """The sentence about an object."""
    return " ".join(("a", *words)).replace("a orange", "an orange")


@functools.cache
def examples(task: str, split: str) -> dict[str, Tensor]:
    """Tensors of a task: image, text, text_mask, labels."""
    count, seed = SPLITS[split]
    if task == "is it true":
        data = Matching(count, seed)
        images, texts, labels = data.images / 255, data.texts, data.labels
    else:
        rng, names = random.Random(seed), list(COLOURS)
        scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
        seen, said = ([rng.random() < share for _ in scenes] for share in (0.7, 0.6))
        shown = [s if ok else Scene(()) for s, ok in zip(scenes, seen, strict=True)]
        images = render(shown, seed=seed)
        its = [scene.things[0] for scene in scenes]
        texts = [
            say(it.colour, it.shape) if ok else say(it.shape)
            for it, ok in zip(its, said, strict=True)
        ]
        labels = [names.index(it.colour) for it in its]
    return {"image": look(images), **read(texts), "labels": torch.tensor(labels)}


def assemble(arm: str, classes: int, wide: int = 64) -> MultimodalModel:
    """The model of an arm; ``wide`` is the width of what may be widened."""
    names = {PICTURE: ("image",), SENTENCE: ("text",)}.get(arm, ("text", "image"))
    parts = {"text": TextEncoder(len(TOKENIZER), 64, 1), "image": PrecomputedTokens(96)}
    encoders = {name: parts[name] for name in names}
    widths = {name: parts[name].width for name in names}
    if arm == LATE:  # the hidden layers stand before the sum, and the head is linear
        head = ClassificationHead(wide, classes)
        return MultimodalModel(
            encoders, fusion("late", widths=widths, width=wide), head
        )
    method = "cross_attention" if arm in (CROSS, DROPPED) else "concatenation"
    head = ClassificationHead(64, classes, hidden=wide)
    return MultimodalModel(encoders, fusion(method, widths=widths, width=64), head)


def count(model: MultimodalModel) -> int:
    """How many parameters a model has."""
    return sum(p.numel() for p in model.parameters())


@functools.cache
def width(arm: str, classes: int) -> int:
    """The width with which an arm has as many parameters as late fusion."""
    if arm == LATE:
        return LATE_WIDTH
    with torch.random.fork_rng():
        wanted = count(assemble(LATE, classes, LATE_WIDTH))
        low, high = 8, 4096
        while high - low > 1:
            middle = (low + high) // 2
            below = count(assemble(arm, classes, middle)) <= wanted
            low, high = (middle, high) if below else (low, middle)
        return low


def batches(data: dict[str, Tensor], arm: str):
    """A collate function that takes rows out of tensors, and only what an arm reads."""
    keep = {PICTURE: ("image", "labels"), SENTENCE: ("text", "text_mask", "labels")}
    rng = random.Random(0)

    def batch(rows: list[int]) -> dict[str, Tensor]:
        names = keep.get(arm, tuple(data))
        if arm == DROPPED:
            names = rng.choice([names, names, keep[PICTURE], keep[SENTENCE]])
        return {name: data[name][rows] for name in names}

    return batch


def accuracy(model, data: dict[str, Tensor], names: tuple[str, ...]) -> dict:
    """Per cent of right answers, and the mean probability of the answer given."""
    batch = {k: x for k, x in data.items() if k.removesuffix("_mask") in names}
    sure, said = model(**batch).logits.softmax(-1).max(-1)
    right = (said == data["labels"]).float().mean().item()
    return {"accuracy": 100 * right, "sure": 100 * sure.mean().item()}


def train(run: Run) -> Trained:
    """One arm with one seed; the model goes back to its best moment."""
    task, classes = run["task"], run["classes"]
    learn, held = examples(task, "learn"), examples(task, "held")
    model = assemble(run.arm, classes, width(run.arm, classes))
    steps = 8 if run.quick else run["steps"]
    config = TrainingConfig(
        steps=steps,
        learning_rate=run["rate"],
        validate_every=max(1, steps // 10),
        patience=steps,  # never stops
        metric="accuracy",
        maximise=True,
        precision="no",
        compile=False,
        progress=False,
        seed=run.seed,
    )
    names = tuple(model.encoders)
    history = fit(
        model,
        range(len(learn["labels"])),
        config,
        batches(learn, run.arm),
        lambda model: accuracy(model, held, names),
    )
    curve = [(row["step"], row["accuracy"]) for row in history.validations]
    return Trained(curve, max(value for _, value in curve), model.state_dict())


def test_data() -> dict:
    """All pictures with all sentences; the other task's 2,000 examples."""
    scenes, found = sample_scenes(6000, 5, objects=(1,), pairs="all"), {}
    for scene in scenes:
        it = scene.things[0]
        found.setdefault((it.colour, it.shape), []).append(scene)
    shown = [scene for it in OBJECTS for scene in found[it][:5]]
    return {
        "pictures": look(render(shown, seed=5)),
        "sentences": read([say(*it) for it in OBJECTS]),
        "which colour": examples("which colour", "test"),
    }


@torch.no_grad()
def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """What the model answers, with both modalities and with one."""
    model = assemble(run.arm, run["classes"], width(run.arm, run["classes"]))
    model.load_state_dict(state)
    model.eval()
    result = {"parameters": count(model)}
    if run["task"] == "is it true":
        return result | related(model, data["pictures"], data["sentences"])
    both = data["which colour"]
    result |= accuracy(model, both, tuple(model.encoders))
    if len(model.encoders) == 2:
        for name, left in (("no sentence", ("image",)), ("no picture", ("text",))):
            one = accuracy(model, both, left)
            result |= {name: one["accuracy"], f"{name}, sure": one["sure"]}
    return result


def related(model, pictures: Tensor, sentences: dict[str, Tensor]) -> dict:
    """Right answers over the whole recipe, by kind, and of the additive projection."""
    rows = []
    for picture in pictures:
        batch = {"image": picture.expand(len(OBJECTS), -1, -1), **sentences}
        mine = {
            k: x for k, x in batch.items() if k.removesuffix("_mask") in model.encoders
        }
        logits = model(**mine).logits
        rows.append(logits[:, 1] - logits[:, 0])
    margin = torch.stack(rows)  # (pictures, sentences)
    kind = {key: torch.zeros(margin.shape, dtype=torch.bool) for key in COPIES}
    for i, j in product(range(len(margin)), range(len(OBJECTS))):
        a, b = OBJECTS[i * len(OBJECTS) // len(margin)], OBJECTS[j]
        kind[a[0] == b[0], a[1] == b[1]][i, j] = True
    weight = sum(COPIES[key] * where for key, where in kind.items()) / len(margin)
    weight, truth = weight / weight.sum(), kind[True, True]
    additive = margin.mean(1, keepdim=True) + margin.mean(0) - margin.mean()
    right, projected = (((m > 0) == truth).float() for m in (margin, additive))
    share = {
        name: 100 * right[kind[key]].mean().item()
        for key, name in {
            (True, True): "true",
            (False, True): "wrong colour",
            (True, False): "wrong shape",
            (False, False): "both wrong",
        }.items()
    }
    return {
        "accuracy": 100 * (right * weight).sum().item(),
        "additive": 100 * (projected * weight).sum().item(),
        "interaction": ((margin - additive).square() * weight).sum().sqrt().item(),
        **share,
        **alone(model, pictures, sentences),
    }


def alone(model, pictures: Tensor, sentences: dict[str, Tensor]) -> dict:
    """How sure a model of two modalities is with one of them: the other is missing."""
    if len(model.encoders) == 1:
        return {}
    given = {"no sentence, sure": {"image": pictures}, "no picture, sure": sentences}
    return {
        name: 100 * model(**batch).logits.softmax(-1).amax(-1).mean().item()
        for name, batch in given.items()
    }


TRUE = {"task": "is it true", "classes": 2, "steps": 400}
COLOUR = {"task": "which colour", "classes": 8, "steps": 250}
RATES = [{"rate": rate} for rate in (1e-3, 3e-3, 1e-2, 3e-2)]
DESIGN = Design(
    question="Must the modalities meet, and does a second one help where they repeat?",
    tries={arm: [{"rate": 3e-4}, *RATES] for arm in ARMS},
    conditions=[
        Condition("is it true", TRUE, (LATE, MEAN, CROSS)),
        Condition("which colour", COLOUR, (PICTURE, SENTENCE, LATE, CROSS, DROPPED)),
        Condition(
            "is it true, longer",
            TRUE | {"steps": 1200},
            (LATE, MEAN, CROSS),
            like="is it true",
            asks="three times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    seeds=(0, 1, 2),
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
