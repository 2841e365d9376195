"""A decoder in which picture and words are one stream (Transformer-XL 生成头)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.transformer_xl import TransformerXL
from ..layers.words import check_ids
from ..tokens import Tokens, check_width
from .decoder import Decoder, StreamCache


class TransformerXLGenerationHead(Decoder):
    """Picture and words are one stream that looks back (Transformer-XL 生成头).

    A :class:`mmbook.fusion.TransformerXL` reads tokens, then words, with logits on top.
    While words are made, the last ``memory`` of the stream are kept. Chapter 3.2.
    """

    def __init__(
        self,
        vocabulary_size: int,
        context_width: int,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        memory: int = 1024,
        dropout: float = 0.0,
        **sentence,
    ):
        super().__init__(**sentence)
        self.context_width = context_width
        self.word = nn.Embedding(vocabulary_size, width)
        nn.init.normal_(self.word.weight, std=width**-0.5)
        widths = {"context": context_width, "text": width}
        self.stream = TransformerXL(widths, width, layers, heads, memory, dropout)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.word, self.stream]

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: StreamCache | None = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        cache = cache or StreamCache()
        check_ids(ids, self.max_length - cache.length)
        parts = {"text": Tokens(self.word(ids))}
        first = torch.zeros_like(ids[:, :1])  # where the words begin in each row
        if tokens is not None and cache.memory is None:  # the picture comes first, once
            check_width(tokens, self.context_width)
            count, own = tokens.mask.shape[1], self.stream.memory
            if (needed := count + self.max_length) > own:
                said = f"{count} tokens and {self.max_length} words: memory={needed}"
                raise ValueError(f"a memory of {own} does not hold {said}")
            parts["context"] = tokens
            first = tokens.mask.sum(1, keepdim=True)  # padding stands at the very end
        out, cache.memory = self.stream.stream(parts, cache.memory)
        cache.length += ids.shape[1]
        places = first + torch.arange(ids.shape[1], device=ids.device)  # (B, L)
        words = out.values.gather(1, places[..., None].expand(-1, -1, out.width))
        return F.linear(words, self.word.weight, self.bias)
