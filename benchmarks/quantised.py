"""What fewer bits cost: exact captions and size in 32, 8 and 4 bits a weight.

The book's captioner, ``mmbook/scene-captioner``, with the weights of its linear layers
quantised after training and without any data (weight-only, symmetric): 8 bits with a
scale per row, 4 bits with a scale per row or per group of 32. Exact: the share of captions
that are true and leave nothing out, on 2,000 new scenes and on 2,000 whose pairs of colour
and shape were never shown. The difference to float32 is paired, scene by scene, with its 95 %
interval. Convolutions, embeddings and norms keep 32 bits.

    python benchmarks/quantised.py [--scenes 2000]

Bounds: 8 bits cost at most one point and the linear layers at most 0.27 of their size.
"""

from __future__ import annotations

import argparse
from itertools import chain

import torch
from common import Bound, report, table
from torch import nn

from mmbook.generation import generate, to_text
from mmbook.models import MultimodalModel
from mmbook.service.quantised import QuantisedLinear, quantised, size_of
from mmbook.studies.intervals import interval
from mmbook.world import CaptionedScenes, is_complete, sample_scenes, scene_tokenizer

WAYS = {
    "8 bits, per row": (8, None),
    "4 bits, groups of 32": (4, 32),
    "4 bits, per row": (4, None),
}


def exact(model: nn.Module, data: CaptionedScenes) -> list[float]:
    """For each scene: is the caption true and complete?"""
    tokenizer, said = scene_tokenizer(), []
    for images in data.images.split(250):
        said += to_text(generate(model, {"image": images / 255}), tokenizer)
    pairs = zip(said, data.scenes, strict=True)
    return [float(is_complete(text, scene)) for text, scene in pairs]


def linear_bytes(model: nn.Module) -> int:
    """The size of the linear layers alone."""
    kinds = nn.Linear, QuantisedLinear
    return sum(size_of(part) for part in model.modules() if type(part) in kinds)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=2000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    plain = MultimodalModel.from_pretrained("mmbook/scene-captioner")
    sets = [
        CaptionedScenes(sample_scenes(given.scenes, 41, pairs=pairs), seed=41)
        for pairs in ("seen", "held-out")
    ]
    base, rows, bounds = [exact(plain, data) for data in sets], [], []
    shares = [f"{sum(right) / len(right):.1%}" for right in base]
    rows.append(["32 bits", *shares, "", linear_bytes(plain), size_of(plain)])
    for name, how in WAYS.items():
        small = quantised(plain, *how)
        right = [exact(small, data) for data in sets]
        pairs = zip(chain(*right), chain(*base), strict=True)
        cost = interval([100 * (new - old) for new, old in pairs])
        shares = [f"{sum(one) / len(one):.1%}" for one in right]
        sizes = linear_bytes(small), size_of(small)
        rows.append([name, *shares, f"{cost:}", *sizes])
        if how[0] == 8:
            bounds.append(Bound("points lost with 8 bits", -cost.mean, 1.0))
            ratio = sizes[0] / linear_bytes(plain)
            bounds.append(Bound("size of linear layers, 8 ÷ 32 bits", ratio, 0.27))
    header = ["", "new scenes", "pairs never shown", "points, both sets"]
    header += ["bytes, linear", "bytes, all"]
    about = " ".join(__doc__.split("\n\n")[1].split())
    report("quantised", about, table(header, rows), bounds)


if __name__ == "__main__":
    main()
