"""The outputs of a frozen encoder, computed once and kept (预计算特征)."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ..data.captions import Pictures
from ..data.collate import Collate
from ..models import eval_mode
from .base import Pretrained


@torch.no_grad()
def keep_features(
    encoder: nn.Module,
    data: Any,
    modality: str = "image",
    batch_size: int = 32,
    dtype: torch.dtype = torch.float32,
    collate: Collate | None = None,
) -> Tensor | list[Tensor]:
    """Compute the outputs of a frozen encoder once: (items, N, C), or a list of (N, C).

    They stand in an item in the place of the input, ``dict(item, text=features[n])``: a
    pretrained encoder takes them back, before its linear layer; of others,
    :class:`.PrecomputedTokens`. ``data`` are items or values. Chapters 2.4 and 5.2.
    """
    read = encoder.features if isinstance(encoder, Pretrained) else encoder
    device = next(encoder.parameters(), torch.empty(0)).device
    rows, values = list[Tensor](), _values(data, modality)
    with eval_mode(encoder):
        while some := list(islice(values, batch_size)):
            batch = (collate or Collate())([{modality: value} for value in some])
            mask = batch.get(f"{modality}_mask")
            mask = None if mask is None else mask.to(device)
            tokens = read(batch[modality].to(device), mask)
            pairs = zip(tokens.values.to("cpu", dtype), tokens.mask.cpu(), strict=True)
            rows += [row[real] for row, real in pairs]
    if not rows:
        raise ValueError("nothing to compute features of: no items")
    return torch.stack(rows) if len({len(row) for row in rows}) == 1 else rows


def _values(data, modality: str) -> Iterator:
    """What the items hold of one modality, item by item."""
    if isinstance(data, Pictures) and modality == "image":
        data = map(data.pixels, range(len(data.files)))
    elif hasattr(data, "__getitem__"):  # a data set need not be iterable
        data = map(data.__getitem__, range(len(data)))
    for item in data:
        if isinstance(item, dict) and modality not in item:
            raise ValueError(f"items hold {', '.join(item)}; got modality={modality!r}")
        yield item[modality] if isinstance(item, dict) else item
