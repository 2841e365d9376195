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

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .phonemes import (
    _BANDWIDTHS,
    _COLOURS,
    _HIGHER,
    _SOUNDS,
    _WEAK,
    _Piece,
    _words,
    phonemes,
)
from .voices import Voice

_CONTROL = 400  # loudness is set so many times a second
_PEAK = 0.7  # of every sentence, before noise


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
