"""Batch norm takes the statistics of other data, and nothing else changes."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from mmbook.training import reestimate_batch_norm


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)
    return nn.Sequential(*layers, nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2)).eval()


@pytest.fixture
def images():
    return 5 + torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_statistics_are_those_of_the_data(images):
    model = network()
    reestimate_batch_norm(model, [images])
    out = model[0](images)
    assert torch.allclose(model[1].running_mean, out.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(model[1].running_var, out.var((0, 2, 3)), rtol=1e-3)


def test_it_equals_pytorch_over_several_batches_where_nothing_is_dropped(images):
    ours, theirs = network(), network()
    ours[3] = theirs[3] = nn.Identity()
    reestimate_batch_norm(ours, images.split(10))
    update_bn(images.split(10), theirs)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_weights_modes_momentum_and_random_numbers_stay(images):
    model = network()
    weights = {name: p.clone() for name, p in model.named_parameters()}
    state = torch.random.get_rng_state()
    reestimate_batch_norm(model, [images])
    assert torch.equal(torch.random.get_rng_state(), state)  # dropout stayed off
    assert not any(module.training for module in model.modules())
    assert model[1].momentum == model[5].momentum == 0.1
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())


def test_a_batch_may_be_a_dictionary(images):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, image):
            return self.inner(image)

    named, plain = Named(), network()
    reestimate_batch_norm(named, [{"image": images}])
    reestimate_batch_norm(plain, [images])
    assert torch.equal(named.inner[1].running_mean, plain[1].running_mean)


def test_modes_and_momentum_return_when_the_model_fails(images):
    model = network()
    with pytest.raises(RuntimeError):
        reestimate_batch_norm(model, [images[:, :2]])
    assert model[1].momentum == 0.1 and not model[1].training


def test_no_data_is_refused_before_anything_changes(images):
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="batches is empty"):
        reestimate_batch_norm(model, [])
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
