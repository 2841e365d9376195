"""Symbols in time order from a sound (连接时序分类)."""

from torch import Tensor, nn
from torch.nn import functional as F

from ..saving import Configured
from ..tokens import IGNORED, Tokens, check_width


class CTCHead(Configured):
    r"""One symbol or a blank at each token, in time order (连接时序分类): speech to text.

    All ways to spread the labels y over the tokens count together:

    $$\mathcal{L} = -\frac{1}{n} \log \sum_{\pi:\, \mathrm{collapse}(\pi) = y}
    \prod_t p_t(\pi_t)$$

    where collapse merges what is repeated and then drops blanks. Graves et al. 2006,
    https://doi.org/10.1145/1143844.1143891; chapter 2.3. A row of nothing but −100 does
    not count; one with fewer tokens than labels has infinite loss. ``end``, or None,
    ends the labels: it is not spoken, but counts in n as in all losses of the book.
    """

    def __init__(
        self, width: int, vocabulary_size: int, blank: int = 0, end: int | None = 2
    ):
        super().__init__()
        self.blank, self.end = blank, end
        self.symbols = nn.Linear(width, vocabulary_size)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """Logits (B, N, V), and the loss if there are labels (B, L)."""
        check_width(tokens, self.symbols.in_features)
        logits = self.symbols(tokens.values)
        if labels is None:
            return logits, None
        if labels.ndim != 2 or len(labels) != len(logits):
            rows, given = len(logits), tuple(labels.shape)
            raise ValueError(f"labels must be (B, L) with B = {rows}; got {given}")
        real = labels != IGNORED
        spoken = real if self.end is None else real & (labels != self.end)
        losses = F.ctc_loss(
            logits.float().log_softmax(-1).transpose(0, 1),  # (N, B, V)
            labels.masked_fill(~spoken, self.blank),
            tokens.mask.sum(1),
            spoken.sum(1),
            self.blank,
            reduction="none",
        )
        total = losses.masked_fill(~real.any(1), 0).sum()
        return logits, total / (real.sum().clamp(min=1) if items is None else items)

    def greedy(self, tokens: Tokens) -> list[list[int]]:
        """The likeliest symbol of each token, collapsed: the ids of each row."""
        best = self(tokens)[0].argmax(-1)  # (B, N)
        before = F.pad(best, (1, 0), value=self.blank)[:, :-1]
        kept = tokens.mask & (best != self.blank) & (best != before)
        return [row[keep].tolist() for row, keep in zip(best, kept, strict=True)]
