"""Weights of transformers under our names, by one table."""

import re
from typing import Any

import torch
from torch import Tensor, nn

from ..pretrained.base import quiet

NAMES = (  # theirs, which differ between models and versions, and ours
    (r"^(bert|model)\.", ""),
    (r"^embed_tokens\.", "word."),
    (r"^(encoder\.)?layers?\.", "blocks."),
    (r"^embeddings\.word_embeddings", "embedding.word"),
    (r"^embeddings\.position_embeddings\.weight", "embedding.position.weight"),
    (r"^embeddings\.LayerNorm", "embedding.norm"),
    (r"^layer_?norm\.", "norm."),
    (r"^conv1\.", "convolutions.0."),
    (r"^conv2\.", "convolutions.1."),
    (r"^cls\.predictions\.transform\.dense", "transform.0"),
    (r"^cls\.predictions\.transform\.LayerNorm", "transform.2"),
    (r"^cls\.predictions\.decoder", "words"),
    (r"^cls\.predictions\.bias", "bias"),
    (r"\.temporal_attention(\.attention)?", ".time"),
    (r"\.crossattention(\.self)?", ".cross"),
    (r"\.(self_attn|attention\.self|attention\.attention)\.", ".attention."),
    (r"(attention|time|cross)\.(output\.dense|o_proj|out_proj)", r"\1.out"),
    (r"\.q_(proj\.|(?=bias))", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_(proj\.|(?=bias))", ".value."),
    (r"\.cross\.output\.LayerNorm", ".cross_norm"),
    (r"\.temporal_layernorm", ".time_norm"),
    (r"attention\.output\.LayerNorm|layernorm_before", "attention_norm"),
    (r"self_attn_layer_norm", "attention_norm"),
    (r"output\.LayerNorm|layernorm_after|final_layer_norm", "feed_forward_norm"),
    (r"\.(intermediate\.dense|mlp\.fc1|fc1)\.", ".feed_forward.0."),
    (r"\.(output\.dense|mlp\.fc2|fc2)\.", ".feed_forward.2."),
    (r"\.mlp\.(gate|up|down)_proj\.", r".feed_forward.\1."),
    (r"\.input_layernorm", ".attention_norm"),
    (r"\.post_attention_layernorm", ".feed_forward_norm"),
)
SIZES = {  # our arguments, and what they are in a config
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "dropout": "hidden_dropout_prob",
    "eps": "layer_norm_eps",
}


def load(source, kind: str, name: str, *, activation="gelu", **options: Any) -> Any:
    """A model of this class and ``model_type``: given, or a folder's or hub name's."""
    import transformers

    given = isinstance(source, nn.Module)
    config = source.config if given else transformers.AutoConfig.from_pretrained(source)
    if config.model_type != kind:
        raise ValueError(f"a {kind} checkpoint is needed; got a {config.model_type!r}")
    given_one = getattr(config, "hidden_act", None) or config.activation_function
    if given_one != activation:
        rule = f"only a {kind} with {activation} has a twin"
        raise ValueError(f"{rule}; got {given_one!r}")
    if given:
        return source
    with quiet():
        model = getattr(transformers, name)
        return model.from_pretrained(source, dtype=torch.float32, **options)


def sizes(config, **more: str) -> dict:
    """The sizes of a config as arguments of ours; ``more`` adds to the table."""
    table = {**SIZES, **more}
    return {n: getattr(config, at) for n, at in table.items() if hasattr(config, at)}


def renamed(model: nn.Module, patches: str = "") -> dict[str, Tensor]:
    """The weights of a transformers model under our names, that of patches included."""
    state = {}
    for name, value in model.state_dict().items():
        name = name.replace("embeddings.patch_embeddings.projection", patches)
        for theirs, ours in NAMES:
            name = re.sub(theirs, ours, name)
        state[name] = value
    return state


def filled(module: nn.Module, state: dict[str, Tensor], new: str = "$^") -> Any:
    """Our module with these weights, in eval mode.

    Missing biases get zeros; names that match ``new`` keep theirs; others are an error.
    """
    own = module.state_dict()
    zero = {n for n in own if re.search(r"\.(query|key|value)\.bias$", n)}
    missing = {n for n in own if not re.search(new, n)} - state.keys() - zero
    strange = {n for n in state.keys() - own.keys() if n.startswith("blocks.")}
    if missing or strange:
        words = f"missing {sorted(missing)[:3]}, unknown {sorted(strange)[:3]}"
        raise ValueError(f"these weights do not fit a {type(module).__name__}: {words}")
    for name in own.keys() & (state.keys() | zero):
        value = state.get(name, torch.zeros_like(own[name]))
        own[name].copy_(value.view_as(own[name]))
    return module.eval()
