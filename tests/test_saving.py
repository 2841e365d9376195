"""Saving and loading: every part comes back the same, or says what is wrong."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import mmbook.saving as saving
from mmbook.encoders import (
    AudioEncoder,
    ConvAudioEncoder,
    ConvImageEncoder,
    FrameVideoEncoder,
    PatchImageEncoder,
    PrecomputedTokens,
    SpectrogramAugment,
    SpectrogramEncoder,
    TextEncoder,
    TubeletVideoEncoder,
)
from mmbook.fusion import FUSIONS, Concatenation, Projector
from mmbook.heads import (
    GPT,
    CausalLMHead,
    ClassificationHead,
    ConvGenerationHead,
    CTCHead,
    EmbeddingHead,
    FlamingoHead,
    GenerationHead,
    MaskedWordHead,
    SharedSpaceHead,
    TransformerXLGenerationHead,
)
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.saving import Configured, build, find_folder, load_weights, write_folder
from mmbook.tokens import Tokens

IMAGE = {"image": torch.rand(2, 3, 16, 16)}
VIDEO = {"video": torch.rand(2, 3, 3, 16, 16)}
AUDIO = {"audio": torch.rand(2, 1_600) - 0.5}
TEXT = {"text": torch.tensor([[1, 2, 3], [4, 5, 0]])}
WORDS = {"labels": torch.tensor([[3, 4, 2], [5, 2, -100]])}
BOTH = {"image": Tokens(torch.randn(2, 3, 8)), "text": Tokens(torch.randn(2, 2, 6))}
WIDTHS = {"image": 8, "text": 6}
LLAMA = {"model_type": "llama", "vocab_size": 7, "hidden_size": 8, "head_dim": 4}
LLAMA |= {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}


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
    return MultimodalModel(encoders, None, SharedSpaceHead(WIDTHS, 5))


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
    "spectrogram": (
        lambda: SpectrogramEncoder(8, 2, 8, augment=SpectrogramAugment(8)),
        lambda m: m(**AUDIO).values,
    ),
    "kept": (lambda: PrecomputedTokens(8), lambda m: m(BOTH["image"].values).values),
    "masked word": (lambda: MaskedWordHead(8, 7), lambda m: m(BOTH["image"])[0]),
    "convolution writer": (
        lambda: ConvGenerationHead(7, 8, 8, 2, max_length=5),
        lambda m: m(BOTH["image"], **WORDS)[0],
    ),
    "transformer-xl writer": (
        lambda: TransformerXLGenerationHead(7, 8, 8, 1, 2, max_length=5),
        lambda m: m(BOTH["image"], **WORDS)[0],
    ),
    "ctc": (lambda: CTCHead(8, 5, end=None), lambda m: m(BOTH["image"])[0]),
    "classes": (lambda: ClassificationHead(8, 3, 4), lambda m: m(BOTH["image"])[0]),
    "embedding": (lambda: EmbeddingHead(8, 3), lambda m: m(BOTH["image"])[0]),
    "language": (
        lambda: LanguageModel(GenerationHead(7, 8, 1, 2, 5)),
        lambda m: m(**WORDS).logits,
    ),
    "gpt": (lambda: GPT(7, 8, 1, 2, 1, max_length=5), lambda m: m(None, **WORDS)[0]),
    "flamingo": (
        lambda: FlamingoHead(7, 8, 8, layers=1, heads=2, max_length=5),
        lambda m: m(BOTH["image"], **WORDS)[0],
    ),
    "causal": (lambda: CausalLMHead(LLAMA, 5), lambda m: m(None, **WORDS)[0]),
    "projector, averaged": (
        lambda: Projector(WIDTHS, 8, 0.1, {"image": 1}),
        lambda m: (
            m({"image": Tokens(torch.ones(2, 4, 8)), "text": BOTH["text"]}).values
        ),
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
    bases = {"Fusion", "AttentionFusion", "Decoder"}
    known = {
        part
        for name, part in saving._CLASSES.items()
        if part.__module__.startswith("mmbook.") and name not in bases
        if not part.__module__.startswith("mmbook.pretrained")  # has tests of its own
    }
    assert known <= tested


def test_configured_is_the_way_to_load_whatever_is_there(tmp_path):
    captioner().save_pretrained(tmp_path / "saved")
    assert isinstance(Configured.from_pretrained(tmp_path / "saved"), MultimodalModel)


def test_config_remembers_defaults_and_subclasses_own_arguments():
    class Wider(ConvImageEncoder):
        def __init__(self, factor=2):
            super().__init__(width=8 * factor)

    assert Wider().to_config() == {"class": "Wider", "factor": 2}
    assert build({"class": "Wider", "factor": 3}).width == 24
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

    class Same(ClassificationHead):
        """What its parent remembers."""

    assert Plain().to_config() == {"class": "Plain"}
    assert isinstance(build(Plain().to_config()), Plain)
    again = build(Same(4, classes=2).to_config())
    assert isinstance(again, Same) and again.layers[1].out_features == 2


def test_options_come_back_as_they_were_given(tmp_path):
    class Optional(Configured):
        def __init__(self, width, **options):
            super().__init__()
            self.given = {"width": width} | options

    part = Optional(3, rate=0.5, kwargs={"deep": [1]})
    config = {"class": "Optional", "width": 3, "rate": 0.5, "kwargs": {"deep": [1]}}
    assert part.to_config() == config
    again = Configured.from_pretrained(part.save_pretrained(tmp_path / "saved"))
    assert again.given == part.given


def test_arguments_without_names_are_refused_when_the_class_is_made():
    with pytest.raises(TypeError, match="takes 'widths' without"):

        class Several(Configured):
            def __init__(self, *widths):
                super().__init__()

    with pytest.raises(TypeError, match="takes 'width' without"):

        class Placed(Configured):
            def __init__(self, width, /):
                super().__init__()


def test_the_name_of_another_part_is_refused_when_the_class_is_made():
    with pytest.raises(TypeError, match=r"by its name alone.*of mmbook\.heads\."):
        type("ClassificationHead", (Configured,), {})
    again = build(ClassificationHead(4, 2).to_config())
    assert isinstance(again, ClassificationHead), "it is still known"


def test_a_cell_that_is_run_again_defines_its_class_again(tmp_path):
    cell = """
class Head(Configured):
    def __init__(self, width):
        super().__init__()
        self.layer, self.version = torch.nn.Linear(width, 1), {version}
"""
    notebook = {"__name__": "__main__", "Configured": Configured, "torch": torch}
    exec(cell.format(version=1), notebook)
    folder = notebook["Head"](np.int64(3)).save_pretrained(tmp_path / "saved")
    exec(cell.format(version=2), notebook)
    again = notebook["Head"].from_pretrained(folder)
    assert again.version == 2 and again.layer.in_features == 3


def test_numbers_of_numpy_can_be_arguments(tmp_path):
    sizes = np.array([4, 6, 3])
    head = ClassificationHead(sizes[0], classes=sizes[2], hidden=sizes[1])
    config = json.loads(json.dumps(head.to_config()))
    assert (config["width"], config["classes"], config["hidden"]) == (4, 3, 6)
    again = Configured.from_pretrained(head.save_pretrained(tmp_path / "saved"))
    assert again.to_config() == head.to_config()

    class Rates(Configured):
        def __init__(self, values):
            super().__init__()

    values = {"a": [np.float32(0.5), np.bool_(True)], "b": (np.float64(0.1),)}
    assert Rates(values).to_config()["values"] == {"a": [0.5, True], "b": [0.1]}
    with pytest.raises(TypeError, match="only json values"):
        Rates(np.zeros(2)).to_config()


def test_what_cannot_be_done_with_a_folder_is_refused(tmp_path):
    with pytest.raises(TypeError, match="'push_to_hub'"):
        ClassificationHead(4, 2).save_pretrained(tmp_path / "saved", push_to_hub=True)
    assert not (tmp_path / "saved").exists()


@pytest.mark.slow
def test_the_trainer_of_transformers_writes_weights_that_can_be_loaded(tmp_path):
    """It calls ``save_pretrained`` of its own models only."""
    from transformers import Trainer, TrainingArguments

    model = captioner()
    arguments = TrainingArguments(tmp_path, use_cpu=True, report_to="none")
    Trainer(model=model, args=arguments).save_model(tmp_path / "saved")
    other = captioner()
    load_weights(other, tmp_path / "saved" / "model.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


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
    monkeypatch.setattr(saving, "save_model", disk_full)
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


def test_a_new_folder_appears_in_one_step(tmp_path, monkeypatch):
    seen = []

    def write(draft):
        (draft / "one").write_text("1")
        seen.append((tmp_path / "new").exists())
        (draft / "two").write_text("2")

    moves = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *a: (moves.append(a), replace(*a)))
    write_folder(tmp_path / "new", write)
    assert seen == [False] and len(moves) == 1
    assert contents(tmp_path / "new") == {"one": b"1", "two": b"2"}


KILLED = """
import os, sys
from mmbook.heads import ClassificationHead

left, replace = int(sys.argv[2]), os.replace
def dying(*names):
    global left
    left -= 1
    replace(*names) if left >= 0 else os._exit(9)
os.replace = dying
ClassificationHead(4, 5).save_pretrained(sys.argv[1])
"""


@pytest.mark.slow
def test_a_kill_between_two_moves_leaves_the_old_model_or_the_new_one(tmp_path):
    """There are three moves: the draft becomes complete, then each of its files."""
    folders = [ClassificationHead(4, 2).save_pretrained(tmp_path / n) for n in "0123"]
    killed = [
        subprocess.Popen([sys.executable, "-c", KILLED, str(folder), folder.name])
        for folder in folders
    ]
    assert [process.wait() for process in killed] == [9, 9, 9, 0]
    for folder in folders:
        (folder / "README.md").write_text("mine")
        again = Configured.from_pretrained(folder)
        assert again.layers[1].out_features == (2 if folder.name == "0" else 5)
        assert not (folder / ".complete").exists()
        ClassificationHead(4, 3).save_pretrained(folder)
        assert Configured.from_pretrained(folder).layers[1].out_features == 3
        assert (folder / "README.md").read_text() == "mine"


def test_the_next_writer_finishes_what_was_interrupted(saved):
    (saved / ".complete").mkdir()
    (saved / ".complete" / "extra.json").write_text("new")
    (saved / "config.json").rename(saved / ".complete" / "config.json")
    write_folder(saved, lambda draft: (draft / "other").write_text("2"))
    assert contents(saved).keys() == {
        "config.json",
        "model.safetensors",
        "extra.json",
        "other",
    }


def test_what_is_flushed_to_the_disk_may_be_written_to(tmp_path, monkeypatch):
    """Windows refuses to flush a file that was opened for reading."""
    flushed = []

    def flush(handle):
        os.write(handle, b"")  # an error if it is only open for reading
        flushed.append(handle)

    monkeypatch.setattr(os, "fsync", flush)
    ClassificationHead(4, 2).save_pretrained(tmp_path / "saved")
    assert len(flushed) == 2


def test_a_folder_has_the_rights_of_any_other(saved, tmp_path):
    (tmp_path / "other").mkdir()
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


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
