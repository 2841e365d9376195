"""The weights of VideoMAE and TimeSformer in the book's video encoder."""

from ..encoders.video import TubeletVideoEncoder
from .copying import filled, load, renamed, sizes

SIZES = {"frames": "num_frames", "size": "image_size", "patch": "patch_size"}
ATTENTIONS = {"joint_space_time": "joint", "divided_space_time": "divided"}


def video_encoder_from_videomae(videomae) -> TubeletVideoEncoder:
    """Our encoder with the weights of a VideoMAE (Tong et al. 2022): chapter 2.4."""
    source = load(videomae, "videomae", "VideoMAEModel")
    if source.layernorm is None:
        raise ValueError("this VideoMAE has no last norm: set use_mean_pooling=False")
    known = sizes(source.config, **SIZES, tubelet="tubelet_size")
    encoder = TubeletVideoEncoder(**known, position="sinusoid")
    return filled(encoder, renamed(source, "tubelets"))


def video_encoder_from_timesformer(timesformer) -> TubeletVideoEncoder:
    """Our encoder with the weights of a TimeSformer (Bertasius et al. 2021): chapter 2.4.

    Of the two linear layers behind its attention along time ours keeps the product.
    """
    source = load(timesformer, "timesformer", "TimesformerModel")
    kind, state = source.config.attention_type, renamed(source, "tubelets")
    if kind not in ATTENTIONS:
        wanted = ", ".join(ATTENTIONS)
        raise ValueError(f"attention_type must be one of {wanted}; got {kind!r}")
    place = state["embeddings.position_embeddings"][0]
    state["summary"] = state["embeddings.cls_token"][0] + place[:1]
    state["place"] = place[None, 1:]
    state["time"] = state["embeddings.time_embeddings"][0, :, None]
    for name in [name for name in state if ".qkv." in name]:
        parts = zip(("query", "key", "value"), state.pop(name).chunk(3), strict=True)
        state |= {name.replace("qkv", part): value for part, value in parts}
    for name in [name for name in state if name.endswith("temporal_dense.weight")]:
        layer, more = name.removesuffix("temporal_dense.weight"), state.pop(name)
        bias = more @ state[f"{layer}time.out.bias"]
        state[f"{layer}time.out.bias"] = bias + state.pop(f"{layer}temporal_dense.bias")
        state[f"{layer}time.out.weight"] = more @ state[f"{layer}time.out.weight"]
    known = sizes(source.config, **SIZES) | {"attention": ATTENTIONS[kind]}
    return filled(TubeletVideoEncoder(**known, tubelet=1, summary=True), state)
