"""The spectrogram equals that of Whisper, and audio encoders never hear padding."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import WhisperFeatureExtractor

from mmbook.data import Collate
from mmbook.encoders import AudioEncoder, ConvAudioEncoder
from mmbook.encoders.spectrogram import LogMel, log_mel, mel_filters
from mmbook.heads import ClassificationHead
from mmbook.layers import sinusoids
from mmbook.models import MultimodalModel
from mmbook.world import SpokenScenes, sample_scenes, sample_voices

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
EXTRACTOR = WhisperFeatureExtractor()
ENCODERS = {
    "transformer": lambda **more: AudioEncoder(16, 2, 2, mels=20, **more),
    "convolutions": lambda **more: ConvAudioEncoder(16, mels=20, **more),
}


def noise(rows, samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, samples, generator=generator) * 2 - 1


def sine(hertz=440, samples=16_000):
    return torch.sin(2 * math.pi * hertz * torch.arange(samples) / 16_000)


def scramble(module):
    """Weights far from any special start, norms and biases too; positions stay."""
    for name, parameter in module.named_parameters():
        if "positions" not in name:
            nn.init.normal_(parameter, std=0.2)


def masked(lengths):
    return torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


# ------------------------------------------------------------------ the spectrogram


def test_filters_equal_those_of_whisper():
    filters = mel_filters(80, 16_000)
    assert filters.shape == (201, 80) and filters.dtype == torch.float32
    assert np.abs(filters.numpy() - EXTRACTOR.mel_filters).max() < 1e-7


def test_filters_have_area_one_and_rising_middles():
    filters = mel_filters(40, 8_000)  # (101, 40), bins of 40 Hz
    assert torch.allclose(filters.sum(0)[20:] * 40, torch.ones(20), atol=0.05)
    assert (filters.argmax(0).diff() >= 0).all()
    with pytest.raises(ValueError, match=r"200 mel bands are too many for 8000"):
        mel_filters(200, 8_000)


def test_a_sine_in_thirty_seconds_has_the_known_numbers():
    wave = torch.cat([sine(), torch.zeros(29 * 16_000)])[None]
    ours, real = log_mel(wave)
    expected = EXTRACTOR(sine().numpy(), sampling_rate=16_000, return_tensors="pt")
    assert ours.shape == (1, 80, 3000) and real.all()
    torch.testing.assert_close(ours, expected["input_features"], rtol=0, atol=1e-4)
    assert ours.max() == pytest.approx(1.58872, abs=1e-4)
    assert ours.min() == pytest.approx(-0.41128, abs=1e-4)


@pytest.mark.parametrize("samples", [12_345, 16_000, 16_001, 16_159])
def test_other_lengths_equal_the_extractor(samples):
    waves = noise(2, samples) * torch.tensor([[1.0], [0.01]])
    features = EXTRACTOR(list(waves.numpy()), sampling_rate=16_000, padding="longest")
    ours, _ = log_mel(waves)
    expected = torch.tensor(features["input_features"])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_a_high_tone_is_in_a_high_band():
    bands = [log_mel(sine(hertz)[None])[0].mean(-1).argmax() for hertz in (300, 3_000)]
    middles = [float(mel_filters()[:, band].argmax()) * 40 for band in bands]
    assert middles == pytest.approx([300, 3_000], abs=60)


def test_padding_changes_nothing_in_the_spectrogram():
    lengths = [5_000, 4_321, 1_600, 399, 160, 100, 1]
    mask = masked(lengths)
    waves = noise(7, 5_000)
    values, real = log_mel(waves, mask, mels=20)
    again, _ = log_mel(torch.where(mask, waves, 77.0), mask, mels=20)
    assert torch.equal(values, again)
    assert real.sum(1).tolist() == [31, 27, 10, 2, 1, 1, 1]
    assert not values.masked_select(~real[:, None]).any()
    for row, length in enumerate(lengths):
        alone, all_real = log_mel(waves[row : row + 1, :length], mels=20)
        assert all_real.all() and alone.shape[-1] == real[row].sum()
        shown = values[row : row + 1, :, : alone.shape[-1]]
        torch.testing.assert_close(shown, alone, rtol=0, atol=1e-5)


def test_silence_and_nothing_at_all_are_finite():
    values, real = log_mel(torch.zeros(2, 800), masked([800, 800]) & masked([800, 0]))
    assert values.isfinite().all() and real.sum(1).tolist() == [5, 0]


def test_the_spectrogram_stays_exact_in_mixed_precision():
    wave = noise(1, 4_000)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = log_mel(wave)
    assert torch.equal(mixed, log_mel(wave)[0])
    half, _ = LogMel().half()(wave)  # a model that was cast as a whole
    torch.testing.assert_close(half, log_mel(wave)[0], rtol=0, atol=2e-2)


def test_positions_are_waves_of_growing_length():
    table = sinusoids(torch.arange(50), 8, "whisper")
    for n, k in (0, 0), (7, 2), (49, 3):
        angle = n / 10_000 ** (k / 3)
        assert table[n, k] == pytest.approx(math.sin(angle), abs=1e-5)
        assert table[n, 4 + k] == pytest.approx(math.cos(angle), abs=1e-5)


# ------------------------------------------------------------------ both encoders


@pytest.mark.parametrize("kind", ENCODERS)
def test_padding_never_changes_real_tokens(kind):
    torch.manual_seed(0)
    encoder = ENCODERS[kind]().eval()
    scramble(encoder)
    lengths = [8_000, 6_543, 3_200, 700, 80]
    mask, waves = masked(lengths), noise(5, 8_000)
    with torch.no_grad():
        tokens = encoder(waves, mask)
        again = encoder(torch.where(mask, waves, -5.0), mask)
        assert torch.equal(tokens.values[tokens.mask], again.values[again.mask])
        for row, length in enumerate(lengths):
            alone = encoder(waves[row : row + 1, :length])
            assert alone.mask.all() and len(alone.values[0]) == tokens.mask[row].sum()
            real = tokens.values[row, tokens.mask[row]]
            torch.testing.assert_close(real, alone.values[0], **CLOSE)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_token_stands_for_forty_milliseconds(kind):
    encoder = ENCODERS[kind]().eval()
    tokens = encoder(noise(2, 16_000), masked([16_000, 4_000]))
    assert tokens.values.shape == (2, 25, 16) and encoder.width == 16
    assert tokens.mask.sum(1).tolist() == [25, 7]  # 1 s, and 250 ms begun
    narrow = ENCODERS[kind](rate=8_000).eval()(noise(1, 8_000))
    assert narrow.values.shape == (1, 25, 16)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_click_is_heard_where_it_is(kind):
    torch.manual_seed(0)
    encoder = ENCODERS[kind]().eval()
    wave = 0.01 * noise(1, 16_000)
    changed = wave.clone()
    changed[:, 4_000:4_100] += 0.5  # after a quarter of 25 tokens
    where = (encoder(changed).values - encoder(wave).values).abs().sum(-1)[0]
    assert abs(int(where.argmax()) - 6) <= 2


def test_a_transformer_knows_the_order_and_looks_both_ways():
    torch.manual_seed(0)
    encoder = ENCODERS["transformer"]().eval()
    wave = noise(1, 16_000)
    changed = wave.clone()
    changed[:, -2_000:] = 0
    first, second = encoder(wave).values, encoder(changed).values
    assert not torch.allclose(first[:, 0], second[:, 0], atol=1e-4)
    steady = sine(500)[None]  # the same at every moment
    values = encoder(steady).values
    assert not torch.allclose(values[:, 8], values[:, 12], atol=1e-3)


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_parameter_learns(kind):
    encoder = ENCODERS[kind]()
    tokens = encoder(noise(2, 4_000), masked([4_000, 2_000]))
    tokens.pooled().pow(2).sum().backward()
    silent = [n for n, p in encoder.named_parameters() if p.grad is None]
    assert not silent
    stored = set(encoder.state_dict())
    assert stored == {name for name, _ in encoder.named_parameters()}  # no filters


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_row_without_sound_disturbs_nobody(kind):
    encoder = ENCODERS[kind]().eval()
    waves = noise(2, 3_200)
    mask = torch.tensor([[True], [False]]).expand(2, 3_200)
    tokens = encoder(waves, mask)
    assert not tokens.mask[1].any() and not tokens.pooled()[1].any()
    torch.testing.assert_close(tokens.values[:1], encoder(waves[:1]).values, **CLOSE)


@pytest.mark.parametrize("kind", ENCODERS)
def test_wrong_sounds_are_named(kind):
    encoder = ENCODERS[kind]()
    wave = torch.zeros(2, 800)
    for audio, mask, words in (
        (
            torch.zeros(2, 1, 800),
            None,
            r"\(B, S\).*\(2, 1, 800\): drop the axis of cha",
        ),
        (torch.zeros(800), None, r"\(B, S\).*\(800,\)"),
        (torch.zeros(2, 0), None, r"\(B, S\).*\(2, 0\)"),
        (torch.zeros(2, 800, dtype=torch.int16), None, r"int16: divide.*32768"),
        (wave, torch.ones(2, 800), r"bool \(2, 800\).*float32 \(2, 800\)"),
        (wave, torch.ones(2, 5).bool(), r"bool \(2, 800\).*bool \(2, 5\)"),
    ):
        with pytest.raises(ValueError, match=words):
            encoder(audio, mask)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="multiple of 200; got 11025"):
        AudioEncoder(rate=11_025)


def test_spoken_scenes_go_through_a_model_whatever_the_padding():
    torch.manual_seed(0)
    model = MultimodalModel(
        {"audio": ENCODERS["transformer"](rate=8_000)},
        None,
        PooledHead(ClassificationHead(16, 3)),
    ).eval()
    data = SpokenScenes(sample_scenes(3, 0), sample_voices(3), rate=8_000)
    items = [{"audio": data[k]["audio"], "label": k} for k in range(3)]
    batch = Collate()(items)
    first = model(**batch)
    longer = {k: F.pad(batch[k], (0, 5_000)) for k in ("audio", "audio_mask")}
    second = model(**batch | longer)
    torch.testing.assert_close(first.logits, second.logits, **CLOSE)
    assert first.loss.isfinite()


class PooledHead(nn.Module):
    """Hands a head the tokens of the only modality."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, tokens, labels, items):
        return self.head(tokens["audio"], labels, items)
