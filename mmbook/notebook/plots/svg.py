"""What becomes of a drawing as SVG: any reader's fonts, small pictures, few bytes."""

from __future__ import annotations

import base64
import io
import re

from PIL import Image

from .slim import FONTS, MONO, slimmed

SMALL = 96  # pixels: a picture of at most these shows its pixels; above, a photograph
_FAMILY = re.compile(r"font-family: ([^;\"]*)")
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_PATH = re.compile(r' d="([^"]*)"')
_PLACE = re.compile(r'( (?:x|y)=")(-?\d+\.\d{2})\d+')
_DIGITS = re.compile(r"(\.\d{2})\d+")
_TURN = re.compile(r' transform="rotate\(-0 [^"]*\)"')
_IMAGE = re.compile(r'<image xlink:href="data:image/png;base64,([^"]*)"([^>]*)/>')
_NAME = re.compile(r' id="image\w+"')
_CRISP = re.compile(r' style="image-rendering:[^"]*"')


def tidied(svg: str) -> str:
    """The same drawing in fewer bytes, equal on every machine that draws it."""
    svg = _FAMILY.sub(_family, _METADATA.sub("", svg))
    svg = _PATH.sub(_path, _TURN.sub("", svg))
    svg = _IMAGE.sub(_image, _PLACE.sub(r"\1\2", svg))
    return slimmed(svg).replace("<image", "\n<image") + "\n"


def _family(found: re.Match) -> str:
    """One list of fonts, whatever is installed where the figure was drawn."""
    return f"font-family: {MONO if 'Mono' in found[1] else FONTS}"


def _path(found: re.Match) -> str:
    """A path on one line, to a hundredth of a point."""
    return f' d="{_DIGITS.sub(_short, " ".join(found[1].split()))}"'


def _short(found: re.Match) -> str:
    return found[1].rstrip("0").rstrip(".")


def _image(found: re.Match) -> str:
    """A picture with crisp pixels; a photograph smooth, and as JPEG if that is smaller."""
    data, rest = "".join(found[1].split()), _NAME.sub("", found[2])
    kind, raw = "png", base64.b64decode(data)
    picture = Image.open(io.BytesIO(raw))
    if max(picture.size) > SMALL:
        rest = _CRISP.sub("", rest)
        if smaller := _jpeg(picture, len(raw)):
            kind, data = "jpeg", base64.b64encode(smaller).decode()
    return f'<image xlink:href="data:image/{kind};base64,{data}"{rest}/>'


def _jpeg(picture: Image.Image, limit: int) -> bytes | None:
    """A photograph in fewer bytes than ``limit``; None if it cannot be."""
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() != (255, 255):
        return None  # see-through
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=84, optimize=True)
    return buffer.getvalue() if buffer.tell() < limit else None


_DATA = re.compile(r'xlink:href="(data:[^"]*)"')


def without_pictures(svg: str, other: str) -> str:
    """Name the pictures that another drawing holds, too, by their place in it."""
    there = {data: number for number, data in enumerate(_DATA.findall(other))}

    def name(found: re.Match) -> str:
        number = there.get(found[1])
        return found[0] if number is None else f'xlink:href="wide:{number}"'

    return _DATA.sub(name, svg)
