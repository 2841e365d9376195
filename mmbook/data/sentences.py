"""From sentences to token ids, and the tokens that begin and end them."""

from collections.abc import Sequence


def token_ids(
    tokenizer, texts: Sequence[str], max_length: int, special: bool = False
) -> list[list[int]]:
    """Token ids, at most ``max_length``; ``special``: with [CLS] and the like."""
    if tokenizer is None:
        raise ValueError("these items hold strings: give Collate a tokenizer")
    strange = [text for text in texts if not isinstance(text, str)]
    if strange:
        raise ValueError(f"a text must be a string; got {strange[0]!r}")
    rows = tokenizer(
        list(texts), add_special_tokens=special, truncation=True, max_length=max_length
    )["input_ids"]
    core = getattr(tokenizer, "backend_tokenizer", None)
    if type(getattr(core, "model", None)).__name__ == "WordLevel":
        for text, row in zip(texts, rows, strict=True):
            _check_known(tokenizer, text, row)
    return rows


def _check_known(tokenizer, text: str, row: list[int]) -> None:
    """Name the words that a tokenizer with one token per word does not know."""
    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown in row:
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(read["input_ids"], read["offset_mapping"], strict=True)
        words = [text[start:end] for n, (start, end) in pairs if n == unknown]
        raise ValueError(f"unknown words {', '.join(map(repr, words))} in {text!r}")


def start_token(tokenizer) -> int:
    """The id that opens a sentence: bos, or what BERT calls cls. Chapter 5.2."""
    return _first(tokenizer, "bos_token_id", "cls_token_id")


def end_token(tokenizer) -> int:
    """The id that ends a sentence: eos, or what BERT calls sep. Chapter 5.2."""
    return _first(tokenizer, "eos_token_id", "sep_token_id")


def check_texts(texts: Sequence[str], others: Sequence) -> None:
    """Raise an error unless these are sentences, at least one, as many as the others."""
    if isinstance(others, str) or isinstance(texts, str):
        given = f"{texts!r}, {others!r:.80}"
        raise TypeError(f"lists are needed, not one string; got {given}")
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"a list of sentences is needed; got {texts!r:.80}")
    if not len(texts) or len(texts) != len(others):
        given = f"{len(texts)} and {len(others)}"
        raise ValueError(f"at least one sentence, and as many references; got {given}")


def _first(tokenizer, *names: str) -> int:
    for name in names:
        if getattr(tokenizer, name, None) is not None:
            return getattr(tokenizer, name)
    raise ValueError(f"the tokenizer has none of {', '.join(names)}")
