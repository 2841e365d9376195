"""Scenes to pictures and clips: signed distances over the whole canvas.

A signed distance is negative inside a shape, positive outside and zero on its edge, so
``clip(0.5 − distance)`` in pixels paints the shape with a smooth edge. All things of one
shape are painted at once, in all frames. Formulas for the distances: Inigo Quilez,
https://iquilezles.org/articles/distfunctions2d/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .scenes import COLOURS, Scene, Thing

_BACKGROUND = 0.93


def render(
    scenes: Sequence[Scene], size: int = 48, noise: float = 0.02, seed: int = 0
) -> Tensor:
    """Paint scenes: a picture is a clip of one frame.

    Parameters
    ----------
    scenes : B scenes.
    size : height and width H = W in pixels.
    noise : standard deviation of the sensor noise; 0 paints clean pictures. With noise
        each picture also has its own brightness and each thing its own tint.
    seed : of the noise.

    Returns
    -------
    (B, 3, H, W) float32 in [0, 1].
    """
    return render_video(scenes, 1, size, noise, seed)[:, 0]


def render_video(
    scenes: Sequence[Scene],
    frames: int = 8,
    size: int = 48,
    noise: float = 0.02,
    seed: int = 0,
) -> Tensor:
    """Paint clips of scenes whose things move (视频).

    The frames are equally spaced from the start to the end of all motions. Without noise
    the first one is the picture that :func:`render` paints. Sensor noise is new in each
    frame; brightness and tints stay the same through a clip.

    Parameters
    ----------
    scenes, size, noise, seed : as in :func:`render`.
    frames : F. Four are needed to see that something blinks, five to see it twice.

    Returns
    -------
    (B, F, 3, H, W) float32 in [0, 1].
    """
    if not scenes:
        raise ValueError("no scenes to render: the list is empty")
    if frames < 1:
        raise ValueError(f"frames must be 1 or more; got {frames}")
    rng = np.random.default_rng(seed)
    shape = (len(scenes), frames, 3, size, size)
    canvas = np.full(shape, _BACKGROUND, dtype=np.float32)
    if noise:
        canvas += rng.normal(0, 0.02, (len(scenes), 1, 1, 1, 1)).astype(np.float32)
    for layer in range(max(len(scene.things) for scene in scenes)):
        by_shape = defaultdict(list)
        for row, scene in enumerate(scenes):
            if layer < len(scene.things):
                by_shape[scene.things[layer].shape].append((row, scene.things[layer]))
        for name, placed in by_shape.items():
            _paint(canvas, name, placed, rng, noise)
    if noise:
        shape = (len(scenes), frames, 1, size, size)
        canvas += noise * rng.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(canvas.clip(0, 1))


def _paint(canvas, shape: str, placed: list[tuple[int, Thing]], rng, noise) -> None:
    """Put K things of one shape on their clips: canvas (B, F, 3, H, W)."""
    rows = [row for row, _ in placed]
    things = [thing for _, thing in placed]
    frames, size = canvas.shape[1], canvas.shape[-1]
    moments = [[t.at(k / max(frames - 1, 1)) for k in range(frames)] for t in things]
    column = np.array(moments, dtype=np.float32)  # (K, F, 4)
    x, y, radius, visible = np.moveaxis(column, -1, 0)[..., None, None]
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    distance = _DISTANCES[shape](grid - x, grid[:, None] - y, radius)  # (K, F, H, W)
    alpha = visible * (0.5 - distance * size).clip(0, 1)
    colour = np.array([COLOURS[t.colour] for t in things], dtype=np.float32)
    if noise:
        colour += rng.normal(0, 0.03, colour.shape).astype(np.float32)
    colour = colour[:, None, :, None, None]  # (K, 1, 3, 1, 1)
    canvas[rows] += alpha[:, :, None] * (colour - canvas[rows])


def _circle(x, y, r):
    return np.sqrt(x * x + y * y) - r


def _ring(x, y, r):
    return np.abs(np.sqrt(x * x + y * y) - 0.76 * r) - 0.24 * r


def _square(x, y, r):
    return np.maximum(np.abs(x), np.abs(y)) - 0.85 * r


def _triangle(x, y, r):
    slope = 0.5 * np.sqrt(3.0, dtype=np.float32)  # edges of an upright triangle
    return np.maximum(slope * np.abs(x) - 0.5 * y, y) - 0.55 * r


def _cross(x, y, r):
    x, y = np.abs(x), np.abs(y)
    long, short = np.maximum(x, y), np.minimum(x, y)
    return np.maximum(long - 0.95 * r, short - 0.3 * r)


def _star(x, y, r):
    """A five-pointed star: fold the plane onto one arm, then one straight edge."""
    angle = np.arctan2(x, -y)  # 0 is up
    sector = 2 * np.pi / 5
    folded = np.abs((angle + sector / 2) % sector - sector / 2)
    length = np.sqrt(x * x + y * y)
    along, across = length * np.cos(folded), length * np.sin(folded)
    inner = 0.45  # radius of the notches, as a share of the tips'
    notch_x = inner * np.cos(np.pi / 5)
    notch_y = inner * np.sin(np.pi / 5)
    normal = np.array([notch_y, 1 - notch_x]) / np.hypot(notch_y, 1 - notch_x)
    return (along - 1.05 * r) * normal[0] + across * normal[1]


_DISTANCES = {
    "circle": _circle,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "star": _star,
}
