"""From items to batches: the dictionary of tensors that every model of the book takes.

image (B, 3, H, W) float in [0, 1] · text (B, L) ids with text_mask (B, L) bool
labels (B, L) ids with −100 at padding, or (B,) class numbers
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
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
    """

    def __init__(self, tokenizer=None, max_length: int = 64, pad_to: int | None = None):
        self.tokenizer, self.max_length, self.pad_to = tokenizer, max_length, pad_to

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
            words = [w for w in text.split() if w.lower() not in tokenizer.get_vocab()]
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
