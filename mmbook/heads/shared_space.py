"""Several modalities in one space (共享嵌入空间)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..losses import contrastive
from ..saving import Configured
from ..tokens import Tokens
from .embedding import EmbeddingHead


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
