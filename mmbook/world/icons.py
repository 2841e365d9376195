"""Small drawings of objects whose English names mean two things (图标). Chapter 6.6.

An icon is a list of strokes in coordinates from -1 to 1, y downwards, drawn one over the
other: ``+`` in the colour of the icon, ``-`` in that of the ground.

    o  an ellipse by its centre and its two radii
    p  a polygon by its corners
    l  a line of a width through some points
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

FINE = 4  # icons are drawn so many times as large, and then averaged

ICONS: dict[str, list[str]] = {
    "bat, animal": [
        "+o 0 0 .22 .45",
        "+p -.15 -.2 -.6 -.6 -1 -.1 -.95 .35 -.7 .1 -.5 .4 -.3 .1 -.1 .35",
        "+p .15 -.2 .6 -.6 1 -.1 .95 .35 .7 .1 .5 .4 .3 .1 .1 .35",
        "+p -.2 -.3 -.17 -.7 0 -.4 .17 -.7 .2 -.3",
    ],
    "bat, club": ["+p -.95 .8 -.8 .95 -.3 .5 .8 -.5 .95 -.8 .75 -.95 .45 -.85 -.5 .3"],
    "crane, bird": [
        "+o .1 -.1 .5 .28",
        "+l .12 -.35 -.2 -.55 -.45 -.5 -.9",
        "+p -.6 -.9 -.35 -1 -.3 -.75 -1 -.7",
        "+p .4 -.3 .95 .25 .3 .1",
        "+l .08 0 .1 .05 .95",
        "+l .08 .25 .1 .3 .95",
    ],
    "crane, machine": [
        "+l .16 -.45 1 -.45 -.8",
        "+l .14 -.9 -.75 .95 -.75",
        "+l .06 -.45 -1 .85 -.75",
        "+l .06 -.45 -1 -.85 -.75",
        "+l .05 .75 -.75 .75 .2",
        "+p .55 .2 .95 .2 .95 .55 .55 .55",
        "+p -.8 .85 -.1 .85 -.1 1 -.8 1",
    ],
    "seal, animal": [
        "+p -.9 .6 -.5 .1 .1 -.1 .25 -.6 .55 -.75 .85 -.5 .8 -.2 .6 .6 .9 .9 -.7 .8",
        "+p -.7 .7 -1 .35 -.95 .95 -.6 .8",
        "-o .62 -.5 .07 .07",
    ],
    "seal, stamp": [
        "+o 0 -.6 .3 .3",
        "+p -.15 -.45 .15 -.45 .25 .25 -.25 .25",
        "+p -.6 .2 .6 .2 .6 .55 -.6 .55",
        "+p -.75 .75 .75 .75 .75 .95 -.75 .95",
    ],
    "nail, metal": [
        "+p -.45 -.95 .45 -.95 .45 -.75 .13 -.75 .13 .5 0 1 -.13 .5 -.13 -.75 -.45 -.75"
    ],
    "nail, finger": [
        "+p -.5 1 -.5 -.4 -.3 -.85 0 -1 .3 -.85 .5 -.4 .5 1",
        "-p -.3 -.1 -.3 -.5 0 -.8 .3 -.5 .3 -.1",
        "+p -.2 -.2 -.2 -.48 0 -.68 .2 -.48 .2 -.2",
        "-p -.3 .45 .3 .45 .3 .52 -.3 .52",
    ],
    "spring, coil": [
        "+l .14 -.5 -.9 .5 -.7 -.5 -.4 .5 -.15 -.5 .15 .5 .4 -.5 .65 .5 .9",
        "+l .14 -.6 -.92 .6 -.92",
        "+l .14 -.6 .92 .6 .92",
    ],
    "spring, water": [
        "+p -1 .7 -.6 .55 .6 .55 1 .7 .8 1 -.8 1",
        "+l .13 0 .6 0 -.6",
        "+l .11 0 -.5 -.35 -.9 -.7 -.5 -.75 .1",
        "+l .11 0 -.5 .35 -.9 .7 -.5 .75 .1",
    ],
    "palm, tree": [
        "+p -.12 1 -.02 -.3 .14 -.3 .2 1",
        "+p 0 -.35 -.5 -.75 -1 -.35 -.5 -.5",
        "+p 0 -.35 .5 -.75 1 -.35 .5 -.5",
        "+p 0 -.35 -.3 -1 -.75 -.95 -.35 -.75",
        "+p 0 -.35 .3 -1 .75 -.95 .35 -.75",
        "+p 0 -.35 -.6 -.3 -.85 .2 -.5 -.1",
        "+p 0 -.35 .6 -.3 .85 .2 .5 -.1",
    ],
    "palm, hand": [
        "+p -.45 1 -.5 .1 .5 .1 .45 1",
        "+l .22 -.38 .2 -.45 -.65",
        "+l .22 -.13 .2 -.15 -.88",
        "+l .22 .13 .2 .15 -.85",
        "+l .22 .38 .2 .45 -.6",
        "+l .24 .4 .7 .85 .1",
    ],
    "key, door": [
        "+o -.5 0 .45 .45",
        "-o -.5 0 .2 .2",
        "+p -.1 -.12 1 -.12 1 .12 -.1 .12",
        "+p .5 .1 .65 .1 .65 .45 .5 .45",
        "+p .8 .1 .95 .1 .95 .5 .8 .5",
    ],
    "key, keyboard": [
        "+p -.85 -.85 .85 -.85 .85 .85 -.85 .85",
        "-p -.7 -.75 .7 -.75 .6 .5 -.6 .5",
        "+l .14 -.25 .25 0 -.5 .25 .25",
        "+l .12 -.15 .05 .15 .05",
    ],
    "pipe, smoking": [
        "+p -.95 -.4 -.35 -.4 -.35 .2 -.2 .35 .2 .1 1 -.55 1 -.35 .3 .4 -.2 .8 -.8 .75 -.95 .3",
        "-p -.85 -.4 -.45 -.4 -.45 -.3 -.85 -.3",
    ],
    "pipe, tube": [
        "+p -1 -.55 .15 -.55 .5 -.2 .5 1 .05 1 .05 0 -.1 -.1 -1 -.1",
        "+p -1 -.7 -.75 -.7 -.75 .05 -1 .05",
        "+p -.1 .75 .65 .75 .65 1 -.1 1",
    ],
    "bow, weapon": [
        "+l .13 -.4 -.95 .2 -.7 .5 -.3 .6 0 .5 .3 .2 .7 -.4 .95",
        "+l .05 -.4 -.95 -.4 .95",
        "+l .08 -.9 0 .9 0",
        "+p .75 -.2 1 0 .75 .2",
    ],
    "bow, ribbon": [
        "+p 0 0 -.95 -.6 -.95 .5",
        "+p 0 0 .95 -.6 .95 .5",
        "+o 0 0 .2 .22",
        "+p -.05 .1 -.55 .95 -.25 .95 .05 .2",
        "+p .05 .1 .55 .95 .25 .95 -.05 .2",
    ],
    "bank, money": [
        "+p -1 -.4 0 -.95 1 -.4",
        "+p -.8 -.3 -.5 -.3 -.5 .6 -.8 .6",
        "+p -.15 -.3 .15 -.3 .15 .6 -.15 .6",
        "+p .5 -.3 .8 -.3 .8 .6 .5 .6",
        "+p -1 .7 1 .7 1 .95 -1 .95",
    ],
    "bank, river": [
        "+p -1 -.7 -.2 -.6 .1 -.2 0 .2 .35 .6 .4 1 -1 1",
        "+l .1 .45 -.6 .65 -.5 .85 -.6 1 -.55",
        "+l .1 .45 -.15 .65 -.05 .85 -.15 1 -.1",
        "+l .1 .55 .3 .75 .4 .9 .3 1 .35",
    ],
    "mouse, animal": [
        "+o .1 .3 .65 .45",
        "+o -.6 .25 .35 .28",
        "+o -.45 -.15 .25 .25",
        "+l .08 .7 .4 .95 .1 .8 -.4 .95 -.75",
        "-o -.7 .2 .06 .06",
    ],
    "mouse, device": [
        "+o 0 .25 .5 .7",
        "-l .06 -.5 .1 .5 .1",
        "-l .06 0 -.45 0 .1",
        "+l .07 0 -.45 .1 -.8 .5 -.95",
    ],
    "trunk, elephant": [
        "+o .35 -.35 .6 .6",
        "+l .3 -.1 -.2 -.45 .3 -.55 .75 -.9 .85",
        "+o .7 -.2 .35 .5",
        "-l .06 .45 -.55 .4 -.1 .55 .2",
        "-o .05 -.45 .08 .08",
    ],
    "trunk, tree": [
        "+p -.35 -.95 .35 -.95 .4 .5 .9 1 -.9 1 -.4 .5",
        "+p -.3 -.6 -.95 -.95 -.85 -.7 -.3 -.3",
        "-l .06 -.1 -.8 -.1 .6",
        "-l .06 .15 -.6 .15 .8",
    ],
}


@lru_cache(maxsize=256)
def icon(name: str, size: int) -> np.ndarray:
    """How much of each pixel an icon covers: (size, size) float32 in [0, 1]."""
    if name not in ICONS:
        raise ValueError(f"name must be one of {', '.join(ICONS)}; got {name!r}")
    sheet = Image.new("L", (size * FINE, size * FINE), 0)
    pen = ImageDraw.Draw(sheet)
    for stroke in ICONS[name]:
        _draw(pen, stroke, size * FINE)
    fine = np.asarray(sheet, dtype=np.float32) / 255
    return fine.reshape(size, FINE, size, FINE).mean((1, 3))


def _draw(pen: ImageDraw.ImageDraw, stroke: str, side: int) -> None:
    """One stroke on a sheet of this side."""
    mark, *texts = stroke.split()
    sign, kind = mark[0], mark[1]
    ink, values = 255 * (sign == "+"), [float(text) for text in texts]
    if kind == "o":
        x, y, wide, tall = values
        corners = _places([x - wide, y - tall, x + wide, y + tall], side)
        pen.ellipse([corners[0], corners[1]], fill=ink)
    elif kind == "p":
        pen.polygon(_places(values, side), fill=ink)
    else:
        width, *points = values
        wide = max(1, round(width * side / 2))
        places = _places(points, side)
        pen.line(places, fill=ink, width=wide, joint="curve")
        for x, y in (places[0], places[-1]):
            half = wide / 2
            pen.ellipse([(x - half, y - half), (x + half, y + half)], fill=ink)


def _places(values: Sequence[float], side: int) -> list[tuple[float, float]]:
    """Pairs of coordinates from -1 to 1, as pixels."""
    pixels = [(value + 1) / 2 * (side - 1) for value in values]
    assert math.fmod(len(pixels), 2) == 0
    return list(zip(pixels[::2], pixels[1::2], strict=True))
