"""Pre-trained encoders through transformers, behind the signature of our own.

A name is a local folder or a model on the Hugging Face hub. What goes in is the book's
batch (pictures in [0, 1], token ids, waveforms); resizing, normalisation and spectra,
as the checkpoint expects them, happen inside. Only safetensors are read.
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
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
)
from transformers.utils import cached_file, logging

from ..configuration import Configured, find_folder
from ..data.batching import stack_images
from ..data.corpora import Photographs
from ..tokens import Tokens
from .audio import LogMel, check_audio, filled_up, real_lengths
from .image import check_image
from .text import check_ids
from .video import check_video, equally_spaced


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


class PretrainedVideoEncoder(PretrainedImageEncoder):
    """A pre-trained VideoMAE (Tong et al. 2022): each tubelet is a token.

    Such a model wants clips of one length, so as many frames as it wants are taken from
    the real ones of each clip, equally spaced; fewer are shown more than once. No token
    is padding then. Frames are resized as pictures are.

    Parameters
    ----------
    config, width, trainable, size, mean, std, bicubic : see
        :class:`PretrainedImageEncoder`.
    """

    def forward(self, video: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, F, 3, H, W), mask (B, F), or kept features (B, N, C) → tokens (B, N, D)."""
        if video.ndim == 3:
            return Tokens(self.project(self._kept(video)), mask)
        return Tokens(self.project(self.features(video, mask)))

    def features(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the model says before projection: (B, F, 3, H, W) → (B, N, C)."""
        check_video(video, mask)
        video = equally_spaced(video, mask, self.model.config.num_frames)
        frames = (self._resized(video.flatten(0, 1)) - self.mean) / self.std
        return self._run(frames.unflatten(0, video.shape[:2]))

    def _run(self, pixels: Tensor) -> Tensor:
        return self.model(pixels).last_hidden_state

    def _measure(self) -> int:
        kind = self.model.config.model_type
        if kind != "videomae":
            raise ValueError(f"a VideoMAE checkpoint is needed; got a {kind!r}")
        return self.model.config.hidden_size


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


class PretrainedAudioEncoder(Pretrained):
    """A pre-trained speech model: Whisper's encoder, wav2vec 2.0, HuBERT or WavLM.

    Whisper (Radford et al. 2022) reads a log-mel spectrogram of 30 s, whatever the
    sound; the mask tells which tokens are real. The others (Baevski et al. 2020,
    https://arxiv.org/abs/2006.11477) read the waveform itself, as much as there is.
    Those of them that normalise over time (``feat_extract_norm="group"``) would hear
    the padding: they are given one sound at a time.

    Parameters
    ----------
    config, width, trainable : see :class:`Pretrained`.
    rate : samples a second of the sounds that the model was trained on.
    normalise : shift and scale every sound to mean 0 and variance 1.
    """

    def __init__(
        self,
        config: dict,
        width: int | None = None,
        trainable: bool = False,
        rate: int = 16_000,
        normalise: bool = False,
    ):
        super().__init__(config, width, trainable)
        self.rate, self.normalise = rate, normalise
        self.spectrogram = None
        if self.model.config.model_type == "whisper":
            self.spectrogram = LogMel(self.model.config.num_mel_bins, rate)

    def forward(self, audio: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, S), mask (B, S), or kept features (B, N, C) → tokens (B, N, D)."""
        if audio.ndim == 3:
            return Tokens(self.project(self._kept(audio)), mask)
        features, real = self.features(audio, mask)
        return Tokens(self.project(features), real)

    def features(
        self, audio: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the model says before projection, (B, N, C); what is real, (B, N)."""
        check_audio(audio, mask)
        if self.spectrogram is not None:
            return self._of_spectrum(audio, mask)
        lengths = real_lengths(audio, mask)
        if audio.shape[1] < self._shortest():
            raise ValueError(
                f"this model needs {self._shortest()} samples or more to make a token; "
                f"got {audio.shape[1]}"
            )
        if self.normalise:
            audio = _standardised(audio, mask, lengths)
        values = self._of_waveform(audio, mask, lengths)
        places = torch.arange(values.shape[1], device=values.device)
        return values, places < self._tokens(lengths)[:, None]

    def _of_spectrum(self, audio: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        steps = 2 * self.model.config.max_source_positions
        heard = filled_up(audio, mask, steps * self.spectrogram.hop)
        spectrum, _ = self.spectrogram(heard)  # (B, C, T)
        real = self.spectrogram.frames(real_lengths(audio, mask), steps)
        return self.model(spectrum).last_hidden_state, real[:, ::2]

    def _of_waveform(self, audio, mask, lengths) -> Tensor:
        if mask is None:
            return self.model(audio).last_hidden_state
        if self.model.config.feat_extract_norm != "group":
            return self.model(audio, attention_mask=mask.long()).last_hidden_state
        rows = [
            self.model(wave[None, : max(length, self._shortest())]).last_hidden_state[0]
            for wave, length in zip(audio, lengths.tolist(), strict=True)
        ]
        values = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        longest = int(self._tokens(torch.tensor(audio.shape[1])))
        return F.pad(values, (0, 0, 0, longest - values.shape[1]))

    def _tokens(self, samples: Tensor) -> Tensor:
        """How many tokens so many samples become."""
        config = self.model.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples.clamp(min=0)

    def _shortest(self) -> int:
        """The number of samples that become one token."""
        config, samples = self.model.config, 1
        pairs = zip(config.conv_kernel, config.conv_stride, strict=True)
        for kernel, stride in reversed(list(pairs)):
            samples = (samples - 1) * stride + kernel
        return samples

    def _measure(self) -> int:
        kind, known = self.model.config.model_type, ("whisper", *_READ_WAVEFORMS)
        if kind not in known:
            raise ValueError(
                f"a checkpoint of {', '.join(known)} is needed; got a {kind!r}"
            )
        return self.model.config.hidden_size

    @classmethod
    def from_pretrained(cls, name_or_folder, width=None, trainable=False, **processor):
        """A checkpoint of transformers, or what :meth:`save_pretrained` wrote.

        ``rate`` and ``normalise`` are read from the checkpoint's
        ``preprocessor_config.json``; those given here come first.
        """
        name = os.fspath(name_or_folder)
        if not _read_config(name).get("class"):
            processor = _sound_processor(name, processor)
        return super().from_pretrained(name, width, trainable, **processor)


_READ_WAVEFORMS = ("wav2vec2", "hubert", "wavlm")


def _standardised(audio: Tensor, mask: Tensor | None, lengths: Tensor) -> Tensor:
    """Each sound with mean 0 and variance 1 over its real part; padding is zero."""
    real = torch.ones_like(audio) if mask is None else mask.to(audio.dtype)
    count = lengths[:, None].clamp(min=1)
    middle = (audio - (audio * real).sum(1, keepdim=True) / count) * real
    return middle / (middle.square().sum(1, keepdim=True) / count + 1e-7).sqrt()


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


def _sound_processor(name: str, given: dict) -> dict:
    """Rate and normalisation of a checkpoint's feature extractor."""
    if {"rate", "normalise"} <= given.keys():
        return given
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name)
    except OSError as error:
        raise FileNotFoundError(
            f"{name} has no preprocessor_config.json, which tells how sounds are "
            "prepared: give rate= and normalise="
        ) from error
    read = {
        "rate": extractor.sampling_rate,
        "normalise": bool(getattr(extractor, "do_normalize", False)),
    }
    return {**read, **given}


def _plain(config: dict) -> dict:
    """A config without what only says where it came from, or names classes."""
    dropped = {"_name_or_path", "architectures", "dtype", "torch_dtype", "id2label"}
    dropped |= {"label2id", "transformers_version"}
    return {key: value for key, value in config.items() if key not in dropped}
