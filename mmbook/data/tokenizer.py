"""A tokenizer (分词器) for captions of one's own."""

from collections.abc import Iterable

SPECIAL_TOKENS = {  # in the order of their ids, from 0
    "pad_token": "[pad]",
    "bos_token": "[start]",
    "eos_token": "[end]",
    "unk_token": "[unknown]",
}


def train_tokenizer(sentences: Iterable[str], size: int = 8000):
    """A fast tokenizer of transformers, trained on sentences: byte-level BPE (字节对编码).

    Frequent words become one token; any other text is spelled by pieces of words and at
    worst by bytes, so no word is unknown. V is ``size`` at most, of which 260 are the
    special tokens, which come first, and the bytes. Chapter 2.1.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [sentences] if isinstance(sentences, str) else list(sentences)
    if isinstance(sentences, str) or not texts:
        raise ValueError(f"sentences must be a list of at least one; got {sentences!r}")
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel()
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, **SPECIAL_TOKENS)
