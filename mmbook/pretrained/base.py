"""Pre-trained encoders through transformers, behind the signature of our own.

What goes in is the book's batch; resizing, normalisation and spectra happen inside.
Only safetensors are read, in float32 whatever they were saved in.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging

from ..saving import Configured, find_folder
from ..tokens import Tokens

DROPPED = {"_name_or_path", "architectures", "dtype", "torch_dtype", "id2label"}
DROPPED |= {"label2id", "transformers_version"}  # from a config; they shape no model


class Pretrained(Configured):
    """A transformers model, frozen or not, and a linear layer behind it.

    Of a checkpoint the encoder of this modality is taken. If it is not ``trainable``,
    it is frozen (冻结): no gradient, eval mode. Batch norm always keeps the statistics of
    the checkpoint. The linear layer, which learns in both cases, leads from
    ``own_width``, C, to ``width``, D, and is left out if that is None.
    """

    tower = ""  # the name of this modality's part in a model of several towers
    kinds: tuple[str, ...] = ()  # the types of models that a subclass knows; (): all
    model: Any

    def __init__(self, config: dict, width: int | None = None, trainable: bool = False):
        super().__init__()
        whole = AutoModel.from_config(AutoConfig.for_model(**config))
        self.model, _ = _part(whole, self.tower)
        if self.kinds and (kind := self.model.config.model_type) not in self.kinds:
            kinds = ", ".join(self.kinds)
            raise ValueError(f"a {kinds} checkpoint is needed; got a {kind!r}")
        self.model.float().requires_grad_(trainable).eval()
        self.own_width = self._measure()
        self.width = width or self.own_width
        self.project = nn.Linear(self.own_width, width) if width else nn.Identity()
        self.train()

    def _measure(self) -> int:
        return self.model.config.hidden_size

    def features(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """The output of the model before the linear layer: (B, N, C)."""
        raise NotImplementedError

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """A batch of this modality, or its features (B, N, C) → tokens (B, N, D)."""
        given = x.ndim == 3 and x.is_floating_point()
        tokens = self._given(x, mask) if given else self.features(x, mask)
        return Tokens(self.project(tokens.values), tokens.mask)

    def _given(self, features: Tensor, mask: Tensor | None) -> Tokens:
        if features.shape[-1] != self.own_width:
            wanted, given = f"(B, N, {self.own_width})", tuple(features.shape)
            raise ValueError(f"features of this encoder must be {wanted}; got {given}")
        if self.training and not self.frozen:
            raise ValueError("features pass by a model to be trained: freeze it")
        return Tokens(features.to(next(self.parameters()).dtype), mask)

    def layers(self) -> list[nn.Module]:
        """From input to output: the longest list of layers in the model, the linear one."""
        stacks = [m for m in self.model.modules() if isinstance(m, nn.ModuleList)]
        return [*max(stacks, key=len, default=[]), self.project]

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
    def from_pretrained(cls, name_or_folder, width=None, trainable=False, **settings):
        """A checkpoint of transformers, or what :meth:`save_pretrained` wrote.

        ``settings``: arguments of the class, if not those that the checkpoint tells.
        """
        name = os.fspath(name_or_folder)
        if name.startswith("mmbook/") or Path(name).is_absolute():
            name = str(find_folder(name, needs="config.json"))
        with _found(name, "no folder with a config.json, and no such model"):
            config = PreTrainedConfig.get_config_dict(name)[0]
        if "class" in config:
            encoder = super().from_pretrained(name)
            if settings or width not in (None, encoder.width):
                raise ValueError(
                    f"this saved encoder has width {encoder.width} and settings of its "
                    f"own; asked for {width} and {settings}"
                )
            encoder.model.requires_grad_(trainable or not encoder.frozen)
            return encoder
        settings = cls._read_settings(name, settings)
        part, config = _load(name, cls.tower)
        encoder = cls(config, width, trainable, **settings)
        encoder.model.load_state_dict(part.state_dict())
        return encoder.eval()

    @classmethod
    def _read_settings(cls, name: str, given: dict) -> dict:
        """The arguments of the class that a checkpoint's other files tell."""
        return given


def read_processor(kind, name: str, needed: str):
    """The image processor or feature extractor of a checkpoint."""
    with _found(name, f"no preprocessor_config.json: give {needed}"):
        return kind.from_pretrained(name)


def _load(name: str, tower: str) -> tuple[nn.Module, dict]:
    """The part of a checkpoint for one modality, and its config."""
    whole, config, missing = load_whole(AutoModel, name)
    part, prefix = _part(whole, tower)
    check_complete(name, part, prefix, missing)
    return part, config


def load_whole(kind: Any, name: str) -> tuple[Any, dict, set[str]]:
    """A checkpoint's model in float32, its config, and the weights that it lacks."""
    options = {"dtype": torch.float32, "use_safetensors": True}
    with quiet(), _found(name, "no safetensors weights"):
        model, told = kind.from_pretrained(name, output_loading_info=True, **options)
    return model, _plain(model.config.to_dict()), set(told["missing_keys"])


def check_complete(name: str, part: nn.Module, prefix: str, missing: set[str]) -> None:
    """Raise ValueError if a checkpoint lacks a weight of this part of its model."""
    if lost := sorted(missing & {prefix + key for key in part.state_dict()}):
        lacking = f"{len(lost)} weights of a {type(part).__name__}"
        raise ValueError(f"the checkpoint {name} lacks {lacking}, as {lost[0]}")


def _plain(config: dict) -> dict:
    items = {key: value for key, value in config.items() if key not in DROPPED}
    return {k: _plain(v) if isinstance(v, dict) else v for k, v in items.items()}


def _part(model: Any, tower: str) -> tuple[Any, str]:
    """The part that makes tokens of one modality, and the prefix of its names."""
    prefix = ""
    if tower and hasattr(model, tower):
        model, prefix = getattr(model, tower), f"{tower}."
    elif model.config.is_encoder_decoder:
        model, prefix = model.get_encoder(), "encoder."
    pooler = getattr(model, "pooler", None)
    if pooler is not None and any(True for _ in pooler.parameters()):
        model.pooler = None  # often not saved, and not needed
    return model, prefix


@contextlib.contextmanager
def _found(name: str, missing: str):
    """What transformers does not find, or cannot read, is an error that says what."""
    try:
        yield
    except OSError as error:
        raise FileNotFoundError(f"{name}: {missing} ({error})") from error
    except SafetensorError as error:
        raise ValueError(f"{name}: damaged weights ({error})") from error


@contextlib.contextmanager
def quiet():
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
