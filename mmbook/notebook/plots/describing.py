"""A figure in words, made from what is drawn: for those who do not see it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.container import BarContainer

LIMIT = 400  # characters


def description(figure) -> str:
    """Panels, axes, and each series with its first and last value."""
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    room = LIMIT // max(1, len(panels)) - 2
    parts = [part for part in (_panel(axes, room) for axes in panels) if part]
    title = plain(figure.get_suptitle())
    count = f"{len(panels)} panels" if len(panels) > 1 else ""
    return shortened(sentences([title, count, *parts]))


def sentences(parts: Iterable[str]) -> str:
    """Parts, each with a full stop behind it."""
    return " ".join(p if p[-1] in ".?!…" else f"{p}." for p in parts if p)


def listed(texts: Sequence[str], room: int = LIMIT) -> str:
    """As many texts as there is room for, and how many more there are."""
    taken: list[str] = []
    for text in texts:
        if taken and len("; ".join([*taken, text])) > room - 14:
            return f"{'; '.join(taken)}; and {len(texts) - len(taken)} more"
        taken.append(text)
    return "; ".join(taken)


def shortened(text: str) -> str:
    """At most ``LIMIT`` characters, cut between two words."""
    if len(text) <= LIMIT:
        return text
    return text[: LIMIT - 1].rpartition(" ")[0].rstrip(" ;,.") + "…"


def plain(text: str) -> str:
    """Text of a figure without the signs of TeX, on one line."""
    text = re.sub(r"\\(\w+)", r"\1", " ".join(str(text).split()))
    return re.sub(r"[$^{}]|_(?=\w\b|\{)", "", text)


def value(number) -> str:
    """A number as one would say it."""
    return f"{float(number):.3g}".replace("e-0", "e-").replace("e+0", "e")


def _panel(axes, room: int) -> str:
    title = plain(axes.get_title(loc="left") or axes.get_title())
    drawn = _bars(axes) or _curves(axes) or _mesh(axes)
    across, up = plain(axes.get_xlabel()), plain(axes.get_ylabel())
    labels = f"{up} against {across}" if across and up else across or up
    head = ": ".join(part for part in (title, labels) if part)
    written = [plain(text.get_text()) for text in axes.texts if text.get_text()]
    if not drawn:
        drawn = written
    return ": ".join(filter(None, [head, listed(drawn, max(60, room - len(head)))]))


def _bars(axes) -> list[str]:
    """Each bar's label and height."""
    found = []
    for bars in axes.containers:
        if not isinstance(bars, BarContainer):
            continue
        level = bars.orientation == "horizontal"
        axis = axes.yaxis if level else axes.xaxis
        names = dict(zip(axis.get_ticklocs(), _tick_texts(axis), strict=False))
        for bar, size in zip(bars, np.array(bars.datavalues, float), strict=False):
            middle = bar.get_y() + bar.get_height() / 2
            if not level:
                middle = bar.get_x() + bar.get_width() / 2
            name = next((n for at, n in names.items() if abs(at - middle) < 1e-6), "")
            found.append(f"{plain(name) or value(middle)} {value(size)}")
    return found


def _tick_texts(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def _curves(axes) -> list[str]:
    """Each series with its first and last value; without a label only if none has one."""
    lines = [line for line in axes.lines if len(line.get_xdata(orig=False)) > 1]
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    named = [line for line in named if len(line.get_xdata(orig=False))]
    if named:
        return [f"{plain(line.get_label())} {_ends(line)}" for line in named]
    lines = [line for line in lines if _is_series(line)]
    return [f"a curve {_ends(line)}" for line in lines[:4]]


def _is_series(line) -> bool:
    """No line that only marks a height or a place."""
    x, y = (np.asarray(line.get_data(orig=False)[i], float) for i in (0, 1))
    return len(x) > 2 or (np.ptp(x) > 0 and np.ptp(y) > 0)


def _ends(line) -> str:
    x, y = (np.asarray(line.get_data(orig=False)[i], float) for i in (0, 1))
    if np.ptp(y) == 0:
        return f"at {value(y[0])}"
    if len(x) > 2 and (line.get_linestyle() == "None" or np.ptp(x) == 0):
        return f"between {value(y.min())} and {value(y.max())}"
    return f"from {value(y[0])} to {value(y[-1])}"


def _mesh(axes) -> list[str]:
    """A map of values."""
    maps = [m for m in [*axes.images, *axes.collections] if m.get_array() is not None]
    if not maps:
        return []
    values = np.ma.asarray(maps[0].get_array())
    if values.ndim == 3 or not values.count():
        return ["a picture"] if values.ndim == 3 else []
    return [f"a map of values from {value(values.min())} to {value(values.max())}"]
