"""Twins: weights of transformers (model, folder or name), in the book's own layers."""

from .bert import generation_head_from_bert, text_encoder_from_bert
from .llama import gpt_from_llama
from .video import video_encoder_from_timesformer, video_encoder_from_videomae
from .vit import image_encoder_from_vit
from .whisper import audio_encoder_from_whisper
