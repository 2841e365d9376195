"""Pre-trained audio encoders of transformers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoFeatureExtractor,
)

from ..encoders.audio import check_audio, filled_up
from ..encoders.spectrogram import LogMel, real_lengths
from ..tokens import Tokens
from .base import Pretrained, own_folder, read_config


class PretrainedAudioEncoder(Pretrained):
    """A pre-trained speech model: Whisper's encoder, wav2vec 2.0, HuBERT or WavLM.

    Whisper (Radford et al. 2022) reads a log-mel spectrogram of 30 s, whatever the
    sound; the mask tells which tokens are real. The others (Baevski et al. 2020,
    https://arxiv.org/abs/2006.11477) read the waveform itself, as much as there is.
    Those of them that normalise over time (``feat_extract_norm="group"``) would hear
    the padding: they are given one sound at a time.

    Parameters
    ----------
    config, width, trainable : see :class:`Pretrained`.
    rate : samples a second of the sounds that the model was trained on.
    normalise : shift and scale every sound to mean 0 and variance 1.
    """

    def __init__(
        self,
        config: dict,
        width: int | None = None,
        trainable: bool = False,
        rate: int = 16_000,
        normalise: bool = False,
    ):
        super().__init__(config, width, trainable)
        self.rate, self.normalise = rate, normalise
        self.spectrogram = None
        if self.model.config.model_type == "whisper":
            self.spectrogram = LogMel(self.model.config.num_mel_bins, rate)

    def forward(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, S), mask (B, S), or kept features (B, N, C) → tokens (B, N, D)."""
        if audio.ndim == 3:
            return Tokens(self.project(self._kept(audio)), mask)
        features, real = self.features(audio, mask)
        return Tokens(self.project(features), real)

    def features(
        self, audio: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the model says before projection, (B, N, C); what is real, (B, N)."""
        check_audio(audio, mask)
        if self.spectrogram is not None:
            return self._of_spectrum(audio, mask)
        lengths = real_lengths(audio, mask)
        if audio.shape[1] < self._shortest():
            raise ValueError(
                f"this model needs {self._shortest()} samples or more to make a token; "
                f"got {audio.shape[1]}"
            )
        if self.normalise:
            audio = _standardised(audio, mask, lengths)
        values = self._of_waveform(audio, mask, lengths)
        places = torch.arange(values.shape[1], device=values.device)
        return values, places < self._tokens(lengths)[:, None]

    def _of_spectrum(self, audio: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        steps = 2 * self.model.config.max_source_positions
        heard = filled_up(audio, mask, steps * self.spectrogram.hop)
        spectrum, _ = self.spectrogram(heard)  # (B, C, T)
        real = self.spectrogram.frames(real_lengths(audio, mask), steps)
        return self.model(spectrum).last_hidden_state, real[:, ::2]

    def _of_waveform(self, audio, mask, lengths) -> Tensor:
        if mask is None:
            return self.model(audio).last_hidden_state
        if self.model.config.feat_extract_norm != "group":
            return self.model(audio, attention_mask=mask.long()).last_hidden_state
        rows = [
            self.model(wave[None, : max(length, self._shortest())]).last_hidden_state[0]
            for wave, length in zip(audio, lengths.tolist(), strict=True)
        ]
        values = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        longest = int(self._tokens(torch.tensor(audio.shape[1])))
        return F.pad(values, (0, 0, 0, longest - values.shape[1]))

    def _tokens(self, samples: Tensor) -> Tensor:
        """How many tokens so many samples become."""
        config = self.model.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples.clamp(min=0)

    def _shortest(self) -> int:
        """The number of samples that become one token."""
        config, samples = self.model.config, 1
        pairs = zip(config.conv_kernel, config.conv_stride, strict=True)
        for kernel, stride in reversed(list(pairs)):
            samples = (samples - 1) * stride + kernel
        return samples

    def _measure(self) -> int:
        kind, known = self.model.config.model_type, ("whisper", *_READ_WAVEFORMS)
        if kind not in known:
            raise ValueError(
                f"a checkpoint of {', '.join(known)} is needed; got a {kind!r}"
            )
        return self.model.config.hidden_size

    @classmethod
    def from_pretrained(cls, name_or_folder, width=None, trainable=False, **processor):
        """A checkpoint of transformers, or what :meth:`save_pretrained` wrote.

        ``rate`` and ``normalise`` are read from the checkpoint's
        ``preprocessor_config.json``; those given here come first.
        """
        name = own_folder(name_or_folder)
        if not read_config(name).get("class"):
            processor = _sound_processor(name, processor)
        return super().from_pretrained(name, width, trainable, **processor)


_READ_WAVEFORMS = ("wav2vec2", "hubert", "wavlm")


def _standardised(audio: Tensor, mask: Tensor | None, lengths: Tensor) -> Tensor:
    """Each sound with mean 0 and variance 1 over its real part; padding is zero."""
    real = torch.ones_like(audio) if mask is None else mask.to(audio.dtype)
    count = lengths[:, None].clamp(min=1)
    middle = (audio - (audio * real).sum(1, keepdim=True) / count) * real
    return middle / (middle.square().sum(1, keepdim=True) / count + 1e-7).sqrt()


def _sound_processor(name: str, given: dict) -> dict:
    """Rate and normalisation of a checkpoint's feature extractor."""
    if {"rate", "normalise"} <= given.keys():
        return given
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name)
    except OSError as error:
        raise FileNotFoundError(
            f"{name} has no preprocessor_config.json, which tells how sounds are "
            "prepared: give rate= and normalise="
        ) from error
    read = {
        "rate": extractor.sampling_rate,
        "normalise": bool(getattr(extractor, "do_normalize", False)),
    }
    return {**read, **given}
