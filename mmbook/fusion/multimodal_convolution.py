"""Multimodal convolution (多模态卷积): windows of one modality, with the others in each."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tokens import Tokens
from .base import Fusion, at_least_one


class MultimodalConvolution(Fusion):
    r"""A window slides over each modality's tokens; the others are seen in every window.

    $$c_m = \sum_{k \neq m} \bar x_k, \qquad
    [a_i; g_i] = W_m\,[x_{i-r}; \dots; x_{i+r}; c_m] + b_m, \qquad
    x_i \leftarrow x_i + a_i \odot \sigma(g_i)$$

    per layer, with a layer norm before the window; $\bar x_k$ is the mean of the tokens
    of modality $k$ as they came in. All tokens of all modalities come out, one modality
    behind the other: (B, N₁ + N₂ + …, D). Chapter 2.6 derives it.

    After the word-level m-CNN of Ma et al. 2015, https://arxiv.org/abs/1504.06063, but
    every modality has a line of its own, so any of them may be missing; and the gate is
    that of Dauphin et al. 2017, https://arxiv.org/abs/1612.08083. A token sees
    $r = (k - 1) / 2$ neighbours on each side in one layer, with k the ``window``. If
    ``causal``, it sees $k - 1$ earlier ones and none that come later. The other
    modalities are seen whole in both cases, and never after they were fused: so no word
    learns of the words behind it by a detour.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        layers: int = 2,
        window: int = 3,
        causal: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__(widths, width)
        at_least_one(layers=layers, window=window)
        settings = (width, window, causal, dropout)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({name: WindowLayer(*settings) for name in widths})
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.project, *self.blocks]

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one sequence."""
        parts = self.aligned(tokens)
        means = {name: part.pooled() for name, part in parts.items()}
        nothing = torch.zeros_like(next(iter(means.values())))
        others = {
            name: sum((mean for k, mean in means.items() if k != name), nothing)
            for name in means
        }
        for layers in self.blocks:
            parts = {
                name: layers[name](part, others[name])  # type: ignore[index]
                for name, part in parts.items()
            }
        joined = Tokens.concatenate(list(parts.values()))
        return Tokens(self.norm(joined.values), joined.mask)


class WindowLayer(nn.Module):
    """Convolve windows of k tokens, up to this one if ``causal``, gate, and add."""

    def __init__(self, width: int, window: int, causal: bool, dropout: float = 0.0):
        super().__init__()
        if not causal and window % 2 == 0:
            given = f"{window}: or take causal=True"
            raise ValueError(f"a window has an odd number of tokens; got {given}")
        self.before = window - 1 if causal else window // 2
        self.after = 0 if causal else window // 2
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Conv1d(width, 2 * width, window)
        self.others = nn.Linear(width, 2 * width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, line: Tokens, others: Tensor) -> Tokens:
        """(B, N, D) and (B, D) → (B, N, D)"""
        x = self.norm(line.values).masked_fill(~line.mask[..., None], 0)
        x = F.pad(x.transpose(1, 2), (self.before, self.after))  # (B, D, N + k - 1)
        seen = self.convolution(x).transpose(1, 2)  # (B, N, 2 D)
        fused = F.glu(seen + self.others(others)[:, None], dim=-1)  # (B, N, D)
        return Tokens(line.values + self.dropout(fused), line.mask)
