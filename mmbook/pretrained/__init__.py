"""Encoders that come through transformers (预训练编码器), and their outputs computed once."""

from .audio import PretrainedAudioEncoder
from .features import keep_features
from .image import PretrainedImageEncoder
from .text import PretrainedTextEncoder
from .video import PretrainedVideoEncoder
