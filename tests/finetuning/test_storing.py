"""What was trained is stored alone, and fits the model that it was trained in."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mmbook.finetuning import FILE, add_lora, freeze, load_trained, save_trained


def test_what_is_stored_is_what_was_trained(tmp_path, classifier, trained_names):
    model = add_lora(classifier(), rank=2)
    stored = load_file(save_trained(model, tmp_path / "a") / FILE)
    scales = {n.replace(".down", ".scale") for n in stored if n.endswith(".down")}
    assert stored.keys() == trained_names(model) | scales
    with pytest.raises(ValueError, match="nothing to save"):
        save_trained(freeze(classifier()), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_alpha_comes_back_with_the_rest(tmp_path, classifier, sentences, step):
    model = add_lora(classifier(), 2, alpha=8)
    for _ in range(2):
        step(model, sentences)
    folder = save_trained(model, tmp_path / "a")
    other = load_trained(add_lora(classifier(), 2, alpha=1), folder).eval()
    assert torch.equal(other(**sentences).logits, model(**sentences).logits)


def test_statistics_of_a_trained_batch_norm_are_stored(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    freeze(model, keep=("1.",)).train()
    model(torch.randn(8, 3) + 4)
    folder = save_trained(model, tmp_path / "a")
    other = freeze(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), keep=("1.",))
    load_trained(other, folder)
    assert torch.equal(other[1].running_mean, model[1].running_mean)


def test_a_weight_that_two_layers_share_is_stored_once(tmp_path):
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    model[1].weight = model[0].weight
    stored = load_file(save_trained(model, tmp_path / "a") / FILE)
    assert stored.keys() == {"0.weight", "1.bias"}
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.zero_()
    load_trained(model, tmp_path / "a")
    assert torch.equal(model[1].weight, before)


def test_two_tasks_take_turns_on_one_base(tmp_path, classifier, sentences, step):
    model, outputs = add_lora(classifier()), {}
    start = save_trained(model, tmp_path / "start")
    for task in (0, 1):
        load_trained(model, start)
        for _ in range(3):
            step(model, sentences | {"labels": (sentences["labels"] + task) % 4})
        save_trained(model, tmp_path / str(task))
        outputs[task] = model(**sentences).logits
    assert not torch.allclose(outputs[0], outputs[1])
    for task in (0, 1, 0):
        load_trained(model, tmp_path / str(task))
        assert torch.equal(model(**sentences).logits, outputs[task])


def test_a_file_that_does_not_fit_changes_nothing(tmp_path, classifier):
    folder = save_trained(add_lora(classifier(), 2), tmp_path / "two")
    for other, message in (
        (add_lora(classifier(), 3), r"is \(2, 16\) there and \(3, 16\) in the model"),
        (add_lora(classifier(), 2, where=("query",)), "there and not trained in the"),
        (add_lora(classifier(), 2, where=("*",)), "is absent there and"),
        (classifier(), "is absent there and"),
    ):
        before = {name: t.clone() for name, t in other.state_dict().items()}
        with pytest.raises(ValueError, match=message):
            load_trained(other, folder)
        assert all(torch.equal(before[n], t) for n, t in other.state_dict().items())


def test_damage_and_absence_are_named(tmp_path, classifier):
    model = add_lora(classifier(), 2)
    with pytest.raises(FileNotFoundError, match=r"has no trained\.safetensors"):
        load_trained(model, tmp_path)
    file = save_trained(model, tmp_path / "a") / FILE
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match="damaged or cut off"):
        load_trained(model, tmp_path / "a")
