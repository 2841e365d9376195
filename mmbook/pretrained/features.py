"""The outputs of a frozen encoder, computed once and kept (预计算特征)."""

import functools
import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..data.captions import Pictures
from ..data.collate import Collate
from .base import Pretrained


def keep_features(
    encoder: nn.Module,
    data: Any,
    modality: str = "image",
    batch_size: int = 32,
    file: str | os.PathLike | None = None,
    dtype: torch.dtype = torch.float32,
    pool: bool = False,
    collate: Collate | None = None,
) -> Tensor | list[Tensor]:
    """Compute the outputs of a frozen encoder once: (items, N, C).

    Where items have different numbers of tokens, as sentences and sounds do, it is a
    list of (N, C) without padding. Features stand in an item in the place of the input:
    ``dict(item, text=features[number])``. A pretrained encoder takes them back, for they
    are its outputs before the linear layer; for any other encoder there is
    :class:`~mmbook.encoders.PrecomputedTokens`. Chapters 2.4 and 5.2.

    Parameters
    ----------
    data : items of a data set, or the values themselves: pictures, clips, waveforms,
        strings. Of :class:`~mmbook.data.Photographs` and the like each picture once.
    file : where to keep them as safetensors. If it holds those of the same weights, data
        and settings, it is read instead; otherwise it is replaced.
    dtype : float32, or float16 for half the memory.
    pool : keep only the mean of the tokens, N = 1.
    collate : makes the batches; strings need ``Collate(tokenizer)``.
    """
    if file and isinstance(data, Iterator):
        data = list(data)  # it is read twice
    batches = functools.partial(
        _batches, data, modality, batch_size, collate or Collate()
    )
    if file is None:
        return _joined(_computed(encoder, batches(), dtype, pool))
    known = isinstance(data, Pictures) and modality == "image"
    parts = [[data.fingerprint()]] if known else batches()
    mark = {"mmbook": _fingerprint(encoder, parts, modality, dtype, pool)}
    rows = _read(Path(file), mark)
    if rows is None:
        rows = _computed(encoder, batches(), dtype, pool)
        _write(Path(file), rows, mark)
    return _joined(rows)


def _joined(rows: list[Tensor]) -> Tensor | list[Tensor]:
    return torch.stack(rows) if len({len(row) for row in rows}) == 1 else rows


def _batches(data, modality: str, batch_size: int, collate) -> Iterator[tuple]:
    """Batches of one modality, (values, mask or None)."""
    if isinstance(data, Pictures) and modality == "image":
        data = map(data.pixels, range(len(data.files)))
    elif hasattr(data, "__getitem__"):  # a data set need not be iterable
        data = map(data.__getitem__, range(len(data)))
    values = (_value(item, modality) for item in data)
    while some := list(itertools.islice(values, batch_size)):
        batch = collate([{modality: value} for value in some])
        yield batch[modality], batch.get(f"{modality}_mask")


def _value(item, modality: str):
    if not isinstance(item, dict):
        return item
    if modality not in item:
        raise ValueError(f"items hold {', '.join(item)}; got modality={modality!r}")
    return item[modality]


@torch.no_grad()
def _computed(encoder, batches, dtype: torch.dtype, pool: bool) -> list[Tensor]:
    """The features of each item, (N, C), without padding."""
    read = encoder.features if isinstance(encoder, Pretrained) else encoder
    device = next(encoder.parameters(), torch.empty(0)).device
    mode, rows = encoder.training, list[Tensor]()
    encoder.eval()
    for values, mask in batches:
        tokens = read(values.to(device), None if mask is None else mask.to(device))
        if pool:
            rows += tokens.pooled()[:, None].to("cpu", dtype)
        else:
            pairs = zip(tokens.values.to("cpu", dtype), tokens.mask.cpu(), strict=True)
            rows += [values[real] for values, real in pairs]
    encoder.train(mode)
    if not rows:
        raise ValueError("nothing to compute features of: no items")
    return rows


def _read(file: Path, mark: dict[str, str]) -> list[Tensor] | None:
    """The features in a file, if they are those that the mark tells."""
    if not file.is_file():
        return None
    try:
        with safe_open(str(file), "pt") as kept:
            if kept.metadata() != mark:
                return None
            features = kept.get_tensor("features").clone()  # not of the open file
            return list(features.split(kept.get_tensor("lengths").tolist()))
    except SafetensorError:  # cut off: compute it again
        return None


def _write(file: Path, rows: list[Tensor], mark: dict[str, str]) -> None:
    """Write beside the file and rename: readers see the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"features": torch.cat(rows), "lengths": torch.tensor([*map(len, rows)])}
    with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as new:
        save_file(tensors, Path(new, file.name), mark)
        os.replace(Path(new, file.name), file)


def _fingerprint(encoder: Any, data: Iterable, *settings) -> str:
    """A short name of weights, data and settings: any other gives another."""
    body, config = encoder, getattr(encoder, "to_config", encoder.__repr__)()
    if isinstance(encoder, Pretrained):  # what stands behind the features is left out
        body, config = encoder.model, {**config, "width": None, "trainable": None}
    digest = hashlib.sha256(f"{config} {settings}".encode())
    for part in itertools.chain(*data, *body.state_dict().items()):
        if isinstance(part, Tensor):
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            flat = part.detach().cpu().contiguous().view(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        else:
            digest.update(str(part).encode())
    return digest.hexdigest()[:16]
