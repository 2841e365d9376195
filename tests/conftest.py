"""All tests run on the CPU, where a result repeats to the bit; test_gpu.py is apart.

``make gpu`` sets ``MMBOOK_GPU`` and runs that one file on the GPU.
"""

import os

import pytest

if not os.environ.get("MMBOOK_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks


@pytest.fixture
def like_bert():
    """A tokenizer of word pieces that puts [CLS] and [SEP] around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "runs", "##s"]
    vocabulary = {name: number for number, name in enumerate(names)}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]"}
    special = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)
