"""Saving and loading: every part comes back the same, or says what is wrong."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import mmbook.saving as configuration
from mmbook.encoders import (
    AudioEncoder,
    ConvAudioEncoder,
    ConvImageEncoder,
    FrameVideoEncoder,
    PatchImageEncoder,
    TextEncoder,
    TubeletVideoEncoder,
)
from mmbook.fusion import FUSIONS, Concatenation
from mmbook.heads import (
    ClassificationHead,
    CTCHead,
    EmbeddingHead,
    GenerationHead,
    PairHead,
)
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.saving import Configured, find_folder, write_folder
from mmbook.tokens import Tokens

IMAGE = {"image": torch.rand(2, 3, 16, 16)}
VIDEO = {"video": torch.rand(2, 3, 3, 16, 16)}
AUDIO = {"audio": torch.rand(2, 1_600) - 0.5}
TEXT = {"text": torch.tensor([[1, 2, 3], [4, 5, 0]])}
WORDS = {"labels": torch.tensor([[3, 4, 2], [5, 2, -100]])}
BOTH = {"image": Tokens(torch.randn(2, 3, 8)), "text": Tokens(torch.randn(2, 2, 6))}
WIDTHS = {"image": 8, "text": 6}


def captioner():
    return MultimodalModel(
        {"image": ConvImageEncoder(8, 16, channels=(4,))},
        Concatenation({"image": 8}, 8),
        GenerationHead(7, 8, 1, 2, 5, context_width=8, transform=True),
    )


def pair():
    encoders = {
        "image": PatchImageEncoder(8, 1, 2, 16, 8),
        "text": TextEncoder(6, 6, 1, 2, 4),
    }
    return MultimodalModel(encoders, None, PairHead(WIDTHS, 5))


PARTS = {
    "conv": (lambda: ConvImageEncoder(8, 16, (4,)), lambda m: m(**IMAGE).values),
    "patch": (lambda: PatchImageEncoder(8, 1, 2, 16, 8), lambda m: m(**IMAGE).values),
    "text": (lambda: TextEncoder(6, 8, 1, 2, 4), lambda m: m(TEXT["text"]).values),
    "frames": (
        lambda: FrameVideoEncoder(PatchImageEncoder(8, 1, 2, 16, 8), 4, 1, 2),
        lambda m: m(**VIDEO).values,
    ),
    "joint tubelets": (
        lambda: TubeletVideoEncoder(8, 1, 2, 4, 16, position="sinusoid"),
        lambda m: m(**VIDEO).values,
    ),
    "divided tubelets": (
        lambda: TubeletVideoEncoder(8, 1, 2, 4, 16, attention="divided", summary=True),
        lambda m: m(**VIDEO).values,
    ),
    "audio": (
        lambda: AudioEncoder(8, 1, 2, 10, seconds=0.2),
        lambda m: m(**AUDIO).values,
    ),
    "conv audio": (
        lambda: ConvAudioEncoder(8, 10, strides=(2, 2)),
        lambda m: m(**AUDIO).values,
    ),
    "ctc": (lambda: CTCHead(8, 5, end=None), lambda m: m(BOTH["image"])[0]),
    "classes": (lambda: ClassificationHead(8, 3, 4), lambda m: m(BOTH["image"])[0]),
    "embedding": (lambda: EmbeddingHead(8, 3), lambda m: m(BOTH["image"])[0]),
    "language": (
        lambda: LanguageModel(GenerationHead(7, 8, 1, 2, 5)),
        lambda m: m(**WORDS).logits,
    ),
    "captioner": (captioner, lambda m: m(**IMAGE, **WORDS).logits),
    "pair": (pair, lambda m: m(**IMAGE, **TEXT).logits),
}
PARTS |= {
    name: (lambda method=method: method(WIDTHS, 8), lambda m: m(BOTH).values)
    for name, method in FUSIONS.items()
}


@pytest.mark.parametrize("name", PARTS)
def test_every_part_comes_back_the_same(name, tmp_path):
    torch.manual_seed(0)
    make, use = PARTS[name]
    part = make().eval()
    part.save_pretrained(tmp_path / "saved")
    again = type(part).from_pretrained(tmp_path / "saved")
    assert type(again) is type(part) and not again.training
    assert again.to_config() == part.to_config()
    assert torch.equal(use(again), use(part))
    files = {file.name for file in (tmp_path / "saved").iterdir()}
    assert files == {"config.json", "model.safetensors"}


def test_no_part_of_the_book_is_forgotten_here():
    tested = {type(m) for make, _ in PARTS.values() for m in make().modules()}
    known = {ConvImageEncoder, PatchImageEncoder, TextEncoder, ClassificationHead}
    known |= {FrameVideoEncoder, TubeletVideoEncoder}
    known |= {AudioEncoder, ConvAudioEncoder, CTCHead}
    known |= {GenerationHead, EmbeddingHead, PairHead, MultimodalModel, LanguageModel}
    assert known | set(FUSIONS.values()) <= tested


def test_configured_is_the_way_to_load_whatever_is_there(tmp_path):
    captioner().save_pretrained(tmp_path / "saved")
    assert isinstance(Configured.from_pretrained(tmp_path / "saved"), MultimodalModel)


def test_config_remembers_defaults_and_subclasses_own_arguments():
    class Wider(ConvImageEncoder):
        def __init__(self, factor=2):
            super().__init__(width=8 * factor)

    assert Wider().to_config() == {"class": "Wider", "factor": 2}
    assert configuration.build({"class": "Wider", "factor": 3}).width == 24
    assert ConvImageEncoder().to_config()["channels"] == [32, 64]


def test_a_replaced_part_is_saved_as_it_is_now(tmp_path):
    model = captioner().eval()
    model.head = GenerationHead(9, 8, 2, 2, 5, context_width=8)
    model.encoders["image"] = PatchImageEncoder(8, 1, 2, 16, 8)
    model.eval().save_pretrained(tmp_path / "saved")
    again = MultimodalModel.from_pretrained(tmp_path / "saved")
    expected = model(**IMAGE, **WORDS).logits
    assert torch.equal(again(**IMAGE, **WORDS).logits, expected)


def test_values_that_json_cannot_hold_are_named():
    class Odd(Configured):
        def __init__(self, thing):
            super().__init__()

    with pytest.raises(TypeError, match=r"object at.*json values and modules"):
        Odd(object()).to_config()


# ------------------------------------------------------------------ what is damaged


@pytest.fixture
def saved(tmp_path):
    return ClassificationHead(4, 2).save_pretrained(tmp_path / "saved")


def test_truncated_weights(saved):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"model.safetensors is damaged or cut off"):
        Configured.from_pretrained(saved)


@pytest.mark.parametrize("text", ['{"class": "Classif', "[1, 2]", ""])
def test_truncated_config(saved, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json is damaged or cut off"):
        Configured.from_pretrained(saved)


def test_missing_files(saved, tmp_path):
    (saved / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no weights at"):
        Configured.from_pretrained(saved)
    (saved / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config.json"):
        Configured.from_pretrained(saved)
    with pytest.raises(FileNotFoundError, match=r"no folder.*owner/name"):
        Configured.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no folder 'mmbook/nothing'"):
        find_folder("mmbook/nothing", "config.json")


def test_weights_that_do_not_fit(saved):
    file = saved / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, "layers.1.bias": torch.zeros(3)}, file)
    with pytest.raises(ValueError, match=r"do not fit(.|\n)*layers.1.bias"):
        Configured.from_pretrained(saved)
    weights.pop("layers.1.bias")
    save_file(weights, file)
    with pytest.raises(ValueError, match=r"do not fit(.|\n)*layers.1.bias"):
        Configured.from_pretrained(saved)


def test_another_class_than_asked_for(saved):
    with pytest.raises(ValueError, match=r"ClassificationHead, not a TextEncoder"):
        TextEncoder.from_pretrained(saved)


def test_a_class_without_an_init_of_its_own_comes_back():
    class Plain(Configured):
        """Nothing to remember."""

    assert Plain().to_config() == {"class": "Plain"}
    assert isinstance(Plain.from_config(Plain().to_config()), Plain)


def test_unknown_class_and_unknown_arguments(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "class": "Ghost"}))
    with pytest.raises(ValueError, match=r"'Ghost'.*import.*ClassificationHead"):
        Configured.from_pretrained(saved)
    (saved / "config.json").write_text(json.dumps({**config, "mystery": 1}))
    with pytest.raises(TypeError, match="mystery"):
        Configured.from_pretrained(saved)


# ------------------------------------------------------------------ all or nothing


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_failure_while_saving_leaves_the_old_files_alone(saved, monkeypatch):
    def disk_full(*_):
        raise OSError("no space left")

    before = contents(saved)
    monkeypatch.setattr(configuration, "save_model", disk_full)
    with pytest.raises(OSError, match="no space"):
        ClassificationHead(4, 3).save_pretrained(saved)
    assert contents(saved) == before
    assert [path.name for path in saved.parent.iterdir()] == ["saved"]


def test_saving_again_replaces_and_keeps_foreign_files(saved):
    (saved / "README.md").write_text("mine")
    head = ClassificationHead(4, 3)
    head.save_pretrained(saved)
    assert (saved / "README.md").read_text() == "mine"
    again = ClassificationHead.from_pretrained(saved)
    assert torch.equal(again.layers[1].weight, head.layers[1].weight)


def test_a_fresh_folder_appears_in_one_step(tmp_path, monkeypatch):
    seen = []

    def write(draft):
        (draft / "one").write_text("1")
        seen.append((tmp_path / "new").exists())
        (draft / "two").write_text("2")

    moves = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *a: (moves.append(a), replace(*a)))
    write_folder(tmp_path / "new", write, fresh=True)
    assert seen == [False] and len(moves) == 1
    assert contents(tmp_path / "new") == {"one": b"1", "two": b"2"}


def test_saved_files_can_be_read_by_others(saved):
    assert saved.stat().st_mode & 0o055 == 0o055


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path):
    class Tied(Configured):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

    tied = Tied()
    tied.save_pretrained(tmp_path / "saved")
    again = Tied.from_pretrained(tmp_path / "saved")
    assert again.a.weight is again.b.weight
    assert torch.equal(again.a.weight, tied.a.weight)
