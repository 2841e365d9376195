"""The text encoder reads in both directions and never sees what is padding."""

import pytest
import torch

from mmbook.encoders import TextEncoder


@pytest.mark.parametrize("norm_first", [True, False])
def test_padding_changes_nothing_for_real_words(norm_first):
    torch.manual_seed(0)
    encoder = TextEncoder(20, 16, 2, 4, 8, norm_first=norm_first).eval()
    ids, mask = torch.randint(0, 20, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    mask[:, 4:] = False
    alone = encoder(ids[:, :4]).values
    torch.testing.assert_close(encoder(ids, mask).values[:, :4], alone)
    other = ids.masked_fill(~mask, 7)
    torch.testing.assert_close(encoder(other, mask).values[:, :4], alone)


def test_order_matters_and_the_encoder_looks_both_ways():
    torch.manual_seed(0)
    encoder = TextEncoder(20, 16, 1, 4, 8).eval()
    first = encoder(torch.tensor([[1, 2, 3]])).values
    assert not torch.allclose(
        first[:, 1], encoder(torch.tensor([[1, 2, 4]])).values[:, 1]
    )
    assert not torch.allclose(
        first[:, 1], encoder(torch.tensor([[3, 2, 1]])).values[:, 1]
    )


def test_wrong_texts_are_named():
    encoder = TextEncoder(20, 16, 1, 4, max_length=5)
    for ids, words in (
        (torch.zeros(3, dtype=torch.long), r"\(B, L\); got \(3,\)"),
        (torch.zeros(2, 3), r"token ids.*float32"),
        (torch.zeros(2, 6, dtype=torch.long), "5 tokens here; got 6.*max_length"),
    ):
        with pytest.raises(ValueError, match=words):
            encoder(ids)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_row_without_words_disturbs_nobody(norm_first):
    torch.manual_seed(0)
    encoder = TextEncoder(20, 16, 2, 4, 8, norm_first=norm_first).eval()
    ids, mask = torch.randint(0, 20, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    mask[1] = False
    tokens = encoder(ids, mask)
    assert tokens.values.isfinite().all() and not tokens.pooled()[1].any()
    torch.testing.assert_close(tokens.values[:1], encoder(ids[:1]).values)
