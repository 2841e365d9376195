"""What a drawing says about itself, and its colours on dark pages."""

import io
import re
import sys
from functools import cache
from html import unescape
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
EARLIER = {  # colours of figures that were drawn before the table in ``plots.colours``
    "#767676": "INK",
    "#3a8ad6": "BLUE",
    "#e0561b": "VERMILION",
    "#7f3fe0": "VIOLET",
    "#15a585": "TEAL",
    "#b51e68": "MAGENTA",
}
TEXT = re.compile(r"<text[^>]*>(.*?)</text>", re.DOTALL)
DATA = re.compile(r'xlink:href="(data:[^"]*)"')


@cache
def _colours():
    """The package's table of colours, without the package."""
    path = ROOT / "mmbook/notebook/plots/colours.py"
    spec = spec_from_file_location("_mmbook_colours", path)
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def themed(svg: str) -> str:
    """A drawing whose colours are light where the page around it is dark."""
    table = _colours()
    dark = table.DARK | {
        old: table.DARK[getattr(table, new)] for old, new in EARLIER.items()
    }
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{instead}!important}}'
        for light, instead in dark.items()
        for what in ("fill", "stroke")
        if f"{what}: {light}" in svg
    )
    style = f"<style>@media screen and (prefers-color-scheme:dark){{{rules}}}</style>"
    return re.sub(r"(<svg\b[^>]*>)", rf"\1{style}", svg, count=1) if rules else svg


def completed(narrow: str, wide: str) -> str:
    """A narrow drawing with the pictures that it has in common with the wide one."""
    there = DATA.findall(wide)
    return re.sub(
        r'xlink:href="wide:(\d+)"',
        lambda found: f'xlink:href="{there[int(found[1])]}"',
        narrow,
    )


def written(svg: str) -> str:
    """What stands in a drawing, where it says nothing else about itself."""
    texts = [re.sub(r"<[^>]*>", "", text) for text in TEXT.findall(svg)]
    words = [unescape(" ".join(text.split())) for text in texts]
    words = [word for word in words if re.search(r"[^\W\d_]", word)]
    line = "; ".join(dict.fromkeys(words))
    return line if len(line) <= 300 else line[:299].rpartition(";")[0] + "…"


def size(svg: str) -> tuple[int, int] | None:
    """Width and height in pixels, from what matplotlib writes in points."""
    head = svg[svg.find("<svg") :].partition(">")[0]
    found = [re.search(rf'\b{side}="([\d.]+)pt"', head) for side in ("width", "height")]
    return (
        tuple(round(float(side[1]) * 96 / 72) for side in found) if all(found) else None
    )


def pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height as shown: a file of 192 dots per inch is half as large."""
    try:
        image = Image.open(io.BytesIO(data))
    except OSError:
        return None
    shrink = 96 / max(96, image.info.get("dpi", (96, 96))[0])
    return round(image.width * shrink), round(image.height * shrink)
