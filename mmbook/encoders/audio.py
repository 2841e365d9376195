"""Audio encoders (语音编码器), from scratch; with Whisper's weights one equals Whisper.

A waveform (波形) has 16,000 numbers a second, too many to be tokens. So it becomes a
picture first, the log-mel spectrogram (对数梅尔谱): how loud each band of frequencies is
at each moment, in steps that the ear would call equal. Padding stands behind the sound
and is masked at every step: what an encoder says of a sound does not depend on the
batch that the sound is in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers.block import Block
from ..layers.positions import sinusoids
from ..saving import Configured
from ..tokens import Tokens
from .spectrogram import LogMel, check_audio, normalise_bands, real_lengths


class AudioEncoder(Configured):
    """A transformer over the log-mel spectrogram, the encoder of Whisper (语音编码器).

    Two convolutions make tokens of the spectrogram: with strides of 2 and 2 each stands
    for 40 ms, with Whisper's 1 and 2 for 20 ms. Radford et al. 2022,
    https://arxiv.org/abs/2212.04356.

    Parameters
    ----------
    width, layers, heads : D, even; number of blocks; number of heads.
    mels, rate : bands of the spectrogram; samples a second of what is heard.
    strides : of the two convolutions.
    seconds : fill every sound up to this length with silence and hear all of it, as
        Whisper does with 30; the mask still tells which tokens are real. None hears as
        much as there is, and looks at no padding.
    normalise : each band gets mean 0 and variance 1, see :func:`normalise_bands`.
        Whisper does without.
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
        if width % 2 or width < 4:
            raise ValueError(f"width must be even and at least 4; got {width}")
        self.width, self.rate, self.normalise = width, rate, normalise
        self.samples = None if seconds is None else round(seconds * rate)
        self.spectrogram = LogMel(mels, rate)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width if number else mels, width, 3, stride, padding=1)
            for number, stride in enumerate(strides)
        )
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, S) in [−1, 1], mask (B, S) True = real → tokens (B, N, D)."""
        heard, real = audio, mask
        if self.samples is not None:
            heard, mask = filled_up(audio, mask, self.samples), None
        x, seen = self.spectrogram(heard, mask)  # (B, C, T), (B, T)
        x = normalise_bands(x, seen) if self.normalise else x
        tokens = self.spectrogram.frames(real_lengths(audio, real), seen.shape[1])
        for convolution in self.convolutions:
            x = F.gelu(convolution(x.masked_fill(~seen[:, None], 0)))
            seen, tokens = (m[:, :: convolution.stride[0]] for m in (seen, tokens))
        x = x.transpose(1, 2)  # (B, N, D)
        x = self.dropout(x + sinusoids(x.shape[1], self.width, x.device).to(x))
        for block in self.blocks:
            x = block(x, None if mask is None else seen)
        return Tokens(self.norm(x), tokens)


class ConvAudioEncoder(Configured):
    """Convolutions over the log-mel spectrogram and nothing else: for small data.

    Each stage looks at five neighbouring moments; the layer norm after it is taken over
    the channels of one moment, so padding cannot leak in.

    Parameters
    ----------
    width : D of the tokens, and the channels of all stages.
    mels, rate : bands of the spectrogram; samples a second of what is heard.
    strides : of the stages; a token stands for their product times 10 ms.
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
        self.width, self.rate = width, rate
        self.spectrogram = LogMel(mels, rate)
        self.stages = nn.ModuleList(
            nn.Conv1d(width if number else mels, width, 5, stride, padding=2)
            for number, stride in enumerate(strides)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in strides)
        self.dropout = nn.Dropout(dropout)

    def forward(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, S) in [−1, 1], mask (B, S) True = real → tokens (B, N, D)."""
        x, seen = self.spectrogram(audio, mask)  # (B, C, T), (B, T)
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = stage(x.masked_fill(~seen[:, None], 0)).transpose(1, 2)  # (B, T, D)
            x = self.dropout(F.relu(norm(x))).transpose(1, 2)
            seen = seen[:, :: stage.stride[0]]
        return Tokens(x.transpose(1, 2), seen)


class SpectrogramEncoder(Configured):
    """The spectrogram seen as a picture: for single words and few voices (声谱图编码器).

    Two-dimensional convolutions slide over moments and over bands, so a pattern that
    lies a little higher, as a smaller speaker's does, is the same pattern. Then the
    bands that are left become the channels of each moment.

    Parameters
    ----------
    width, channels : D of the tokens; channels of the first convolutions.
    mels, rate : bands of the spectrogram, a multiple of 8; samples a second.
    dropout : of whole channels, behind the convolutions.
    normalise : see :func:`normalise_bands`; False leaves the
        spectrogram as it is.
    augment : changes the spectrogram in training, before it is normalised; a
        :class:`mmbook.encoders.SpectrogramAugment`.
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
        plan = ((1, (2, 2)), (channels, (2, 1)), (channels, (2, 2)), (2 * channels, 1))
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, channels * (1 + (number > 1)), 3, stride, padding=1),
                nn.BatchNorm2d(channels * (1 + (number > 1))),
                nn.ReLU(),
            )
            for number, (before, stride) in enumerate(plan)
        )
        self.moments = nn.Sequential(
            nn.Dropout1d(dropout),
            nn.Conv1d(2 * channels * mels // 8, width, 3, padding=1),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )

    def forward(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """A waveform (B, S), or a kept spectrogram (B, T, mels) → tokens (B, N, D).

        ``mask`` is (B, S) or (B, T), True = real; a token stands for 40 ms.
        """
        x, seen = self._spectrum(audio, mask)  # (B, mels, T), (B, T)
        if self.augment is not None:
            x = self.augment(x, seen)
        if self.normalise:
            x = normalise_bands(x, seen)
        x = x[:, None]  # (B, 1, mels, T)
        for stage in self.stages:
            x = stage(x.masked_fill(~seen[:, None, None], 0))
            seen = seen[:, :: stage[0].stride[1]]
        x = x.masked_fill(~seen[:, None, None], 0).flatten(1, 2)  # (B, C, N)
        return Tokens(self.moments(x).transpose(1, 2), seen)

    def _spectrum(self, audio: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if audio.ndim != 3:
            return self.spectrogram(audio, mask)
        mels = self.spectrogram.filters.shape[1]
        if audio.shape[2] != mels:
            raise ValueError(
                f"a kept spectrogram must be (B, T, {mels}); got {tuple(audio.shape)}"
            )
        if mask is None:
            mask = torch.ones(audio.shape[:2], dtype=torch.bool, device=audio.device)
        return audio.transpose(1, 2), mask


def filled_up(waveform: Tensor, mask: Tensor | None, samples: int) -> Tensor:
    """The sound with silence behind it, (B, samples); says so if it is longer."""
    check_audio(waveform, mask)
    if waveform.shape[1] > samples:
        raise ValueError(
            f"this encoder hears {samples:,} samples; got {waveform.shape[1]:,}: cut "
            "the sound into parts"
        )
    if mask is not None:
        waveform = waveform.masked_fill(~mask, 0)
    return F.pad(waveform, (0, samples - waveform.shape[1]))
