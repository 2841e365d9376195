"""The spectrogram made different in each step (声谱图增强): more speakers than there are.

What tells speakers apart and words not should not count, so it is drawn anew each time:
the length of the vocal tract, the pace, the microphone, some noise. Chapter 2.3 measures
what this is worth for a speaker who was never heard. What a waveform itself can undergo
stands in :mod:`mmbook.data.augment`."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..saving import Configured
from .spectrogram import DECIBELS, to_hertz, to_mel


class SpectrogramAugment(Configured):
    """Another speaker says the same word, in another room (声谱图增强).

    In training each spectrogram is changed in its own random way; in eval mode it is
    handed on as it is. The mask does not change.

    Parameters
    ----------
    mels, rate : of the spectrogram.
    tract : frequencies are scaled by up to 1 ± this, as by a shorter or longer vocal
        tract (Jaitly and Hinton 2013, vocal tract length perturbation, 声道长度扰动).
    pace : time runs faster or slower by up to this share, and not evenly.
    shift : the sound begins earlier or later by up to this share of its length.
    colour : standard deviation of a smooth curve over the bands, in decibels: another
        microphone.
    noise : a noise floor is added at some number of decibels below the loudest moment,
        drawn between these two; None adds none.
    bands, moments : two spans of up to so many bands, and two of so many steps, are
        hidden (SpecAugment, Park et al. 2019, https://arxiv.org/abs/1904.08779); they
        get the mean of their band.
    """

    def __init__(
        self,
        mels: int = 80,
        rate: int = 16_000,
        tract: float = 0.12,
        pace: float = 0.15,
        shift: float = 0.04,
        colour: float = 6.0,
        noise: tuple[float, float] | None = (30.0, 64.0),
        bands: int = 5,
        moments: int = 6,
    ):
        super().__init__()
        if not (0 <= tract < 1 and 0 <= pace < 1 and 0 <= shift < 1):
            raise ValueError(
                "tract, pace and shift are shares from 0 to below 1; got "
                f"{tract}, {pace}, {shift}"
            )
        if not (0 <= bands <= mels and 0 <= moments):
            raise ValueError(
                f"bands must be 0 to {mels}, moments 0 or more; got {bands}, {moments}"
            )
        self.tract, self.pace, self.shift = tract, pace, shift
        self.colour, self.noise = colour, noise
        self.bands, self.moments = bands, moments
        self.top = to_mel(rate / 2)
        steps = torch.linspace(0, 1, mels + 2, dtype=torch.float64)[1:-1]
        self.register_buffer("centres", to_hertz(steps * self.top), persistent=False)

    def forward(self, spectrum: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, mels, T) and (B, T) → (B, mels, T)."""
        if spectrum.ndim != 3 or spectrum.shape[1] != len(self.centres):
            raise ValueError(
                f"a spectrogram must be (B, {len(self.centres)}, T); got "
                f"{tuple(spectrum.shape)}"
            )
        if not self.training:
            return spectrum
        if mask is None:
            mask = spectrum.new_ones(spectrum[:, 0].shape, dtype=torch.bool)
        lengths = mask.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
        x = self._warped(spectrum, lengths) + self._curve(spectrum, self.colour)
        if self.noise is not None:
            x = self._noisy(x, mask)
        mean = (x * mask[:, None]).sum(2, keepdim=True) / lengths[:, None]
        x = torch.where(self._hidden(x, lengths), mean, x)
        return x.masked_fill(~mask[:, None], 0)

    def _warped(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Read each place from another one: other formants, another pace."""
        _, mels, steps = x.shape
        scale = 1 + self._drawn(x, self.tract)  # (B, 1)
        hertz = (self.centres * scale.double()).clamp(max=2 * self.centres[-1])
        bands = _mel(hertz) / self.top * (mels + 1) - 1  # (B, mels)
        ends = (lengths - 1).clamp(min=1)
        clock = 2 * torch.arange(steps, device=x.device) / ends - 1  # −1 to 1
        bent = clock + 0.8 * self._drawn(x, self.pace) * (1 - clock.square())
        at = bent * (1 + self._drawn(x, self.pace)) + 2 * self._drawn(x, self.shift)
        at = (at.clamp(-1, 1) + 1) / 2 * (lengths - 1)  # in steps, (B, T)
        places = torch.stack(
            [
                (2 * at / max(1, steps - 1) - 1)[:, None].expand(-1, mels, -1),
                (2 * bands / max(1, mels - 1) - 1)[..., None].expand(-1, -1, steps),
            ],
            dim=-1,
        ).to(x)  # (B, mels, T, 2): column, row
        options = {"padding_mode": "border", "align_corners": True}
        return F.grid_sample(x[:, None], places, **options)[:, 0]

    def _curve(self, x: Tensor, decibels: float) -> Tensor:
        """A smooth random curve over the bands: (B, mels, 1)."""
        knots = torch.randn(len(x), 1, 6, device=x.device) * decibels / DECIBELS
        return F.interpolate(
            knots, size=x.shape[1], mode="linear", align_corners=True
        ).transpose(1, 2)

    def _noisy(self, x: Tensor, mask: Tensor) -> Tensor:
        """Add the power of a noise floor of some colour."""
        low, high = self.noise
        below = low + (high - low) * torch.rand(len(x), 1, 1, device=x.device)
        loudest = x.masked_fill(~mask[:, None], -10).amax((1, 2), keepdim=True)
        floor = loudest - below / DECIBELS + self._curve(x, 6.0)
        unit = math.log(10) * DECIBELS / 10
        grain = 0.05 * torch.randn_like(x)
        return torch.logaddexp(x * unit, (floor + grain) * unit) / unit

    def _hidden(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Which places are hidden: (B, mels, T) bool."""
        mels = lengths.new_full(lengths.shape, x.shape[1])
        bands = _spans(mels, x.shape[1], self.bands) | _spans(
            mels, x.shape[1], self.bands
        )
        times = _spans(lengths, x.shape[2], self.moments) | _spans(
            lengths, x.shape[2], self.moments
        )
        return bands[:, :, None] | times[:, None]

    @staticmethod
    def _drawn(x: Tensor, most: float) -> Tensor:
        """One number a row between −most and most: (B, 1)."""
        return (2 * torch.rand(len(x), 1, device=x.device) - 1) * most


def _mel(hertz: Tensor) -> Tensor:
    """Slaney's scale, for tensors."""
    above = 15 + 27 / math.log(6.4) * torch.log(hertz.clamp(min=1) / 1000)
    return torch.where(hertz < 1000, 3 * hertz / 200, above)


def _spans(lengths: Tensor, size: int, longest: int) -> Tensor:
    """A span of 0 to ``longest`` places somewhere in each row: (B, size) bool.

    Never more than a fifth of the row's length.
    """
    draw = torch.rand(2, len(lengths), 1, device=lengths.device)
    most = (lengths // 5).clamp(max=longest)
    wide = (draw[0] * (most + 1)).long()
    start = (draw[1] * (lengths - wide + 1)).long()
    places = torch.arange(size, device=lengths.device)
    return (places >= start) & (places < start + wide)
