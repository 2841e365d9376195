"""A captioner word by word: what it says, how sure it is, and where it looked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import encoders, fusion, heads, pretrained  # noqa: F401, so that configs are known
from ..data.stacking import stack_images
from ..heads.generation import GenerationHead
from ..layers import DecoderCache
from ..models import MultimodalModel
from ..saving import find_folder
from ..tokens import Tokens
from ..world.language import scene_tokenizer


class Word(NamedTuple):
    """One more word of an answer, as text to append; None is none. Chapter 5.5.

    ``map`` (h, w) is how much was taken from each place of the picture while the word was
    chosen: the mean of the cross-attention over layers and heads, which sums to 1.
    """

    text: str
    probability: float
    map: list[list[float]]


class Captioner:
    """A saved captioner with its tokenizer, ready to answer. Chapter 5.5.

    The model has one ``image`` encoder and a :class:`mmbook.heads.GenerationHead` with
    cross-attention. Words are those of greedy :func:`mmbook.generation.generate`.
    """

    def __init__(self, model: MultimodalModel, tokenizer):
        head = getattr(model, "head", None)
        if not isinstance(head, GenerationHead) or set(model.encoders) != {"image"}:
            rule = "a service needs an image encoder and a GenerationHead"
            raise TypeError(f"{rule}; got {type(head).__name__}")
        self.model, self.tokenizer, self.head = model.eval(), tokenizer, head
        self.size = int(getattr(model.encoders["image"], "size", 224))
        self.layers: list[Any] = [block.cross for block in head.blocks]
        self._queries: list[Tensor] = []
        for layer in self.layers:
            layer.register_forward_pre_hook(self._remember)

    @classmethod
    def from_folder(cls, name_or_folder: str | Path) -> Captioner:
        """Load a folder of ``save_pretrained``, with the tokenizer that lies in it."""
        folder = find_folder(name_or_folder, needs="config.json")
        model: Any = MultimodalModel.from_pretrained(folder)
        return cls(model, tokenizer_of(folder, model))

    @torch.inference_mode()
    def see(self, pictures: Sequence[Tensor]) -> Tokens:
        """Pictures (3, H, W) uint8 → the fused tokens."""
        return self.model.encode({"image": stack_images(pictures)})

    @torch.inference_mode()
    def words(self, tokens: Tokens) -> Iterator[list[Word | None]]:
        """Step by step the next word of each sentence; None for one that has ended."""
        head, rows = self.head, range(len(tokens))
        cache, said = head.new_cache(head.max_length), [list[int]() for _ in rows]
        ids = torch.full((len(tokens), 1), head.start)
        going = [True for _ in rows]
        for _ in range(head.max_length):
            self._queries.clear()
            p = head.decode(ids, tokens, cache)[:, -1].softmax(-1)
            sure, chosen = p.max(-1)
            maps, ids = self._maps(cache).tolist(), chosen[:, None]
            both = chosen.tolist(), sure.tolist()
            new: list[Word | None] = [None for _ in rows]
            for row, (number, q) in enumerate(zip(*both, strict=True)):
                going[row] &= number != head.end
                if going[row]:
                    new[row] = Word(self._spelled(number, said[row]), q, maps[row])
            if not any(going):
                return
            yield new

    def say(self, pictures: Sequence[Tensor], at_once: int = 64) -> list[str]:
        """Whole captions of any number of pictures."""
        captions = []
        for first in range(0, len(pictures), at_once):
            steps = list(self.words(self.see(pictures[first : first + at_once])))
            rows = zip(*steps, strict=True) if steps else [()] * len(pictures)
            captions += ["".join(w.text for w in row if w) for row in rows]
        return [caption.strip() for caption in captions]

    def _remember(self, layer, arguments) -> None:
        self._queries.append(layer.query(arguments[0]))  # (B, 1, D)

    def _maps(self, cache: DecoderCache) -> Tensor:
        """(B, h, w) of the last step, from its queries and the keys that are kept."""
        maps = []
        for layer, x, kept in zip(
            self.layers, self._queries, cache.context, strict=True
        ):
            query = x.unflatten(-1, (layer.heads, -1)).transpose(
                1, 2
            )  # (B, heads, 1, d)
            assert kept.keys is not None  # the step has written them
            scores = query @ kept.keys.transpose(-2, -1) / query.shape[-1] ** 0.5
            maps.append(scores.softmax(-1).mean(1)[:, 0])
        mean = torch.stack(maps).mean(0)  # (B, N)
        side = math.isqrt(mean.shape[1])
        return mean.unflatten(1, (side, side) if side**2 == mean.shape[1] else (1, -1))

    def _spelled(self, number: int, before: list[int]) -> str:
        """What one more token adds to a sentence, its space included."""
        text = self.tokenizer.decode(before, skip_special_tokens=True)
        before.append(number)
        longer = self.tokenizer.decode(before, skip_special_tokens=True)
        return longer[len(text) :]


def tokenizer_of(folder: Path, model: MultimodalModel):
    """The tokenizer that lies beside a model; that of the scenes, if it fits."""
    from transformers import PreTrainedTokenizerFast

    if (folder / "tokenizer.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer = scene_tokenizer()
    if len(model.head.embedding.word.weight) != len(tokenizer):
        raise FileNotFoundError(
            f"{folder} has no tokenizer: tokenizer.save_pretrained({str(folder)!r})"
        )
    return tokenizer
