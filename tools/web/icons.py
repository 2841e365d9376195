"""The few icons that the site shows, out of FontAwesome's 1,400 and their three fonts."""

import re
from io import BytesIO
from pathlib import Path

from fontTools import subset

RULE = re.compile(r"(?P<names>\.fa-[^{}]*):before\{content:\"\\(?P<code>[0-9a-f]+)\"\}")
FACE = re.compile(r"@font-face\{[^}]*\}")
SOURCE = re.compile(r"src:[^};]*")
FONT = re.compile(r"url\(\.\./webfonts/(fa-[\w-]+)\.ttf\)")
CODE = re.compile(r"\\(f[0-9a-f]{3})\b")
NAME = re.compile(r"fa-[\w-]+")
FAMILY = re.compile(r"font-family:Font Awesome\\ 6")


def icons(sheet: Path, used: set[str], others: str) -> str:
    """FontAwesome's style sheet with what is used alone, and fonts of these icons beside it.

    ``used`` are names such as ``fa-bars``, ``others`` the other style sheets, which name
    icons by their codes. The fonts are written next to FontAwesome's.
    """
    text = sheet.read_text(encoding="utf-8")
    codes = {int(code, 16) for code in CODE.findall(others)}
    for rule in RULE.finditer(text):
        if used & set(NAME.findall(rule["names"])):
            codes.add(int(rule["code"], 16))
    text = RULE.sub(
        lambda rule: rule[0] if int(rule["code"], 16) in codes else "", text
    )
    return FACE.sub(lambda face: _face(face[0], sheet, codes), text)


def _face(face: str, sheet: Path, codes: set[int]) -> str:
    """A font of the icons alone; nothing for a font of an older FontAwesome's name."""
    named = FONT.search(face)
    if not FAMILY.search(face) or named is None:
        return ""
    font = sheet.parent.parent / "webfonts" / f"{named[1]}.ttf"
    small = font.with_name(f"{named[1]}-book.woff")
    small.write_bytes(_subset(font, codes))
    return SOURCE.sub(f'src:url(../webfonts/{small.name}) format("woff")', face)


def _subset(font: Path, codes: set[int]) -> bytes:
    """The font with these characters, compressed."""
    options = subset.Options(flavor="woff", ignore_missing_unicodes=True)
    whole = subset.load_font(str(font), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=codes)
    cutter.subset(whole)
    kept = BytesIO()
    subset.save_font(whole, kept, options)
    return kept.getvalue()
