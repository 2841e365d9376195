from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..tokens import IGNORED
from .sentences import end_token, token_ids
from .stacking import stack_audio, stack_images, stack_videos


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
