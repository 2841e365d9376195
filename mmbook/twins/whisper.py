"""Whisper's weights in the book's audio encoder."""

import torch

from ..encoders.audio import AudioEncoder
from ..layers.positions import sinusoids
from .copying import filled, load, renamed, sizes

NAMES = {"mels": "num_mel_bins", "hidden": "encoder_ffn_dim", "dropout": "dropout"}


def audio_encoder_from_whisper(whisper) -> AudioEncoder:
    """Our encoder with the weights of a Whisper (Radford et al. 2022): chapter 2.3."""
    model = load(whisper, "whisper", "WhisperModel")
    source = getattr(model, "encoder", model)
    positions = source.embed_positions.weight
    waves = sinusoids(torch.arange(len(positions)), positions.shape[1], "whisper")
    if not torch.allclose(positions, waves.to(positions), atol=1e-3):
        raise ValueError("the positions of this Whisper are not sinusoids")
    known = sizes(source.config, **NAMES) | {"seconds": len(positions) / 50}
    encoder = AudioEncoder(**known, strides=(1, 2))
    return filled(encoder, renamed(source))
