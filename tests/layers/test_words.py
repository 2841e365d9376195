"""Words become vectors, or the error says what was given instead."""

import pytest
import torch
from torch import nn

from mmbook.layers import TextEmbedding

IDS = torch.tensor([[1, 2, 3], [4, 0, 0]])


def test_an_embedding_is_word_plus_position():
    torch.manual_seed(0)
    embedding = TextEmbedding(5, 8, max_length=4)
    words, places = embedding.word.weight, embedding.position.weight
    assert torch.equal(embedding(IDS)[0, 2], words[3] + places[2])
    assert torch.equal(embedding(IDS, start=1)[1, 0], words[4] + places[1])


def test_a_norm_is_taken_of_the_sum_as_in_bert():
    torch.manual_seed(0)
    plain, normed = TextEmbedding(5, 8, 4), TextEmbedding(5, 8, 4, norm=True)
    normed.load_state_dict(plain.state_dict(), strict=False)
    wanted = nn.functional.layer_norm(plain(IDS), (8,))
    assert torch.equal(normed(IDS), wanted)


@pytest.mark.parametrize("ids", [torch.tensor([1, 2]), torch.zeros(1, 2)])
def test_what_is_no_batch_of_ids_is_refused(ids):
    with pytest.raises(ValueError, match=r"token ids \(B, L\); got"):
        TextEmbedding(5, 8, 4)(ids)


def test_a_text_that_is_too_long_is_refused_before_it_is_read():
    embedding = TextEmbedding(5, 8, max_length=3)
    embedding(IDS)
    with pytest.raises(ValueError, match=r"3 tokens here; got 4.*max_length"):
        embedding(torch.ones(1, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="2 tokens here; got 3"):
        embedding(IDS, start=1)
