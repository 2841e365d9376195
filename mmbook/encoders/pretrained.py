"""Pre-trained encoders through transformers, behind the signature of our own.

A name is a local folder or a model on the Hugging Face hub. What goes in is the book's
batch (pictures in [0, 1], token ids); resizing and normalisation, as the checkpoint
expects them, happen inside. Only safetensors are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer
from transformers.utils import cached_file, logging

from ..configuration import Configured, find_folder
from ..data.batching import stack_images
from ..data.corpora import Photographs
from ..tokens import Tokens
from .image import check_image
from .text import check_ids


class Pretrained(Configured):
    """What the two have in common: a transformers model inside, frozen or not.

    A frozen model stays in eval mode whatever the mode of the whole. Batch norm always
    keeps the statistics of the checkpoint: those of a small batch are poor ones.

    Parameters
    ----------
    config : of the transformers model, as a dictionary.
    width : D of the tokens, reached by a linear layer; None keeps the
        model's own width.
    trainable : False freezes the model (冻结): it gets no gradient. The linear layer
        learns in both cases.

    Attributes
    ----------
    model : the transformers model, without its pooling layer.
    own_width : C, of its output.
    width : D, of the tokens.
    """

    def __init__(self, config: dict, width: int | None = None, trainable: bool = False):
        super().__init__()
        self.model = _without_pooler(
            AutoModel.from_config(AutoConfig.for_model(**config))
        )
        self.model.requires_grad_(trainable).eval()
        self.own_width = self._measure()
        self.width = width or self.own_width
        self.project = (
            nn.Identity() if width is None else nn.Linear(self.own_width, width)
        )
        self.train()

    @property
    def frozen(self) -> bool:
        """Does no parameter of the model want a gradient?"""
        return not any(p.requires_grad for p in self.model.parameters())

    def train(self, mode: bool = True):
        """As usual, but what is frozen, and batch norm, stay in eval mode."""
        super().train(mode)
        for module in self.model.modules():
            if self.frozen or isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.training = False
        return self

    def to_config(self) -> dict:
        """The class name and the arguments; ``trainable`` as it is now."""
        return {**super().to_config(), "trainable": not self.frozen}

    @classmethod
    def from_pretrained(cls, name_or_folder, width=None, trainable=False, **more):
        """A checkpoint of transformers, or what :meth:`save_pretrained` wrote.

        The weights are loaded in float32 whatever the checkpoint has.

        Raises
        ------
        FileNotFoundError
            If there is no such folder or name, no ``config.json``, or no safetensors.
        ValueError
            If the weights are damaged, or some are missing.
        """
        name = os.fspath(name_or_folder)
        if _read_config(name).get("class"):
            return _loaded(super().from_pretrained(name), width, trainable)
        source = _load(name)
        encoder = cls(_plain(source.config.to_dict()), width, trainable, **more)
        encoder.model.load_state_dict(source.state_dict())
        return encoder.eval()

    def _measure(self) -> int:
        raise NotImplementedError

    def _kept(self, features: Tensor) -> Tensor:
        """Check the outputs of the model that were computed before: (B, N, C)."""
        if features.ndim != 3 or features.shape[-1] != self.own_width:
            raise ValueError(
                f"kept features must be (B, N, {self.own_width}); got "
                f"{tuple(features.shape)}"
            )
        if self.training and not self.frozen:
            raise ValueError(
                "kept features pass by a model that is to be trained: freeze it "
                "(trainable=False), or give it its own input"
            )
        return features.to(next(self.parameters()).dtype)


class PretrainedImageEncoder(Pretrained):
    """A pre-trained image model: each place of its last map, or each patch, is a token.

    Convolutional models (MobileNetV2, ResNet, ConvNeXt) give their last map, row by
    row; vision transformers give their patches, without the summary token. Thus N =
    rows × columns, always. Pictures of another size are resized (shorter side) and the
    middle is cropped; those of the right size are taken as they are.

    Parameters
    ----------
    config, width, trainable : see :class:`Pretrained`.
    size : of the pictures that the model wants, in pixels.
    mean, std : of each colour, by which pictures in [0, 1] are normalised.
    bicubic : resize so; otherwise bilinear.
    """

    def __init__(
        self,
        config: dict,
        width: int | None = None,
        trainable: bool = False,
        size: int = 224,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        bicubic: bool = True,
    ):
        self.size = size
        super().__init__(config, width, trainable)
        self.interpolation = "bicubic" if bicubic else "bilinear"
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, 3, H, W) in [0, 1], or kept features (B, N, C) → tokens (B, N, D).

        ``mask`` (B, N) tells which tokens are real; None means all.
        """
        features = self._kept(image) if image.ndim == 3 else self.features(image)
        return Tokens(self.project(features), mask)

    def features(self, image: Tensor) -> Tensor:
        """What the model says before projection: (B, 3, H, W) → (B, N, C)."""
        check_image(image)
        return self._run((self._resized(image) - self.mean) / self.std)

    def _run(self, pixels: Tensor) -> Tensor:
        out = self.model(pixels).last_hidden_state
        if out.ndim == 4:
            return out.flatten(2).transpose(1, 2)  # (B, C, H, W) → (B, N, C)
        patch = getattr(self.model.config, "patch_size", None)
        patches = (self.size // patch) ** 2 if patch else out.shape[1]
        return out[:, max(0, out.shape[1] - patches) :]  # summary tokens come first

    def _resized(self, image: Tensor) -> Tensor:
        high, wide = image.shape[-2:]
        if (high, wide) == (self.size, self.size):
            return image
        scale = self.size / min(high, wide)
        sides = [max(self.size, round(side * scale)) for side in (high, wide)]
        image = F.interpolate(image, sides, mode=self.interpolation, antialias=True)
        top, left = ((side - self.size) // 2 for side in sides)
        image = image[..., top : top + self.size, left : left + self.size]
        return image.clamp(0, 1)  # bicubic overshoots

    @torch.no_grad()
    def _measure(self) -> int:
        return self._run(torch.zeros(1, 3, self.size, self.size)).shape[-1]

    @classmethod
    def from_pretrained(cls, name_or_folder, width=None, trainable=False, **processor):
        """A checkpoint of transformers, or what :meth:`save_pretrained` wrote.

        ``size``, ``mean``, ``std`` and ``bicubic`` are read from the checkpoint's
        ``preprocessor_config.json``; those given here come first.
        """
        name = os.fspath(name_or_folder)
        if not _read_config(name).get("class"):
            processor = _processor(name, processor)
        return super().from_pretrained(name, width, trainable, **processor)


class PretrainedTextEncoder(Pretrained):
    """A pre-trained text model (BERT, MiniLM, …): each word piece is a token."""

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tokens:
        """ids (B, L), mask (B, L) → tokens (B, L, D); or kept features (B, L, C)."""
        if ids.is_floating_point():
            return Tokens(self.project(self._kept(ids)), mask)
        check_ids(ids, getattr(self.model.config, "max_position_embeddings", 10**9))
        attended = None if mask is None else mask.long()
        out = self.model(input_ids=ids, attention_mask=attended).last_hidden_state
        return Tokens(self.project(out), mask)

    @staticmethod
    def tokenizer(name_or_folder):
        """The fast tokenizer that belongs to a checkpoint."""
        return AutoTokenizer.from_pretrained(name_or_folder)

    def _measure(self) -> int:
        return self.model.config.hidden_size


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
        one after the other.
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


def _read_config(name: str) -> dict:
    """The ``config.json`` of a folder or of a model on the hub."""
    if name.startswith("mmbook/") or Path(name).is_dir() or Path(name).is_absolute():
        file = find_folder(name, needs="config.json") / "config.json"
    else:
        try:
            file = Path(cached_file(name, "config.json"))
        except OSError as error:
            raise FileNotFoundError(
                f"no folder {name!r}, and no such model on the hub or in its cache: "
                f"{error}"
            ) from error
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged or cut off: {error}") from error


def _load(name: str):
    """The transformers model of a checkpoint; no weight of it may be missing."""
    try:
        with _quiet():
            model, report = AutoModel.from_pretrained(
                name,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
    except SafetensorError as error:
        raise ValueError(f"the weights in {name} are damaged: {error}") from error
    except OSError as error:
        raise FileNotFoundError(f"no safetensors weights in {name}: {error}") from error
    model = _without_pooler(model)
    missing = sorted(model.state_dict().keys() & set(report["missing_keys"]))
    if missing:
        raise ValueError(
            f"the checkpoint {name} lacks {len(missing)} weights of a "
            f"{type(model).__name__}, the first is {missing[0]}"
        )
    return model


def _loaded(encoder: Pretrained, width: int | None, trainable: bool) -> Pretrained:
    """A saved encoder; what was asked for must fit it."""
    if width not in (None, encoder.width):
        raise ValueError(
            f"the saved encoder has width {encoder.width}; asked for {width}"
        )
    if trainable:
        encoder.model.requires_grad_(True)
    return encoder


def _without_pooler(model: nn.Module) -> nn.Module:
    """Drop the layer behind the tokens: it is not used, and often not saved."""
    pooler = getattr(model, "pooler", None)
    if pooler is not None and any(True for _ in pooler.parameters()):
        model.pooler = None
    return model


@contextlib.contextmanager
def _quiet():
    """No report of weights that are not needed (a classifier's); we check ourselves."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _processor(name: str, given: dict) -> dict:
    """Size, mean, std and interpolation of a checkpoint's image processor."""
    if {"size", "mean", "std"} <= given.keys():
        return given
    try:
        processor = AutoImageProcessor.from_pretrained(name)
    except OSError as error:
        raise FileNotFoundError(
            f"{name} has no preprocessor_config.json, which tells how pictures are "
            "normalised: give size=, mean= and std="
        ) from error
    size = getattr(processor, "crop_size", None) or processor.size
    sides = [getattr(size, side, None) for side in ("height", "shortest_edge")]
    read = {
        "size": next(side for side in sides if side),
        "mean": tuple(processor.image_mean),
        "std": tuple(processor.image_std),
        "bicubic": processor.resample == 3,  # PIL's number
    }
    return {**read, **given}


def _plain(config: dict) -> dict:
    """A config without what only says where it came from, or names classes."""
    dropped = {"_name_or_path", "architectures", "dtype", "torch_dtype", "id2label"}
    dropped |= {"label2id", "transformers_version"}
    return {key: value for key, value in config.items() if key not in dropped}
