"""What all decoders do, and the two that keep a stream in place of keys and values."""

import pytest
import torch
from torch.nn import functional as F

from mmbook.fusion import MultimodalConvolution
from mmbook.heads import (
    ConvGenerationHead,
    GenerationHead,
    TransformerXLGenerationHead,
)
from mmbook.tokens import IGNORED, Tokens
from mmbook.world import scene_tokenizer

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
LABELS = torch.tensor(
    [[5, 6, 7, 8, 2], [9, 2, IGNORED, IGNORED, IGNORED], [4, 4, 4, 2, IGNORED]]
)
KINDS = {
    "convolution": (ConvGenerationHead, {"layers": 2, "window": 3}),
    "transformer-xl": (TransformerXLGenerationHead, {"layers": 2}),
}


@pytest.mark.parametrize(
    "kind", [GenerationHead, ConvGenerationHead, TransformerXLGenerationHead]
)
def test_a_decoder_takes_its_special_tokens_from_a_tokenizer(kind, tmp_path):
    tokenizer = scene_tokenizer()
    head = kind.for_tokenizer(tokenizer, width=8, context_width=6, max_length=9)
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert (head.start, head.end, head.pad) == special
    assert len(head.bias) == len(tokenizer) and head.max_length == 9
    again = kind.from_pretrained(head.save_pretrained(tmp_path / "head"))
    assert (again.start, again.end, again.pad) == special and again.max_length == 9
    assert kind.for_tokenizer(tokenizer, context_width=6, pad=5).pad == 5


def test_a_tokenizer_without_a_padding_token_is_named():
    class Bare:
        pad_token_id = None

    with pytest.raises(ValueError, match=r"tokenizer.pad_token = tokenizer.eos_token"):
        GenerationHead.for_tokenizer(Bare())


@pytest.fixture(params=KINDS)
def writer(request, scrambled):
    """One of the two other decoders, with random weights and without dropout."""
    torch.manual_seed(0)
    kind, settings = KINDS[request.param]
    return scrambled(kind(12, 6, width=16, max_length=8, pad=11, **settings))


def test_a_writers_loss_is_the_aligned_cross_entropy(writer, pictures):
    logits, loss = writer(pictures(), LABELS)
    torch.testing.assert_close(loss, F.cross_entropy(logits.mT, LABELS))
    share = writer(pictures(), LABELS, items=40)[1]
    torch.testing.assert_close(share, loss * 11 / 40)
    first, nothing = writer(pictures())
    assert nothing is None
    torch.testing.assert_close(first[:, 0], logits[:, 0])


def test_a_writer_reads_what_stands_before_and_nothing_else(writer, pictures):
    tokens = pictures(rows=1)
    logits = writer(tokens, LABELS[:1])[0]
    for t in range(5):
        read = torch.cat([torch.tensor([[writer.start]]), LABELS[:1, :t]], dim=1)
        torch.testing.assert_close(writer.decode(read, tokens)[:, -1], logits[:, t])
    other = LABELS.clone()
    other[:, 3] = 10
    first, second = (writer(pictures(), x)[0] for x in (LABELS, other))
    torch.testing.assert_close(first[:, :4], second[:, :4])
    assert not torch.allclose(first[:, 4], second[:, 4])


def test_a_writer_is_shown_what_is_real_and_all_of_it(writer, pictures):
    tokens = pictures()
    junk = tokens.values.masked_fill(~tokens.mask[..., None], 99.0)
    logits = writer(tokens, LABELS)[0]
    other = writer(Tokens(junk, tokens.mask), LABELS)[0]
    torch.testing.assert_close(logits, other)
    for row, count in enumerate((4, 2, 1)):  # as if there were no padding at all
        alone = Tokens(tokens.values[[row], :count])
        torch.testing.assert_close(
            writer(alone, LABELS[[row]])[0], logits[[row]], **CLOSE
        )
    shown = tokens.values.clone().requires_grad_()
    writer(Tokens(shown, tokens.mask), LABELS)[1].backward()
    assert ((shown.grad != 0).any(-1) == tokens.mask).all()


def test_a_writer_without_a_picture_is_a_language_model(writer, pictures):
    said = writer(None, LABELS)[0]
    hidden = pictures()
    nothing = Tokens(hidden.values, torch.zeros_like(hidden.mask))
    torch.testing.assert_close(writer(nothing, LABELS)[0], said)
    assert not torch.allclose(writer(hidden, LABELS)[0], said, atol=1e-2)


def test_what_a_writer_keeps_changes_nothing(writer, pictures):
    """Word by word, in pieces, and with the rows exchanged half-way."""
    tokens, read = pictures(), writer.shifted(LABELS)
    expected = writer.decode(read, tokens)
    for sizes in ((1, 1, 1, 1, 1), (2, 3), (5,)):
        cache, out = writer.new_cache(5), []
        for piece in read.split(sizes, dim=1):
            out.append(writer.decode(piece, tokens, cache))
        torch.testing.assert_close(torch.cat(out, 1), expected, **CLOSE)
        assert cache.length == 5
    cache, rows = writer.new_cache(5), torch.tensor([0, 0, 0])
    writer.decode(read[:, :3], tokens, cache)
    cache.reorder(rows, context=False)
    same = Tokens(tokens.values[rows], tokens.mask[rows])
    again = writer.decode(read[rows, 3:], same, cache)
    torch.testing.assert_close(again, expected[rows, 3:], **CLOSE)


def test_everything_in_a_writer_is_trained_and_saved(writer, pictures, tmp_path):
    writer(pictures(), LABELS)[1].backward()
    for name, parameter in writer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    again = type(writer).from_pretrained(writer.save_pretrained(tmp_path / "head"))
    assert torch.equal(again(pictures(), LABELS)[0], writer(pictures(), LABELS)[0])


def test_wrong_calls_of_a_writer_are_named(writer, pictures):
    with pytest.raises(ValueError, match="tokens or labels; got neither"):
        writer(None)
    with pytest.raises(ValueError, match="8 tokens here; got 9"):
        writer(pictures(), torch.ones(3, 9, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must be.*B = 3.*\(2, 5\)"):
        writer(pictures(), LABELS[:2])
    with pytest.raises(ValueError, match="tokens of width 6; got 7"):
        writer(pictures(width=7), LABELS)
    with pytest.raises(TypeError, match=r"got a dict.*needs a fusion"):
        writer({"image": pictures(rows=1)}, LABELS[:1])
    cache = writer.new_cache(8)
    writer.decode(torch.ones(3, 8, dtype=torch.long), pictures(), cache)
    with pytest.raises(ValueError, match="0 tokens here; got 1"):
        writer.decode(torch.ones(3, 1, dtype=torch.long), pictures(), cache)


def test_the_convolution_writes_as_the_fusion_of_the_same_name_reads(pictures):
    """Its words are those that come out of ``MultimodalConvolution(causal=True)``."""
    torch.manual_seed(0)
    head = ConvGenerationHead(12, 6, width=16, layers=2, window=3, max_length=8).eval()
    fused = MultimodalConvolution({"image": 6, "text": 16}, 16, 2, 3, causal=True)
    with torch.no_grad():
        fused.project["text"].weight.copy_(torch.eye(16))
        fused.project["text"].bias.zero_()
        fused.project["image"].load_state_dict(head.look.state_dict())
        for mark in fused.mark.values():
            mark.zero_()
        for ours, theirs in zip(head.lines, fused.blocks, strict=True):
            theirs["text"].load_state_dict(ours.state_dict())
    read = head.shifted(LABELS[:1])
    words = {"image": pictures(rows=1), "text": Tokens(head.embedding(read))}
    out = fused(words).values[:, -5:]
    logits = F.linear(out, head.embedding.word.weight, head.bias)
    torch.testing.assert_close(head.decode(read, words["image"]), logits)


def test_a_window_reaches_so_many_words_back():
    torch.manual_seed(0)
    head = ConvGenerationHead(12, 6, width=16, layers=2, window=3, max_length=8).eval()
    ids = torch.arange(2, 10)[None]
    changed = ids.clone()
    changed[0, 1] = 11
    same = torch.isclose(head.decode(ids, None), head.decode(changed, None)).all(-1)
    assert same[0].tolist() == [True] + [False] * 5 + [True] * 2


def test_a_memory_that_is_too_short_is_named(pictures):
    head = TransformerXLGenerationHead(12, 6, width=16, max_length=8, memory=11)
    with pytest.raises(ValueError, match=r"memory of 11.*4 tokens and 8 words.*=12"):
        head(pictures(), LABELS)
