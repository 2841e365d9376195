"""The weights of a vision transformer (ViT) in the book's image encoder."""

from __future__ import annotations

import torch
from torch import nn

from ..encoders.image import PatchImageEncoder


def image_encoder_from_vit(vit: nn.Module) -> PatchImageEncoder:
    """Our encoder with the weights of a ``transformers.ViTModel``: chapter 2.2.

    ViT reads colours from −1 to 1, ours the same picture from 0 to 1.

    Raises
    ------
    ValueError
        If it is not a ViT, or of a kind that our layers can't be.
    """
    encoder = PatchImageEncoder(**_vit_arguments(vit.config))
    _copy_vit(vit, encoder)
    return encoder.to(next(vit.parameters())).eval()


def _vit_arguments(config) -> dict:
    """The arguments that make our encoder the shape of this ViT."""
    for name, wanted in (
        ("model_type", "vit"),
        ("hidden_act", "gelu"),
        ("num_channels", 3),
        ("qkv_bias", True),
    ):
        if getattr(config, name, None) != wanted:
            raise ValueError(
                f"a ViT with {name} {wanted!r} is needed; got "
                f"{getattr(config, name, None)!r}"
            )
    return {
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "size": config.image_size,
        "patch": config.patch_size,
        "hidden": config.intermediate_size,
        "dropout": config.hidden_dropout_prob,
        "eps": config.layer_norm_eps,
    }


@torch.no_grad()
def _copy_vit(vit: nn.Module, encoder: PatchImageEncoder) -> None:
    """By type and order: the names of its layers changed more than once."""
    linears = iter(m for m in vit.modules() if isinstance(m, nn.Linear))
    norms = iter(m for m in vit.modules() if isinstance(m, nn.LayerNorm))
    for block in encoder.blocks:
        a, forward = block.attention, block.feed_forward
        for part in (a.query, a.key, a.value, a.out, forward[0], forward[2]):
            part.load_state_dict(next(linears).state_dict())
        for norm in (block.attention_norm, block.feed_forward_norm):
            norm.load_state_dict(next(norms).state_dict())
    encoder.norm.load_state_dict(next(norms).state_dict())
    source = vit.embeddings
    encoder.patches.load_state_dict(source.patch_embeddings.projection.state_dict())
    encoder.summary.copy_(source.cls_token[0])
    encoder.position.copy_(source.position_embeddings[0])
