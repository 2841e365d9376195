"""The log-mel spectrogram (对数梅尔谱): how loud each band of frequencies is at each moment."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import check_audio

DECIBELS = 40  # one unit of the log-mel spectrogram


def mel_filters(mels: int = 80, rate: int = 16_000) -> Tensor:
    """Triangles of area one, half overlapping, bins of 40 Hz (梅尔滤波器组): (bins, mels)."""
    top = to_mel(torch.tensor(rate / 2, dtype=torch.float64))
    edges = to_hertz(torch.linspace(0, 1, mels + 2, dtype=torch.float64) * top)
    bins = torch.linspace(0, rate / 2, rate // 80 + 1, dtype=torch.float64)[:, None]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]  # each (mels,)
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    filters = torch.minimum(rising, falling).clamp(min=0) * 2 / (right - left)
    if (filters.amax(0) == 0).any():
        raise ValueError(f"{mels} mel bands are too many for {rate} samples a second")
    return filters.float()


def to_mel(hertz: Tensor) -> Tensor:
    """The mel scale of Slaney 1998: linear up to 1,000 Hz and logarithmic above."""
    above = 15 + 27 * (hertz.clamp(min=1) / 1000).log() / math.log(6.4)
    return torch.where(hertz < 1000, 3 * hertz / 200, above)


def to_hertz(mel: Tensor) -> Tensor:
    """The inverse of :func:`to_mel`."""
    above = 1000 * torch.exp(math.log(6.4) / 27 * (mel - 15))
    return torch.where(mel < 15, 200 * mel / 3, above)


class LogMel(nn.Module):
    r"""The log-mel spectrogram of a waveform, as Whisper computes it.

    Windows of 25 ms, one each 10 ms, give powers, which the mel filters gather; then

    $$x = \tfrac{1}{4} \left( \max(\log_{10} \text{power},\ m - 8) + 4 \right)$$

    with m the greatest logarithm of the sound: a step of one is a factor of 10,000 in
    power. Radford et al. 2022, https://arxiv.org/abs/2212.04356.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, mels: int = 80, rate: int = 16_000):
        super().__init__()
        if rate % 200:
            raise ValueError(f"rate must be a multiple of 200; got {rate}")
        self.window_length, self.hop = rate // 40, rate // 100  # 25 ms, 10 ms
        window = torch.hann_window(self.window_length)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", mel_filters(mels, rate), persistent=False)

    def forward(
        self, waveform: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, S) in [−1, 1], mask True = real → (B, mels, T), zero at padding, (B, T)."""
        check_audio(waveform, mask)
        lengths = real_lengths(waveform, mask)
        with torch.autocast(waveform.device.type, enabled=False):
            wave = _mirrored(waveform.float(), lengths, self.window_length // 2)
            pieces = wave.unfold(1, self.window_length, self.hop)  # (B, T, window)
            pieces = pieces[:, : max(1, waveform.shape[1] // self.hop)]
            spectrum = torch.fft.rfft(pieces * self.window.float()).mT  # (B, bins, T)
            power = self.filters.float().T @ spectrum.abs().square()  # (B, mels, T)
        real = self.frames(lengths, power.shape[-1])
        shown, decades = real[:, None], power.clamp(min=1e-10).log10()  # (B, mels, T)
        top = decades.masked_fill(~shown, -10).amax((1, 2), keepdim=True)
        return (torch.maximum(decades, top - 8) + 4).masked_fill(~shown, 0) / 4, real

    def frames(self, lengths: Tensor, steps: int) -> Tensor:
        """Which of so many steps hold a sound of that many samples: (B,) → (B, T)."""
        count = (lengths // self.hop).clamp(min=1).where(lengths > 0, 0)
        return torch.arange(steps, device=lengths.device) < count[:, None]


def log_mel(
    waveform: Tensor, mask: Tensor | None = None, mels: int = 80, rate: int = 16_000
) -> tuple[Tensor, Tensor]:
    """The log-mel spectrogram of (B, S), and its mask: see :class:`LogMel`."""
    return LogMel(mels, rate).to(waveform.device)(waveform, mask)


def normalise_bands(
    spectrum: Tensor, mask: Tensor | None = None, depth: float = 50.0
) -> Tensor:
    """Each band with mean 0 and variance 1 over its own sound (均值方差归一化).

    What is ``depth`` decibels softer than the loudest moment is raised to that. (B,
    mels, T), (B, T) → (B, mels, T), zero at padding.
    """
    real = torch.ones_like(spectrum[:, :1]) if mask is None else mask[:, None].float()
    hidden = spectrum.masked_fill(real == 0, -torch.inf)
    loudest = hidden.amax((1, 2), keepdim=True).clamp(min=-10)
    raised = torch.maximum(spectrum, loudest - depth / DECIBELS) * real
    count = real.sum(2, keepdim=True).clamp(min=1)
    centred = (raised - raised.sum(2, keepdim=True) / count) * real
    variance = centred.square().sum(2, keepdim=True) / count
    deviation = variance.clamp(min=1e-12).sqrt()  # no infinite slope at zero
    return centred / (deviation + 0.1)  # a band in which nothing happens stays small


def real_lengths(waveform: Tensor, mask: Tensor | None) -> Tensor:
    """The number of real samples of each row: (B,)."""
    if mask is not None:
        return mask.sum(1)
    return torch.full((len(waveform),), waveform.shape[1], device=waveform.device)


def _mirrored(waveform: Tensor, lengths: Tensor, half: int) -> Tensor:
    """Each sound, mirrored at both its ends whatever padding follows: (B, half + S + half)."""
    steps = torch.arange(half, device=waveform.device)
    last = (lengths[:, None] - 1).clamp(min=0)  # (B, 1)
    before = waveform.gather(1, (half - steps).minimum(last))
    after = waveform.gather(1, (last - 1 - steps).clamp(min=0))
    places = torch.arange(waveform.shape[1], device=waveform.device)
    silent = waveform.masked_fill(places >= lengths[:, None], 0)
    whole = F.pad(torch.cat([before, silent], dim=1), (0, half))
    return whole.scatter(1, half + lengths[:, None] + steps, after)
