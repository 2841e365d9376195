"""Token ids of sentences, and the tokens around them."""

import pytest

from mmbook.data.sentences import end_token, start_token, token_ids
from mmbook.world import scene_tokenizer

TOKENIZER = scene_tokenizer()


def test_special_tokens_stand_around_a_text_where_they_are_asked_for(like_bert):
    assert token_ids(like_bert, ["a dog"], 9) == [[4, 5]]
    assert token_ids(like_bert, ["a dog"], 9, special=True) == [[2, 4, 5, 3]]
    plain = token_ids(TOKENIZER, ["a star"], 9)
    assert token_ids(TOKENIZER, ["a star"], 9, special=True) == plain


def test_a_long_text_is_cut_and_keeps_its_special_tokens(like_bert):
    assert token_ids(like_bert, ["a dog runs a dog"], 3) == [[4, 5, 6]]
    assert token_ids(like_bert, ["a dog runs"], 4, special=True) == [[2, 4, 5, 3]]


def test_an_empty_text_has_no_tokens_of_its_own(like_bert):
    assert token_ids(TOKENIZER, ["", " "], 5) == [[], []]
    assert token_ids(like_bert, [""], 5, special=True) == [[2, 3]]


def test_a_tokenizer_of_word_pieces_may_have_unknown_ones(like_bert):
    assert token_ids(like_bert, ["a cat"], 5) == [[4, 1]]


def test_unknown_words_are_named():
    words = r"unknown words 'pink', 'cat' in 'a pink cat'"
    with pytest.raises(ValueError, match=words):
        token_ids(TOKENIZER, ["a star", "a pink cat"], 9)


@pytest.mark.parametrize("text", [None, 3, float("nan"), ["a", "dog"]])
def test_what_is_no_string_is_named(text):
    with pytest.raises(ValueError, match="a text must be a string; got"):
        token_ids(TOKENIZER, ["a star", text], 9)


def test_tokens_that_open_and_end_a_sentence(like_bert):
    assert (start_token(TOKENIZER), end_token(TOKENIZER)) == (1, 2)
    assert (start_token(like_bert), end_token(like_bert)) == (2, 3)
    with pytest.raises(ValueError, match="none of bos_token_id, cls_token_id"):
        start_token(object())
