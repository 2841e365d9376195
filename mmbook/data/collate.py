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

MODALITIES = ("image", "video", "audio", "text")
KNOWN = (*MODALITIES, "caption", "label")
BOOKKEEPING = ("index", "captions", "answer", "speaker")


class Collate:
    """Put items into one batch.

    What an item may hold, and what it becomes:

    ============  ==========================================  =======================
    image         (3, H, W) uint8, or float in [0, 1]         image (B, 3, H, W)
    video         (F, 3, H, W) in the same ways; clips may    video (B, F, 3, H, W),
                  have different numbers of frames            then video_mask (B, F)
    audio         a waveform (S,) float in [−1, 1] of any     audio, audio_mask (B, S)
                  length
    text          a string that the model reads, with the     text, text_mask (B, L)
                  tokenizer's own special tokens
    caption       a string that the model shall say, with     labels (B, L)
                  the end token behind it
    label         a class number                              labels (B,)
    ============  ==========================================  =======================

    Any modality may also be features (N, C) of a frozen encoder (see
    :func:`mmbook.pretrained.keep_features`): (B, N, C), and a mask (B, N). An empty text
    is a row without a real token, or with special ones only. ``index``, ``captions``,
    ``answer`` and ``speaker`` are left out; any other name is an error.

    Parameters
    ----------
    tokenizer : a fast tokenizer of transformers; needed for strings only.
    max_length : the most tokens of a string, special ones and the end included.
    pad_to : give every batch this length, to which longer strings are cut: shapes stay
        the same, as compilation wants. None pads to the longest of the batch.
    pad_audio_to : the same for sound, in samples; but sound is not cut.
    ignore : more names to leave out.
    """

    def __init__(
        self,
        tokenizer=None,
        max_length: int = 64,
        pad_to: int | None = None,
        pad_audio_to: int | None = None,
        ignore: Sequence[str] = (),
    ):
        self.tokenizer, self.pad_to, self.pad_audio_to = tokenizer, pad_to, pad_audio_to
        self.max_length = min(max_length, pad_to or max_length)
        if self.max_length < 2:
            raise ValueError(
                f"max_length and pad_to must be 2 or more; got {self.max_length}"
            )
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
                f"{name!r} is not known here{hint}: items hold {', '.join(KNOWN)}; if "
                f"the model does not need it, Collate(ignore=({name!r},)) leaves it out"
            )
        if held >= {"caption", "label"}:
            raise ValueError(
                "a caption and a label both become labels: leave one of them out, as "
                "with Collate(ignore=('caption',))"
            )
        return [name for name in KNOWN if name in held]

    def _stacked(self, name: str, values: list) -> tuple[Tensor, Tensor | None]:
        """One tensor, and which of its entries are real; None means that all are."""
        if getattr(values[0], "ndim", None) == 2 and name in ("image", "text"):
            stacked, mask = stack_features(
                values, self.pad_to if name == "text" else None
            )
            return stacked, mask if name == "text" or not mask.all() else None
        if name == "image":
            return stack_images(values), None
        if name == "video":
            return stack_videos(values)
        if name == "audio":
            return stack_audio(values, self.pad_audio_to)
        return self._read(values)

    def _read(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids (B, L), and which are real; padding is the tokenizer's, or zero."""
        rows = token_ids(self._asked(), texts, self.max_length, special=True)
        ids, real = self._filled(rows)
        return ids.masked_fill(~real, self.tokenizer.pad_token_id or 0), real

    def _said(self, texts: list[str]) -> Tensor:
        """Token ids (B, L) with the end token; −100 where there is none."""
        end = end_token(self._asked())
        rows = token_ids(self.tokenizer, texts, self.max_length - 1)
        for text, row in zip(texts, rows, strict=True):
            if not row:
                raise ValueError(f"a caption must have at least one word; got {text!r}")
        ids, real = self._filled([[*row, end] for row in rows])
        return ids.masked_fill(~real, IGNORED)

    def _asked(self):
        if self.tokenizer is None:
            raise ValueError("these items hold strings: give Collate a tokenizer")
        return self.tokenizer

    def _filled(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Rows of ids as (B, L), and which are real; L is one at least."""
        lengths = torch.tensor([len(row) for row in rows])
        length = self.pad_to or max(1, int(lengths.max()))
        real = torch.arange(length) < lengths[:, None]
        ids = torch.zeros(real.shape, dtype=torch.long)
        ids[real] = torch.tensor([n for row in rows for n in row], dtype=torch.long)
        return ids, real
