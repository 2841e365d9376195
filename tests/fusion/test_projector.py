"""The projector: tokens of each modality become words of a language model."""

import pytest
import torch
from torch.nn import functional as F

from mmbook.fusion import Projector
from mmbook.fusion.projector import merge_tokens
from mmbook.tokens import Tokens


def test_each_token_is_projected_alone_and_has_the_size_of_the_embeddings():
    torch.manual_seed(0)
    projector = Projector({"image": 5, "audio": 3}, 64, scale=0.136)
    tokens = {
        "image": Tokens(torch.randn(2, 4, 5)),
        "audio": Tokens(torch.randn(2, 6, 3)),
    }
    out = projector(tokens)
    assert out.values.shape == (2, 10, 64)
    assert out.values.std().item() == pytest.approx(0.136, rel=0.02)
    moved = projector({**tokens, "audio": Tokens(tokens["audio"].values.flip(1))})
    torch.testing.assert_close(moved.values[:, :4], out.values[:, :4])
    torch.testing.assert_close(moved.values[:, 4:], out.values[:, 4:].flip(1))


def test_a_square_of_tokens_is_averaged():
    values, mask = torch.randn(2, 16, 5), torch.ones(2, 16, dtype=torch.bool)
    mask[1, :2] = mask[1, 4:6] = False
    few = merge_tokens(Tokens(values, mask), 2)
    square = values.transpose(1, 2).unflatten(2, (4, 4))
    expected = F.avg_pool2d(square, 2).flatten(2).transpose(1, 2)
    torch.testing.assert_close(few.values[few.mask], expected[few.mask])
    assert few.mask.tolist() == [[True] * 4, [False, True, True, True]]


def test_padding_has_no_share_in_an_average():
    values, mask = torch.randn(1, 16, 5), torch.ones(1, 16, dtype=torch.bool)
    mask[0, 0] = False
    other = values.clone()
    other[0, 0] = 1e3
    few = merge_tokens(Tokens(values, mask), 2)
    torch.testing.assert_close(few.values, merge_tokens(Tokens(other, mask), 2).values)
    torch.testing.assert_close(few.values[0, 0], values[0, [1, 4, 5]].mean(0))


def test_a_grid_that_is_no_square_is_refused():
    projector = Projector({"image": 5}, 8, grid={"image": 2})
    with pytest.raises(ValueError, match="square"):
        projector({"image": Tokens(torch.randn(1, 12, 5))})
