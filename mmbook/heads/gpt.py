"""A decoder-only language model as today's are built; tokens stand before its words."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import DecoderCache, LlamaBlock
from ..layers.words import check_ids
from ..tokens import Tokens, check_width
from .decoder import Decoder


class GPT(Decoder):
    """A causal language model (因果语言模型) in Llama's form. Chapter 2.1.

    Tokens (B, N, D) of other modalities, if there are any, are read as if they were
    words before the first one, as in LLaVA (Liu et al. 2023,
    https://arxiv.org/abs/2304.08485): chapters 2.5 and 5.2. Without them it is a
    language model. ``base`` is that of the rotary positions, ``kv_heads`` the number of
    heads with keys of their own (all), ``hidden`` the width of the SwiGLU (8/3 D).
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        kv_heads: int | None = None,
        hidden: int | None = None,
        max_length: int = 64,
        start: int = 1,
        end: int = 2,
        pad: int = 0,
        base: float = 10_000.0,
        eps: float = 1e-5,
        smoothing: float = 0.0,
    ):
        super().__init__(max_length, start, end, pad, smoothing)
        self.width = width
        self.word = nn.Embedding(vocabulary_size, width)
        nn.init.normal_(self.word.weight, std=width**-0.5)
        shape = width, heads, kv_heads or heads, hidden or 8 * width // 3, base, eps
        self.blocks = nn.ModuleList(LlamaBlock(*shape) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=eps)

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.word, *self.blocks]

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: "PrefixCache | None" = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        check_ids(ids, self.max_length - (cache.length if cache else 0))
        x, real = self.word(ids), torch.ones_like(ids, dtype=torch.bool)
        if tokens is not None and not (cache and cache.length):
            check_width(tokens, self.width)
            x = torch.cat([tokens.values.to(x.dtype), x], 1)  # (B, N + L, D)
            real = torch.cat([tokens.mask, real], 1)
        if cache:
            real = cache.opened(real, len(ids[0]))
        places = (real.cumsum(1) - 1)[:, -x.shape[1] :].clamp(min=0)
        mask = None if real.all() else real
        for number, block in enumerate(self.blocks):
            x = block(x, mask, places, cache.own[number] if cache else None)
        x = self.norm(x[:, -ids.shape[1] :])
        return F.linear(x, self.word.weight)

    def new_cache(self, capacity: int) -> "PrefixCache":
        """An empty cache for ``capacity`` words and what stands before them."""
        return PrefixCache(len(self.blocks), min(capacity, self.max_length))


class PrefixCache(DecoderCache):
    """Keys and values of tokens and of the words behind them; which tokens are real."""

    def __init__(self, layers: int, capacity: int):
        super().__init__(layers, capacity)
        self.before = 0
        self.real: Tensor | None = None

    @property
    def length(self) -> int:
        """The number of words decoded so far."""
        return self.own[0].length - self.before

    def opened(self, real: Tensor, words: int) -> Tensor:
        """Make room for the tokens before the first words; what is real, of all so far."""
        if self.real is None:
            self.before = real.shape[1] - words
            for cache in self.own:
                cache.capacity += self.before
        else:
            real = torch.cat([self.real, real], 1)
        self.real = real
        return real

    def reorder(self, rows: Tensor, context: bool = True) -> None:
        """Put these rows of the batch into their places (beam search)."""
        super().reorder(rows, context)
        if self.real is not None:
            self.real = self.real[rows]
