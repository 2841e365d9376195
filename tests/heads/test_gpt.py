"""The decoder-only model: ours, and any of transformers, behind one signature."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from mmbook.heads import GPT, CausalLMHead
from mmbook.tokens import IGNORED, Tokens

IDS = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 4, 4, 3]])
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(12, width=16, layers=2, heads=4, kv_heads=2, max_length=8).eval()


def pretrained(folder) -> CausalLMHead:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        initializer_range=0.2,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return CausalLMHead.from_pretrained(folder, max_length=8).eval()


@pytest.fixture(params=["ours", "transformers"])
def head(request, tmp_path):
    return gpt() if request.param == "ours" else pretrained(tmp_path / "llama")


@pytest.fixture
def pictures() -> Tokens:
    torch.manual_seed(1)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    return Tokens(torch.randn(2, 3, 16), mask)


def test_no_word_sees_the_words_to_come(head, pictures):
    other = IDS.clone()
    other[:, 3] = 11
    one, two = head.decode(IDS, pictures), head.decode(other, pictures)
    torch.testing.assert_close(one[:, :3], two[:, :3], **CLOSE)
    assert not torch.allclose(one[:, 3], two[:, 3], atol=1e-3)


def test_each_word_sees_the_picture(head, pictures):
    other = Tokens(pictures.values.flip(0), pictures.mask)
    one, two = head.decode(IDS, pictures), head.decode(IDS, other)
    assert ((one - two).abs().amax(-1) > 1e-4).all()


def test_tokens_that_are_padding_change_nothing(head, pictures):
    short = Tokens(pictures.values[1:, :2], pictures.mask[1:, :2])
    expected = head.decode(IDS[1:], short)
    found = head.decode(IDS, pictures)[1:]
    torch.testing.assert_close(found, expected, **CLOSE)


def test_tokens_are_read_as_words_before_the_first(head):
    """The embeddings of words, given as tokens, are these words."""
    words = head.layers()[0](IDS[:, :2]).detach()
    found = head.decode(IDS[:, 2:], Tokens(words))
    torch.testing.assert_close(found, head.decode(IDS, None)[:, 2:], **CLOSE)


@pytest.mark.parametrize("first", [1, 3])
def test_with_a_cache_the_same_word_by_word(head, pictures, first):
    expected, cache = head.decode(IDS, pictures), head.new_cache(5)
    parts = [head.decode(IDS[:, :first], pictures, cache)]
    parts += [head.decode(IDS[:, t : t + 1], pictures, cache) for t in range(first, 5)]
    torch.testing.assert_close(torch.cat(parts, 1), expected, **CLOSE)
    assert cache.length == 5


def test_a_cache_can_be_put_in_another_order(head, pictures):
    rows = torch.tensor([1, 0])
    expected, cache = head.decode(IDS, pictures)[rows, -1], head.new_cache(5)
    head.decode(IDS[:, :4], pictures, cache)
    cache.reorder(rows)
    found = head.decode(IDS[rows, 4:], pictures, cache)[:, 0]
    torch.testing.assert_close(found, expected, **CLOSE)


def test_the_loss_is_of_the_words_alone(head, pictures):
    labels = torch.tensor([[5, 6, 2], [4, 2, IGNORED]])
    logits, loss = head(pictures, labels)
    assert logits.shape == (2, 3, 12)
    told = logits.log_softmax(-1)
    rows = [told[0, 0, 5], told[0, 1, 6], told[0, 2, 2], told[1, 0, 4], told[1, 1, 2]]
    torch.testing.assert_close(loss, -torch.stack(rows).mean(), **CLOSE)


def test_what_does_not_fit_is_refused(head):
    with pytest.raises(ValueError, match="width"):
        head.decode(IDS, Tokens(torch.zeros(2, 3, 7)))
    with pytest.raises(ValueError, match="8"):
        head.decode(IDS.repeat(1, 2), None)


def test_saved_and_loaded_it_is_the_same(head, tmp_path):
    head.save_pretrained(tmp_path / "head")
    again = type(head).from_pretrained(tmp_path / "head").eval()
    assert torch.equal(again.decode(IDS, None), head.decode(IDS, None))
