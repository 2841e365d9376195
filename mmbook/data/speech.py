"""Speech of the book's sentences (语音): a small formant synthesiser in numpy.

The source–filter theory (声源–滤波器理论) says that speech is a sound and what the mouth
makes of it. The vocal folds buzz at the pitch (基频); breath hisses where the way is
narrow; the vocal tract colours both with its resonances, the formants (共振峰). So:

    words → phonemes (音素) → pieces with targets → smooth tracks → filtered frames

The numbers follow published tables, some a little moved: vowels from Peterson and
Barney 1952, https://doi.org/10.1121/1.1906875; consonants from Klatt 1980,
https://doi.org/10.1121/1.383940; the pulse of the vocal folds from Klatt and Klatt
1990, https://doi.org/10.1121/1.398894. Times are in seconds, frequencies in Hz.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .batching import CaptionedScenes
from .language import describe
from .scenes import Scene

# How each word sounds, in the phonemes of ARPAbet. Add a word here and it can be said.
LEXICON = {
    "circle": "S ER K AX L",
    "square": "S K W EH R",
    "triangle": "T R AY AE NG G AX L",
    "star": "S T AA R",
    "cross": "K R AO S",
    "ring": "R IH NG",
    "red": "R EH D",
    "orange": "AO R IH N JH",
    "yellow": "Y EH L OW",
    "green": "G R IY N",
    "cyan": "S AY AE N",
    "blue": "B L UW",
    "purple": "P ER P AX L",
    "black": "B L AE K",
    "big": "B IH G",
    "large": "L AA R JH",
    "small": "S M AO L",
    "little": "L IH D AX L",
    "thing": "TH IH NG",
    "a": "AX",
    "an": "AE N",
    "and": "AE N D",
    "it": "IH T",
    "there": "DH EH R",
    "is": "IH Z",
    "the": "DH AX",
    "picture": "P IH K CH ER",
    "shows": "SH OW Z",
    "one": "W AH N",
    "can": "K AE N",
    "see": "S IY",
    "left": "L EH F T",
    "right": "R AY T",
    "of": "AH V",
    "to": "T UW",
    "above": "AX B AH V",
    "over": "OW V ER",
    "below": "B IH L OW",
    "under": "AH N D ER",
    "moves": "M UW V Z",
    "up": "AH P",
    "down": "D AW N",
    "grows": "G R OW Z",
    "shrinks": "SH R IH NG K S",
    "blinks": "B L IH NG K S",
    "stays": "S T EY Z",
    "zero": "Z IH R OW",
    "two": "T UW",
    "three": "TH R IY",
    "four": "F AO R",
    "five": "F AY V",
    "six": "S IH K S",
    "seven": "S EH V AX N",
    "eight": "EY T",
    "nine": "N AY N",
}
_WEAK = {"a", "an", "and", "can", "is", "it", "of", "the", "to"}  # said in passing


class _Piece(NamedTuple):
    """A stretch of a phoneme in which nothing changes."""

    seconds: float
    formants: tuple[float, float, float]  # of an average man, in Hz
    buzz: float = 0.0  # of the vocal folds
    breath: float = 0.0  # noise at the vocal folds, which the formants colour
    hiss: float = 0.0  # noise at a narrow place, which has a colour of its own
    colour: str = "F"
    own: float = 1.0  # of its own target; the rest is that of the vowel beside it


_VOWELS = {  # seconds, formants; a diphthong glides from one target to another
    "IY": (0.14, (270, 2290, 3010)),
    "IH": (0.10, (390, 1990, 2550)),
    "EH": (0.12, (560, 1800, 2500)),
    "AE": (0.17, (700, 1650, 2450)),
    "AA": (0.16, (730, 1090, 2440)),
    "AO": (0.16, (570, 840, 2410)),
    "UW": (0.14, (300, 870, 2240)),
    "AH": (0.12, (660, 1200, 2450)),
    "AX": (0.07, (500, 1400, 2400)),
    "ER": (0.14, (490, 1350, 1690)),
    "AY": (0.20, (730, 1250, 2440), (360, 2080, 2600)),
    "AW": (0.19, (740, 1300, 2480), (420, 900, 2300)),
    "EY": (0.17, (480, 1950, 2550), (300, 2250, 2850)),
    "OW": (0.17, (540, 1000, 2400), (360, 820, 2300)),
}
_CONSONANTS = {  # seconds, formants, buzz, breath, hiss, its colour, own
    "W": (0.07, (290, 610, 2150), 0.6, 0.0, 0.0, "F", 0.9),
    "Y": (0.07, (260, 2070, 3020), 0.6, 0.0, 0.0, "F", 0.9),
    "R": (0.08, (310, 1060, 1380), 0.6, 0.0, 0.0, "F", 0.9),
    "L": (0.07, (310, 1050, 2880), 0.6, 0.0, 0.0, "F", 0.8),
    "M": (0.08, (250, 1270, 2130), 0.6, 0.0, 0.0, "F", 0.6),
    "N": (0.08, (250, 1600, 2600), 0.6, 0.0, 0.0, "F", 0.7),
    "NG": (0.09, (250, 2200, 2700), 0.6, 0.0, 0.0, "F", 0.7),
    "F": (0.11, (340, 1100, 2080), 0.0, 0.0, 0.06, "F", 0.6),
    "TH": (0.10, (320, 1290, 2540), 0.0, 0.0, 0.05, "TH", 0.6),
    "S": (0.13, (320, 1390, 2530), 0.0, 0.0, 0.30, "S", 0.7),
    "SH": (0.13, (300, 1840, 2750), 0.0, 0.0, 0.35, "SH", 0.7),
    "V": (0.06, (220, 1100, 2080), 0.4, 0.0, 0.03, "F", 0.6),
    "DH": (0.05, (270, 1290, 2540), 0.4, 0.0, 0.02, "TH", 0.6),
    "Z": (0.09, (240, 1390, 2530), 0.3, 0.0, 0.18, "S", 0.7),
}
_STOPS = {  # formants, buzz while closed, hiss of the burst, its colour, own
    "P": ((300, 900, 2150), 0.0, 0.32, "P", 0.4),
    "T": ((300, 1700, 2600), 0.0, 0.52, "T", 0.5),
    "K": ((300, 1990, 2600), 0.0, 0.52, "K", 0.4),
    "B": ((200, 900, 2150), 0.15, 0.20, "P", 0.4),
    "D": ((200, 1700, 2600), 0.15, 0.32, "T", 0.5),
    "G": ((200, 1990, 2600), 0.15, 0.32, "K", 0.4),
    "CH": ((300, 1800, 2820), 0.0, 0.45, "SH", 0.6),
    "JH": ((260, 1800, 2820), 0.15, 0.32, "SH", 0.6),
}
_COLOURS = {  # of a hiss: its middle and its width, in Hz
    "F": (4000, 5000),
    "TH": (6000, 3000),
    "S": (6200, 1500),
    "SH": (3000, 900),
    "P": (800, 900),
    "T": (4200, 1500),
    "K": (1900, 700),
}
_HIGHER = (3500, 4500)  # the fourth and fifth formant stay where they are
_BANDWIDTHS = (60, 80, 120, 160, 200)
_CONTROL = 400  # loudness is set so many times a second
_PEAK = 0.7  # of every sentence, before noise


def _sounds() -> dict[str, list[_Piece]]:
    """The pieces of each phoneme."""
    sounds = {name: [_Piece(*row)] for name, row in _CONSONANTS.items()}
    for name, (seconds, *targets) in _VOWELS.items():
        each = seconds / len(targets)
        sounds[name] = [_Piece(each, target, buzz=1.0) for target in targets]
    for name, (formants, buzz, hiss, *rest) in _STOPS.items():
        burst = 0.06 if name in ("CH", "JH") else 0.015
        sounds[name] = [
            _Piece(0.06, formants, buzz, 0.0, 0.0, *rest),  # closed
            _Piece(burst, formants, buzz, 0.0, hiss, *rest),
        ]
        if name in ("P", "T", "K"):
            sounds[name] += [_Piece(0.035, formants, 0.0, 0.25, 0.0, *rest)]
    return sounds


_SOUNDS = _sounds()


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


def phonemes(sentence: str) -> list[list[str]]:
    """The phonemes of each word: "a star" → [["AX"], ["S", "T", "AA", "R"]].

    Raises
    ------
    ValueError
        If there is no word, or one that the lexicon does not have.
    """
    said = [LEXICON[word].split() for word in _words(sentence)]
    unknown = sorted({sound for word in said for sound in word} - _SOUNDS.keys())
    if unknown:
        raise ValueError(
            f"the lexicon uses {', '.join(unknown)} in {sentence!r}; the phonemes are "
            f"{', '.join(sorted(_SOUNDS))}"
        )
    return said


def _words(sentence: str) -> list[str]:
    """The words without signs and capitals, all of them in the lexicon."""
    words = [word.strip(".,;:!?\"'").lower() for word in sentence.split()]
    words = [word for word in words if word]
    if not words:
        raise ValueError(f"a sentence must have at least one word; got {sentence!r}")
    for word in words:
        if word not in LEXICON:
            raise ValueError(
                f"cannot say {word!r} in {sentence!r}: it is not in the lexicon; add "
                'its phonemes, as in mmbook.data.speech.LEXICON["star"] = "S T AA R"'
            )
    return words


def speak(
    sentence: str,
    voice: Voice | None = None,
    rate: int = 16_000,
    noise: float = 0.005,
    seed: int | Sequence[int] = 0,
) -> Tensor:
    """Say a sentence: (S,) float32 in [−1, 1], with a short silence at both ends.

    Parameters
    ----------
    sentence : of words of the lexicon; signs and capital letters make no difference.
    voice : who speaks; the average voice if not given.
    rate : samples a second, 16,000 or 8,000 (telephone) say.
    noise : standard deviation of the background noise; the speech itself peaks at 0.7.
    seed : of the noise and of what is never twice the same in a voice.

    Raises
    ------
    ValueError
        If a word is not in the lexicon, or the rate is none.
    """
    if rate % 100 or not 8_000 <= rate <= 48_000:
        raise ValueError(
            f"rate must be 8,000 to 48,000 samples a second, in hundreds; got {rate}"
        )
    voice, rng = voice or Voice(), np.random.default_rng(seed)
    wave = _synthesise(_pieces(sentence, voice, rng), voice, rate, rng)
    wave *= _PEAK / np.abs(wave).max()
    if noise:
        wave += noise * rng.standard_normal(len(wave))
    return torch.from_numpy(wave.clip(-1, 1).astype(np.float32))


def _pieces(sentence: str, voice: Voice, rng) -> list[_Piece]:
    """All pieces of a sentence, with pauses, as this voice says them today."""
    habits, pieces = _habits(voice), [_pause(rng.uniform(0.06, 0.14))]
    for word, sounds in zip(_words(sentence), phonemes(sentence), strict=True):
        stress, before = 0.75 if word in _WEAK else 1.0, None
        for name in sounds:
            for piece in _SOUNDS[name]:
                if not (before == "S" and piece.breath):  # no breath in "star"
                    pieces.append(_said(piece, habits[name], stress, voice, rng))
            before = name
        pieces.append(_pause(rng.uniform(0.03, 0.09) / voice.pace))
    return [*pieces, _pause(rng.uniform(0.06, 0.14))]


def _pause(seconds: float) -> _Piece:
    return _Piece(seconds, (500, 1500, 2500), own=0.0)


def _habits(voice: Voice) -> dict[str, np.ndarray]:
    """This voice's own factor on each formant of each phoneme: its accent."""
    rng = np.random.default_rng((voice.accent, 1991))
    width = 0.03 if voice.accent else 0.0
    factors = 1 + width * rng.standard_normal((len(_SOUNDS), 3)).clip(-2, 2)
    return dict(zip(_SOUNDS, factors, strict=True))


def _said(piece: _Piece, habit: np.ndarray, stress: float, voice: Voice, rng) -> _Piece:
    """A piece as it comes out this time: no sound is twice the same."""
    slower = rng.uniform(0.9, 1.1) * (stress if piece.own == 1 else 1.0)
    loud = stress * rng.uniform(0.85, 1.15)
    off = habit * (1 + 0.015 * rng.standard_normal(3)) * voice.scale
    return piece._replace(
        seconds=piece.seconds * slower / voice.pace,
        formants=tuple(piece.formants * off),
        buzz=piece.buzz * loud,
        breath=piece.breath * loud,
        hiss=piece.hiss * loud,
    )


def _targets(pieces: list[_Piece]) -> np.ndarray:
    """Where the formants of each piece want to go: (P, 3), in Hz.

    A consonant borrows from the vowel behind it: the lips of "two" are round before the
    t. This is a great part of coarticulation (协同发音); Sussman et al. 1991,
    https://doi.org/10.1121/1.401923, measured it.
    """
    own = np.array([[piece.own] for piece in pieces])
    wanted = np.array([piece.formants for piece in pieces])
    vowels = np.flatnonzero(own == 1)
    if not len(vowels):
        return wanted
    behind = np.searchsorted(vowels, np.arange(len(pieces)))
    beside = wanted[vowels[behind.clip(max=len(vowels) - 1)]]
    return own * wanted + (1 - own) * beside


def _synthesise(pieces: list[_Piece], voice: Voice, rate: int, rng) -> np.ndarray:
    """Source and filter: pieces → samples (S,)."""
    ends = np.cumsum([piece.seconds for piece in pieces])
    samples, hop = int(ends[-1] * rate), rate // 100
    buzz, breath, hiss = _loudness(pieces, ends, samples, rate)
    folds, opened = _folds(ends[-1], samples, voice, rate, rng)
    air = rng.standard_normal((2, samples))
    source = buzz * folds + (breath + 0.1 * voice.breath * buzz) * opened * air[0]
    voiced, hissed = _frames(source, hop), _frames(hiss * air[1], hop)  # (T, bins)
    at = np.searchsorted(ends, np.arange(len(voiced)) * hop / rate, side="right")
    at = at.clip(max=len(pieces) - 1)  # which piece each frame is in
    tracks = _smooth(_targets(pieces)[at], 9)  # (T, 3); a short sound undershoots
    tract = _tract(tracks, voice, rate)
    colours = _colours([pieces[k].colour for k in at], voice, rate)
    return _overlap(voiced * tract + hissed * colours, hop)[:samples]


def _loudness(pieces, ends: np.ndarray, samples: int, rate: int) -> list[np.ndarray]:
    """Buzz, breath and hiss over time: three of (S,), without a click at the joints."""
    clock = np.arange(int(ends[-1] * _CONTROL) + 2) / _CONTROL
    at = np.searchsorted(ends, clock, side="right").clip(max=len(pieces) - 1)
    table = np.array([[p.buzz, p.breath, p.hiss] for p in pieces])
    smooth = _smooth(table[at], 7)  # 7 / 400 s
    now = np.arange(samples) / rate
    return [np.interp(now, clock, column) for column in smooth.T]


def _folds(seconds: float, samples: int, voice: Voice, rate: int, rng):
    """The buzz of the vocal folds (声带), and how far they are open: two of (S,).

    In each period air flows as $t^2 - t^3$ while the folds are open; what is heard is
    its derivative. The Fourier series of the pulse ends below half the rate.
    """
    clock = np.linspace(0, seconds, 16)
    wander = np.cumsum(rng.standard_normal(16)) * 0.01
    pitch = voice.pitch * (1 + voice.melody * (0.5 - clock / seconds) + wander)
    now = np.arange(samples) / rate
    phase = np.cumsum(np.interp(now, clock, pitch.clip(min=40))) / rate
    share = 0.55 + 0.25 * voice.breath  # of the period in which the folds are open
    x = np.arange(2048) / 2048 / share
    pulse = np.where(x < 1, 2 * x - 3 * x * x, 0.0)
    series = np.fft.rfft(pulse)
    series[int(0.45 * rate / pitch.max()) :] = 0
    place = (phase % 1 * 2048).astype(int)
    shimmer = 1 + 0.05 * rng.standard_normal(int(phase[-1]) + 1)
    return np.fft.irfft(series)[place] * shimmer[phase.astype(int)], (x < 1)[place]


def _tract(tracks: np.ndarray, voice: Voice, rate: int) -> np.ndarray:
    r"""What the vocal tract (声道) makes of each frequency: (T, bins) complex.

    One resonance for each formant f of bandwidth b, in a row (Klatt's cascade):

    $$H(z) = \prod_k \frac{1 - 2 r_k \cos\theta_k + r_k^2}
    {1 - 2 r_k \cos\theta_k z^{-1} + r_k^2 z^{-2}},\quad
    r = e^{-\pi b / \text{rate}},\ \theta = 2 \pi f / \text{rate}$$
    """
    higher = [f * voice.scale for f in _HIGHER if f * voice.scale < 0.48 * rate]
    still = np.tile(higher, (len(tracks), 1))  # (T, 0 to 2)
    poles = np.hstack([tracks.clip(max=0.47 * rate), still])
    bandwidths = np.array(_BANDWIDTHS[: poles.shape[1]]) * (1 + voice.breath)
    radius = np.exp(-np.pi * bandwidths / rate)
    middle = -2 * radius * np.cos(2 * np.pi * poles / rate)  # (T, formants)
    below = np.ones((len(tracks), 1))  # the denominator: a polynomial in 1 / z
    for r, m in zip(radius, middle.T[..., None], strict=True):
        once, twice = (np.pad(below, ((0, 0), (k, 2 - k))) for k in (1, 2))
        below = np.pad(below, ((0, 0), (0, 2))) + m * once + r * r * twice
    return below.sum(1, keepdims=True) / np.fft.rfft(below, 4 * (rate // 100))


def _colours(names: list[str], voice: Voice, rate: int) -> np.ndarray:
    """How strong a hiss is at each frequency: (T, bins)."""
    frequency = np.arange(2 * (rate // 100) + 1) * 25.0 / voice.scale
    table = {
        name: np.exp(-0.5 * ((frequency - middle) / width) ** 2)
        for name, (middle, width) in _COLOURS.items()
    }
    return np.array([table[name] for name in names])


def _smooth(track: np.ndarray, width: int) -> np.ndarray:
    """Each column of (T, ·) under a moving window of that many steps."""
    window = np.hanning(width + 2)[1:-1]
    ends = ((width // 2, width // 2), (0, 0))
    views = np.lib.stride_tricks.sliding_window_view(
        np.pad(track, ends, mode="edge"), width, axis=0
    )
    return views @ (window / window.sum())


def _frames(wave: np.ndarray, hop: int) -> np.ndarray:
    """Spectra of overlapping pieces of 20 ms, one each 10 ms: (T, 2 hop + 1)."""
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * hop) / hop)
    padded = np.pad(wave, (hop, 2 * hop))
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    return np.fft.rfft(views * window, 4 * hop)  # as much silence behind: for echoes


def _overlap(spectra: np.ndarray, hop: int) -> np.ndarray:
    """Back from :func:`_frames`: add up what overlaps."""
    parts = np.fft.irfft(spectra, 4 * hop).reshape(-1, 4, hop)
    out = np.zeros((len(parts) + 3, hop))
    for k in range(4):
        out[k : k + len(parts)] += parts[:, k]
    return out.ravel()[hop:]


class SpokenScenes(Dataset):
    """Scenes with their captions spoken, synthesised once when it is made (口述场景).

    Items are ``{"audio": (S,) float, "caption": str, "index": int}``, and ``"image":
    (3, H, W) uint8`` if pictures are asked for. Who speaks is drawn at random from
    ``voices``; ``.speakers`` tells the voice of each item.

    Parameters
    ----------
    scenes : what is spoken of; kept as ``.scenes`` for exact checking.
    voices : who may speak; 24 voices of the training split if not given.
    style : of the captions, see :func:`mmbook.data.language.describe`.
    rate, noise : of the sound, see :func:`speak`.
    seed : of the captions, the voices and the noise.
    size : height and width of the pictures; None makes none.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        voices: Sequence[Voice] | None = None,
        style: str = "canonical",
        rate: int = 16_000,
        noise: float = 0.005,
        seed: int = 0,
        size: int | None = None,
    ):
        if not scenes:
            raise ValueError("no scenes: the list is empty")
        voices = sample_voices(24) if voices is None else list(voices)
        if not voices:
            raise ValueError("no voices: the list is empty")
        rng = random.Random(f"speakers {seed}")
        self.scenes, self.rate = list(scenes), rate
        self.speakers = [rng.choice(voices) for _ in self.scenes]
        self.captions = [
            describe(scene, style, seed + index) for index, scene in enumerate(scenes)
        ]
        self.images = (
            CaptionedScenes(scenes, size=size, seed=seed).images if size else None
        )
        self.waves = [
            _to_int16(speak(caption, voice, rate, noise, (seed, index)))
            for index, (caption, voice) in enumerate(
                zip(self.captions, self.speakers, strict=True)
            )
        ]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict:
        item = {
            "audio": self.waves[index].float() / 32767,
            "caption": self.captions[index],
            "index": int(index),
        }
        if self.images is not None:
            item["image"] = self.images[index]
        return item

    @property
    def references(self) -> list[list[str]]:
        """The true captions of each scene: here one."""
        return [[caption] for caption in self.captions]


def _to_int16(wave: Tensor) -> Tensor:
    """As sound files keep it: half the memory, and finer than any ear."""
    return (wave * 32767).round().to(torch.int16)
