"""Encoders: one modality in, tokens out."""

from .audio import AudioEncoder, ConvAudioEncoder, SpectrogramEncoder
from .augment import SpectrogramAugment
from .image import ConvImageEncoder, PatchImageEncoder
from .kept import PrecomputedTokens
from .text import TextEncoder
from .video import FrameVideoEncoder, TubeletVideoEncoder
