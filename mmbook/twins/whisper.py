"""Whisper's weights in the book's audio encoder."""

from __future__ import annotations

import torch

from ..encoders.audio import AudioEncoder
from ..layers.positions import sinusoids


def audio_encoder_from_whisper(name_or_folder: str) -> AudioEncoder:
    """Our encoder with the weights of a Whisper: a folder, or a name on the hub."""
    whisper = load_whisper(name_or_folder)
    config = whisper.config
    encoder = AudioEncoder(
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
