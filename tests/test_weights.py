"""The book's own pre-trained parts: what they were made of, and that they are there."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import mmbook
from mmbook.data import Collate
from mmbook.encoders import ConvAudioEncoder, ConvImageEncoder
from mmbook.saving import Configured, find_folder
from mmbook.weights import making, texts
from mmbook.weights.__main__ import _ABOUT
from mmbook.world import HELD_OUT, parse, sample_moving_scenes, sample_voices, speak

PARTS = sorted((Path(mmbook.__file__).parent / "weights").glob("scene-*"))
PRETEXTS = "masked words", "masked patches", "two views", "InfoNCE", "captioning"


@pytest.mark.parametrize("folder", PARTS, ids=lambda folder: folder.name)
def test_each_part_is_small_has_a_card_and_loads(folder):
    part = Configured.from_pretrained(f"mmbook/{folder.name}")
    parameters = sum(p.numel() for p in part.parameters())
    assert f"| parameters | {parameters:,} |" in (folder / "README.md").read_text()
    assert (folder / "model.safetensors").stat().st_size < 1.5e6


def test_every_part_is_made_by_the_script():
    made = {
        making.LANGUAGE_MODEL,
        making.IMAGE_ENCODER,
        making.AUDIO_ENCODER,
        making.CAPTIONER,
    }
    assert {folder.name for folder in PARTS} == made == set(_ABOUT)


def test_the_pretext_models_are_those_of_their_card_and_share_an_encoder():
    folder = find_folder("mmbook/pretext-models", needs="model.safetensors")
    file = folder / "model.safetensors"
    assert file.stat().st_size < 1.5e6
    stored = load_file(file)
    models = {}
    for key, value in stored.items():
        name, part = key.split(".", 1)
        models.setdefault(name, {})[part] = value
    assert set(models) == set(PRETEXTS)
    for name, state in models.items():
        floats = [v for v in state.values() if v.is_floating_point()]
        assert all(v.dtype == torch.half and v.isfinite().all() for v in floats)
        count = sum(v.numel() for v in floats)
        assert f"| {name} | {count:,} values |" in (folder / "README.md").read_text()
        begins = "encoder."
        encoder = ConvImageEncoder(64, 24, channels=(16, 32))
        encoder.load_state_dict(
            {
                k.removeprefix(begins): v
                for k, v in state.items()
                if k.startswith(begins)
            }
        )


def test_dictations_are_what_is_said():
    scenes = sample_moving_scenes(12, 0)
    data = texts.Dictations(scenes, sample_voices(5), seed=3)
    for number, (scene, caption) in enumerate(zip(scenes, data.captions, strict=True)):
        facts = parse(caption)
        assert facts.true_of(scene)
        assert any(t.motion for t in facts.things) == (number % 3 == 2)
        assert not {(t.colour, t.shape) for t in facts.things} & HELD_OUT
        said = speak(caption, sample_voices(5)[number % 5], seed=(3, number))
        torch.testing.assert_close(data[number]["audio"], said, atol=1e-3, rtol=0)
    again = texts.Dictations(scenes, sample_voices(5), seed=3)
    assert again.captions == data.captions
    assert torch.equal(again.waves[7], data.waves[7])


def test_the_ears_hear_the_words_and_not_the_voice():
    ears = ConvAudioEncoder.from_pretrained("mmbook/scene-audio-encoder")
    sentences = [f"a big {word} circle" for word in ("red", "blue", "black", "green")]
    kept = []
    for voice in sample_voices(2, "test"):
        waves = [{"audio": speak(text, voice, seed=1)} for text in sentences]
        batch = Collate()(waves)
        with torch.no_grad():
            kept.append(ears(batch["audio"], batch["audio_mask"]).pooled())
    first, second = (F.normalize(k - k.mean(0), dim=-1) for k in kept)
    assert (first @ second.T).argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.slow
def test_the_audio_encoder_can_be_made(tmp_path, monkeypatch):
    """A few steps on a few sentences: the loss falls, and the run can be taken up."""
    few = making.sample_moving_scenes
    monkeypatch.setattr(
        making,
        "sample_moving_scenes",
        lambda count, seed, objects: few(4, seed, objects=(1,)),
    )
    encoder, history = making.pretrain_audio_encoder(tmp_path, steps=12)
    assert history["loss"][-1] < history["loss"][0]
    assert 0 <= history.validations[-1]["wrong words"]
    again, taken_up = making.pretrain_audio_encoder(tmp_path, steps=12)
    assert taken_up.steps == history.steps
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)
