"""Tasks on scenes: what a model is asked, and what would be right."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .language import describe, describe_motion
from .render import render, render_video
from .scenes import COLOURS, MOTIONS, SHAPES, Scene, Thing, sample_scenes
from .speech import speak
from .voices import Voice, sample_voices


class CaptionedScenes(Dataset):
    """Scenes with their pictures and captions, rendered once when it is made.

    Items are ``{"image": (3, H, W) uint8, "caption": str, "index": int}``.

    Parameters
    ----------
    scenes : what the pictures show; kept as ``.scenes`` for exact checking.
    style : of the captions, see :func:`mmbook.world.describe`.
    size, noise, seed : of the pictures, see :func:`mmbook.world.render`.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        style: str = "canonical",
        size: int = 48,
        noise: float = 0.02,
        seed: int = 0,
    ):
        if not scenes:
            raise ValueError("no scenes: the list is empty")
        self.scenes = list(scenes)
        self.captions = [
            describe(scene, style, seed + index) for index, scene in enumerate(scenes)
        ]
        chunks = [
            (render(self.scenes[i : i + 256], size, noise, seed + i) * 255)
            .round()
            .byte()
            for i in range(0, len(self.scenes), 256)
        ]
        self.images = torch.cat(chunks)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict:
        return {
            "image": self.images[index],
            "caption": self.captions[index],
            "index": int(index),
        }

    @property
    def references(self) -> list[list[str]]:
        """The true captions of each picture: here one."""
        return [[caption] for caption in self.captions]

    def picture(self, number: int) -> Tensor:
        """What the model is shown of one picture: its pixels, (3, H, W) uint8."""
        return self.images[number]

    pixels = picture


_AT_ONCE = 32  # clips that are painted together


class MovingScenes(Dataset):
    """Scenes with their clips and captions, rendered once when it is made (视频描述).

    Items are ``{"video": (F, 3, H, W) uint8, "caption": str, "index": int}``; with
    ``target="motion"`` a ``"label"`` stands in place of the caption: the number of the
    motion in ``MOTIONS``. A clip of 8 frames of 48 × 48 pixels takes 55 kB.

    Parameters
    ----------
    scenes : what the clips show; kept as ``.scenes`` for exact checking.
    frames, size, noise, seed : of the clips, see
        :func:`mmbook.world.render_video`.
    target : ``"caption"``, or ``"motion"`` for scenes of one thing.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        frames: int = 8,
        size: int = 48,
        noise: float = 0.02,
        seed: int = 0,
        target: str = "caption",
    ):
        if not scenes:
            raise ValueError("no scenes: the list is empty")
        if target not in ("caption", "motion"):
            raise ValueError(f"target must be caption or motion; got {target!r}")
        if target == "motion" and any(len(scene.things) != 1 for scene in scenes):
            raise ValueError("the motion of a clip is clear if it shows one thing")
        self.scenes, self.target = list(scenes), target
        self.captions = [describe_motion(scene) for scene in scenes]
        chunks = []
        for i in range(0, len(self.scenes), _AT_ONCE):
            some = self.scenes[i : i + _AT_ONCE]
            clips = render_video(some, frames, size, noise, seed + i)
            chunks.append((clips * 255).round().byte())
        self.videos = torch.cat(chunks)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict:
        item = {"video": self.videos[index], "index": int(index)}
        if self.target == "motion":
            motion = self.scenes[index].things[0].motion
            motions: list[str | None] = list(MOTIONS)
            return {**item, "label": motions.index(motion)}
        return {**item, "caption": self.captions[index]}

    @property
    def references(self) -> list[list[str]]:
        """The true captions of each clip: here one."""
        return [[caption] for caption in self.captions]

    def clip(self, number: int) -> Tensor:
        """What the model is shown of one scene: (F, 3, H, W) uint8."""
        return self.videos[number]


class Matching(Dataset):
    """Is the sentence true of the picture? (图文匹配)

    Each picture shows one thing, each sentence names a colour and a shape. Half of the
    sentences are true; in a false one the colour, the shape or both are wrong. All pairs
    of colour and shape are equally likely in the pictures, in the true sentences and in
    the false ones, so neither the picture alone nor the sentence alone says anything
    about the answer: chapter 1.1 counts it.

    Items are ``{"image", "text", "label"}`` with label 1 for true and 0 for false.

    Parameters
    ----------
    count, seed : how many examples, and which.
    size, noise : of the pictures, see :func:`mmbook.world.render`.
    """

    def __init__(self, count: int, seed: int, size: int = 48, noise: float = 0.02):
        if count < 1:
            raise ValueError(f"count must be 1 or more; got {count}")
        rng = random.Random(f"matching {seed}")
        self.scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
        self.labels = [index % 2 for index in range(count)]
        rng.shuffle(self.labels)
        self.texts = [
            _sentence(_said(scene.things[0], label, rng))
            for scene, label in zip(self.scenes, self.labels, strict=True)
        ]
        self.images = (render(self.scenes, size, noise, seed) * 255).round().byte()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {
            "image": self.images[index],
            "text": self.texts[index],
            "label": self.labels[index],
        }


def _said(thing: Thing, label: int, rng: random.Random) -> tuple[str, str]:
    """The colour and the shape that the sentence names."""
    if label == 1:
        return thing.colour, thing.shape
    colour = rng.choice([name for name in COLOURS if name != thing.colour])
    shape = rng.choice([name for name in SHAPES if name != thing.shape])
    return rng.choice([(colour, thing.shape), (thing.colour, shape), (colour, shape)])


def _sentence(said: tuple[str, str]) -> str:
    colour, shape = said
    return f"{'an' if colour == 'orange' else 'a'} {colour} {shape}"


class SpokenScenes(Dataset):
    """Scenes with their captions spoken, synthesised once when it is made (口述场景).

    Items are ``{"audio": (S,) float, "caption": str, "index": int}``, and ``"image":
    (3, H, W) uint8`` if pictures are asked for. Who speaks is drawn at random from
    ``voices``; ``.speakers`` tells the voice of each item.

    Parameters
    ----------
    scenes : what is spoken of; kept as ``.scenes`` for exact checking.
    voices : who may speak; 24 voices of the training split if not given.
    style : of the captions, see :func:`mmbook.world.describe`.
    rate, noise : of the sound, see :func:`speak`.
    seed : of the captions, the voices and the noise.
    size : height and width of the pictures; None makes none.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        voices: Sequence[Voice] | None = None,
        style: str = "canonical",
        rate: int = 16_000,
        noise: float = 0.005,
        seed: int = 0,
        size: int | None = None,
    ):
        if not scenes:
            raise ValueError("no scenes: the list is empty")
        voices = sample_voices(24) if voices is None else list(voices)
        if not voices:
            raise ValueError("no voices: the list is empty")
        rng = random.Random(f"speakers {seed}")
        self.scenes, self.rate = list(scenes), rate
        self.speakers = [rng.choice(voices) for _ in self.scenes]
        self.captions = [
            describe(scene, style, seed + index) for index, scene in enumerate(scenes)
        ]
        self.images = (
            CaptionedScenes(scenes, size=size, seed=seed).images if size else None
        )
        self.waves = [
            _to_int16(speak(caption, voice, rate, noise, (seed, index)))
            for index, (caption, voice) in enumerate(
                zip(self.captions, self.speakers, strict=True)
            )
        ]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict:
        item = {
            "audio": self.waves[index].float() / 32767,
            "caption": self.captions[index],
            "index": int(index),
        }
        if self.images is not None:
            item["image"] = self.images[index]
        return item

    @property
    def references(self) -> list[list[str]]:
        """The true captions of each scene: here one."""
        return [[caption] for caption in self.captions]


def _to_int16(wave: Tensor) -> Tensor:
    """As sound files keep it: half the memory, and finer than any ear."""
    return (wave * 32767).round().to(torch.int16)
