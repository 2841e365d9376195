"""Draw the picture of the front page: python tools/front_picture.py

One scene in four modalities, an encoder for each, the tokens, their fusion, a head that
says the sentence, and the loss. What is shown is made by the package: tokens of pictures
have the mean colour of their field, those of speech the loudness of their piece. There
are two forms, a wide one, and a narrow one for phones. Text takes the colour of the page.
"""

import math
from html import escape
from pathlib import Path

from front_parts import (
    GREEN,
    SCENE,
    arrow,
    bars,
    cards,
    clip,
    colour,
    loud,
    means,
    picture,
    square,
    text,
    wave,
    words,
)

from mmbook.world import describe

STATIC = Path(__file__).parent.parent / "_static"
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif"
STYLE = (
    "<style>svg{color:#24292f}@media(prefers-color-scheme:dark){svg{color:#e6e6e6}}"
    "</style>"
)
TOPS = (30, 102, 166, 234)  # of the four rows
MIDDLES = (58, 124, 188, 256)
BLUE, ORANGE = "#4f7fe0", "#d9730d"  # 3:1 on light and on dark


def inputs() -> str:
    """The four modalities, 120 wide."""
    return (
        picture(SCENE, 0, 32, TOPS[0], 56)
        + wave(0, TOPS[1], 120, 44)
        + clip(0, TOPS[2] + 3)
        + text(60, TOPS[3] + 14, "“a big red circle", 13)
        + text(60, TOPS[3] + 32, "above a small …”", 13)
    )


def encoders(x: float) -> str:
    """One for each modality: a funnel between its input and its tokens."""
    funnel = "M{x} {a}l28 9v26l-28 9z"
    paths = "".join(funnel.format(x=x, a=middle - 22) for middle in MIDDLES)
    return (
        f'<path d="{paths}" fill="currentColor" fill-opacity=".12" '
        'stroke="currentColor" stroke-width="1.5" stroke-linejoin="round"/>'
    )


def tokens(x: float) -> str:
    """What the encoders make, 110 wide: one square for each token."""
    drawn = ""
    for row, line in enumerate(means(SCENE, 0, 6)):
        for column, fill in enumerate(line):
            drawn += square(x + 28 + 9 * column, TOPS[0] + 1 + 9 * row, 8, colour(fill))
    for place, level in enumerate(loud(10)):
        drawn += square(x + 11 * place, MIDDLES[1] - 5, 10, GREEN, 0.25 + 0.75 * level)
    for frame, progress in enumerate((0, 0.5, 1)):
        for row, line in enumerate(means(SCENE, progress, 3)):
            for column, fill in enumerate(line):
                left = x + 38 * frame + 11 * column
                drawn += square(left, MIDDLES[2] - 16 + 11 * row, 10, colour(fill))
    for place, _ in enumerate(words()):
        drawn += square(x + 12 * place, MIDDLES[3] - 5, 10, ORANGE, 0.85)
    return drawn


def fusion(x: float, y: float, r: float = 21) -> str:
    """Three rings that overlap."""
    rings = ""
    for place, stroke in enumerate((BLUE, GREEN, ORANGE)):
        angle = 2 * math.pi * place / 3 - math.pi / 2
        rings += (
            f'<circle cx="{x + 0.55 * r * math.cos(angle):.1f}" '
            f'cy="{y + 0.55 * r * math.sin(angle):.1f}" r="{r}" fill="none" '
            f'stroke="{stroke}" stroke-width="3"/>'
        )
    return rings


def wide() -> str:
    """All five steps in a row."""
    middle = 156
    lines = "".join(f"M302 {y}C326 {y} 322 {middle} 340 {middle}" for y in MIDDLES)
    parts = [
        *(text(x, 14, name, 13, bold=True) for x, name in (
            (46, "any modality"), (152, "encoders"), (234, "tokens"),
            (384, "fusion"), (520, "head"), (690, "loss"))),
        inputs(), encoders(138), tokens(182),
        f'<path d="{lines}" fill="none" stroke="currentColor" stroke-width="1.5" '
        'stroke-opacity=".6"/>',
        fusion(384, middle), arrow(422, middle), cards(456, 98, 140),
        arrow(602, middle), bars(640, 100, 110),
    ]  # fmt: skip
    return whole(parts, 760, 286)


def narrow() -> str:
    """The same from top to bottom."""
    parts = [
        *(text(x, 14, name, 14, bold=True) for x, name in (
            (60, "any modality"), (166, "encoders"), (270, "tokens"))),
        inputs(), encoders(152), tokens(214),
        arrow(175, 288, down=True), text(60, 362, "fusion", 14, bold=True),
        fusion(175, 358), arrow(175, 396, down=True),
        text(60, 480, "head", 14, bold=True), cards(110, 436, 226),
        arrow(175, 532, down=True), text(60, 626, "loss", 14, bold=True),
        bars(125, 574, 120),
    ]  # fmt: skip
    return whole(parts, 350, 700)


def whole(parts: list[str], width: int, height: int) -> str:
    """The file."""
    title = (
        "Five steps: any modality, tokens, fusion, head, loss. The head says: "
        f"{describe(SCENE)}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="{FONT}"><title>{escape(title)}</title>{STYLE}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    for name, drawn in (("front.svg", wide()), ("front/narrow.svg", narrow())):
        (STATIC / name).write_text(drawn, encoding="utf-8", newline="\n")
        print(name, "drawn")
