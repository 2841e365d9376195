"""Heads (任务头): what a model does with its tokens. One file a head."""

from .causal_lm import CausalLMHead
from .classification import ClassificationHead
from .conv_generation import ConvGenerationHead
from .ctc import CTCHead
from .decoder import Decoder
from .embedding import EmbeddingHead
from .flamingo import FlamingoHead
from .generation import GenerationHead
from .gpt import GPT
from .masked_word import MaskedWordHead
from .shared_space import SharedSpaceHead
from .transformer_xl import TransformerXLGenerationHead
