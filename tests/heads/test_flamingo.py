"""Flamingo's head: a language model that looks at a picture between its layers."""

import pytest
import torch

from mmbook.finetuning import freeze
from mmbook.heads import GPT, FlamingoHead
from mmbook.tokens import Tokens

IDS = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 4, 4, 3]])
SIZES = {"width": 16, "layers": 2, "heads": 4, "max_length": 8}


@pytest.fixture
def pictures() -> Tokens:
    torch.manual_seed(1)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    return Tokens(torch.randn(2, 3, 6), mask)


@pytest.fixture
def head() -> FlamingoHead:
    torch.manual_seed(0)
    return FlamingoHead(12, 6, **SIZES).eval()


def opened(head: FlamingoHead) -> FlamingoHead:
    for look in head.looks:
        torch.nn.init.constant_(look.gates, 0.7)
    return head


def test_with_closed_gates_it_is_the_language_model_whose_weights_it_holds(
    head, pictures
):
    plain = GPT(12, **SIZES).eval()
    plain.load_state_dict(head.state_dict(), strict=False)
    assert torch.equal(head.decode(IDS, pictures), plain.decode(IDS, None))
    assert torch.equal(opened(head).decode(IDS, None), plain.decode(IDS, None))


def test_with_open_gates_every_word_sees_the_picture_and_no_padding(head, pictures):
    one = opened(head).decode(IDS, pictures)
    other = head.decode(IDS, Tokens(pictures.values.flip(0), pictures.mask))
    assert ((one - other).abs().amax(-1) > 1e-5).all()
    values = pictures.values.masked_fill(~pictures.mask[..., None], 9.0)
    torch.testing.assert_close(one, head.decode(IDS, Tokens(values, pictures.mask)))


def test_a_row_without_a_real_token_finds_nothing(head, pictures):
    nothing = Tokens(pictures.values, torch.zeros_like(pictures.mask))
    for look in head.looks:
        torch.nn.init.constant_(look.gates[:1], 0.7)
    plain = head.decode(IDS, None)
    torch.testing.assert_close(head.decode(IDS, nothing), plain)


def test_word_by_word_with_a_cache_is_the_same(head, pictures):
    whole, cache = opened(head).decode(IDS, pictures), head.new_cache(8)
    steps = [head.decode(IDS[:, :3], pictures, cache)]
    cache.reorder(torch.tensor([0, 1]))
    steps += [head.decode(IDS[:, n : n + 1], pictures, cache) for n in (3, 4)]
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-4, atol=1e-5)


def test_at_first_only_the_gates_learn_and_then_all_that_is_new(head, pictures):
    freeze(head, keep=["looks"])
    tokens = Tokens(pictures.values.requires_grad_(), pictures.mask)
    for step in range(2):
        head.zero_grad()
        head(tokens, IDS)[1].backward()
        learns = {n for n, p in head.named_parameters() if _moves(p.grad)}
        assert all(name.startswith("looks.") for name in learns)
        assert all(name.endswith("gates") for name in learns) == (step == 0)
        assert _moves(tokens.values.grad) == (step == 1)
        torch.optim.SGD(head.parameters(), 0.5).step()


def _moves(gradient) -> bool:
    return gradient is not None and bool(gradient.abs().max() > 0)


def test_it_is_saved_and_loaded_whole(head, pictures, tmp_path):
    opened(head).save_pretrained(tmp_path)
    again = FlamingoHead.from_pretrained(tmp_path).eval()
    assert torch.equal(again.decode(IDS, pictures), head.decode(IDS, pictures))


def test_tokens_of_another_width_are_refused(head):
    with pytest.raises(ValueError, match="takes tokens of width 6; got 5"):
        head.decode(IDS, Tokens(torch.zeros(2, 3, 5)))
