"""Our image encoder equals ViT with the same weights."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from mmbook.encoders import PatchImageEncoder
from mmbook.twins import image_encoder_from_vit

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def scramble(module):
    """Weights far from any special start, norms and biases too."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def tiny_vit(**changes):
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
def test_a_patch_encoder_equals_vit(changes, tmp_path):
    vit = tiny_vit(**changes)
    ours = image_encoder_from_vit(vit)
    image = torch.rand(3, 3, 24, 24)
    expected = vit(pixel_values=2 * image - 1).last_hidden_state  # ViT reads −1 … 1
    tokens = ours(image)
    assert tokens.values.shape == (3, 37 if changes else 10, 16)
    torch.testing.assert_close(tokens.values, expected, **CLOSE)
    assert not ours.training
    vit.save_pretrained(tmp_path)
    loaded = image_encoder_from_vit(str(tmp_path))  # a folder in place of the model
    assert torch.equal(loaded(image).values, tokens.values)


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
        ({"hidden_act": "relu"}, "vit with gelu has a twin; got 'relu'"),
        ({"num_channels": 1}, "num_channels 3 is needed; got 1"),
        ({"qkv_bias": False}, "qkv_bias True is needed; got False"),
    ],
)
def test_a_vit_that_ours_cannot_be_is_named(changes, words):
    with pytest.raises(ValueError, match=words):
        image_encoder_from_vit(tiny_vit(**changes))


def test_what_is_no_vit_is_named():
    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    with pytest.raises(ValueError, match="a vit checkpoint is needed; got a 'bert'"):
        image_encoder_from_vit(BertModel(config))
