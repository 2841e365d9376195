"""Pre-trained encoders stay frozen if they should, and come back from a folder."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ViTModel

from mmbook.fusion import Concatenation
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel
from mmbook.pretrained import PretrainedImageEncoder, PretrainedTextEncoder
from mmbook.saving import Configured, build


def pictures(count=2, size=32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=generator)


def test_the_linear_layer_brings_tokens_to_the_width(vit):
    plain = PretrainedImageEncoder.from_pretrained(vit)
    wide = PretrainedImageEncoder.from_pretrained(vit, width=5)
    assert (plain.width, wide.width, wide.own_width) == (16, 5, 16)
    expected = wide.project(plain(pictures()).values)
    assert torch.allclose(wide(pictures()).values, expected, atol=1e-6)


def test_weights_are_loaded_in_float32(vit):
    ViTModel.from_pretrained(vit).bfloat16().save_pretrained(vit)
    assert load_file(vit / "model.safetensors").popitem()[1].dtype == torch.bfloat16
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_frozen_stays_in_eval_mode_and_gets_no_gradient(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, width=4)
    before = encoder(pictures()).values
    holder = torch.nn.ModuleList([encoder]).train()
    after = encoder(pictures()).values  # dropout of 0.5 would show
    assert encoder.training and not encoder.model.training and holder.training
    assert torch.equal(before, after)
    after.sum().backward()
    assert encoder.project.weight.grad is not None
    assert all(p.grad is None for p in encoder.model.parameters())


def test_trainable_has_dropout_in_training_and_gradients(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, trainable=True)
    assert torch.equal(encoder(pictures()).values, encoder(pictures()).values)
    encoder.train()
    assert not torch.equal(encoder(pictures()).values, encoder(pictures()).values)
    encoder(pictures()).values.sum().backward()
    assert all(p.grad is not None for p in encoder.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [False, True])
def test_batch_norm_keeps_its_statistics(mobilenet, trainable):
    encoder = PretrainedImageEncoder.from_pretrained(mobilenet, trainable=trainable)
    before = {name: b.clone() for name, b in encoder.named_buffers()}
    expected = encoder(pictures(4)).values
    assert torch.equal(encoder.train()(pictures(4)).values, expected)
    assert all(torch.equal(b, before[name]) for name, b in encoder.named_buffers())


def test_unfreezing_by_hand_is_noticed_and_saved(vit, tmp_path):
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    encoder.model.layers[-1].requires_grad_(True)
    assert not encoder.frozen and encoder.train().model.training
    assert encoder.to_config()["trainable"] is True
    encoder(pictures()).values.sum().backward()
    first, last = encoder.model.layers[0], encoder.model.layers[-1]
    assert all(p.grad is None for p in first.parameters())
    assert all(p.grad is not None for p in last.parameters())


def test_gradients_reach_the_picture_through_a_frozen_model(vit):
    image = pictures().requires_grad_()
    PretrainedImageEncoder.from_pretrained(vit)(image).values.pow(2).sum().backward()
    assert image.grad.abs().sum() > 0


# ------------------------------------------------------------------ saved and copied


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "mobilenet", "bert"])
def test_everything_comes_back_without_the_checkpoint(kind, request, tmp_path):
    folder = request.getfixturevalue(kind)
    cls = PretrainedTextEncoder if kind == "bert" else PretrainedImageEncoder
    encoder = cls.from_pretrained(folder, width=6)
    given = torch.tensor([[1, 2, 3]]) if kind == "bert" else pictures()
    expected = encoder(given).values
    encoder.save_pretrained(tmp_path / "ours")
    for file in folder.iterdir():
        file.unlink()
    json.dumps(encoder.to_config())
    for again in (
        cls.from_pretrained(tmp_path / "ours"),
        Configured.from_pretrained(tmp_path / "ours"),
        copy.deepcopy(encoder),
    ):
        assert torch.equal(again(given).values, expected) and again.frozen
        assert again.to_config() == encoder.to_config()
    other = build(encoder.to_config()).eval()
    assert not torch.equal(other(given).values, expected)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(given).values, expected)


def test_a_composed_model_is_saved_with_its_encoders(vit, bert, tmp_path):
    encoders = {
        "image": PretrainedImageEncoder.from_pretrained(vit, width=8),
        "text": PretrainedTextEncoder.from_pretrained(bert, width=8, trainable=True),
    }
    fusion = Concatenation({"image": 8, "text": 8}, 8)
    model = MultimodalModel(encoders, fusion, ClassificationHead(8, 3)).eval()
    model.save_pretrained(tmp_path / "whole")
    again = MultimodalModel.from_pretrained(tmp_path / "whole")
    batch = {"image": pictures(), "text": torch.tensor([[1, 2], [3, 4]])}
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert again.encoders["image"].frozen and not again.encoders["text"].frozen
    again.train()(**batch, labels=torch.tensor([0, 1])).loss.backward()
    assert all(p.grad is not None for p in again.parameters() if p.requires_grad)


def test_a_saved_encoder_must_fit_what_is_asked(vit, tmp_path):
    PretrainedImageEncoder.from_pretrained(vit, width=6).save_pretrained(tmp_path / "s")
    with pytest.raises(
        ValueError, match="has width 6 and settings of its own; asked for 7"
    ):
        PretrainedImageEncoder.from_pretrained(tmp_path / "s", width=7)
    with pytest.raises(ValueError, match=r"own; asked for None and {'size': 16}"):
        PretrainedImageEncoder.from_pretrained(tmp_path / "s", size=16)
    again = PretrainedImageEncoder.from_pretrained(tmp_path / "s", 6, trainable=True)
    assert not again.frozen
    with pytest.raises(
        ValueError, match="PretrainedImageEncoder, not a PretrainedText"
    ):
        PretrainedTextEncoder.from_pretrained(tmp_path / "s")


# ------------------------------------------------------------------ what is wrong


def test_features_cannot_train_the_model(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, trainable=True).train()
    with pytest.raises(ValueError, match="to be trained: freeze it"):
        encoder(torch.rand(2, 16, 16))


def test_folders_that_are_no_checkpoint(vit, tmp_path):
    load = PretrainedImageEncoder.from_pretrained
    with pytest.raises(FileNotFoundError, match="no folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no config.json: is it"):
        load(tmp_path / "empty")
    (vit / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no preprocessor_config.*give size="):
        load(vit)
    assert load(vit, size=32, mean=[0.5] * 3, std=[0.5] * 3).size == 32


def test_damaged_and_missing_weights(vit):
    load, file = PretrainedImageEncoder.from_pretrained, vit / "model.safetensors"
    weights = load_file(file)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged"):
        load(vit)
    lost = next(name for name in weights if "layers.1" in name or "layer.1" in name)
    less = {name: value for name, value in weights.items() if name != lost}
    save_file(less, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of a ViTModel"):
        load(vit)
    file.unlink()
    torch.save(weights, vit / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no safetensors weights"):
        load(vit)


def test_a_checkpoint_may_lack_the_pooler_or_have_a_classifier(vit, mobilenet, capfd):
    file = vit / "model.safetensors"
    weights = {k: v for k, v in load_file(file).items() if "pooler" not in k}
    save_file(weights, file, metadata={"format": "pt"})
    PretrainedImageEncoder.from_pretrained(vit)
    PretrainedImageEncoder.from_pretrained(mobilenet)
    said = capfd.readouterr()
    assert "LOAD REPORT" not in said.err + said.out and "Loading" not in said.err
