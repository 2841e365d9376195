"""Origin and licence of everything real that comes with the package.

The credits are data, so that a caption, the site's page of credits and a test can use
the same ones. Each part keeps its own licence; the package's does not cover it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

PHOTOGRAPHS = Path(__file__).parent / "photographs"

_CC = "https://creativecommons.org"


@dataclass(frozen=True)
class Credit:
    """Title, author, licence and changes of one work, as CC licences ask for them.

    Parameters
    ----------
    title : of the work; ``page`` is where it comes from.
    author : the owner of the rights, or where the name is found.
    licence : its short name; ``licence_page`` is where its text is.
    changes : what was done to the work before it came into the package.
    """

    title: str
    page: str
    author: str
    licence: str
    licence_page: str
    changes: str

    def __str__(self) -> str:
        """One line of plain text for a figure's caption."""
        return (
            f"{self.title} ({self.author}), {self.licence}, {self.changes}; {self.page}"
        )

    @property
    def markdown(self) -> str:
        """The same line with the addresses of work and licence as links."""
        return (
            f"[{self.title}]({self.page}) ({self.author}), "
            f"[{self.licence}]({self.licence_page}), {self.changes}"
        )


def flickr_id(address: str) -> str:
    """The number of a photograph on Flickr, from the address of its file."""
    return re.sub(r"^.*/(\d+)_[0-9a-f]+(_\w)?\.jpg$", r"\1", address)


def _photograph_credits() -> tuple[Credit, ...]:
    """One for each photograph, in the order of ``captions.json``."""
    coco = json.loads((PHOTOGRAPHS / "captions.json").read_text(encoding="utf-8"))
    licences = {licence["id"]: licence for licence in coco["licenses"]}
    credits = []
    for image in coco["images"]:
        number = flickr_id(image["flickr_url"])
        page = f"https://www.flickr.com/photo.gne?id={number}"
        licence = licences[image["license"]]
        credits.append(
            Credit(
                f"Flickr photograph {number}",
                page,
                "photographer named there",
                licence["name"],
                licence["url"],
                "scaled to 320 px",
            )
        )
    return tuple(credits)


CREDITS: dict[str, tuple[Credit, ...]] = {
    "photographs": _photograph_credits(),
    "captions": (
        Credit(
            "Captions of COCO 2017",
            "https://cocodataset.org/#download",
            "COCO Consortium",
            "CC BY 4.0",
            f"{_CC}/licenses/by/4.0/",
            "those of 42 photographs chosen, numbered anew",
        ),
    ),
    "sentences": (
        Credit(
            "LJ Speech 1.1",
            "https://keithito.com/LJ-Speech-Dataset/",
            "read by Linda Johnson for LibriVox, aligned by Keith Ito",
            "public domain",
            "https://librivox.org/pages/public-domain/",
            "eight clips chosen, resampled to 16 kHz",
        ),
    ),
    "digits": (
        Credit(
            "Free Spoken Digit Dataset",
            "https://github.com/Jakobovski/free-spoken-digit-dataset",
            "Zohar Jackson and others",
            "CC BY-SA 4.0",
            f"{_CC}/licenses/by-sa/4.0/",
            "60 recordings of its test set chosen, the files unchanged",
        ),
    ),
    "film": (
        Credit(
            "Big Buck Bunny",
            "https://peach.blender.org/",
            "© 2008 Blender Foundation / www.bigbuckbunny.org",
            "CC BY 3.0",
            f"{_CC}/licenses/by/3.0/",
            "cut to 42 frames, scaled to 160×90, stored as WebP",
        ),
    ),
    "mobilenet-v2": (
        Credit(
            "MobileNetV2 1.0 224",
            "https://github.com/google-coral/test_data",
            "Google; Sandler et al. 2018",
            "Apache 2.0",
            "https://www.apache.org/licenses/LICENSE-2.0",
            "8-bit weights widened, measured batch norm statistics put in, "
            "stored in half precision",
        ),
    ),
}
"""For each part of the package, the credits of its works (a photograph each)."""
