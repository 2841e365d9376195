"""From sentences to token ids, and the tokens that begin and end them."""

from collections.abc import Sequence


def token_ids(
    tokenizer, texts: Sequence[str], max_length: int, special: bool = False
) -> list[list[int]]:
    """The token ids of each text, at most ``max_length``; none for an empty text.

    ``special`` adds the tokens that the tokenizer puts around a text, as its model was
    trained to read it: [CLS] and [SEP] for BERT, nothing for the book's tokenizer. A
    word that a tokenizer with one token per word does not know is a ValueError.
    """
    strange = [text for text in texts if not isinstance(text, str)]
    if strange:
        raise ValueError(f"a text must be a string; got {strange[0]!r}")
    rows = tokenizer(
        list(texts), add_special_tokens=special, truncation=True, max_length=max_length
    )["input_ids"]
    unknown = tokenizer.unk_token_id
    for text, row in zip(texts, rows, strict=True):
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
    return rows


def _one_token_per_word(tokenizer) -> bool:
    core = getattr(tokenizer, "backend_tokenizer", None)
    return type(getattr(core, "model", None)).__name__ == "WordLevel"


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
