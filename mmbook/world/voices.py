"""Voices (说话人): how one speaker differs from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Voice:
    """Who speaks (说话人). Without arguments: an average man.

    Parameters
    ----------
    name : to tell voices apart.
    pitch : mean frequency of the vocal folds in Hz.
    scale : factor on all formants; a vocal tract of 17.5 cm has 1, a shorter one more.
    pace : factor on the speed.
    breath : 0 is a clear voice, 1 nearly a whisper.
    melody : how far the pitch falls over a sentence, as a share of it.
    accent : seed of this voice's own small deviations from each target; 0 has none.
    """

    name: str = "average"
    pitch: float = 120.0
    scale: float = 1.0
    pace: float = 1.0
    breath: float = 0.1
    melody: float = 0.2
    accent: int = 0

    def __post_init__(self):
        for name, low, high in (
            ("pitch", 50, 500),
            ("scale", 0.7, 1.5),
            ("pace", 0.4, 2.5),
            ("breath", 0, 1),
            ("melody", 0, 0.8),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name} of a voice must be from {low} to {high}; got "
                    f"{getattr(self, name)}"
                )


def sample_voice(seed: int) -> Voice:
    """Draw a voice; the same seed gives the same one, named ``voice {seed}``.

    Short vocal tracts go with high pitch, as they do in people: men at one end, women
    in the middle, children at the other.
    """
    rng = np.random.default_rng((seed, 1952))
    scale = rng.uniform(0.9, 1.25)
    pitch = 115 * scale**3.5 * np.exp(0.12 * rng.standard_normal())
    return Voice(
        name=f"voice {seed}",
        pitch=float(np.clip(pitch, 70, 320)),
        scale=float(scale),
        pace=float(rng.uniform(0.85, 1.25)),
        breath=float(rng.uniform(0.0, 0.5)),
        melody=float(rng.uniform(0.1, 0.35)),
        accent=seed + 1,
    )


def sample_voices(count: int, split: str = "train") -> list[Voice]:
    """So many voices of one split; no voice is in two.

    ``"train"`` takes the voices 0, 1, …; ``"validation"`` those from 10,000 on;
    ``"test"`` those from 20,000 on.
    """
    starts = {"train": 0, "validation": 10_000, "test": 20_000}
    if split not in starts:
        raise ValueError(f"split must be one of {', '.join(starts)}; got {split!r}")
    if not 1 <= count <= 10_000:
        raise ValueError(f"a split has 1 to 10,000 voices; asked for {count}")
    return [sample_voice(starts[split] + number) for number in range(count)]
