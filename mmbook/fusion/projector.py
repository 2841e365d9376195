"""Projector (投影层): each modality's tokens become words of a language model."""

from torch import Tensor, nn
from torch.nn import functional as F

from ..tokens import Tokens
from .base import Fusion


class Projector(Fusion):
    r"""Two linear layers for each modality, whose tokens then stand in one row:

    $$p_m = s \cdot \mathrm{norm}(W_2\, \mathrm{gelu}(W_1\, \mathrm{norm}(x_m))), \qquad
    h = [p_1; p_2; \dots]$$

    LLaVA-1.5's (Liu et al. 2023, https://arxiv.org/abs/2310.03744), with norms, and s,
    ``scale``, the size of the embeddings among which the tokens shall stand. ``grid``:
    a square of n × n tokens is averaged to grid × grid, {modality: grid}. Chapter 2.5.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        scale: float = 1.0,
        grid: dict[str, int] | None = None,
    ):
        super().__init__(widths, width)
        self.grid = grid or {}
        for name, size in widths.items():
            first, second = nn.Linear(size, width), nn.Linear(width, width)
            norm = nn.LayerNorm(width)
            nn.init.constant_(norm.weight, scale)
            self.project[name] = nn.Sequential(
                nn.LayerNorm(size), first, nn.GELU(), second, norm
            )

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → (B, ΣN, D)"""
        merged = {name: self._merged(name, part) for name, part in tokens.items()}
        return Tokens.concatenate(list(self.aligned(merged).values()))

    def _merged(self, name: str, part: Tokens) -> Tokens:
        side = self.grid.get(name)
        if side is None or part.values.shape[1] <= side**2:
            return part
        return Tokens(*merge_tokens(part.values, part.mask, side))


def merge_tokens(values: Tensor, mask: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """A square of tokens (B, n², C) averaged to (B, side², C), and what is real there."""
    n = round(values.shape[1] ** 0.5)
    if n * n != values.shape[1]:
        raise ValueError(f"tokens must be a square, n²; got {values.shape[1]}")
    square = values.transpose(1, 2).unflatten(2, (n, n))  # (B, C, n, n)
    few = F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2)
    real = F.adaptive_max_pool2d(mask.float().unflatten(1, (1, n, n)), side)
    return few, real.flatten(1).bool()
