"""What holds for every parameter-efficient method."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmbook.finetuning import (
    FILE,
    add_adapters,
    add_ia3,
    add_lora,
    add_prefix,
    add_prompt,
    count_parameters,
    load_trained,
    save_trained,
    train_biases,
)
from mmbook.generation import generate

# method, and what the names of its parameters end in
METHODS = {
    "lora": (lambda m, **k: add_lora(m, 2, **k), ("down", "up")),
    "adapters": (lambda m, **k: add_adapters(m, 3, **k), ("weight", "bias")),
    "prefix": (lambda m, **k: add_prefix(m, 3, **k), ("prefix",)),
    "prompt": (lambda m, **k: add_prompt(m, 3, **k), ("prompt",)),
    "biases": (lambda m, **k: train_biases(m, **k), ("bias",)),
    "ia3": (lambda m, **k: add_ia3(m, **k), ("factors",)),
}
SILENT = sorted(set(METHODS) - {"prefix", "prompt"})
every_method = pytest.mark.parametrize("method", sorted(METHODS))


@pytest.mark.parametrize("method", SILENT)
def test_at_the_start_nothing_has_changed(method, classifier, sentences):
    model = classifier().eval()
    before = model(**sentences).logits
    METHODS[method][0](model).eval()
    assert torch.allclose(model(**sentences).logits, before, atol=1e-6)


@every_method
def test_only_what_is_new_and_the_head_learn(
    method, classifier, sentences, step, trained_names
):
    model, (add, ends) = classifier(), METHODS[method]
    before = {name: p.clone() for name, p in model.named_parameters()}
    assert add(model) is model
    names = trained_names(model)
    assert {n for n in names if n.startswith("head.")} == {
        "head.layers.1.weight",
        "head.layers.1.bias",
    }
    new = {n for n in names if not n.startswith("head.")}
    assert new and all(name.endswith(ends) for name in new)
    assert before.keys() <= dict(model.named_parameters()).keys(), "no name is lost"
    start = {name: p.clone() for name, p in model.named_parameters() if name in names}
    for _ in range(2):  # LoRA's A has no gradient before B has moved
        step(model, sentences)
    for name, parameter in model.named_parameters():
        if name.endswith("key.bias") and name in names:
            # the same for each key: the softmax takes it out again
            assert torch.allclose(parameter, start[name], atol=1e-6), name
        elif name in names:
            assert not torch.equal(parameter, start[name]), f"{name} did not learn"
        else:
            assert torch.equal(parameter, before[name]), f"{name} moved"


@every_method
def test_the_gradients_are_right(method, classifier, sentences, trained_names, disturb):
    """Finite differences, in double precision, on what is new, away from the start."""
    model = disturb(METHODS[method][0](classifier()).double().eval())
    names = sorted(n for n in trained_names(model) if not n.startswith("head."))
    model(**sentences).loss.backward()
    for name in names[:: max(1, len(names) // 4)]:
        parameter, place = model.get_parameter(name), 0
        flat, height = parameter.data.view(-1), 1e-6
        flat[place] += height
        above = model(**sentences).loss
        flat[place] -= 2 * height
        below = model(**sentences).loss
        flat[place] += height
        slope = ((above - below) / (2 * height)).item()
        assert parameter.grad.view(-1)[place].item() == pytest.approx(
            slope, abs=1e-7, rel=1e-5
        ), name


@every_method
def test_it_comes_back_from_every_kind_of_copy(
    method, tmp_path, classifier, sentences, step
):
    add = METHODS[method][0]
    model = add(classifier())
    step(model, sentences)
    after = model(**sentences).logits
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(**sentences).logits, after)
    other = add(classifier(seed=5)).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(**sentences).logits, after)
    folder = save_trained(model, tmp_path / "trained")
    same_base = add(classifier()).eval()
    assert not torch.allclose(same_base(**sentences).logits, after)
    assert load_trained(same_base, folder) is same_base
    assert torch.equal(same_base(**sentences).logits, after)
    stored = (folder / FILE).stat().st_size
    assert stored < 0.7 * 4 * count_parameters(model).total


@every_method
def test_what_is_kept_must_be_there(method, classifier):
    with pytest.raises(ValueError, match="keep names 'answer'"):
        METHODS[method][0](classifier(), keep=("answer",))


@every_method
def test_padding_is_not_attended_to(method, classifier, sentences):
    """Longer padding does not change the outputs of a model."""
    model = METHODS[method][0](classifier()).eval()
    longer = {
        "text": nn.functional.pad(sentences["text"], (0, 3)),
        "text_mask": nn.functional.pad(sentences["text_mask"], (0, 3)),
    }
    short = {name: sentences[name] for name in longer}
    assert torch.allclose(model(**longer).logits, model(**short).logits, atol=1e-5)


@every_method
def test_a_decoder_sees_no_later_word_and_its_cache_agrees(method, captioner, pictures):
    model = captioner()
    where = {"prompt": {"where": ("head.blocks",)}}.get(method, {})
    METHODS[method][0](model, keep=(), **where).eval()
    before = model(**pictures).logits
    changed = pictures["labels"].clone()
    changed[:, 3] = 7  # read by the word at place 4
    after = model(**pictures | {"labels": changed}).logits
    assert torch.allclose(after[:, :4], before[:, :4], atol=1e-6)
    assert not torch.allclose(after[:, 4:], before[:, 4:], atol=1e-6)
    picture = {"image": pictures["image"]}
    slow = generate(model, picture, 6, use_cache=False)
    if method == "prompt":
        with pytest.raises(ValueError, match="use_cache=False"):
            generate(model, picture, 6)
    else:
        assert torch.equal(generate(model, picture, 6), slow)


@pytest.mark.parametrize("method", ["lora", "adapters", "prefix", "ia3"])
def test_nothing_found_is_an_error_and_changes_nothing(method, classifier):
    model = classifier()
    add = {
        "lora": lambda: add_lora(model, where=("qery",)),
        "adapters": lambda: add_adapters(model, where=("qery",)),
        "prefix": lambda: add_prefix(model, where=("qery",)),
        "ia3": lambda: add_ia3(model, outputs=("qery",)),
    }[method]
    with pytest.raises(ValueError, match=r"fits where=\('qery',\).*encoders.text"):
        add()
    assert count_parameters(model).share == 1


def test_wrong_numbers_and_names_are_named(classifier):
    for add in (add_lora, add_adapters, add_prefix, add_prompt):
        with pytest.raises(ValueError, match="must be at least 1; got 0"):
            add(classifier(), 0)
    with pytest.raises(ValueError, match="where must be a list of names"):
        add_lora(classifier(), where="query")
    with pytest.raises(ValueError, match="no parameter of this model is called bias"):
        train_biases(nn.Sequential(nn.Linear(2, 2, bias=False)), keep=())
    with pytest.raises(ValueError, match="one stack of blocks"):
        add_prompt(nn.Sequential(nn.Linear(2, 2)), keep=())


@every_method
def test_the_dropout_of_what_is_frozen_is_off(method, classifier, sentences):
    model = METHODS[method][0](classifier(), keep=("head", "fusion")).train()
    assert torch.equal(model(**sentences).logits, model(**sentences).logits)
