"""Which fusions can bind, and how much of it is the work of the head that reads them?

The task is binding: a picture shows two objects of different colours, a sentence names one
of the colours, and the answer is the shape of that object (one of six). A model that
knows both shapes, but not which of them is meant, is right in 7 of 12 cases.

Every fusion of the package stands between the same two inputs and one of two heads. The
inputs are two region features of a picture, as a detector would give them: the tokens of
the frozen image encoder of chapter 2.2 at the two objects' centres; and two words from
a learned table. The heads:

- "mean": the mean of the fused tokens, a hidden layer, a linear layer;
- "transformer": a [CLS] token before the fused tokens, two transformer layers, and a
  linear layer on [CLS]. In the first layer the fused tokens can look at each other, so
  this head can bind by itself; in the second one [CLS] reads.

What is equal: 12,000 training scenes, the order of the examples for a seed, width 32, two
layers with two heads of attention in each fusion that has layers, steps, Adam with decoupled
weight decay and one cycle of the rate, the search over five rates in each condition,
and 500 validation examples that choose rate and moment. The 3,000 scenes of the test
are used once. What could reverse the answer, and is tried: four times the steps, for
the fusions that are not near 100 per cent before (and for concatenation), and twelve
times the steps for those that then stay near the bound, and under the mean.

The models are also tested with the picture alone; they were always given words.

All rates and seeds of an arm are trained side by side, as one batch of models; each has its
own first weights, its own order of examples and its own optimiser.
"""

from __future__ import annotations

import functools
import math
import random
from copy import deepcopy
from dataclasses import replace

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import FUSIONS, fusion
from mmbook.heads import ClassificationHead
from mmbook.layers import Block
from mmbook.tokens import Tokens
from mmbook.world import COLOURS, SHAPES, Scene, render, sample_scenes

D, LAYERS, HEADS, BATCH, VALIDATIONS = 32, 2, 2, 32, 8
SIZES = {"train": (12_000, 11), "held": (500, 12), "test": (3000, 13)}
WORDS = [*COLOURS, "thing"]
SEEDS, SEARCH_SEED = (0, 1, 2), 99
RATES = [{"rate": rate} for rate in (5e-4, 1e-3, 2e-3, 5e-3, 1.2e-2)]
POOLED = (  # fusions that begin with the mean vector of each modality
    *("late", "vector_concatenation", "sum", "product"),
    *("gated", "bilinear", "low_rank"),
)
FLAT = (*POOLED, "concatenation", "projector")  # without layers
ASKED = ("cross_attention", "gated_cross_attention", "merged_attention", "q_former")


class ReadingHead(nn.Module):
    """A [CLS] token before the fused tokens, two transformer layers, a linear layer."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(1, D))
        self.blocks = nn.ModuleList(Block(D, HEADS) for _ in range(2))
        self.norm, self.out = nn.LayerNorm(D), nn.Linear(D, len(SHAPES))

    def forward(self, tokens: Tokens) -> tuple[Tensor, None]:
        """Logits (B, 6), as a head of the package returns them."""
        first = Tokens(self.token.expand(len(tokens), 1, D))
        joined = Tokens.concatenate([first, tokens])
        x = joined.values
        for block in self.blocks:
            x = block(x, joined.mask)
        return self.out(self.norm(x[:, 0])), None


class Answerer(nn.Module):
    """A table of words, a fusion, a head."""

    def __init__(self, name: str, head: str):
        super().__init__()
        widths = {"image": 96, "text": D}
        if name.endswith("cross_attention"):  # the words ask
            widths = dict(reversed(widths.items()))
        more = {} if name in FLAT else {"layers": LAYERS}
        if name not in (*FLAT, "film", "multimodal_convolution"):
            more["heads"] = HEADS
        self.table = nn.Parameter(torch.randn(len(WORDS), D))
        self.fusion = fusion(name, widths=widths, width=D, **more)
        mean = head == "mean"
        self.head = (
            ClassificationHead(D, len(SHAPES), hidden=2 * D) if mean else ReadingHead()
        )

    def forward(self, image: Tensor, colours: Tensor | None) -> Tensor:
        """Regions (B, 2, 96) and one-hot colours (B, 8) or None → logits (B, 6)."""
        tokens = {"image": Tokens(image)}
        if colours is not None:
            named = colours @ self.table[:-1]  # (B, D)
            noun = self.table[-1:].expand_as(named)
            tokens["text"] = Tokens(torch.stack([named, noun], 1))
        return self.head(self.fusion(tokens))[0]


@functools.cache
def data(split: str) -> dict[str, Tensor]:
    """Regions, the colour that is named, the shape that is meant and the other one."""
    count, seed = SIZES[split]
    rng, scenes, rows = random.Random(seed), [], []
    for scene in sample_scenes(count, seed, (2,), pairs="all"):
        colours, shapes = rng.sample(list(COLOURS), 2), rng.choices(SHAPES, k=2)
        things = zip(scene.things, colours, shapes, strict=True)
        pair = [replace(it, colour=c, shape=s) for it, c, s in things]
        scenes.append(Scene(tuple(pair)))
        which = rng.randrange(2)
        rows.append([list(COLOURS).index(colours[which])])
        rows[-1] += [SHAPES.index(shapes[n]) for n in (which, 1 - which)]
    colours, labels, other = torch.tensor(rows).unbind(1)
    image = regions(scenes, seed)
    return {
        "image": image,
        "colours": F.one_hot(colours, len(COLOURS)).float(),
        "labels": labels,
        "other": other,
    }


@torch.no_grad()
def regions(scenes: list[Scene], seed: int) -> Tensor:
    """The encoder's tokens at the centres of the two objects: (n, 2, 96)."""
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()
    found = []
    for at in range(0, len(scenes), 500):
        some = scenes[at : at + 500]
        seen = encoder(render(some, seed=seed)).values  # (B, 36, 96)
        cells = [[int(t.y * 6) * 6 + int(t.x * 6) for t in s.things] for s in some]
        found.append(seen[torch.arange(len(some))[:, None], torch.tensor(cells)])
    return torch.cat(found)


@functools.cache
def standardised(split: str) -> dict[str, Tensor]:
    """The data of a split; each feature has mean 0 and spread 1 in training."""
    image = data("train")["image"]
    mean, spread = image.mean((0, 1)), image.std((0, 1)) + 1e-3
    return {**data(split), "image": (data(split)["image"] - mean) / spread}


class Side:
    """Models side by side: one row of parameters each, (models, P)."""

    def __init__(self, name: str, head: str, seeds: list[int]):
        models = []
        for seed in seeds:
            torch.manual_seed(seed)
            models.append(Answerer(name, head).eval())  # there is no dropout
        self.base = deepcopy(models[0])
        self.shapes = {key: p.shape for key, p in self.base.named_parameters()}
        rows = [torch.cat([p.flatten() for p in m.parameters()]) for m in models]
        self.flat = torch.stack(rows).detach().requires_grad_()
        self.m, self.v = torch.zeros_like(self.flat), torch.zeros_like(self.flat)

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Each parameter of all models, (models, …)."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), flat.split(sizes, dim=1), strict=True)
        return {key: part.unflatten(1, shape) for (key, shape), part in parts}

    def logits(self, image: Tensor, colours: Tensor | None, own: bool) -> Tensor:
        """(models, B, 6), for data of their own (models, B, …) or the same for all."""

        def one(parameters, image, colours):
            return functional_call(self.base, parameters, (image, colours))

        at = 0 if own else None
        with sdpa_kernel(SDPBackend.MATH):
            return vmap(one, in_dims=(0, at, None if colours is None else at))(
                self.named(self.flat), image, colours
            )

    @torch.no_grad()
    def step(self, number: int, rates: Tensor) -> None:
        """AdamW, each model with its rate, the gradient's norm at most 1."""
        g = self.flat.grad
        g *= (1 / g.norm(dim=1, keepdim=True)).clamp(max=1)
        self.m.lerp_(g, 0.1)
        self.v.mul_(0.999).addcmul_(g, g, value=0.001)
        size = (self.v / (1 - 0.999**number)).sqrt_().add_(1e-8)
        change = self.m / (1 - 0.9**number) / size + 0.01 * self.flat
        self.flat -= rates[:, None] * change
        self.flat.grad = None


def cycle(step: int, steps: int) -> float:
    """The rate rises for a tenth of the steps, then falls as a cosine to 0."""
    up = steps / 10
    return min(step / up, 0.5 + 0.5 * math.cos(math.pi * (step - up) / (steps - up)))


@functools.cache
def trained(name: str, head: str, steps: int, drop: float, chosen: float = 0) -> dict:
    """All rates and seeds of an arm, or one rate: {(rate, seed): Trained}."""
    pairs = [(t["rate"], seed) for t in RATES for seed in (SEARCH_SEED, *SEEDS)]
    if chosen:
        pairs = [(chosen, seed) for seed in SEEDS]
    side = Side(name, head, [seed for _, seed in pairs])
    rates = torch.tensor([rate for rate, _ in pairs])
    orders = [torch.Generator().manual_seed(seed) for _, seed in pairs]
    dice, learn, held = random.Random(0), standardised("train"), standardised("held")
    curves, best = [[] for _ in pairs], side.flat.detach().clone()
    top = torch.full((len(pairs),), -1.0)
    for step in range(1, steps + 1):
        rows = torch.stack(
            [torch.randint(len(learn["labels"]), (BATCH,), generator=o) for o in orders]
        )
        words = None if dice.random() < drop else learn["colours"][rows]
        logits = side.logits(learn["image"][rows], words, own=True)
        loss = F.cross_entropy(logits.flatten(0, 1), learn["labels"][rows].flatten())
        (loss * len(pairs)).backward()  # the sum of the models' means
        side.step(step, rates * cycle(step, steps))
        if step % max(1, steps // VALIDATIONS) == 0:
            right = share_right(side, held)
            better = right > top
            top = torch.where(better, right, top)
            best = torch.where(better[:, None], side.flat.detach(), best)
            for curve, value in zip(curves, right.tolist(), strict=True):
                curve.append((step, value))
    states = side.named(best)
    found = {}
    for n, pair in enumerate(pairs):
        state = {key: value[n].clone() for key, value in states.items()}
        found[pair] = Trained(curves[n], top[n].item(), state)
    return found


@torch.no_grad()
def share_right(side: Side, held: dict[str, Tensor]) -> Tensor:
    """Per cent of right answers of each model."""
    logits = side.logits(held["image"], held["colours"], own=False)
    return 100 * (logits.argmax(-1) == held["labels"]).float().mean(1)


def train(run: Run) -> Trained:
    """One of the models that were trained side by side."""
    steps = 8 if run.quick else run["steps"]
    chosen = run["rate"] if run.condition.like else 0  # nothing is searched there
    found = trained(run.arm, run["head"], steps, run["drop"], chosen)
    result = found[run["rate"], run.seed]
    if not all(value.isfinite().all() for value in result.state.values()):
        raise FloatingPointError
    return result


def test_data() -> dict[str, Tensor]:
    """The test set."""
    return standardised("test")


@torch.no_grad()
def test(run: Run, state: dict[str, Tensor], given: dict[str, Tensor]) -> dict:
    """Right answers; where the shapes differ, the other one; answers without words."""
    model = Answerer(run.arm, run["head"]).eval()
    model.load_state_dict(state, strict=False)
    said = model(given["image"], given["colours"]).argmax(-1)
    silent = model(given["image"], None).argmax(-1)
    apart = given["labels"] != given["other"]
    return {
        "accuracy": 100 * (said == given["labels"]).float().mean().item(),
        "the other shape": 100 * (said == given["other"])[apart].float().mean().item(),
        "without words": 100 * (silent == given["labels"]).float().mean().item(),
    }


STEPS = 500


def condition(name: str, head: str, arms=(), times: int = 1, drop=0.0, **like):
    """What all fusions have in common in a condition."""
    return Condition(
        name, {"head": head, "steps": times * STEPS, "drop": drop}, arms, **like
    )


DESIGN = Design(
    question="Which fusions can bind, and how much of it is the work of the head?",
    tries={name: RATES for name in FUSIONS},
    conditions=[
        condition("transformer", "transformer"),
        condition(
            "transformer, longer",
            "transformer",
            (*FLAT, "resampler", "bottleneck"),
            times=4,
            like="transformer",
            asks="four times the steps",
        ),
        condition(
            "mean",
            "mean",
            (
                *("sum", "concatenation", "projector"),
                *("cross_attention", "merged_attention", "q_former"),
            ),
        ),
        condition(
            "transformer, twelve times",
            "transformer",
            POOLED,
            times=12,
            like="transformer",
            asks="twelve times the steps",
        ),
        condition(
            "mean, twelve times",
            "mean",
            ("sum", "concatenation", "projector", "cross_attention"),
            times=12,
            like="mean",
            asks="twelve times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    seeds=SEEDS,
    search_seed=SEARCH_SEED,
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
