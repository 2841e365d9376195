"""Our text layers equal BERT with the same weights, masks included."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    BertModel,
    GPT2Config,
)

from mmbook.encoders import TextEncoder
from mmbook.heads import MaskedWordHead
from mmbook.tokens import IGNORED, Tokens
from mmbook.twins import generation_head_from_bert, text_encoder_from_bert
from mmbook.twins.copying import filled, renamed

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def config(**changes):
    sizes = {
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": 12,
        "layer_norm_eps": 1e-3,  # unlike our default, so that it must be taken over
    }
    return BertConfig(**sizes | changes)


def scrambled(model, std=0.3):
    """Random weights, norms and biases too."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval()


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    scrambled(BertModel(config())).save_pretrained(folder)
    return folder


def batch(lengths=(7, 4, 1)):
    ids = torch.randint(0, 30, (len(lengths), 7))
    return ids, torch.arange(7) < torch.tensor(lengths)[:, None]


def test_a_text_encoder_equals_bert(bert_folder):
    bert = BertModel.from_pretrained(bert_folder, dtype=torch.float32).eval()
    ours = text_encoder_from_bert(str(bert_folder))
    assert not ours.training
    ids, mask = batch()
    expected = bert(ids, attention_mask=mask.long()).last_hidden_state
    tokens = ours(ids, mask)
    assert torch.equal(tokens.mask, mask) and tokens.width == ours.width == 16
    torch.testing.assert_close(tokens.values[mask], expected[mask], **CLOSE)
    expected = bert(ids).last_hidden_state
    torch.testing.assert_close(ours(ids).values, expected, **CLOSE)
    given = text_encoder_from_bert(bert)  # a model in place of its folder
    assert torch.equal(given(ids).values, ours(ids).values)


def test_a_copied_bert_comes_back_from_a_folder_of_ours(bert_folder, tmp_path):
    ours = text_encoder_from_bert(str(bert_folder))
    ours.save_pretrained(tmp_path)
    ids, _ = batch()
    again = TextEncoder.from_pretrained(tmp_path)
    assert torch.equal(again(ids).values, ours(ids).values)


def test_a_bert_is_copied_in_float32_whatever_was_saved(bert_folder, tmp_path):
    BertModel.from_pretrained(bert_folder).bfloat16().save_pretrained(tmp_path)
    kinds = {p.dtype for p in text_encoder_from_bert(str(tmp_path)).parameters()}
    assert kinds == {torch.float32}


@pytest.mark.skipif(
    "MMBOOK_MODELS" not in os.environ,
    reason="MMBOOK_MODELS is not set: it names the folder with all-MiniLM-L6-v2",
)
def test_a_text_encoder_equals_the_real_minilm():
    folder = str(Path(os.environ["MMBOOK_MODELS"]) / "all-MiniLM-L6-v2")
    read = AutoTokenizer.from_pretrained(folder)(
        ["A dog runs.", "Two children play in the snow with a red ball."],
        padding=True,
        return_tensors="pt",
    )
    bert = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    mask = read["attention_mask"].bool()
    with torch.inference_mode():
        ours = text_encoder_from_bert(folder)(read["input_ids"], mask)
        expected = bert(**read).last_hidden_state
    torch.testing.assert_close(ours.values[mask], expected[mask], **CLOSE)


def test_another_kind_of_checkpoint_is_named(bert_folder, tmp_path):
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="a bert checkpoint is needed; got a 'gpt2'"):
        text_encoder_from_bert(str(tmp_path))
    with pytest.raises(ValueError, match="bert with gelu has a twin; got 'relu'"):
        text_encoder_from_bert(BertModel(config(hidden_act="relu")))


# ------------------------------------------------------------------ heads


def test_a_masked_word_head_equals_bert(tmp_path):
    bert = scrambled(BertForMaskedLM(config()))
    bert.save_pretrained(tmp_path)
    encoder = text_encoder_from_bert(str(tmp_path))
    state = {n: v for n, v in renamed(bert).items() if not n.startswith("blocks.")}
    head = filled(MaskedWordHead(16, 30, 1e-3), state)
    ids, mask = batch((7, 4, 2))
    labels = ids.masked_fill(~mask | (ids % 2 == 0), IGNORED)
    expected = bert(ids, attention_mask=mask.long(), labels=labels)
    logits, loss = head(encoder(ids, mask), labels)
    torch.testing.assert_close(logits[mask], expected.logits[mask], **CLOSE)
    torch.testing.assert_close(loss, expected.loss, **CLOSE)


def test_a_generation_head_equals_a_bert_decoder_with_cross_attention():
    changes = {"is_decoder": True, "add_cross_attention": True}
    decoder = scrambled(BertLMHeadModel(config(**changes)))
    head = generation_head_from_bert(decoder, context_width=16, transform=True).eval()
    (ids, mask), values = batch(), torch.randn(3, 7, 16)
    expected = decoder(
        input_ids=ids, encoder_hidden_states=values, encoder_attention_mask=mask.long()
    ).logits
    said = head.decode(ids, Tokens(values, mask))
    torch.testing.assert_close(said, expected, **CLOSE)


def test_a_decoder_is_no_text_encoder():
    changes = {"is_decoder": True, "add_cross_attention": True}
    with pytest.raises(ValueError, match=r"unknown \['blocks.0.cross.key.bias'"):
        text_encoder_from_bert(BertModel(config(**changes)))


def test_a_generation_head_takes_the_first_layers_and_changes(bert_folder, tmp_path):
    head = generation_head_from_bert(
        str(bert_folder), context_width=5, layers=1, start=3, dropout=0.0
    ).eval()
    assert len(head.blocks) == 1 and head.start == 3 and head.embedding.dropout.p == 0
    labels = batch()[0]
    again = type(head).from_pretrained(head.save_pretrained(tmp_path / "head"))
    tokens = Tokens(torch.randn(3, 2, 5))
    assert torch.equal(again(tokens, labels)[0], head(tokens, labels)[0])
    with pytest.raises(ValueError, match=r"layers must be 1 to 3.*got 4"):
        generation_head_from_bert(str(bert_folder), context_width=5, layers=4)
