"""Precomputed tokens take the place of an encoder."""

import pytest
import torch

from mmbook.encoders import PrecomputedTokens
from mmbook.fusion import Concatenation
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel


def test_precomputed_tokens_are_passed_on_with_their_mask():
    values, mask = torch.randn(2, 3, 8), torch.arange(3) < torch.tensor([[3], [1]])
    tokens = PrecomputedTokens()(values, mask)
    assert tokens.values is values and torch.equal(tokens.mask, mask)
    assert PrecomputedTokens(8)(values).mask.all()


def test_precomputed_tokens_of_another_width_are_named():
    with pytest.raises(ValueError, match="takes tokens of width 8; got 7"):
        PrecomputedTokens(8)(torch.randn(2, 3, 7))
    with pytest.raises(ValueError, match=r"token values must be \(B, N, D\)"):
        PrecomputedTokens()(torch.randn(2, 7))


def test_a_model_with_precomputed_tokens_comes_back_from_a_folder(tmp_path):
    head = ClassificationHead(8, 3)
    encoders = {"image": PrecomputedTokens(8)}
    model = MultimodalModel(encoders, Concatenation({"image": 8}, 8), head).eval()
    again = MultimodalModel.from_pretrained(model.save_pretrained(tmp_path / "model"))
    values = torch.randn(2, 3, 8)
    assert torch.equal(again(image=values).logits, model(image=values).logits)
    assert again.encoders["image"].width == 8
