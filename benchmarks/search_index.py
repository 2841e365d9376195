"""An index for 100,000 pictures: how much faster is it, and what does it miss?

100,000 scenes of two objects are embedded by a shared space that was trained for 300 steps
(64 values, the recipe of chapter 6.5), and 1,000 sentences search them. Exact search
compares each sentence with all vectors (``IndexFlatIP`` of faiss); an inverted file looks
into the lists of the nearest of 512 centres, and HNSW walks along a graph of neighbours.
For each index the smallest setting that reaches a recall of 99 % (of the ten exact
neighbours) with 500 of the sentences is chosen, and the other 500 are reported. One thread;
one sentence at a time, as a server gets them, and all at once.

    python benchmarks/search_index.py [--pictures 100000] [--rounds 5]

needs the extra ``index`` (faiss). Bounds: recall ≥ 0.99, and at least ten times as fast as
exact search, with one sentence at a time.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace

import faiss
import torch
from common import COLLATE, Bound, interleaved, ratios, report, spread, table
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmbook.encoders import ConvImageEncoder, TextEncoder
from mmbook.heads import SharedSpaceHead
from mmbook.layers import Block
from mmbook.models import MultimodalModel
from mmbook.saving import Configured
from mmbook.tokens import Tokens
from mmbook.training import TrainingConfig, fit
from mmbook.world import HELD_OUT, Scene, describe, render, sample_scenes

WIDTH, LISTS, NEIGHBOURS, WANTED = 96, 512, 10, 0.99
SETTINGS = {"inverted file": (1, 2, 4, 8, 16, 32, 64), "HNSW": (16, 32, 64, 128, 256)}


class Reader(Configured):
    """Stored tokens get a position and attend to each other."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(36, WIDTH))
        self.block, self.norm = Block(WIDTH, heads=4), nn.LayerNorm(WIDTH)

    def forward(self, values, mask=None):
        """(B, 36, 96) → tokens."""
        return Tokens(self.norm(self.block(values + self.place)))


class Batches(Dataset):
    """Batches of 32 scenes and their twins, whose colours have changed places."""

    def __init__(self, scenes: list[Scene], tokens: Tensor):
        self.scenes, self.tokens = scenes, tokens

    def __len__(self) -> int:
        return 3000

    def __getitem__(self, number: int) -> dict:
        first = random.Random(number).sample(range(0, len(self.scenes), 2), 32)
        rows = [row for n in first for row in (n, n + 1)]
        said = [describe(self.scenes[row]) for row in rows]
        pairs = zip(rows, said, strict=True)
        return COLLATE([{"image": self.tokens[r], "text": t} for r, t in pairs])


@torch.no_grad()
def seen(scenes: list[Scene], seed: int) -> Tensor:
    """The tokens of the package's frozen encoder, (n, 36, 96)."""
    encoder = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()
    parts = [scenes[i : i + 500] for i in range(0, len(scenes), 500)]
    return torch.cat(
        [encoder(render(part, seed=seed + n)).values for n, part in enumerate(parts)]
    )


def twins(count: int) -> list[Scene]:
    """Scenes of two objects, each followed by its twin."""
    found = []
    for scene in sample_scenes(6 * count, 1, objects=(2,)):
        a, b = scene.things
        twin = Scene((replace(a, colour=b.colour), replace(b, colour=a.colour)))
        fits = not {(t.colour, t.shape) for t in twin.things} & HELD_OUT
        if fits and describe(twin) != describe(scene) and len(found) < count:
            found += [scene, twin]
    return found


def space() -> MultimodalModel:
    """Pictures and sentences in one space."""
    torch.manual_seed(0)
    text = TextEncoder(len(COLLATE.tokenizer), WIDTH, layers=1)
    head = SharedSpaceHead({"image": WIDTH, "text": WIDTH}, 64)
    model = MultimodalModel({"image": Reader(), "text": text}, None, head)
    scenes = twins(2000)
    how = TrainingConfig(
        steps=300,
        batch_size=1,
        learning_rate=4e-3,
        weight_decay=0.1,
        rates={"head.log_scale": 10.0},
        compile=False,
        progress=False,
    )
    fit(model, Batches(scenes, seen(scenes, 1)), how, lambda batches: batches[0])
    return model.cpu().eval()


@torch.no_grad()
def vectors(model: MultimodalModel, pictures: int) -> tuple[Tensor, Tensor]:
    """Of the pictures (n, 64) and of 1,000 sentences (1000, 64)."""
    scenes = sample_scenes(pictures, 5, objects=(2,))
    rows = []
    for first in range(0, pictures, 5000):
        tokens = seen(scenes[first : first + 5000], first)
        rows += [model(image=part).embeddings["image"] for part in tokens.split(500)]
        print(f"{first + len(tokens):,} pictures embedded", flush=True)
    asked = [{"text": describe(s)} for s in sample_scenes(1000, 6, objects=(2,))]
    return torch.cat(rows), model(**COLLATE(asked)).embeddings["text"]


def made(name: str, rows: Tensor) -> faiss.Index:
    """An index of these vectors."""
    width = rows.shape[1]
    if name == "exact":
        index = faiss.IndexFlatIP(width)
    elif name == "HNSW":
        index = faiss.IndexHNSWFlat(width, 32, faiss.METRIC_INNER_PRODUCT)
    else:
        centres = faiss.IndexFlatIP(width)
        index = faiss.IndexIVFFlat(centres, width, LISTS, faiss.METRIC_INNER_PRODUCT)
    index.train(rows.numpy())
    index.add(rows.numpy())
    return index


def put(index: faiss.Index, name: str, setting: int) -> None:
    """How thoroughly an index searches."""
    if name == "HNSW":
        index.hnsw.efSearch = setting
    else:
        index.nprobe = setting


def recall(index: faiss.Index, asked: Tensor, exact: Tensor) -> float:
    """The share of the exact neighbours that an index finds."""
    found = torch.from_numpy(index.search(asked.numpy(), NEIGHBOURS)[1])
    return (found[:, :, None] == exact[:, None]).any(1).float().mean().item()


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    rows, asked = vectors(space(), given.pictures)
    indexes = {name: made(name, rows) for name in ("exact", *SETTINGS)}
    exact = torch.from_numpy(indexes["exact"].search(asked.numpy(), NEIGHBOURS)[1])
    chosen = {}
    for name, settings in SETTINGS.items():
        for setting in settings:
            put(indexes[name], name, setting)
            if recall(indexes[name], asked[:500], exact[:500]) >= WANTED:
                break
        chosen[name] = setting
    asked, exact = asked[500:], exact[500:]
    single = [row[None].numpy() for row in asked]

    def one_by_one(index):
        return lambda: [index.search(row, NEIGHBOURS) for row in single]

    def at_once(index):
        return lambda: index.search(asked.numpy(), NEIGHBOURS)

    ones = interleaved({n: one_by_one(x) for n, x in indexes.items()}, given.rounds)
    whole = interleaved({n: at_once(x) for n, x in indexes.items()}, given.rounds)
    lines, bounds = [], []
    for name, setting in chosen.items():
        found = recall(indexes[name], asked, exact)
        faster = ratios(ones, "exact", name)
        all_at_once = ratios(whole, "exact", name)
        lines.append(
            [name, setting, f"{found:.4f}", spread(faster), spread(all_at_once)]
        )
        bounds.append(Bound(f"recall of the {name}", found, WANTED, at_most=False))
        middle = sorted(faster)[len(faster) // 2]
        bounds.append(
            Bound(f"{name}, times as fast as exact", middle, 10, at_most=False)
        )
    about = " ".join(__doc__.split("\n\n")[1].split())
    header = ["index", "setting", "recall of ten", "× exact, one at a time"]
    report(
        "search_index", about, table([*header, "× exact, all at once"], lines), bounds
    )


if __name__ == "__main__":
    main()
