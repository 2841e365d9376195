"""A prompt is tokens that stand before those of the input."""

import torch

from mmbook.encoders import TextEncoder
from mmbook.finetuning import add_prompt


def test_a_prompt_is_tokens_that_were_read():
    """Learned vectors that equal words give what those words before it give."""
    torch.manual_seed(0)
    encoder = TextEncoder(20, 16, layers=2, heads=2).eval()
    with torch.no_grad():
        encoder.embedding.position.weight.zero_()
    words = torch.tensor([[3, 4, 5], [6, 7, 8]])
    longer = torch.cat([torch.tensor([[9, 10]]).expand(2, -1), words], 1)
    wanted = encoder(longer).values[:, 2:]
    vectors = encoder.embedding.word.weight[[9, 10]].detach().clone()
    add_prompt(encoder, 2, keep=()).eval()
    encoder.blocks[0].prompt.data = vectors
    assert torch.allclose(encoder(words).values, wanted, atol=1e-6)
