"""A tokenizer trained on one's own captions."""

import pytest
from transformers import AutoTokenizer

from mmbook.data.tokenizer import SPECIAL_TOKENS, train_tokenizer

CAPTIONS = ["A dog runs on the beach.", "Two dogs run.", "一只狗在沙滩上跑。"] * 20


def test_any_text_comes_back_as_it_was():
    tokenizer = train_tokenizer(CAPTIONS, size=300)
    for text in [*CAPTIONS[:3], "a giraffe, 长颈鹿 🦒"]:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids).strip() == text
        assert tokenizer.unk_token_id not in ids


def test_the_special_tokens_come_first_and_are_left_out_of_text():
    tokenizer = train_tokenizer(CAPTIONS)
    ids = [tokenizer.convert_tokens_to_ids(t) for t in SPECIAL_TOKENS.values()]
    assert ids == [0, 1, 2, 3]
    said = tokenizer("Two dogs run.")["input_ids"]
    assert tokenizer.decode([1, *said, 2, 0], skip_special_tokens=True).strip() == (
        "Two dogs run."
    )


def test_a_frequent_word_is_one_token():
    tokenizer = train_tokenizer(CAPTIONS)
    assert len(tokenizer(" dog")["input_ids"]) == 1


def test_it_comes_back_from_a_folder(tmp_path):
    tokenizer = train_tokenizer(CAPTIONS)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("Two cats.")["input_ids"] == tokenizer("Two cats.")["input_ids"]
    assert again.pad_token_id == 0 and again.eos_token_id == 2


@pytest.mark.parametrize("sentences", ["a dog", []])
def test_a_string_or_nothing_is_refused(sentences):
    with pytest.raises(ValueError, match="list of at least one"):
        train_tokenizer(sentences)
