"""Weights of Llama's family (SmolLM2, Llama 2, TinyLlama, …) in the book's GPT."""

from ..heads.gpt import GPT
from .copying import filled, load, renamed, sizes

SIZES = {
    "vocabulary_size": "vocab_size",
    "kv_heads": "num_key_value_heads",
    "eps": "rms_norm_eps",
}


def gpt_from_llama(llama, max_length: int = 64, **changes) -> GPT:
    """Our GPT with the weights of a Llama whose words in and out are one. Chapter 2.1.

    ``llama`` is a model, a folder or a name; ``changes`` are arguments of the GPT, as
    ``start``, ``end`` and ``pad`` of its tokenizer.
    """
    llama = load(llama, "llama", "LlamaForCausalLM", activation="silu")
    config = llama.config
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind != "default" or not config.tie_word_embeddings or config.attention_bias:
        raise ValueError(
            "the twin of a Llama has plain rotary positions, one matrix of words and no "
            f"biases; got {kind} positions, tie_word_embeddings="
            f"{config.tie_word_embeddings}, attention_bias={config.attention_bias}"
        )
    known = sizes(config, **SIZES) | {"base": rope.get("rope_theta", 10_000.0)}
    known.pop("dropout", None)
    known |= {"max_length": max_length} | changes
    return filled(GPT(**known), renamed(llama))
