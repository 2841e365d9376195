"""The outputs of a frozen encoder, computed once and kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..data.corpora import Photographs
from ..data.stacking import stack_images
from .image import PretrainedImageEncoder


def keep_features(
    encoder: PretrainedImageEncoder,
    images: Iterable[Tensor] | Photographs,
    batch_size: int = 32,
    file: str | os.PathLike | None = None,
    key: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Compute the outputs of a frozen encoder once: (pictures, N, C), not projected.

    Parameters
    ----------
    images : photographs, a tensor of pictures, or any (3, H, W) uint8 or float pictures
        one after the other; for a video encoder clips (F, 3, H, W) of one length.
    file : where to keep them as safetensors. If it holds the features of the same
        weights and the same pictures, it is read instead; otherwise it is replaced.
    key : a name for the pictures, needed with ``file`` where they come one by one.
    dtype : float32, or float16 for half the memory.
    """
    if file is None:
        return _compute(encoder, images, batch_size, dtype)
    mark = {
        "encoder": _fingerprint(encoder),
        "pictures": _name_of(images) if key is None else key,
        "dtype": str(dtype),
    }
    features = _read_kept(Path(file), mark)
    if features is None:
        features = _compute(encoder, images, batch_size, dtype)
        _write_kept(Path(file), features, mark)
    return features


@torch.no_grad()
def _compute(encoder, images, batch_size: int, dtype: torch.dtype) -> Tensor:
    if isinstance(images, Photographs):
        images = map(images.pixels, range(len(images.files)))
    device = next(encoder.parameters()).device
    mode, rows, waiting = encoder.training, [], []

    def empty():
        batch = stack_images(waiting).to(device)
        rows.append(encoder.features(batch).to("cpu", dtype))
        waiting.clear()

    encoder.eval()
    for image in images:
        waiting.append(image)
        if len(waiting) == batch_size:
            empty()
    if waiting:
        empty()
    encoder.train(mode)
    if not rows:
        raise ValueError("no pictures to compute features of")
    return torch.cat(rows)


def _read_kept(file: Path, mark: dict[str, str]) -> Tensor | None:
    """The features in a file, if they are those that the mark tells."""
    if not file.is_file():
        return None
    try:
        with safe_open(str(file), "pt") as kept:
            same = kept.metadata() == mark
            return kept.get_tensor("features") if same else None
    except SafetensorError:  # cut off: compute it again
        return None


def _write_kept(file: Path, features: Tensor, mark: dict[str, str]) -> None:
    """Write beside the file and rename: readers see the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        save_file({"features": features.contiguous()}, draft, metadata=mark)
        os.fsync(handle)
        os.replace(draft, file)
    finally:
        os.close(handle)
        Path(draft).unlink(missing_ok=True)


def _name_of(images) -> str:
    if isinstance(images, Photographs):
        return images.fingerprint()
    if isinstance(images, Tensor):
        digest = hashlib.sha256(f"{tuple(images.shape)} {images.dtype}".encode())
        digest.update(images.detach().cpu().contiguous().numpy())
        return digest.hexdigest()[:16]
    raise ValueError(
        "to keep the features of pictures that come one by one in a file, give key=, a "
        "name that tells these pictures from others"
    )


def _fingerprint(encoder: PretrainedImageEncoder) -> str:
    """A short name for the model's weights and what is done to a picture before it."""
    settings = {**encoder.to_config(), "width": None, "trainable": None}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, value in sorted(encoder.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        )
    return digest.hexdigest()[:16]
