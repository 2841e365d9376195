"""Reading people's own files: text, json and pictures.

Each reader gives the right value, or an error that names the file, says what is wrong
with it and what would be right. A set that leaves out what it cannot read keeps a list
of it (:func:`report`).
"""

from __future__ import annotations

import json
import math
import os
import random
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

_PICTURES = ".jpg .jpeg .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .heic .heif"
PICTURES = frozenset(f"{_PICTURES} .avif .jp2 .svg .dng".split())
SOUNDS = frozenset(".wav .wave .mp3 .m4a .aac .flac .ogg .opus .wma .amr .aiff".split())
VIDEOS = frozenset(".mp4 .mov .avi .mkv .webm .m4v .3gp".split())


def media_files(folder: Path, kinds=PICTURES | SOUNDS | VIDEOS) -> list[Path]:
    """All pictures, sounds and videos in a folder and below it, but hidden ones."""
    found = []
    for place, inner, names in os.walk(folder, followlinks=True):
        inner[:] = [n for n in inner if not n.startswith((".", "__MACOSX"))]
        shown = [name for name in names if not name.startswith(".")]
        found += [Path(place, n) for n in shown if Path(n).suffix.lower() in kinds]
    return sorted(found)


def check_folder(folder: str | Path) -> Path:
    """The folder as a path, if it is there."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"no folder {folder}: where are the files?")
    return Path(folder)


def check_list(values, name: str, example: str) -> list:
    """The values as a list; one string in place of a list is refused."""
    if isinstance(values, (str, bytes, Path, dict)):
        raise ValueError(f"{name} must be a list, as {example}; got {values!r}")
    return list(values)


def report(folder: Path, left_out: list[tuple[str, str]], strict: bool) -> None:
    """Say once what a set leaves out, (name, reason) each; an error if strict."""
    left_out[:] = dict.fromkeys(left_out)  # a picture with five captions: once
    if strict and left_out:
        lines = "\n".join(f"  {name}: {reason}" for name, reason in left_out)
        raise ValueError(f"{folder}: {len(left_out)} cannot be used:\n{lines}")
    if left_out:
        text = f"{folder}{summary(left_out)}; all are in .left_out"
        warnings.warn(text, UserWarning, stacklevel=3)


def summary(left_out: Sequence[tuple[str, str]]) -> str:
    """The number of what was left out and the first three, for messages."""
    if not left_out:
        return ""
    first = ", ".join(f"{name} ({reason})" for name, reason in left_out[:3])
    return f": {len(left_out)} left out: {first}{', …' if len(left_out) > 3 else ''}"


def why_not(data: bytes) -> str:
    """What a file with these first bytes is instead, if that is known."""
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not data:
        return "is empty"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1"):
        return "is HEIC, the form of iPhones: export it as JPEG"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS: run `git lfs pull`"
    if start.startswith((b"<!doctype", b"<html", b"<svg", b"<?xml")):
        return "holds a web page or XML: a download that failed, or a drawing (SVG)"
    return ""


def read_text(file: str | Path) -> str:
    """A text file in UTF-8, or in UTF-16 with its mark; lines end with ``\\n``."""
    data = Path(file).read_bytes()
    if why_not(data):
        raise ValueError(f"{file} {why_not(data)}")
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file} is not in UTF-8 (byte {error.start}): save it again as UTF-8, in "
            "Excel as “CSV UTF-8”"
        ) from error
    if "\0" in text:
        raise ValueError(f"{file} holds NUL signs: save it again as UTF-8")
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_json(file: str | Path):
    """What a json file holds."""
    text = read_text(file)
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{file} is damaged or cut off: {error}") from error


# ------------------------------------------------------------------ pictures

_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, MemoryError, OverflowError),
    *(struct.error, Image.DecompressionBombError),
)
LONGEST = 4  # sides of a kept picture: no longer than so many times the shorter


def check_fit(size: int, fit: str) -> None:
    """Is this a size and a way to fit pictures into it?"""
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size must be 1 pixel or more; got {size!r}")
    if fit not in ("crop", "pad", "keep"):
        raise ValueError(f"fit must be crop, pad or keep; got {fit!r}")


def read_image(file: str | Path, size: int = 224, fit: str = "crop") -> Tensor:
    """A picture file as (3, H, W) uint8; ``fit`` as in :func:`square`.

    Raises
    ------
    FileNotFoundError, ValueError
        If it is not there, or is damaged or no picture; both name the file.
    """
    try:
        with Image.open(file) as image:
            image.draft(None, (3 * size, 3 * size))  # a large JPEG, decoded smaller
            return square(image, size, fit)
    except FileNotFoundError:
        raise FileNotFoundError(f"no picture {file}") from None
    except _UNREADABLE as error:
        with open(file, "rb") as handle:
            reason = why_not(handle.read(64)) or str(error) or repr(error)
        raise ValueError(f"cannot read the picture {file}: {reason}") from error


def square(image: Image.Image, size: int, fit: str = "crop") -> Tensor:
    """A PIL image as (3, H, W) uint8, turned as the camera says.

    ``fit`` tells what becomes of oblong pictures: ``"crop"`` takes the middle square,
    ``"pad"`` puts the whole picture between black bars, both (3, size, size);
    ``"keep"`` makes the shorter side ``size`` and keeps the ratio, so sizes differ and
    only pictures of one size go into one batch. Transparent parts become white; 16-bit
    grey is scaled to 8 bits; of an animation the first picture is taken.
    """
    check_fit(size, fit)
    form, image = image.format, ImageOps.exif_transpose(image)
    wide, high = image.size
    short, long = min(wide, high), max(wide, high)
    if fit == "crop":
        left, top = (wide - short) // 2, (high - short) // 2
        image = image.crop((left, top, left + short, top + short))
        sides = (size, size)
    elif fit == "pad":
        sides = (max(1, round(wide * size / long)), max(1, round(high * size / long)))
    elif long > LONGEST * short:
        raise ValueError(
            f"{wide} × {high} is too oblong to keep its ratio; {LONGEST}:1 at most"
        )
    else:
        sides = (round(wide * size / short), round(high * size / short))
    image = _rgb(image, form).resize(sides, Image.Resampling.BICUBIC)
    if fit == "pad":
        whole = Image.new("RGB", (size, size))
        whole.paste(image, ((size - sides[0]) // 2, (size - sides[1]) // 2))
        image = whole
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _rgb(image: Image.Image, form: str | None) -> Image.Image:
    """Any mode to RGB: deep grey is scaled, transparent parts become white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_bytes(image, form))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _to_bytes(image: Image.Image, form: str | None) -> np.ndarray:
    """Grey of 16 bits, or of floats in [0, 1], as bytes; what else is refused."""
    values = np.asarray(image)
    sixteen = image.mode.startswith("I;16") or form in ("PNG", "PPM")
    low, high = float(values.min()), float(values.max())
    if image.mode == "F" and 0 <= low and high <= 1:
        return np.rint(values * 255).astype(np.uint8)
    if image.mode != "F" and sixteen and 0 <= low and high <= 65_535:
        return np.rint(values / 257).astype(np.uint8)
    kind = "floats" if image.mode == "F" else "32-bit numbers"
    raise ValueError(
        f"grey in {kind} from {low:g} to {high:g}: save it with 8 or 16 bits, or as "
        "floats from 0 to 1"
    )


# ------------------------------------------------------------------ numbers


def resample(sound: np.ndarray, before: int, after: int) -> np.ndarray:
    """Samples (S,) at one rate to samples at another (重采样): (⌈S after / before⌉,).

    The spectrum is cut off, or filled up with zeros, at half the new rate: nothing that
    both rates can hold is lost, and nothing folds over (Nyquist).
    """
    if before < 1 or after < 1:
        raise ValueError(f"rates must be 1 or more a second; got {before} and {after}")
    if before == after:
        return sound
    common = math.gcd(before, after)
    up, down = after // common, before // common
    length = -(-len(sound) // down) + 16  # in steps of both; silence for the edge
    spectrum = np.fft.rfft(sound, length * down)
    wanted = np.fft.irfft(spectrum, length * up) * (up / down)
    return wanted[: -(-len(sound) * up // down)].clip(-1, 1).astype(np.float32)


def split_numbers(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers below ``count`` in two sorted groups, the second with this share of them.

    Raises
    ------
    ValueError
        If one of the groups would be empty.
    """
    order = list(range(count))
    random.Random(seed).shuffle(order)
    second = round(share * count)
    if not 0 < second < count:
        raise ValueError(
            f"a share of {share} of {count} pictures leaves one of the sets empty; it "
            "must be between 0 and 1"
        )
    return sorted(order[second:]), sorted(order[:second])
