"""From items to batches: the dictionary of tensors that every model of the book takes.

image (B, 3, H, W) float in [0, 1] · text (B, L) ids with text_mask (B, L) bool
video (B, F, 3, H, W) float in [0, 1], with video_mask (B, F) bool if some are shorter
audio (B, S) float in [−1, 1] with audio_mask (B, S) bool
labels (B, L) ids with −100 at padding, or (B,) class numbers
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from .language import describe
from .render import render
from .scenes import Scene

IGNORED = -100  # the label that no loss counts; the convention of PyTorch


class CaptionedScenes(Dataset):
    """Scenes with their pictures and captions, rendered once when it is made.

    Items are ``{"image": (3, H, W) uint8, "caption": str, "index": int}``.

    Parameters
    ----------
    scenes : what the pictures show; kept as ``.scenes`` for exact checking.
    style : of the captions, see :func:`mmbook.data.language.describe`.
    size, noise, seed : of the pictures, see :func:`mmbook.data.render.render`.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        style: str = "canonical",
        size: int = 48,
        noise: float = 0.02,
        seed: int = 0,
    ):
        if not scenes:
            raise ValueError("no scenes: the list is empty")
        self.scenes = list(scenes)
        self.captions = [
            describe(scene, style, seed + index) for index, scene in enumerate(scenes)
        ]
        chunks = [
            (render(self.scenes[i : i + 256], size, noise, seed + i) * 255)
            .round()
            .byte()
            for i in range(0, len(self.scenes), 256)
        ]
        self.images = torch.cat(chunks)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict:
        return {
            "image": self.images[index],
            "caption": self.captions[index],
            "index": int(index),
        }

    @property
    def references(self) -> list[list[str]]:
        """The true captions of each picture: here one."""
        return [[caption] for caption in self.captions]

    def picture(self, number: int) -> Tensor:
        """What the model is shown of one picture: its pixels, (3, H, W) uint8."""
        return self.images[number]

    pixels = picture


class Collate:
    """Put items into one batch.

    What an item may hold, and what it becomes:

    ============  ==========================================  =======================
    image         (3, H, W) uint8, or float in [0, 1], or     image (B, 3, H, W)
                  kept features (N, C)                        or (B, N, C) float
    video         (F, 3, H, W) in the same ways; clips may    video (B, F, 3, H, W),
                  have different numbers of frames            then video_mask (B, F)
    audio         a waveform (S,) float in [−1, 1] of any     audio, audio_mask (B, S)
                  length, or kept features (N, C)             or (B, N, C) and (B, N)
    text          a sentence that the model reads             text, text_mask (B, L)
    caption       a sentence that the model shall say         labels (B, L)
    label         a class number                              labels (B,)
    ============  ==========================================  =======================

    Parameters
    ----------
    tokenizer : a fast tokenizer of transformers; needed for sentences only.
    max_length : the most tokens of a sentence, the end token included.
    pad_to : pad every batch to this length: shapes stay the same, as compilation wants.
        None pads to the longest of the batch.
    pad_audio_to : the same for sound, in samples.
    """

    def __init__(
        self,
        tokenizer=None,
        max_length: int = 64,
        pad_to: int | None = None,
        pad_audio_to: int | None = None,
    ):
        self.tokenizer, self.max_length = tokenizer, max_length
        self.pad_to, self.pad_audio_to = pad_to, pad_audio_to

    def __call__(self, items: Sequence[dict]) -> dict[str, Tensor]:
        if not items:
            raise ValueError("no items to put into a batch: the list is empty")
        known, batch = items[0].keys(), {}
        if any(item.keys() != known for item in items):
            kinds = sorted({", ".join(sorted(item)) for item in items})
            raise ValueError(
                f"items of one batch must hold the same; got {' | '.join(kinds)}"
            )
        if "image" in known:
            batch["image"] = stack_images([item["image"] for item in items])
        if "video" in known:
            batch["video"], mask = stack_videos([item["video"] for item in items])
            batch |= {} if mask is None else {"video_mask": mask}
        if "audio" in known:
            waves = [item["audio"] for item in items]
            batch["audio"], batch["audio_mask"] = stack_audio(waves, self.pad_audio_to)
        if "text" in known:
            ids = self._ids([item["text"] for item in items], end=False)
            batch["text"], batch["text_mask"] = ids.clamp(min=0), ids != IGNORED
            batch["text"][~batch["text_mask"]] = self.tokenizer.pad_token_id
        if "caption" in known:
            batch["labels"] = self._ids([item["caption"] for item in items], end=True)
        elif "label" in known:
            batch["labels"] = torch.tensor([item["label"] for item in items])
        return batch

    def _ids(self, texts: list[str], end: bool) -> Tensor:
        """Token ids (B, L), with −100 where there is no token."""
        if self.tokenizer is None:
            raise ValueError("these items hold sentences: give Collate a tokenizer")
        rows = token_ids(self.tokenizer, texts, self.max_length - end)
        if end:
            stop = end_token(self.tokenizer)
            rows = [[*row, stop] for row in rows]
        length = max(self.pad_to or 0, *(len(row) for row in rows))
        ids = torch.full((len(rows), length), IGNORED)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
        return ids


def stack_images(images: Sequence[Tensor]) -> Tensor:
    """Pictures (3, H, W) uint8 or float, or kept features (N, C), to one float batch."""
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) != 1:
        raise ValueError(
            f"images of one batch must have one shape; got {sorted(shapes)}: resize them"
        )
    stacked = torch.stack(list(images))
    if stacked.dtype == torch.uint8:
        return stacked.float() / 255
    return stacked.float()


def stack_videos(videos: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Clips (F, 3, H, W) uint8 or float to one float batch (B, F, 3, H, W).

    Shorter clips are filled up with zeros; the mask (B, F) is True for real frames. It is
    None if nothing was filled up. Kept features (N, C) are treated in the same way.
    """
    for video in videos:
        if video.ndim not in (2, 4) or not len(video):
            raise ValueError(
                "a video must be (F, 3, H, W) with one frame or more, or kept features "
                f"(N, C); got {tuple(video.shape)}"
            )
    shapes = {tuple(video.shape[1:]) for video in videos}
    if len(shapes) != 1:
        raise ValueError(
            f"frames of one batch must have one shape; got {sorted(shapes)}: resize them"
        )
    lengths = torch.tensor([len(video) for video in videos])
    floats = [v.float() / (255 if v.dtype == torch.uint8 else 1) for v in videos]
    stacked = nn.utils.rnn.pad_sequence(floats, batch_first=True)
    mask = torch.arange(stacked.shape[1]) < lengths[:, None]  # (B, F)
    return stacked, None if mask.all() else mask


def stack_audio(
    waves: Sequence[Tensor], pad_to: int | None = None
) -> tuple[Tensor, Tensor]:
    """Sounds (S,) of any length, or kept features (N, C), to one batch and its mask.

    Shorter ones are filled up with zeros, which is silence. Gives back (B, S) float and
    (B, S) bool, True where the sound is real.

    Raises
    ------
    ValueError
        If a sound is not float, has no samples, or is longer than ``pad_to``.
    """
    for wave in waves:
        _check_wave(wave)
    lengths = torch.tensor([len(wave) for wave in waves])
    longest = int(lengths.max())
    if pad_to is not None and longest > pad_to:
        raise ValueError(
            f"a sound of {longest} samples is longer than the {pad_to} to pad to: cut "
            "it, or pad to more"
        )
    stacked = nn.utils.rnn.pad_sequence(list(waves), batch_first=True).float()
    places = torch.arange(pad_to or longest)
    missing = stacked.new_zeros(len(waves), len(places) - longest, *stacked.shape[2:])
    return torch.cat([stacked, missing], dim=1), places < lengths[:, None]


def _check_wave(wave: Tensor) -> None:
    if not wave.is_floating_point():
        raise ValueError(
            f"audio must be float in [−1, 1]; got {wave.dtype}: divide it by its "
            "largest value, 32768 for int16"
        )
    if wave.ndim not in (1, 2) or not len(wave):
        raise ValueError(
            "audio must be a waveform (S,) of one channel, or kept features (N, C); "
            f"got {tuple(wave.shape)}"
        )


def token_ids(tokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids without special tokens, cut at ``max_length``.

    Raises
    ------
    ValueError
        If a tokenizer with one token per word meets a word that it does not know. (A
        tokenizer of word pieces knows how to spell any word.)
    """
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    for text, row in zip(texts, rows, strict=True):
        if not row:
            raise ValueError(f"a sentence must have at least one word; got {text!r}")
        if unknown is not None and unknown in row and _one_token_per_word(tokenizer):
            read = tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True
            )
            pairs = zip(read["input_ids"], read["offset_mapping"], strict=True)
            words = [text[start:end] for n, (start, end) in pairs if n == unknown]
            raise ValueError(
                f"unknown words {', '.join(map(repr, words))} in {text!r}: the "
                "tokenizer's vocabulary has only the words it was made with"
            )
    return [row[:max_length] for row in rows]


def start_token(tokenizer) -> int:
    """The id that opens a sentence: bos, or what BERT calls cls."""
    return _first(tokenizer, "bos_token_id", "cls_token_id")


def end_token(tokenizer) -> int:
    """The id that ends a sentence: eos, or what BERT calls sep."""
    return _first(tokenizer, "eos_token_id", "sep_token_id")


def _first(tokenizer, *names: str) -> int:
    for name in names:
        if getattr(tokenizer, name, None) is not None:
            return getattr(tokenizer, name)
    raise ValueError(f"the tokenizer has none of {', '.join(names)}")


def _one_token_per_word(tokenizer) -> bool:
    core = getattr(tokenizer, "backend_tokenizer", None)
    return type(getattr(core, "model", None)).__name__ == "WordLevel"
