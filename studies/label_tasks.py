"""Data and encoders of ``label_efficiency.py``: pictures of easy-VQA, spoken digits.

Which pair of shape and colour does a picture show (24 classes), which shape (3), which
colour (8)? The answers are read from the questions of easy-VQA. Which digit was said in
a recording of the Free Spoken Digit Dataset (10, official split: all voices are known)?
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.data import stack_audio
from mmbook.data.questions import EasyVQA, easy_vqa
from mmbook.data.recordings import spoken_digits
from mmbook.encoders import ConvAudioEncoder, ConvImageEncoder
from mmbook.heads import ClassificationHead
from mmbook.metrics import accuracy
from mmbook.models import Output
from mmbook.pretrained import PretrainedImageEncoder
from mmbook.saving import build
from mmbook.training import predict

TOGETHER = 100  # examples in a batch where nothing is trained
POOL, HELD = 2000, 300  # examples to draw labelled ones from; validation examples
SHAPES = ("circle", "rectangle", "triangle")
COLOURS = 8
QUESTIONS = {  # number of classes, and the class of a pair of shape · 8 + colour
    "pictures": (24, lambda pair: pair),
    "shape": (3, lambda pair: pair // COLOURS),
    "colour": (COLOURS, lambda pair: pair % COLOURS),
}


class Classifier(nn.Module):
    """An encoder of one modality and a linear head on the mean of its tokens."""

    def __init__(self, encoder: nn.Module, classes: int):
        super().__init__()
        self.encoder = encoder
        self.head = ClassificationHead(encoder.width, classes)

    def forward(self, values: Tensor, mask: Tensor | None = None, labels=None):
        """Logits (B, classes), and the loss if there are labels."""
        logits, loss = self.head(self.encoder(values, mask), labels)
        return Output(loss=loss, logits=logits)


@dataclass
class Examples:
    """Pictures (n, 3, H, W) in [0, 1] or n spectrograms (T, C), with labels (n,)."""

    values: Tensor | list[Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, numbers: Sequence[int]) -> Examples:
        """Only these."""
        if isinstance(self.values, Tensor):
            return Examples(self.values[numbers], self.labels[numbers])
        return Examples([self.values[i] for i in numbers], self.labels[numbers])

    def batch(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """What the classifier takes."""
        part = self.some(numbers)
        if isinstance(part.values, Tensor):
            return {"values": part.values, "labels": part.labels}
        sounds, mask = stack_audio(part.values)
        return {"values": sounds, "mask": mask, "labels": part.labels}

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """All of them, in order."""
        for first in range(0, len(self), TOGETHER):
            yield self.batch(range(first, min(first + TOGETHER, len(self))))


@torch.no_grad()
def vectors(encoder: nn.Module, data: Examples) -> Examples:
    """The mean of each example's tokens, (n, D), in the example's place."""
    encoder.eval()
    rows = []
    for batch in data.batches():
        rows.append(encoder(batch["values"], batch.get("mask")).pooled())
    return Examples(torch.cat(rows), data.labels)


def share_right(model: nn.Module, data: Examples) -> float:
    """Per cent of the examples that a classifier has right."""
    logits = predict(model, range(len(data)), data.batch, TOGETHER)
    return per_cent(logits, data.labels)


def per_cent(logits: Tensor, labels: Tensor) -> float:
    """Per cent of the rows whose largest logit is the label's."""
    return 100 * accuracy(logits, labels)


@dataclass
class Task:
    """Labelled examples to draw from, validation examples, and the encoders.

    ``fresh`` makes an encoder with random weights; ``pretrained`` one of the same
    architecture with the weights that the book trained on its synthetic world.
    """

    pool: Examples
    held: Examples
    classes: int
    fresh: Callable[[], nn.Module]
    pretrained: Callable[[], nn.Module]

    def labelled(self, count: int, seed: int) -> Examples:
        """The examples that have a label: a random choice for each seed."""
        rng = np.random.default_rng((seed, 7))
        return self.pool.some(rng.permutation(len(self.pool))[:count].tolist())


@functools.cache
def task(name: str, side: int = 32, describe: Callable | None = None) -> Task:
    """A task by its name: pictures of so many pixels a side, or what describes them."""
    if name == "digits":
        pool, held = digits("train")
        return Task(pool, held, 10, fresh_audio_encoder, scene_audio_encoder)
    pool, held = pictures(name, side, "train", describe)
    fresh = functools.partial(ConvImageEncoder, 96, side)
    pretrained = functools.partial(scene_image_encoder, side)
    return Task(pool, held, QUESTIONS[name][0], fresh, pretrained)


@functools.cache
def test_examples(name: str, side: int = 32, describe: Callable | None = None):
    """The official test split of a task."""
    if name == "digits":
        return digits("test")[0]
    return pictures(name, side, "test", describe)[0]


# --------------------------------------------------------------------------- pictures


def pictures(name: str, side: int, split: str, describe=None) -> list[Examples]:
    """Pictures of a split, with a task's labels: pool and validation, or all of the test.

    ``describe`` makes vectors (n, D) of them, computed once, which stand in their place.
    """
    images, pairs = shown(split)
    if side != images.shape[-1]:
        images = F.interpolate(images, size=side, mode="area")
    labels = QUESTIONS[name][1](pairs)
    parts = [images[part] for part in _parts(len(pairs), split)]
    parts = [describe(part) for part in parts] if describe else parts
    return [
        Examples(values, labels[part])
        for values, part in zip(parts, _parts(len(pairs), split), strict=True)
    ]


@functools.cache
def shown(split: str) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 64, 64) in [0, 1] and the pair of shape and colour of each.

    Pictures whose questions and answers leave one of the two open are left out.
    """
    data: EasyVQA = easy_vqa(_folder("MMBOOK_DATA", "easyvqa"), split)
    words = [answer for answer in data.answers if answer not in ("yes", "no")]
    colours = [word for word in words if word not in SHAPES]
    known: dict[int, set[str]] = {}
    for row, question in enumerate(data.questions):
        if question.startswith("what"):
            said = {*question.rstrip("?").split(), data.answers[data.labels[row]]}
            known.setdefault(data.pictures[row], set()).update(said & set(words))
    whole = sorted(number for number, said in known.items() if len(said) == 2)
    pairs = [
        next(i for i, word in enumerate(SHAPES) if word in known[n]) * COLOURS
        + next(i for i, word in enumerate(colours) if word in known[n])
        for n in whole
    ]
    return data.images[whole].float() / 255, torch.tensor(pairs)


def scene_image_encoder(side: int) -> ConvImageEncoder:
    """The book's image encoder for another size of picture.

    Its positions belong to a map of 6 × 6 tokens; each place gets their mean, to which
    the mean over the tokens is indifferent.
    """
    source = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
    encoder = ConvImageEncoder(96, side)
    encoder.stages = source.stages
    with torch.no_grad():
        encoder.position.copy_(source.position.mean(0).expand_as(encoder.position))
    return encoder


@torch.no_grad()
def mobile_net_vectors(images: Tensor) -> Tensor:
    """Mean token of MobileNetV2, pre-trained on photographs of ImageNet: (n, D)."""
    folder = _folder("MMBOOK_MODELS", "mobilenet_v2_1.0_224")
    encoder = PretrainedImageEncoder.from_pretrained(folder)
    return torch.cat([encoder(part).pooled() for part in images.split(50)])


def nine_numbers(images: Tensor) -> Tensor:
    """What the least usual pixels of each picture look like, without a network: (n, 9).

    The mean red, green and blue of the 20 pixels that are farthest from the picture's
    median colour, their squares and their products.
    """
    pixels = images.flatten(2)
    far = (pixels - pixels.median(-1, keepdim=True).values).square().sum(1)
    places = far.topk(20).indices[:, None].expand(-1, 3, -1)
    mean = pixels.gather(2, places).mean(-1)
    return torch.cat([mean, mean**2, mean * mean.roll(1, dims=1)], dim=1)


# ----------------------------------------------------------------------------- digits


class KeptSpectrum(nn.Module):
    """Takes the place of an encoder's spectrogram and is given it: (B, T, C), (B, T)."""

    def forward(self, spectrum: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T) and the mask, as the spectrogram returns them."""
        return spectrum.transpose(1, 2), mask


def digits(split: str) -> list[Examples]:
    """Recordings of a split as spectrograms: the pool and validation, or the test."""
    hear = ConvAudioEncoder.from_pretrained("mmbook/scene-audio-encoder").spectrogram
    data = spoken_digits(_folder("MMBOOK_DATA", "fsdd"), split)
    sounds = (hear(*stack_audio([data.sound(i)])) for i in range(len(data)))
    spectra = [spectrum[0, :, seen[0]].T for spectrum, seen in sounds]
    examples = Examples(spectra, torch.tensor([row["label"] for row in data.known]))
    return [examples.some(part.tolist()) for part in _parts(len(examples), split)]


def scene_audio_encoder() -> ConvAudioEncoder:
    """The book's audio encoder, which is given its spectrograms."""
    encoder = ConvAudioEncoder.from_pretrained("mmbook/scene-audio-encoder")
    encoder.spectrogram = KeptSpectrum()
    return encoder


def fresh_audio_encoder() -> ConvAudioEncoder:
    """The same architecture with random weights."""
    source = ConvAudioEncoder.from_pretrained("mmbook/scene-audio-encoder")
    encoder = build(source.to_config())
    encoder.spectrogram = KeptSpectrum()
    return encoder


def _parts(count: int, split: str) -> list[Tensor]:
    """Which examples are the pool and which validation; of a test split all."""
    if split == "test":
        return [torch.arange(count)]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return [order[HELD : HELD + POOL], order[:HELD]]


def _folder(variable: str, name: str) -> Path:
    return Path(os.environ[variable]) / name
