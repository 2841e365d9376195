"""Embeddings of length one."""

import pytest
import torch

from mmbook.heads import EmbeddingHead
from mmbook.tokens import Tokens


def test_embeddings_have_length_one_and_ignore_padding(pictures):
    head, tokens = EmbeddingHead(6, 3), pictures()
    embedding, loss = head(tokens)
    assert loss is None
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    junk = tokens.values.masked_fill(~tokens.mask[..., None], 9.0)
    torch.testing.assert_close(head(Tokens(junk, tokens.mask))[0], embedding)


def test_an_embedding_head_without_a_fusion_is_named(pictures):
    with pytest.raises(TypeError, match=r"got a dict.*needs a fusion"):
        EmbeddingHead(6, 3)({"image": pictures(), "text": pictures()})
