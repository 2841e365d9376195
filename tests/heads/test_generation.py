"""The transformer decoder: one shift, cross-attention. (Equal to BERT: tests/twins.)"""

import pytest
import torch
from torch.nn import functional as F

from mmbook.heads import GenerationHead
from mmbook.tokens import IGNORED, Tokens

LABELS = torch.tensor(
    [[5, 6, 7, 8, 2], [9, 2, IGNORED, IGNORED, IGNORED], [4, 4, 4, 2, IGNORED]]
)


@pytest.fixture
def generation_head(scrambled):
    def make(**changes):
        torch.manual_seed(0)
        settings = {"width": 16, "layers": 2, "max_length": 8, "context_width": 6}
        return scrambled(GenerationHead(12, **settings | changes))

    return make


def test_the_decoder_reads_start_and_then_the_labels_moved_by_one(generation_head):
    read = generation_head(start=1, pad=0).shifted(LABELS)
    assert read.tolist() == [[1, 5, 6, 7, 8], [1, 9, 2, 0, 0], [1, 4, 4, 4, 2]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_aligned_cross_entropy(smoothing, generation_head, pictures):
    """No double shift: ``logits[:, t]`` is what predicts ``labels[:, t]``."""
    head = generation_head(smoothing=smoothing)
    logits, loss = head(pictures(), LABELS)
    expected = F.cross_entropy(logits.mT, LABELS, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_each_word_is_predicted_from_those_before_it(generation_head, pictures):
    """Teacher forcing gives the likelihood of the sentence, word by word."""
    head, tokens = generation_head(), pictures(rows=1)
    logits, _ = head(tokens, LABELS[:1])
    for t in range(5):
        read = torch.cat([torch.tensor([[head.start]]), LABELS[:1, :t]], dim=1)
        torch.testing.assert_close(head.decode(read, tokens)[:, -1], logits[:, t])


def test_no_word_sees_the_words_to_come(generation_head, pictures):
    head, tokens = generation_head(), pictures()
    other = LABELS.clone()
    other[:, 3] = 11
    first, second = head(tokens, LABELS)[0], head(tokens, other)[0]
    torch.testing.assert_close(first[:, :4], second[:, :4])
    assert not torch.allclose(first[:, 4], second[:, 4])


def test_padding_never_counts(generation_head, pictures):
    head, tokens = generation_head(), pictures()
    _, loss = head(tokens, LABELS)
    _, wider = head(tokens, F.pad(LABELS, (0, 3), value=IGNORED))
    torch.testing.assert_close(loss, wider)
    alone, count = 0.0, 0
    for row in range(3):  # each sentence without any padding at all
        real = LABELS[row][LABELS[row] != IGNORED][None]
        given = Tokens(tokens.values[[row]], tokens.mask[[row]])
        alone, count = alone + head(given, real)[1] * real.numel(), count + real.numel()
    torch.testing.assert_close(loss, alone / count)


def test_padding_gets_no_gradient(generation_head, pictures):
    head = generation_head(pad=11)
    loss = head(pictures(), LABELS)[1]
    loss.backward()
    moved = head.embedding.position.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [True] * 5 + [False] * 3
    one = generation_head(pad=11)
    one(pictures(rows=2), LABELS[1:, :2])[1].backward()
    assert not (one.embedding.position.weight.grad[2:] != 0).any()


def test_items_make_the_loss_a_share_of_a_larger_batch(generation_head, pictures):
    head = generation_head()
    _, whole = head(pictures(), LABELS)
    _, share = head(pictures(), LABELS, items=40)
    torch.testing.assert_close(share, whole * 11 / 40)


def test_if_no_label_counts_the_loss_is_0(generation_head, pictures):
    head = generation_head()
    loss = head(pictures(), torch.full_like(LABELS, IGNORED))[1]
    loss.backward()
    assert loss == 0 and not head.bias.grad.any()


def test_without_labels_come_the_logits_of_the_first_word(generation_head, pictures):
    head = generation_head()
    logits, loss = head(pictures())
    assert loss is None
    torch.testing.assert_close(logits[:, 0], head(pictures(), LABELS)[0][:, 0])


def test_without_tokens_it_is_a_language_model(generation_head):
    seeing, blind = generation_head(), generation_head(context_width=None)
    blind.load_state_dict(seeing.state_dict(), strict=False)
    torch.testing.assert_close(seeing(None, LABELS)[0], blind(None, LABELS)[0])


@pytest.mark.parametrize("closed", [True, False])
def test_a_language_model_gets_cross_attention_and_keeps_its_words(
    closed, generation_head, pictures
):
    blind = generation_head(context_width=None)
    seeing = blind.with_context(6, dropout=0.5).eval()
    if closed:
        seeing.zero_cross_attention()
    torch.testing.assert_close(seeing(None, LABELS)[0], blind(None, LABELS)[0])
    shown = seeing(pictures(), LABELS)[0]
    assert torch.allclose(shown, blind(None, LABELS)[0], atol=1e-5) == closed
    assert seeing.to_config()["dropout"] == 0.5
    assert blind.to_config()["context_width"] is None


def test_zeroed_cross_attention_can_be_learned(generation_head, pictures):
    head = generation_head()
    head.zero_cross_attention()
    head(pictures(), LABELS)[1].backward()
    assert all(block.cross.out.weight.grad.any() for block in head.blocks)
    assert not any(block.cross.out.weight.any() for block in head.blocks)


def test_hidden_tokens_change_nothing(generation_head, pictures):
    head, tokens = generation_head(), pictures()
    junk = tokens.values.masked_fill(~tokens.mask[..., None], 99.0)
    other = head(Tokens(junk, tokens.mask), LABELS)[0]
    torch.testing.assert_close(head(tokens, LABELS)[0], other)


def test_wrong_calls_of_a_generation_head_are_named(generation_head, pictures):
    head = generation_head()
    with pytest.raises(ValueError, match="tokens or labels; got neither"):
        head(None)
    with pytest.raises(ValueError, match="8 tokens here; got 9"):
        head(pictures(), torch.ones(3, 9, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must be \(B, L\).*\(3,\)"):
        head(pictures(), torch.ones(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must be.*B = 3.*\(2, 5\)"):
        head(pictures(), LABELS[:2])
    with pytest.raises(ValueError, match="tokens of width 6; got 7"):
        head(pictures(width=7), LABELS)
    with pytest.raises(TypeError, match=r"got a dict.*needs a fusion"):
        head({"image": pictures(), "text": pictures()}, LABELS[:2])
    with pytest.raises(ValueError, match=r"no cross-attention.*context_width"):
        generation_head(context_width=None)(pictures(), LABELS)
