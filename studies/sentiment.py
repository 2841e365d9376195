"""What is each modality worth for a mood, and can a model do without one?

People with a sentence, a face and a voice; each gives a sign of the mood, independently of
the others, and the mood is that of the majority. Nobody who knows one or two of the signs
can be right in more than three of four cases; who knows all three can always be right.

Compared: a model for each of the seven sets of modalities, and one model with all three
that is trained with some of them left out at random (modality dropout), so that it can be
asked with any subset. All else is equal: 4,000 people, their order, the steps, the number
of tries. Voices of the test are not among those of the training. What could reverse the
answer, and is tried: three times the steps.

At the test the two models with three modalities are asked with every subset, from which
the chapter computes Shapley values, and about ironic people alone.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import chain, combinations

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor

from mmbook.data import Collate
from mmbook.encoders import ConvAudioEncoder, ConvImageEncoder, TextEncoder
from mmbook.fusion import fusion
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel, eval_mode
from mmbook.training import TrainingConfig, fit
from mmbook.world import MODALITIES, Moods, mood_words, sample_people, scene_tokenizer

FOLDER = "mmbook/weights/scene-image-encoder"
SUBSETS = list(chain.from_iterable(combinations(MODALITIES, n) for n in (1, 2, 3)))
NAMES = {"text": "text", "image": "face", "audio": "voice"}
READS = {" + ".join(NAMES[m] for m in subset): subset for subset in SUBSETS}
ALL, DROPPED = " + ".join(NAMES.values()), "all, with modality dropout"
READS[DROPPED] = MODALITIES
PEOPLE, VALIDATED, TESTED, BATCH, POINTS, WIDTH = 4000, 500, 1000, 32, 8, 64
STEPS, LONGER, LEFT_OUT = 500, 1500, 0.3


@cache
def collate() -> Collate:
    return Collate(scene_tokenizer(mood_words()))


@cache
def people(count: int, seed: int, split: str) -> Moods:
    return Moods(sample_people(count, seed, split))


def new_model(arm: str, seed: int) -> MultimodalModel:
    """The encoders that an arm has, one vector of each side by side, a classifier."""
    torch.manual_seed(seed)
    encoders = {
        "text": TextEncoder(len(collate().tokenizer), width=WIDTH, layers=1),
        "image": ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder"),
        "audio": ConvAudioEncoder(width=WIDTH, mels=40, rate=8_000),
    }
    chosen = {name: encoders[name] for name in READS[arm]}
    widths = {name: encoder.width for name, encoder in chosen.items()}
    joined = fusion("vector_concatenation", widths=widths, width=WIDTH)
    return MultimodalModel(chosen, joined, ClassificationHead(WIDTH, classes=2))


class Leaving:
    """A collate that leaves out modalities of a whole batch at random, never all."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)

    def __call__(self, items: list[dict]) -> dict[str, Tensor]:
        while True:
            out = {name for name in MODALITIES if self.rng.random() < LEFT_OUT}
            if len(out) < len(MODALITIES):
                return known(collate()(items), set(MODALITIES) - out)


def known(batch: dict[str, Tensor], names) -> dict[str, Tensor]:
    """A batch with these modalities alone, and its labels."""
    kept = {*names, "labels"}
    return {k: v for k, v in batch.items() if k.removesuffix("_mask") in kept}


@torch.no_grad()
def answers(model, data: Moods, names) -> Tensor:
    """Is each answer right, with these modalities? (n,) bool."""
    right = []
    with eval_mode(model):
        for start in range(0, len(data), 250):
            rows = range(start, min(start + 250, len(data)))
            batch = known(collate()([data[i] for i in rows]), names)
            right.append(model(**batch).logits.argmax(-1) == batch["labels"])
    return torch.cat(right)


def train(run: Run) -> Trained:
    """The curve is the accuracy on validation people, with all that the arm reads."""
    names, steps = READS[run.arm], 8 if run.quick else run["steps"]
    data = people(200 if run.quick else PEOPLE, 10 * run.seed + 1, "train")
    held = people(60 if run.quick else VALIDATED, 10 * run.seed + 2, "validation")
    model = new_model(run.arm, run.seed)
    config = TrainingConfig(
        steps=steps,
        batch_size=BATCH,
        learning_rate=run["rate"],
        validate_every=max(1, steps // POINTS),
        patience=steps,  # never stops
        metric="accuracy",
        maximise=True,
        progress=False,
        seed=run.seed,
    )
    history = fit(
        model,
        data,
        config,
        Leaving(run.seed)
        if run.arm == DROPPED
        else lambda items: known(collate()(items), names),
        lambda now: {"accuracy": 100 * answers(now, held, names).float().mean().item()},
    )
    curve = [(row["step"], row["accuracy"]) for row in history.validations]
    return Trained(curve, max(value for _, value in curve), model.state_dict())


def test_data() -> Moods:
    return people(TESTED, 7, "test")


def test(run: Run, state: dict[str, Tensor], data: Moods) -> dict:
    """Accuracy, of ironic people too; models with all are asked with every subset."""
    model = new_model(run.arm, run.seed)
    model.load_state_dict(state)
    right = answers(model, data, READS[run.arm]).float()
    ironic = torch.tensor([person.ironic for person in data.people])
    found = {
        "accuracy": 100 * right.mean().item(),
        "accuracy, ironic": 100 * right[ironic].mean().item(),
    }
    if run.arm in (ALL, DROPPED):
        for name, subset in READS.items():
            if name != DROPPED:
                share = answers(model, data, subset).float().mean().item()
                found[f"asked with {name}"] = 100 * share
    return found


RATES = [{"rate": rate} for rate in (1e-3, 2e-3, 4e-3)]
DESIGN = Design(
    question="What is each modality worth for a mood?",
    tries={arm: RATES for arm in READS},
    conditions=[
        Condition("4,000 people", {"steps": STEPS}),
        Condition(
            "three times the steps",
            {"steps": LONGER},
            like="4,000 people",
            asks="three times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    rests_on=[f"{FOLDER}/model.safetensors", f"{FOLDER}/config.json"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
