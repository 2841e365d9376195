"""Parts of the front page's picture: each a piece of SVG, drawn from the scene."""

from html import escape

from mmbook.world import COLOURS, Scene, Thing, describe, render_video, speak

SCENE = Scene(
    (
        Thing("circle", "red", "big", 0.60, 0.31, "moves left"),
        Thing("square", "blue", "small", 0.36, 0.76, "grows"),
    )
)
GROUND, FRAMES = "#ededed", 13
GREEN = "#2e993d"
CHOICES = (("red", 0.86), ("blue", 0.45), ("green", 0.2))  # a scheme, not measured


def colour(rgb) -> str:
    """A colour in [0, 1] as a web colour."""
    return "#" + "".join(f"{round(255 * float(v)):02x}" for v in rgb)


def words() -> list[str]:
    """The sentence that the picture shows, word by word."""
    return describe(SCENE).split()


def text(x, y, said: str, size: int, bold: bool = False, anchor: str = "middle") -> str:
    """Text in the colour of the page."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="currentColor"{weight}>{escape(said)}</text>'
    )


def square(x, y, side, fill: str, opacity: float = 1) -> str:
    """A token."""
    shade = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{side}" height="{side}" rx="2" '
        f'fill="{fill}"{shade}/>'
    )


def picture(scene: Scene, progress: float, left, top, side) -> str:
    """The scene as a picture, or as a frame of its clip."""
    drawn = (
        f'<rect x="{left:g}" y="{top:g}" width="{side}" height="{side}" rx="4" '
        f'fill="{GROUND}"/>'
    )
    for thing in scene.things:
        moment, fill = thing.at(progress), colour(COLOURS[thing.colour])
        x, y, r = left + side * moment.x, top + side * moment.y, side * moment.radius
        if thing.shape == "circle":
            drawn += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{fill}"/>'
            continue
        a = 0.85 * r
        drawn += (
            f'<rect x="{x - a:.1f}" y="{y - a:.1f}" width="{2 * a:.1f}" '
            f'height="{2 * a:.1f}" fill="{fill}"/>'
        )
    return drawn


def clip(left, top) -> str:
    """Three frames of the clip, side by side, 120 wide."""
    steps = enumerate((0, 0.5, 1))
    return "".join(picture(SCENE, p, left + 41 * k, top, 38) for k, p in steps)


def means(scene: Scene, progress: float, fields: int) -> list[list]:
    """The mean colour of each field of a frame, row by row."""
    frames = render_video([scene], FRAMES, size=48, noise=0)[0]  # (F, 3, H, W)
    frame = frames[round(progress * (FRAMES - 1))]
    parts = frame.unflatten(1, (fields, -1)).unflatten(3, (fields, -1)).mean((2, 4))
    return parts.permute(1, 2, 0).tolist()


def loud(pieces: int) -> list[float]:
    """The loudness of so many pieces of the spoken sentence, the loudest is 1."""
    sound = speak(describe(SCENE), rate=8_000, noise=0)
    sound = sound[: len(sound) // pieces * pieces].unflatten(0, (pieces, -1))
    loudness = sound.square().mean(1).sqrt()
    return (loudness / loudness.max()).tolist()


def wave(left, top, width, height) -> str:
    """The spoken sentence: its loudness in sixty bars."""
    count, middle = 60, top + height / 2
    step = width / count
    path = ""
    for place, level in enumerate(loud(count)):
        half = max(0.6, level * height / 2)
        x = left + step * (place + 0.5)
        path += f"M{x:.1f} {middle - half:.1f}V{middle + half:.1f}"
    return f'<path d="{path}" stroke="{GREEN}" stroke-width="1.4"/>'


def cards(left, top, width) -> str:
    """The words of the sentence, each on its card; a colour is underlined in it."""
    drawn, x, y = [], left, top
    for word in words():
        wide = 7.6 * len(word) + 14
        if x + wide > left + width:
            x, y = left, y + 31
        drawn.append(
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="26" rx="5" '
            'fill="currentColor" fill-opacity=".1"/>'
            + text(x + wide / 2, y + 17, word, 14)
        )
        if word in COLOURS:
            line = f"M{x + 7:.1f} {y + 22}h{wide - 14:.1f}"
            stroke = (
                "#e0484b" if word == "red" else "#4f7fe0"
            )  # seen on dark pages, too
            drawn.append(f'<path d="{line}" stroke="{stroke}" stroke-width="2.5"/>')
        x += wide + 5
    return "".join(drawn)


def bars(left, top, width) -> str:
    """The loss: how likely the head holds the word that is true."""
    drawn = [text(left, top + 8, "a big …?", 13, anchor="start")]
    for place, (word, share) in enumerate(CHOICES):
        y = top + 22 + 24 * place
        opacity = 1 if place == 0 else 0.35
        drawn.append(text(left + 36, y + 13, word, 13, anchor="end"))
        drawn.append(
            f'<rect x="{left + 42}" y="{y}" width="{share * (width - 42):.0f}" '
            f'height="17" rx="2" fill="#4f7fe0" fill-opacity="{opacity}"/>'
        )
    drawn.append(text(left, top + 114, "loss = −log p(red)", 13, anchor="start"))
    return "".join(drawn)


def arrow(x, y, length: float = 24, down: bool = False) -> str:
    """From left to right, or downwards."""
    way = f"v{length}m-6 -7l6 7l6 -7" if down else f"h{length}m-7 -6l7 6l-7 6"
    return (
        f'<path d="M{x} {y}{way}" fill="none" stroke="currentColor" '
        'stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/>'
    )
