"""The weights of VideoMAE and TimeSformer in the book's video encoder."""

from __future__ import annotations

import torch
from torch import nn

from ..encoders.video import ATTENTIONS, DividedBlock, TubeletVideoEncoder
from ..layers.attention import Attention


def videomae_arguments(config) -> dict:
    """The arguments of our encoder that make it the shape of this VideoMAE."""
    return {
        **_common_arguments(config),
        "tubelet": config.tubelet_size,
        "position": "sinusoid",
    }


def timesformer_arguments(config) -> dict:
    """The arguments of our encoder that make it the shape of this TimeSformer."""
    kinds = {f"{name}_space_time": name for name in ATTENTIONS}
    if config.attention_type not in kinds:
        raise ValueError(
            f"attention_type must be one of {', '.join(kinds)}; got "
            f"{config.attention_type!r}"
        )
    return {
        **_common_arguments(config),
        "tubelet": 1,
        "attention": kinds[config.attention_type],
        "summary": True,
    }


def _common_arguments(config) -> dict:
    if config.hidden_act != "gelu":
        raise ValueError(f"only gelu is known here; got {config.hidden_act!r}")
    return {
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "frames": config.num_frames,
        "size": config.image_size,
        "patch": config.patch_size,
        "hidden": config.intermediate_size,
        "eps": config.layer_norm_eps,
    }


@torch.no_grad()
def copy_videomae(peer, ours: TubeletVideoEncoder) -> None:
    """Copy the weights of a transformers ``VideoMAEModel`` into our layers.

    They are found by their type and order, because names in transformers change. The
    model must have its last norm (``use_mean_pooling=False``).
    """
    linears = [m for m in peer.modules() if isinstance(m, nn.Linear)]
    norms = [m for m in peer.modules() if isinstance(m, nn.LayerNorm)]
    if len(linears) != 6 * len(ours.blocks) or len(norms) != 2 * len(ours.blocks) + 1:
        raise ValueError(
            f"a VideoMAE of {len(ours.blocks)} layers has {6 * len(ours.blocks)} linear "
            f"layers and {2 * len(ours.blocks) + 1} norms; got {len(linears)} and "
            f"{len(norms)}: set use_mean_pooling=False"
        )
    for number, block in enumerate(ours.blocks):
        own, forward = block.attention, block.feed_forward
        parts = [own.query, own.key, own.value, own.out, forward[0], forward[2]]
        for part, linear in zip(parts, linears[6 * number :], strict=False):
            _copy(linear, part)
        _copy(norms[2 * number], block.attention_norm)
        _copy(norms[2 * number + 1], block.feed_forward_norm)
    _copy(norms[-1], ours.norm)
    _copy(peer.embeddings.patch_embeddings.projection, ours.tubelets)


@torch.no_grad()
def copy_timesformer(peer, ours: TubeletVideoEncoder) -> None:
    """Copy the weights of a transformers ``TimesformerModel`` into our layers.

    Its tubelets are one frame deep; its first position belongs to the summary. Of the two
    linear layers behind its attention along time ours keeps the product.
    """
    embeddings = peer.embeddings
    place = embeddings.position_embeddings[0]
    _copy(embeddings.patch_embeddings.projection, ours.tubelets)
    ours.summary.copy_(embeddings.cls_token[0] + place[:1])
    ours.place.copy_(place[None, 1:])
    ours.time.copy_(embeddings.time_embeddings[0, :, None])
    _copy(peer.layernorm, ours.norm)
    for layer, block in zip(peer.encoder.layer, ours.blocks, strict=True):
        _copy_three(layer.attention, block.attention)
        _copy(layer.layernorm_before, block.attention_norm)
        _copy(layer.layernorm_after, block.feed_forward_norm)
        _copy(layer.intermediate.dense, block.feed_forward[0])
        _copy(layer.output.dense, block.feed_forward[2])
        if isinstance(block, DividedBlock):
            _copy_three(layer.temporal_attention, block.time)
            _copy(layer.temporal_layernorm, block.time_norm)
            more, out = layer.temporal_dense, block.time.out
            out.bias.copy_(more.weight @ out.bias + more.bias)
            out.weight.copy_(more.weight @ out.weight)


def _copy_three(source, target: Attention) -> None:
    """TimeSformer keeps query, key and value in one matrix, one below the other."""
    three = source.attention.qkv
    weights = three.weight.chunk(3)
    biases = [None] * 3 if three.bias is None else three.bias.chunk(3)
    parts = (target.query, target.key, target.value)
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        part.weight.copy_(weight)
        part.bias.zero_() if bias is None else part.bias.copy_(bias)
    _copy(source.output.dense, target.out)


def _copy(source: nn.Module, target: nn.Module) -> None:
    """One linear layer, norm or convolution; VideoMAE's keys have no bias."""
    target.weight.copy_(source.weight.view_as(target.weight))
    target.bias.zero_() if source.bias is None else target.bias.copy_(source.bias)
