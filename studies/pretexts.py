"""Data and objectives of ``pretraining.py``: small pictures, and what can be asked of them.

A picture is a window of 24 pixels that shows one object; 96 kinds are equally likely.
Each objective is an image encoder with whatever turns its tokens into a loss, and a
``blind`` loss: that of the best answer which ignores the picture. Chapter 2.7 writes
them again, step by step, and loads the weights.
"""

from __future__ import annotations

import math
import random
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.data import mask_patches, mask_words
from mmbook.encoders import ConvImageEncoder, TextEncoder
from mmbook.heads import GenerationHead, MaskedWordHead
from mmbook.losses import contrastive
from mmbook.tokens import Tokens
from mmbook.world import (
    COLOURS,
    SHAPES,
    SIZES,
    describe,
    render,
    sample_scenes,
    scene_tokenizer,
)

SIDE, WIDTH = 24, 64
GROUND = 0.93
TOKENIZER = scene_tokenizer(mask=True)


@cache
def pictures(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (n, 3, 24, 24), captions (n, 4), and colour, shape, size (n, 3)."""
    scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
    rng, found, labels = random.Random(seed), [], []
    for scene, large in zip(scenes, render(scenes, 48, seed=seed), strict=True):
        item = scene.things[0]
        x, y = (_corner(48 * c, 48 * item.radius, rng) for c in (item.x, item.y))
        found.append(large[:, y : y + SIDE, x : x + SIDE])
        names = (COLOURS, item.colour), (SHAPES, item.shape), (SIZES, item.size)
        labels.append([list(known).index(name) for known, name in names])
    ids = TOKENIZER([describe(scene) for scene in scenes])["input_ids"]
    return torch.stack(found), torch.tensor(ids), torch.tensor(labels)


def _corner(centre: float, radius: float, rng: random.Random) -> int:
    """A place for the window, from which the whole object is seen."""
    low, high = centre + radius - SIDE, centre - radius
    return round(rng.uniform(max(0, low), min(high, SIDE)))


class Objective(nn.Module):
    """An image encoder; its heirs make a loss of its tokens."""

    def __init__(self):
        super().__init__()
        self.encoder = ConvImageEncoder(WIDTH, SIDE, channels=(16, 32))
        self.encoder.to(memory_format=torch.channels_last)

    def pooled(self, image: Tensor) -> Tensor:
        """The strongest answer of each channel: (B, 3, 24, 24) → (B, D)."""
        return self.encoder(image).values.amax(1)


class MaskedWords(Objective):
    """Which words of the caption are hidden? Each word is multiplied by the picture."""

    blind = (math.log(2) + math.log(8) + math.log(6)) / 4

    def __init__(self):
        super().__init__()
        self.words = TextEncoder(len(TOKENIZER), WIDTH, layers=1)
        self.look = nn.Linear(WIDTH, WIDTH)
        self.head = MaskedWordHead(WIDTH, len(TOKENIZER))

    def read(self, image: Tensor, shown: Tensor) -> Tokens:
        """The words with the picture in sight (B, L, D)."""
        look = self.look(self.pooled(image))[:, None]
        return Tokens(self.words(shown).values * look)

    def loss(self, image: Tensor, ids: Tensor) -> Tensor:
        """70 of 100 words are hidden."""
        real = torch.ones_like(ids, dtype=torch.bool)
        shown, hidden = mask_words(ids, real, TOKENIZER, 0.7, keep=0, replace=0)
        return self.head(self.read(image, shown), hidden)[1]


class MaskedPatches(Objective):
    """Which pixels are hidden? As a share of the error of the ground's colour."""

    blind = 1.0

    def __init__(self):
        super().__init__()
        self.paint = nn.Linear(WIDTH, 3 * 8 * 8)  # a token stands for 8 × 8 pixels

    def painted(self, shown: Tensor) -> Tensor:
        """The whole picture, from the nine tokens."""
        fields = self.paint(self.encoder(shown).values)  # (B, 9, 192)
        return GROUND + F.fold(fields.transpose(1, 2), SIDE, 8, stride=8)

    def loss(self, image: Tensor, ids: Tensor) -> Tensor:
        """60 of 100 squares of 4 × 4 pixels are hidden."""
        shown, hidden = mask_patches(image, patch=4, share=0.6)
        there = cover(hidden)
        error = (self.painted(shown) - image)[there].pow(2).mean()
        return error / (GROUND - image)[there].pow(2).mean()


def cover(hidden: Tensor) -> Tensor:
    """Squares (B, 36) → pixels (B, 3, 24, 24)."""
    squares = hidden.view(-1, 1, 6, 6).repeat_interleave(4, 2)
    return squares.repeat_interleave(4, 3).expand(-1, 3, -1, -1)


class TwoViews(Objective):
    """SimCLR: which other view is of the same picture? No caption takes part."""

    blind, recolour = math.log(64), False

    def __init__(self):
        super().__init__()
        layers = nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 32)
        self.project = nn.Sequential(*layers)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def loss(self, image: Tensor, ids: Tensor) -> Tensor:
        """Two views of each picture."""
        both = torch.cat([views(image), views(image)])
        both = recoloured(both) if self.recolour else both
        z = self.project(self.pooled(both))
        a, b = F.normalize(z, dim=-1).chunk(2)
        return contrastive(a, b, self.log_scale.exp())


class RecolouredViews(TwoViews):
    """The same, but each view has its colour channels shuffled."""

    recolour = True


def views(image: Tensor) -> Tensor:
    """Each picture moved, scaled and perhaps mirrored, its brightness changed."""
    n = len(image)
    scale = torch.empty(n).uniform_(0.8, 1.25)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    shift = torch.empty(n, 2).uniform_(-0.3, 0.3)
    rows = torch.zeros(n, 2, 3)
    rows[:, 0, 0], rows[:, 1, 1], rows[:, :, 2] = scale * mirror, scale, shift
    grid = F.affine_grid(rows, list(image.shape), align_corners=False)
    moved = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return (moved * torch.empty(n, 1, 1, 1).uniform_(0.8, 1.1)).clamp(0, 1)


def recoloured(image: Tensor) -> Tensor:
    """Red, green and blue change places, in each picture in another way."""
    order = torch.rand(len(image), 3).argsort(1)
    return image[torch.arange(len(image))[:, None], order]


class Pair(Objective):
    """InfoNCE: which caption belongs to which picture?"""

    blind = math.log(64)

    def __init__(self):
        super().__init__()
        self.words = TextEncoder(len(TOKENIZER), WIDTH, layers=1)
        self.image_side, self.text_side = (nn.Linear(WIDTH, 32) for _ in range(2))
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def embed(self, image: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of length one, (B, 32) each."""
        a = self.image_side(self.pooled(image))
        b = self.text_side(self.words(ids).pooled())
        return F.normalize(a, dim=-1), F.normalize(b, dim=-1)

    def loss(self, image: Tensor, ids: Tensor) -> Tensor:
        """Rows and columns of the B × B matrix."""
        return contrastive(*self.embed(image, ids), self.log_scale.exp())


class ColourPair(Pair):
    """The same with captions that name the colour alone."""

    def loss(self, image: Tensor, ids: Tensor) -> Tensor:
        """The captions are "a red"."""
        return super().loss(image, ids[:, [0, 2]])


class Captions(Objective):
    """Captioning: which word comes next? A decoder looks at the nine tokens."""

    blind = (math.log(2) + math.log(8) + math.log(6)) / 5

    def __init__(self):
        super().__init__()
        self.decoder = GenerationHead.for_tokenizer(
            TOKENIZER, width=WIDTH, layers=1, heads=4, max_length=8, context_width=WIDTH
        )

    def loss(self, image: Tensor, ids: Tensor) -> Tensor:
        """The words of the caption and its end."""
        labels = F.pad(ids, (0, 1), value=TOKENIZER.eos_token_id)
        return self.decoder(self.encoder(image), labels)[1]


def linear_accuracy(x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor) -> Tensor:
    """Which new answers of least squares on frozen features are right? (n,) bool."""
    middle, spread = x.mean(0), x.std(0) + 1e-6
    x, new_x = (F.pad((z - middle) / spread, (0, 1), value=1.0) for z in (x, new_x))
    square = x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1])
    weights = torch.linalg.solve(square, x.T @ F.one_hot(y).float())
    return (new_x @ weights).argmax(1) == new_y
