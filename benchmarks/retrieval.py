"""Retrieval on real photographs: frozen real encoders, trained projections.

MobileNetV2 looks at each photograph and at its mirror image, MiniLM reads each caption;
both are frozen, so what they say is computed once and kept as one vector each. Two linear
layers bring the vectors into one space, trained by InfoNCE on the 798 training photographs
of ``flickr8k_1000``. Tested on its 202 test photographs with their 1010 captions: does a
photograph find one of its captions, does a caption find its photograph? Beside it the same
with the same encoders at random weights.

The settings were chosen by cross-validation within the training photographs (three folds,
598 to train and 200 to rank); the test photographs were looked at once.

The captions may not be new to MiniLM: its authors list Flickr30k and COCO captions among
its training data (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2), and
Flickr30k is an extension of Flickr8k. So the numbers say what these two models give
together, and not what a text model would that never read of these photographs.

    MMBOOK_DATA=… MMBOOK_MODELS=… python benchmarks/retrieval.py

Bounds: R@1 at least 28 % from photograph to caption and 24 % from caption to photograph,
mean of the seeds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

import torch
from common import Bound, report, table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from mmbook.data import Photographs, captioned_photographs
from mmbook.heads import SharedSpaceHead
from mmbook.metrics import retrieval
from mmbook.models import MultimodalModel
from mmbook.pretrained import (
    PretrainedImageEncoder,
    PretrainedTextEncoder,
    keep_features,
)
from mmbook.saving import Configured
from mmbook.tokens import Tokens
from mmbook.training import TrainingConfig, fit

IMAGE_MODEL, TEXT_MODEL = "mobilenet_v2_1.0_224", "all-MiniLM-L6-v2"
WIDTH, DROPOUT, MIXED = 512, 0.6, 0.5
CONFIG = dict(steps=300, batch_size=399, learning_rate=1e-3, weight_decay=1.0)


class KeptVector(Configured):
    """Stands in for a frozen encoder: its vector (B, D), partly dropped in training."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, vector: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, D) → one token, (B, 1, D), brought to length √D before."""
        scaled = F.normalize(vector, dim=-1) * vector.shape[-1] ** 0.5
        return Tokens(self.dropout(scaled)[:, None])


class Pairs(Dataset):
    """Photographs with what is said of them; both vary from time to time.

    An item shows the photograph or its mirror image, and the vector of one of its
    captions or, in a share ``MIXED`` of the cases, the mean of some of them.

    Parameters
    ----------
    images, texts : (P, 2, C) and (P, 5, C) kept vectors.
    """

    def __init__(self, images: Tensor, texts: Tensor):
        self.images, self.texts = images, texts

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        mixed = torch.rand(()) < MIXED
        weights = (torch.rand(5) < 0.5).float() if mixed else torch.zeros(5)
        if not weights.any():
            weights[torch.randint(5, ())] = 1
        text = (self.texts[index] * weights[:, None]).sum(0) / weights.sum()
        return {"image": self.images[index, torch.randint(2, ())], "text": text}


def encoders(folder: Path, random: bool = False):
    """The two frozen encoders, with their own weights or with random ones."""
    image = PretrainedImageEncoder.from_pretrained(folder / IMAGE_MODEL)
    text = PretrainedTextEncoder.from_pretrained(folder / TEXT_MODEL)
    if random:
        torch.manual_seed(0)
        image = type(image)(**image._arguments)
        text = type(text)(**text._arguments)
    return image.eval(), text.eval()


@torch.inference_mode()
def vectors(photographs: Photographs, image, text, tokenizer) -> tuple[Tensor, Tensor]:
    """(P, 2, C) of each photograph and its mirror image; (P, 5, C) of its captions."""
    numbers = range(len(photographs.files))
    mirrored = (photographs.pixels(i).flip(-1) for i in numbers)
    seen = [keep_features(image, x).mean(1) for x in (photographs, mirrored)]
    said = []
    for captions in photographs.references:
        given = tokenizer(captions, padding=True, return_tensors="pt")
        said.append(text(given["input_ids"], given["attention_mask"].bool()).pooled())
    return torch.stack(seen, 1), torch.stack(said)


def trained(images: Tensor, texts: Tensor, seed: int) -> MultimodalModel:
    """Two projections and a temperature, trained on kept vectors."""
    torch.manual_seed(seed)
    parts = {name: KeptVector(DROPOUT) for name in ("image", "text")}
    widths = {"image": images.shape[-1], "text": texts.shape[-1]}
    model = MultimodalModel(parts, None, SharedSpaceHead(widths, WIDTH))
    config = TrainingConfig(**CONFIG, seed=seed)
    fit(model, Pairs(images, texts), config, default_collate)
    return model.eval()


@torch.inference_mode()
def tested(model: MultimodalModel, images: Tensor, texts: Tensor) -> dict:
    """R@1, 5, 10 and median rank, both ways; per cent."""

    def embed(name: str, rows: Tensor) -> Tensor:
        return model.head.heads[name](model.encoders[name](rows))[0]

    both = embed("image", images[:, 0]) + embed("image", images[:, 1])
    captions = embed("text", texts.flatten(0, 1))  # (5 P, E)
    scores = F.normalize(both, dim=-1) @ captions.T  # (P, 5 P)
    truth = torch.eye(len(images), dtype=torch.bool).repeat_interleave(5, 1)
    return {
        "photograph → caption": retrieval(scores, truth),
        "caption → photograph": retrieval(scores.T, truth.T),
    }


def measured(data: Path, models: Path, random: bool, seeds: int) -> list[dict]:
    """The result of each seed."""
    tokenizer = PretrainedTextEncoder.tokenizer(models / TEXT_MODEL)
    parts = encoders(models, random)
    kept = {
        split: vectors(
            captioned_photographs(data / "flickr8k_1000", split), *parts, tokenizer
        )
        for split in ("train", "test")
    }
    runs = []
    for seed in range(seeds):
        runs.append(tested(trained(*kept["train"], seed), *kept["test"]))
        print("random" if random else "real", runs[-1], flush=True)
    return runs


def row(name: str, runs: list[dict], way: str) -> list[str]:
    """One line of the table: mean of the seeds, and the spread of R@1."""
    mean = {key: statistics.mean(run[way][key] for run in runs) for key in runs[0][way]}
    first = [100 * run[way]["R@1"] for run in runs]
    return [
        name,
        way,
        f"{100 * mean['R@1']:.1f} ({min(first):.1f} to {max(first):.1f})",
        f"{100 * mean['R@5']:.1f}",
        f"{100 * mean['R@10']:.1f}",
        f"{mean['median rank']:.1f}",
    ]


def main() -> None:
    """Measure real and random encoders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    for name in ("MMBOOK_DATA", "MMBOOK_MODELS"):
        if not os.environ.get(name):
            sys.exit(f"set {name} to the folder that holds the real data or models")
    data, models = (Path(os.environ[f"MMBOOK_{x}"]) for x in ("DATA", "MODELS"))
    torch.set_num_threads(1)
    runs = {
        name: measured(data, models, name == "random", seeds)
        for name, seeds in (("real", given.seeds), ("random", 1))
    }
    ways = list(runs["real"][0])
    mean = {w: statistics.mean(100 * r[w]["R@1"] for r in runs["real"]) for w in ways}
    report(
        "retrieval",
        " ".join("\n".join(__doc__.split("\n\n")[1:4]).split()),
        f"{given.seeds} seeds with real weights, one with random ones. Per cent; chance is "
        "0.5 for R@1 both ways.\n\n"
        + table(
            ["weights", "way", "R@1", "R@5", "R@10", "median rank"],
            [row(name, each, way) for name, each in runs.items() for way in ways],
        ),
        [
            Bound(f"R@1 {way}, per cent", mean[way], limit, at_most=False)
            for way, limit in zip(ways, (28, 24), strict=True)
        ],
    )


if __name__ == "__main__":
    main()
