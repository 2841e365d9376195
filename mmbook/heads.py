"""Heads (任务头): tokens in, an answer and its loss out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration import Configured
from .data.batching import IGNORED
from .encoders.text import (
    TextEmbedding,
    bert_arguments,
    check_ids,
    copy_bert,
    load_bert,
    load_masked_bert,
)
from .fusion.base import at_least_one
from .fusion.multimodal_convolution import WindowLayer
from .fusion.transformer_xl import Memory, TransformerXL
from .layers import Block, DecoderCache
from .losses import contrastive, cross_entropy
from .tokens import Tokens


class ClassificationHead(Configured):
    """Mean of the tokens, one hidden layer or none, one logit per class (分类头).

    Parameters
    ----------
    width, classes : D of the tokens, number of classes.
    hidden : width of a hidden layer; None makes the head linear.
    """

    def __init__(
        self, width: int, classes: int, hidden: int | None = None, dropout: float = 0.0
    ):
        super().__init__()
        self.width = width
        inner = [nn.Linear(width, hidden), nn.GELU()] if hidden else []
        last = nn.Linear(hidden or width, classes)
        self.layers = nn.Sequential(*inner, nn.Dropout(dropout), last)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """Logits (B, classes), and the cross-entropy if there are labels (B,)."""
        logits = self.layers(_pooled(tokens, self.width))
        loss = None if labels is None else cross_entropy(logits, labels, items=items)
        return logits, loss


class Decoder(Configured):
    """What the heads that say a sentence word by word share (解码器).

    Labels are the sentence itself, ended by ``end``, −100 at padding. The words that the
    decoder reads are those labels moved right by one behind ``start``; this is the only
    shift, so ``logits[:, t]`` predicts ``labels[:, t]``. Without tokens a decoder is a
    language model.

    A subclass writes :meth:`decode` and :meth:`new_cache`; ``generate`` of
    :mod:`mmbook.generation` needs nothing else.

    Parameters
    ----------
    max_length, start, end, pad : longest L, and three token numbers.
    smoothing : of the labels, see :func:`mmbook.losses.cross_entropy`.
    """

    def __init__(
        self, max_length: int, start: int, end: int, pad: int, smoothing: float
    ):
        super().__init__()
        self.max_length, self.smoothing = max_length, smoothing
        self.start, self.end, self.pad = start, end, pad

    def forward(self, tokens: Tokens | None, labels: Tensor | None = None, items=None):
        """Logits (B, L, V) and the mean loss per real label.

        Without labels: the logits of the first word, (B, 1, V).
        """
        if labels is None:
            if tokens is None:
                raise ValueError(
                    "a generation head needs tokens or labels; got neither"
                )
            first = torch.full(
                (len(tokens), 1), self.start, device=tokens.values.device
            )
            return self.decode(first, tokens), None
        self._check(tokens, labels)
        logits = self.decode(self.shifted(labels), tokens)
        return logits, cross_entropy(logits, labels, self.smoothing, items)

    def decode(self, ids: Tensor, tokens: Tokens | None, cache=None) -> Tensor:
        """Logits (B, L, V) of the word that follows each of ``ids`` (B, L).

        With a cache, ``ids`` are the new words only; what was computed for the earlier
        ones is taken from it.
        """
        raise NotImplementedError

    def new_cache(self, capacity: int):
        """An empty cache for ``capacity`` words."""
        raise NotImplementedError

    def shifted(self, labels: Tensor) -> Tensor:
        """What the decoder reads: ``start``, then the labels but the last one."""
        read = labels.new_full(labels.shape, self.start)
        read[:, 1:] = labels[:, :-1]
        return read.masked_fill(read == IGNORED, self.pad)

    def _check(self, tokens: Tokens | None, labels: Tensor) -> None:
        rows = len(labels) if tokens is None else len(tokens)
        if labels.ndim != 2 or len(labels) != rows:
            raise ValueError(
                f"labels must be (B, L) token numbers with B = {rows}; got "
                f"{tuple(labels.shape)}"
            )


class GenerationHead(Decoder):
    """A decoder that says a sentence word by word, looking at the tokens (生成头).

    It is a language model first: without tokens it skips its cross-attention and is one.
    So it can be pre-trained on text alone, or take over the weights of a BERT, and learn
    to look later. Chapter 5.2 does both.

    What its labels are, and what it reads: see :class:`Decoder`.

    Parameters
    ----------
    vocabulary_size, width, layers, heads, max_length : V, D, blocks, heads, longest L.
    start, end, pad : token numbers.
    context_width : width of the tokens it looks at; None makes a pure language model.
    norm_first : pre-norm (ours) or post-norm (BERT).
    transform : one more layer before the logits, as BERT has.
    smoothing : of the labels, see :func:`mmbook.losses.cross_entropy`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        max_length: int = 64,
        start: int = 1,
        end: int = 2,
        pad: int = 0,
        context_width: int | None = None,
        hidden: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = True,
        eps: float = 1e-5,
        transform: bool = False,
        smoothing: float = 0.0,
    ):
        super().__init__(max_length, start, end, pad, smoothing)
        self.width = width
        self.embedding = TextEmbedding(
            vocabulary_size, width, max_length, not norm_first, dropout, eps
        )
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, context_width, dropout, norm_first, eps)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=eps) if norm_first else nn.Identity()
        self.transform = nn.Identity()
        if transform:
            self.transform = nn.Sequential(
                nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=eps)
            )
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: DecoderCache | None = None
    ) -> Tensor:
        """Logits (B, L, V) of the word that follows each of ``ids`` (B, L).

        With a cache, ``ids`` are the new words only; keys and values of the earlier ones,
        and of the tokens, are taken from it.
        """
        if tokens is not None and any(block.cross is None for block in self.blocks):
            raise ValueError(
                "this decoder has no eyes for the tokens it was given: make it with "
                "context_width=…, or take with_context(…) of it"
            )
        x = self.embedding(ids, cache.length if cache else 0)
        context = tokens.values if tokens is not None else None
        context_mask = tokens.mask if tokens is not None else None
        for number, block in enumerate(self.blocks):
            x = block(
                x,
                causal=True,
                context=context,
                context_mask=context_mask,
                cache=cache.own[number] if cache else None,
                context_cache=cache.context[number] if cache else None,
            )
        return F.linear(
            self.transform(self.norm(x)), self.embedding.word.weight, self.bias
        )

    def new_cache(self, capacity: int) -> DecoderCache:
        """An empty cache for ``capacity`` words."""
        return DecoderCache(len(self.blocks), min(capacity, self.max_length))

    @classmethod
    def from_bert(
        cls,
        name_or_folder: str,
        context_width: int,
        layers: int | None = None,
        closed: bool = False,
        **changes,
    ) -> GenerationHead:
        """Turn a BERT into a decoder: its words, its layers, new eyes.

        Causal masking is switched on, and each layer gets a new cross-attention.

        Parameters
        ----------
        name_or_folder : a BERT checkpoint, local or on the hub.
        context_width : width of the tokens it will look at.
        layers : keep only the first so many layers.
        closed : see :meth:`close_eyes`.
        changes : arguments of the head that shall differ (``start``, ``dropout`` …).
        """
        bert = load_bert(name_or_folder)
        arguments = bert_arguments(bert.config) | changes
        if layers is not None:
            if not 1 <= layers <= arguments["layers"]:
                raise ValueError(
                    f"layers must be 1 to {arguments['layers']}, as many as "
                    f"{name_or_folder} has; got {layers}"
                )
            bert.encoder.layer = bert.encoder.layer[:layers]
            arguments["layers"] = layers
        head = cls(context_width=context_width, **arguments)
        copy_bert(bert, head.embedding, head.blocks)
        if closed:
            head.close_eyes()
        return head

    def with_context(
        self, context_width: int, closed: bool = False, **changes
    ) -> GenerationHead:
        """A copy of this language model with new eyes, for tokens of that width.

        What it knows of words stays. ``closed`` and ``changes`` as in :meth:`from_bert`.
        """
        arguments = self._arguments | {"context_width": context_width} | changes
        head = type(self)(**arguments)
        head.load_state_dict(self.state_dict(), strict=False)
        if closed:
            head.close_eyes()
        return head

    def close_eyes(self) -> None:
        """Set the output of each cross-attention to zero.

        A pre-norm decoder then says what it said as a language model, whatever it is
        shown, until training opens the eyes again.
        """
        for block in self.blocks:
            if block.cross is not None:
                nn.init.zeros_(block.cross.out.weight)
                nn.init.zeros_(block.cross.out.bias)


class ConvGenerationHead(Decoder):
    r"""Each word from a window of the words before it, and the picture (卷积生成头).

    The line of words of :class:`mmbook.fusion.MultimodalConvolution` with
    ``causal=True``, and logits on top. A layer looks at ``window - 1`` earlier words, so
    a word depends on $\text{layers} \cdot (\text{window} - 1)$ of them. Of the tokens it
    sees the mean: what there is, not where. Sentences written by convolutions: Gehring et
    al. 2017, https://arxiv.org/abs/1705.03122. Chapter 3.2.

    Parameters
    ----------
    vocabulary_size, context_width : V, and the width of the tokens it looks at.
    width, layers, max_length : D, number of layers, longest L.
    window : words that one layer looks at, the newest included.
    start, end, pad, smoothing : see :class:`Decoder`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        context_width: int,
        width: int = 96,
        layers: int = 4,
        window: int = 4,
        max_length: int = 64,
        start: int = 1,
        end: int = 2,
        pad: int = 0,
        dropout: float = 0.0,
        smoothing: float = 0.0,
    ):
        super().__init__(max_length, start, end, pad, smoothing)
        at_least_one(layers=layers, window=window)
        self.window = window
        self.embedding = TextEmbedding(
            vocabulary_size, width, max_length, dropout=dropout
        )
        self.look = nn.Linear(context_width, width)
        self.lines = nn.ModuleList(
            WindowLayer(width, window, True, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: StreamCache | None = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        x = self.embedding(ids, cache.length if cache else 0)  # (B, L, D)
        seen = x.new_zeros(len(x), x.shape[-1])
        if tokens is not None:
            seen = self._what_is_there(tokens)  # (B, D)
        memory = cache.memory if cache else None
        memory = memory or Memory.empty(len(self.lines), x)
        entered = []
        for layer, past in zip(self.lines, memory.states, strict=True):
            entered.append(x)
            line = Tokens(torch.cat([past, x], dim=1))
            x = layer(line, seen).values[:, -ids.shape[1] :]
        if cache is not None:
            real = torch.ones_like(ids, dtype=torch.bool)
            memory = memory.followed_by(entered, real, self.window - 1)
            cache.keep(memory, ids.shape[1])
        return F.linear(self.norm(x), self.embedding.word.weight, self.bias)

    def new_cache(self, capacity: int) -> StreamCache:
        """An empty cache; it keeps one window of words, whatever the capacity."""
        return StreamCache()

    def _what_is_there(self, tokens: Tokens) -> Tensor:
        """The mean token (B, D); zero in rows where nothing is real."""
        _check_width(tokens, self.look.in_features)
        return self.look(tokens.pooled()) * tokens.mask.any(1, keepdim=True)


class TransformerXLGenerationHead(Decoder):
    """Picture and words are one stream that looks back (Transformer-XL 生成头).

    A :class:`mmbook.fusion.TransformerXL` reads the tokens and then the words, and there
    are logits on top of the words. The same layers mix the tokens with each other and
    tell the words about them; there is no cross-attention. While words are made one by
    one, the picture and the words so far are its memory. Chapter 3.2.

    Parameters
    ----------
    vocabulary_size, context_width : V, and the width of the tokens it looks at.
    width, layers, heads, max_length : D, number of blocks, number of heads, longest L.
    memory : the most tokens and words that it keeps while it writes.
    start, end, pad, smoothing : see :class:`Decoder`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        context_width: int,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        max_length: int = 64,
        start: int = 1,
        end: int = 2,
        pad: int = 0,
        memory: int = 1024,
        dropout: float = 0.0,
        smoothing: float = 0.0,
    ):
        super().__init__(max_length, start, end, pad, smoothing)
        self.word = nn.Embedding(vocabulary_size, width)
        nn.init.normal_(self.word.weight, std=width**-0.5)
        widths = {"context": context_width, "text": width}
        self.stream = TransformerXL(widths, width, layers, heads, memory, dropout)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: StreamCache | None = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        memory = cache.memory if cache else None
        check_ids(ids, self.max_length - (cache.length if cache else 0))
        parts = {"text": Tokens(self.word(ids))}
        if tokens is not None and memory is None:  # the picture comes first, once
            parts["context"] = self._checked(tokens)
        out, memory = self.stream.stream(parts, memory)
        if cache is not None:
            cache.keep(memory, ids.shape[1])
        words = _behind(out, parts.get("context"), ids.shape[1])  # (B, L, D)
        return F.linear(words, self.word.weight, self.bias)

    def new_cache(self, capacity: int) -> StreamCache:
        """An empty cache; it grows with each word."""
        return StreamCache()

    def _checked(self, tokens: Tokens) -> Tokens:
        _check_width(tokens, self.stream.project["context"].in_features)
        needed = tokens.values.shape[1] + self.max_length
        if needed > self.stream.memory:
            raise ValueError(
                f"a memory of {self.stream.memory} does not hold "
                f"{tokens.values.shape[1]} tokens and {self.max_length} words: make the "
                f"head with memory={needed}"
            )
        return tokens


@dataclass
class StreamCache:
    """What entered each layer, for decoders that keep no keys and values.

    ``memory`` is None before the first word; ``length`` is the number of words so far.
    """

    memory: Memory | None = None
    length: int = 0

    def keep(self, memory: Memory, words: int) -> None:
        """The memory after so many more words."""
        self.memory, self.length = memory, self.length + words

    def reorder(self, rows: Tensor, context: bool = True) -> None:
        """Put these rows of the batch into their places (beam search)."""
        states = tuple(state[rows] for state in self.memory.states)
        self.memory = Memory(states, self.memory.mask[rows])


def _behind(stream: Tokens, context: Tokens | None, words: int) -> Tensor:
    """The last tokens of a stream, which stand behind the real ones of a context."""
    if context is None:
        return stream.values
    first = context.mask.sum(1, keepdim=True)  # (B, 1): padding stands at the very end
    places = first + torch.arange(words, device=first.device)  # (B, L)
    index = places[..., None].expand(-1, -1, stream.width)
    return stream.values.gather(1, index)


class MaskedWordHead(Configured):
    """Which word stands here? asked at each token (掩码语言模型头), as BERT does.

    One more layer, then one logit a word. Labels are −100 at all words that were not
    asked for: :func:`mmbook.data.masking.mask_words` makes them. Devlin et al. 2019,
    https://arxiv.org/abs/1810.04805; chapter 2.1.

    Parameters
    ----------
    width, vocabulary_size : D of the tokens, V.
    eps : of the layer norm (BERT uses 1e-12).
    """

    def __init__(self, width: int, vocabulary_size: int, eps: float = 1e-5):
        super().__init__()
        self.width = width
        self.transform = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=eps)
        )
        self.words = nn.Linear(width, vocabulary_size)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """Logits (B, L, V), and the mean loss over the labels (B, L) that are not −100."""
        _check_width(tokens, self.width)
        logits = self.words(self.transform(tokens.values))
        return logits, None if labels is None else cross_entropy(
            logits, labels, items=items
        )

    @classmethod
    def from_bert(cls, name_or_folder: str) -> MaskedWordHead:
        """The head that a BERT was pre-trained with; its body is a ``TextEncoder``'s.

        Raises
        ------
        ValueError
            If the checkpoint is not a BERT, or its head was thrown away.
        """
        bert, arguments = load_masked_bert(name_or_folder)
        head = cls(arguments["width"], arguments["vocabulary_size"], arguments["eps"])
        predictions = bert.cls.predictions
        head.transform[0].load_state_dict(predictions.transform.dense.state_dict())
        head.transform[2].load_state_dict(predictions.transform.LayerNorm.state_dict())
        head.words.load_state_dict(predictions.decoder.state_dict())
        return head.eval()


class CTCHead(Configured):
    r"""One symbol or a blank at each token, in time order (连接时序分类): speech to text.

    Nobody says at which moment a word is spoken. So all ways to spread the labels over
    the tokens count together:

    $$\mathcal{L} = -\frac{1}{n} \log \sum_{\pi:\, \mathrm{collapse}(\pi) = y}
    \prod_t p_t(\pi_t)$$

    where collapse merges what is repeated and then drops blanks. Graves et al. 2006,
    https://doi.org/10.1145/1143844.1143891.

    Labels are (B, L), ended by ``end`` and −100 behind, as ``Collate`` makes them.
    The end is not spoken, so it is not aligned; it counts in n as in all losses of the
    book. A sound with fewer tokens than labels cannot say them: its loss is infinite.

    Parameters
    ----------
    width, vocabulary_size : D of the tokens, V.
    blank : the number that stands for "nothing new"; the padding's, which is no word.
    end : the number that ends the labels; None if nothing does.
    """

    def __init__(
        self, width: int, vocabulary_size: int, blank: int = 0, end: int | None = 2
    ):
        super().__init__()
        self.blank, self.end = blank, end
        self.symbols = nn.Linear(width, vocabulary_size)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """Logits (B, N, V), and the loss if there are labels (B, L)."""
        _check_width(tokens, self.symbols.in_features)
        logits = self.symbols(tokens.values)
        if labels is None:
            return logits, None
        return logits, self._loss(logits, tokens.mask, labels, items)

    def _loss(self, logits: Tensor, mask: Tensor, labels: Tensor, items) -> Tensor:
        if labels.ndim != 2 or len(labels) != len(logits):
            raise ValueError(
                f"labels must be (B, L) with B = {len(logits)}; got "
                f"{tuple(labels.shape)}"
            )
        real = labels != IGNORED
        spoken = real if self.end is None else real & (labels != self.end)
        total = F.ctc_loss(
            logits.float().log_softmax(-1).transpose(0, 1),  # (N, B, V)
            labels.masked_fill(~spoken, self.blank),
            mask.sum(1),
            spoken.sum(1),
            self.blank,
            reduction="sum",
        )
        return total / (real.sum().clamp(min=1) if items is None else items)

    def greedy(self, tokens: Tokens) -> list[list[int]]:
        """The likeliest symbol of each token, collapsed: the ids of each row."""
        best = self(tokens)[0].argmax(-1)  # (B, N)
        before = F.pad(best, (1, 0), value=self.blank)[:, :-1]
        kept = tokens.mask & (best != self.blank) & (best != before)
        return [row[keep].tolist() for row, keep in zip(best, kept, strict=True)]


class EmbeddingHead(Configured):
    """One vector of length one for each sequence (嵌入头): (B, N, D) → (B, E)."""

    def __init__(self, width: int, embedding: int):
        super().__init__()
        self.project = nn.Linear(width, embedding)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """The embedding; it has no loss of its own (pairs have: ``contrastive``)."""
        pooled = _pooled(tokens, self.project.in_features)
        return F.normalize(self.project(pooled), dim=-1), None


class PairHead(Configured):
    """Two embedding heads and a temperature: the contrastive pair (跨模态嵌入).

    Parameters
    ----------
    widths : width of the two modalities' tokens, by name.
    embedding : E, the width of the shared space.
    """

    def __init__(self, widths: dict[str, int], embedding: int = 64):
        super().__init__()
        if len(widths) != 2:
            raise ValueError(f"a pair has two modalities; got {', '.join(widths)}")
        self.heads = nn.ModuleDict(
            {name: EmbeddingHead(width, embedding) for name, width in widths.items()}
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, tokens: dict[str, Tokens], labels=None, items=None):
        """Scores (B, B) of each first with each second, and their InfoNCE."""
        if set(tokens) != set(self.heads):
            raise ValueError(
                f"a pair needs {' and '.join(self.heads)}; got "
                f"{', '.join(tokens) or 'nothing'}"
            )
        first, second = (head(tokens[name])[0] for name, head in self.heads.items())
        scale = self.log_scale.clamp(max=math.log(100)).exp()
        return scale * first @ second.T, contrastive(first, second, scale)


class SharedSpaceHead(Configured):
    r"""Several modalities in one space, bound by some of their pairs (共享嵌入空间).

    $$\mathcal{L} = \frac{1}{|P|} \sum_{(m, n) \in P}
    \mathrm{InfoNCE}(z_m, z_n;\ \tau_{mn})$$

    where $P$ are the pairs to be trained of which the batch holds both. What two
    modalities are each bound to, binds them to each other: ImageBind (Girdhar et al.
    2023, https://arxiv.org/abs/2305.05665) does it with pictures in the middle, chapter
    2.8 with sentences. With one pair it is a :class:`PairHead`.

    Parameters
    ----------
    widths : width of each modality's tokens, by name.
    embedding : E, the width of the shared space.
    pairs : which are trained; None: each modality with the last one.

    Attributes
    ----------
    log_scale : (pairs,), logarithm of 1 / temperature, one for each pair, learned.
    """

    def __init__(
        self,
        widths: dict[str, int],
        embedding: int = 64,
        pairs: Sequence[tuple[str, str]] | None = None,
    ):
        super().__init__()
        *others, last = widths
        self.pairs = [tuple(p) for p in pairs or [(name, last) for name in others]]
        bound = {name for pair in self.pairs for name in pair}
        if any(len(set(p)) != 2 for p in self.pairs) or bound != set(widths):
            raise ValueError(
                f"pairs must be of two of {', '.join(widths)} and leave none of them "
                f"out; got {self.pairs}"
            )
        self.heads = nn.ModuleDict(
            {name: EmbeddingHead(width, embedding) for name, width in widths.items()}
        )
        start = math.log(1 / 0.07)
        self.log_scale = nn.Parameter(torch.full((len(self.pairs),), start))

    def forward(self, tokens: dict[str, Tokens], labels=None, items=None):
        """Embeddings {name: (B, E)}, each row of length one, and the mean InfoNCE.

        The loss is None if the batch holds no pair that is trained.
        """
        unknown = set(tokens) - set(self.heads)
        if unknown or not tokens:
            raise ValueError(
                f"this space takes any of {', '.join(self.heads)}; got "
                f"{', '.join(sorted(tokens)) or 'nothing'}"
            )
        embedded = {name: self.heads[name](part)[0] for name, part in tokens.items()}
        losses = [
            contrastive(embedded[first], embedded[second], scale)
            for (first, second), scale in zip(self.pairs, self.scales, strict=True)
            if first in embedded and second in embedded
        ]
        return embedded, torch.stack(losses).mean() if losses else None

    @property
    def scales(self) -> Tensor:
        """1 / temperature of each pair, 100 at most: (pairs,)."""
        return self.log_scale.clamp(max=math.log(100)).exp()


def _pooled(tokens: Tokens, width: int) -> Tensor:
    _check_width(tokens, width)
    return tokens.pooled()


def _check_width(tokens: Tokens, width: int) -> None:
    if tokens.width != width:
        raise ValueError(f"this head takes tokens of width {width}; got {tokens.width}")
