"""Encoders: one modality in, tokens out; from scratch and pre-trained."""

from .audio import AudioEncoder, ConvAudioEncoder
from .image import ConvImageEncoder, PatchImageEncoder
from .text import TextEncoder
from .video import FrameVideoEncoder, TubeletVideoEncoder

__all__ = [
    "AudioEncoder",
    "ConvAudioEncoder",
    "ConvImageEncoder",
    "FrameVideoEncoder",
    "PatchImageEncoder",
    "TextEncoder",
    "TubeletVideoEncoder",
]
