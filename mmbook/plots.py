"""The look of the book's figures: readable on light and on dark pages alike.

Figures are transparent. Text and axes are of one grey that is readable on white and on
near-black; the colours of lines can be told apart on both, also by the colour-blind, and
nothing is said by colour alone. Curves are SVG, pictures PNG, both equal to the byte
whenever the same data is drawn again.

Each function returns a :class:`Plot`, which a notebook shows if it is the last line of a
cell. For figures of your own call ``use_style()`` once, then ``subplots()``. Importing
this module changes no setting.
"""

from __future__ import annotations

import base64
import functools
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import matplotlib
import numpy as np
import torch
from cycler import cycler
from matplotlib import ticker
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from torch import Tensor
from torch.nn import functional as F

INK = "#767676"  # 4.5 : 1 on white, 4.1 : 1 on #121212
BLUE, VERMILION, VIOLET, TEAL, MAGENTA = COLOURS = (
    "#3a8ad6",
    "#e0561b",
    "#7f3fe0",
    "#15a585",
    "#b51e68",
)
MARKERS = ("o", "s", "^", "D", "v")
RIGHT, WRONG = BLUE, VERMILION
MARKS = {True: ("✓", RIGHT), False: ("✗", WRONG)}
TILES = LinearSegmentedColormap.from_list("tiles", ["#edf2f8", "#6ea6d9", "#0d3f73"])
WIDTH = 7.2  # inches: the text column of the site
STYLE = {
    "figure.facecolor": "none",
    "figure.dpi": 96,
    "figure.figsize": (WIDTH, 2.8),
    "savefig.facecolor": "none",
    "savefig.edgecolor": "none",
    "savefig.dpi": 192,
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "grid.color": INK,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",  # the same everywhere, whatever fonts the reader has
    "svg.hashsalt": "mmbook",  # the same names inside the file each time
}


def use_style() -> None:
    """Give matplotlib the book's look, and notebooks SVG pictures that never vary."""
    matplotlib.rcParams.update(STYLE)
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return  # not in a notebook
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("svg", metadata={"Date": None})


class Plot(Figure):
    """A figure that a notebook shows by itself, once, in the format that fits it.

    It stands apart from pyplot: nothing has to be closed. ``savefig`` works as usual.
    """

    image_format = "svg"

    def to_bytes(self, image_format: str | None = None) -> bytes:
        """The picture file, ``"svg"`` or ``"png"``; equal bytes for equal data."""
        buffer = io.BytesIO()
        self.savefig(buffer, format=image_format or self.image_format)
        return buffer.getvalue()

    def savefig(self, file, **options) -> None:
        """Write a file in the book's look, whatever matplotlib's settings are."""
        name = options.get("format") or str(file).rpartition(".")[-1]
        if name == "svg":
            options.setdefault("metadata", {"Date": None, "Creator": None})
        elif name == "png":
            options.setdefault("metadata", {"Software": None})
        with matplotlib.rc_context(STYLE):
            super().savefig(file, **options)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data = self.to_bytes()
        if self.image_format == "svg":
            display({"image/svg+xml": data.decode()}, raw=True)
        else:  # two pixels for one: sharp on fine screens
            width = {"width": round(self.get_figwidth() * 96)}
            text = base64.b64encode(data).decode()
            display({"image/png": text}, raw=True, metadata={"image/png": width})


def _styled(function: Callable) -> Callable:
    """Run a function in the book's style, and leave matplotlib's settings alone."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapped


@_styled
def subplots(rows: int = 1, columns: int = 1, height: float = 2.8, **options):
    """A :class:`Plot` with axes, as ``pyplot.subplots`` gives them.

    Call :func:`use_style` before, so that what you add has the book's look, too.
    ``height`` and ``width`` are inches; further options go to ``Figure.subplots``.
    """
    size = (options.pop("width", WIDTH), height)
    figure = Plot(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


# --- pictures -------------------------------------------------------------------------


@_styled
def show_scenes(
    images: Tensor | Sequence[Tensor],
    titles: Sequence[str] | None = None,
    right: Sequence[bool | None] | None = None,
    columns: int = 6,
    side: float = 1.45,
) -> Plot:
    """Pictures in a grid, each with its caption beneath.

    Parameters
    ----------
    images : (B, 3, H, W) or a list of (3, H, W); float in [0, 1] or uint8.
    titles : what stands beneath, wrapped to the picture's width.
    right : True draws ✓ and False ✗ before the caption and colours the frame; None
        marks nothing.
    columns, side : how many in a row; the largest side of a picture in inches.
    """
    pictures = [_picture(image) for image in images]
    titles = _as_many("titles", titles, pictures, "")
    right = _as_many("right", right, pictures, None)
    figure, axes = _picture_grid(pictures, titles, right, columns, side)
    for panel, picture, mark in zip(axes, pictures, right, strict=True):
        panel.imshow(picture, interpolation=_interpolation(picture))
        _frame(panel, None if mark is None else MARKS[bool(mark)][1])
    return figure


@_styled
def show_clips(
    clips: Tensor | Sequence[Tensor],
    titles: Sequence[str] | None = None,
    right: Sequence[bool | None] | None = None,
    side: float = 0.72,
) -> Plot:
    """Clips as film strips, one below the other: frames from left to right.

    Parameters
    ----------
    clips : (B, F, 3, H, W) or a list of (F, 3, H, W) whose F may differ; float in
        [0, 1] or uint8.
    titles : what stands above each strip.
    right : True draws ✓ and False ✗ before the title; None marks nothing.
    side : the largest height of a frame in inches.
    """
    strips = [_strip(clip) for clip in clips]
    titles = _as_many("titles", titles, strips, "")
    right = _as_many("right", right, strips, None)
    dot, above = 1 / STYLE["savefig.dpi"], 0.21 * any(map(bool, titles))
    longest = max(strip.shape[1] for strip in strips)
    high = max(strip.shape[0] for strip in strips)
    scale = min(int(side / dot) / high, int((WIDTH - 0.04) / dot) / longest)
    scale = int(scale) or scale  # a pixel is a whole number of the file's
    row = above + high * scale * dot + 0.08
    width, height = longest * scale * dot + 0.04, row * len(strips)
    width, height = (round(length / dot) * dot for length in (width, height))
    figure = Plot(figsize=(width, height))
    figure.image_format = "png"
    for number, (strip, title) in enumerate(zip(strips, titles, strict=True)):
        rows, columns = (length * scale * dot for length in strip.shape[:2])
        top = height - number * row - above
        base = round((top - rows) / dot) * dot
        box = (0.02 / width, base / height, columns / width, rows / height)
        panel = figure.add_axes(box)
        panel.imshow(strip, interpolation="nearest", aspect="auto")
        panel.axis("off")
        x, y = 0.02, (top + 0.055) / height
        if right[number] is not None:
            sign, colour = MARKS[bool(right[number])]
            figure.text(x / width, y, sign, size=8.5, color=colour)
            x += 0.15
        figure.text(x / width, y, title, size=8.5)
    return figure


def _strip(clip: Tensor) -> np.ndarray:
    """(F, 3, H, W) → (H, F · W + gaps, 4): frames beside each other, gaps see-through."""
    clip = torch.as_tensor(clip)
    if clip.ndim != 4 or not len(clip):
        raise ValueError(
            "a clip must be (F, 3, H, W) with one frame or more, float in [0, 1] or "
            f"uint8; got {tuple(clip.shape)}"
        )
    frames = [
        np.pad(_picture(x), ((0, 0), (0, 0), (0, 1)), constant_values=1) for x in clip
    ]
    gap = np.zeros(
        (frames[0].shape[0], max(1, frames[0].shape[1] // 24), 4), np.float32
    )
    pieces = [piece for frame in frames for piece in (frame, gap)]
    return np.concatenate(pieces[:-1], axis=1)


@_styled
def show_attention(
    image: Tensor,
    words: Sequence[str],
    maps: Tensor,
    columns: int = 6,
    shared: bool = True,
) -> Plot:
    """A picture, and where the model looked for each word: dark where it did not.

    Parameters
    ----------
    image : (3, H, W), float in [0, 1] or uint8.
    words : L words.
    maps : (L, h, w), one map a word, from :func:`mmbook.explain.attention_maps` or
        :func:`mmbook.explain.occlusion`; what is below zero counts as zero.
    columns : how many in a row.
    shared : one scale for all words, so that a word which looked nowhere in particular
        stays dark; False brightens each word's own maximum.
    """
    picture, maps = _picture(image), torch.as_tensor(maps).float().cpu()
    if maps.ndim != 3 or not len(maps) or len(maps) != len(words):
        raise ValueError(
            f"maps must be (L, h, w) with one map for each of the {len(words)} words; got "
            f"{tuple(maps.shape)}"
        )
    lights = _lights(maps, picture.shape[:2], shared)
    pictures = [picture, *(_lit(picture, light) for light in lights)]
    titles, marks = ["the picture", *words], [None] * len(pictures)
    figure, axes = _picture_grid(pictures, titles, marks, columns)
    for panel, shown in zip(axes, pictures, strict=True):
        panel.imshow(shown, interpolation=_interpolation(picture))
        _frame(panel)
    return figure


def _lights(maps: Tensor, size: tuple[int, int], shared: bool) -> np.ndarray:
    """(L, h, w) → (L, H, W) in [0, 1], smooth."""
    maps = maps.clamp(min=0)
    top = maps.amax() if shared else maps.amax((1, 2), keepdim=True)
    maps = maps / top.clamp(min=1e-12)
    smooth = F.interpolate(maps[:, None], size=size, mode="bilinear")[:, 0]
    return smooth.clamp(0, 1).sqrt().numpy()  # weak light can be seen, too


def _lit(picture: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The picture by the light of a lamp: night where no light falls."""
    night = np.array([0.13, 0.16, 0.27])
    shade = 0.25 * picture + 0.75 * night * picture.mean(-1, keepdims=True)
    return shade + light[..., None] * (picture - shade)


def _picture(image: Tensor) -> np.ndarray:
    """(3, H, W) tensor → (H, W, 3) array in [0, 1]."""
    image = torch.as_tensor(image).detach().cpu()
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            "a picture must be (3, H, W), float in [0, 1] or uint8; got "
            f"{tuple(image.shape)}"
        )
    if image.dtype == torch.uint8:
        image = image / 255
    return image.float().clamp(0, 1).permute(1, 2, 0).numpy()


def _interpolation(picture: np.ndarray) -> str:
    """Show the pixels of small pictures; draw photographs smoothly."""
    return "nearest" if max(picture.shape[:2]) <= 96 else "antialiased"


def _as_many(name: str, given: Sequence | None, pictures: list, default) -> list:
    """``given`` as a list, as long as there are pictures."""
    if not pictures:
        raise ValueError("no pictures to show: images is empty")
    given = [default] * len(pictures) if given is None else list(given)
    if len(given) != len(pictures):
        raise ValueError(
            f"{name} must be as many as the images; got {len(given)} for {len(pictures)}"
        )
    return given


def _picture_grid(
    pictures: list[np.ndarray],
    titles: Sequence[str],
    marks: Sequence[bool | None],
    columns: int,
    side: float = 1.45,
):
    """A plot with a panel for each picture, and the titles written beneath.

    Everything stands on whole pixels of the file, and a small picture's pixel is a whole
    number of the file's: it looks even, and the file stays small.
    """
    if columns < 1:
        raise ValueError(f"columns must be 1 or more; got {columns}")
    gap, line, size, dot = 0.15, 0.145, 8.5, 1 / STYLE["savefig.dpi"]
    shown = min(columns, len(titles))
    cell = _whole(min(side, (WIDTH + gap) / columns - gap) / dot, pictures) * dot
    indents = [0.15 if mark is not None else 0.0 for mark in marks]
    texts = [_wrap(t, cell - i, size) for t, i in zip(titles, indents, strict=True)]
    rows = [texts[i : i + shown] for i in range(0, len(texts), shown)]
    below = [
        0.06 + line * max(map(len, row)) if any(map(any, row)) else 0 for row in rows
    ]
    bottoms = np.cumsum([cell + gap + space for space in below])
    width, height = shown * (cell + gap) - gap + 0.04, bottoms[-1] - gap + 0.06
    width, height = (round(length / dot) * dot for length in (width, height))
    figure, axes = Plot(figsize=(width, height)), []
    figure.image_format = "png"
    for number, lines in enumerate(texts):
        row, column = divmod(number, shown)
        left = round((0.02 + column * (cell + gap)) / dot) * dot
        top = height - 0.02 - (bottoms[row - 1] if row else 0.0)
        base = round((top - cell) / dot) * dot
        box = (left / width, base / height, cell / width, cell / height)
        axes.append(figure.add_axes(box))
        for place, words in enumerate(lines):
            x, y = left + indents[number], base - 0.165 - place * line
            figure.text(x / width, y / height, words, size=size)
        if indents[number]:
            sign, colour = MARKS[bool(marks[number])]
            y = (base - 0.165) / height
            figure.text(left / width, y, sign, size=size, color=colour)
    return figure, axes


def _whole(side: float, pictures: list[np.ndarray]) -> int:
    """A number of pixels up to ``side``, a multiple of small pictures' own."""
    own = max(max(picture.shape[:2]) for picture in pictures)
    return int(side) // own * own if own <= 96 and own <= side else int(side)


def _frame(panel, colour: str | None = None) -> None:
    """A thin frame, coloured if the picture is marked; no ticks."""
    panel.set(xticks=[], yticks=[])
    panel.grid(False)
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour or INK, linewidth=1.6 if colour else 0.6)


def _wrap(text: str, width: float, size: float) -> list[str]:
    """Lines no wider than ``width`` inches; a longer word stands alone."""
    lines = []
    for paragraph in str(text).split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and _text_width(longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


@functools.cache
def _text_width(text: str, size: float, family: str = "DejaVu Sans") -> float:
    """How wide a line of text is, in inches."""
    font = FontProperties(family=family, size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] / 72


# --- curves and numbers ---------------------------------------------------------------


@_styled
def plot_history(history) -> Plot:
    """How a training run went: loss, learning rate, validation metrics.

    Parameters
    ----------
    history : a :class:`mmbook.training.History`. The loss is drawn on a logarithmic
        scale, as measured (faint) and smoothed; a validated ``loss`` beside it; other
        validated metrics in a panel of their own.
    """
    if not history.steps:
        raise ValueError("nothing to plot: the history has no steps")
    validated = _validated(history.validations)
    validation_loss = validated.pop("loss", None)
    figure = Plot(figsize=(WIDTH, 2.9), layout="constrained")
    ratios = {"width_ratios": [3, 2]} if validated else {}
    grid = figure.add_gridspec(2, 2 if validated else 1, height_ratios=[4, 1], **ratios)
    loss, rate = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    steps = np.array([record["step"] + 1 for record in history.steps])
    _draw_loss(loss, steps, np.array(history["loss"]), validation_loss)
    some = np.unique(np.linspace(0, len(steps) - 1, 120).astype(int))
    rates = np.array(history["learning_rate"])[some]
    rate.plot(steps[some], rates, color=INK, linewidth=1.2)
    rate.fill_between(steps[some], rates, color=INK, alpha=0.15, linewidth=0)
    rate.set(title="learning rate", xlabel="step", ylim=(0, None))
    rate.yaxis.set_major_locator(ticker.MaxNLocator(1))
    rate.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    loss.tick_params(labelbottom=False)
    for axes in (loss, rate):
        axes.set_xlim(0, steps[-1] * 1.01)
    if validated:
        _draw_metrics(figure.add_subplot(grid[:, 1]), validated)
    return figure


def _validated(validations: list[dict]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) of each validated metric, by its name."""
    series: dict[str, list] = {}
    for record in validations:
        for name, value in record.items():
            if name != "step":
                series.setdefault(name, []).append((record["step"], value))
    return series


def _draw_loss(axes, steps, loss, validation) -> None:
    positive = bool((loss > 0).all())
    if positive:
        axes.set_yscale("log")
        decades = np.log10(loss.max() / loss.min())
        subs = (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 3 else (1,)
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=10))
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    at, low, middle, high = _thinned(steps, loss, positive)
    axes.fill_between(at, low, high, color=BLUE, alpha=0.28, linewidth=0.6)
    axes.plot(at, middle, color=BLUE, label="training")
    if validation:
        at, values = zip(*validation, strict=True)
        axes.plot(at, values, "s", color=VERMILION, label="validation", clip_on=False)
        axes.legend(loc="upper right")
    axes.set_title("loss")


def _thinned(steps, values, logarithmic: bool, points: int = 120):
    """At most ``points`` places: lowest, smoothed and highest value around each."""
    reach = max(1, len(steps) // 50)
    smooth = np.log(values) if logarithmic else values
    window = np.hanning(2 * reach + 3)[1:-1]
    ones = np.convolve(np.ones(len(steps)), window, "full")[reach : reach + len(steps)]
    smooth = np.convolve(smooth, window, "full")[reach : reach + len(steps)] / ones
    smooth = np.exp(smooth) if logarithmic else smooth
    edges = np.linspace(0, len(steps), min(points, len(steps)) + 1).astype(int)
    parts = [
        (steps[a], values[a:b].min(), smooth[a], values[a:b].max())
        for a, b in pairwise(edges)
    ]
    return np.array(parts).T


def _draw_metrics(axes, validated: dict) -> None:
    for number, (name, points) in enumerate(validated.items()):
        at, values = zip(*points, strict=True)
        turn = (number + 2) % len(COLOURS)  # blue and vermilion are the loss's
        style = {"color": COLOURS[turn], "marker": MARKERS[turn], "clip_on": False}
        axes.plot(at, values, label=name, **style)
    only = f": {name}" if len(validated) == 1 else ""
    axes.set(title=f"validation{only}", xlabel="step")
    axes.set_xlim(left=0)
    values = [value for points in validated.values() for _, value in points]
    if min(values) >= 0 and max(values) <= 1:
        axes.set_ylim(-0.02, 1.03)
    if not only:
        axes.legend(loc="best")


@_styled
def plot_comparison(
    results: Mapping[str, Sequence[float]],
    label: str = "accuracy",
    chance: float | None = None,
    limits: tuple[float, float] | None = None,
    number: str = "{:.2f}",
) -> Plot:
    """Compare methods by their results over seeds: each seed a dot, the mean a bar.

    Parameters
    ----------
    results : for each name, one number per seed.
    label : what was measured.
    chance : what guessing would reach: a dashed line.
    limits : of the axis; 0 to 1 if all results lie there.
    number : how the mean at the right is written. Behind it stands the standard
        deviation over seeds, if there is more than one.
    """
    values = {name: np.atleast_1d(np.asarray(v, float)) for name, v in results.items()}
    if not values or any(v.size == 0 for v in values.values()):
        raise ValueError(f"every method needs at least one result; got {dict(results)}")
    everything = np.concatenate([*values.values(), np.array([0.0, chance or 0.0])])
    inside = everything.min() >= 0 and everything.max() <= 1
    low, high = limits or ((0, 1) if inside else _around(everything))
    figure, axes = subplots(height=0.62 + 0.36 * len(values))
    for row, seeds in enumerate(values.values()):
        colour = COLOURS[row % len(COLOURS)]
        axes.barh(row, seeds.mean() - low, 0.6, low, color=colour, alpha=0.3)
        axes.plot([seeds.mean()] * 2, [row - 0.3, row + 0.3], color=colour)
        dots = {"color": colour, "markersize": 4, "clip_on": False}
        axes.plot(seeds, row + _spread(len(seeds)), "o", **dots)
        text = number.format(seeds.mean())
        if len(seeds) > 1:
            text += " ± " + number.format(seeds.std(ddof=1))
        axes.annotate(
            text, (1.02, row), xycoords=("axes fraction", "data"), va="center_baseline"
        )
    if chance is not None:
        axes.axvline(
            chance, zorder=1.5, color=INK, linestyle=(0, (4, 3)), linewidth=1.2
        )
        axes.annotate(
            "chance",
            (chance, 1),
            xycoords=("data", "axes fraction"),
            ha="center",
            xytext=(0, 3),
            textcoords="offset points",
            size=8.5,
        )
    axes.set_yticks(range(len(values)), list(values))
    axes.set(xlim=(low, high), ylim=(len(values) - 0.5, -0.5), xlabel=label)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


def _around(values: np.ndarray) -> tuple[float, float]:
    room = 0.05 * (values.max() - values.min() or 1.0)
    low = values.min() - room if values.min() < 0 else 0.0
    return low, values.max() + room


def _spread(count: int) -> np.ndarray:
    """Small shifts, so that equal results do not hide each other."""
    return np.linspace(-0.15, 0.15, count) if count > 1 else np.zeros(1)


@_styled
def plot_matrix(
    matrix,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    form: str | None = None,
    labels: tuple[str, str] = ("", ""),
) -> Plot:
    """A matrix of numbers from zero up as tiles: darker is more.

    Parameters
    ----------
    matrix : (rows, columns), tensor or array.
    rows, columns : their names.
    form : how each number is written, ``"{:.2f}"`` or, if all are whole, ``"{:.0f}"``.
    labels : what the rows and the columns are.
    """
    matrix = np.asarray(torch.as_tensor(matrix).detach().cpu(), dtype=float)
    if matrix.shape != (len(rows), len(columns)) or not matrix.size:
        raise ValueError(
            f"matrix must be ({len(rows)}, {len(columns)}), like the names of its rows and "
            f"columns, and not empty; got {matrix.shape}"
        )
    if form is None:
        form = "{:.0f}" if (matrix == matrix.round()).all() else "{:.2f}"
    longest = max(_text_width(name, 8.5) for name in rows)
    tile = min(0.62, (WIDTH - longest - 0.6) / len(columns))
    wrapped = ["\n".join(_wrap(name, 1.3 * tile, 8.5)) for name in columns]
    slanted = max(_text_width(name, 8.5) for name in columns) > 0.95 * tile
    top = 0.75 if slanted else 0.35
    height = (
        min(tile, 0.42) * len(rows) + top + 0.35 * bool(labels[1]) + 0.3 * bool(title)
    )
    size = (tile * len(columns) + longest + 0.4 + 0.3 * bool(labels[0]), height)
    figure = Plot(figsize=size, layout="constrained")
    axes = figure.subplots()
    lowest, highest = min(0.0, matrix.min()), matrix.max()
    axes.pcolormesh(matrix, cmap=TILES, vmin=lowest, vmax=highest or 1.0, **_EDGES)
    for (row, column), value in np.ndenumerate(matrix):
        red, green, blue, _ = TILES((value - lowest) / ((highest - lowest) or 1.0))
        light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        colour = "#101a24" if light > 0.2 else "white"
        place = {"ha": "center", "va": "center_baseline", "size": min(8.5, 15 * tile)}
        axes.text(column + 0.5, row + 0.5, form.format(value), color=colour, **place)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns if slanted else wrapped)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    if slanted:
        axes.tick_params(axis="x", labelrotation=40)
        for name in axes.get_xticklabels():
            name.set(ha="left", va="bottom", rotation_mode="anchor")
    axes.set(xlabel=labels[1], ylabel=labels[0], ylim=(len(rows), 0))
    figure.suptitle(title, x=0.01, ha="left", size=10)
    axes.xaxis.set_label_position("top")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


_EDGES = {"edgecolors": INK, "linewidth": 0.5, "clip_on": False, "antialiased": True}


def plot_confusion(
    truth: Sequence[int], said: Sequence[int], names: Sequence[str]
) -> Plot:
    """How often each class was taken for which (混淆矩阵): rows are true, columns said.

    Parameters
    ----------
    truth, said : class numbers of the same examples, as many.
    names : of the classes.
    """
    truth, said = torch.as_tensor(truth).cpu(), torch.as_tensor(said).cpu()
    if truth.shape != said.shape or truth.ndim != 1 or not len(truth):
        raise ValueError(
            "truth and said must be class numbers of the same examples; got "
            f"{tuple(truth.shape)} and {tuple(said.shape)}"
        )
    outside = [n for n in {*truth.tolist(), *said.tolist()} if not 0 <= n < len(names)]
    if outside:
        raise ValueError(f"{len(names)} classes have names; got class {outside[0]}")
    counts = torch.zeros(len(names), len(names), dtype=torch.long)
    counts.index_put_((truth, said), torch.tensor(1), accumulate=True)
    return plot_matrix(counts, names, names, labels=("true", "said"))


# --- diagrams -------------------------------------------------------------------------


@_styled
def draw_flow(steps: Sequence, title: str = "") -> Plot:
    """Boxes and arrows from left to right, with the shapes that really flowed.

    ``draw_flow([("picture", image), [("image encoder", tokens), …], …])``

    Parameters
    ----------
    steps : each is a name, or a name and a tensor, a shape or a text that stands beneath
        it; or a list of such steps, which stand above each other. Equally many above
        each other are joined one to one, otherwise all to all. Too long a flow goes on
        in the next row.
    title : stands above.
    """
    columns = [_boxes(step) for step in steps]
    if not columns or not all(columns):
        raise ValueError("nothing to draw: give at least one step, and no empty list")
    rows = _flow_rows(columns)
    tall = [max(len(column) for column in row) * 0.72 for row in rows]
    width = max(sum(map(_box_width, row)) + _ARROW * (len(row) - 1) for row in rows)
    width, height = width + 0.1, sum(tall) + 0.3 * (len(rows) - 1 + bool(title))
    figure = Plot(figsize=(width, height))
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(0.05, 0.17, title, size=10)
    top, before = 0.3 * bool(title), None
    for row, space in zip(rows, tall, strict=True):
        left, arrive = 0.05, before
        for column in row:
            placed = _draw_boxes(axes, column, left, top + space / 2)
            if arrive is not None:
                _connect(axes, arrive, placed, turn=arrive is before)
            left += _box_width(column) + _ARROW
            arrive = placed
        before, top = arrive, top + space + 0.3
    return figure


_ARROW = 0.36  # inches between two boxes


def _boxes(step) -> list[tuple[str, str]]:
    """A step, or a list of steps, as names and the texts beneath."""
    if isinstance(step, list):
        return [box for part in step for box in _boxes(part)]
    name, *detail = (step,) if isinstance(step, str) else step
    if len(detail) > 1 or not isinstance(name, str):
        raise ValueError(
            f"a step is a name, or (name, tensor, shape or text); got {step!r}"
        )
    return [(name, _detail(detail[0]) if detail else "")]


def _detail(value) -> str:
    """The shape of a tensor, or the text itself."""
    shape = getattr(value, "shape", value)
    return shape if isinstance(shape, str) else str(tuple(shape) if shape != () else "")


def _box_width(column: list[tuple[str, str]]) -> float:
    names = [_text_width(name, 9.5) * 1.08 for name, _ in column]  # bold is wider
    shapes = [_text_width(text, 8, "DejaVu Sans Mono") for _, text in column]
    return max(0.8, *names, *shapes) + 0.22


def _flow_rows(columns: list) -> list[list]:
    """Break a flow into rows of about equal length that fit the page."""
    sizes = [_box_width(column) + _ARROW for column in columns]
    least = -(-(sum(sizes) - _ARROW) // (WIDTH - 0.1))
    limit = sum(sizes) / least if least > 1 else WIDTH
    rows, used = [[]], 0.0
    for column, size in zip(columns, sizes, strict=True):
        if rows[-1] and (
            used + size - _ARROW > WIDTH - 0.1 or used >= limit - size / 2
        ):
            rows, used = [*rows, []], 0.0
        rows[-1].append(column)
        used += size
    return rows


def _draw_boxes(axes, column, left: float, middle: float, width=None) -> list[tuple]:
    """Draw boxes above each other; where they are: (left, right, middle)."""
    width, placed = width or _box_width(column), []
    for number, (name, detail) in enumerate(column):
        y = middle + 0.72 * (number - (len(column) - 1) / 2)
        box = FancyBboxPatch(
            (left + 0.06, y - 0.21),
            width - 0.12,
            0.42,
            boxstyle="round,pad=0.06,rounding_size=0.09",
            facecolor=(*matplotlib.colors.to_rgb(BLUE), 0.06),
            edgecolor=BLUE,
            linewidth=1.1,
        )
        axes.add_patch(box)
        style = {"ha": "center", "va": "center"}
        lift = 0.1 if detail else 0.0
        axes.text(left + width / 2, y - lift, name, size=9.5, weight="bold", **style)
        mono = style | {"size": 8, "family": "DejaVu Sans Mono"}
        axes.text(left + width / 2, y + 0.12, detail, **mono)
        placed.append((left, left + width, y))
    return placed


def _connect(axes, before: list, after: list, turn: bool) -> None:
    """Arrows from the boxes of one column to the next, or down to the next row."""
    if turn:
        (left, right, y), (next_left, next_right, next_y) = before[-1], after[0]
        start, end = (left + right) / 2, (next_left + next_right) / 2
        between = next_y - 0.51
        _arrow(
            axes,
            [(start, y + 0.28), (start, between), (end, between), (end, next_y - 0.29)],
        )
        return
    pairs = [(a, b) for a in before for b in after]
    if len(before) == len(after):
        pairs = list(zip(before, after, strict=True))
    for (_, start, y), (end, _, next_y) in pairs:
        middle = (start + end) / 2
        points = [
            (start + 0.03, y),
            (middle, y),
            (middle, next_y),
            (end - 0.03, next_y),
        ]
        _arrow(axes, points, curved=True)


@_styled
def draw_fusions(flows: Sequence[tuple], columns: int = 2) -> Plot:
    """How tokens flow through fusions: in at the left, out at the right.

    A square is a token. Those that go in have the colour of their modality; one that
    comes out has a stripe in the colour of each modality that it knows of.

    Parameters
    ----------
    flows : for each fusion its name, the number of tokens of each modality that goes
        in, a text for the operation, and for each token that comes out the names of the
        modalities on which it depends.
    columns : how many fusions stand beside each other.
    """
    if not flows or not all(out for *_, out in flows):
        raise ValueError("nothing to draw: each fusion needs tokens that come out")
    names = list(dict.fromkeys(name for _, given, _, _ in flows for name in given))
    colours = dict(zip(names, COLOURS, strict=False))
    rows = [flows[i : i + columns] for i in range(0, len(flows), columns)]
    tall = [max(map(_flow_height, row)) + 0.42 for row in rows]
    figure = Plot(figsize=(WIDTH, sum(tall) + 0.25))
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set(xlim=(0, WIDTH), ylim=(sum(tall) + 0.25, 0))
    axes.axis("off")
    top = 0.0
    for row, height in zip(rows, tall, strict=True):
        for number, flow in enumerate(row):
            _draw_fusion(
                axes, flow, WIDTH / columns * number + 0.1, top, height, colours
            )
        top += height
    _token_legend(axes, colours, top + 0.06)
    return figure


_SIDE, _PITCH, _ROW = 0.088, 0.108, 6  # of a token's square, in inches; tokens in a row


def _block_height(tokens: int) -> float:
    return -(-tokens // _ROW) * _PITCH


def _flow_height(flow: tuple) -> float:
    _, given, _, out = flow
    return max(
        sum(_block_height(n) + 0.07 for n in given.values()), _block_height(len(out))
    )


def _draw_fusion(axes, flow, left, top, height, colours) -> None:
    """One fusion: tokens, a box with the operation, tokens."""
    name, given, operation, out = flow
    axes.text(left, top + 0.16, name, size=9.5, weight="bold")
    middle, wide = top + 0.28 + (height - 0.42) / 2, _ROW * _PITCH
    y = middle - sum(_block_height(n) + 0.07 for n in given.values()) / 2
    for modality, number in given.items():
        _squares(axes, [(modality,)] * number, left, y, colours)
        y += _block_height(number) + 0.07
    box, width = left + wide + 0.3, 1.1
    frame = {"facecolor": "none", "edgecolor": INK, "linewidth": 1.0}
    style = "round,pad=0.02,rounding_size=0.07"
    lines = _wrap(operation, width - 0.1, 8)
    half = 0.07 * len(lines) + 0.07
    axes.add_patch(
        FancyBboxPatch((box, middle - half), width, 2 * half, boxstyle=style, **frame)
    )
    where = {"ha": "center", "va": "center", "size": 8, "linespacing": 1.15}
    axes.text(box + width / 2, middle, "\n".join(lines), **where)
    for start in (left + wide + 0.03, box + width + 0.05):
        ends = (start, middle), (start + 0.08, middle), (start + 0.16, middle)
        _arrow(axes, [*ends, (start + 0.22, middle)])
    right = box + width + 0.32
    _squares(axes, out, right, middle - _block_height(len(out)) / 2, colours)


def _squares(axes, tokens: Sequence, left: float, top: float, colours: dict) -> None:
    """Tokens in rows of six, each striped by the modalities that it knows of."""
    for number, known in enumerate(tokens):
        row, column = divmod(number, _ROW)
        x, y = left + column * _PITCH, top + row * _PITCH
        known = [name for name in colours if name in known]
        for stripe, name in enumerate(known):
            part = _SIDE / len(known)
            axes.add_patch(
                Rectangle(
                    (x + stripe * part, y), part, _SIDE, color=colours[name], lw=0
                )
            )
        if not known:
            axes.add_patch(Rectangle((x, y), _SIDE, _SIDE, fill=False, ec=INK, lw=0.8))


def _token_legend(axes, colours: dict, top: float) -> None:
    """Which colour is which modality."""
    x = 0.1
    shown = [((name,), f"{name} token") for name in colours]
    if len(colours) > 1:
        shown.append((tuple(colours), "knows of " + " and ".join(colours)))
    for known, text in shown:
        _squares(axes, [known], x, top, colours)
        axes.text(x + 0.14, top + _SIDE / 2, text, size=8, va="center_baseline")
        x += 0.14 + _text_width(text, 8) + 0.25


@_styled
def draw_graph(
    arrows: Sequence[tuple],
    details: Mapping[str, object] | None = None,
    title: str = "",
) -> Plot:
    """Boxes from top to bottom, joined by the arrows that are given.

    ``draw_graph([("data", "pre-training"), ("pre-training", "model", "1")])``

    Parameters
    ----------
    arrows : (from, to) or (from, to, label): no circles. A box stands one row beneath the
        lowest of those that point to it.
    details : by name of a box, a tensor, a shape or a text that stands in it, too.
    title : stands above.

    Raises
    ------
    ValueError
        If there is no arrow, or the arrows run in a circle.
    """
    details = {name: _detail(value) for name, value in (details or {}).items()}
    arrows = [(*arrow, "")[:3] for arrow in arrows]
    rows, chains = _layers(arrows)
    widths = [
        sum(_graph_width(name, details) + _GAP for name in row) - _GAP for row in rows
    ]
    head = 0.34 * bool(title)
    width, height = max(widths) + 0.1, head + len(rows) * (0.5 + _FALL) - _FALL + 0.1
    figure = Plot(figsize=(width, height))
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(0.05, 0.17, title, size=10)
    middle = {}
    for number, (row, taken) in enumerate(zip(rows, widths, strict=True)):
        left, y = (width - taken) / 2, head + 0.3 + number * (0.5 + _FALL)
        for name in row:
            own = _graph_width(name, details)
            middle[name] = (left + own / 2, y)
            if isinstance(name, str):
                _draw_boxes(axes, [(name, details.get(name, ""))], left, y, own)
            left += own + _GAP
    for chain, label in chains:
        _draw_chain(axes, [middle[name] for name in chain], label)
    return figure


_GAP, _FALL = 0.3, 0.42  # inches between two boxes, and between two rows


def _graph_width(name, details: dict) -> float:
    """Of a box; of the place that an arrow needs to pass by a row."""
    return _box_width([(name, details.get(name, ""))]) if isinstance(name, str) else 0.2


def _layers(arrows: list[tuple]) -> tuple[list[list], list[tuple]]:
    """Names in rows, with places where long arrows pass; and each arrow's way."""
    names = list(dict.fromkeys(name for a, b, _ in arrows for name in (a, b)))
    if not names:
        raise ValueError("nothing to draw: give at least one arrow")
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for a, b, _ in arrows:
            depth[b] = max(depth[b], depth[a] + 1)
    if max(depth.values()) >= len(names):
        raise ValueError(
            "these arrows run in a circle; a graph from top to bottom can't"
        )
    rows = [[n for n in names if depth[n] == d] for d in range(max(depth.values()) + 1)]
    chains = []
    for number, (a, b, label) in enumerate(arrows):
        passed = [(number, d) for d in range(depth[a] + 1, depth[b])]
        for place in passed:
            rows[place[1]].append(place)
        chains.append(([a, *passed, b], label))
    return _untangled(rows, [chain for chain, _ in chains]), chains


def _untangled(rows: list[list], chains: list[list]) -> list[list]:
    """Order each row by where its boxes' arrows come from."""
    above: dict = {}
    for chain in chains:
        for a, b in pairwise(chain):
            above.setdefault(b, []).append(a)
    ordered = [rows[0]]
    for row in rows[1:]:
        place = {
            name: i / max(1, len(ordered[-1]) - 1) for i, name in enumerate(ordered[-1])
        }
        mean = {n: np.mean([place.get(a, 0.5) for a in above.get(n, [])]) for n in row}
        ordered.append(sorted(row, key=lambda name: mean[name]))
    return ordered


def _draw_chain(axes, points: list[tuple], label: str) -> None:
    """An arrow from a box down to another, through the places where it passes by."""
    for number, ((x, y), (next_x, next_y)) in enumerate(pairwise(points)):
        first, last = number == 0, number == len(points) - 2
        start, end = y + 0.28 * first, next_y - 0.29 * last
        half = (start + end) / 2
        way = [(x, start), (x, half), (next_x, half), (next_x, end)]
        _arrow(axes, way, curved=True, head=last)
        if first and label:
            side = -1 if next_x < x else 1  # outside the bend
            beside = {"ha": "right" if side < 0 else "left", "va": "center"}
            axes.text((x + next_x) / 2 + 0.08 * side, half, label, size=8, **beside)


def _arrow(axes, points: list, curved: bool = False, head: bool = True) -> None:
    """An arrow along four points: a curve that they bend, or straight pieces."""
    bend = Path.CURVE4 if curved else Path.LINETO
    path = Path(points, [Path.MOVETO, bend, bend, bend])
    style = "-|>,head_length=3.5,head_width=2" if head else "-"
    axes.add_patch(
        FancyArrowPatch(
            path=path, arrowstyle=style, color=INK, linewidth=1.1, capstyle="butt"
        )
    )
