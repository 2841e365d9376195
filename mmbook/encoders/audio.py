"""Audio encoders (语音编码器), from scratch; padding is masked at every step."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Block, sinusoids
from ..saving import Configured
from ..tokens import Tokens
from .checks import check_audio
from .spectrogram import LogMel, normalise_bands, real_lengths


class AudioEncoder(Configured):
    """A transformer over the log-mel spectrogram, the encoder of Whisper (语音编码器).

    Two convolutions make tokens of :class:`LogMel`: with ``strides`` of 2 and 2 each
    stands for 40 ms, with Whisper's 1 and 2 for 20 ms. With ``seconds`` every sound is
    padded to that length and all of it attended to, as Whisper does with 30. Radford et
    al. 2022, https://arxiv.org/abs/2212.04356. Chapter 2.3.
    """

    def __init__(
        self,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        mels: int = 80,
        rate: int = 16_000,
        strides: tuple[int, ...] = (2, 2),
        seconds: float | None = None,
        hidden: int | None = None,
        dropout: float = 0.0,
        normalise: bool = False,
    ):
        super().__init__()
        self.width, self.rate, self.normalise = width, rate, normalise
        self.samples = None if seconds is None else round(seconds * rate)
        self.strides = strides
        self.spectrogram = LogMel(mels, rate)
        self.convolutions = _convolutions(mels, width, strides, kernel=3)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [*self.convolutions, *self.blocks]

    def forward(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, S) in [−1, 1], mask (B, S) True = real → tokens (B, N, D)."""
        heard, real = audio, mask
        if self.samples is not None:
            heard, mask = pad_waveform(audio, mask, self.samples), None
        x, seen = self.spectrogram(heard, mask)  # (B, C, T), (B, T)
        x = normalise_bands(x, seen) if self.normalise else x
        real = self.spectrogram.frames(real_lengths(audio, real), seen.shape[1])
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            x = F.gelu(convolution(x.masked_fill(~seen[:, None], 0)))
            seen, real = seen[:, ::stride], real[:, ::stride]
        x = x.transpose(1, 2)  # (B, N, D)
        places = torch.arange(x.shape[1], device=x.device)
        x = self.dropout(x + sinusoids(places, self.width, "whisper").to(x))
        for block in self.blocks:
            x = block(x, None if mask is None else seen)
        return Tokens(self.norm(x), real)


class ConvAudioEncoder(Configured):
    """Convolutions over the log-mel spectrogram and nothing else: for small data.

    Each stage sees five moments; layer norms are over the channels of one, so padding
    cannot leak in. A token stands for 10 ms times all ``strides``. Chapter 2.3.
    """

    def __init__(
        self,
        width: int = 96,
        mels: int = 80,
        rate: int = 16_000,
        strides: tuple[int, ...] = (2, 1, 2, 1),
        dropout: float = 0.0,
    ):
        super().__init__()
        self.width, self.rate, self.strides = width, rate, strides
        self.spectrogram = LogMel(mels, rate)
        self.stages = _convolutions(mels, width, strides, kernel=5)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in strides)
        self.dropout = nn.Dropout(dropout)

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [*self.stages]

    def forward(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, S) in [−1, 1], mask (B, S) True = real → tokens (B, N, D)."""
        x, seen = self.spectrogram(audio, mask)  # (B, C, T), (B, T)
        stages = zip(self.stages, self.norms, self.strides, strict=True)
        for stage, norm, stride in stages:
            x = stage(x.masked_fill(~seen[:, None], 0)).transpose(1, 2)  # (B, T, D)
            x = self.dropout(F.relu(norm(x))).transpose(1, 2)
            seen = seen[:, ::stride]
        return Tokens(x.transpose(1, 2), seen)


def _convolutions(mels: int, width: int, strides, kernel: int) -> nn.ModuleList:
    """Along time, from bands to D channels, one for each stride."""
    return nn.ModuleList(
        nn.Conv1d(width if number else mels, width, kernel, stride, padding=kernel // 2)
        for number, stride in enumerate(strides)
    )


class SpectrogramEncoder(Configured):
    """The spectrogram seen as a picture: for single words and few voices (声谱图编码器).

    Convolutions slide over moments and bands, so a pattern that lies a little higher is
    the same. The bands that are left become the channels of each moment; a token stands
    for 40 ms. :class:`SpectrogramAugment` comes first. Chapter 2.3.
    """

    def __init__(
        self,
        width: int = 128,
        channels: int = 24,
        mels: int = 40,
        rate: int = 16_000,
        dropout: float = 0.3,
        normalise: bool = True,
        augment: nn.Module | None = None,
    ):
        super().__init__()
        if mels % 8:
            raise ValueError(f"mels must be a multiple of 8; got {mels}")
        self.width, self.rate, self.normalise = width, rate, normalise
        self.spectrogram, self.augment = LogMel(mels, rate), augment
        wide = [1, channels, channels, 2 * channels, 2 * channels]
        strides = [(2, 2), (2, 1), (2, 2), (1, 1)]
        self.strides = [along_time for _, along_time in strides]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for before, after, stride in zip(wide[:-1], wide[1:], strides, strict=True)
        )
        self.moments = nn.Sequential(
            nn.Dropout1d(dropout),
            nn.Conv1d(wide[-1] * mels // 8, width, 3, padding=1),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [*self.stages, self.moments]

    def forward(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """A waveform (B, S), or its spectrogram (B, T, mels) → tokens (B, N, D)."""
        x, seen = self._spectrum(audio, mask)  # (B, mels, T), (B, T)
        if self.augment is not None:
            x = self.augment(x, seen)
        if self.normalise:
            x = normalise_bands(x, seen)
        x = x[:, None]  # (B, 1, mels, T)
        for stage, stride in zip(self.stages, self.strides, strict=True):
            x = stage(x.masked_fill(~seen[:, None, None], 0))
            seen = seen[:, ::stride]
        x = x.masked_fill(~seen[:, None, None], 0).flatten(1, 2)  # (B, C, N)
        return Tokens(self.moments(x).transpose(1, 2), seen)

    def _spectrum(self, audio: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if audio.ndim != 3:
            return self.spectrogram(audio, mask)
        mels = self.spectrogram.filters.shape[1]
        if audio.shape[2] != mels:
            given = tuple(audio.shape)
            raise ValueError(f"a spectrogram must be (B, T, {mels}); got {given}")
        return audio.transpose(1, 2), Tokens(audio, mask).mask


def pad_waveform(waveform: Tensor, mask: Tensor | None, samples: int) -> Tensor:
    """The sound with silence behind it, (B, samples); ValueError if it is longer."""
    check_audio(waveform, mask)
    if waveform.shape[1] > samples:
        given = f"{waveform.shape[1]:,}: cut the sound"
        raise ValueError(f"this encoder hears {samples:,} samples; got {given}")
    if mask is not None:
        waveform = waveform.masked_fill(~mask, 0)
    return F.pad(waveform, (0, samples - waveform.shape[1]))
