"""Spectrograms that were made alike and made different, and the encoder that reads them."""

import pytest
import torch

from mmbook.data import stack_audio
from mmbook.encoders import AudioEncoder, SpectrogramAugment, SpectrogramEncoder
from mmbook.encoders.spectrogram import LogMel, normalise_bands
from mmbook.fusion import Concatenation
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel

NOTHING = {
    "tract": 0,
    "pace": 0,
    "shift": 0,
    "colour": 0,
    "noise": (300.0, 300.0),  # too soft to count
    "bands": 0,
    "moments": 0,
}


def augment_with(rate=16_000, **settings):
    made = SpectrogramAugment(40, rate)
    vars(made).update(settings)
    return made


def spectra(rows=3, steps=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, 40, steps, generator=generator)


def mask(lengths, steps=30):
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


# ------------------------------------------------------------------ normalisation


def test_each_band_has_mean_zero_and_variance_one():
    x = normalise_bands(4 * spectra(), depth=1000)
    assert x.mean(2).abs().max() < 1e-5
    assert (x.std(2, unbiased=False) - 1).abs().max() < 0.15  # 0.1 is added to it


def test_a_microphone_and_a_gain_make_no_difference():
    x = spectra()
    curve = torch.linspace(-0.2, 0.3, 40)[:, None]
    heard = normalise_bands(x + curve, depth=1000)
    assert torch.allclose(heard, normalise_bands(x, depth=1000), atol=1e-5)


def test_normalising_sees_no_padding():
    x, real = spectra(2), mask([30, 20])
    both = normalise_bands(x.masked_fill(~real[:, None], 9.0), real)
    alone = normalise_bands(x[1:, :, :20])
    assert torch.allclose(both[1, :, :20], alone[0], atol=1e-6)
    assert (both[1, :, 20:] == 0).all()


def test_what_is_too_soft_is_raised():
    x = torch.zeros(1, 40, 10)
    x[0, :, 5] = 2.0
    x[0, 3, 0] = -3.0  # 200 dB below the loudest
    low = x.clone()
    low[0, 3, 0] = -7.0
    assert torch.equal(normalise_bands(x, depth=80), normalise_bands(low, depth=80))


def test_a_band_in_which_nothing_happens_has_a_finite_slope():
    x = torch.zeros(1, 40, 6, requires_grad=True)
    normalise_bands(x).square().sum().backward()
    assert x.grad.isfinite().all()


# ------------------------------------------------------------------ augmentation


def test_in_eval_mode_nothing_changes():
    x = spectra()
    assert SpectrogramAugment(40).eval()(x) is x


def test_with_everything_at_zero_nothing_changes():
    x = spectra()
    changed = augment_with(**NOTHING)(x)
    assert torch.allclose(changed, x, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tract", 0.2),
        ("pace", 0.2),
        ("shift", 0.2),
        ("colour", 6.0),
        ("noise", (10.0, 20.0)),
        ("bands", 8),
        ("moments", 8),
    ],
)
def test_each_change_changes_each_row_in_its_own_way(name, value):
    torch.manual_seed(1)
    x = spectra(1).expand(2, -1, -1)
    changed = augment_with(**NOTHING | {name: value})(x)
    assert changed.isfinite().all()
    assert (changed - x).abs().amax((1, 2)).min() > 0.02
    assert (changed[0] - changed[1]).abs().max() > 0.02


def test_another_vocal_tract_moves_a_formant():
    """With a scale of 1.25 each band shows what stood at 1.25 times its frequency."""
    augment = augment_with(8_000, **NOTHING)
    augment._drawn = lambda x, most: torch.full((len(x), 1), 0.25 if most else 0.0)
    augment.tract = 0.25
    ridge = torch.exp(-((augment.centres - 1000) ** 2) / 1e4).float()
    changed = augment(ridge[None, :, None].expand(1, -1, 20))[0, :, 10]
    found = augment.centres[changed.argmax()].item()
    assert found == pytest.approx(1000 / 1.25, abs=60)


def test_noise_only_adds_and_most_where_it_is_quiet():
    torch.manual_seed(0)
    x = spectra(4) * torch.linspace(0, 1, 30)
    noisy = augment_with(**NOTHING | {"noise": (20.0, 20.0)})(x)
    added = (noisy - x).mean((0, 1))
    assert (noisy - x).min() > -1e-4 and added[:5].mean() > 2 * added[-5:].mean()


def test_augmenting_sees_no_padding():
    x, real = spectra(1), mask([20])
    augment = SpectrogramAugment(40)
    torch.manual_seed(5)
    first = augment(x, real)
    torch.manual_seed(5)
    second = augment(x.masked_fill(~real[:, None], 3.0), real)
    assert torch.equal(first, second) and (first[:, :, 20:] == 0).all()


def test_a_wrong_spectrogram_is_named():
    with pytest.raises(ValueError, match=r"\(B, 40, T\); got \(3, 30, 40\)"):
        SpectrogramAugment(40)(spectra().transpose(1, 2))


# ------------------------------------------------------------------ the encoder


def encoder(**settings):
    torch.manual_seed(0)
    made = SpectrogramEncoder(16, 4, 40, 8_000, **settings).train()
    for seed in range(3):
        made(spectra(8, seed=seed).transpose(1, 2))  # batch norm learns its numbers
    return made.eval()


def test_a_kept_spectrogram_and_its_waveform_give_the_same():
    made = encoder()
    waves = [torch.rand(count) - 0.5 for count in (4_000, 2_720)]
    audio, real = stack_audio(waves)
    spectrum, seen = LogMel(40, 8_000)(audio, real)
    kept = made(spectrum.transpose(1, 2), seen)
    heard = made(audio, real)
    assert torch.equal(kept.values, heard.values) and torch.equal(kept.mask, heard.mask)
    assert kept.values.shape == (2, 13, 16)


@pytest.mark.parametrize("normalise", [True, False])
def test_what_it_says_does_not_depend_on_the_batch(normalise):
    made = encoder(normalise=normalise)
    x, real = spectra(2).transpose(1, 2), mask([30, 18])
    both, alone = made(x, real), made(x[1:, :18])
    assert both.mask.sum(1).tolist() == [8, 5]
    assert torch.allclose(both.values[1, :5], alone.values[0], atol=1e-5)


def test_a_normalised_transformer_hears_no_microphone_and_no_padding():
    made = AudioEncoder(16, 1, 2, mels=40, rate=8_000, normalise=True).eval()
    plain = AudioEncoder(16, 1, 2, mels=40, rate=8_000).eval()
    plain.load_state_dict(made.state_dict())
    audio, real = stack_audio([torch.rand(count) - 0.5 for count in (4_000, 2_720)])
    both, alone = made(audio, real), made(audio[1:, :2_720])
    assert torch.allclose(both.values[1, :9], alone.values[0], atol=1e-5)
    louder, same = made(0.1 * audio, real).values, both.values
    assert torch.allclose(louder[real[:, ::320]], same[real[:, ::320]], atol=1e-3)
    assert not torch.allclose(
        plain(0.1 * audio, real).values, plain(audio, real).values
    )


def test_augmentation_is_for_training():
    made = encoder(augment=SpectrogramAugment(40, 8_000))
    x = spectra().transpose(1, 2)
    assert torch.equal(made(x).values, made(x).values)
    made.train()
    assert not torch.equal(made(x).values, made(x).values)


def test_it_is_saved_with_its_augmentation(tmp_path):
    made = encoder(augment=SpectrogramAugment(40, 8_000))
    made.save_pretrained(tmp_path)
    again = SpectrogramEncoder.from_pretrained(tmp_path)
    x = spectra().transpose(1, 2)
    assert isinstance(again.augment, SpectrogramAugment)
    assert torch.equal(made(x).values, again(x).values)


def test_every_weight_of_a_model_learns():
    head = ClassificationHead(16, 10)
    joined = Concatenation({"audio": 16}, 16)
    change = SpectrogramAugment(40, 8_000)
    model = MultimodalModel({"audio": encoder(augment=change)}, joined, head).train()
    loss = model(audio=spectra().transpose(1, 2), labels=torch.tensor([1, 2, 3])).loss
    loss.backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in model.parameters()
    )


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="multiple of 8; got 30"):
        SpectrogramEncoder(mels=30)
    with pytest.raises(ValueError, match=r"\(B, T, 40\); got \(3, 40, 30\)"):
        encoder()(spectra())
