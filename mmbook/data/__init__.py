"""Data (数据): batches, masks, and the files that people have."""

from .augment import add_noise, change_speed
from .collate import Collate
from .masking import mask_patches, mask_words
from .sentences import end_token, start_token, token_ids
from .stacking import stack_audio, stack_images, stack_videos
