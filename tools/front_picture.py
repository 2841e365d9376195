"""Draw the picture of the front page: python tools/front_picture.py

A scene, the tokens of its picture, and its sentence, all three made by the package: the
colour of each field is the mean of the rendered picture there, and the words come from
``describe``. The greys are readable on light and on dark pages.
"""

import math
from html import escape
from pathlib import Path

from mmbook.world import COLOURS, SIZES, Scene, Thing, describe, render

TARGET = Path(__file__).parent.parent / "_static/front.svg"
SCENE = Scene(
    (
        Thing("circle", "red", "big", 0.60, 0.31),
        Thing("square", "blue", "small", 0.36, 0.76),
    )
)
INK, GROUND, FIELDS = "#767676", "#ededed", 6
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif"


def colour(rgb) -> str:
    """A colour in [0, 1] as a web colour."""
    return "#" + "".join(f"{round(255 * float(v)):02x}" for v in rgb)


def thing(what: Thing, left: float, top: float, side: float) -> str:
    """One thing of the scene, drawn in a square of the given side."""
    x, y, r = left + side * what.x, top + side * what.y, side * SIZES[what.size]
    fill = colour(COLOURS[what.colour])
    if what.shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{fill}"/>'
    a = 0.85 * r
    return (
        f'<rect x="{x - a:.1f}" y="{y - a:.1f}" width="{2 * a:.1f}" '
        f'height="{2 * a:.1f}" fill="{fill}"/>'
    )


def picture(left: float, top: float, side: float) -> str:
    """The scene as a picture."""
    shapes = "".join(thing(what, left, top, side) for what in SCENE.things)
    return (
        f'<rect x="{left}" y="{top}" width="{side}" height="{side}" rx="6" '
        f'fill="{GROUND}"/>{shapes}'
    )


def tokens(left: float, top: float, side: float) -> str:
    """One square for each token, in the mean colour of its field."""
    image = render([SCENE], size=48, noise=0)[0]  # (3, H, W)
    means = image.unflatten(1, (FIELDS, -1)).unflatten(3, (FIELDS, -1)).mean((2, 4))
    step = side / FIELDS
    return "".join(
        f'<rect x="{left + step * column + 1.5:.1f}" y="{top + step * row + 1.5:.1f}" '
        f'width="{step - 3:.1f}" height="{step - 3:.1f}" rx="4" '
        f'fill="{colour(means[:, row, column])}"/>'
        for row in range(FIELDS)
        for column in range(FIELDS)
    )


def sentence(left: float, top: float, width: float) -> str:
    """The words, each on its card; a word for a colour is underlined in it."""
    cards, x, y = [], left, top
    for word in describe(SCENE).split():
        wide = 8 * len(word) + 14
        if x + wide > left + width:
            x, y = left, y + 40
        line = colour(COLOURS[word]) if word in COLOURS else "none"
        cards.append(
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="32" rx="6" '
            f'fill="{INK}" fill-opacity=".12"/>'
            f'<path d="M{x + 7:.1f} {y + 26}h{wide - 14:.1f}" stroke="{line}" '
            f'stroke-width="2.5"/>'
            f'<text x="{x + wide / 2:.1f}" y="{y + 20}" font-size="15" '
            f'text-anchor="middle" fill="{INK}">{escape(word)}</text>'
        )
        x += wide + 6
    return "".join(cards)


def meeting(x: float, y: float, r: float) -> str:
    """Fusion: three rings that overlap."""
    rings = ""
    for number, name in enumerate(("blue", "green", "orange")):
        angle = 2 * math.pi * number / 3 - math.pi / 2
        rings += (
            f'<circle cx="{x + 0.55 * r * math.cos(angle):.1f}" '
            f'cy="{y + 0.55 * r * math.sin(angle):.1f}" r="{r:.1f}" fill="none" '
            f'stroke="{colour(COLOURS[name])}" stroke-width="3"/>'
        )
    return rings


def arrow(x: float, y: float, length: float = 26) -> str:
    """From left to right."""
    return (
        f'<path d="M{x} {y}h{length}m-7 -6l7 6l-7 6" fill="none" stroke="{INK}" '
        'stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/>'
    )


def name(x: float, text: str) -> str:
    """What stands under a part."""
    return (
        f'<text x="{x}" y="190" font-size="14" text-anchor="middle" '
        f'fill="{INK}">{text}</text>'
    )


def draw() -> str:
    """The whole picture as SVG."""
    title = f"A picture becomes tokens, and the tokens a sentence: {describe(SCENE)}"
    parts = [
        picture(2, 8, 156),
        name(80, "any modality"),
        arrow(170, 86),
        tokens(206, 8, 156),
        name(284, "tokens"),
        arrow(372, 86),
        meeting(444, 90, 24),
        name(444, "fusion"),
        arrow(490, 86),
        sentence(530, 30, 190),
        name(616, "head"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 200" role="img" '
        f'font-family="{FONT}"><title>{escape(title)}</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
    print(TARGET.name, "drawn")
