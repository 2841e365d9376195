"""Recorded sounds with what is known of each; wav files in the forms that are common."""

from __future__ import annotations

import copy
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .files import (
    SOUNDS,
    check_list,
    media_files,
    resample,
    split_numbers,
    summary,
    why_not,
)


class Recordings(Dataset):
    """Sound files with what is known of each (录音).

    Items are ``{"audio": (S,) float in [−1, 1], "index": int}`` together with what is
    known: ``caption``, or ``label`` and perhaps ``text`` or ``speaker``.

    Parameters
    ----------
    files : wav files.
    known : a dictionary for each file.
    rate : samples a second; files with another rate are resampled.
    keep : hold each sound in memory once it was read; for small files read often.
    classes : the names of the labels, if there are labels.

    Attributes
    ----------
    left_out : (name, reason) of what a folder holds that could not be used.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        known: Sequence[dict],
        rate: int = 16_000,
        keep: bool = False,
        classes: Sequence[str] | None = None,
    ):
        self.files = [Path(f) for f in check_list(files, "files", "[Path('a.wav')]")]
        self.known = check_list(known, "known", "[{'caption': 'good morning'}]")
        if not self.files or len(self.files) != len(self.known):
            raise ValueError(
                "as many files as dictionaries of what is known are needed, at least "
                f"one; got {len(self.files)} and {len(self.known)}"
            )
        wrong = [row for row in self.known if not isinstance(row, dict)]
        if wrong:
            raise ValueError(f"known must hold a dictionary a file; got {wrong[0]!r}")
        self.rate = rate
        self.kept: dict[int, Tensor] | None = {} if keep else None
        self.classes = None if classes is None else list(classes)
        self.left_out: list[tuple[str, str]] = []

    def __repr__(self) -> str:
        shown = f"{len(self)} sounds at {self.rate} samples a second"
        return f"{type(self).__name__}({shown}){summary(self.left_out)}"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict:
        return {"audio": self.sound(index), **self.known[index], "index": int(index)}

    def sound(self, number: int) -> Tensor:
        """One sound at the rate of the set: (S,) float32."""
        if self.kept is None:
            return read_wave(self.files[number], self.rate)
        if number not in self.kept:
            self.kept[number] = read_wave(self.files[number], self.rate)
        return self.kept[number]

    def split(self, share: float, seed: int = 0) -> tuple[Recordings, Recordings]:
        """Two sets that have no file in common; the second has this share."""
        names = list(dict.fromkeys(self.files))
        groups = split_numbers(len(names), share, seed)
        first, second = ({names[i] for i in group} for group in groups)
        return self._only(first), self._only(second)

    def _only(self, files: set[Path]) -> Recordings:
        part = copy.copy(self)
        rows = [i for i, file in enumerate(self.files) if file in files]
        part.files = [self.files[i] for i in rows]
        part.known = [self.known[i] for i in rows]
        part.kept = None if self.kept is None else {}
        return part


def spoken_digits(
    folder: str | Path,
    split: str = "train",
    left_out: str | None = None,
    rate: int = 16_000,
) -> Recordings:
    """The Free Spoken Digit Dataset: 0 to 9 in English, six speakers (CC BY-SA 4.0).

    https://github.com/Jakobovski/free-spoken-digit-dataset. Items hold ``audio``,
    ``label`` (the digit) and ``speaker``; the files have 8,000 samples a second.

    Parameters
    ----------
    split : ``"train"``, ``"test"`` or ``"all"``. The official test set is the
        recordings 0 to 4 of each speaker and digit: easy, for all voices are known.
    left_out : a speaker. ``"test"`` is then all of this speaker's recordings and
        ``"train"`` all of the others': the honest test.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"split must be one of train, test, all; got {split!r}")
    rows = _digit_files(Path(folder))
    speakers = sorted({speaker for _, _, speaker, _ in rows})
    if left_out not in (None, *speakers):
        raise ValueError(
            f"the speaker left out must be one of {', '.join(speakers)}; got "
            f"{left_out!r}"
        )
    kept = [
        (file, {"label": digit, "speaker": speaker})
        for file, digit, speaker, take in rows
        if split == "all"
        or (split == "test") == (speaker == left_out if left_out else take < 5)
    ]
    if not kept:
        raise ValueError(f"no recording in {folder} belongs to the split {split!r}")
    files, known = zip(*kept, strict=True)
    return Recordings(files, known, rate, keep=True, classes=list("0123456789"))


def _digit_files(folder: Path) -> list[tuple[Path, int, str, int]]:
    """File, digit, speaker and number of each recording."""
    inner = folder / "recordings"
    files = media_files(inner if inner.is_dir() else folder, SOUNDS)
    if not files:
        raise FileNotFoundError(
            f"no wav files in {folder}, nor in recordings inside it: give the folder "
            "of the Free Spoken Digit Dataset"
        )
    rows = []
    for file in files:
        named = re.fullmatch(r"([0-9])_(\w+)_([0-9]+)\.wav", file.name, re.IGNORECASE)
        if named is None:
            raise ValueError(
                f"{file} must be named digit_speaker_number.wav, as 7_jackson_32.wav"
            )
        digit, speaker, take = named.groups()
        rows.append((file, int(digit), speaker, int(take)))
    return rows


_CONVERT = "convert it, as with `ffmpeg -i IN -acodec pcm_s16le OUT.wav`"
_KNOWN = {(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64), (6, 8), (7, 8)}


def read_wave(file: str | Path, rate: int | None = None) -> Tensor:
    """A wav file as (S,) float32 in [−1, 1]; channels are averaged.

    Read are PCM of 8, 16, 24 and 32 bits, floats of 32 and 64 (clipped at ±1, as
    players do), A-law and µ-law, each also in the extensible form. It is resampled to
    ``rate`` samples a second; None keeps the file's own.
    """
    try:
        form, body = _chunks(Path(file).read_bytes())
        tag, channels, own, _, _, bits = struct.unpack_from("<HHIIHH", form)
        if tag == 0xFFFE:  # extensible: the kind begins its long name
            tag = struct.unpack_from("<H", form, 24)[0]
        if (tag, bits) not in _KNOWN or not channels or not own:
            raise ValueError(
                f"format {tag} (0x{tag:04X}) with {bits} bits, {channels} channels and "
                f"{own} samples a second is not read: {_CONVERT}"
            )
        frame = channels * bits // 8
        samples = _decode(body[: len(body) // frame * frame], tag, bits)
        if not len(samples):
            raise ValueError("it is empty: it has no samples")
    except FileNotFoundError:
        raise FileNotFoundError(f"no sound {file}") from None
    except (OSError, ValueError, struct.error) as error:
        raise ValueError(f"cannot read the sound {file}: {error}") from error
    sound = samples.reshape(-1, channels).mean(1).clip(-1, 1).astype(np.float32)
    return torch.from_numpy(resample(sound, own, own if rate is None else rate))


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    """The form of a RIFF file and its samples (RF64, the form of long ones, too)."""
    if data[:4] not in (b"RIFF", b"RF64") or data[8:12] != b"WAVE":
        other = f"begins with {data[:4]!r}, so it is no wav file: {_CONVERT}"
        raise ValueError(f"it {why_not(data) or other}")
    place, form = 12, None
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        start, end = place + 8, place + 8 + length
        if name == b"data":
            if form is None:
                break
            return form, _samples(data, start, length)
        if name == b"fmt ":
            form = data[start:end]
        padded = length % 2 and data[end : end + 4] not in (b"data", b"fmt ", b"LIST")
        place = end + bool(padded)
    raise ValueError("it is cut off: it has no samples, or no form before them")


def _samples(data: bytes, start: int, length: int) -> bytes:
    """What follows; a recorder that streams writes 0 or a huge number as its length."""
    rest = len(data) - start
    streamed = length >= 0x7FFF_0000 or (
        length == 0 and data[start : start + 4] not in (b"LIST", b"id3 ", b"fact")
    )
    if length > rest and not streamed:
        raise ValueError(f"it is cut off: it has {rest} of {length} bytes of samples")
    return data[start:] if streamed else data[start : start + length]


def _decode(body: bytes, tag: int, bits: int) -> np.ndarray:
    """Samples of all channels in turn, as numbers in [−1, 1]."""
    if tag == 3:
        samples = np.frombuffer(body, f"<f{bits // 8}")
        loudest = np.abs(samples).max(initial=0)
        if not loudest <= 4:  # also NaN
            raise ValueError(f"its floats reach {loudest:g}: divide them to [−1, 1]")
        return samples
    codes = np.frombuffer(body, np.uint8)
    if tag == 1 and bits == 8:
        return (codes.astype(np.float32) - 128) / 128
    if tag == 1 and bits == 24:
        wide = np.zeros((len(codes) // 3, 4), np.uint8)
        wide[:, 1:] = codes.reshape(-1, 3)
        return wide.view("<i4")[:, 0] / 2**31
    if tag == 1:
        return np.frombuffer(body, f"<i{bits // 8}") / 2.0 ** (bits - 1)
    code = (codes ^ (0x55 if tag == 6 else 0xFF)).astype(np.int32)
    power, fraction = code >> 4 & 7, code & 15
    if tag == 7:  # µ-law: G.711
        size = ((2 * fraction + 33) << power + 2) - 132
        return np.where(code & 128, -size, size) / 32_768
    size = (2 * fraction + 1 + 32 * (power > 0)) << np.maximum(power - 1, 0) + 3
    return np.where(code & 128, size, -size) / 32_768
