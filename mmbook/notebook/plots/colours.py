"""One colour for one method in the whole book, and what each becomes on a dark page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from zlib import crc32

INK = "#6c6c6c"  # text and axes: 5.2 : 1 on white
BLUE, VERMILION, VIOLET, TEAL, MAGENTA, OLIVE, INDIGO, BROWN = COLOURS = (
    "#1f78b3",
    "#e82201",
    "#7b1cf7",
    "#1e5a66",
    "#cc0694",
    "#6a781f",
    "#4629bd",
    "#5d472e",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DARK = {  # what the site shows instead on its dark pages, #121212
    INK: "#b4b8be",
    BLUE: "#39b1ff",
    VERMILION: "#f8981f",
    VIOLET: "#8a6bfd",
    TEAL: "#0be4a2",
    MAGENTA: "#e672b4",
    OLIVE: "#ffe430",
    INDIGO: "#cfe3ff",
    BROWN: "#a97f57",
}

_TABLE = """
INK: chance, guessing, majority, nearest neighbour, neighbour, image-blind, text-blind, \
floor, bound, word counts, nothing, no change
BLUE: full, full fine-tuning, fine-tuned, everything, all, pre-trained, pre-trained eyes
VERMILION: from scratch, scratch, random, random eyes, untrained, from nothing
VERMILION: biases, bitfit
TEAL: frozen, frozen probe, probe, linear probe, head only, last layer, linear head
VIOLET: lora
MAGENTA: adapters
MAGENTA: gradual, gradual unfreezing
OLIVE: prompt
OLIVE: layer-wise rates
INDIGO: prefix
BROWN: ia3
BLUE: picture only, image only, picture alone, frames alone, no sentence, image, picture
VERMILION: sentence only, text only, words alone, no picture, text, sentence
VIOLET: both, picture and question, picture and sentence
TEAL: audio, speech
MAGENTA: video, clip
VERMILION: sgd, gradient descent
OLIVE: momentum, heavy ball
BROWN: nesterov
BLUE: adam
VIOLET: adamw
INDIGO: adam + l2
TEAL: adagrad
MAGENTA: rmsprop
TEAL: concatenation, concatenated
INDIGO: vector concatenation
OLIVE: late, votes, late fusion
BROWN: sum
BLUE: product
VIOLET: gated
VERMILION: bilinear
TEAL 1: low rank
OLIVE 1: film
MAGENTA: cross attention
MAGENTA 1: gated cross attention
VIOLET 1: merged attention
BLUE 1: co attention
BROWN 1: bottleneck
VERMILION 1: resampler
INDIGO 1: q former
TEAL 2: projector
BLUE 2: multimodal convolution
OLIVE 2: transformer xl
"""


def _plain(name: str) -> str:
    """How a name is compared: small letters, one way to write it."""
    name = str(name).lower().replace("³", "3").replace("_", " ").replace("-", " ")
    return " ".join(name.split())


def _read(table: str) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """The group of each name, and the colour and marker of each group."""
    groups: dict[str, str] = {}
    looks: dict[str, tuple[str, str]] = {}
    for line in table.strip().splitlines():
        look, _, names = line.partition(":")
        colour, _, turn = look.partition(" ")
        first, *others = map(_plain, names.split(","))
        value = globals()[colour]
        number = COLOURS.index(value) if value in COLOURS else -1
        looks[first] = value, MARKERS[(number + int(turn or 0)) % len(MARKERS)]
        groups |= dict.fromkeys([first, *others], first)
    return groups, looks


_GROUPS, _LOOKS = _read(_TABLE)
METHODS = {name: _LOOKS[group][0] for name, group in _GROUPS.items()}


def method_of(name: str) -> str:
    """The method that a name is about: ``"LoRA, rank 4"`` is about ``"lora"``.

    It is a name of the table that stands between commas, or at the beginning of what
    stands there; otherwise all before the first comma.
    """
    parts = [part.strip() for part in re.split(r"[,:(]", _plain(name))]
    for part in [_plain(name), *parts]:
        if part in _GROUPS:
            return _GROUPS[part]
    for part in parts:
        starts = [key for key in _GROUPS if part.startswith(key + " ")]
        if starts:
            return _GROUPS[max(starts, key=len)]
    return parts[0]


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """The colour of each name, where all of them stand in one figure.

    A method of the book's table has its own colour; the others take the colours that
    are left, in order. Names that are about one method, such as two ranks of LoRA,
    share a colour.
    """
    names = list(names)
    methods = list(dict.fromkeys(map(method_of, names)))
    found: dict[str, str] = {}
    for method in methods:
        if method in _LOOKS and (
            _LOOKS[method][0] == INK or _LOOKS[method][0] not in found.values()
        ):
            found[method] = _LOOKS[method][0]
    free = [c for c in COLOURS if c not in found.values()] or list(COLOURS)
    others = [method for method in methods if method not in found]
    found |= {method: free[i % len(free)] for i, method in enumerate(others)}
    return {name: found[method_of(name)] for name in names}


def colour_of(name: str) -> str:
    """The colour of a method in the whole book; any one, but the same, if it has none."""
    method = method_of(name)
    return (
        _LOOKS[method][0]
        if method in _LOOKS
        else COLOURS[crc32(method.encode()) % len(COLOURS)]
    )


def look_of(name: str) -> dict[str, str]:
    """Colour and marker of a method: ``axes.plot(x, y, **plots.look_of("LoRA"))``."""
    method, colour = method_of(name), colour_of(name)
    number = COLOURS.index(colour) if colour in COLOURS else -1
    marker = _LOOKS[method][1] if method in _LOOKS else MARKERS[number]
    return {"color": colour, "marker": marker}
