"""A model on a whole dataset: what it answers, and how well."""

import pytest
import torch
from runs import COLLATE, DATA, IGNORED, Toy, captioner, pairs, retriever, train

from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import Concatenation
from mmbook.heads import ClassificationHead
from mmbook.metrics import accuracy
from mmbook.models import MultimodalModel
from mmbook.training import evaluate, predict
from mmbook.training.evaluate import count_labels

ITEMS = [
    {"image": DATA[i]["image"].float() / 255, "labels": torch.tensor(i % 3)}
    for i in range(10)
]
WHOLE = {name: torch.stack([item[name] for item in ITEMS]) for name in ITEMS[0]}


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return MultimodalModel(
        {"image": ConvImageEncoder(8, size=16, channels=(4, 4))},
        Concatenation({"image": 8}, 8),
        ClassificationHead(8, 3, dropout=0.5),
    )


@pytest.mark.parametrize("batch_size", [3, 10, 64])
def test_predict_gives_the_logits_of_all_items_in_order(classifier, batch_size):
    expected = classifier.eval()(**WHOLE).logits
    found = predict(classifier, ITEMS, batch_size=batch_size)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad and not found.is_inference()


def test_evaluate_gives_loss_and_metrics_of_the_whole(classifier):
    output = classifier.eval()(**WHOLE)
    found = evaluate(classifier, ITEMS, batch_size=4, accuracy=accuracy)
    assert found == {
        "loss": pytest.approx(output.loss.item()),
        "accuracy": accuracy(output.logits, WHOLE["labels"]),
    }


@pytest.mark.parametrize("look", [predict, evaluate])
def test_each_part_returns_to_the_mode_in_which_it_was(classifier, look):
    classifier.train()
    classifier.encoders.eval()
    before = {name: m.training for name, m in classifier.named_modules()}
    look(classifier, ITEMS)
    assert {name: m.training for name, m in classifier.named_modules()} == before

    def failing(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look(classifier, ITEMS, failing)
    assert {name: m.training for name, m in classifier.named_modules()} == before


def test_neither_gradients_nor_random_numbers_are_touched(classifier):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    evaluate(classifier, ITEMS), predict(classifier, ITEMS)
    assert torch.equal(torch.rand(3), expected)
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_sentences_of_several_lengths_are_weighted_by_their_words():
    model = captioner().eval()
    whole = model(**COLLATE([DATA[i] for i in range(24)])).loss.item()
    found = evaluate(model, DATA, COLLATE, batch_size=5)
    assert found == {"loss": pytest.approx(whole, rel=1e-5)}
    with pytest.raises(ValueError, match=r"items of some batches are .* pad all"):
        predict(model, DATA, COLLATE, batch_size=5)


def test_it_is_what_fit_wants_from_validate():
    def validate(model):
        return evaluate(model, DATA, COLLATE)

    _, history = train(validate=validate, validate_every=3, metric="loss", patience=5)
    assert history.validations[1]["loss"] < history.validations[0]["loss"]


def test_embeddings_come_by_modality():
    model = retriever()
    found = predict(model, DATA, pairs, batch_size=24, what="embeddings")
    expected = model.eval()(**pairs([DATA[i] for i in range(24)])).embeddings
    assert found.keys() == {"image", "text"}
    for name, rows in found.items():
        torch.testing.assert_close(rows, expected[name])


def test_what_is_missing_is_named(classifier):
    with pytest.raises(ValueError, match="the dataset is empty"):
        predict(classifier, [])
    with pytest.raises(ValueError, match="are labels among image"):
        evaluate(classifier, [{"image": item["image"]} for item in ITEMS])


def test_a_batch_without_a_label_counts_nothing():
    rows = [{"labels": torch.tensor(n)} for n in (IGNORED, IGNORED, 2, 4)]
    model = Toy(
        lambda weight, batch: batch["labels"][batch["labels"] >= 0].float().mean()
    )
    assert evaluate(model, rows, batch_size=2) == {"loss": 3.0}


def test_count_labels_counts_what_the_mean_is_over():
    labels = torch.tensor([[3, 4, IGNORED], [5, IGNORED, IGNORED]])
    assert count_labels({"labels": labels}) == 3
    assert count_labels({"labels": labels}, shifted=True) == 1
    assert count_labels({"labels": torch.tensor([0, 1, 2, 1])}) == 4
    assert count_labels({"image": torch.zeros(5, 3, 2, 2)}) == 5
    assert count_labels({"labels": torch.tensor([[0.5, -100.0]] * 3)}) == 3
