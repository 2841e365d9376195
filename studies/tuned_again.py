"""How many labels does a model in service need after its pictures have changed?

The captioner that ``python -m mmbook.service`` serves meets another camera: pictures with
15 % less light and more noise. People label some of them, and the model is
tuned again, from these labels alone or together with 1,000 pictures of the old kind (replay).
A third arm gets replay and *wrong* labels: the captions of other pictures.

Measured are exact captions of 1,000 new pictures of the new kind and of the old kind. As in
the service, 30 % of the labels (and of the replayed pictures) are held out and decide: the
new version serves if the 95 % interval of new − old over them is above zero.

What is equal: the labels of a seed, steps and batches, three rates for each arm and number
of labels, and 300 validation pictures of each kind, whose mean of exact captions chooses the
rate. What could reverse the answer, and is tried: three times the steps.
"""

from __future__ import annotations

import copy
import functools

import torch
from looks import looking
from runner import Condition, Design, Run, Trained, main
from torch import Tensor

from mmbook.data import Collate, split_numbers
from mmbook.models import MultimodalModel
from mmbook.service.answering import Captioner
from mmbook.service.tuning import same
from mmbook.studies import interval
from mmbook.training import TrainingConfig, fit
from mmbook.world import CaptionedScenes, sample_scenes, scene_tokenizer

BEFORE, ALONE = "before", "labels alone"
REPLAY, WRONG = "labels and replay", "wrong labels and replay"
STEPS, REPLAYED, SHARE, CHECKS = 200, 1000, 0.3, 4
TOKENIZER = scene_tokenizer()


def other_camera(images: Tensor, seed: int) -> Tensor:
    """Pictures (n, 3, H, W) in [0, 1] with 15 % less light, and noisy."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return (0.85 * images + 0.03 * noise).clamp(0, 1)


@functools.cache
def pictures(count: int, seed: int, new: bool) -> list[dict]:
    """Pictures (3, 48, 48) uint8 with their captions, of the new or the old kind."""
    data = CaptionedScenes(sample_scenes(count, seed), seed=seed)
    images = data.images
    if new:
        images = (other_camera(images / 255, seed) * 255).round().byte()
    said = [data[i]["caption"] for i in range(count)]
    pairs = zip(images, said, strict=True)
    return [{"image": image, "caption": caption} for image, caption in pairs]


def served(state: dict[str, Tensor] | None = None) -> MultimodalModel:
    """The captioner of the service, or what became of it."""
    model = MultimodalModel.from_pretrained("mmbook/scene-captioner")
    if state:
        model.load_state_dict(state)
    return model


def right(model: MultimodalModel, items: list[dict]) -> list[float]:
    """For each picture: does the model say what its caption says?"""
    twin = copy.deepcopy(model).cpu()  # a captioner listens to its model's layers
    said = Captioner(twin, TOKENIZER).say([x["image"] for x in items])
    pairs = zip(said, items, strict=True)
    return [float(same(text, item["caption"])) for text, item in pairs]


def exact(model: MultimodalModel, items: list[dict]) -> float:
    """Per cent."""
    found = right(model, items)
    return 100 * sum(found) / len(found)


def both(model: MultimodalModel) -> float:
    """Mean over validation pictures of the new and the old kind, per cent."""
    return sum(exact(model, pictures(300, 9, new)) for new in (True, False)) / 2


def collected(run: Run) -> list[list[dict]]:
    """What people labelled and what is replayed; each is shared out later."""
    labels = pictures(run["labels"], 600 + run.seed, True)
    if run.arm == WRONG:
        others = labels[1:] + labels[:1]
        pairs = zip(labels, others, strict=True)
        labels = [{**item, "caption": x["caption"]} for item, x in pairs]
    replay = [] if run.arm == ALONE else pictures(REPLAYED, 55, False)
    return [labels, replay]


def train(run: Run) -> Trained:
    """Tune the served model again."""
    model = served()
    curve = [(0, both(model))]
    if run.arm == BEFORE:
        return Trained(curve, curve[0][1], dict(model.state_dict()))
    known, held = [], []
    for pool in filter(None, collected(run)):
        first, second = split_numbers(len(pool), SHARE, run.seed)
        known += [pool[i] for i in first]
        held += [pool[i] for i in second]
    before = right(model, held)
    config = TrainingConfig(
        steps=CHECKS if run.quick else run["steps"],
        batch_size=32,
        learning_rate=run["rate"],
        seed=run.seed,
        precision="no",
        compile=False,
        progress=False,
    )
    looking(model, config.steps, lambda step: curve.append((step, both(model))))
    fit(model, known, config, Collate(TOKENIZER, max_length=model.head.max_length))
    curve.append((config.steps, both(model)))
    pairs = zip(right(model, held), before, strict=True)
    found = interval([after - old for after, old in pairs])
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return Trained(curve, curve[-1][1], state | {"serves": torch.tensor([found.low])})


def test_data() -> dict[str, list[dict]]:
    """New pictures of both kinds."""
    return {"new": pictures(1000, 31, True), "old": pictures(1000, 32, False)}


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Exact captions of both kinds, per cent; would this version serve (1 or 0)?"""
    low = state.pop("serves", None)
    model = served(state)
    found = {name: exact(model, items) for name, items in data.items()}
    serves = 0.0 if low is None else float(low.item() > 0)
    return {"both": sum(found.values()) / 2} | found | {"serves": serves}


RATES = [{"rate": rate} for rate in (1e-4, 3e-4, 1e-3)]
LONG = "three times the steps"
DESIGN = Design(
    question="How many labels does a model in service need after a change?",
    tries={BEFORE: [{}], ALONE: RATES, REPLAY: RATES, WRONG: RATES},
    conditions=[
        *(
            Condition(f"{n} labels", {"labels": n, "steps": STEPS})
            for n in (30, 100, 300)
        ),
        Condition(
            f"100 labels, {LONG}",
            {"labels": 100, "steps": 3 * STEPS},
            [ALONE, REPLAY, WRONG],
            like="100 labels",
            asks=LONG,
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="both",
    untrained=[BEFORE],
    rests_on=["mmbook/weights/scene-captioner/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
