"""Twins: the weights of transformers, copied into the book's own layers."""

from .bert import (
    bert_arguments,
    copy_bert,
    copy_bert_attention,
    generation_head_from_bert,
    load_bert,
    load_masked_bert,
    masked_word_head_from_bert,
    text_encoder_from_bert,
)
from .video import (
    copy_timesformer,
    copy_videomae,
    timesformer_arguments,
    videomae_arguments,
)
from .vit import image_encoder_from_vit
from .whisper import audio_encoder_from_whisper, copy_whisper, load_whisper
