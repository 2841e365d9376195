"""Words a second: with a cache, without one, and under transformers' ``generate``.

A BERT decoder with cross-attention (``BertLMHeadModel``, random weights) and its twin in
``mmbook`` with the same weights continue 8 rows greedily, looking at 36 tokens each. The
end token is ruled out in both, so every row gets all its words. That all say the same
words is asserted. transformers is given the kind of cache with which it, too, computes
the keys of what it looks at only once. Runs are interleaved.

    python benchmarks/generation.py [--layers 8] [--width 128] [--rounds 9] [--threads 1]

Bounds: with a cache at least 3 times as fast as without one; at least as fast as
transformers with its cache.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
from common import Bound, interleaved, ratios, report, spread, table
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, DynamicCache, EncoderDecoderCache

from mmbook.generation import generate
from mmbook.heads import GenerationHead
from mmbook.tokens import Tokens
from mmbook.twins import generation_head_from_bert

PAD, START, END = 0, 1, 2
VOCABULARY, ROWS, LOOKED_AT = 1000, 8, 36
OURS, UNCACHED = "mmbook, cache", "mmbook, no cache"
THEIRS, THEIRS_UNCACHED = "transformers, cache", "transformers, no cache"


class Given(nn.Module):
    """A model whose encoder has already spoken."""

    def __init__(self, head: GenerationHead):
        super().__init__()
        self.head = head

    def encode(self, batch: dict[str, Tensor]) -> Tokens:
        """The tokens as they are."""
        return Tokens(batch["values"])


def their_decoder(layers: int, width: int, words: int) -> BertLMHeadModel:
    """A BERT decoder that says many different words, and never the end token."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=words + 2,
        is_decoder=True,
        add_cross_attention=True,
    )
    decoder = BertLMHeadModel(config).eval()
    nn.init.normal_(decoder.bert.embeddings.position_embeddings.weight, std=0.3)
    with torch.no_grad():
        decoder.cls.predictions.bias[END] = -1e4
    return decoder


def our_twin(decoder: BertLMHeadModel) -> GenerationHead:
    """Our head with the same weights."""
    special = {"start": START, "end": END, "pad": PAD, "transform": True}
    width = decoder.config.hidden_size
    return generation_head_from_bert(decoder, width, **special).eval()


def said_by_transformers(decoder, values: Tensor, words: int, cached: bool) -> Tensor:
    """Words (B, L) from transformers' own loop."""
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if cached else None
    out = decoder.generate(
        torch.full((len(values), 1), START, device=values.device),
        encoder_hidden_states=values,
        max_new_tokens=words,
        eos_token_id=END,
        pad_token_id=PAD,
        do_sample=False,
        use_cache=cached,
        past_key_values=cache,
    )
    return out[:, 1:]


def contenders(layers: int, width: int, words: int) -> dict:
    """The four ways to say the same words."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    decoder = their_decoder(layers, width, words).to(device)
    model = Given(our_twin(decoder)).to(device)
    values = torch.randn(ROWS, LOOKED_AT, width, device=device)
    given = {"values": values}
    return {
        OURS: lambda: generate(model, given, words),
        UNCACHED: lambda: generate(model, given, words, use_cache=False),
        THEIRS: lambda: said_by_transformers(decoder, values, words, True),
        THEIRS_UNCACHED: lambda: said_by_transformers(decoder, values, words, False),
    }


def check(ways: dict, words: int) -> None:
    """All say the same, at full length, and not the same word again and again."""
    said = {name: way() for name, way in ways.items()}
    for name, ids in said.items():
        assert ids.shape == (ROWS, words), f"{name} stopped early: {ids.shape}"
        assert torch.equal(ids, said[OURS]), f"{name} says something else"
    assert min(len(set(row)) for row in said[OURS].tolist()) > 4, "too few words"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--words", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    ways = contenders(given.layers, given.width, given.words)
    check(ways, given.words)
    times = interleaved(ways, given.rounds)
    rows = [
        [
            name,
            spread([1e3 * seconds / given.words for seconds in times[name]]),
            spread([ROWS * given.words / seconds for seconds in times[name]], 4),
            spread(ratios(times, name, OURS)),
        ]
        for name in ways
    ]
    about = " ".join(__doc__.split("\n\n")[1].split())
    report(
        "generation",
        f"{about} {given.layers} layers, width {given.width}, {given.words} words, "
        f"{given.rounds} rounds; median (smallest to largest).",
        table(["", "ms a step", "words a second", "time ÷ mmbook, cache"], rows),
        [
            Bound(
                "without ÷ with cache",
                median(ratios(times, UNCACHED, OURS)),
                3.0,
                at_most=False,
            ),
            Bound("mmbook ÷ transformers", median(ratios(times, OURS, THEIRS)), 1.0),
        ],
    )


if __name__ == "__main__":
    main()
