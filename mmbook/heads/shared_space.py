"""Several modalities in one space (共享嵌入空间)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..losses import contrastive
from ..saving import Configured
from ..tokens import Tokens
from .embedding import EmbeddingHead


class SharedSpaceHead(Configured):
    r"""Several modalities in one space, bound by some of their pairs (共享嵌入空间).

    $$\mathcal{L} = \frac{1}{|P|} \sum_{(m, n) \in P}
    \mathrm{InfoNCE}(z_m, z_n;\ \tau_{mn})$$

    where $P$ are the ``pairs`` (if not given, each modality with the last) of which the
    batch holds both. Two make CLIP's head; ImageBind (Girdhar et al. 2023,
    https://arxiv.org/abs/2305.05665) binds all by pictures; chapter 2.8, by sentences.
    """

    couples_rows = True  # the loss of a batch is not the mean of its parts' losses

    def __init__(
        self,
        widths: dict[str, int],
        embedding: int = 64,
        pairs: Sequence[tuple[str, str]] | None = None,
    ):
        super().__init__()
        *others, last = widths
        self.pairs = [(one, two) for one, two in pairs or [(n, last) for n in others]]
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
        """Scores of each trained pair, the mean InfoNCE, embeddings {name: (B, E)}.

        Scores are (P, B, B) of the P pairs that the batch holds, (B, B) if the head has
        one pair; None, as the loss, without a pair. ``labels`` (B,) are groups: rows with
        one number (equal captions) are not negatives of each other.
        """
        z = self.embed(tokens)
        scores, losses = [], []
        for (one, two), scale in zip(self.pairs, self.scales, strict=True):
            if one in z and two in z:
                scores.append(scale * z[one] @ z[two].T)
                losses.append(contrastive(z[one], z[two], scale, labels))
        if not losses:
            return None, None, z
        loss = torch.stack(losses).mean()
        loss = loss if items is None else loss * len(scores[0]) / items
        return scores[0] if len(self.pairs) == 1 else torch.stack(scores), loss, z

    def embed(self, tokens: dict[str, Tokens]) -> dict[str, Tensor]:
        """Embeddings {name: (B, E)} of the modalities that are there, of length one."""
        if not isinstance(tokens, dict) or not tokens or set(tokens) - set(self.heads):
            given = tokens if isinstance(tokens, dict) else [type(tokens).__name__]
            known, named = ", ".join(self.heads), ", ".join(sorted(given)) or "nothing"
            raise ValueError(f"this takes any of {known}, unfused; got {named}")
        return {name: self.heads[name](part)[0] for name, part in tokens.items()}

    @property
    def scales(self) -> Tensor:
        """1 / temperature of each pair, 100 at most: (pairs,)."""
        # The parameter is clamped, as in CLIP: a clamp in the graph has the gradient 0
        # beyond its limit, and a temperature that got there would stay for ever.
        self.log_scale.data.clamp_(max=math.log(100))
        return self.log_scale.exp()
