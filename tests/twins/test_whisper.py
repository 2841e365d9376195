"""Our audio encoder equals Whisper's with the same weights."""

import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from mmbook.encoders import AudioEncoder
from mmbook.twins import audio_encoder_from_whisper

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def noise(rows, samples):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, samples, generator=generator) * 2 - 1


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    """A tiny Whisper with random weights, norms and biases too."""
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=20,
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=24,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    whisper = WhisperModel(config)
    for name, parameter in whisper.named_parameters():
        if "positions" not in name:
            nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("whisper")
    whisper.save_pretrained(folder)
    return folder


def test_an_audio_encoder_equals_whisper(whisper_folder):
    whisper = WhisperModel.from_pretrained(whisper_folder, dtype=torch.float32).eval()
    ours = audio_encoder_from_whisper(str(whisper_folder))
    assert not ours.training and ours.width == 16
    mask = torch.arange(24_000) < torch.tensor([[24_000], [16_000]])
    waves = noise(2, 24_000) * mask
    features = WhisperFeatureExtractor()(
        [waves[0].numpy(), waves[1, :16_000].numpy()],
        sampling_rate=16_000,
        return_tensors="pt",
    )
    with torch.no_grad():
        expected = whisper.encoder(features["input_features"]).last_hidden_state
        tokens = ours(waves, mask)
        assert torch.equal(ours(waves + 9 * ~mask, mask).values, tokens.values)
    assert tokens.values.shape == (2, 1500, 16)
    torch.testing.assert_close(tokens.values, expected, **CLOSE)
    assert tokens.mask.sum(1).tolist() == [75, 50]  # 20 ms each
    for given in whisper, whisper.encoder:  # a model in place of its folder
        twin = audio_encoder_from_whisper(given).state_dict()
        assert all(torch.equal(v, twin[n]) for n, v in ours.state_dict().items())


def test_more_than_whisper_hears_is_named(whisper_folder):
    ours = audio_encoder_from_whisper(str(whisper_folder))
    with pytest.raises(ValueError, match=r"hears 480,000 samples; got 480,001: cut"):
        ours(torch.zeros(1, 480_001))


def test_a_copied_whisper_comes_back_from_a_folder_of_ours(whisper_folder, tmp_path):
    ours = audio_encoder_from_whisper(str(whisper_folder))
    ours.samples = 3_200  # less to compute
    ours.save_pretrained(tmp_path)
    again = AudioEncoder.from_pretrained(tmp_path)
    assert again.samples == 480_000 and again.to_config()["strides"] == [1, 2]
    again.samples = 3_200
    wave = noise(1, 3_000)
    assert torch.equal(again(wave).values, ours(wave).values)


def test_another_kind_of_checkpoint_is_named(whisper_folder, tmp_path):
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match="a whisper checkpoint is needed; got a 'gpt2'"
    ):
        audio_encoder_from_whisper(str(tmp_path))
    other = WhisperModel.from_pretrained(whisper_folder)
    with torch.no_grad():
        other.encoder.embed_positions.weight[3] += 0.1
    with pytest.raises(ValueError, match="positions of this Whisper are not sinusoids"):
        audio_encoder_from_whisper(other)
    other.config.activation_function = "relu"
    with pytest.raises(ValueError, match="whisper with gelu has a twin; got 'relu'"):
        audio_encoder_from_whisper(other)
