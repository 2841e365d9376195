"""Fusion (融合): tokens of several modalities in, one sequence of tokens out.

One file a method, one line a method in the table below. A fusion takes a dictionary of
any of its modalities; a missing one is not an error.
"""

from .concatenation import Concatenation
from .cross_attention import CrossAttention

FUSIONS = {
    "concatenation": Concatenation,
    "cross_attention": CrossAttention,
}


def fusion(name: str, **arguments):
    """Make the fusion with this name in the table."""
    if name not in FUSIONS:
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}; got {name!r}")
    return FUSIONS[name](**arguments)


__all__ = ["FUSIONS", "Concatenation", "CrossAttention", "fusion"]
