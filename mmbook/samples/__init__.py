"""Real pictures, voices and a clip that come with the package, with their credits.

They are there offline, in Colab and on the site: 42 photographs with five human
captions each, eight read sentences, sixty spoken digits and a clip of a film. They are
too few to train on; they show, probe and test what was trained on other data. Each part
keeps its own licence: :data:`CREDITS` holds them as data, ``README.md`` as text.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from ..data.captions import Photographs, captioned_photographs
from ..data.recordings import Recordings, spoken_digits
from .licences import CREDITS, PHOTOGRAPHS, Credit

_HERE = Path(__file__).parent


def photographs(size: int = 224, fit: str = "crop") -> Photographs:
    """42 photographs of COCO 2017 with five captions each (Lin et al. 2014).

    Photographs: 23 under CC BY 2.0, 19 under CC BY-SA 2.0, from Flickr, scaled to
    320 px on the longer side; :func:`credit` gives the line for each. Captions: CC BY
    4.0, © COCO Consortium. Number 5 is rendered by a computer and number 39 is a
    printed advertisement; all others were taken by a camera.

    Parameters
    ----------
    size, fit : as in :func:`mmbook.data.captions.captioned_photographs`.
    """
    return captioned_photographs(PHOTOGRAPHS, split="all", size=size, fit=fit)


def credit(*indices: int) -> str:
    """The line that belongs below photographs: their pages on Flickr, their licences.

    Of one photograph the whole line of its :class:`Credit`; of several a shorter form,
    each of them once, in their order.
    """
    if not indices:
        raise ValueError(
            "credit needs the number of a photograph, or several; got none"
        )
    known = CREDITS["photographs"]
    used = [known[_checked(index)] for index in dict.fromkeys(indices)]
    if len(used) == 1:
        return str(used[0])
    page = used[0].page.partition("=")[0] + "="
    each = ", ".join(f"{one.page.removeprefix(page)} ({one.licence})" for one in used)
    return (
        f"Flickr photographs ({used[0].author}), {used[0].changes}: {each}; "
        f"{page} with the number"
    )


def alt_text(index: int) -> str:
    """One sentence that says what a photograph shows, for readers who cannot see it.

    Written for this book from looking at the picture; not one of COCO's captions.
    """
    text = (PHOTOGRAPHS / "alt.json").read_text(encoding="utf-8")
    return list(json.loads(text).values())[_checked(index)]


def _checked(index: int) -> int:
    count = len(CREDITS["photographs"])
    if not 0 <= index < count:
        raise IndexError(f"the photographs are numbered 0 to {count - 1}; got {index}")
    return index


def sentences(rate: int = 16_000) -> Recordings:
    """Eight sentences read by one woman, with their ``caption`` (LJ Speech, Ito 2017).

    Public domain: recorded by Linda Johnson for LibriVox. 2.7 to 4.3 s, 16 kHz.

    Parameters
    ----------
    rate : samples a second; the files are resampled where it is not their own.
    """
    folder = _HERE / "sentences"
    lines = (folder / "metadata.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|") for line in lines]
    files = [folder / f"{name}.wav" for name, _, _ in rows]
    return Recordings(files, [{"caption": spoken} for _, _, spoken in rows], rate)


def digits(rate: int = 16_000) -> Recordings:
    """Each of the digits 0 to 9 once by each of six men (Free Spoken Digit Dataset).

    CC BY-SA 4.0: Zohar Jackson and others. Items have a ``label`` and a ``speaker``.
    Of the five recordings in the official test set, the one of median length; 8 kHz,
    as loud as they are there: those of theo are about 20 dB quieter than the others.

    Parameters
    ----------
    rate : samples a second; the files are resampled where it is not their own.
    """
    return spoken_digits(_HERE / "digits", split="all", rate=rate)


def film() -> tuple[Tensor, float]:
    """A clip of "Big Buck Bunny": (F, 3, H, W) uint8, and frames a second.

    CC BY 3.0: © 2008 Blender Foundation / www.bigbuckbunny.org; cut to 42 frames and
    scaled to 160 × 90. An animated film, not taken by a camera: a large grey rabbit
    climbs out of its burrow, stands up and stretches.
    """
    with Image.open(_HERE / "film" / "big_buck_bunny.webp") as clip:
        frames = [
            (np.asarray(frame.convert("RGB")), frame.info["duration"])  # (H, W, 3), ms
            for frame in ImageSequence.Iterator(clip)
        ]
    video = torch.from_numpy(np.stack([pixels for pixels, _ in frames]))
    rate = 1000 * len(frames) / sum(milliseconds for _, milliseconds in frames)
    return video.permute(0, 3, 1, 2).contiguous(), rate
