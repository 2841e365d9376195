"""BERT's weights in the book's text layers."""

from torch import Tensor, nn

from ..encoders.text import TextEncoder
from ..heads.generation import GenerationHead
from ..heads.masked_word import MaskedWordHead
from .copying import filled, load, renamed, sizes

ALONE = {"add_pooling_layer": False, "is_decoder": False, "add_cross_attention": False}
LENGTHS = {"vocabulary_size": "vocab_size", "max_length": "max_position_embeddings"}


def text_encoder_from_bert(bert) -> TextEncoder:
    """Our text encoder with the weights of a BERT (Devlin et al. 2019): chapter 2.1.

    ``bert`` is a folder, a name on the hub, or a ``transformers.BertModel``.
    """
    bert = load(bert, "bert", "BertModel", **ALONE)
    encoder = TextEncoder(**sizes(bert.config, **LENGTHS), norm_first=False)
    return filled(encoder, _words(bert))


def masked_word_head_from_bert(bert) -> MaskedWordHead:
    """The head that a BERT was pre-trained with; its body is the encoder's.

    ``bert`` is a folder, a name on the hub, or a ``transformers.BertForMaskedLM``.
    """
    if not isinstance(bert, nn.Module):
        bert, report = load(bert, "bert", "BertForMaskedLM", output_loading_info=True)
        if any(key.startswith("cls.") for key in report["missing_keys"]):
            raise ValueError(
                "this BERT has no head for masked words, which many lose after their "
                "pre-training: give one that was saved with it"
            )
    config = bert.config
    head = MaskedWordHead(config.hidden_size, config.vocab_size, config.layer_norm_eps)
    state = {n: v for n, v in renamed(bert).items() if not n.startswith("blocks.")}
    return filled(head, state)


def generation_head_from_bert(
    bert,
    context_width: int,
    layers: int | None = None,
    closed: bool = False,
    **changes,
) -> GenerationHead:
    """Turn a BERT into a decoder: its words, its layers, and cross-attention.

    Causal masking is switched on. The cross-attention of each layer is new, unless the
    BERT is a decoder that has one. Chapter 5.2.

    Parameters
    ----------
    bert : a folder, a name on the hub, or a ``BertModel`` or ``BertLMHeadModel``.
    context_width : width of the tokens that it will attend to.
    layers : keep only the first so many layers.
    closed : see :meth:`GenerationHead.zero_cross_attention`.
    changes : arguments of the head that shall differ (``start``, ``dropout`` …).
    """
    bert = load(bert, "bert", "BertModel", **ALONE)
    known = sizes(bert.config, **LENGTHS)
    if layers is not None and not 1 <= layers <= known["layers"]:
        raise ValueError(
            f"layers must be 1 to {known['layers']}, as many as it has; got {layers}"
        )
    known |= {"layers": layers or known["layers"], "norm_first": False} | changes
    head = GenerationHead(context_width=context_width, **known)
    kept = tuple(f"blocks.{number}." for number in range(known["layers"]))
    state = {
        name: value
        for name, value in _words(bert).items()
        if name.startswith(kept) or not name.startswith("blocks.")
    }
    head = filled(head, state, new=r"\.cross|^transform|^bias$").train()
    if closed:
        head.zero_cross_attention()
    return head


def _words(bert: nn.Module) -> dict[str, Tensor]:
    """Ours reads one segment, so its vector is added to all positions once and for all."""
    state = renamed(bert)
    segment = state.pop("embeddings.token_type_embeddings.weight")[0]
    position = state["embedding.position.weight"]
    return state | {"embedding.position.weight": position + segment}
