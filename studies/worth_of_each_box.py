"""What is each box of the article's last diagram worth, and what can prompts do alone?

The task is a small visual question answering: two objects, "what colour is the star".
The model is that of chapter 2.9: a frozen image encoder, a small text encoder,
cross-attention from words to picture. Self-supervision is masked words with the picture
in sight, on 6,000 pairs. One box is left out at a time, and nothing else with it:

- without self-supervision: cross-attention, labels are all that it learns from;
- without self-supervision and fusion: the means of words and picture are added. The
  difference to the arm before is the fusion's alone;
- without pre-training: the frozen encoder has random weights.

What is equal: labelled questions of a seed, six learning rates for each arm in each
condition, steps, and 300 validation questions, which choose rate and moment and are not
counted as labels. Self-supervision has one rate and one length in all arms.

The arm "no labels" is the model of "everything" before its fine-tuning: a colour is hidden
in a sentence, and the model fills it in, so there is nothing to search. The prompts differ
in how much they resemble the sentences on which it was trained.
What could reverse the answer, and is tried: three times the steps.
"""

from __future__ import annotations

import functools
import random
from copy import deepcopy

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor

from mmbook.data import Collate, mask_words
from mmbook.encoders import ConvImageEncoder, PrecomputedTokens, TextEncoder
from mmbook.fusion import fusion
from mmbook.heads import ClassificationHead, MaskedWordHead
from mmbook.models import MultimodalModel
from mmbook.training import TrainingConfig, fit
from mmbook.world import (
    COLOURS,
    Scene,
    describe,
    render,
    sample_scenes,
    scene_tokenizer,
)

ALL, UNTAUGHT = "everything", "without self-supervision"
UNFUSED, BLIND = "without self-supervision and fusion", "without pre-training"
PROMPTED = "no labels"
LABELLED = (ALL, UNTAUGHT, UNFUSED, BLIND)
PAIRS, SELF_STEPS, SELF_RATE, STEPS = 6000, 400, 3e-3, 160
TOKENIZER = scene_tokenizer(["what", "colour", "is", "the"], mask=True)
COLLATE = Collate(TOKENIZER)
IDS = TOKENIZER.convert_tokens_to_ids(list(COLOURS))
WIDTHS = {"text": 64, "image": 96}


@functools.cache
def scenes(split: str) -> list[Scene]:
    """Scenes of two objects that differ in shape; each split has its own."""
    count, seed = {"pairs": (PAIRS, 1), "test": (1500, 2), "held": (400, 3)}.get(
        split, (800, 10)
    )
    found = sample_scenes(count, seed=seed, objects=(2,))
    return [s for s in found if s.things[0].shape != s.things[1].shape]


@functools.cache
def encoder(kind: str) -> ConvImageEncoder:
    """The package's image encoder, or one of the same form with random weights."""
    if kind == "pre-trained":
        return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConvImageEncoder(96).eval()


@functools.cache
def seen(kind: str, split: str) -> Tensor:
    """The tokens (n, 36, 96) of a split's pictures, computed once."""
    with torch.no_grad():
        images = render(scenes(split), seed=len(split)).split(250)
        return torch.cat([encoder(kind)(part).values for part in images])


def questions(kind: str, split: str, seed: int = 0) -> list[dict]:
    """One question about each scene, with its answer."""
    rng, asked = random.Random(seed), []
    for scene, image in zip(scenes(split), seen(kind, split), strict=True):
        it = rng.choice(scene.things)
        text, label = f"what colour is the {it.shape}", list(COLOURS).index(it.colour)
        asked.append({"text": text, "image": image, "label": label})
    return asked


def captioned(kind: str, split: str) -> list[dict]:
    """Each picture with its sentence."""
    pairs = zip(scenes(split), seen(kind, split), strict=True)
    return [{"text": describe(scene), "image": image} for scene, image in pairs]


def assemble(method: str, head) -> MultimodalModel:
    """Words and kept picture, a fusion, a head."""
    parts = {
        "text": TextEncoder(len(TOKENIZER), 64, layers=1),
        "image": PrecomputedTokens(96),
    }
    return MultimodalModel(parts, fusion(method, widths=WIDTHS, width=64), head)


def hiding(items: list[dict]) -> dict[str, Tensor]:
    """A batch whose words are partly hidden; the labels are the words."""
    batch = COLLATE(items)
    batch["text"], batch["labels"] = mask_words(
        batch["text"], batch["text_mask"], TOKENIZER, share=0.3
    )
    return batch


@functools.cache
def taught(kind: str, seed: int, rate: float, steps: int) -> tuple:
    """A model that filled in hidden words, and its curve on held-out pairs."""
    torch.manual_seed(seed)
    model = assemble("cross_attention", MaskedWordHead(64, len(TOKENIZER)))
    items, held = (captioned(kind, split) for split in ("pairs", "held"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exam = hiding(held)
    history = fit(model, items, config(steps, rate, seed, 64), hiding, right_on(exam))
    return model, curve_of(history)


def config(steps: int, rate: float, seed: int, batch: int) -> TrainingConfig:
    """What all trainings share; the model goes back to its best moment."""
    return TrainingConfig(
        steps=steps,
        batch_size=batch,
        learning_rate=rate,
        validate_every=max(1, steps // 12),
        patience=steps,  # never stops
        metric="accuracy",
        maximise=True,
        precision="no",
        progress=False,
        seed=seed,
    )


def right_on(batch: dict[str, Tensor]):
    """Validation: per cent of the labels that are not −100 and are right."""

    def validate(model) -> dict[str, float]:
        logits, labels = model(**batch).logits, batch["labels"]
        asked = labels != -100
        right = (logits.argmax(-1) == labels)[asked].float().mean()
        return {"accuracy": 100 * right.item()}

    return validate


def curve_of(history) -> list:
    """(step, accuracy) of each validation."""
    return [(row["step"], row["accuracy"]) for row in history.validations]


def train(run: Run) -> Trained:
    """One arm with one seed."""
    self_steps = 4 if run.quick else SELF_STEPS
    if run.arm == PROMPTED:
        model, curve = taught("pre-trained", run.seed, run["rate"], self_steps)
        return Trained(curve, max(v for _, v in curve), model.state_dict())
    kind = "random" if run.arm == BLIND else "pre-trained"
    if run.arm in (ALL, BLIND):
        model = deepcopy(taught(kind, run.seed, SELF_RATE, self_steps)[0])
        torch.manual_seed(run.seed)
    else:
        model = assemble("sum" if run.arm == UNFUSED else "cross_attention", None)
    model.head = ClassificationHead(64, len(COLOURS))
    known = questions(kind, "learn", run.seed)
    random.Random(run.seed).shuffle(known)
    settings = config(4 if run.quick else run["steps"], run["rate"], run.seed, 32)
    held = COLLATE(questions(kind, "held")[:300])
    history = fit(model, known[: run["labels"]], settings, COLLATE, right_on(held))
    curve = curve_of(history)
    return Trained(curve, max(value for _, value in curve), model.state_dict())


def test_data() -> dict:
    """The questions of the test, for both encoders."""
    return {k: COLLATE(questions(k, "test", 5)) for k in ("pre-trained", "random")}


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Per cent of the questions that are answered with the right colour."""
    if run.arm == PROMPTED:
        model = assemble("cross_attention", MaskedWordHead(64, len(TOKENIZER)))
        model.load_state_dict(state)
        return prompted(model)
    kind = "random" if run.arm == BLIND else "pre-trained"
    method = "sum" if run.arm == UNFUSED else "cross_attention"
    model = assemble(method, ClassificationHead(64, len(COLOURS)))
    model.load_state_dict(state)
    with torch.no_grad():
        return right_on(data[kind])(model.eval())


def prompts(scene: Scene, it) -> dict[str, str]:
    """A colour is hidden in sentences that resemble those of training more or less."""
    words = describe(scene).split()
    at = words.index(it.shape)
    one = [*words[: at - 1], "[mask]", *words[at:]]
    rest = ["[mask]"] * len(words)
    rest[at] = it.shape
    return {
        "accuracy": " ".join(one),
        "shape alone": " ".join(rest),
        "own size": f"a {it.size} [mask] {it.shape}",
        "always big": f"a big [mask] {it.shape}",
    }


@torch.no_grad()
def prompted(model: MultimodalModel) -> dict:
    """What the model fills in, by prompt; and with the picture of another scene."""
    rng, rows = random.Random(5), []
    for scene in scenes("test"):
        rows.append((scene, rng.choice(scene.things)))
    images = seen("pre-trained", "test")
    truth = torch.tensor([list(COLOURS).index(it.colour) for _, it in rows])
    found = {}
    for name in ("accuracy", "shape alone", "own size", "always big"):
        texts = [prompts(scene, it)[name] for scene, it in rows]
        said = filled(model, texts, images, rows)
        found[name] = 100 * (said == truth).float().mean().item()
    texts = [prompts(scene, it)["accuracy"] for scene, it in rows]
    said = filled(model, texts, images.roll(1, 0), rows)
    found["another picture"] = 100 * (said == truth).float().mean().item()
    return found


def filled(model, texts: list[str], images: Tensor, rows: list) -> Tensor:
    """The likeliest colour before the shape that is asked about: (n,)."""
    items = [{"text": t, "image": x} for t, x in zip(texts, images, strict=True)]
    batch = COLLATE(items)
    shapes = TOKENIZER.convert_tokens_to_ids([it.shape for _, it in rows])
    here = batch["text"] == torch.tensor(shapes)[:, None]
    at = here.float().argmax(1) - 1  # the word before it
    logits = model.eval()(**batch).logits[torch.arange(len(at)), at]
    return logits[:, IDS].argmax(-1)


DESIGN = Design(
    question="What is each box of the article's last diagram worth?",
    tries={
        **{
            arm: [{"rate": rate} for rate in (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)]
            for arm in LABELLED
        },
        PROMPTED: [{"rate": SELF_RATE}],
    },
    conditions=[
        Condition("25 labels", {"labels": 25, "steps": STEPS}, LABELLED),
        Condition("100 labels", {"labels": 100, "steps": STEPS}, LABELLED[:3]),
        Condition("no labels", {}, (PROMPTED,)),
        Condition(
            "100 labels, longer",
            {"labels": 100, "steps": 3 * STEPS},
            LABELLED[:3],
            like="100 labels",
            asks="three times the steps",
        ),
    ],
    untrained=(PROMPTED,),
    train=train,
    test_data=test_data,
    test=test,
    seeds=(0, 1, 2, 3),
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
