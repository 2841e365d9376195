"""Wav files in the forms that recorders write; spoken digits and their splits."""

import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from mmbook.data import Collate
from mmbook.data.recordings import Recordings, read_wave, spoken_digits

PCM, FLOAT, A_LAW, MU_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE


def tone(samples=400, rate=8_000, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)


def write_wave(file, samples, rate=8_000, channels=1, width=2):
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        sound.writeframes((np.asarray(samples) * 32768).astype("<i2").tobytes())
    return file


def chunk(name, body, length=None):
    size = len(body) if length is None else length
    return name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2)


def form(tag, bits, channels=1, rate=8_000):
    align = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    return chunk(b"fmt ", head)


def extensible(tag, bits, channels=1):
    head = form(EXTENSIBLE, bits, channels)[8:]
    rest = struct.pack("<HHIH", 22, bits, 0, tag) + bytes.fromhex(
        "000000001000800000aa00389b71"
    )
    return chunk(b"fmt ", head + rest)


def riff(file, *chunks, kind=b"RIFF"):
    body = b"WAVE" + b"".join(chunks)
    file.write_bytes(kind + struct.pack("<I", len(body)) + body)
    return file


def coded(samples, tag, bits):
    """Samples in [−1, 1) as a recorder stores them."""
    if tag == FLOAT:
        return samples.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return np.rint(samples * 128 + 128).astype(np.uint8).tobytes()
    whole = np.rint(samples * 2 ** (bits - 1)).astype("<i8")
    parts = whole.view(np.uint8).reshape(-1, 8)[:, : bits // 8]
    return parts.tobytes()


# ------------------------------------------------------------------ forms of wav


def test_a_sound_is_read_as_it_was_written(tmp_path):
    file = write_wave(tmp_path / "a.wav", tone())
    sound = read_wave(file)
    assert sound.shape == (400,) and sound.dtype == torch.float32
    assert np.abs(sound.numpy() - tone()).max() < 1 / 32768
    both = np.stack([tone(), 0 * tone()], axis=1)  # left and right
    sound = read_wave(write_wave(tmp_path / "b.wav", both, channels=2))
    assert np.abs(sound.numpy() - tone() / 2).max() < 1 / 32768


@pytest.mark.parametrize("make", [form, extensible])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "tag, bits", [(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)]
)
def test_numbers_of_every_depth(tmp_path, make, channels, tag, bits):
    both = np.repeat(tone(), channels)
    data = chunk(b"data", coded(both, tag, bits))
    file = riff(tmp_path / "a.wav", make(tag, bits, channels), data)
    sound = read_wave(file).numpy()
    step = 2.0**-24 if tag == FLOAT else 2.0 ** -min(bits, 24)
    assert sound.shape == (400,) and np.abs(sound - tone()).max() <= step


@pytest.mark.parametrize(
    "tag, codes, values",
    [  # the corner points of ITU-T G.711
        (MU_LAW, [0xFF, 0x7F, 0x80, 0x00, 0x8F, 0xFE], [0, 0, 32124, -32124, 16764, 8]),
        (A_LAW, [0xD5, 0x55, 0xAA, 0x2A, 0x80, 0xD4], [8, -8, 32256, -32256, 5504, 24]),
    ],
)
def test_telephone_codes(tmp_path, tag, codes, values):
    file = riff(tmp_path / "a.wav", form(tag, 8), chunk(b"data", bytes(codes)))
    assert (read_wave(file) * 32_768).tolist() == values


def test_all_telephone_codes_as_python_had_them(tmp_path):
    audioop = pytest.importorskip("audioop", reason="Python 3.13 has no audioop")
    codes = bytes(range(256))
    for tag, decode in (MU_LAW, audioop.ulaw2lin), (A_LAW, audioop.alaw2lin):
        file = riff(tmp_path / "a.wav", form(tag, 8), chunk(b"data", codes))
        expected = np.frombuffer(decode(codes, 2), "<i2")
        assert (read_wave(file).numpy() * 32_768 == expected).all()


@pytest.mark.parametrize("length", [0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0xFFFF_FFFF - 36])
def test_a_stream_has_no_length_in_its_header(tmp_path, length):
    body = coded(tone(), PCM, 16)
    file = riff(tmp_path / "a.wav", form(PCM, 16), chunk(b"data", body, length))
    assert np.abs(read_wave(file).numpy() - tone()).max() < 1 / 32_768


@pytest.mark.parametrize("padded", [True, False])
def test_chunks_of_odd_length_before_the_samples(tmp_path, padded):
    note = chunk(b"LIST", b"INFOabc")
    note = note if padded else note[:-1]
    data = chunk(b"data", coded(tone(), PCM, 16))
    file = riff(tmp_path / "a.wav", note, form(PCM, 16), note, data, note)
    assert read_wave(file).shape == (400,)
    assert read_wave(riff(tmp_path / "b.wav", form(PCM, 16), data, kind=b"RF64")).any()


def test_half_a_frame_at_the_end_is_no_sample(tmp_path):
    body = coded(np.repeat(tone(), 2), PCM, 16) + b"\x11"
    file = riff(tmp_path / "a.wav", form(PCM, 16, 2), chunk(b"data", body))
    assert read_wave(file).shape == (400,)


def test_loud_floats_are_clipped(tmp_path):
    samples = np.array([0.5, 1.5, -3.0], np.float32)
    file = riff(tmp_path / "a.wav", form(FLOAT, 32), chunk(b"data", samples.tobytes()))
    assert read_wave(file).tolist() == [0.5, 1.0, -1.0]


@pytest.mark.parametrize("wrong", [np.inf, np.nan, 32_767])
def test_floats_that_are_no_sound_are_refused(tmp_path, wrong):
    samples = np.array([0.5, wrong], np.float32)
    file = riff(tmp_path / "a.wav", form(FLOAT, 32), chunk(b"data", samples.tobytes()))
    with pytest.raises(
        ValueError, match=r"a.wav: its floats reach (inf|nan|32767): div"
    ):
        read_wave(file)


@pytest.mark.parametrize("tag, bits", [(0x55, 0), (2, 4), (0x11, 4), (PCM, 12), (9, 8)])
def test_other_forms_are_named_with_a_way_out(tmp_path, tag, bits):
    file = riff(tmp_path / "a.wav", form(tag, bits), chunk(b"data", bytes(99)))
    message = rf"a.wav: format {tag} \(0x.*\) with {bits} bits.*`ffmpeg -i IN"
    with pytest.raises(ValueError, match=message):
        read_wave(file)


@pytest.mark.parametrize("rate", [16_000, 11_025, 6_000])
def test_resampling_keeps_the_tone(tmp_path, rate):
    file = write_wave(tmp_path / "a.wav", tone(4_000))
    sound = read_wave(file, rate).numpy()
    assert len(sound) == -(-rate // 2)  # half a second, the last step begun
    edge, expected = rate // 20, tone(len(sound), rate)
    assert np.abs(sound - expected)[edge:-edge].max() < 2e-3


@pytest.mark.parametrize(
    "damage, reason",
    [
        ("truncated", "cut off: it has 456 of 800 bytes"),
        ("text", "begins with b'no s', so it is no wav file"),
        ("web", "holds a web page"),
        ("pointer", "git lfs pull"),
        ("empty", "is empty"),
        ("header", "cut off: it has 0 of 800 bytes"),
        ("half", "cut off: it has no samples"),
    ],
)
def test_a_damaged_sound_is_named(tmp_path, damage, reason):
    file = write_wave(tmp_path / "broken.wav", tone())
    whole = file.read_bytes()
    kinds = {"truncated": whole[:500], "text": b"no sound", "empty": b""}
    kinds |= {"header": whole[:44], "half": whole[:30], "web": b"<html>404</html>"}
    kinds["pointer"] = b"version https://git-lfs.github.com/spec/v1"
    file.write_bytes(kinds[damage])
    with pytest.raises(ValueError, match=rf"broken.wav: it .*{reason}"):
        read_wave(file)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no sound .*broken.wav"):
        read_wave(file)


def test_a_recording_without_samples_is_named(tmp_path):
    note = chunk(b"LIST", b"INFO")
    file = riff(tmp_path / "a.wav", form(PCM, 16), chunk(b"data", b""), note)
    with pytest.raises(ValueError, match=r"a.wav: it is empty: it has no samples"):
        read_wave(file)


# ------------------------------------------------------------------ sets of sounds


def test_what_is_known_of_each_sound():
    with pytest.raises(ValueError, match="got 1 and 2"):
        Recordings([Path("a.wav")], [{}, {}])
    with pytest.raises(ValueError, match=r"files must be a list.*; got 'a.wav'"):
        Recordings("a.wav", [{}])
    with pytest.raises(ValueError, match=r"known must be a list.*; got {'caption'"):
        Recordings(["a.wav"], {"caption": "good morning"})
    with pytest.raises(ValueError, match="a dictionary a file; got 'good morning'"):
        Recordings(["a.wav"], ["good morning"])


def test_recordings_are_split_by_file():
    files = [Path(f"{number}.wav") for number in (0, 0, 1, 1, 2, 2, 3, 3)]
    data = Recordings(files, [{"label": number} for number in range(8)])
    first, second = data.split(0.25, seed=3)
    assert (len(first), len(second)) == (6, 2)
    assert not set(first.files) & set(second.files)
    assert [row["label"] // 2 for row in second.known] == [
        int(file.stem) for file in second.files
    ]


@pytest.fixture
def digits(tmp_path):
    for digit in 3, 7:
        for speaker in "ann", "bob_b":
            for take in 0, 4, 5, 49:
                name = f"{digit}_{speaker}_{take}.wav"
                length = 100 * digit + take
                write_wave(tmp_path / "recordings" / name, tone(length))
    return tmp_path


def takes(recordings):
    return {file.stem for file in recordings.files}


def test_digits_and_their_official_split(digits):
    train, test = (spoken_digits(digits, split) for split in ("train", "test"))
    assert len(train) == len(test) == 8 and not takes(train) & takes(test)
    assert takes(test) == {
        f"{d}_{s}_{t}" for d in (3, 7) for s in ("ann", "bob_b") for t in (0, 4)
    }
    item = test[7]
    assert (item["label"], item["speaker"], item["index"]) == (7, "bob_b", 7)
    assert item["audio"].shape == (2 * 704,)  # at 16,000 samples a second
    narrow = spoken_digits(digits / "recordings", "all", rate=8_000)
    assert len(narrow) == 16 and narrow[0]["audio"].shape == (300,)
    assert narrow.classes == list("0123456789")


def test_digits_with_capital_endings_are_there(digits):
    for file in (digits / "recordings").glob("*_ann_*"):
        file.rename(file.with_suffix(".WAV"))
    data = spoken_digits(digits, "all")
    assert len(data) == 16 and {item["speaker"] for item in data} == {"ann", "bob_b"}


def test_digits_with_a_speaker_left_out(digits):
    train = spoken_digits(digits, "train", left_out="ann")
    test = spoken_digits(digits, "test", left_out="ann")
    assert {item["speaker"] for item in train} == {"bob_b"} and len(train) == 8
    assert {item["speaker"] for item in test} == {"ann"} and len(test) == 8
    with pytest.raises(ValueError, match=r"one of ann, bob_b; got 'carl'"):
        spoken_digits(digits, left_out="carl")


def test_digits_are_read_once_and_make_a_batch(digits):
    data = spoken_digits(digits, "test", rate=8_000)
    assert data[0]["audio"] is data[0]["audio"]
    batch = Collate()([data[0], data[7]])
    assert batch["labels"].tolist() == [3, 7] and batch["audio"].shape == (2, 704)
    assert batch["audio_mask"].sum(1).tolist() == [300, 704]


def test_digits_that_are_not_there_are_named(digits, tmp_path):
    with pytest.raises(ValueError, match=r"one of train, test, all; got 'dev'"):
        spoken_digits(digits, "dev")
    with pytest.raises(FileNotFoundError, match=r"no wav files in .*nowhere"):
        spoken_digits(tmp_path / "nowhere")
    for file in (digits / "recordings").glob("*_[04].wav"):
        file.unlink()
    with pytest.raises(ValueError, match=r"no recording .* the split 'test'"):
        spoken_digits(digits, "test")


@pytest.mark.parametrize(
    "name", ["seven.wav", "7_ann.WAV", "7_ann_5.mp3", "77_ann_5.wav"]
)
def test_digits_of_another_name_are_an_error(digits, name):
    (digits / "recordings" / name).touch()
    with pytest.raises(ValueError, match=f"{name} must be named digit_speaker_number"):
        spoken_digits(digits)


# ------------------------------------------------------------------ real data

DATA = os.environ.get("MMBOOK_DATA")


@pytest.mark.skipif(not DATA, reason="MMBOOK_DATA does not name a folder of data sets")
def test_real_digits():
    folder = Path(DATA, "fsdd")
    train, test = (spoken_digits(folder, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (2700, 300)
    counts = np.bincount([known["label"] for known in test.known])
    assert counts.tolist() == [30] * 10
    others = spoken_digits(folder, "train", left_out="theo", rate=8_000)
    assert len(others) == 2500 and len({k["speaker"] for k in others.known}) == 5
    assert 0.1 < len(others[0]["audio"]) / 8_000 < 2.3
