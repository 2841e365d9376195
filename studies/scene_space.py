"""Does a shared space of pictures and sentences know what belongs to what?

Pictures of the book's scenes come as the frozen tokens of the package's image encoder,
sentences through a text encoder that is trained. Compared are four ways to train the
space: from the mean of the frozen tokens, or with one transformer block before that mean;
and each of them also with wrong sentences in the loss, which have the words of
the right ones in another order (hard negatives, of the kind of NegCLIP's).

What is equal: the scenes and the batches of a seed, the number of steps, five rates for
each arm, and 200 scenes that choose. What could reverse the answer, and is tried: twice
and four times the steps.

Tested are retrieval among 500 new scenes, and pairs of scenes with their two sentences in
the form of Winoground (Thrush et al. 2022): in B two colours of A have changed places,
or two objects have, or one colour is another. Both sentences of A and B have the same
words in the first two. Text score: each picture prefers its own sentence. Image score:
each sentence prefers its own picture. Group score: both.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.data import Collate
from mmbook.encoders import ConvImageEncoder, TextEncoder
from mmbook.heads import EmbeddingHead
from mmbook.layers import Block
from mmbook.metrics import retrieval
from mmbook.tokens import Tokens
from mmbook.world import (
    COLOURS,
    HELD_OUT,
    Scene,
    describe,
    render,
    sample_moving_scenes,
    scene_tokenizer,
)

MEAN, BLOCK = "mean of the tokens", "block"
MEAN_NEGATIVES, NEGATIVES = "mean, swapped negatives", "block, swapped negatives"
WITHOUT_BLOCK, WITH_NEGATIVES = (MEAN, MEAN_NEGATIVES), (MEAN_NEGATIVES, NEGATIVES)
STEPS, BATCH, WIDTH, VALIDATIONS = 200, 64, 96, 8
COLLATE = Collate(scene_tokenizer())


@cache
def image_encoder() -> ConvImageEncoder:
    """The package's encoder of scenes."""
    return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()


@torch.no_grad()
def looked_at(scenes: list[Scene], seed: int) -> Tensor:
    """Frozen tokens (n, 36, 96)."""
    pixels = render(scenes, seed=seed)
    return torch.cat([image_encoder()(x).values for x in pixels.split(250)])


def some(count: int, seed: int) -> list[Scene]:
    """Scenes of one object (a quarter) or two, as in chapter 2.8."""
    return sample_moving_scenes(count, seed, objects=(1, 2, 2, 2))


def different(count: int, seed: int) -> list[Scene]:
    """Scenes whose sentences are all different."""
    found = {describe(scene): scene for scene in some(4 * count, seed)}
    return list(found.values())[:count]


def colours_swapped(scene: Scene) -> Scene:
    """The same with the two colours in each other's place."""
    a, b = scene.things
    return Scene((replace(a, colour=b.colour), replace(b, colour=a.colour)))


def objects_swapped(scene: Scene) -> Scene:
    """The same with the two objects in each other's place; the sentence swaps them."""
    a, b = scene.things
    return Scene((replace(b, x=a.x, y=a.y), replace(a, x=b.x, y=b.y)))


def colour_replaced(scene: Scene) -> Scene:
    """The same with another colour for the first object: a control."""
    a, b = scene.things
    others = [c for c in COLOURS if c not in (a.colour, b.colour)]
    others = [c for c in others if (c, a.shape) not in HELD_OUT]
    rng = random.Random(f"{a} {b}")
    return Scene((replace(a, colour=rng.choice(others)), b))


CHANGES = {
    "colours swapped": colours_swapped,
    "objects swapped": objects_swapped,
    "colour replaced": colour_replaced,
}


def fits(scene: Scene, name: str) -> bool:
    """Can this be done to a scene, without a pair that was held out?"""
    if len(scene.things) < 2:
        return False
    a, b = scene.things
    if name == "objects swapped":  # of one size: nothing touches or leaves the picture
        return a.size == b.size and (a.shape, a.colour) != (b.shape, b.colour)
    pairs = {(t.colour, t.shape) for t in CHANGES[name](scene).things}
    if name == "colours swapped":
        same = a.colour == b.colour or (a.shape, a.size) == (b.shape, b.size)
        return not same and not pairs & HELD_OUT
    return not pairs & HELD_OUT


class Space(nn.Module):
    """Frozen tokens, with a block or without, and a text encoder, in one space."""

    def __init__(self, blocks: int):
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(36, WIDTH))
        self.blocks = nn.ModuleList(Block(WIDTH, heads=4) for _ in range(blocks))
        self.norm = nn.LayerNorm(WIDTH)
        self.reader = TextEncoder(len(COLLATE.tokenizer), WIDTH, layers=1)
        self.image, self.text = EmbeddingHead(WIDTH, 64), EmbeddingHead(WIDTH, 64)
        self.log_scale = nn.Parameter(torch.tensor(2.66))  # 1 / 0.07, as in CLIP

    def see(self, x: Tensor) -> Tensor:
        """Tokens (B, 36, 96) → (B, 64)."""
        x = x + self.place
        for block in self.blocks:
            x = block(x)
        return self.image(Tokens(self.norm(x)))[0]

    def read(self, texts: list[str]) -> Tensor:
        """Sentences → (B, 64)."""
        batch = COLLATE([{"text": t} for t in texts])
        return self.text(self.reader(batch["text"], batch["text_mask"]))[0]

    def loss(self, tokens: Tensor, texts: list[str], wrong: list[str] | None) -> Tensor:
        """InfoNCE; ``wrong`` are more sentences that no picture belongs to."""
        z, w = self.see(tokens), self.read(texts)
        scale, truth = self.log_scale.clamp(max=4.6052).exp(), torch.arange(len(z))
        others = torch.cat([w, self.read(wrong)]) if wrong else w
        to_text = F.cross_entropy(scale * z @ others.T, truth)
        return (to_text + F.cross_entropy(scale * w @ z.T, truth)) / 2


def swapped_words(scene: Scene, rng: random.Random) -> str:
    """A wrong sentence with the words of the right one, where there is one."""
    able = [name for name in list(CHANGES)[:2] if fits(scene, name)]
    return describe(CHANGES[rng.choice(able)](scene)) if able else ""


@cache
def training_data() -> tuple:
    """Scenes to learn from and to choose with: tokens, scenes."""
    known, held = some(2000, 1), different(200, 98)
    return (looked_at(known, 1), known), (looked_at(held, 6), held)


def train(run: Run) -> Trained:
    """One space."""
    (tokens, scenes), held = training_data()
    texts = [describe(scene) for scene in scenes]
    rng = random.Random(run.seed)
    space = Space(0 if run.arm in WITHOUT_BLOCK else 1)
    steps = 16 if run.quick else run["steps"]
    optimizer = torch.optim.AdamW(space.parameters(), run["rate"], weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["rate"], steps, pct_start=0.1, cycle_momentum=False
    )
    curve = [(0, found(space, *held)["R@1"])]
    for step in range(1, steps + 1):
        rows = rng.sample(range(len(scenes)), BATCH)
        wrong = [swapped_words(scenes[r], rng) for r in rows]
        wrong = [text for text in wrong if text] if run.arm in WITH_NEGATIVES else None
        optimizer.zero_grad()
        space.train()
        space.loss(tokens[rows], [texts[r] for r in rows], wrong).backward()
        optimizer.step()
        schedule.step()
        if step % (steps // VALIDATIONS) == 0:
            curve.append((step, found(space, *held)["R@1"]))
    return Trained(curve, curve[-1][1], space.state_dict())


@torch.no_grad()
def found(space: Space, tokens: Tensor, scenes: list[Scene]) -> dict:
    """Retrieval among scenes whose sentences are all different; per cent."""
    space.eval()
    scores = space.see(tokens) @ space.read([describe(s) for s in scenes]).T
    both = retrieval(scores)["R@1"], retrieval(scores.T)["R@1"]
    return {
        "R@1": 50 * sum(both),
        "to text": 100 * both[0],
        "to picture": 100 * both[1],
    }


def test_data() -> dict:
    """New scenes; for each change 400 scenes with their changed twins."""
    scenes = different(500, 99)
    data = {"search": (looked_at(scenes, 7), scenes)}
    drawn = some(6000, 97)
    for name, change in CHANGES.items():
        first = [scene for scene in drawn if fits(scene, name)][:400]
        second = [change(scene) for scene in first]
        texts = [describe(s) for s in first], [describe(s) for s in second]
        data[name] = looked_at(first, 8), looked_at(second, 9), *texts
    return data


@torch.no_grad()
def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Retrieval, and the three scores for each change; per cent."""
    space = Space(0 if run.arm in WITHOUT_BLOCK else 1)
    space.load_state_dict(state)
    result = found(space, *data["search"])
    for name in CHANGES:
        seen_a, seen_b, said_a, said_b = data[name]
        a, b, u, v = (
            *map(space.see, (seen_a, seen_b)),
            *map(space.read, (said_a, said_b)),
        )
        au, av, bu, bv = ((x * y).sum(1) for x in (a, b) for y in (u, v))
        text, image = (au > av) & (bv > bu), (au > bu) & (bv > av)
        scores = {"one picture": au > av, "text": text, "image": image}
        scores["group"] = text & image
        for kind, right in scores.items():
            result[f"{name}, {kind}"] = 100 * right.float().mean().item()
    return result


DESIGN = Design(
    question="Does a shared space know what belongs to what?",
    tries={
        arm: [{"rate": rate} for rate in (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)]
        for arm in (MEAN, BLOCK, MEAN_NEGATIVES, NEGATIVES)
    },
    conditions=[
        Condition("scenes", {"steps": STEPS}),
        Condition(
            "scenes, twice the steps",
            {"steps": 2 * STEPS},
            like="scenes",
            asks="twice the steps",
        ),
        Condition(
            "scenes, four times the steps",
            {"steps": 4 * STEPS},
            like="scenes",
            asks="four times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="R@1",
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
