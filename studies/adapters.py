"""How much of a model must be trained for a new task, and does it depend on the way?

A captioner that says "a big red circle" shall say "a circle red big": other sentences
about the same pictures, from 300 captions. Each arm is one way to train little: all
parameters, the last layer, the biases, LoRA of three ranks, adapters, prefixes, a prompt,
IA³, and the cross-attention as a whole, alone or with LoRA of rank 4.

Two bases: *near* has learned to caption in English; *far* is the language model before
that, whose cross-attention is random and has never met a picture. The image encoder is
frozen in all arms. The measure is the share of captions that greedy decoding gets
exactly right, word for word.

What is equal: the captions of a seed, the steps, the batches, four learning rates for
each arm in each condition, and 400 validation captions, which choose rate and moment.
The rates are half a decade apart; their middle differs, as the ways need it. What could
reverse the answer, and is tried: three times the steps, and, from the far base, four
times the captions.
"""

from __future__ import annotations

import functools
from copy import deepcopy

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn

from mmbook.data import Collate
from mmbook.encoders import ConvImageEncoder
from mmbook.finetuning import (
    add_adapters,
    add_ia3,
    add_lora,
    add_prefix,
    add_prompt,
    freeze,
    train_biases,
)
from mmbook.heads import GenerationHead
from mmbook.models import Output
from mmbook.tokens import Tokens
from mmbook.training import TrainingConfig, fit
from mmbook.world import describe, in_order, render, sample_scenes, scene_tokenizer

TOP, EVERY = ("head.norm", "head.bias"), ("*",)
BRIDGE = (*TOP, "head.blocks.0.cross", "head.blocks.1.cross")
BOTH = ("attention", "cross")
STEPS, LABELS = 240, 300
WAYS = {  # what is done to the model, and the lowest of its four rates
    "full": (lambda m: m, 3e-4),
    "last layer": (lambda m: freeze(m, TOP), 3e-3),
    "biases": (lambda m: train_biases(m, keep=TOP), 1e-2),
    "LoRA, rank 1": (lambda m: add_lora(m, 1, where=EVERY, keep=TOP), 3e-3),
    "LoRA, rank 4": (lambda m: add_lora(m, 4, where=EVERY, keep=TOP), 3e-3),
    "LoRA, rank 16": (lambda m: add_lora(m, 16, where=EVERY, keep=TOP), 1e-3),
    "adapters": (lambda m: add_adapters(m, 4, keep=TOP), 3e-3),
    "prefix": (lambda m: add_prefix(m, 8, where=BOTH, keep=TOP), 3e-2),
    "prompt": (lambda m: add_prompt(m, 16, keep=TOP), 3e-2),
    "IA³": (lambda m: add_ia3(m, keep=TOP), 3e-2),
    "cross-attention": (lambda m: freeze(m, BRIDGE), 1e-3),
    "cross-attention + LoRA": (
        lambda m: add_lora(m, 4, where=EVERY, keep=BRIDGE),
        1e-3,
    ),
}
FAR = ("full", "LoRA, rank 4", "cross-attention", "cross-attention + LoRA")
NEAR = tuple(WAYS)[:10]
RANKS = (0, 1, 2, 4, 8, 16, 32, 96)
TOKENIZER = scene_tokenizer()
COLLATE = Collate(TOKENIZER)


def noun_first(scene) -> str:
    """The caption in the new word order: a circle red big above a star blue small."""
    objects, relation = in_order(scene)
    return f" {relation} ".join(f"a {o.shape} {o.colour} {o.size}" for o in objects)


@functools.cache
def encoder() -> ConvImageEncoder:
    """The package's image encoder."""
    return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()


@functools.cache
def captioned(count: int, seed: int, say=noun_first) -> list[dict]:
    """Pictures as tokens (36, 96), computed once, and what is to be said of them."""
    scenes = sample_scenes(count, seed)
    with torch.no_grad():
        images = render(scenes, seed=seed).split(250)
        tokens = torch.cat([encoder()(part).values for part in images])
    return [
        {"image": x, "caption": say(scene)}
        for x, scene in zip(tokens, scenes, strict=True)
    ]


class Captioner(nn.Module):
    """Precomputed tokens of a picture in, a caption out."""

    def __init__(self, head: GenerationHead):
        super().__init__()
        self.head = head

    def forward(self, image: Tensor, labels: Tensor | None = None) -> Output:
        logits, loss = self.head(Tokens(image), labels)
        return Output(loss=loss, logits=logits)


def language_model(seed: int = 0) -> Captioner:
    """The language model with new cross-attention, which has never met a picture."""
    torch.manual_seed(seed)
    head = GenerationHead.from_pretrained("mmbook/scene-language-model")
    return Captioner(head.with_context(96))


@functools.cache
def captioner(quick: bool) -> Captioner:
    """Trained on 3,000 captions in English: the near base."""
    model = language_model()
    settings = TrainingConfig(
        steps=4 if quick else 600,
        batch_size=24,
        learning_rate=2e-3,
        precision="no",
        progress=False,
    )
    fit(model, captioned(3000, 1, describe), settings, COLLATE)
    return model


def base(run: Run) -> Captioner:
    """A copy of what fine-tuning starts from; the far base is new with each seed."""
    if run["base"] == "far":
        return language_model(run.seed)
    return deepcopy(captioner(run.quick))


@torch.no_grad()
def exact(model: nn.Module, batch: dict) -> float:
    """Per cent of the captions that greedy decoding gets exactly right.

    It writes the reference if, behind the right words, the likeliest word is at each
    place the right one: one pass with the true words tells it.
    """
    labels = batch["labels"]
    right = model.eval()(**batch).logits.argmax(-1) == labels
    return 100 * (right | (labels < 0)).all(1).float().mean().item()


def train(run: Run) -> Trained:
    """One way with one seed."""
    model = base(run)
    torch.manual_seed(run.seed)
    model = WAYS[run.arm][0](model)
    steps = 4 if run.quick else run["steps"]
    settings = TrainingConfig(
        steps=steps,
        batch_size=24,
        learning_rate=run["rate"],
        validate_every=max(1, steps // 8),
        patience=steps,  # never stops
        metric="exact",
        maximise=True,
        precision="no",
        progress=False,
        seed=run.seed,
    )
    held = COLLATE(captioned(400, 12))
    known = captioned(run["labels"], 1000 + run.seed)
    history = fit(model, known, settings, COLLATE, lambda m: {"exact": exact(m, held)})
    curve = [(row["step"], row["exact"]) for row in history.validations]
    return Trained(curve, max(v for _, v in curve), model.state_dict())


def test_data() -> dict:
    """A thousand pictures that nobody has seen."""
    return COLLATE(captioned(1000, 13))


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Exact captions; of full fine-tuning also with its change cut to a rank."""
    start = base(run)
    model = WAYS[run.arm][0](deepcopy(start))
    model.load_state_dict(state)
    found = {"exact": exact(model, data)}
    if run.arm == "full" and run["base"] == "near":
        for rank in RANKS:
            found[f"rank {rank}"] = exact(cut(model, start, rank), data)
    return found


@torch.no_grad()
def cut(model: nn.Module, start: nn.Module, rank: int) -> nn.Module:
    """The model with the change of each weight matrix of a layer cut to a rank."""
    model, before = deepcopy(model), dict(start.named_modules())
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            u, s, v = torch.linalg.svd(layer.weight - before[name].weight)
            s[rank:] = 0
            change = u[:, : len(s)] * s @ v[: len(s)]
            layer.weight.copy_(before[name].weight + change)
    return model


DESIGN = Design(
    question="How much of a model must be trained for a new task, and in which way?",
    tries={
        arm: [{"rate": round(lowest * factor, 6)} for factor in (1, 3, 10, 30)]
        for arm, (_, lowest) in WAYS.items()
    }
    | {"last layer": [{"rate": rate} for rate in (0.03, 0.09, 0.3, 1.0)]},
    conditions=[
        Condition("near", {"base": "near", "labels": LABELS, "steps": STEPS}, NEAR),
        Condition("far", {"base": "far", "labels": LABELS, "steps": STEPS}, FAR),
        Condition(
            "near, longer",
            {"base": "near", "labels": LABELS, "steps": 3 * STEPS},
            NEAR,
            like="near",
            asks="three times the steps",
        ),
        Condition(
            "far, longer",
            {"base": "far", "labels": LABELS, "steps": 3 * STEPS},
            FAR,
            like="far",
            asks="three times the steps",
        ),
        Condition(
            "far, more captions",
            {"base": "far", "labels": 4 * LABELS, "steps": STEPS},
            FAR,
            like="far",
            asks="four times the captions",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="exact",
    tolerance=2.0,
    rests_on=[
        "mmbook/weights/scene-image-encoder/model.safetensors",
        "mmbook/weights/scene-language-model/model.safetensors",
    ],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
