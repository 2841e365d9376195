"""Tokens: shapes, masks, pooling, concatenation."""

import pytest
import torch

from mmbook.tokens import Tokens, check_width


def test_without_a_mask_all_tokens_are_real():
    tokens = Tokens(torch.zeros(2, 3, 4))
    assert tokens.mask.dtype == torch.bool and tokens.mask.all()
    assert (len(tokens), tokens.width) == (2, 4)


def test_pooled_is_the_mean_of_the_real_tokens():
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]]])
    tokens = Tokens(values, torch.tensor([[True, True, False]]))
    assert torch.equal(tokens.pooled(), torch.tensor([[2.0, 3.0]]))


def test_pooled_row_without_real_tokens_is_zero_not_nan():
    values = torch.randn(2, 3, 4)
    mask = torch.tensor([[True] * 3, [False] * 3])
    pooled = Tokens(values, mask).pooled()
    assert torch.equal(pooled[1], torch.zeros(4))
    assert torch.allclose(pooled[0], values[0].mean(0))


def test_concatenate_keeps_values_and_masks_in_order():
    one = Tokens(torch.ones(2, 1, 3), torch.zeros(2, 1, dtype=torch.bool))
    two = Tokens(torch.full((2, 2, 3), 2.0))
    joined = Tokens.concatenate([one, two])
    assert joined.values[0, :, 0].tolist() == [1.0, 2.0, 2.0]
    assert joined.mask[0].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("values", "mask", "words"),
    [
        (torch.zeros(2, 3), None, ["(B, N, D)", "(2, 3)"]),
        (torch.zeros(2, 3, 4), torch.ones(2, 3), ["bool", "mask.bool()"]),
        (torch.zeros(2, 3, 4), torch.ones(3, 2).bool(), ["(2, 3)", "(3, 2)"]),
    ],
)
def test_wrong_shapes_are_named(values, mask, words):
    with pytest.raises(ValueError) as error:
        Tokens(values, mask)
    assert all(word in str(error.value) for word in words)


def test_tokens_do_not_change():
    tokens = Tokens(torch.zeros(2, 3, 4))
    with pytest.raises(AttributeError, match="values"):
        tokens.values = torch.ones(2, 3, 4)


def test_a_reader_names_what_is_not_tokens_of_its_width():
    check_width(Tokens(torch.zeros(1, 2, 3)), 3)
    with pytest.raises(ValueError, match="this head takes tokens of width 4; got 3"):
        check_width(Tokens(torch.zeros(1, 2, 3)), 4)
    with pytest.raises(TypeError, match="my head takes Tokens; got a Tensor"):
        check_width(torch.zeros(1, 2, 3), 3, "my head")
