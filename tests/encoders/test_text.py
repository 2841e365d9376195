"""The text encoder equals BERT with the same weights, masks included."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from mmbook.encoders import TextEncoder
from mmbook.twins import text_encoder_from_bert

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    """A tiny BERT with random weights, norms and biases too."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=12,
        layer_norm_eps=1e-3,  # unlike our default, so that it must be taken over
    )
    bert = BertModel(config)
    for parameter in bert.parameters():
        nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("bert")
    bert.save_pretrained(folder)
    return folder


def test_from_bert_equals_bert(bert_folder):
    from transformers import BertModel

    bert = BertModel.from_pretrained(bert_folder, dtype=torch.float32).eval()
    ours = text_encoder_from_bert(str(bert_folder))
    assert not ours.training
    ids = torch.randint(0, 30, (3, 7))
    mask = torch.arange(7)[None] < torch.tensor([7, 4, 1])[:, None]
    expected = bert(ids, attention_mask=mask.long()).last_hidden_state
    tokens = ours(ids, mask)
    assert torch.equal(tokens.mask, mask) and tokens.width == ours.width == 16
    torch.testing.assert_close(tokens.values[mask], expected[mask], **CLOSE)
    expected = bert(ids).last_hidden_state
    torch.testing.assert_close(ours(ids).values, expected, **CLOSE)


def test_from_bert_comes_back_from_a_folder_of_ours(bert_folder, tmp_path):
    ours = text_encoder_from_bert(str(bert_folder))
    ours.save_pretrained(tmp_path)
    ids = torch.randint(0, 30, (2, 5))
    assert torch.equal(
        TextEncoder.from_pretrained(tmp_path)(ids).values, ours(ids).values
    )


def test_from_bert_is_trained_in_float32_whatever_was_saved(bert_folder, tmp_path):
    from transformers import BertModel

    BertModel.from_pretrained(bert_folder).bfloat16().save_pretrained(tmp_path)
    kinds = {p.dtype for p in text_encoder_from_bert(str(tmp_path)).parameters()}
    assert kinds == {torch.float32}


@pytest.mark.skipif(
    "MMBOOK_MODELS" not in os.environ,
    reason="MMBOOK_MODELS is not set: it names the folder with all-MiniLM-L6-v2",
)
def test_from_bert_equals_the_real_minilm():
    from transformers import AutoModel, AutoTokenizer

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
    from transformers import BertModel, GPT2Config

    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'gpt2' checkpoint; give a BERT"):
        text_encoder_from_bert(str(tmp_path))
    other = BertModel.from_pretrained(bert_folder, hidden_act="relu")
    other.save_pretrained(tmp_path / "relu")
    with pytest.raises(ValueError, match="gelu"):
        text_encoder_from_bert(str(tmp_path / "relu"))


@pytest.mark.parametrize("norm_first", [True, False])
def test_padding_changes_nothing_for_real_words(norm_first):
    torch.manual_seed(0)
    encoder = TextEncoder(20, 16, 2, 4, 8, norm_first=norm_first).eval()
    ids, mask = torch.randint(0, 20, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    mask[:, 4:] = False
    alone = encoder(ids[:, :4]).values
    torch.testing.assert_close(encoder(ids, mask).values[:, :4], alone)
    other = ids.masked_fill(~mask, 7)
    torch.testing.assert_close(encoder(other, mask).values[:, :4], alone)


def test_order_matters_and_the_encoder_looks_both_ways():
    torch.manual_seed(0)
    encoder = TextEncoder(20, 16, 1, 4, 8).eval()
    first = encoder(torch.tensor([[1, 2, 3]])).values
    assert not torch.allclose(
        first[:, 1], encoder(torch.tensor([[1, 2, 4]])).values[:, 1]
    )
    assert not torch.allclose(
        first[:, 1], encoder(torch.tensor([[3, 2, 1]])).values[:, 1]
    )


def test_wrong_texts_are_named():
    encoder = TextEncoder(20, 16, 1, 4, max_length=5)
    for ids, words in (
        (torch.zeros(3, dtype=torch.long), r"\(B, L\); got \(3,\)"),
        (torch.zeros(2, 3), r"token ids.*float32"),
        (torch.zeros(2, 6, dtype=torch.long), "5 tokens here; got 6.*max_length"),
    ):
        with pytest.raises(ValueError, match=words):
            encoder(ids)
