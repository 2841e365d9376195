"""Clips of moving scenes as a data set, with their sentences or their motions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .language import describe_motion
from .render import render_video
from .scenes import MOTIONS, Scene

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
        :func:`mmbook.data.render.render_video`.
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
            return {**item, "label": list(MOTIONS).index(motion)}
        return {**item, "caption": self.captions[index]}

    @property
    def references(self) -> list[list[str]]:
        """The true captions of each clip: here one."""
        return [[caption] for caption in self.captions]

    def clip(self, number: int) -> Tensor:
        """What the model is shown of one scene: (F, 3, H, W) uint8."""
        return self.videos[number]
