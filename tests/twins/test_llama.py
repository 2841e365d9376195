"""Our GPT equals a Llama with the same weights; and SmolLM2, where it is at hand."""

import os
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from mmbook.twins import gpt_from_llama


def llama(**changes):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 30,
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "intermediate_size": 40,
        "rms_norm_eps": 1e-3,  # unlike our default, so that it must be taken over
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "tie_word_embeddings": True,
        "initializer_range": 0.3,
    }
    return LlamaForCausalLM(LlamaConfig(**sizes | changes)).eval()


def test_logits_and_gradients_are_equal():
    theirs = llama()
    ours = gpt_from_llama(theirs, max_length=16)
    ids = torch.randint(0, 30, (3, 11))
    one, two = theirs(ids).logits, ours.decode(ids, None)
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-4)
    weights = theirs.model.embed_tokens.weight, ours.word.weight
    grads = [
        torch.autograd.grad(out.logsumexp(-1).sum(), weight)[0]
        for out, weight in zip((one, two), weights, strict=True)
    ]
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": False},
        {"attention_bias": True},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        {"hidden_act": "gelu"},
    ],
)
def test_a_llama_without_a_twin_is_refused(changes):
    with pytest.raises(ValueError, match="twin"):
        gpt_from_llama(llama(**changes))


def test_smollm2_goes_on_as_it_does_in_transformers():
    folder = (
        Path(os.environ.get("MMBOOK_MODELS", "no-models")) / "smollm2-135m-instruct"
    )
    if not folder.exists():
        pytest.skip("MMBOOK_MODELS holds no smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours = gpt_from_llama(theirs)
    ids = tokenizer("A photograph of a dog on", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        one, two = theirs(ids).logits, ours.decode(ids, None)
    torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-3)
