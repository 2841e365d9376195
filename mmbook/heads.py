"""Heads (任务头): tokens in, an answer and its loss out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration import Configured
from .data.batching import IGNORED
from .encoders.text import (
    TextEmbedding,
    bert_arguments,
    copy_bert,
    load_bert,
    load_masked_bert,
)
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


class GenerationHead(Configured):
    """A decoder that says a sentence word by word, looking at the tokens (生成头).

    It is a language model first: without tokens it skips its cross-attention and is one.
    So it can be pre-trained on text alone, or take over the weights of a BERT, and learn
    to look later. Chapter 5.2 does both.

    Labels are the sentence itself, ended by ``end``, −100 at padding. The words that the
    decoder reads are those labels moved right by one behind ``start``; this is the only
    shift, so ``logits[:, t]`` predicts ``labels[:, t]``.

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
        super().__init__()
        self.width, self.max_length = width, max_length
        self.start, self.end, self.pad = start, end, pad
        self.smoothing = smoothing
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

    def _check(self, tokens: Tokens | None, labels: Tensor) -> None:
        rows = len(labels) if tokens is None else len(tokens)
        if labels.ndim != 2 or len(labels) != rows:
            raise ValueError(
                f"labels must be (B, L) token numbers with B = {rows}; got "
                f"{tuple(labels.shape)}"
            )

    def shifted(self, labels: Tensor) -> Tensor:
        """What the decoder reads: ``start``, then the labels but the last one."""
        read = labels.new_full(labels.shape, self.start)
        read[:, 1:] = labels[:, :-1]
        return read.masked_fill(read == IGNORED, self.pad)

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
        if tokens.width != self.width:
            raise ValueError(
                f"this head takes tokens of width {self.width}; got {tokens.width}"
            )
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
        if tokens.width != self.symbols.in_features:
            raise ValueError(
                f"this head takes tokens of width {self.symbols.in_features}; got "
                f"{tokens.width}"
            )
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
    if tokens.width != width:
        raise ValueError(f"this head takes tokens of width {width}; got {tokens.width}")
    return tokens.pooled()
