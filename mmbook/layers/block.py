"""The transformer block: attention, a feed-forward network, a norm with each."""

from torch import Tensor, nn
from torch.nn import functional as F

from .attention import Attention, AttentionCache


class FeedForward(nn.Sequential):
    """Linear, GELU, linear: (…, D) → (…, hidden) → (…, D). Chapter 2.1."""

    def __init__(self, width: int, hidden: int | None = None, dropout: float = 0.0):
        hidden = hidden or 4 * width
        super().__init__(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )


class Block(nn.Module):
    """A transformer layer: self-attention, cross-attention to a context, feed-forward.

    ``norm_first=True`` normalises before each part (pre-norm, GPT-2, ViT), False after
    its sum (post-norm, BERT). ``hidden`` is the feed-forward width, 4 D if not given;
    without a ``context_width`` there is no cross-attention. Chapter 2.1.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        context_width: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.norm_first = norm_first
        self.attention = Attention(width, heads, dropout=dropout)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.cross = self.cross_norm = None
        if context_width is not None:
            self.cross = Attention(width, heads, context_width, dropout)
            self.cross_norm = nn.LayerNorm(width, eps=eps)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.feed_forward_norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        cache: AttentionCache | None = None,
        context_cache: AttentionCache | None = None,
    ) -> Tensor:
        """(B, N, D) → (B, N, D); a context that is absent or all masked adds nothing."""

        def attend(h):
            return self.dropout(self.attention(h, None, mask, causal, cache))

        def cross_attend(h):
            found = self.cross(h, context, context_mask, cache=context_cache)
            if context_mask is not None:
                found = found * context_mask.any(1)[:, None, None]
            return self.dropout(found)

        x = self._add(x, self.attention_norm, attend)
        if self.cross is not None and context is not None:
            x = self._add(x, self.cross_norm, cross_attend)
        return self._add(x, self.feed_forward_norm, self.feed_forward)

    def _add(self, x: Tensor, norm, part) -> Tensor:
        return x + part(norm(x)) if self.norm_first else norm(x + part(x))


class SwiGLU(nn.Module):
    r"""A gated feed-forward network (门控前馈网络), (…, D) → (…, D). Chapter 2.1.

    $$W_2\,(\mathrm{silu}(W_g x) \odot W_1 x)$$

    Shazeer 2020, https://arxiv.org/abs/2002.05202.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)"""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class LlamaBlock(nn.Module):
    """A layer of today's language models: RMSNorm, rotary attention, SwiGLU.

    Touvron et al. 2023, https://arxiv.org/abs/2302.13971. Chapter 2.1.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        hidden: int,
        base: float,
        eps: float,
    ):
        super().__init__()
        self.attention = Attention(
            width, heads, bias=False, kv_heads=kv_heads, rotary=base
        )
        self.attention_norm = nn.RMSNorm(width, eps=eps)
        self.feed_forward = SwiGLU(width, hidden)
        self.feed_forward_norm = nn.RMSNorm(width, eps=eps)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        places: Tensor,
        cache: AttentionCache | None,
    ) -> Tensor:
        """(B, N, D) → (B, N, D); each token sees those before it."""
        h = self.attention_norm(x)
        x = x + self.attention(h, None, mask, True, cache, places)
        return x + self.feed_forward(self.feed_forward_norm(x))
