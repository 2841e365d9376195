"""Classification: the pooled tokens, linear layers, cross-entropy."""

import pytest
import torch
from torch.nn import functional as F

from mmbook.heads import ClassificationHead
from mmbook.tokens import IGNORED


@pytest.mark.parametrize("hidden", [None, 7])
def test_classification_is_the_pooled_tokens_through_linear_layers(hidden, pictures):
    head, tokens = ClassificationHead(6, 4, hidden, dropout=0.5).eval(), pictures()
    labels = torch.tensor([3, 0, IGNORED])
    logits, loss = head(tokens, labels)
    for row, count in enumerate((4, 2, 1)):
        mean = tokens.values[row, :count].mean(0)
        torch.testing.assert_close(logits[row], head.layers(mean))
    torch.testing.assert_close(loss, F.cross_entropy(logits[:2], labels[:2]))
    assert head(tokens)[1] is None


def test_class_weights_and_smoothing_reach_the_loss_and_the_config(pictures, tmp_path):
    weights = [1.0, 2.0, 0.5, 3.0]
    head = ClassificationHead(6, 4, smoothing=0.1, class_weights=weights).eval()
    labels = torch.tensor([3, 0, 1])
    logits, loss = head(pictures(), labels)
    total = F.cross_entropy(
        logits, labels, torch.tensor(weights), label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(loss, total / 3)
    again = ClassificationHead.from_pretrained(head.save_pretrained(tmp_path / "head"))
    torch.testing.assert_close(again(pictures(), labels)[1], loss)


def test_soft_targets_are_labels_like_any_other(pictures):
    head, labels = ClassificationHead(6, 4).eval(), torch.tensor([3, 0, 1])
    hard = head(pictures(), labels)[1]
    soft = head(pictures(), F.one_hot(labels, 4).float())[1]
    torch.testing.assert_close(soft, hard)


def test_classification_names_labels_that_do_not_fit(pictures):
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(3, 5\)"):
        ClassificationHead(6, 4)(pictures(), torch.zeros(3, 5, dtype=torch.long))


def test_a_head_names_tokens_that_nobody_fused(pictures):
    with pytest.raises(TypeError, match=r"takes Tokens; got a dict.*needs a fusion"):
        ClassificationHead(6, 4)({"image": pictures()})
