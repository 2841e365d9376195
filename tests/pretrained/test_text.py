"""Pre-trained text encoders give what transformers gives."""

import os
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    BartConfig,
    BartModel,
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2Model,
    RobertaConfig,
    RobertaModel,
    SiglipConfig,
    SiglipModel,
)

from mmbook.data import Collate
from mmbook.pretrained import PretrainedTextEncoder


def test_bert_with_and_without_mask(bert):
    peer = AutoModel.from_pretrained(bert).eval()
    encoder = PretrainedTextEncoder.from_pretrained(bert)
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    expected = peer(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    tokens = encoder(ids, mask)
    assert torch.equal(tokens.mask, mask) and encoder.width == 16
    assert torch.allclose(tokens.values, expected, atol=1e-6)
    assert torch.allclose(
        encoder(ids[1:, :2]).values, tokens.values[1:, :2], atol=1e-5
    )  # padding changes nothing


def test_ids_that_do_not_fit(bert):
    encoder = PretrainedTextEncoder.from_pretrained(bert)
    with pytest.raises(ValueError, match="12 tokens here; got 13"):
        encoder(torch.ones(1, 13, dtype=torch.long))
    with pytest.raises(ValueError, match="text must be token ids"):
        encoder(torch.rand(2, 3))


SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
TOWERS = {
    "vision_config": {**SIZES, "image_size": 32, "patch_size": 8},
    "text_config": {**SIZES, "vocab_size": 20, "max_position_embeddings": 9},
}
IDS = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]])
MASK = torch.tensor([[True] * 4, [True, True, False, False]])


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_of_a_model_with_two_towers_the_one_that_reads_is_taken(kind, save, tmp_path):
    config = {"clip": CLIPConfig, "siglip": SiglipConfig}[kind](**TOWERS)
    model = {"clip": CLIPModel, "siglip": SiglipModel}[kind](config).eval()
    folder = save(model, tmp_path / kind)
    encoder = PretrainedTextEncoder.from_pretrained(folder)
    peer = model.text_model(input_ids=IDS, attention_mask=MASK.long())
    values = encoder(IDS, MASK).values
    assert torch.allclose(values[MASK], peer.last_hidden_state[MASK], atol=1e-5)
    assert not any("patch" in name for name, _ in encoder.named_parameters())
    with pytest.raises(ValueError, match="9 tokens here; got 10"):
        encoder(torch.ones(1, 10, dtype=torch.long))
    ours = encoder.save_pretrained(tmp_path / "ours")
    again = PretrainedTextEncoder.from_pretrained(ours)
    assert torch.equal(again(IDS, MASK).values, values)


def test_of_an_encoder_and_decoder_the_encoder_is_taken(save, tmp_path):
    config = BartConfig(
        vocab_size=20,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_position_embeddings=9,
    )
    model = BartModel(config).eval()
    encoder = PretrainedTextEncoder.from_pretrained(save(model, tmp_path / "bart"))
    peer = model.encoder(input_ids=IDS, attention_mask=MASK.long()).last_hidden_state
    assert torch.allclose(encoder(IDS, MASK).values[MASK], peer[MASK], atol=1e-5)
    assert encoder(torch.ones(1, 9, dtype=torch.long)).values.shape == (1, 9, 16)
    with pytest.raises(ValueError, match="9 tokens here; got 10"):
        encoder(torch.ones(1, 10, dtype=torch.long))


def test_a_roberta_has_two_positions_fewer_than_its_config_tells(save, tmp_path):
    config = RobertaConfig(
        **SIZES, vocab_size=20, max_position_embeddings=14, pad_token_id=1
    )
    folder = save(RobertaModel(config), tmp_path / "roberta")
    encoder = PretrainedTextEncoder.from_pretrained(folder)
    for length in (12, 13, 14):
        ids = torch.full((1, length), 5)
        if length == 12:
            assert encoder(ids).values.isfinite().all()
            continue
        with pytest.raises(ValueError, match=f"12 tokens here; got {length}: cut"):
            encoder(ids)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_row_without_words_disturbs_nobody(kind, bert, save, tmp_path):
    if kind == "gpt2":
        config = GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2)
        bert = save(GPT2Model(config), tmp_path / "gpt2")
    encoder = PretrainedTextEncoder.from_pretrained(bert)
    mask = torch.tensor([[True] * 4, [False] * 4])
    tokens = encoder(IDS, mask)
    assert tokens.values.isfinite().all() and not tokens.pooled()[1].any()
    assert torch.allclose(tokens.values[0], encoder(IDS[:1]).values[0], atol=1e-5)


def test_features_of_a_text_stand_for_it(bert):
    encoder = PretrainedTextEncoder.from_pretrained(bert, width=3)
    tokens = encoder.features(IDS, MASK)
    assert torch.equal(tokens.mask, MASK) and tokens.width == 16
    again = encoder(tokens.values, MASK)
    assert torch.equal(again.values, encoder(IDS, MASK).values)


@pytest.mark.skipif(
    "MMBOOK_MODELS" not in os.environ,
    reason="MMBOOK_MODELS is not set: it names the folder with all-MiniLM-L6-v2",
)
def test_real_minilm_tells_paraphrases():
    folder = Path(os.environ["MMBOOK_MODELS"], "all-MiniLM-L6-v2")
    encoder = PretrainedTextEncoder.from_pretrained(folder)
    texts = ["A man is eating food.", "A man eats something.", "The stock market fell."]
    tokenizer = PretrainedTextEncoder.tokenizer(folder)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        tokens = encoder(batch["input_ids"], batch["attention_mask"].bool())
        peer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        expected = peer(**batch).last_hidden_state
    assert torch.allclose(tokens.values, expected, atol=1e-5)
    a, b, c = torch.nn.functional.normalize(tokens.pooled(), dim=-1)
    assert a @ b > 0.6 > 0.2 > a @ c


@pytest.mark.skipif(
    "MMBOOK_MODELS" not in os.environ,
    reason="MMBOOK_MODELS is not set: it names the folder with all-MiniLM-L6-v2",
)
def test_a_collated_text_is_read_as_transformers_reads_it():
    folder = Path(os.environ["MMBOOK_MODELS"], "all-MiniLM-L6-v2")
    tokenizer = PretrainedTextEncoder.tokenizer(folder)
    texts = ["A black dog runs on the beach.", "Two dogs."]
    batch = Collate(tokenizer)([{"text": text} for text in texts])
    expected = tokenizer(texts, padding=True, return_tensors="pt")
    assert torch.equal(batch["text"], expected["input_ids"])
    encoder = PretrainedTextEncoder.from_pretrained(folder)
    with torch.no_grad():
        peer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()(**expected)
        pooled = encoder(batch["text"], batch["text_mask"]).pooled()
    weights = expected["attention_mask"][..., None]
    mean = (peer.last_hidden_state * weights).sum(1) / weights.sum(1)
    assert torch.allclose(pooled, mean, atol=1e-5)
