"""Encoders: one modality in, tokens out; from scratch and pre-trained."""

from .audio import AudioEncoder, ConvAudioEncoder, SpectrogramEncoder
from .augment import SpectrogramAugment
from .image import ConvImageEncoder, PatchImageEncoder
from .text import TextEncoder
from .video import FrameVideoEncoder, TubeletVideoEncoder
