"""How far back does a reader with a memory answer, and what did it practise?

A film is read in segments of six moments, each with a frame and a word. At one moment of
the first segment the word is "look!"; whenever the word is "colour?" later, the answer is
the colour of the object that was shown at "look!". A question in segment d is about
something d segments ago. A frame is the mean token of the book's image encoder.

The readers are Transformer-XLs of width 32 with a memory of one segment (12 tokens), so
by construction no answer depends on what was shown more than *layers* segments ago. What
they do within that bound is measured. Each reader is trained on films of one to four
segments and tested on films of five, so that a failure at a distance can be told apart
from a lack of practice at that distance. Arms:

- no memory: two layers, each segment is read by itself;
- two layers and three layers: memory with the stop gradient, as published;
- two layers, gradient through memory: the same model, but the loss of a segment also
  trains what earlier segments wrote into the memory.

What is equal: films, one step of the optimiser for a film, steps, width, five rates for
each arm in each condition. What could reverse the answer, and is tried: three times the
steps. The test also makes the memory of each reader four segments long, without training.
"""

from __future__ import annotations

import functools

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import TransformerXL
from mmbook.fusion.transformer_xl import Memory
from mmbook.tokens import Tokens
from mmbook.world import COLOURS, render, sample_scenes

NONE, TWO, THREE = "no memory", "two layers", "three layers"
FLOWING = "two layers, gradient through memory"
LAYERS = {NONE: 2, TWO: 2, THREE: 3, FLOWING: 2}
S, WIDTH, BATCH, STEPS, TESTED = 6, 32, 32, 300, 5
POOLS = {"train": (0, 3000), "held": (3000, 3300), "test": (3300, 3600)}


@functools.cache
def pictures() -> tuple[Tensor, Tensor]:
    """The mean token (3600, 96) of each picture of one object, and its colour."""
    eye = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()
    scenes = sample_scenes(3600, seed=0, objects=(1,), pairs="all")
    with torch.no_grad():
        parts = render(scenes, seed=0).split(200)
        means = torch.cat([eye(part).values.mean(1) for part in parts])
    colours = [list(COLOURS).index(scene.things[0].colour) for scene in scenes]
    return (means - means.mean(0)) / means.std(), torch.tensor(colours)


def films(count: int, segments: int, split: str, generator) -> tuple[Tensor, ...]:
    """Frames, words and answers (count, moments); −100 is no answer."""
    shape, (low, high) = (count, segments * S), POOLS[split]
    shown = torch.randint(low, high, shape, generator=generator)
    words = 2 * (torch.rand(shape, generator=generator) < 1 / 3).long()
    at = torch.randint(S, (count, 1), generator=generator)
    words.scatter_(1, at, 1)  # "look!", in the first segment
    asked = (words == 2) & (torch.arange(shape[1]) > at)
    answers = pictures()[1][shown.gather(1, at)].where(asked, torch.tensor(-100))
    return shown, words, answers


class Flowing(Memory):
    """A memory through which the gradient flows; without padding."""

    def followed_by(self, entered, mask, length):
        """Append, keep the last ``length`` tokens, detach nothing."""
        states = [
            torch.cat([old, new], 1)[:, -length:]
            for old, new in zip(self.states, entered, strict=True)
        ]
        return Flowing(tuple(states), torch.cat([self.mask, mask], 1)[:, -length:])


class Reader(nn.Module):
    """Reads a film in segments: frame, word, frame, word; answers at each word."""

    def __init__(self, arm: str):
        super().__init__()
        self.arm, self.words = arm, nn.Embedding(3, WIDTH)
        memory = 0 if arm == NONE else 2 * S
        widths = {"frame": 96, "word": WIDTH}
        self.fuse = TransformerXL(widths, WIDTH, LAYERS[arm], 2, memory)
        self.head = nn.Linear(WIDTH, len(COLOURS))

    def forward(self, shown: Tensor, said: Tensor) -> Tensor:
        """(B, moments) twice → (B, moments, colours)"""
        memory, found = None, []
        if self.arm == FLOWING:
            memory = Flowing.empty(LAYERS[self.arm], torch.zeros(len(shown), 1, WIDTH))
        for frames, words in zip(shown.split(S, 1), said.split(S, 1), strict=True):
            t = torch.arange(S).expand_as(words)
            tokens = {
                "frame": Tokens(pictures()[0][frames]),
                "word": Tokens(self.words(words)),
            }
            times = {"frame": t, "word": t + 0.5}
            fused, memory = self.fuse.stream(tokens, memory, times)
            found.append(self.head(fused.values[:, 1::2]))
        return torch.cat(found, 1)


@torch.no_grad()
def right(reader: Reader, film: tuple[Tensor, ...]) -> Tensor:
    """Is the answer right, (films, moments)? NaN where nothing was asked."""
    shown, said, answers = film
    hits = (reader.eval()(shown, said).argmax(-1) == answers).float()
    return hits.masked_fill(answers < 0, torch.nan)


def train(run: Run) -> Trained:
    """One reader, on films of so many segments."""
    torch.manual_seed(run.seed)
    reader, steps = Reader(run.arm), 6 if run.quick else run["steps"]
    generator = torch.Generator().manual_seed(run.seed)
    held = films(400, run["segments"], "held", torch.Generator().manual_seed(1000))
    optimizer = torch.optim.AdamW(reader.parameters(), run["rate"], fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run["rate"], steps)
    curve = []
    for step in range(1, steps + 1):
        shown, said, answers = films(BATCH, run["segments"], "train", generator)
        logits = reader.train()(shown, said)
        loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % (steps // 6) == 0:
            curve.append((step, 100 * right(reader, held).nanmean().item()))
    return Trained(curve, curve[-1][1], reader.state_dict())


def test_data() -> tuple[Tensor, ...]:
    """1,500 films of five segments."""
    return films(1500, TESTED, "test", torch.Generator().manual_seed(2000))


def test(run: Run, state: dict[str, Tensor], data: tuple[Tensor, ...]) -> dict:
    """Per cent of right answers at the practised distances, and at each distance."""
    reader = Reader(run.arm)
    reader.load_state_dict(state)
    found = by_distance(reader, data, "ago")
    practised = [found[f"{d} ago"] for d in range(run["segments"])]
    if run.arm != NONE:
        reader.fuse.memory = 4 * 2 * S
        found |= by_distance(reader, data, "ago, longer memory")
    return {"accuracy": sum(practised) / len(practised), **found}


def by_distance(reader: Reader, data: tuple[Tensor, ...], name: str) -> dict:
    """Per cent of right answers in each segment."""
    parts = right(reader, data).split(S, 1)
    return {f"{d} {name}": 100 * p.nanmean().item() for d, p in enumerate(parts)}


RATES = [{"rate": rate} for rate in (3e-3, 6e-3, 1.2e-2)]
DESIGN = Design(
    question="How far back does a reader with a memory answer?",
    tries={arm: [{"rate": 7.5e-4}, {"rate": 1.5e-3}, *RATES] for arm in LAYERS},
    conditions=[
        Condition("1 segment", {"segments": 1, "steps": STEPS}, (NONE, TWO)),
        Condition("2 segments", {"segments": 2, "steps": STEPS}, (TWO,)),
        Condition("3 segments", {"segments": 3, "steps": STEPS}, (TWO, THREE, FLOWING)),
        Condition("4 segments", {"segments": 4, "steps": STEPS}, (THREE,)),
        Condition(
            "3 segments, longer",
            {"segments": 3, "steps": 3 * STEPS},
            (TWO, FLOWING),
            like="3 segments",
            asks="three times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
