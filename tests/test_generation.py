"""Generation: with and without a cache, against brute force and transformers."""

import math
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import mmbook.generation as generation
import mmbook.layers as layers
from mmbook.encoders import TextEncoder
from mmbook.fusion import Concatenation
from mmbook.generation import generate, log_likelihood, restrict, to_text
from mmbook.heads import (
    ClassificationHead,
    ConvGenerationHead,
    GenerationHead,
    TransformerXLGenerationHead,
)
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.tokens import Tokens
from mmbook.twins import generation_head_from_bert

PAD, START, END, V, L = 0, 1, 2, 9, 8
BATCH = {
    "text": torch.tensor([[3, 4, 5], [6, 7, 0], [8, 0, 0], [4, 4, 4]]),
    "text_mask": torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]]).bool(),
}
METHODS = {
    "greedy": {"method": "greedy"},
    "beam": {"method": "beam", "beams": 3},
    "short beam": {"method": "beam", "beams": 4, "length_penalty": -1.0},
    "sample": {"method": "sample", "seed": 5},
}


def talker(vocabulary=V, seed=0, end_bias=0.0, max_length=L, **head):
    """A model with random weights that says rather different things of each row."""
    torch.manual_seed(seed)
    head = {"layers": 2, "max_length": max_length, "context_width": 16} | head
    model = MultimodalModel(
        {"text": TextEncoder(10, 8, 1, 2, 4)},
        Concatenation({"text": 8}, 16),
        GenerationHead(vocabulary, 16, start=START, end=END, pad=PAD, **head),
    ).eval()
    for parameter in model.head.parameters():
        nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        model.head.bias[END] += end_bias
        model.head.bias[START] -= 3.0
    return model


def by_hand(model, said):
    """Σ log p of each row of what was said, its end token included, and its length."""
    ended = (said == END).cumsum(1)
    real = (ended == 0) | ((ended == 1) & (said == END))
    labels = said.masked_fill(~real, -100)
    logits = model(**BATCH, labels=labels).logits.log_softmax(-1)
    picked = logits.gather(-1, said[..., None])[..., 0]
    return (picked * real).sum(1), real.sum(1)


# ------------------------------------------------------------------------- the cache


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_cached_and_uncached_say_the_same(settings, seed):
    model = talker(seed=seed, end_bias=1.0)
    cached = generate(model, BATCH, L, **settings)
    assert torch.equal(cached, generate(model, BATCH, L, use_cache=False, **settings))


def test_the_cache_is_allocated_once_and_the_picture_is_read_once(monkeypatch):
    model, places, reads = talker(end_bias=-9.0), {}, []
    append = layers.AttentionCache.append

    def watched(cache, keys, values):
        out = append(cache, keys, values)
        places.setdefault(id(cache), set()).add(
            (cache.keys.data_ptr(), cache.values.data_ptr(), cache.keys.shape[2])
        )
        return out

    monkeypatch.setattr(layers.AttentionCache, "append", watched)
    for block in model.head.blocks:
        block.cross.key.register_forward_hook(lambda *_: reads.append("key"))
        block.cross.value.register_forward_hook(lambda *_: reads.append("value"))
    for settings in METHODS.values():
        assert generate(model, BATCH, 6, **settings).shape[1] == 6
        assert len(reads) == 4  # keys and values, once in each of two layers
        assert len(places) == 2 and all(len(place) == 1 for place in places.values())
        assert {size for place in places.values() for *_, size in place} == {6}
        places.clear()
        reads.clear()


def test_with_a_cache_each_word_goes_through_the_decoder_alone():
    model, lengths = talker(end_bias=-9.0), []
    model.head.embedding.register_forward_hook(
        lambda module, given, _: lengths.append(given[0].shape[1])
    )
    generate(model, BATCH, 5)
    assert lengths == [1, 1, 1, 1, 1]
    lengths.clear()
    generate(model, BATCH, 5, use_cache=False)
    assert lengths == [1, 2, 3, 4, 5]


# ---------------------------------------------------------------------- other decoders


def writer(kind, seed=0, end_bias=1.0):
    """A model that writes by convolution or by Transformer-XL, with random weights."""
    torch.manual_seed(seed)
    special = {"start": START, "end": END, "pad": PAD, "max_length": L}
    model = MultimodalModel(
        {"text": TextEncoder(10, 8, 1, 2, 4)},
        Concatenation({"text": 8}, 16),
        kind(V, 16, width=16, layers=2, **special),
    ).eval()
    for parameter in model.head.parameters():
        nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        model.head.bias[END] += end_bias
    return model


WRITERS = [ConvGenerationHead, TransformerXLGenerationHead]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("seed", range(2))
def test_other_decoders_say_the_same_with_and_without_a_cache(kind, settings, seed):
    model = writer(kind, seed)
    cached = generate(model, BATCH, L, **settings)
    assert torch.equal(cached, generate(model, BATCH, L, use_cache=False, **settings))


@pytest.mark.parametrize("kind", WRITERS)
def test_other_decoders_let_each_word_through_alone(kind, monkeypatch):
    model, lengths = writer(kind, end_bias=-9.0), []
    decode = model.head.decode

    def watched(ids, *given):
        lengths.append(ids.shape[1])
        return decode(ids, *given)

    monkeypatch.setattr(model.head, "decode", watched)
    generate(model, BATCH, 5)
    assert lengths == [1, 1, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_four_captions_that_were_learned_by_heart_come_back(kind):
    """An error by one place, in the shift or in the cache, can't pass here."""
    from mmbook.training import TrainingConfig, fit

    torch.manual_seed(0)
    special = {"start": START, "end": END, "pad": PAD, "max_length": L}
    model = MultimodalModel(
        {"text": TextEncoder(10, 16, 1, 2, 4)},
        Concatenation({"text": 16}, 32),
        kind(V, 32, width=32, layers=2, **special),
    )
    labels = torch.tensor(
        [[3, 4, 5, 2], [5, 5, 2, -100], [7, 2, -100, -100], [6, 4, 3, 2]]
    )
    items = [
        {"text": t, "text_mask": m, "labels": y}
        for t, m, y in zip(*BATCH.values(), labels, strict=True)
    ]
    config = TrainingConfig(
        steps=80,
        batch_size=4,
        learning_rate=1e-2,
        precision="no",
        compile=False,
        progress=False,
    )
    fit(model, items, config)
    said = generate(model.cpu(), BATCH, L)
    assert torch.equal(said, labels.masked_fill(labels == -100, PAD))


# ------------------------------------------------------------------------ what is said


def test_greedy_takes_the_likeliest_word_each_time():
    model = talker()
    said = generate(model, BATCH, L)
    for row in range(4):
        labels = said[[row]]
        given = {key: value[[row]] for key, value in BATCH.items()}
        logits = model(**given, labels=labels).logits
        until = (labels[0] == END).nonzero()[0].item() + 1 if END in labels else L
        assert torch.equal(logits.argmax(-1)[0, :until], labels[0, :until])


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_sentences_stop_at_the_end_token_and_padding_stands_behind(settings):
    said = generate(talker(end_bias=2.0), BATCH, L, **settings)
    lengths = []
    for row in said.tolist():
        until = row.index(END) if END in row else len(row)
        assert set(row[until + 1 :]) <= {PAD}
        lengths.append(min(until + 1, len(row)))
    assert said.shape[1] == max(lengths)
    assert len(set(lengths)) > 1 or "length_penalty" in settings


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_a_pad_token_that_is_said_is_a_word_like_any_other(settings):
    """Nothing is cut off behind it; lengths are counted, not guessed from padding."""
    model = talker(end_bias=-9.0)
    with torch.no_grad():
        model.head.bias[PAD] += 3.0
    said = generate(model, BATCH, L, **settings)
    assert (said == PAD).any() and said.shape == (4, L)


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_the_longest_sentence_is_as_long_as_asked_for(settings):
    model = talker(end_bias=-9.0)
    for longest in (1, 3):
        assert generate(model, BATCH, longest, **settings).shape == (4, longest)
    whole = generate(model, BATCH, **settings)  # as long as the decoder can
    assert torch.equal(whole, generate(model, BATCH, L, **settings))


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_a_row_says_the_same_alone(settings):
    if settings["method"] == "sample":
        settings = settings | {"top_k": 1}
    model = talker(end_bias=1.0)
    together = generate(model, BATCH, L, **settings)
    for row in range(4):
        alone = generate(model, {k: v[[row]] for k, v in BATCH.items()}, L, **settings)
        assert torch.equal(alone[0], together[row, : alone.shape[1]])


def test_it_stops_when_all_have_ended():
    model, calls = talker(end_bias=50.0), []
    model.head.embedding.register_forward_hook(lambda *_: calls.append(1))
    for settings in METHODS.values():
        assert generate(model, BATCH, L, **settings).tolist() == [[END]] * 4
        assert len(calls) == 1
        calls.clear()


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_looking_less_often_as_on_a_gpu_changes_nothing(settings, monkeypatch):
    model = talker(end_bias=2.0)
    said = generate(model, BATCH, L, **settings)
    monkeypatch.setattr(generation, "_look", lambda step, device: step % 5 == 4)
    assert torch.equal(generate(model, BATCH, L, **settings), said)


class Waits(TorchDispatchMode):
    """Counts the operations that would make the program wait for a GPU."""

    count = 0
    names = ("item", "_local_scalar_dense", "is_nonzero", "nonzero", "equal")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else []
        by_mask = any(i is not None and i.dtype == torch.bool for i in indices)
        self.count += by_mask or name in self.names
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_words_are_made_without_waiting_for_the_device(settings, monkeypatch):
    """But for a look now and then, and for the lengths and the check at the end."""
    monkeypatch.setattr(generation, "_look", lambda step, device: step == 3)
    model = talker(end_bias=-9.0)
    with Waits() as waits:
        assert generate(model, BATCH, L, **settings).shape == (4, L)
    assert waits.count == 3


def test_the_likelihood_is_that_of_the_words_and_their_end():
    model = talker(end_bias=1.0)
    said = generate(model, BATCH, L)
    torch.testing.assert_close(
        log_likelihood(model, BATCH, said), by_hand(model, said)[0]
    )
    several = generate(model, BATCH, L, "sample", num_return_sequences=3, seed=0)
    scores = log_likelihood(model, BATCH, several).view(4, 3)
    for column in range(3):
        alone = by_hand(model, several[column::3])[0]
        torch.testing.assert_close(scores[:, column], alone)


def test_several_drawn_sentences_stand_behind_each_other():
    model = talker()
    said = generate(model, BATCH, L, "sample", num_return_sequences=500, seed=0)
    assert said.shape == (2000, L)
    given = {k: v.repeat_interleave(500, 0) for k, v in BATCH.items()}
    assert torch.equal(said, generate(model, given, L, "sample", seed=0))


@pytest.mark.parametrize("least", [1, 4])
@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_a_sentence_has_at_least_so_many_words_before_its_end(least, settings):
    said = generate(talker(end_bias=50.0), BATCH, L, **settings, min_new_tokens=least)
    assert (said[:, least] == END).all() and said.shape == (4, least + 1)
    assert not (said[:, :least] == END).any()


def test_a_large_penalty_forbids_repetition():
    model = talker(end_bias=-50.0, max_length=V - 2)
    with torch.no_grad():
        model.head.bias += 100.0  # all logits are positive
    assert max(row.bincount().max() for row in generate(model, BATCH)) > 1
    for settings in ({}, {"method": "sample", "seed": 0}):
        said = generate(model, BATCH, **settings, repetition_penalty=1e4)
        assert all(row.bincount().max() == 1 for row in said)


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_weights_that_are_nan_are_an_error(settings):
    model = talker()
    with torch.no_grad():
        model.head.bias[3] = torch.nan
    with pytest.raises(FloatingPointError, match="logits are NaN"):
        generate(model, BATCH, L, **settings)
    with torch.no_grad():
        model.head.bias[3] = -torch.inf  # a word may be forbidden
    assert not (generate(model, BATCH, L, **settings) == 3).any()


# ------------------------------------------------------------------------------- beams


@pytest.mark.parametrize("seed", range(3))
def test_one_beam_is_greedy(seed):
    """Without a length penalty, for which greedy has no place."""
    model = talker(seed=seed, end_bias=1.0)
    one = generate(model, BATCH, L, method="beam", beams=1, length_penalty=0.0)
    assert torch.equal(one, generate(model, BATCH, L))


@pytest.mark.parametrize("seed", range(5))
def test_beams_find_what_is_at_least_as_likely_as_greedy(seed):
    model = talker(seed=seed, end_bias=1.0)
    greedy, _ = by_hand(model, generate(model, BATCH, L))
    wide = generate(model, BATCH, L, method="beam", beams=V**2, length_penalty=0.0)
    beam, _ = by_hand(model, wide)
    assert (beam >= greedy - 1e-5).all()
    assert seed or (beam > greedy + 0.1).any()


def every_sentence(vocabulary, longest):
    """All that can be said: ended sentences, and those cut off at the longest."""
    for length in range(1, longest + 1):
        for words in product(
            [w for w in range(vocabulary) if w != END], repeat=length - 1
        ):
            yield (*words, END)
    yield from product([w for w in range(vocabulary) if w != END], repeat=longest)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("use_cache", [True, False])
def test_enough_beams_equal_an_exhaustive_search(penalty, use_cache):
    vocabulary, longest = 5, 4
    model = talker(vocabulary, seed=1, end_bias=0.5)
    sentences = list(every_sentence(vocabulary, longest))
    assert len(sentences) == 1 + 4 + 16 + 64 + 256
    labels = torch.full((len(sentences), longest), -100)
    for row, words in enumerate(sentences):
        labels[row, : len(words)] = torch.tensor(words)
    real = labels != -100
    found = generate(
        model,
        BATCH,
        longest,
        method="beam",
        beams=vocabulary**longest,
        length_penalty=penalty,
        use_cache=use_cache,
    )
    for row in range(4):
        given = {k: v[[row]].expand(len(labels), -1) for k, v in BATCH.items()}
        log_p = model(**given, labels=labels).logits.log_softmax(-1)
        log_p = log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
        scores = (log_p * real).sum(1) / real.sum(1) ** penalty
        best = sentences[scores.argmax()]
        said = tuple(found[row].tolist())
        assert said[: len(best)] == best and set(said[len(best) :]) <= {PAD}


def test_a_length_penalty_makes_sentences_longer():
    model = talker(end_bias=1.5)
    lengths = []
    for penalty in (-2.0, 0.0, 4.0):
        settings = {"method": "beam", "beams": 8, "length_penalty": penalty}
        _, length = by_hand(model, generate(model, BATCH, L, **settings))
        lengths.append(length.float().mean().item())
    assert lengths == sorted(lengths) and lengths[0] < lengths[2]


def test_an_ended_sentence_takes_no_place_from_the_open_ones():
    """One beam that could end at once goes on with the second-best word."""
    model = talker(end_bias=4.0)
    at_once = generate(model, BATCH, L)[:, 0] == END
    assert at_once.sum() > 1
    settings = {"method": "beam", "beams": 1, "length_penalty": 5.0}
    said = generate(model, BATCH, L, **settings)
    assert (said[at_once, 0] != END).all()


# ---------------------------------------------------------- the twin in transformers


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """A BERT decoder with eyes in transformers, and ours with the same weights."""
    from transformers import BertConfig, BertLMHeadModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=V,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=L + 2,
        is_decoder=True,
        add_cross_attention=True,
    )
    twin, folder = BertLMHeadModel(config).eval(), tmp_path_factory.mktemp("bert")
    for parameter in twin.parameters():
        nn.init.normal_(parameter, std=0.6)
    for module in twin.modules():
        if isinstance(module, nn.LayerNorm):  # so that it says many different things
            module.reset_parameters()
    nn.init.normal_(twin.bert.embeddings.position_embeddings.weight, std=3.0)
    for layer in twin.bert.encoder.layer:
        nn.init.normal_(layer.crossattention.output.dense.weight, std=0.2)
    twin.bert.save_pretrained(folder)
    tokens = {"start": START, "end": END, "pad": PAD}
    head = generation_head_from_bert(str(folder), 16, transform=True, **tokens).eval()
    names = ("query", "key", "value")
    with torch.no_grad():
        for layer, block in zip(twin.bert.encoder.layer, head.blocks, strict=True):
            source = layer.crossattention
            for name in names:
                state = getattr(source.self, name).state_dict()
                getattr(block.cross, name).load_state_dict(state)
            block.cross.out.load_state_dict(source.output.dense.state_dict())
            block.cross_norm.load_state_dict(source.output.LayerNorm.state_dict())
        transform = twin.cls.predictions.transform
        head.transform[0].load_state_dict(transform.dense.state_dict())
        head.transform[2].load_state_dict(transform.LayerNorm.state_dict())
        twin.cls.predictions.bias[END] += 1.0
        head.bias.copy_(twin.cls.predictions.bias)
    return twin, head


class Given(nn.Module):
    """A model whose encoder has already spoken."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def encode(self, batch):
        return Tokens(batch["values"], batch["mask"])


def said_by_transformers(twin, values, mask, **settings):
    out = twin.generate(
        torch.full((len(values), 1), START),
        encoder_hidden_states=values,
        encoder_attention_mask=mask.long(),
        max_new_tokens=L,
        eos_token_id=END,
        pad_token_id=PAD,
        do_sample=False,
        use_cache=False,  # theirs fails here: it makes no cache for the cross-attention
        **settings,
    )
    said = out[:, 1:]
    behind = (said == END).cumsum(1) - (said == END).long() > 0
    return said.masked_fill(behind, PAD)  # theirs repeats the end token if PAD is 0


def given_tokens(seed):
    torch.manual_seed(seed)
    mask = torch.arange(3) < torch.tensor([3, 2, 1] * 8)[:, None]
    return torch.randn(24, 3, 16), mask


@pytest.mark.parametrize("seed", range(2))
def test_greedy_equals_transformers(twins, seed):
    twin, head = twins
    values, mask = given_tokens(seed)
    ours = generate(Given(head), {"values": values, "mask": mask}, L)
    assert torch.equal(ours, said_by_transformers(twin, values, mask))
    different = {tuple(row) for row in ours.tolist()}
    assert len(different) > 2 and max(len(set(row)) for row in different) > 2


@pytest.mark.parametrize("penalty", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("beams", [2, 4])
def test_beam_search_equals_transformers(twins, beams, penalty):
    """Ours stops only when nothing better can come: ``early_stopping="never"`` there."""
    twin, head = twins
    values, mask = given_tokens(7)
    settings = {"method": "beam", "beams": beams, "length_penalty": penalty}
    ours = generate(Given(head), {"values": values, "mask": mask}, L, **settings)
    theirs = said_by_transformers(
        twin,
        values,
        mask,
        num_beams=beams,
        length_penalty=penalty,
        early_stopping="never",
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 4}], ids=["greedy", "beam"])
def test_minimum_length_and_repetition_penalty_equal_transformers(twins, settings):
    twin, head = twins
    values, mask = given_tokens(3)
    rules = {"repetition_penalty": 1.7, "min_new_tokens": 4}
    theirs = said_by_transformers(
        twin, values, mask, early_stopping="never", **rules, **settings
    )
    method = {"method": "beam", "beams": 4} if settings else {}
    given = {"values": values, "mask": mask}
    ours = generate(Given(head), given, L, **method, **rules)
    assert torch.equal(ours, theirs)
    without = generate(Given(head), given, L, **method)
    assert not torch.equal(ours, F.pad(without, (0, ours.shape[1] - without.shape[1])))


@pytest.mark.parametrize("several", [2, 4])
def test_the_best_beams_equal_transformers(twins, several):
    twin, head = twins
    values, mask = given_tokens(5)
    settings = {"method": "beam", "beams": 4, "num_return_sequences": several}
    ours = generate(Given(head), {"values": values, "mask": mask}, L, **settings)
    theirs = said_by_transformers(
        twin,
        values,
        mask,
        num_beams=4,
        num_return_sequences=several,
        early_stopping="never",
    )
    assert ours.shape[0] == 24 * several and torch.equal(ours, theirs)
    for row in ours.view(24, several, -1):
        assert len({tuple(sentence.tolist()) for sentence in row}) == several


# ---------------------------------------------------------------------------- sampling


def test_top_k_keeps_exactly_the_likeliest():
    logits = torch.tensor([[0.1, 3.0, 2.0, -1.0, 2.5]])
    kept = restrict(logits, top_k=2)
    assert kept.isfinite().tolist() == [[False, True, False, False, True]]
    assert torch.equal(kept[kept.isfinite()], torch.tensor([3.0, 2.5]))
    assert torch.equal(restrict(logits, top_k=99), logits)
    assert restrict(torch.zeros(2, 9), top_k=4).isfinite().sum(1).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.3, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3), (1.0, 4)]
)
def test_top_p_keeps_the_fewest_words_that_reach_it(top_p, kept):
    p = torch.tensor([[0.15, 0.5, 0.05, 0.3]])
    restricted = restrict(p.log(), top_p=top_p)
    expected = p >= p.sort(descending=True).values[:, kept - 1]
    assert torch.equal(restricted.isfinite(), expected)


def test_top_p_keeps_no_word_for_a_rounding_and_always_the_likeliest():
    p = torch.tensor([[0.3, 0.1, 0.1, 0.5]])
    assert restrict(p.log(), top_p=0.8).isfinite().tolist() == [
        [True, False, False, True]
    ]
    assert restrict(p.log(), top_p=0.0).isfinite().sum() == 1
    even = torch.full((1, 1000), 0.001)
    for share in range(1, 1000, 7):
        assert restrict(even.log(), top_p=share / 1000).isfinite().sum() == share


def test_restrictions_work_row_by_row_and_in_order():
    p = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]])
    kept = restrict(p.log(), top_k=3, top_p=0.6).isfinite()
    assert kept.tolist() == [[True, True, False, False], [False, False, False, True]]


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.7}], ids=str
)
def test_drawn_words_have_the_frequencies_of_the_softmax(settings):
    model, rows = talker(), 20_000
    given = {key: value[:1].expand(rows, -1) for key, value in BATCH.items()}
    drawn = generate(model, given, 1, method="sample", seed=0, **settings)[:, 0]
    logits = model(**{key: value[:1] for key, value in BATCH.items()}).logits[0]
    logits = logits / settings.get("temperature", 1.0)
    p = restrict(logits, settings.get("top_k"), settings.get("top_p")).softmax(-1)[0]
    frequencies = drawn.bincount(minlength=V) / rows
    assert (frequencies[p == 0] == 0).all() and (p == 0).any() == (
        "top" in str(settings)
    )
    assert (frequencies - p).abs().max() < 4 * math.sqrt(0.25 / rows)


def test_the_seed_decides_what_is_drawn():
    model = talker()
    first, again, other = (
        generate(model, BATCH, L, method="sample", seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and first.tolist() != other.tolist()
    state = torch.get_rng_state()
    generate(model, BATCH, L, method="sample", seed=1)
    assert torch.equal(
        torch.get_rng_state(), state
    )  # a seed leaves PyTorch's own alone
    generate(model, BATCH, L, method="sample")
    assert not torch.equal(torch.get_rng_state(), state)


def test_a_cold_temperature_is_greedy():
    model = talker()
    cold = generate(model, BATCH, L, method="sample", temperature=1e-4)
    assert torch.equal(cold, generate(model, BATCH, L))


# ------------------------------------------------------------------ what is left behind


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_each_part_is_given_back(training):
    model = talker(dropout=0.5).train(training)
    model.encoders.eval()  # frozen, say
    first, second = generate(model, BATCH, L), generate(model, BATCH, L)
    assert torch.equal(first, second)  # no dropout while generating
    assert model.training == model.head.training == training
    assert not model.encoders["text"].training
    with pytest.raises(ValueError):
        generate(model, {"text": torch.zeros(2, 2)}, L)
    assert model.training == training and not model.encoders["text"].training


def test_labels_are_ignored_and_no_gradient_is_kept():
    model = talker()
    said = generate(model, BATCH | {"labels": torch.ones(4, 2, dtype=torch.long)}, L)
    assert torch.equal(said, generate(model, BATCH, L)) and said.dtype == torch.long
    assert not said.requires_grad and not said.is_inference()


def test_text_comes_without_special_tokens():
    from mmbook.world import scene_tokenizer

    tokenizer = scene_tokenizer()
    ids = tokenizer(["a red star"])["input_ids"][0]
    assert to_text(torch.tensor([[*ids, 2, 0], [*ids, *ids[:1], 2]]), tokenizer) == [
        "a red star",
        "a red star a",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "magic"}, "one of greedy, beam, sample; got 'magic'"),
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 to 8.*got 0"),
        ({"max_new_tokens": 9}, "max_new_tokens must be 1 to 8.*got 9"),
        ({"method": "beam", "beams": 0}, "beams must be 1 or more; got 0"),
        ({"method": "sample", "temperature": 0.0}, r"above 0 \(greedy is 0\); got 0.0"),
        ({"method": "sample", "top_k": 0}, "top_k must be 1 or more; got 0"),
        ({"method": "sample", "top_p": 1.5}, r"top_p must be in \(0, 1\]; got 1.5"),
        ({"num_return_sequences": 2}, "must be 1 to 1 for greedy; got 2"),
        ({"num_return_sequences": 5, "method": "beam"}, "1 to 4 for beam; got 5"),
        ({"num_return_sequences": 0, "method": "sample"}, "num_return.*got 0"),
        ({"min_new_tokens": 4}, "min_new_tokens must be 0 to 3; got 4"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0; got 0.0"),
    ],
)
def test_wrong_wishes_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        generate(talker(), BATCH, **({"max_new_tokens": 4} | settings))


def test_models_that_cannot_speak_are_named():
    silent = MultimodalModel(
        {"text": TextEncoder(10, 8, 1, 2, 4)}, None, ClassificationHead(8, 2)
    )
    with pytest.raises(
        TypeError, match="got a MultimodalModel with ClassificationHead"
    ):
        generate(silent, BATCH, 4)
    with pytest.raises(TypeError, match="got a Linear with no head"):
        generate(nn.Linear(2, 2), BATCH, 4)
    with pytest.raises(
        TypeError, match=r"encodes a batch.*got a LanguageModel with Gen"
    ):
        generate(LanguageModel(GenerationHead(V, 16)), BATCH, 4)
