"""Pre-trained encoders through transformers, behind the signature of our own.

A name is a local folder or a model on the Hugging Face hub. What goes in is the book's
batch (pictures in [0, 1], token ids, waveforms); resizing, normalisation and spectra,
as the checkpoint expects them, happen inside. Only safetensors are read."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
)
from transformers.utils import cached_file, logging

from ..saving import Configured, find_folder


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
    model : the transformers model, without its pooling layer or decoder.
    own_width : C, of its output.
    width : D, of the tokens.
    """

    def __init__(self, config: dict, width: int | None = None, trainable: bool = False):
        super().__init__()
        self.model = _tokens_only(AutoModel.from_config(AutoConfig.for_model(**config)))
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
        name = own_folder(name_or_folder)
        if read_config(name).get("class"):
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


def own_folder(name_or_folder: str | os.PathLike) -> str:
    """The folder of a part of the book's own (``mmbook/…``); other names as they are."""
    name = os.fspath(name_or_folder)
    if name.startswith("mmbook/"):
        return str(find_folder(name, needs="config.json"))
    return name


def read_config(name: str) -> dict:
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
    before = "encoder." if model.config.is_encoder_decoder else ""
    model = _tokens_only(model)
    needed = {before + key for key in model.state_dict()}
    missing = sorted(needed & set(report["missing_keys"]))
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


def _tokens_only(model: nn.Module) -> nn.Module:
    """Drop what stands behind the tokens: a decoder, or a layer often not saved."""
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
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


def load_processor(name: str, given: dict) -> dict:
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
