"""Audio encoders (语音编码器), from scratch; with Whisper's weights one equals Whisper.

A waveform (波形) has 16,000 numbers a second, too many to be tokens. So it becomes a
picture first, the log-mel spectrogram (对数梅尔谱): how loud each band of frequencies is
at each moment, in steps that the ear would call equal. Padding stands behind the sound
and is masked at every step: what an encoder says of a sound does not depend on the
batch that the sound is in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configuration import Configured
from ..layers import Block
from ..tokens import Tokens

DECIBELS = 40  # one unit of the log-mel spectrogram


def mel_filters(mels: int = 80, rate: int = 16_000) -> Tensor:
    """Triangles that gather frequencies into bands (梅尔滤波器组): (bins, mels).

    The mel scale of Slaney 1998 is linear up to 1,000 Hz and logarithmic above; the
    triangles overlap by half, and each has area one. Bins lie 40 Hz apart, from 0 to
    half the rate: (201, 80) for Whisper's numbers.

    Raises
    ------
    ValueError
        If there are so many bands that one of them falls between two bins.
    """
    top = torch.tensor(_to_mel(rate / 2), dtype=torch.float64)
    edges = _to_hertz(torch.linspace(0, 1, mels + 2, dtype=torch.float64) * top)
    bins = torch.linspace(0, rate / 2, rate // 80 + 1, dtype=torch.float64)[:, None]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]  # each (mels,)
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    filters = torch.minimum(rising, falling).clamp(min=0) * 2 / (right - left)
    if (filters.amax(0) == 0).any():
        raise ValueError(
            f"{mels} mel bands are too many for {rate} samples a second: some would "
            "hold no frequency; ask for fewer"
        )
    return filters.float()


def _to_mel(hertz: float) -> float:
    if hertz < 1000:
        return 3 * hertz / 200
    return 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _to_hertz(mel: Tensor) -> Tensor:
    above = 1000 * torch.exp(math.log(6.4) / 27 * (mel - 15))
    return torch.where(mel < 15, 200 * mel / 3, above)


class LogMel(nn.Module):
    r"""The log-mel spectrogram of a waveform, as Whisper computes it.

    Windows of 25 ms, one each 10 ms, give the power of each frequency; the mel filters
    gather it; then, with m the greatest $\log_{10}$ of the whole sound,

    $$x = \tfrac{1}{4} \left( \max(\log_{10} \text{power},\ m - 8) + 4 \right)$$

    so a step of one is a factor of 10,000 in power, and what is 80 dB softer than the
    loudest moment is cut off. Radford et al. 2022, https://arxiv.org/abs/2212.04356.

    Parameters
    ----------
    mels : number of bands.
    rate : samples a second.
    """

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
        """(B, S) in [−1, 1] → (B, mels, T), zero where it is padding, and (B, T) bool.

        ``mask`` (B, S) is True for real samples; each full 10 ms makes one step.
        """
        check_audio(waveform, mask)
        lengths = real_lengths(waveform, mask)
        with torch.autocast(waveform.device.type, enabled=False):
            wave = _mirrored(waveform.float(), lengths, self.window_length // 2)
            spectrum = torch.stft(
                wave,
                self.window_length,
                self.hop,
                window=self.window.float(),
                center=False,
                return_complex=True,
            )[..., : max(1, waveform.shape[1] // self.hop)]
            power = self.filters.float().T @ spectrum.abs().square()  # (B, mels, T)
        real = self.frames(lengths, power.shape[-1])
        return _scaled(power.clamp(min=1e-10).log10(), real), real

    def frames(self, lengths: Tensor, steps: int) -> Tensor:
        """Which of so many steps hold a sound of that many samples: (B,) → (B, T)."""
        count = (lengths // self.hop).clamp(min=1).where(lengths > 0, 0)
        return torch.arange(steps, device=lengths.device) < count[:, None]


def log_mel(
    waveform: Tensor, mask: Tensor | None = None, mels: int = 80, rate: int = 16_000
) -> tuple[Tensor, Tensor]:
    """The log-mel spectrogram of (B, S), and its mask: see :class:`LogMel`."""
    return LogMel(mels, rate).to(waveform.device)(waveform, mask)


def _scaled(logarithm: Tensor, real: Tensor) -> Tensor:
    """Whisper's scale, in which only real moments count: (B, mels, T)."""
    real = real[:, None]  # (B, 1, T)
    top = logarithm.masked_fill(~real, -10).amax((1, 2), keepdim=True)
    return (torch.maximum(logarithm, top - 8) + 4).masked_fill(~real, 0) / 4


def normalise_bands(
    spectrum: Tensor, mask: Tensor | None = None, depth: float = 50.0
) -> Tensor:
    """Each band with mean 0 and variance 1 over its own sound (均值方差归一化).

    A microphone multiplies each frequency by a factor; in the logarithm this is a number
    added to each band, and the mean takes it away. (Applied to cepstra this is known as
    CMVN.)

    Parameters
    ----------
    spectrum, mask : (B, mels, T), as :class:`LogMel` makes it, and (B, T) bool.
    depth : what is so many decibels softer than the loudest moment is raised to that.

    Returns
    -------
    (B, mels, T), zero at padding.
    """
    real = torch.ones_like(spectrum[:, :1]) if mask is None else mask[:, None].float()
    hidden = spectrum.masked_fill(real == 0, -torch.inf)
    loudest = hidden.amax((1, 2), keepdim=True).clamp(min=-10)
    raised = torch.maximum(spectrum, loudest - depth / DECIBELS) * real
    count = real.sum(2, keepdim=True).clamp(min=1)
    centred = (raised - raised.sum(2, keepdim=True) / count) * real
    deviation = (centred.square().sum(2, keepdim=True) / count).sqrt()
    return centred / (deviation + 0.1)  # a band in which nothing happens stays small


def real_lengths(waveform: Tensor, mask: Tensor | None) -> Tensor:
    """The number of real samples of each row: (B,)."""
    if mask is not None:
        return mask.sum(1)
    rows, samples = waveform.shape
    return torch.full((rows,), samples, device=waveform.device)


def _mirrored(waveform: Tensor, lengths: Tensor, half: int) -> Tensor:
    """Continue each sound by its mirror image at both ends: (B, half + S + half).

    Padding would be silence instead; so a window at the end of a sound sees the same,
    however much padding stands behind it.
    """
    steps = torch.arange(half, device=waveform.device)
    last = (lengths[:, None] - 1).clamp(min=0)  # (B, 1)
    before = waveform.gather(1, (half - steps).minimum(last))
    after = waveform.gather(1, (last - 1 - steps).clamp(min=0))
    places = torch.arange(waveform.shape[1], device=waveform.device)
    silent = waveform.masked_fill(places >= lengths[:, None], 0)
    whole = F.pad(torch.cat([before, silent], dim=1), (0, half))
    return whole.scatter(1, half + lengths[:, None] + steps, after)


def sinusoids(length: int, width: int, device: torch.device | None = None) -> Tensor:
    r"""Positions as waves of growing length (正弦位置编码): (N, D), sines then cosines.

    $$\sin(n / 10000^{k / (D/2 - 1)}),\ \cos(n / 10000^{k / (D/2 - 1)}),
    \quad k = 0, \dots, D/2 - 1$$

    Nothing is learnt, so there is no longest sound. Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762, in the order that Whisper uses.
    """
    half = width // 2
    slower = torch.exp(
        -math.log(10_000) / (half - 1) * torch.arange(half, device=device)
    )
    angle = torch.arange(length, device=device)[:, None] * slower  # (N, D / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


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

    @classmethod
    def from_whisper(cls, name_or_folder: str) -> AudioEncoder:
        """Our encoder with the weights of a Whisper: a folder, or a name on the hub."""
        whisper = load_whisper(name_or_folder)
        config = whisper.config
        encoder = cls(
            width=config.d_model,
            layers=config.encoder_layers,
            heads=config.encoder_attention_heads,
            mels=config.num_mel_bins,
            strides=(1, 2),
            seconds=config.max_source_positions / 50,
            hidden=config.encoder_ffn_dim,
            dropout=config.dropout,
        )
        copy_whisper(whisper, encoder)
        return encoder.eval()


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
        :class:`mmbook.encoders.augment.SpectrogramAugment`.
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


def check_audio(waveform: Tensor, mask: Tensor | None = None) -> None:
    """Say what is wrong with a batch of waveforms, if anything is.

    Raises
    ------
    ValueError
        If it is not (B, S), not float, empty, or the mask does not fit.
    """
    shape = tuple(waveform.shape)
    if waveform.ndim != 2 or not waveform.shape[1]:
        hint = ": drop the axis of channels" if waveform.ndim == 3 else ""
        raise ValueError(f"audio must be (B, S) in [−1, 1]; got {shape}{hint}")
    if not waveform.is_floating_point():
        raise ValueError(
            f"audio must be float in [−1, 1]; got {waveform.dtype}: divide it by its "
            "largest value, 32768 for int16"
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != waveform.shape):
        raise ValueError(
            f"the mask of the audio must be bool {shape}, True = real; got "
            f"{mask.dtype} {tuple(mask.shape)}"
        )


def load_whisper(name_or_folder: str):
    """The transformers ``WhisperEncoder`` of a folder or a hub name, in float32.

    Raises
    ------
    ValueError
        If the checkpoint is not a Whisper, or has another activation than GELU.
    """
    from transformers import AutoConfig, WhisperModel

    config = AutoConfig.from_pretrained(name_or_folder)
    if config.model_type != "whisper":
        raise ValueError(
            f"{name_or_folder} is a {config.model_type!r} checkpoint; give a Whisper"
        )
    if config.activation_function != "gelu":
        raise ValueError(
            f"only Whispers with gelu are known; got {config.activation_function!r}"
        )
    return WhisperModel.from_pretrained(name_or_folder, dtype=torch.float32).encoder


@torch.no_grad()
def copy_whisper(whisper, encoder: AudioEncoder) -> None:
    """Copy the weights of a transformers ``WhisperEncoder`` into ours.

    Its keys have no bias, so ours become zero. Its positions are stored, but they are
    the same waves as ours; it is an error if they are not.
    """
    positions = whisper.embed_positions.weight
    if not torch.allclose(positions, sinusoids(*positions.shape), atol=1e-3):
        raise ValueError("the positions of this Whisper are not sinusoids")
    first, second = encoder.convolutions
    first.load_state_dict(whisper.conv1.state_dict())
    second.load_state_dict(whisper.conv2.state_dict())
    for layer, block in zip(whisper.layers, encoder.blocks, strict=True):
        source, attention = layer.self_attn, block.attention
        attention.query.load_state_dict(source.q_proj.state_dict())
        attention.key.weight.copy_(source.k_proj.weight)
        attention.key.bias.zero_()
        attention.value.load_state_dict(source.v_proj.state_dict())
        attention.out.load_state_dict(source.out_proj.state_dict())
        block.attention_norm.load_state_dict(layer.self_attn_layer_norm.state_dict())
        block.feed_forward[0].load_state_dict(layer.fc1.state_dict())
        block.feed_forward[2].load_state_dict(layer.fc2.state_dict())
        block.feed_forward_norm.load_state_dict(layer.final_layer_norm.state_dict())
    encoder.norm.load_state_dict(whisper.layer_norm.state_dict())
