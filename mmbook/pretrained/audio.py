"""Pre-trained audio encoders of transformers."""

import torch
from torch import Tensor, nn
from transformers import AutoFeatureExtractor

from ..encoders.audio import pad_waveform
from ..encoders.checks import check_audio
from ..encoders.spectrogram import LogMel, real_lengths
from ..tokens import Tokens
from .base import Pretrained, read_processor


class PretrainedAudioEncoder(Pretrained):
    """A pre-trained speech model: Whisper's encoder, wav2vec 2.0, HuBERT or WavLM.

    Whisper (Radford et al. 2022) reads a log-mel spectrogram of 30 s, whatever the
    sound; the others (Baevski et al. 2020, https://arxiv.org/abs/2006.11477) waveforms,
    those of different lengths one by one; ``normalise`` standardises. Chapter 2.3.
    """

    kinds = ("whisper", "wav2vec2", "hubert", "wavlm")

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

    def features(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, S) in [−1, 1], mask (B, S) True = real → (B, N, C)."""
        check_audio(audio, mask)
        lengths = real_lengths(audio, mask)
        if self.spectrogram is None:
            if self.normalise:
                audio = _standardised(audio, mask, lengths)
            return self._of_waveforms(audio, lengths.tolist())
        steps = 2 * self.model.config.max_source_positions
        heard = pad_waveform(audio, mask, steps * self.spectrogram.hop)
        spectrum, _ = self.spectrogram(heard)  # (B, C, T)
        real = self.spectrogram.frames(lengths, steps)[:, ::2]
        return Tokens(self.model(spectrum).last_hidden_state, real)

    def _of_waveforms(self, audio: Tensor, lengths: list[int]) -> Tokens:
        shortest, config = 1, self.model.config  # how many samples become one token
        pairs = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        for kernel, stride in reversed(pairs):
            shortest = (shortest - 1) * stride + kernel
        if audio.shape[1] < shortest:
            needed = f"{shortest} samples or more"
            raise ValueError(f"this model needs {needed}; got {audio.shape[1]}")
        if min(lengths) == audio.shape[1]:
            return Tokens(self.model(audio).last_hidden_state)
        rows = [
            self.model(wave[None, : max(length, shortest)]).last_hidden_state[0]
            for wave, length in zip(audio, lengths, strict=True)
        ]
        heard = zip(rows, lengths, strict=True)
        counts = [len(row) * (length >= shortest) for row, length in heard]
        values = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        places = torch.arange(values.shape[1], device=values.device)
        return Tokens(values, places < places.new_tensor(counts)[:, None])

    @classmethod
    def _read_settings(cls, name: str, given: dict) -> dict:
        if {"rate", "normalise"} <= given.keys():
            return given
        extractor = read_processor(AutoFeatureExtractor, name, "rate= and normalise=")
        normalise = bool(getattr(extractor, "do_normalize", False))
        return {"rate": extractor.sampling_rate, "normalise": normalise, **given}


def _standardised(audio: Tensor, mask: Tensor | None, lengths: Tensor) -> Tensor:
    """Each sound with mean 0 and variance 1 over its real part; padding is zero."""
    real = torch.ones_like(audio) if mask is None else mask.to(audio.dtype)
    count = lengths[:, None].clamp(min=1)
    middle = (audio - (audio * real).sum(1, keepdim=True) / count) * real
    return middle / (middle.square().sum(1, keepdim=True) / count + 1e-7).sqrt()
