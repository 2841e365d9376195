"""Data (数据): batches, masks, and the files that people have."""

from .augment import add_noise, change_speed
from .captions import Photographs, Pictures, captioned_photographs
from .collate import Collate
from .files import read_image, resample, split_numbers, square
from .folders import load_folder
from .masking import mask_patches, mask_words
from .questions import EasyVQA, LabelledPictures, easy_vqa
from .recordings import Recordings, read_wave, spoken_digits
from .sentences import end_token, start_token
from .stacking import stack_audio, stack_images, stack_videos
from .tokenizer import train_tokenizer
