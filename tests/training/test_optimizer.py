"""The learning rate of each step, and which parameters decay."""

import copy

import pytest
import torch
from runs import DATA, EXACTLY, SAME, assert_same_weights, captioner, train
from torch import nn

from mmbook.finetuning import add_lora
from mmbook.fusion import FUSIONS, fusion
from mmbook.training import TrainingConfig, learning_rate, make_optimizer


def test_the_learning_rate_rises_falls_and_ends():
    config = TrainingConfig(steps=100, warmup=0.1, learning_rate=2.0)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)  # half way down
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 0.001
    assert learning_rate(100, config) == pytest.approx(0)


def test_a_constant_rate_is_constant_after_warming_up():
    config = TrainingConfig(
        steps=10, warmup=0.2, learning_rate=2.0, schedule="constant"
    )
    rates = [learning_rate(step, config) for step in range(10)]
    assert rates == [1.0] + [2.0] * 9
    config = TrainingConfig(steps=3, warmup=0.0, schedule="constant", learning_rate=2.0)
    assert [learning_rate(step, config) for step in range(3)] == [2.0] * 3


def groups_of(model, **settings):
    """name → (decay, factor)"""
    optimizer = make_optimizer(model, TrainingConfig(**settings))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["weight_decay"], group["factor"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def decayed_of(model):
    """The names of the parameters that decay."""
    groups = groups_of(model, weight_decay=0.3)
    return {name for name, (decay, _) in groups.items() if decay}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_decay_is_for_weights_of_linear_and_convolutional_layers_only(optimizer):
    model = captioner()
    groups = groups_of(model, weight_decay=0.3, optimizer=optimizer)
    expected = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    assert {name for name, (decay, _) in groups.items() if decay == 0.3} == expected
    assert {decay for decay, _ in groups.values()} == {0.3, 0.0}
    assert set(groups) == {name for name, _ in model.named_parameters()}


TOKENS = {"queries", "shared", "u", "v"}  # learned tokens and biases of two dimensions


@pytest.mark.parametrize("name", FUSIONS)
def test_in_every_fusion_each_matrix_decays_and_nothing_else(name):
    joined = fusion(name, widths={"image": 8, "text": 8}, width=8)
    matrices = {
        key
        for key, parameter in joined.named_parameters()
        if parameter.ndim >= 2 and key.split(".")[-1] not in TOKENS
    }
    assert decayed_of(joined) == matrices


def test_the_two_matrices_of_lora_decay():
    model = add_lora(captioner(), rank=2)
    decayed = decayed_of(model)
    own = {
        name for name, _ in model.named_parameters() if name.endswith((".up", ".down"))
    }
    assert own and own <= decayed


def test_decay_spares_embeddings_that_are_tied_to_the_output():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=43, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    decayed = decayed_of(GPT2LMHeadModel(config))
    assert "transformer.wte.weight" not in decayed
    assert "transformer.h.0.attn.c_attn.weight" in decayed


def test_a_norm_of_two_dimensions_does_not_decay():
    layers = nn.Sequential(nn.LayerNorm((2, 3)), nn.RMSNorm((2, 3)), nn.Linear(3, 3))
    assert decayed_of(layers) == {"2.weight"}


def test_rates_go_by_the_longest_beginning():
    rates = {"encoders.": 0.1, "encoders.image.patches": 0.0, "head.bias": 5.0}
    factors = {
        n: factor for n, (_, factor) in groups_of(captioner(), rates=rates).items()
    }
    assert factors["encoders.image.summary"] == 0.1
    assert factors["encoders.image.patches.weight"] == 0.0
    assert factors["head.bias"] == 5.0 and factors["head.norm.weight"] == 1.0
    start = captioner().state_dict()
    moved, _ = train(rates=rates, weight_decay=0.0, steps=2)
    for name in ("weight", "bias"):
        key = f"encoders.image.patches.{name}"
        assert torch.equal(moved.state_dict()[key], start[key])
    assert not torch.equal(moved.head.bias, start["head.bias"])


def test_a_rate_for_nobody_is_named():
    with pytest.raises(ValueError, match=r"rates names 'encoder\.'.*encoders\.image"):
        make_optimizer(captioner(), TrainingConfig(rates={"encoder.": 0.1}))


def test_frozen_parameters_stay():
    model = captioner()
    model.encoders.requires_grad_(False)
    start = copy.deepcopy(model)
    assert not any(name.startswith("encoders.") for name in groups_of(model))
    train(model, steps=2)
    assert_same_weights(model.encoders, start.encoders, **EXACTLY)
    assert not torch.equal(model.head.bias, start.head.bias)


def test_clipping_shortens_the_gradient_and_notes_its_length_before():
    settings = SAME | {"steps": 1, "learning_rate": 1.0, "schedule": "constant"}
    start = captioner()
    for clip in (0.01, None):
        model, history = train(clip=clip, weight_decay=0.0, **settings)
        moves = zip(start.parameters(), model.parameters(), strict=True)
        moved = torch.stack([(b - a).norm() for a, b in moves]).norm().item()
        norm = history["gradient_norm"][0]
        assert norm > 0.1
        assert moved == pytest.approx(min(norm, clip or norm), rel=1e-3)


def test_empty_data_and_nothing_to_train_are_named():
    with pytest.raises(ValueError, match="the dataset is empty"):
        train(data=[])
    frozen = captioner().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        train(frozen, DATA)
