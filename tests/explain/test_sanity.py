"""Randomised models, and rank correlation: compared with computations by hand."""

import pytest
import torch

from mmbook.explain import randomised, rank_correlation


def test_the_cascade_forgets_part_by_part_and_leaves_the_model_alone(asked, reader):
    model = reader()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    logits = model(**asked).logits
    names = ["head", "fusion.blocks.1", "encoders"]
    generator = torch.random.get_rng_state()
    steps = list(randomised(model, names))
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert [name for name, _ in steps] == names
    for number, (_, forgetful) in enumerate(steps, 1):
        for name, value in forgetful.named_parameters():
            random = name.startswith(tuple(names[:number]))
            same = torch.equal(value, state[name])
            if random and value.ndim > 1:
                assert not same, name
            assert random or same, name
        assert not torch.allclose(forgetful(**asked).logits, logits, atol=1e-3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    again = [m(**asked).logits for _, m in randomised(model, names)]
    assert torch.equal(again[-1], steps[-1][1](**asked).logits)


def test_the_cascade_names_unknown_parts(reader):
    with pytest.raises(ValueError, match=r"such as .*head.*; got hat"):
        next(randomised(reader(), ["head", "hat"]))


def test_rank_correlation_by_hand():
    a = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]] * 4)
    b = torch.tensor(
        [[2.0, 30, 31, 32, 90], [5, 4, 3, 2, 1], [1, 2, 3, 5, 4], [7, 7, 7, 7, 7]]
    )
    expected = torch.tensor([1.0, -1.0, 0.9, 0.0])
    assert torch.allclose(rank_correlation(a, b), expected)
    assert torch.allclose(rank_correlation(a**3, b), expected)  # only order counts
    ties = rank_correlation(torch.tensor([[0.0, 0, 1]]), torch.tensor([[0.0, 1, 2]]))
    assert torch.allclose(ties, torch.tensor([0.75**0.5]))  # ranks 1.5, 1.5, 3
    with pytest.raises(ValueError, match="of one shape"):
        rank_correlation(a, b[:2])


def test_maps_with_nan_have_no_rank_correlation():
    whole, broken = torch.rand(2, 9), torch.rand(2, 9)
    broken[1, 4] = torch.nan
    for pair in ((whole, broken), (broken, whole)):
        with pytest.raises(ValueError, match="nan have no ranks"):
            rank_correlation(*pair)
