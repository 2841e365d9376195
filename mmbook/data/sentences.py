"""From sentences to token ids and back to where they begin and end."""

from __future__ import annotations

from collections.abc import Sequence


def token_ids(tokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids without special tokens, cut at ``max_length``.

    Raises
    ------
    ValueError
        If a tokenizer with one token per word meets a word that it does not know. (A
        tokenizer of word pieces knows how to spell any word.)
    """
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    for text, row in zip(texts, rows, strict=True):
        if not row:
            raise ValueError(f"a sentence must have at least one word; got {text!r}")
        if unknown is not None and unknown in row and _one_token_per_word(tokenizer):
            read = tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True
            )
            pairs = zip(read["input_ids"], read["offset_mapping"], strict=True)
            words = [text[start:end] for n, (start, end) in pairs if n == unknown]
            raise ValueError(
                f"unknown words {', '.join(map(repr, words))} in {text!r}: the "
                "tokenizer's vocabulary has only the words it was made with"
            )
    return [row[:max_length] for row in rows]


def start_token(tokenizer) -> int:
    """The id that opens a sentence: bos, or what BERT calls cls."""
    return _first(tokenizer, "bos_token_id", "cls_token_id")


def end_token(tokenizer) -> int:
    """The id that ends a sentence: eos, or what BERT calls sep."""
    return _first(tokenizer, "eos_token_id", "sep_token_id")


def _first(tokenizer, *names: str) -> int:
    for name in names:
        if getattr(tokenizer, name, None) is not None:
            return getattr(tokenizer, name)
    raise ValueError(f"the tokenizer has none of {', '.join(names)}")


def _one_token_per_word(tokenizer) -> bool:
    core = getattr(tokenizer, "backend_tokenizer", None)
    return type(getattr(core, "model", None)).__name__ == "WordLevel"
