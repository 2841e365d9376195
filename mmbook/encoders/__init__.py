"""Encoders: one modality in, tokens out; from scratch and pre-trained."""

from .image import ConvImageEncoder, PatchImageEncoder
from .text import TextEncoder

__all__ = ["ConvImageEncoder", "PatchImageEncoder", "TextEncoder"]
