"""Items become one batch: stacked, padded and masked."""

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor

from ..tokens import IGNORED
from .sentences import end_token, token_ids
from .stacking import (
    stack_audio,
    stack_features,
    stack_images,
    stack_labels,
    stack_videos,
)

KNOWN = ("image", "video", "audio", "text", "caption", "label")
BOOKKEEPING = ("index", "captions", "answer", "speaker")


class Collate:
    """Put items into one batch: what an item may hold, and what it becomes.

    ============  ==========================================  =======================
    image         (3, H, W) uint8, or float in [0, 1]         image (B, 3, H, W)
    video         (F, 3, H, W) in the same ways               video (B, F, 3, H, W)
    audio         a waveform (S,), float in [−1, 1]           audio (B, S)
    text          a string to read, with special tokens       text (B, L)
    caption       a string to say, with the end token         labels (B, L)
    label         a class number                              labels (B,)
    ============  ==========================================  =======================

    Lengths may differ: there are ``audio_mask`` (B, S), ``text_mask`` and, if clips
    were filled up, ``video_mask`` (B, F). Any modality may be features (B, N, C) of
    :func:`mmbook.pretrained.keep_features`. ``index``, ``captions``, ``answer``,
    ``speaker`` and what is to ``ignore`` are left out; others are an error. Strings
    need a fast ``tokenizer`` of transformers, and are cut to ``max_length`` tokens,
    special ones included. With ``pad_to`` all batches have this length, as compilation
    wants; otherwise that of the longest. Chapter 5.2.
    """

    def __init__(
        self,
        tokenizer=None,
        max_length: int = 64,
        pad_to: int | None = None,
        ignore: Sequence[str] = (),
    ):
        self.tokenizer, self.pad_to = tokenizer, pad_to
        self.max_length = length = min(max_length, pad_to or max_length)
        if length < 2:
            raise ValueError(f"max_length and pad_to must be 2 or more; got {length}")
        self.ignore = {*BOOKKEEPING, *ignore}

    def __call__(self, items: Sequence[dict]) -> dict[str, Tensor]:
        batch = {}
        for name in self._names(items):
            values = [item[name] for item in items]
            if name == "label":
                batch["labels"] = stack_labels(values)
            elif name == "caption":
                batch["labels"] = self._said(values)
            else:
                batch[name], mask = self._stacked(name, values)
                batch |= {} if mask is None else {f"{name}_mask": mask}
        return batch

    def _names(self, items: Sequence[dict]) -> list[str]:
        """What the items hold, in the order of the table."""
        if not items:
            raise ValueError("no items to put into a batch: the list is empty")
        kinds = {frozenset(item.keys() - self.ignore) for item in items}
        if len(kinds) > 1:
            shown = " | ".join(sorted(", ".join(sorted(kind)) for kind in kinds))
            raise ValueError(f"items of one batch must hold the same; got {shown}")
        (held,) = kinds
        for name in sorted(held.difference(KNOWN)):
            close = difflib.get_close_matches(name, KNOWN, 1)
            hint = f" (is it {close[0]!r}?)" if close else ""
            raise ValueError(
                f"{name!r} is not known here{hint}: items hold {', '.join(KNOWN)}; "
                f"Collate(ignore=({name!r},)) leaves it out"
            )
        if held >= {"caption", "label"}:
            raise ValueError("a caption and a label both become labels: ignore one")
        return [name for name in KNOWN if name in held]

    def _stacked(self, name: str, values: list) -> tuple[Tensor, Tensor | None]:
        """One tensor, and which of its entries are real; None means that all are."""
        if getattr(values[0], "ndim", None) == 2 and name in ("image", "text"):
            stacked, mask = stack_features(values)
            return stacked, mask if name == "text" or not mask.all() else None
        if name == "image":
            return stack_images(values), None
        if name == "video":
            return stack_videos(values)
        if name == "audio":
            return stack_audio(values)
        return self._read(values)

    def _read(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids (B, L), and which are real; padding is the tokenizer's, or zero."""
        rows = token_ids(self.tokenizer, texts, self.max_length, special=True)
        ids, real = self._filled(rows)
        return ids.masked_fill(~real, self.tokenizer.pad_token_id or 0), real

    def _said(self, texts: list[str]) -> Tensor:
        """Token ids (B, L) with the end token; −100 where there is none."""
        rows = token_ids(self.tokenizer, texts, self.max_length - 1)
        for text, row in zip(texts, rows, strict=True):
            if not row:
                raise ValueError(f"a caption must have at least one word; got {text!r}")
        end = end_token(self.tokenizer)
        ids, real = self._filled([[*row, end] for row in rows])
        return ids.masked_fill(~real, IGNORED)

    def _filled(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Rows of ids as (B, L), and which are real; L is one at least."""
        lengths = torch.tensor([len(row) for row in rows])
        length = self.pad_to or max(1, int(lengths.max()))
        real = torch.arange(length) < lengths[:, None]
        ids = torch.zeros(real.shape, dtype=torch.long)
        ids[real] = torch.tensor([n for row in rows for n in row], dtype=torch.long)
        return ids, real
