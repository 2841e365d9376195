"""What comes with the package: all there, small, readable, credited; MobileNetV2 right."""

import json
import os
import runpy
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

import mmbook
from mmbook import samples
from mmbook.pretrained import PretrainedImageEncoder
from mmbook.saving import find_folder

PACKAGE = Path(mmbook.__file__).parent
HERE = PACKAGE / "samples"
MODELS = os.environ.get("MMBOOK_MODELS")
MOBILENET = "mmbook/mobilenet-v2"


def bytes_of(folder: Path) -> int:
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )


# ------------------------------------------------------------------ photographs


@pytest.fixture(scope="module")
def photographs():
    return samples.photographs()


def test_42_photographs_have_five_captions_each(photographs):
    assert len(photographs.files) == 42 and len(photographs) == 210
    assert all(len(captions) == 5 for captions in photographs.references)
    assert all(c.strip() for captions in photographs.references for c in captions)
    assert photographs.pixels(0).shape == (3, 224, 224)


def test_padded_photographs_are_whole():
    assert samples.photographs(64, fit="pad").pixels(1)[:, :8].eq(0).all()


def test_photographs_are_at_most_320_pixels_long():
    for file in (HERE / "photographs/images").iterdir():
        with Image.open(file) as image:
            assert max(image.size) <= 320 and image.mode == "RGB"


def test_each_photograph_has_a_credit_with_its_own_licence(photographs):
    text = (HERE / "photographs/captions.json").read_text(encoding="utf-8")
    known = {image["file_name"]: image for image in json.loads(text)["images"]}
    credits = samples.CREDITS["photographs"]
    urls = {4: "licenses/by/2.0/", 5: "licenses/by-sa/2.0/"}
    for file, credit in zip(photographs.files, credits, strict=True):
        image = known[file.name]
        number = credit.page.removeprefix("https://www.flickr.com/photo.gne?id=")
        assert f"/{number}_" in image["flickr_url"] and number.isdigit()
        assert credit.licence_page.endswith(urls[image["license"]])
    assert len({credit.page for credit in credits}) == 42


def test_a_caption_line_says_where_from_licence_and_change():
    line = samples.credit(3)
    assert "flickr.com/photo.gne?id=5884430904" in line
    assert "CC BY 2.0" in line and "scaled to 320 px" in line


def test_several_photographs_share_one_line_that_names_each_licence():
    line = samples.credit(3, 5, 3)
    assert "photographer named there" in line and "scaled to 320 px" in line
    for index in (3, 5):
        credit = samples.CREDITS["photographs"][index]
        address, number = credit.page.split("=")
        assert line.count(f"{number} ({credit.licence})") == 1
        assert line.endswith(f"{address}= with the number")


def test_a_credit_needs_a_photograph():
    with pytest.raises(ValueError, match="got none"):
        samples.credit()


def test_each_photograph_has_its_own_alternative_text(photographs):
    text = (HERE / "photographs/alt.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == [file.name for file in photographs.files]
    texts = [samples.alt_text(index) for index in range(42)]
    assert len(set(texts)) == 42 and all(t.endswith(".") for t in texts)
    assert all(30 < len(t) < 160 for t in texts)
    written = {c for captions in photographs.references for c in captions}
    assert not written & set(texts)


@pytest.mark.parametrize("index", [-1, 42])
def test_a_number_without_photograph_is_refused(index):
    with pytest.raises(IndexError, match=f"0 to 41; got {index}"):
        samples.credit(index)
    with pytest.raises(IndexError, match=f"0 to 41; got {index}"):
        samples.alt_text(index)


# ------------------------------------------------------------------ sounds and film


@pytest.mark.parametrize(
    ("folder", "count", "rate"), [("sentences", 8, 16_000), ("digits", 60, 8_000)]
)
def test_wav_files_are_mono_loud_enough_and_not_clipped(folder, count, rate):
    files = list((HERE / folder).glob("*.wav"))
    assert len(files) == count
    for file in files:
        with wave.open(str(file)) as sound:
            assert sound.getparams()[:3] == (1, 2, rate)
            samples_ = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        steps = np.abs(samples_.astype(int))[: len(samples_) // 80 * 80]
        loudness = steps.reshape(-1, 80).mean(1)
        assert 600 < steps.max() < 32_700, file.name  # of 32,768
        assert loudness.max() > 5 * loudness.min(), file.name  # a voice, not noise


def test_each_speaker_says_each_digit_once_from_the_test_set():
    recordings = samples.digits()
    said = {(item["speaker"], item["label"]) for item in recordings}
    speakers = {speaker for speaker, _ in said}
    assert len(recordings) == len(said) == 60 and len(speakers) == 6
    assert {digit for _, digit in said} == set(range(10))
    indices = {int(file.stem.split("_")[2]) for file in recordings.files}
    assert indices <= set(range(5))  # the official test set


def test_digits_are_resampled_to_the_rate_that_is_asked_for():
    slow, fast = samples.digits(rate=8_000)[0], samples.digits()[0]
    assert len(fast["audio"]) == 2 * len(slow["audio"])
    assert fast["audio"].abs().max() <= 1


def test_sentences_have_what_is_said():
    recordings = samples.sentences()
    assert len(recordings) == 8
    for item in recordings:
        words = len(item["caption"].split())
        seconds = len(item["audio"]) / 16_000
        assert 1 < words / seconds < 5  # the rate of read speech
    captions = {item["caption"] for item in recordings}
    assert "This steward was practically supreme." in captions


def test_the_film_has_42_frames_that_differ():
    video, rate = samples.film()
    assert video.shape == (42, 3, 90, 160) and video.dtype == torch.uint8
    assert rate == 8
    assert all((video[i] != video[i + 1]).any() for i in range(41))


# ------------------------------------------------------------------ credits, size


def test_every_part_has_credits_with_links():
    folders = {f.name for f in HERE.iterdir() if f.is_dir()} - {"__pycache__"}
    assert folders | {"captions", "mobilenet-v2"} == samples.CREDITS.keys()
    for credit in sum(samples.CREDITS.values(), ()):
        assert all(vars(credit).values())
        assert credit.page.startswith("https://")
        assert credit.licence_page.startswith("https://")


def test_the_readme_names_every_licence():
    text = (HERE / "README.md").read_text(encoding="utf-8")
    for part, credits in samples.CREDITS.items():
        if part != "mobilenet-v2":
            assert {credit.licence for credit in credits} <= set(licences_in(text))


def licences_in(text: str) -> list[str]:
    names = ("CC BY 2.0", "CC BY-SA 2.0", "CC BY 4.0", "CC BY-SA 4.0", "CC BY 3.0")
    return [name for name in (*names, "public domain") if name in text]


def test_the_page_of_credits_is_current():
    tool = runpy.run_path(str(PACKAGE.parent / "tools/credits_page.py"))
    text = tool["TARGET"].read_text(encoding="utf-8")
    assert text == tool["page"](), "run tools/credits_page.py"


def test_the_page_of_credits_is_in_the_book():
    toc = (PACKAGE.parent / "_toc.yml").read_text(encoding="utf-8")
    assert "- file: chapters/appendix/credits\n" in toc


def test_samples_and_weights_are_small():
    assert bytes_of(HERE) + bytes_of(PACKAGE / "weights") < 14.5e6


@pytest.mark.slow
def test_the_wheel_has_all_parts_and_is_small(tmp_path):
    import zipfile

    build = "from setuptools import build_meta as b; b.build_wheel({!r})"
    done = subprocess.run(
        [sys.executable, "-c", build.format(str(tmp_path / "out"))],
        cwd=copied(PACKAGE.parent, tmp_path / "source"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = (tmp_path / "out").glob("*.whl")
    assert wheel.stat().st_size < 20e6
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in (HERE, PACKAGE / "weights"):
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert file.relative_to(PACKAGE.parent).as_posix() in names


def copied(root: Path, target: Path) -> Path:
    """What a wheel is built from, apart, so that the build leaves nothing here."""
    from shutil import copy, copytree, ignore_patterns

    copytree(root / "mmbook", target / "mmbook", ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT"):
        copy(root / name, target / name)
    (target.parent / "out").mkdir()
    return target


# ------------------------------------------------------------------ MobileNetV2


def classifier(folder):
    return AutoModelForImageClassification.from_pretrained(
        folder, dtype=torch.float32
    ).eval()


@pytest.fixture(scope="module")
def shipped():
    return classifier(find_folder(MOBILENET, needs="config.json"))


@pytest.fixture(scope="module")
def pixels(photographs):
    """All photographs as the checkpoint wants them: (42, 3, 224, 224)."""
    processor = AutoImageProcessor.from_pretrained(
        find_folder(MOBILENET, "config.json")
    )
    images = [Image.open(file).convert("RGB") for file in photographs.files]
    return processor(images, return_tensors="pt").pixel_values


@torch.no_grad()
def test_the_image_encoder_loads_by_name_in_float32():
    encoder = PretrainedImageEncoder.from_pretrained(MOBILENET)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert encoder.frozen and encoder.size == 224
    images = samples.photographs().pixels(0)[None] / 255
    assert encoder(images).values.shape == (1, 49, 1280)


def test_the_weights_are_stored_in_half_precision():
    from safetensors.torch import load_file

    weights = load_file(find_folder(MOBILENET, "config.json") / "model.safetensors")
    kinds = {w.dtype for name, w in weights.items() if "num_batches" not in name}
    assert kinds == {torch.float16}


@torch.no_grad()
def test_the_encoder_is_the_body_of_the_classifier(shipped, pixels):
    encoder = PretrainedImageEncoder.from_pretrained(MOBILENET)
    features = shipped.mobilenet_v2(pixels[:2]).last_hidden_state
    zero_to_one = pixels[:2] * encoder.std + encoder.mean
    tokens = encoder(zero_to_one).values
    torch.testing.assert_close(
        tokens, features.flatten(2).transpose(1, 2), rtol=1e-3, atol=1e-3
    )


@torch.no_grad()
@pytest.mark.parametrize(
    ("index", "answer"),
    [
        (0, "broccoli"),
        (10, "pizza"),
        (23, "street sign"),
        (28, "miniature poodle"),
        (38, "analog clock"),
    ],
)
def test_a_clear_photograph_is_classified_right(shipped, pixels, index, answer):
    probabilities = shipped(pixels[[index]]).logits.softmax(-1)[0]
    best = int(probabilities.argmax())
    assert shipped.config.id2label[best].split(",")[0] == answer
    assert probabilities[best] > 0.7


@torch.no_grad()
@pytest.mark.skipif(
    not MODELS,
    reason="MMBOOK_MODELS is not set: it names the folder with mobilenet_v2_1.0_224",
)
def test_half_precision_answers_as_the_full_one(shipped, pixels):
    full = classifier(Path(MODELS) / "mobilenet_v2_1.0_224")
    assert full.config.id2label == shipped.config.id2label
    exact, rounded = (m.mobilenet_v2(pixels).last_hidden_state for m in (full, shipped))
    assert (exact - rounded).abs().mean() < 0.005  # measured: 0.0035
    exact, rounded = (model(pixels).logits for model in (full, shipped))
    assert (exact - rounded).abs().max() < 0.1  # measured: 0.052
    assert torch.equal(exact.argmax(-1), rounded.argmax(-1))  # all 42
