"""Text in figures: fonts that have Chinese characters, widths, and line breaks."""

from __future__ import annotations

import functools
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.textpath import text_to_path

CHINESE_FONTS = (  # of Linux, macOS and Windows; the first that is installed is used
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Noto Sans CJK JP",  # what the file that holds all languages is called
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti TC",
    "STHeiti",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "SimHei",
    "SimSun",
)
_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60"  # Chinese: lines may break anywhere
_OPENING, _CLOSING = "（《〈「『【“‘", "，。、；：！？）》〉」』】”’…"
_PIECE = re.compile(rf" ?[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}]+)[{_CLOSING}]*")
_MISSING = re.compile(r"Glyph (\d+) .*missing from")  # as matplotlib warns
# Many Chinese fonts have one weight only, which will do: nothing is logged about it.
logging.getLogger("matplotlib.font_manager").addFilter(
    lambda record: "font weight" not in record.getMessage()
)


def fonts(family: str = "DejaVu Sans") -> list[str]:
    """A font family, and a Chinese one for what it lacks if any is installed."""
    installed = {font.name for font in fontManager.ttflist}
    return [family, *[name for name in CHINESE_FONTS if name in installed][:1]]


@functools.cache
def text_width(text: str, size: float, family: str = "DejaVu Sans") -> float:
    """How wide a line of text is, in inches."""
    names, extra = fonts(family), 0.0
    if len(names) == 1:  # no Chinese font: its characters are as wide as they are high
        text, wide = re.subn(f"[{_WIDE}]", "", text)
        extra = wide * size / 72
    font = FontProperties(family=names, size=size)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # told when the figure is drawn
        return (
            text_to_path.get_text_width_height_descent(text, font, False)[0] / 72
            + extra
        )


def wrap(text: str, width: float, size: float) -> list[str]:
    """Lines no wider than ``width`` inches.

    Lines break at spaces, in Chinese between any two characters (but not before a closing
    mark or behind an opening one), and inside of a word only if it is too wide itself.
    """
    lines = []
    for paragraph in str(text).split("\n"):
        line = ""
        for piece in _PIECE.findall(" ".join(paragraph.split())):
            fits = text_width(piece.strip(), size) <= width
            for part in [piece] if fits else piece:
                if line and text_width(line + part, size) > width:
                    lines.append(line)
                    line = part.lstrip()
                else:
                    line += part
        lines.append(line)
    return lines


@contextmanager
def missing_characters_ignored() -> Iterator[None]:
    """No warning for characters that no font has: the reader's browser draws them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _MISSING.pattern)
        yield


@contextmanager
def missing_characters_told_once() -> Iterator[None]:
    """One warning for all characters that no font has, in place of one for each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = set()
    for warning in caught:
        if found := _MISSING.match(str(warning.message)):
            missing.add(chr(int(found[1])))
        else:
            warnings.warn(warning.message, warning.category, stacklevel=4)
    if missing:
        warnings.warn(
            f"no installed font has {''.join(sorted(missing))}: install one that "
            "has Chinese, such as Noto Sans CJK, and start the kernel again",
            stacklevel=4,
        )
