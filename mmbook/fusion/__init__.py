"""Fusion (融合): tokens of several modalities in, one sequence of tokens out.

One file a method, from simple to rich. A missing modality is not an error, padding
changes nothing, and a row in which nothing is real has no real token afterwards.
"""

from .base import count_operations
from .bilinear import Bilinear
from .bottleneck import Bottleneck
from .co_attention import CoAttention
from .concatenation import Concatenation
from .cross_attention import CrossAttention
from .film import FiLM
from .gated import Gated
from .gated_cross_attention import GatedCrossAttention
from .late import LateFusion
from .low_rank import LowRankTensor
from .merged_attention import MergedAttention
from .multimodal_convolution import MultimodalConvolution
from .product import Product
from .projector import Projector
from .q_former import QFormer
from .resampler import PerceiverResampler
from .sum import Sum
from .transformer_xl import TransformerXL
from .vector_concatenation import VectorConcatenation

FUSIONS = {
    "concatenation": Concatenation,
    "vector_concatenation": VectorConcatenation,
    "late": LateFusion,
    "sum": Sum,
    "product": Product,
    "gated": Gated,
    "bilinear": Bilinear,
    "low_rank": LowRankTensor,
    "film": FiLM,
    "cross_attention": CrossAttention,
    "gated_cross_attention": GatedCrossAttention,
    "merged_attention": MergedAttention,
    "co_attention": CoAttention,
    "bottleneck": Bottleneck,
    "resampler": PerceiverResampler,
    "q_former": QFormer,
    "projector": Projector,
    "multimodal_convolution": MultimodalConvolution,
    "transformer_xl": TransformerXL,
}


def fusion(name: str, **arguments):
    """Make the fusion with this name in the table. Chapter 2.5."""
    if name not in FUSIONS:
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}; got {name!r}")
    return FUSIONS[name](**arguments)
