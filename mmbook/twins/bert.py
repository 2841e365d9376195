"""BERT's weights in the book's text layers."""

from typing import Any

from torch import Tensor, nn

from ..encoders.text import TextEncoder
from ..heads.generation import GenerationHead
from .copying import filled, load, renamed, sizes

ALONE: dict[str, Any] = {
    "add_pooling_layer": False,
    "is_decoder": False,
    "add_cross_attention": False,
}
LENGTHS = {"vocabulary_size": "vocab_size", "max_length": "max_position_embeddings"}


def text_encoder_from_bert(bert) -> TextEncoder:
    """Our text encoder with the weights of a BERT (Devlin et al. 2019): chapter 2.1."""
    bert = load(bert, "bert", "BertModel", **ALONE)
    encoder = TextEncoder(**sizes(bert.config, **LENGTHS), norm_first=False)
    return filled(encoder, _words(bert))


def generation_head_from_bert(
    bert, context_width: int, layers: int | None = None, **changes
) -> GenerationHead:
    """Turn a BERT into a causal decoder of tokens of a ``context_width``. Chapter 5.2.

    The cross-attention of each layer is new, unless the BERT has one. The first
    ``layers`` are kept; ``changes`` are arguments of the head that shall differ.
    """
    bert = load(bert, "bert", "BertModel", **ALONE)
    known = sizes(bert.config, **LENGTHS)
    if layers is not None and not 1 <= layers <= known["layers"]:
        raise ValueError(f"layers must be 1 to {known['layers']}; got {layers}")
    known |= {"layers": layers or known["layers"], "norm_first": False} | changes
    head = GenerationHead(context_width=context_width, **known)
    beyond = range(known["layers"], bert.config.num_hidden_layers)
    left = tuple(f"blocks.{number}." for number in beyond)
    state = {n: value for n, value in _words(bert).items() if not n.startswith(left)}
    return filled(head, state, new=r"\.cross|^transform|^bias$").train()


def _words(bert: nn.Module) -> dict[str, Tensor]:
    """Ours reads one segment, so its vector is added to all positions once and for all."""
    state = renamed(bert)
    segment = state.pop("embeddings.token_type_embeddings.weight")[0]
    position = state["embedding.position.weight"]
    return state | {"embedding.position.weight": position + segment}
