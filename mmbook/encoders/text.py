"""Text encoders, from scratch; with BERT's weights they equal BERT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..configuration import Configured
from ..layers import Block
from ..tokens import Tokens


class TextEmbedding(nn.Module):
    """Word plus position (词嵌入与位置嵌入): ids (B, L) → (B, L, D).

    Parameters
    ----------
    vocabulary_size, width, max_length : V, D, the longest L.
    norm : normalise the sum, as BERT does.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        max_length: int,
        norm: bool = False,
        dropout: float = 0.0,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.word = nn.Embedding(vocabulary_size, width)
        self.position = nn.Embedding(max_length, width)
        self.norm = nn.LayerNorm(width, eps=eps) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.word.weight, std=width**-0.5)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """Embed ids whose first one stands at position ``start``."""
        check_ids(ids, self.position.num_embeddings - start)
        places = torch.arange(start, start + ids.shape[1], device=ids.device)
        return self.dropout(self.norm(self.word(ids) + self.position(places)))


class TextEncoder(Configured):
    """A transformer that reads a sentence in both directions (文本编码器).

    Parameters
    ----------
    vocabulary_size, width, layers, heads, max_length : V, D, blocks, heads, longest L.
    norm_first : pre-norm (ours) or post-norm (BERT).
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        max_length: int = 64,
        hidden: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.width = width
        self.embedding = TextEmbedding(
            vocabulary_size, width, max_length, not norm_first, dropout, eps
        )
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, None, dropout, norm_first, eps)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=eps) if norm_first else nn.Identity()

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tokens:
        """ids (B, L), mask (B, L) True = real → tokens (B, L, D)."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, mask)
        return Tokens(self.norm(x), mask)

    @classmethod
    def from_bert(cls, name_or_folder: str) -> TextEncoder:
        """Our encoder with the weights of a BERT: a folder, or a name on the hub."""
        bert = load_bert(name_or_folder)
        encoder = cls(**bert_arguments(bert.config))
        copy_bert(bert, encoder.embedding, encoder.blocks)
        return encoder.eval()


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


def check_ids(ids: Tensor, longest: int) -> None:
    """Say what is wrong with a batch of token ids, if anything is."""
    if ids.ndim != 2 or ids.is_floating_point():
        raise ValueError(
            f"text must be token ids (B, L); got {tuple(ids.shape)} {ids.dtype}"
        )
    if ids.shape[1] > longest:
        raise ValueError(
            f"text may have {longest} tokens here; got {ids.shape[1]}: cut it with "
            "Collate(max_length=…)"
        )
