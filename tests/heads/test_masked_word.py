"""Masked words: only those that were asked for count. (Equal to BERT: tests/twins.)"""

import pytest
import torch

from mmbook.heads import MaskedWordHead
from mmbook.tokens import IGNORED


def test_only_words_that_were_asked_for_count_in_the_masked_loss(pictures):
    torch.manual_seed(0)
    head, tokens = MaskedWordHead(6, 9), pictures()
    labels = torch.full((3, 4), IGNORED)
    labels[0, 2], labels[1, 0] = 5, 8
    logits, loss = head(tokens, labels)
    assert logits.shape == (3, 4, 9)
    expected = -logits.log_softmax(-1)[[0, 1], [2, 0], [5, 8]].mean()
    torch.testing.assert_close(loss, expected)
    share = head(tokens, labels, items=8)[1]
    torch.testing.assert_close(share, loss * 2 / 8)
    assert head(tokens)[1] is None


def test_if_nothing_was_asked_for_the_masked_loss_is_0(pictures):
    head = MaskedWordHead(6, 9)
    loss = head(pictures(), torch.full((3, 4), IGNORED))[1]
    loss.backward()
    assert loss == 0 and not head.words.weight.grad.any()


def test_a_masked_word_head_names_tokens_of_another_width_and_is_saved(
    pictures, tmp_path
):
    head = MaskedWordHead(6, 9, eps=1e-3)
    with pytest.raises(ValueError, match="width 6; got 5"):
        head(pictures(width=5))
    head.save_pretrained(tmp_path / "head")
    again = MaskedWordHead.from_pretrained(tmp_path / "head")
    assert again.transform[2].eps == 1e-3
    assert torch.equal(again(pictures())[0], head(pictures())[0])
