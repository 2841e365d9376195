"""The terms of the glossary as data, and the places that introduce them."""

import functools
import json
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from book import ROOT, notebooks, spoken

FILE = ROOT / "chapters/appendix/glossary.md"
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
RULE = "|---|---|---|---|\n"
HIGH = str.maketrans("0123456789iknt", "⁰¹²³⁴⁵⁶⁷⁸⁹ⁱᵏⁿᵗ")
LOW = str.maketrans("0123456789aijkmnopstx", "₀₁₂₃₄₅₆₇₈₉ₐᵢⱼₖₘₙₒₚₛₜₓ")


class Term(NamedTuple):
    """A row of the glossary."""

    english: str
    chinese: str
    meaning: str
    where: str

    @property
    def slug(self) -> str:
        """A name for addresses: "winners-curse"."""
        text = unicodedata.normalize("NFKD", self.english.lower().replace("'", ""))
        ascii_only = re.sub(r"[–—]", "-", text).encode("ascii", "ignore").decode()
        return re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")

    @property
    def letter(self) -> str:
        """Where it stands in the alphabet."""
        return unicodedata.normalize("NFKD", self.english)[0].upper()

    @property
    def names(self) -> list[str]:
        """How the text may call it: without what explains the name."""
        bare = re.sub(r"\s*\([^)]*\)", "", self.english)
        return [name.strip() for name in bare.split(",")]


def plain_tex(tex: str) -> str:
    """A formula with small letters above and below, as far as there are some."""
    tex = re.sub(r"\^(\w)", lambda m: _moved(m, HIGH), tex)
    return re.sub(r"_(\w)", lambda m: _moved(m, LOW), tex)


def _moved(found: re.Match, table: dict) -> str:
    moved = found[1].translate(table)
    return found[0] if moved == found[1] else moved


def plain(text: str) -> str:
    """A text without marks; formulas as words as far as letters go."""
    text = re.sub(r"\$([^$]+)\$", lambda m: plain_tex(m[1]), text)
    return re.sub(r"[*`]", "", text)


def rows(text: str) -> list[Term]:
    """The rows of a glossary's table."""
    lines = text.partition(RULE)[2].splitlines()
    return [Term(*re.split(r"\s*\|\s*", line)[1:-1]) for line in lines if line.strip()]


def introduces(chinese: str) -> re.Pattern:
    """How a text introduces a term: ``*term* (中文)``, ``term (中文, …)``, ``*term*, 中文)``."""
    return re.compile(rf"[(,]\s*{re.escape(chinese)}\s*[),;]")


class Place(NamedTuple):
    """A page with a number to call it by: ("chapters/…/25_fusion", "2.5")."""

    page: str
    label: str


def first_places(terms: list[Term], texts: dict[Place, str]) -> dict[str, Place]:
    """For the slug of each term the first page that introduces it, else mentions it.

    Where two terms have one Chinese name, only the file knows which page is whose.
    """
    shared = [term.chinese for term in terms]
    found = {}
    for term in terms:
        pattern = introduces(term.chinese)
        own = [
            p for p in texts if shared.count(term.chinese) > 1 and p.label == term.where
        ]
        own += [place for place, text in texts.items() if pattern.search(text)]
        own += [place for place, text in texts.items() if term.chinese in text]
        if own:
            found[term.slug] = own[0]
    return found


def place_of(path: Path) -> Place:
    """The page of a notebook; a solution belongs to its exercise."""
    if path.parent.name == "solutions":
        path = path.parent.parent / path.name
    kind = "exercises " if path.parent.name == "exercises" else ""
    page = path.relative_to(ROOT).with_suffix("").as_posix()
    return Place(page, kind + spoken(path))


def markdown(path: Path) -> str:
    """What a notebook says."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(
        "".join(c["source"]) for c in cells if c["cell_type"] == "markdown"
    )


@functools.cache
def texts() -> dict[Place, str]:
    """What the pages say: chapters, then exercises with their solutions."""
    found = {}
    for path in notebooks():
        place = place_of(path)
        found[place] = f"{found.get(place, '')}\n\n{markdown(path)}"
    return found


@functools.cache
def terms() -> list[Term]:
    """The glossary; it is read once in a build."""
    return rows(FILE.read_text(encoding="utf-8"))


@functools.cache
def places() -> dict[str, Place]:
    """Where each term of the glossary is introduced."""
    return first_places(terms(), texts())
