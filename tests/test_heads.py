"""Heads: aligned losses, one shift, and equality with BERT as a decoder."""

from itertools import groupby, product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmbook.fusion import MultimodalConvolution
from mmbook.heads import (
    ClassificationHead,
    ConvGenerationHead,
    CTCHead,
    EmbeddingHead,
    GenerationHead,
    MaskedWordHead,
    PairHead,
    SharedSpaceHead,
    TransformerXLGenerationHead,
)
from mmbook.losses import contrastive
from mmbook.tokens import Tokens
from mmbook.twins import (
    generation_head_from_bert,
    masked_word_head_from_bert,
    text_encoder_from_bert,
)

IGNORED = -100
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def scramble(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def pictures(rows=3, width=6):
    torch.manual_seed(1)
    mask = torch.arange(4)[None] < torch.tensor([4, 2, 1])[:rows, None]
    return Tokens(torch.randn(rows, 4, width), mask)


def generation_head(**changes):
    torch.manual_seed(0)
    settings = {"width": 16, "layers": 2, "max_length": 8, "context_width": 6}
    head = GenerationHead(12, **settings | changes)
    scramble(head)
    return head.eval()


LABELS = torch.tensor(
    [[5, 6, 7, 8, 2], [9, 2, IGNORED, IGNORED, IGNORED], [4, 4, 4, 2, IGNORED]]
)


# ---------------------------------------------------------------------- generation


def test_the_decoder_reads_start_and_then_the_labels_moved_by_one():
    read = generation_head(start=1, pad=0).shifted(LABELS)
    assert read.tolist() == [[1, 5, 6, 7, 8], [1, 9, 2, 0, 0], [1, 4, 4, 4, 2]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_aligned_cross_entropy_of_the_logits(smoothing):
    """No double shift: ``logits[:, t]`` is what predicts ``labels[:, t]``."""
    head = generation_head(smoothing=smoothing)
    logits, loss = head(pictures(), LABELS)
    expected = F.cross_entropy(logits.mT, LABELS, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_each_word_is_predicted_from_those_before_it():
    """Teacher forcing gives the likelihood of the sentence, word by word."""
    head, tokens = generation_head(), pictures(rows=1)
    logits, _ = head(tokens, LABELS[:1])
    for t in range(5):
        read = torch.cat([torch.tensor([[head.start]]), LABELS[:1, :t]], dim=1)
        torch.testing.assert_close(head.decode(read, tokens)[:, -1], logits[:, t])


def test_no_word_sees_the_words_to_come():
    head, tokens = generation_head(), pictures()
    other = LABELS.clone()
    other[:, 3] = 11
    first, second = head(tokens, LABELS)[0], head(tokens, other)[0]
    torch.testing.assert_close(first[:, :4], second[:, :4])
    assert not torch.allclose(first[:, 4], second[:, 4])


def test_padding_never_counts():
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


def test_padding_gets_no_gradient():
    head = generation_head(pad=11)
    loss = head(pictures(), LABELS)[1]
    loss.backward()
    moved = head.embedding.position.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [True] * 5 + [False] * 3
    one = generation_head(pad=11)
    one(pictures(rows=2), LABELS[1:, :2])[1].backward()
    assert not (one.embedding.position.weight.grad[2:] != 0).any()


def test_items_make_the_loss_a_share_of_a_larger_batch():
    head = generation_head()
    _, whole = head(pictures(), LABELS)
    _, share = head(pictures(), LABELS, items=40)
    torch.testing.assert_close(share, whole * 11 / 40)


def test_without_labels_come_the_logits_of_the_first_word():
    head = generation_head()
    logits, loss = head(pictures())
    assert loss is None
    torch.testing.assert_close(logits[:, 0], head(pictures(), LABELS)[0][:, 0])


def test_without_tokens_it_is_a_language_model():
    seeing, blind = generation_head(), generation_head(context_width=None)
    blind.load_state_dict(seeing.state_dict(), strict=False)
    torch.testing.assert_close(seeing(None, LABELS)[0], blind(None, LABELS)[0])


@pytest.mark.parametrize("closed", [True, False])
def test_a_language_model_gets_eyes_and_keeps_its_words(closed):
    blind = generation_head(context_width=None)
    seeing = blind.with_context(6, closed=closed, dropout=0.5).eval()
    torch.testing.assert_close(seeing(None, LABELS)[0], blind(None, LABELS)[0])
    shown = seeing(pictures(), LABELS)[0]
    assert torch.allclose(shown, blind(None, LABELS)[0], atol=1e-5) == closed
    assert seeing.to_config()["dropout"] == 0.5
    assert blind.to_config()["context_width"] is None


def test_hidden_tokens_change_nothing():
    head, tokens = generation_head(), pictures()
    junk = tokens.values.masked_fill(~tokens.mask[..., None], 99.0)
    other = head(Tokens(junk, tokens.mask), LABELS)[0]
    torch.testing.assert_close(head(tokens, LABELS)[0], other)


def test_wrong_calls_of_a_generation_head_are_named():
    head = generation_head()
    with pytest.raises(ValueError, match="tokens or labels; got neither"):
        head(None)
    with pytest.raises(ValueError, match="8 tokens here; got 9"):
        head(pictures(), torch.ones(3, 9, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must be \(B, L\).*\(3,\)"):
        head(pictures(), torch.ones(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must be.*B = 3.*\(2, 5\)"):
        head(pictures(), LABELS[:2])
    with pytest.raises(ValueError, match="context of width 6; got width 7"):
        head(pictures(width=7), LABELS)
    with pytest.raises(ValueError, match="context_width"):
        generation_head(context_width=None)(pictures(), LABELS)


# ------------------------------------------------------- BERT as a decoder, the twin


def bert_decoder(layers=2):
    from transformers import BertConfig, BertLMHeadModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=10,
        is_decoder=True,
        add_cross_attention=True,
    )
    twin = BertLMHeadModel(config).eval()
    scramble(twin)
    return twin


@torch.no_grad()
def copy_bert_decoder(twin, head):
    """All that ``from_bert`` leaves new: the eyes, and the layer before the logits."""
    for layer, block in zip(twin.bert.encoder.layer, head.blocks, strict=True):
        source, core = layer.crossattention, layer.crossattention.self
        block.cross.query.load_state_dict(core.query.state_dict())
        block.cross.key.load_state_dict(core.key.state_dict())
        block.cross.value.load_state_dict(core.value.state_dict())
        block.cross.out.load_state_dict(source.output.dense.state_dict())
        block.cross_norm.load_state_dict(source.output.LayerNorm.state_dict())
    predictions = twin.cls.predictions
    head.transform[0].load_state_dict(predictions.transform.dense.state_dict())
    head.transform[2].load_state_dict(predictions.transform.LayerNorm.state_dict())
    head.bias.copy_(predictions.bias)


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same decoder in transformers and here."""
    twin, folder = bert_decoder(), tmp_path_factory.mktemp("bert")
    twin.bert.save_pretrained(folder)
    head = generation_head_from_bert(str(folder), context_width=16, transform=True)
    copy_bert_decoder(twin, head)
    return twin, head.eval(), folder


def test_a_bert_decoder_that_looks_at_a_picture_equals_transformers(twins):
    twin, head, _ = twins
    tokens, ids = pictures(width=16), torch.randint(0, 12, (3, 7))
    expected = twin(
        input_ids=ids,
        encoder_hidden_states=tokens.values,
        encoder_attention_mask=tokens.mask.long(),
    ).logits
    torch.testing.assert_close(head.decode(ids, tokens), expected, **CLOSE)
    unmasked = twin(input_ids=ids, encoder_hidden_states=tokens.values).logits
    everything = Tokens(tokens.values)
    torch.testing.assert_close(head.decode(ids, everything), unmasked, **CLOSE)
    assert not torch.allclose(expected, unmasked, atol=1e-3)


def test_a_bert_decoder_without_a_picture_equals_transformers(twins):
    twin, head, _ = twins
    ids = torch.randint(0, 12, (3, 7))
    expected = twin(input_ids=ids).logits
    torch.testing.assert_close(head.decode(ids, None), expected, **CLOSE)


def test_the_loss_of_a_bert_decoder_equals_transformers(twins):
    """They shift inside, we outside; on the same words the two must agree."""
    twin, head, _ = twins
    tokens = pictures(width=16)
    read = torch.cat([torch.full((3, 1), head.start), LABELS.clamp(min=0)], 1)
    targets = torch.cat([torch.full((3, 1), IGNORED), LABELS], 1)
    expected = twin(
        input_ids=read,
        labels=targets,
        encoder_hidden_states=tokens.values,
        encoder_attention_mask=tokens.mask.long(),
    ).loss
    torch.testing.assert_close(head(tokens, LABELS)[1], expected, **CLOSE)


def test_from_bert_takes_the_first_layers_and_changes(twins):
    *_, folder = twins
    head = generation_head_from_bert(
        str(folder), context_width=5, layers=1, closed=True, start=3, dropout=0.0
    ).eval()
    assert len(head.blocks) == 1 and head.start == 3 and head.embedding.dropout.p == 0
    first, second = (head(Tokens(torch.randn(3, 2, 5)), LABELS)[0] for _ in range(2))
    assert torch.equal(first, second)  # closed eyes: whatever it is shown
    with pytest.raises(ValueError, match=r"layers must be 1 to 2.*got 3"):
        generation_head_from_bert(str(folder), context_width=5, layers=3)


def test_a_head_from_bert_is_saved_and_loaded_as_any_other(twins, tmp_path):
    _, head, _ = twins
    head.save_pretrained(tmp_path / "head")
    again = GenerationHead.from_pretrained(tmp_path / "head")
    tokens = pictures(width=16)
    assert torch.equal(again(tokens, LABELS)[0], head(tokens, LABELS)[0])


# ---------------------------------------- writing by convolution, and by Transformer-XL

OTHERS = {
    "convolution": (ConvGenerationHead, {"layers": 2, "window": 3}),
    "transformer-xl": (TransformerXLGenerationHead, {"layers": 2}),
}


@pytest.fixture(params=OTHERS)
def writer(request):
    """One of the two other decoders, with random weights and without dropout."""
    torch.manual_seed(0)
    kind, settings = OTHERS[request.param]
    head = kind(12, 6, width=16, max_length=8, pad=11, **settings)
    scramble(head)
    return head.eval()


def test_a_writers_loss_is_the_aligned_cross_entropy(writer):
    logits, loss = writer(pictures(), LABELS)
    torch.testing.assert_close(loss, F.cross_entropy(logits.mT, LABELS))
    share = writer(pictures(), LABELS, items=40)[1]
    torch.testing.assert_close(share, loss * 11 / 40)
    first, nothing = writer(pictures())
    assert nothing is None
    torch.testing.assert_close(first[:, 0], logits[:, 0])


def test_a_writer_reads_what_stands_before_and_nothing_else(writer):
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


def test_a_writer_is_shown_what_is_real_and_all_of_it(writer):
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


def test_a_writer_without_a_picture_is_a_language_model(writer):
    said = writer(None, LABELS)[0]
    hidden = pictures()
    nothing = Tokens(hidden.values, torch.zeros_like(hidden.mask))
    torch.testing.assert_close(writer(nothing, LABELS)[0], said)
    assert not torch.allclose(writer(hidden, LABELS)[0], said, atol=1e-2)


def test_what_a_writer_keeps_changes_nothing(writer):
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


def test_everything_in_a_writer_is_trained_and_saved(writer, tmp_path):
    writer(pictures(), LABELS)[1].backward()
    for name, parameter in writer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    again = type(writer).from_pretrained(writer.save_pretrained(tmp_path / "head"))
    assert torch.equal(again(pictures(), LABELS)[0], writer(pictures(), LABELS)[0])


def test_wrong_calls_of_a_writer_are_named(writer):
    with pytest.raises(ValueError, match="tokens or labels; got neither"):
        writer(None)
    with pytest.raises(ValueError, match="8 tokens here; got 9"):
        writer(pictures(), torch.ones(3, 9, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must be.*B = 3.*\(2, 5\)"):
        writer(pictures(), LABELS[:2])
    with pytest.raises(ValueError, match="tokens of width 6; got 7"):
        writer(pictures(width=7), LABELS)
    cache = writer.new_cache(8)
    writer.decode(torch.ones(3, 8, dtype=torch.long), pictures(), cache)
    with pytest.raises(ValueError, match="0 tokens here; got 1"):
        writer.decode(torch.ones(3, 1, dtype=torch.long), pictures(), cache)


def test_the_convolution_writes_as_the_fusion_of_the_same_name_reads():
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
        for ours, theirs in zip(head.lines, fused.layers, strict=True):
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


def test_a_memory_that_is_too_short_is_named():
    head = TransformerXLGenerationHead(12, 6, width=16, max_length=8, memory=11)
    with pytest.raises(ValueError, match=r"memory of 11.*4 tokens and 8 words.*=12"):
        head(pictures(), LABELS)


# ------------------------------------------------------------------ the other heads


@pytest.mark.parametrize("hidden", [None, 7])
def test_classification_is_the_pooled_tokens_through_linear_layers(hidden):
    head, tokens = ClassificationHead(6, 4, hidden, dropout=0.5).eval(), pictures()
    labels = torch.tensor([3, 0, IGNORED])
    logits, loss = head(tokens, labels)
    for row, count in enumerate((4, 2, 1)):
        mean = tokens.values[row, :count].mean(0)
        torch.testing.assert_close(logits[row], head.layers(mean))
    torch.testing.assert_close(loss, F.cross_entropy(logits[:2], labels[:2]))
    assert head(tokens)[1] is None


def test_classification_names_labels_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(3, 5\)"):
        ClassificationHead(6, 4)(pictures(), LABELS)


def test_embeddings_have_length_one_and_ignore_padding():
    head, tokens = EmbeddingHead(6, 3), pictures()
    embedding, loss = head(tokens)
    assert loss is None
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    junk = tokens.values.masked_fill(~tokens.mask[..., None], 9.0)
    torch.testing.assert_close(head(Tokens(junk, tokens.mask))[0], embedding)


def test_a_pair_scores_each_with_each():
    head = PairHead({"image": 6, "text": 5}, embedding=4)
    pair = {"image": pictures(), "text": Tokens(torch.randn(3, 2, 5))}
    scores, loss = head(pair)
    first, second = (head.heads[name](pair[name])[0] for name in pair)
    torch.testing.assert_close(scores[1, 2], first[1] @ second[2] / 0.07)
    torch.testing.assert_close(loss, contrastive(first, second, 1 / 0.07))
    with torch.no_grad():
        head.log_scale.fill_(50.0)  # the temperature cannot shrink for ever
    assert head(pair)[0].abs().max() <= 100.001
    torch.testing.assert_close(head(pair)[0][1, 2], 100 * first[1] @ second[2])


def test_wrong_pairs_are_named():
    with pytest.raises(ValueError, match="a pair has two modalities; got image"):
        PairHead({"image": 6})
    head = PairHead({"image": 6, "text": 5})
    with pytest.raises(ValueError, match="a pair needs image and text; got image"):
        head({"image": pictures()})


# ---------------------------------------------------------------------- a shared space


def four(rows=3):
    torch.manual_seed(2)
    widths = {"image": 6, "audio": 4, "video": 3, "text": 5}
    tokens = {n: Tokens(torch.randn(rows, 2, width)) for n, width in widths.items()}
    return widths, tokens


def test_a_shared_space_of_two_is_a_pair():
    pair, shared = (
        PairHead({"image": 6, "text": 5}, 4),
        SharedSpaceHead({"image": 6, "text": 5}, 4),
    )
    shared.heads.load_state_dict(pair.heads.state_dict())
    tokens = {"image": pictures(), "text": Tokens(torch.randn(3, 2, 5))}
    for scale in (0.5, 50.0):  # the second is above what is allowed
        with torch.no_grad():
            pair.log_scale.fill_(scale)
            shared.log_scale.fill_(scale)
        scores, loss = pair(tokens)
        embedded, same = shared(tokens)
        torch.testing.assert_close(same, loss)
        ours = shared.scales[0] * embedded["image"] @ embedded["text"].T
        torch.testing.assert_close(ours, scores)


def test_the_shared_loss_is_the_mean_over_the_trained_pairs():
    widths, tokens = four()
    head = SharedSpaceHead(widths, 4)
    assert head.pairs == [("image", "text"), ("audio", "text"), ("video", "text")]
    with torch.no_grad():
        head.log_scale.copy_(torch.tensor([0.0, 1.0, 2.0]))
    z, loss = head(tokens)
    each = [
        contrastive(z[name], z["text"], torch.tensor(float(k)).exp())
        for k, name in enumerate(("image", "audio", "video"))
    ]
    torch.testing.assert_close(loss, sum(each) / 3)
    for number, name in enumerate(("image", "audio", "video")):
        _, alone = head({name: tokens[name], "text": tokens["text"]})
        torch.testing.assert_close(alone, each[number])


def test_a_missing_modality_is_no_error_in_a_shared_space():
    widths, tokens = four()
    head = SharedSpaceHead(
        widths, 4, pairs=[("image", "text"), ("video", "audio"), ("text", "video")]
    )
    z, loss = head({"image": tokens["image"], "video": tokens["video"]})
    assert loss is None and set(z) == {"image", "video"}  # both, but no trained pair
    alone, loss = head({"audio": tokens["audio"]})
    assert loss is None
    torch.testing.assert_close(alone["audio"].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(alone["audio"], head(tokens)[0]["audio"])


def test_everything_in_a_shared_space_is_trained_and_saved(tmp_path):
    widths, tokens = four()
    head = SharedSpaceHead(widths, 4, pairs=[("image", "text"), ("audio", "video")])
    head(tokens)[1].backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    again = SharedSpaceHead.from_pretrained(head.save_pretrained(tmp_path))
    assert again.pairs == head.pairs
    torch.testing.assert_close(again(tokens)[1], head(tokens)[1])


def test_what_a_shared_space_refuses():
    widths, tokens = four()
    with pytest.raises(ValueError, match=r"leave none of them out; got .*image"):
        SharedSpaceHead(widths, 4, pairs=[("image", "text")])
    with pytest.raises(ValueError, match="pairs must be of two"):
        SharedSpaceHead({"image": 6}, 4)
    with pytest.raises(ValueError, match="pairs must be of two"):
        SharedSpaceHead(
            {"image": 6, "text": 5}, 4, [("image", "text"), ("text", "text")]
        )
    head = SharedSpaceHead(widths, 4)
    with pytest.raises(ValueError, match="any of image, audio, video, text; got smell"):
        head({"smell": tokens["text"]})
    with pytest.raises(ValueError, match="got nothing"):
        head({})


# ---------------------------------------------------------------------- speech to text


def ctc_head(**changes):
    torch.manual_seed(0)
    head = CTCHead(6, 5, **changes)
    scramble(head)
    return head


SPOKEN = torch.tensor([[3, 4, 2], [4, 2, IGNORED], [1, 2, IGNORED]])


def collapse(path, blank=0):
    return [symbol for symbol, _ in groupby(path) if symbol != blank]


def test_ctc_counts_every_way_to_say_the_labels():
    """By hand: the sum over all paths that collapse to the labels."""
    head, tokens = ctc_head(), pictures()  # 4, 2 and 1 tokens
    logits, loss = head(tokens, SPOKEN)
    assert logits.shape == (3, 4, 5)
    total = 0.0
    for row, wanted in enumerate(([3, 4], [4], [1])):
        table = logits[row, tokens.mask[row]].softmax(-1).tolist()
        likelihood = 0.0
        for path in product(range(5), repeat=len(table)):
            if collapse(path) == wanted:
                ways = torch.tensor([table[t][s] for t, s in enumerate(path)])
                likelihood += ways.prod().item()
        total -= torch.tensor(likelihood).log()
    assert (SPOKEN != IGNORED).sum() == 7  # the end counts in the mean, as elsewhere
    torch.testing.assert_close(loss, total / 7, **CLOSE)


def test_ctc_does_not_hear_padding():
    head, tokens = ctc_head(), pictures()
    other = tokens.values.masked_fill(~tokens.mask[..., None], 9.0)
    longer = Tokens(
        F.pad(other, (0, 0, 0, 2), value=7.0), F.pad(tokens.mask, (0, 2), value=False)
    )
    loss, again = head(tokens, SPOKEN)[1], head(longer, SPOKEN)[1]
    torch.testing.assert_close(loss, again)
    assert head.greedy(tokens) == head.greedy(longer)


def test_ctc_of_two_halves_is_that_of_the_whole():
    head, tokens = ctc_head(), pictures()
    whole = head(tokens, SPOKEN)[1]
    parts = [
        head(Tokens(tokens.values[rows], tokens.mask[rows]), SPOKEN[rows], items=7)[1]
        for rows in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_greedy_merges_what_is_repeated_and_drops_blanks():
    head = CTCHead(5, 5)
    with torch.no_grad():
        head.symbols.weight.copy_(torch.eye(5))
        head.symbols.bias.zero_()
    said = torch.tensor([[3, 3, 0, 3, 4, 4], [0, 1, 1, 0, 4, 4]])
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
    tokens = Tokens(F.one_hot(said, 5).float(), mask)
    assert head.greedy(tokens) == [[3, 3, 4], [1]]


def test_ctc_learns_to_say_the_labels():
    torch.manual_seed(0)
    head = CTCHead(6, 5)
    tokens = Tokens(torch.randn(2, 4, 6))
    labels = torch.tensor([[3, 3, 2], [4, 1, 2]])  # a repetition needs a blank
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = head(tokens, labels)[1]
        loss.backward()
        optimizer.step()
    assert loss < 0.05 and head.greedy(tokens) == [[3, 3], [4, 1]]


def test_what_ctc_cannot_say():
    short = Tokens(torch.randn(1, 2, 6))
    assert ctc_head()(short, torch.tensor([[3, 4, 1, 2]]))[1].isinf()
    assert ctc_head(end=None)(short, torch.tensor([[3, 4]]))[1].isfinite()
    with pytest.raises(ValueError, match=r"\(B, L\) with B = 1; got \(1,\)"):
        ctc_head()(short, torch.tensor([3]))
    with pytest.raises(ValueError, match="width 6; got 4"):
        ctc_head()(Tokens(torch.randn(1, 2, 4)))


# ------------------------------------------------------------------- hidden words


@pytest.fixture(scope="module")
def masked_bert(tmp_path_factory):
    """A tiny BERT that names hidden words, with random weights, saved to a folder."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=10,
        layer_norm_eps=1e-3,
    )
    bert = BertForMaskedLM(config)
    scramble(bert)
    folder = tmp_path_factory.mktemp("masked")
    bert.save_pretrained(folder)
    return bert.eval(), str(folder)


def test_a_masked_word_head_from_bert_equals_transformers(masked_bert):
    bert, folder = masked_bert
    encoder, head = text_encoder_from_bert(folder), masked_word_head_from_bert(folder)
    assert not head.training
    ids = torch.randint(0, 12, (3, 7))
    mask = torch.arange(7)[None] < torch.tensor([7, 4, 2])[:, None]
    labels = ids.masked_fill(~mask | (ids % 2 == 0), IGNORED)
    expected = bert(ids, attention_mask=mask.long(), labels=labels)
    logits, loss = head(encoder(ids, mask), labels)
    torch.testing.assert_close(logits[mask], expected.logits[mask], **CLOSE)
    torch.testing.assert_close(loss, expected.loss, **CLOSE)


def test_a_bert_without_its_masked_word_head_is_named(masked_bert, tmp_path):
    bert, _ = masked_bert
    bert.bert.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no head for hidden words"):
        masked_word_head_from_bert(str(tmp_path))


def test_only_words_that_were_asked_for_count_in_the_masked_loss():
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


def test_a_masked_word_head_names_tokens_of_another_width_and_is_saved(tmp_path):
    head = MaskedWordHead(6, 9, eps=1e-3)
    with pytest.raises(ValueError, match="width 6; got 5"):
        head(pictures(width=5))
    head.save_pretrained(tmp_path / "head")
    again = MaskedWordHead.from_pretrained(tmp_path / "head")
    assert again.transform[2].eps == 1e-3
    assert torch.equal(again(pictures())[0], head(pictures())[0])
