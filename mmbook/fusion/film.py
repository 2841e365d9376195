"""FiLM, feature-wise linear modulation (特征线性调制): one modality tunes the other."""

from torch import Tensor, nn
from torch.nn import functional as F

from ..tokens import Tokens
from .base import Fusion, at_least_one


class FiLM(Fusion):
    r"""The first modality's tokens, scaled and shifted by the others: (B, N, D).

    $$h = \mathrm{ReLU}(W_1 x), \qquad
    z = h + \mathrm{ReLU}\big((1 + \gamma) \odot \mathrm{norm}(W_2 h) + \beta\big),
    \qquad (\gamma, \beta) = V \sum_m \bar x_m$$

    per block, after Perez et al. 2018, https://arxiv.org/abs/1709.07871. All tokens of
    a row get the same $\gamma$ and $\beta$: these say *what* to look for, not where. If
    the first modality is missing, the next one takes its place. Chapter 2.5.
    """

    def __init__(self, widths: dict[str, int], width: int, layers: int = 1):
        super().__init__(widths, width)
        at_least_one(layers=layers)
        self.blocks = nn.ModuleList(FiLMBlock(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → the tokens of the first one present."""
        self._check(tokens)
        asked, *others = (name for name in self.modalities if name in tokens)
        first = self.aligned({asked: tokens[asked]})[asked]
        x = first.values
        condition = x.new_zeros(len(first), self.width)
        for name in others:
            condition = condition + self.vector(name, tokens[name])[0]
        for block in self.blocks:
            x = block(x, condition)
        return Tokens(self.norm(x), first.mask)


class FiLMBlock(nn.Module):
    """Two layers; a condition (B, D) scales and shifts what the second one says."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)"""
        gamma, beta = self.modulation(condition)[:, None].chunk(2, dim=-1)  # (B, 1, D)
        h = F.relu(self.first(x))
        return h + F.relu((1 + gamma) * self.norm(self.second(h)) + beta)
