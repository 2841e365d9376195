"""Image encoders equal plain torch.nn, and transformers' ViT, with the same weights."""

import pytest
import torch
from torch import nn

from mmbook.encoders import ConvImageEncoder, PatchImageEncoder
from mmbook.twins import image_encoder_from_vit

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def scramble(module):
    """Weights far from any special start, norms and biases too."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("training", [True, False])
def test_conv_encoder_equals_plain_torch(training):
    torch.manual_seed(0)
    twin = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
    ).train(training)
    scramble(twin)
    ours = ConvImageEncoder(width=8, size=20, channels=(4,)).train(training)
    ours.stages.load_state_dict(twin.state_dict())
    image = torch.rand(3, 3, 20, 20)
    features = twin(image - 0.5)  # (B, 8, 5, 5)
    tokens = ours(image)
    for row in range(5):
        for column in range(5):
            number = 5 * row + column
            expected = features[:, :, row, column] + ours.position[number]
            torch.testing.assert_close(tokens.values[:, number], expected, **CLOSE)
    assert tokens.values.shape == (3, 25, 8) and tokens.mask.all()


@pytest.mark.parametrize("size", [7, 16, 20, 33])
def test_conv_encoder_takes_sizes_that_do_not_halve(size):
    encoder = ConvImageEncoder(width=8, size=size, channels=(4, 4))
    side = -(-size // 8)
    assert encoder(torch.rand(2, 3, size, size)).values.shape == (2, side**2, 8)


def tiny_vit(**changes):
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "image_size": 24,
        "patch_size": 8,
    }
    vit = ViTModel(ViTConfig(**config | changes), add_pooling_layer=False).eval()
    scramble(vit)
    return vit


@pytest.mark.parametrize("changes", [{}, {"layer_norm_eps": 0.1, "patch_size": 4}])
def test_patch_encoder_equals_transformers_vit(changes):
    vit = tiny_vit(**changes)
    ours = image_encoder_from_vit(vit)
    image = torch.rand(3, 3, 24, 24)
    expected = vit(pixel_values=2 * image - 1).last_hidden_state  # ViT reads −1 … 1
    tokens = ours(image)
    assert tokens.values.shape == (3, 37 if changes else 10, 16)
    torch.testing.assert_close(tokens.values, expected, **CLOSE)
    assert not ours.training


def test_a_copied_vit_is_one_of_ours_and_no_longer_the_other(tmp_path):
    vit = tiny_vit(hidden_dropout_prob=0.25)
    ours = image_encoder_from_vit(vit)
    image = torch.rand(2, 3, 24, 24)
    before = ours(image).values
    scramble(vit)
    assert torch.equal(ours(image).values, before)
    assert ours.blocks[0].dropout.p == 0.25
    again = PatchImageEncoder.from_pretrained(ours.save_pretrained(tmp_path / "vit"))
    assert torch.equal(again(image).values, before)


def test_a_vit_keeps_its_precision():
    ours = image_encoder_from_vit(tiny_vit().double())
    assert ours(torch.rand(1, 3, 24, 24).double()).values.dtype == torch.float64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'gelu' is needed; got 'relu'"),
        ({"num_channels": 1}, "num_channels 3 is needed; got 1"),
        ({"qkv_bias": False}, "qkv_bias True is needed; got False"),
    ],
)
def test_a_vit_that_ours_cannot_be_is_named(changes, words):
    with pytest.raises(ValueError, match=words):
        image_encoder_from_vit(tiny_vit(**changes))


def test_what_is_no_vit_is_named():
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    with pytest.raises(ValueError, match="model_type 'vit' is needed; got 'bert'"):
        image_encoder_from_vit(BertModel(config))


def test_patches_are_read_row_by_row():
    encoder = PatchImageEncoder(8, layers=0, size=16, patch=8)
    image = torch.zeros(1, 3, 16, 16)
    before = encoder(image).values
    image[:, :, :8, 8:] = 1.0  # above, right
    changed = (encoder(image).values != before).any(-1)[0]
    assert changed.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("make", [ConvImageEncoder, PatchImageEncoder])
def test_wrong_images_are_named(make):
    encoder = make(width=8, size=16)
    for image, words in (
        (torch.rand(8, 16, 16, 3), r"\(B, 3, H, W\).*\(8, 16, 16, 3\).*channels first"),
        (torch.rand(3, 16, 16), r"\(B, 3, H, W\).*\(3, 16, 16\)"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "uint8: divide by 255"),
        (torch.rand(1, 3, 16, 12), "16 pixels high and wide.*16 × 12: resize"),
        (torch.rand(1, 3, 32, 32), "16 pixels high and wide.*32 × 32: resize"),
    ):
        with pytest.raises(ValueError, match=words):
            encoder(image)


def test_a_patch_must_divide_the_size():
    with pytest.raises(ValueError, match="divide size; got 7 and 48"):
        PatchImageEncoder(patch=7)
