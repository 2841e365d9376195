"""Losses: means over what counts, equal to the formulas written out."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmbook.losses import contrastive, cross_entropy

IGNORED = -100


def logits_and_labels():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5)
    return logits, torch.tensor([[1, 2, 0, IGNORED], [4, IGNORED, IGNORED, IGNORED]])


def test_cross_entropy_is_the_formula_nothing_shifted():
    logits, labels = logits_and_labels()
    log_p = logits.log_softmax(-1)
    said = [log_p[0, 0, 1], log_p[0, 1, 2], log_p[0, 2, 0], log_p[1, 0, 4]]
    torch.testing.assert_close(cross_entropy(logits, labels), -sum(said) / 4)


def test_cross_entropy_smoothing_is_torchs():
    logits, labels = logits_and_labels()
    expected = F.cross_entropy(logits.mT, labels, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(logits, labels, smoothing=0.1), expected)


def test_more_padding_changes_nothing():
    logits, labels = logits_and_labels()
    wider = F.pad(logits, (0, 0, 0, 3), value=7.0)
    more = F.pad(labels, (0, 3), value=IGNORED)
    torch.testing.assert_close(
        cross_entropy(wider, more), cross_entropy(logits, labels)
    )


def test_parts_with_the_count_of_the_whole_add_up():
    logits, labels = logits_and_labels()
    whole = cross_entropy(logits, labels)
    parts = [cross_entropy(logits[i], labels[i], items=4) for i in range(2)]
    torch.testing.assert_close(sum(parts), whole)
    averages = [cross_entropy(logits[i], labels[i]) for i in range(2)]
    assert not torch.isclose(sum(averages) / 2, whole)  # the widespread mistake


def test_nothing_but_padding_is_zero_not_nan():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.full((2, 3), IGNORED))
    loss.backward()
    assert loss == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_logits_are_summed_in_float32():
    logits, labels = logits_and_labels()
    assert cross_entropy(logits.bfloat16(), labels).dtype == torch.float32


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(2, 4, 5\).*\(2, 3\)"):
        cross_entropy(torch.zeros(2, 4, 5), torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\(B, D\).*\(2, 3\) and \(4, 3\)"):
        contrastive(torch.zeros(2, 3), torch.zeros(4, 3), 1.0)


def test_contrastive_is_the_formula():
    torch.manual_seed(0)
    a, b = (F.normalize(torch.randn(4, 8), dim=-1) for _ in range(2))
    s, total = 7.0 * a @ b.T, 0.0
    for i in range(4):
        total -= s[i, i] - s[i].logsumexp(0)
        total -= s[i, i] - s[:, i].logsumexp(0)
    torch.testing.assert_close(contrastive(a, b, 7.0), total / 8)


def test_contrastive_at_its_two_ends():
    same = torch.eye(4)
    assert contrastive(same, same, 100.0) < 1e-6
    one = F.normalize(torch.ones(4, 3), dim=-1)
    assert contrastive(one, one, 5.0).item() == pytest.approx(math.log(4))
