"""Linear probes: the same as the minimum of their loss, and clear about what they need."""

import pytest
import torch
from torch.nn import functional as F

from mmbook.training import linear_probe


def clusters(count, seed=0, apart=3.0):
    """Three classes of points in four dimensions, of very different scales."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    points = torch.randn(count, 4, generator=generator)
    points[:, :3] += apart * F.one_hot(labels, 3)
    return points * torch.tensor([1.0, 100.0, 0.01, 5.0]) + 7, labels


def test_a_probe_tells_new_points_of_known_classes():
    layer = linear_probe(*clusters(300), classes=3)
    points, labels = clusters(300, seed=1)
    assert (layer(points).argmax(1) == labels).float().mean() > 0.9


def test_it_stands_at_the_minimum_of_its_loss():
    points, labels = (x.double() if x.is_floating_point() else x for x in clusters(80))
    layer = linear_probe(points, labels, classes=3, decay=0.1, steps=200)
    mean, deviation = points.mean(0), points.std(0) + 1e-3
    weight = (layer.weight * deviation).detach().requires_grad_()
    bias = (layer.bias + layer.weight @ mean).detach().requires_grad_()
    logits = F.linear((points - mean) / deviation, weight, bias)
    loss = F.cross_entropy(logits, labels) + 0.1 * weight.square().sum()
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert gradient.abs().max() < 1e-4


def test_more_decay_makes_smaller_weights():
    norms = [
        linear_probe(*clusters(80), classes=3, decay=decay).weight.norm()
        for decay in (1e-3, 1e-1)
    ]
    assert norms[1] < 0.5 * norms[0]


def test_features_keep_no_graph_and_gradients_may_be_off():
    points, labels = clusters(50)
    points.requires_grad_()
    with torch.no_grad():
        layer = linear_probe(points, labels, classes=3)
    assert points.grad is None and layer.weight.requires_grad


@pytest.mark.parametrize(
    "features, labels, message",
    [
        (torch.rand(5, 4, 3), torch.zeros(5).long(), r"\(n, D\)"),
        (torch.rand(5, 4), torch.zeros(4).long(), r"got \(5, 4\) and \(4,\)"),
        (torch.full((5, 4), torch.nan), torch.zeros(5).long(), "must be finite"),
    ],
)
def test_what_is_wrong_is_named(features, labels, message):
    with pytest.raises(ValueError, match=message):
        linear_probe(features, labels, classes=2)
