"""Pre-trained encoders through transformers, behind the signature of our own.

A name is a local folder or a model on the Hugging Face hub. What goes in is the book's
batch (pictures in [0, 1]); resizing and normalisation, as the checkpoint expects them,
happen inside.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel

from ..configuration import Configured, find_folder
from ..tokens import Tokens
from .image import check_image


class Pretrained(Configured):
    """What the two have in common: a transformers model inside, frozen or not.

    Parameters
    ----------
    config : of the transformers model, as a dictionary.
    width : D of the tokens; None keeps the model's own width.
    trainable : False freezes the model: it stays in eval mode and gets no gradient. Batch
        norm keeps its statistics in both cases.
    """

    def __init__(self, config: dict, width: int | None = None, trainable: bool = False):
        super().__init__()
        made = AutoConfig.for_model(
            **{k: v for k, v in config.items() if v is not None}
        )
        self.model = AutoModel.from_config(made)
        own = own_width(made)
        self.project = nn.Identity() if width is None else nn.Linear(own, width)
        self.width, self.trainable = width or own, trainable
        self.model.requires_grad_(trainable)

    def train(self, mode: bool = True):
        """As usual, but what is frozen, and batch norm, stay as they are."""
        super().train(mode)
        for module in self.model.modules():
            if not self.trainable or isinstance(
                module, nn.modules.batchnorm._BatchNorm
            ):
                module.training = False
        return self

    @classmethod
    def from_pretrained(cls, name_or_folder, width=None, trainable=False, **more):
        """A checkpoint of transformers, or what :meth:`save_pretrained` wrote.

        The weights are loaded in float32 whatever the checkpoint has.
        """
        name = str(name_or_folder)
        if Path(name).is_dir():
            folder = find_folder(name, needs="config.json")
            saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if saved.get("class") == cls.__name__:
                return super().from_pretrained(folder)
        source = AutoModel.from_pretrained(name, dtype=torch.float32)
        config = _plain(source.config.to_dict())
        encoder = cls(config, width=width, trainable=trainable, **more)
        encoder.model.load_state_dict(source.state_dict())
        return encoder.eval()


class PretrainedImageEncoder(Pretrained):
    """A pre-trained image model: each place of its last map, or each patch, is a token.

    Convolutional models (MobileNetV2, ResNet, ConvNeXt) give their last map, row by row;
    vision transformers give their patch tokens, the summary token first.

    Parameters
    ----------
    size, mean, std : what the checkpoint's image processor does to a picture.
    """

    def __init__(
        self,
        config: dict,
        width: int | None = None,
        trainable: bool = False,
        size: int = 224,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
    ):
        super().__init__(config, width, trainable)
        self.size = size
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, 3, H, W) in [0, 1], or kept features (B, N, C) → tokens (B, N, D)."""
        features = image if image.ndim == 3 else self.features(image)
        return Tokens(self.project(features), mask)

    def features(self, image: Tensor) -> Tensor:
        """What the model itself says of a picture: (B, 3, H, W) → (B, N, C)."""
        check_image(image)
        if image.shape[-2:] != (self.size, self.size):
            image = F.interpolate(
                image, (self.size, self.size), mode="bicubic", antialias=True
            ).clamp(0, 1)
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            out = self.model((image - self.mean) / self.std).last_hidden_state
        return out.flatten(2).transpose(1, 2) if out.ndim == 4 else out

    @classmethod
    def from_pretrained(cls, name_or_folder, width=None, trainable=False):
        """A checkpoint of transformers with its image processor's numbers."""
        return super().from_pretrained(
            name_or_folder, width, trainable, **_processor(name_or_folder)
        )


class PretrainedTextEncoder(Pretrained):
    """A pre-trained text model (BERT, MiniLM, …): each word piece is a token."""

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tokens:
        """ids (B, L), mask (B, L) → tokens (B, L, D); or kept features (B, L, C)."""
        if ids.is_floating_point():
            return Tokens(self.project(ids), mask)
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            attended = None if mask is None else mask.long()
            out = self.model(input_ids=ids, attention_mask=attended).last_hidden_state
        return Tokens(self.project(out), mask)


def own_width(config) -> int:
    """The width of a transformers model's output, whatever its config calls it."""
    if config.model_type == "mobilenet_v2":
        return _mobilenet_width(config)
    if getattr(config, "hidden_sizes", None):
        return config.hidden_sizes[-1]
    return config.hidden_size


@torch.no_grad()
def keep_features(
    encoder: PretrainedImageEncoder,
    images: Iterable[Tensor],
    batch_size: int = 32,
    file: str | os.PathLike | None = None,
) -> Tensor:
    """Compute the outputs of a frozen encoder once: (pictures, N, C), before projection.

    Parameters
    ----------
    images : (3, H, W) uint8 or float pictures, one after the other.
    file : where to keep them as safetensors; if it exists and was made by the same
        weights, it is read instead. It does not notice other pictures: one file a set.
    """
    mark = _fingerprint(encoder.model)
    if file is not None and Path(file).is_file():
        kept = load_file(str(file))
        if mark in kept:
            return kept[mark]
    encoder.eval()
    device = next(encoder.parameters()).device
    rows, waiting = [], []

    def compute():
        batch = torch.stack(waiting).to(device)
        batch = batch.float() / 255 if batch.dtype == torch.uint8 else batch
        rows.append(encoder.features(batch).cpu())
        waiting.clear()

    for image in images:
        waiting.append(image)
        if len(waiting) == batch_size:
            compute()
    if waiting:
        compute()
    features = torch.cat(rows)
    if file is not None:
        draft = Path(f"{file}.part")
        draft.parent.mkdir(parents=True, exist_ok=True)
        save_file({mark: features}, str(draft))
        os.replace(draft, file)
    return features


def _processor(name_or_folder) -> dict:
    """Size, mean and std from a checkpoint's ``preprocessor_config.json``."""
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(str(name_or_folder))
    except OSError:
        return {}
    size = getattr(processor, "crop_size", None) or processor.size
    sides = [size[k] for k in ("height", "width", "shortest_edge") if size.get(k)]
    return {
        "size": sides[0],
        "mean": tuple(processor.image_mean),
        "std": tuple(processor.image_std),
    }


def _mobilenet_width(config) -> int:
    from transformers.models.mobilenet_v2.modeling_mobilenet_v2 import (
        apply_depth_multiplier,
    )

    if config.finegrained_output and config.depth_multiplier < 1.0:
        return 1280
    return apply_depth_multiplier(config, 1280)


def _plain(config: dict) -> dict:
    """A config without what only says where it came from."""
    dropped = {"_name_or_path", "architectures", "dtype", "torch_dtype", "id2label"}
    dropped |= {"label2id", "transformers_version"}
    return {key: value for key, value in config.items() if key not in dropped}


def _fingerprint(model: nn.Module) -> str:
    """A short name for these weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().double().sum().numpy().tobytes())
    return digest.hexdigest()[:16]
