"""The weights of a vision transformer (ViT) in the book's image encoder."""

from ..encoders.image import PatchImageEncoder
from .copying import filled, load, renamed, sizes


def image_encoder_from_vit(vit) -> PatchImageEncoder:
    """Our encoder with the weights of a ViT (Dosovitskiy et al. 2021): chapter 2.2.

    A ViT reads colours from −1 to 1; ours reads the same picture from 0 to 1.
    """
    vit = load(vit, "vit", "ViTModel", add_pooling_layer=False)
    for name, wanted in ("num_channels", 3), ("qkv_bias", True):
        if (given := getattr(vit.config, name)) != wanted:
            raise ValueError(f"a ViT with {name} {wanted} is needed; got {given}")
    known = sizes(vit.config, size="image_size", patch="patch_size")
    state = renamed(vit, "patches")
    state["summary"] = state["embeddings.cls_token"][0]
    state["position"] = state["embeddings.position_embeddings"][0]
    return filled(PatchImageEncoder(**known).to(state["summary"]), state)
