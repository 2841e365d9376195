"""Layers (层) that all parts share: attention and its cache, the block, words, positions."""

from .attention import Attention, AttentionCache, DecoderCache
from .block import Block, FeedForward, LlamaBlock, SwiGLU
from .positions import rotate, sinusoids
from .words import TextEmbedding
