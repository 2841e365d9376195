"""Twins: the weights of transformers, copied into the book's own layers.

Each function takes a model of transformers, its folder, or its name on the hub.
"""

from .bert import generation_head_from_bert, text_encoder_from_bert
from .video import video_encoder_from_timesformer, video_encoder_from_videomae
from .vit import image_encoder_from_vit
from .whisper import audio_encoder_from_whisper
