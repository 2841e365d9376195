"""Which fusions can bind, and how much of it is the work of the head that reads them?

The task is binding: a picture shows two objects of different colours, a sentence names one
of the colours, and the answer is the shape of that object (one of six). A model that
knows both shapes, but not which of them is meant, is right in 7 of 12 cases.

Every fusion of the package stands between the same two inputs and one of three heads. The
inputs are the tokens of a picture from the frozen image encoder of chapter 2.2, its
6 × 6 averaged to 3 × 3 so that 500 trainings fit into an hour, and two words from a learned
table. The heads:

- "mean": the mean of the fused tokens, a hidden layer, a linear layer;
- "one layer": a [CLS] token before the fused tokens, one transformer layer, and a linear
  layer on [CLS]. The query of [CLS] is the same for all examples;
- "two layers": the same with two transformer layers. In the first one the fused tokens
  can look at each other, so this head can bind by itself. In the second one [CLS] reads.

What is equal: the 12,000 training scenes, the order of the examples for a seed, width 32,
two layers with two heads of attention in each fusion that has layers, steps, AdamW with one
cycle of the rate, the search over three rates in each condition, 1,000 validation
examples that choose rate and moment. The 3,000 scenes of the test are used once.
What could reverse the answer, and is tried: three times the steps, for all fusions whose
tokens are made from mean vectors, and for the others that are not near 100 %.

Missing words: the same models are tested with the picture alone, and five of them are
trained again with the words left out of three in ten batches (modality dropout).
"""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn

from mmbook.encoders import ConvImageEncoder, PrecomputedTokens, TextEncoder
from mmbook.explain import blindfold
from mmbook.fusion import FUSIONS, fusion
from mmbook.fusion.projector import merge_tokens
from mmbook.heads import ClassificationHead
from mmbook.layers import Block
from mmbook.losses import cross_entropy
from mmbook.models import MultimodalModel
from mmbook.saving import Configured
from mmbook.tokens import Tokens
from mmbook.world import COLOURS, SHAPES, Scene, render, sample_scenes, scene_tokenizer

D, LAYERS, HEADS, BATCH, SIDE = 32, 2, 2, 64, 3
SIZES = {"train": (12_000, 11), "held": (1000, 12), "test": (3000, 13)}
TOKENIZER = scene_tokenizer()
VALIDATIONS = 10
POOLED = (  # fusions that begin with the mean vector of each modality
    *("vector_concatenation", "late", "sum", "product"),
    *("gated", "bilinear", "low_rank"),
)
FLAT = (*POOLED, "concatenation", "projector")  # without layers of attention
LAYERED = ("concatenation", "projector", "cross_attention", "merged_attention")
ASKED = ("cross_attention", "gated_cross_attention", "merged_attention", "q_former")


class ReadingHead(Configured):
    """A [CLS] token before the fused tokens, transformer layers, a linear layer."""

    def __init__(self, width: int, classes: int, layers: int, heads: int = HEADS):
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """Logits (B, C), and the cross-entropy with labels (B,)."""
        first = Tokens(self.token.expand(len(tokens), 1, -1))
        joined = Tokens.concatenate([first, tokens])
        x = joined.values
        for block in self.blocks:
            x = block(x, joined.mask)
        logits = self.out(self.norm(x[:, 0]))
        return logits, None if labels is None else cross_entropy(logits, labels)


@functools.cache
def binding(split: str) -> tuple[list[str], Tensor, list[Scene]]:
    """Sentences that name the colour of one of two objects; its shape; the scenes."""
    count, seed = SIZES[split]
    rng, texts, labels, scenes = random.Random(seed), [], [], []
    for scene in sample_scenes(count, seed, (2,), pairs="all"):
        colours = rng.sample(list(COLOURS), 2)
        shapes = rng.choices(SHAPES, k=2)
        things = zip(scene.things, colours, shapes, strict=True)
        scenes.append(Scene(tuple(replace(t, colour=c, shape=s) for t, c, s in things)))
        which = rng.randrange(2)
        texts.append(f"{colours[which]} thing")
        labels.append(SHAPES.index(shapes[which]))
    return texts, torch.tensor(labels), scenes


@functools.cache
def batch(split: str) -> dict[str, Tensor]:
    """All examples of a split as one batch, with the picture's tokens (n, 9, 96)."""
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()
    texts, labels, scenes = binding(split)
    words = TOKENIZER(texts, return_tensors="pt")["input_ids"]
    seen = []
    with torch.no_grad():
        for at in range(0, len(scenes), 500):
            images = render(scenes[at : at + 500], seed=SIZES[split][1])
            seen.append(merge_tokens(encoder(images), SIDE).values)
    return {"image": torch.cat(seen), "text": words, "labels": labels}


@functools.cache
def scale() -> tuple[Tensor, Tensor]:
    """Mean and spread of each of the 96 features over the training pictures."""
    image = batch("train")["image"]
    return image.mean((0, 1)), image.std((0, 1))


@functools.cache
def standardised(split: str) -> dict[str, Tensor]:
    """The batch of a split whose features have mean 0 and spread 1 in training."""
    mean, spread = scale()
    return {**batch(split), "image": (batch(split)["image"] - mean) / spread}


def assemble(name: str, head: str) -> MultimodalModel:
    """The model: tokens of the picture, a table of words, a fusion, a head."""
    widths = {"image": 96, "text": D}
    if "cross_attention" in name:  # the words ask
        widths = dict(reversed(widths.items()))
    more = {} if name in FLAT else {"layers": LAYERS}
    if name not in (*FLAT, "film", "multimodal_convolution"):
        more["heads"] = HEADS
    parts = {
        "image": PrecomputedTokens(96),
        "text": TextEncoder(len(TOKENIZER), D, layers=0),
    }
    reader = (
        ClassificationHead(D, len(SHAPES), hidden=2 * D)
        if head == "mean"
        else ReadingHead(D, len(SHAPES), {"one layer": 1, "two layers": 2}[head])
    )
    return MultimodalModel(parts, fusion(name, widths=widths, width=D, **more), reader)


@torch.no_grad()
def answers(model: MultimodalModel, data: dict[str, Tensor]) -> Tensor:
    """The shape that the model names for each example."""
    model.eval()
    found = []
    for rows in torch.arange(len(next(iter(data.values())))).split(500):
        given = {k: v[rows] for k, v in data.items() if k != "labels"}
        found.append(model(**given).logits.argmax(-1))
    model.train()
    return torch.cat(found)


def right(model: MultimodalModel, data: dict[str, Tensor]) -> float:
    """Per cent of right answers."""
    return 100 * (answers(model, data) == data["labels"]).float().mean().item()


def train(run: Run) -> Trained:
    """One fusion with one head and one seed; back to the best moment at the end."""
    data, held = standardised("train"), standardised("held")
    steps = 8 if run.quick else run["steps"]
    model = assemble(run.arm, run["head"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=run["rate"], fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["rate"], total_steps=steps, pct_start=0.1
    )
    order = torch.Generator().manual_seed(run.seed)
    curve, best, state = [], -1.0, {}
    for step in range(1, steps + 1):
        rows = torch.randint(len(data["labels"]), (BATCH,), generator=order)
        given = {key: value[rows] for key, value in data.items()}
        if torch.rand(1, generator=order) < run["drop"]:
            given = blindfold(given, "text")
        loss = model(**given).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        if step % max(1, steps // VALIDATIONS) == 0:
            if not loss.isfinite():
                raise FloatingPointError
            curve.append((step, right(model, held)))
            if curve[-1][1] > best:
                best = curve[-1][1]
                state = {k: v.clone() for k, v in model.state_dict().items()}
    return Trained(curve, best, state)


def test_data() -> tuple[dict[str, Tensor], Tensor]:
    """The test set, and the shape of the object that is not meant."""
    texts, _, scenes = binding("test")
    other = []
    for text, scene in zip(texts, scenes, strict=True):
        (it,) = (t for t in scene.things if t.colour != text.split()[0])
        other.append(SHAPES.index(it.shape))
    return standardised("test"), torch.tensor(other)


def test(run: Run, state: dict[str, Tensor], data: tuple) -> dict:
    """Right answers; where the shapes differ, the other one; answers without words."""
    given, other = data
    model = assemble(run.arm, run["head"])
    model.load_state_dict(state)
    said, labels = answers(model, given), given["labels"]
    apart = labels != other
    wordless = blindfold(given, "text")
    return {
        "accuracy": 100 * (said == labels).float().mean().item(),
        "the other shape": 100 * (said == other)[apart].float().mean().item(),
        "without words": right(model, wordless),
    }


RATES = [{"rate": rate} for rate in (2e-3, 6e-3, 2e-2)]
STEPS = 600


def condition(name: str, head: str, arms=(), times: int = 1, drop=0.0, **like):
    """What all fusions have in common in a condition."""
    return Condition(
        name, {"head": head, "steps": times * STEPS, "drop": drop}, arms, **like
    )


DESIGN = Design(
    question="Which fusions can bind, and how much of it is the work of the head?",
    tries={name: RATES for name in FUSIONS},
    conditions=[
        condition("two layers", "two layers"),
        condition("mean", "mean"),
        condition("one layer", "one layer", LAYERED),
        condition(
            "two layers, longer",
            "two layers",
            POOLED,
            times=3,
            like="two layers",
            asks="three times the steps",
        ),
        condition(
            "words dropped",
            "two layers",
            ASKED,
            drop=0.3,
            like="two layers",
            asks="the words left out of three in ten batches",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
