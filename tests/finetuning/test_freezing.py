"""What is frozen stays as it is; stages and rates follow the order of the layers."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from mmbook.encoders import (
    AudioEncoder,
    ConvAudioEncoder,
    ConvImageEncoder,
    FrameVideoEncoder,
    PatchImageEncoder,
    SpectrogramEncoder,
    TextEncoder,
    TubeletVideoEncoder,
)
from mmbook.finetuning import (
    add_prefix,
    count_parameters,
    freeze,
    layerwise_rates,
    stages,
    unfreeze,
)
from mmbook.fusion import FUSIONS, fusion
from mmbook.heads import ClassificationHead, GenerationHead
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.pretrained import PretrainedTextEncoder
from mmbook.training import TrainingConfig, fit, make_optimizer


def stack(items):
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def test_what_is_frozen_computes_the_same_after_training(captioner, pictures):
    model = captioner()
    freeze(model.encoders["image"])
    picture = pictures["image"]
    before = model.encoders["image"](picture).values
    data = [
        {"image": row, "labels": label}
        for row, label in zip(picture, pictures["labels"], strict=True)
    ]
    config = TrainingConfig(steps=5, batch_size=2, progress=False, compile=False)
    fit(model, data, config, collate=stack)
    model.cpu()
    assert torch.equal(model.encoders["image"](picture).values, before)
    for name, tensor in captioner().encoders["image"].state_dict().items():
        assert torch.equal(model.encoders["image"].state_dict()[name], tensor), name
    assert not torch.equal(model.head.bias, torch.zeros(20))


def copied(model):
    return copy.deepcopy(model)


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def saved_whole(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("again", [copied, pickled, saved_whole])
def test_a_copy_is_frozen_and_does_not_hold_the_original(again, classifier):
    model = classifier()
    freeze(model.encoders["text"])
    twin = again(model)
    twin.train()
    assert not any(m.training for m in twin.encoders["text"].modules())
    assert twin.head.training
    assert not any(p.requires_grad for p in twin.encoders["text"].parameters())
    model.eval()
    unfreeze(twin.encoders["text"])
    twin.train()
    assert all(m.training for m in twin.modules())
    assert not any(m.training for m in model.modules()), "the copy's affair alone"
    model.train()
    assert not model.encoders["text"].blocks[0].training


@pytest.mark.parametrize("again", [copied, pickled, saved_whole])
def test_what_stands_in_the_place_of_something_frozen_is_frozen(again, classifier):
    model = again(add_prefix(classifier())).train()
    block = model.encoders["text"].blocks[0]
    assert not block.attention.training, "its dropout of 0.1 would be active"
    assert not block.training and model.head.training


def test_freeze_all_but_the_head_and_unfreeze_a_layer_inside(classifier, trained_names):
    model = freeze(classifier(), keep=("head",))
    assert trained_names(model) == {"head.layers.1.weight", "head.layers.1.bias"}
    unfreeze(model, "encoders.text.blocks.1.")
    model.train()
    blocks = model.encoders["text"].blocks
    assert all(p.requires_grad for p in blocks[1].parameters())
    assert all(m.training for m in blocks[1].modules()), "although all above is frozen"
    assert not any(m.training for m in blocks[0].modules())
    assert not any(p.requires_grad for p in blocks[0].parameters())


def test_freezing_is_not_stored(tmp_path, classifier, sentences):
    model = freeze(classifier(), keep=("head",))
    model.save_pretrained(tmp_path / "m")
    again = MultimodalModel.from_pretrained(tmp_path / "m")
    assert count_parameters(again).share == 1
    assert torch.equal(again(**sentences).logits, model(**sentences).logits)


def test_names_that_are_not_there_are_named(classifier):
    with pytest.raises(ValueError, match="keep names 'heads', but no parameter"):
        freeze(classifier(), keep=("heads",))
    with pytest.raises(ValueError, match=r"begin with encoders\.text, fusion"):
        unfreeze(classifier(), "decoder")
    with pytest.raises(ValueError, match="keep must be a list of names; got 'head'"):
        freeze(classifier(), keep="head")


def test_shared_parameters_are_counted_once():
    layer = nn.Linear(3, 4)
    twice = nn.Sequential(layer, layer, nn.Linear(4, 1))
    layer.requires_grad_(False)
    assert count_parameters(twice) == (5, 21)
    assert count_parameters(twice).share == 5 / 21
    assert count_parameters(nn.ReLU()).share == 0


# ------------------------------------------------------------------ stages and rates

ENCODERS = [
    lambda: TextEncoder(9, 8, 2, 2),
    lambda: ConvImageEncoder(8, channels=(4,)),
    lambda: PatchImageEncoder(8, 2, 2),
    lambda: AudioEncoder(8, 2, 2),
    lambda: ConvAudioEncoder(8),
    lambda: SpectrogramEncoder(8, 4, 8),
    lambda: FrameVideoEncoder(PatchImageEncoder(8, 1, 2), layers=1, heads=2),
    lambda: TubeletVideoEncoder(8, 2, 2, summary=True),
]


@pytest.mark.parametrize("make", ENCODERS)
def test_each_parameter_of_an_encoder_belongs_to_one_stage(make):
    encoder = make()
    found = stages(encoder)
    assert len(found) > 1, "it says what its layers are"
    for name, _ in encoder.named_parameters():
        assert len([s for s in found if name.startswith(s)]) == 1, name


@pytest.mark.parametrize("method", FUSIONS)
def test_each_parameter_of_a_model_belongs_to_one_stage(method):
    towers = {"image": PatchImageEncoder(8, 1, 2), "text": TextEncoder(9, 8, 2, 2)}
    joined = fusion(method, widths={"image": 8, "text": 8}, width=8)
    model = MultimodalModel(towers, joined, ClassificationHead(8, 2))
    found = stages(model)
    for name, _ in model.named_parameters():
        assert len([s for s in found if name.startswith(s)]) == 1, name
    tops = next(stage for stage in found if "encoders" in stage[0])
    assert {"encoders.image.norm.", "encoders.text.norm."} <= set(tops), "side by side"
    assert found[-1] == ("encoders.text.embedding.",), "it has one layer more"


def test_the_stages_go_from_the_top_down(classifier):
    assert stages(classifier()) == [
        ("head.",),
        ("fusion.",),
        ("encoders.text.blocks.1.", "encoders.text.norm."),
        ("encoders.text.blocks.0.",),
        ("encoders.text.embedding.",),
    ]
    assert stages(LanguageModel(GenerationHead(9, 8, heads=2))) == [
        ("head.blocks.1.", "head.norm."),
        ("head.blocks.0.",),
        ("head.embedding.", "head.bias"),
    ]


def test_a_norm_belongs_to_its_convolution():
    image = stages(ConvImageEncoder(8, channels=(4,)))
    assert image[0] == ("stages.6.", "stages.7.")
    assert set(image[-1]) == {"position", "stages.0.", "stages.1."}


def test_the_layers_of_a_pretrained_encoder_are_those_of_transformers():
    from transformers import BertConfig

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=20, intermediate_size=32, **small)
    assert stages(PretrainedTextEncoder(config.to_dict(), width=8)) == [
        ("project.",),
        ("model.encoder.layer.1.",),
        ("model.encoder.layer.0.", "model.embeddings."),
    ]


def test_a_module_that_names_no_layers_is_one_stage():
    module = nn.Sequential(nn.Linear(2, 2), nn.ModuleList([nn.Linear(2, 2)]))
    assert stages(module) == [("0.", "1.")]


def test_a_weight_that_two_layers_share_belongs_to_the_lower_one():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.high = nn.Linear(2, 2), nn.Linear(2, 2)
            self.high.weight = self.low.weight

        def layers(self):
            return [self.low, self.high]

    assert stages(Tied()) == [("high.",), ("low.",)]
    assert stages(nn.Sequential()) == []


def test_the_rates_fall_from_the_head_and_fit_takes_them(classifier):
    model = classifier()
    rates = layerwise_rates(model, 0.5)
    assert rates["head."] == 1 and rates["encoders.text.blocks.0."] == 0.125
    groups = make_optimizer(model, TrainingConfig(rates=rates)).param_groups
    assert {group["factor"] for group in groups} == {1, 0.5, 0.25, 0.125, 0.0625}
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="decay must be above 0"):
            layerwise_rates(model, wrong)
