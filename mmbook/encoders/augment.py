"""The spectrogram made different in each step (声谱图增强): more speakers than there are."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..saving import Configured
from .spectrogram import DECIBELS, to_hertz, to_mel


class SpectrogramAugment(Configured):
    """Another speaker says the same word, in another room (声谱图增强). Chapter 2.3.

    In training each spectrogram is changed at random: vocal tract length (声道长度扰动,
    Jaitly and Hinton 2013), hidden spans (Park et al. 2019, arXiv 1904.08779) and more.
    """

    tract = 0.12  # frequencies are scaled by up to 1 ± this, as by another vocal tract
    pace = 0.15  # time runs faster or slower by up to this share, and not evenly
    shift = 0.04  # the sound begins earlier or later by up to this share of its length
    colour = 6.0  # decibels of a smooth random curve over the bands: a microphone
    noise = (30.0, 64.0)  # a noise floor, so many decibels below the loudest moment
    bands, moments = 5, 6  # two spans of up to so many are hidden behind the mean
    centres: Tensor

    def __init__(self, mels: int = 80, rate: int = 16_000):
        super().__init__()
        self.top = to_mel(torch.tensor(rate / 2, dtype=torch.float64)).item()
        steps = torch.linspace(0, 1, mels + 2, dtype=torch.float64)[1:-1]
        self.register_buffer("centres", to_hertz(steps * self.top), persistent=False)

    def forward(self, spectrum: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, mels, T) and (B, T) → (B, mels, T)."""
        if spectrum.ndim != 3 or spectrum.shape[1] != len(self.centres):
            wanted, given = f"(B, {len(self.centres)}, T)", tuple(spectrum.shape)
            raise ValueError(f"a spectrogram must be {wanted}; got {given}")
        if not self.training:
            return spectrum
        if mask is None:
            mask = spectrum.new_ones(spectrum[:, 0].shape, dtype=torch.bool)
        lengths = mask.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
        x = self._warped(spectrum, lengths) + _curve(spectrum, self.colour)
        x = _noisy(x, mask, *self.noise)
        mean = (x * mask[:, None]).sum(2, keepdim=True) / lengths[:, None]
        x = torch.where(self._hidden(x, lengths), mean, x)
        return x.masked_fill(~mask[:, None], 0)

    def _warped(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Read each place from another one: other formants, another pace."""
        _, mels, steps = x.shape
        scale = 1 + self._drawn(x, self.tract)  # (B, 1)
        hertz = (self.centres * scale.double()).clamp(max=2 * self.centres[-1])
        bands = to_mel(hertz) / self.top * (mels + 1) - 1  # (B, mels)
        ends = (lengths - 1).clamp(min=1)
        clock = 2 * torch.arange(steps, device=x.device) / ends - 1  # −1 to 1
        bent = clock + 0.8 * self._drawn(x, self.pace) * (1 - clock.square())
        at = bent * (1 + self._drawn(x, self.pace)) + 2 * self._drawn(x, self.shift)
        at = (at.clamp(-1, 1) + 1) / 2 * (lengths - 1)  # in steps, (B, T)
        columns = (2 * at / max(1, steps - 1) - 1)[:, None].expand(-1, mels, -1)
        rows = (2 * bands / max(1, mels - 1) - 1)[..., None].expand(-1, -1, steps)
        places = torch.stack([columns, rows], dim=-1).to(x)  # (B, mels, T, 2)
        return F.grid_sample(x[:, None], places, "bilinear", "border", True)[:, 0]

    def _hidden(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Which places are hidden: (B, mels, T) bool."""
        _, mels, steps = x.shape
        all_mels = torch.full_like(lengths, mels)
        bands = [_spans(all_mels, mels, self.bands) for _ in range(2)]
        times = [_spans(lengths, steps, self.moments) for _ in range(2)]
        return (bands[0] | bands[1])[:, :, None] | (times[0] | times[1])[:, None]

    @staticmethod
    def _drawn(x: Tensor, most: float) -> Tensor:
        """One number a row between −most and most: (B, 1)."""
        return (2 * torch.rand(len(x), 1, device=x.device) - 1) * most


def _curve(x: Tensor, decibels: float) -> Tensor:
    """A smooth random curve over the bands: (B, mels, 1)."""
    knots = torch.randn(len(x), 1, 6, device=x.device) * decibels / DECIBELS
    smooth = F.interpolate(knots, size=x.shape[1], mode="linear", align_corners=True)
    return smooth.transpose(1, 2)


def _noisy(x: Tensor, mask: Tensor, low: float, high: float) -> Tensor:
    """Add the power of a noise floor, ``low`` to ``high`` decibels below the loudest."""
    below = low + (high - low) * torch.rand(len(x), 1, 1, device=x.device)
    loudest = x.masked_fill(~mask[:, None], -10).amax((1, 2), keepdim=True)
    floor = loudest - below / DECIBELS + _curve(x, 6.0)
    unit = math.log(10) * DECIBELS / 10
    grain = 0.05 * torch.randn_like(x)
    return torch.logaddexp(x * unit, (floor + grain) * unit) / unit


def _spans(lengths: Tensor, size: int, longest: int) -> Tensor:
    """A span of up to ``longest`` places, at most a fifth of the row: (B, size) bool."""
    draw = torch.rand(2, len(lengths), 1, device=lengths.device)
    most = (lengths // 5).clamp(max=longest)
    wide = (draw[0] * (most + 1)).long()
    start = (draw[1] * (lengths - wide + 1)).long()
    places = torch.arange(size, device=lengths.device)
    return (places >= start) & (places < start + wide)
