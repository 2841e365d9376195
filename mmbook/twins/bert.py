"""BERT's weights in the book's text layers."""

from __future__ import annotations

import torch
from torch import nn

from ..encoders.text import TextEncoder
from ..heads.generation import GenerationHead
from ..heads.masked_word import MaskedWordHead
from ..layers.words import TextEmbedding


def text_encoder_from_bert(name_or_folder: str) -> TextEncoder:
    """Our text encoder with the weights of a BERT: a folder, or a name on the hub."""
    bert = load_bert(name_or_folder)
    encoder = TextEncoder(**bert_arguments(bert.config))
    copy_bert(bert, encoder.embedding, encoder.blocks)
    return encoder.eval()


def masked_word_head_from_bert(name_or_folder: str) -> MaskedWordHead:
    """The head that a BERT was pre-trained with; its body is the encoder's.

    Raises
    ------
    ValueError
        If the checkpoint is not a BERT, or its head was thrown away.
    """
    bert, arguments = load_masked_bert(name_or_folder)
    names = ("width", "vocabulary_size", "eps")
    head = MaskedWordHead(*(arguments[name] for name in names))
    predictions = bert.cls.predictions
    head.transform[0].load_state_dict(predictions.transform.dense.state_dict())
    head.transform[2].load_state_dict(predictions.transform.LayerNorm.state_dict())
    head.words.load_state_dict(predictions.decoder.state_dict())
    return head.eval()


def generation_head_from_bert(
    name_or_folder: str,
    context_width: int,
    layers: int | None = None,
    closed: bool = False,
    **changes,
) -> GenerationHead:
    """Turn a BERT into a decoder: its words, its layers, and new cross-attention.

    Causal masking is switched on, and each layer gets a new cross-attention.

    Parameters
    ----------
    name_or_folder : a BERT checkpoint, local or on the hub.
    context_width : width of the tokens that it will attend to.
    layers : keep only the first so many layers.
    closed : see :meth:`GenerationHead.close_eyes`.
    changes : arguments of the head that shall differ (``start``, ``dropout`` …).
    """
    bert = load_bert(name_or_folder)
    arguments = bert_arguments(bert.config) | changes
    if layers is not None:
        if not 1 <= layers <= arguments["layers"]:
            raise ValueError(
                f"layers must be 1 to {arguments['layers']}, as many as "
                f"{name_or_folder} has; got {layers}"
            )
        bert.encoder.layer = bert.encoder.layer[:layers]
        arguments["layers"] = layers
    head = GenerationHead(context_width=context_width, **arguments)
    copy_bert(bert, head.embedding, head.blocks)
    if closed:
        head.close_eyes()
    return head


def load_bert(name_or_folder: str):
    """The transformers ``BertModel`` of a folder or a hub name, in float32.

    Raises
    ------
    ValueError
        If the checkpoint is not a BERT (its layers would not fit ours).
    """
    from transformers import AutoConfig, BertModel

    config = AutoConfig.from_pretrained(name_or_folder)
    if config.model_type != "bert":
        raise ValueError(
            f"{name_or_folder} is a {config.model_type!r} checkpoint; give a BERT"
        )
    return BertModel.from_pretrained(
        name_or_folder,
        dtype=torch.float32,
        add_pooling_layer=False,
        is_decoder=False,
        add_cross_attention=False,
    )


def load_masked_bert(name_or_folder: str):
    """The transformers ``BertForMaskedLM`` of a checkpoint, and our arguments for it.

    Raises
    ------
    ValueError
        If the checkpoint is not a BERT, or has lost the head that names hidden words
        (as encoders that were fine-tuned for something else have).
    """
    from transformers import AutoConfig, BertForMaskedLM

    config = AutoConfig.from_pretrained(name_or_folder)
    if config.model_type != "bert":
        raise ValueError(
            f"{name_or_folder} is a {config.model_type!r} checkpoint; give a BERT"
        )
    bert, said = BertForMaskedLM.from_pretrained(
        name_or_folder, dtype=torch.float32, output_loading_info=True
    )
    if any(key.startswith("cls.") for key in said["missing_keys"]):
        raise ValueError(
            f"{name_or_folder} has no head for hidden words: it is a BERT whose head was "
            "thrown away after pre-training; give one that was saved with it"
        )
    return bert, bert_arguments(bert.config)


def bert_arguments(config) -> dict:
    """The arguments of our text modules that make them the shape of this BERT."""
    if config.hidden_act != "gelu":
        raise ValueError(f"only BERTs with gelu are known; got {config.hidden_act!r}")
    return {
        "vocabulary_size": config.vocab_size,
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "max_length": config.max_position_embeddings,
        "hidden": config.intermediate_size,
        "dropout": config.hidden_dropout_prob,
        "norm_first": False,
        "eps": config.layer_norm_eps,
    }


@torch.no_grad()
def copy_bert(bert, embedding: TextEmbedding, blocks: nn.ModuleList) -> None:
    """Copy the weights of a transformers ``BertModel`` into our layers.

    BERT adds a "segment" vector to each word; ours reads one segment, so the vector of
    segment 0 is added to all positions once and for all.
    """
    source = bert.embeddings
    embedding.word.weight.copy_(source.word_embeddings.weight)
    segment = source.token_type_embeddings.weight[0]
    embedding.position.weight.copy_(source.position_embeddings.weight + segment)
    embedding.norm.load_state_dict(source.LayerNorm.state_dict())
    for layer, block in zip(bert.encoder.layer, blocks, strict=True):
        copy_bert_attention(layer.attention, block.attention, block.attention_norm)
        block.feed_forward[0].load_state_dict(layer.intermediate.dense.state_dict())
        block.feed_forward[2].load_state_dict(layer.output.dense.state_dict())
        block.feed_forward_norm.load_state_dict(layer.output.LayerNorm.state_dict())


def copy_bert_attention(source, attention, norm: nn.LayerNorm) -> None:
    """Copy one of BERT's attention layers and the norm behind it."""
    core = source.self
    attention.query.load_state_dict(core.query.state_dict())
    attention.key.load_state_dict(core.key.state_dict())
    attention.value.load_state_dict(core.value.state_dict())
    attention.out.load_state_dict(source.output.dense.state_dict())
    norm.load_state_dict(source.output.LayerNorm.state_dict())
