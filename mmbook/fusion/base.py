"""What all fusions share: each modality brought to one width, with its own mark."""

import torch
from torch import Tensor, nn

from ..models import counting
from ..saving import Configured
from ..tokens import Tokens


class Fusion(Configured):
    """A fusion of named modalities; subclasses write :meth:`forward`.

    ``widths`` are those of the tokens, as ``{"image": 96}``, ``width`` the fused one's.
    """

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__()
        if not widths:
            raise ValueError("a fusion needs at least one modality; got none")
        self.modalities, self.width, self.widths = tuple(widths), width, dict(widths)
        self.project = nn.ModuleDict(
            {name: nn.Linear(size, width) for name, size in widths.items()}
        )
        self.mark = nn.ParameterDict(
            {name: nn.Parameter(0.02 * torch.randn(width)) for name in widths}
        )

    def aligned(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        """Project each modality to D and add its mark; check what was given."""
        self._check(tokens)
        aligned = {}
        for name in self.modalities:
            if name in tokens:
                values = self.project[name](tokens[name].values) + self.mark[name]
                aligned[name] = Tokens(values, tokens[name].mask)
        return aligned

    def vectors(self, tokens: dict[str, Tokens]) -> Tokens:
        """The mean of each modality's tokens, or zero: (B, modalities, D)."""
        self._check(tokens)
        found = {name: self.vector(name, part) for name, part in tokens.items()}
        if len(found) < len(self.modalities):
            zero, never = map(torch.zeros_like, next(iter(found.values())))
            found = {name: found.get(name, (zero, never)) for name in self.modalities}
        values, real = zip(*(found[name] for name in self.modalities), strict=True)
        return Tokens(torch.stack(values, 1), torch.cat(real, 1))

    def vector(self, name: str, part: Tokens) -> tuple[Tensor, Tensor]:
        """The mean of a modality's aligned tokens (B, D), and where it is real (B, 1).

        Zero where none is. The mean is projected, one token instead of N: it's linear.
        """
        real = part.mask.any(1, keepdim=True)
        return (self.project[name](part.pooled()) + self.mark[name]) * real, real

    def _check(self, tokens: dict[str, Tokens]) -> None:
        unknown = set(tokens) - set(self.modalities)
        if unknown or not tokens:
            known, given = ", ".join(self.modalities), ", ".join(sorted(tokens))
            raise ValueError(f"this takes any of {known}; got {given or 'nothing'}")
        for name, part in tokens.items():
            if part.width != (size := self.widths[name]):
                given = f"{name} tokens of width {size}; got {part.width}"
                raise ValueError(f"this fusion takes {given}")
        rows = {name: part.mask.shape[0] for name, part in tokens.items()}
        if any(number != part.mask.shape[0] for number in rows.values()):
            given = ", ".join(f"{name} {number}" for name, number in rows.items())
            raise ValueError(f"all modalities must be of one batch size; got {given}")


class AttentionFusion(Fusion):
    """What transformer fusions share: layers, a norm, ``queries`` (可学习查询) (n, D)."""

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        layers: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        queries: int | None = None,
    ):
        super().__init__(widths, width)
        at_least_one(layers=layers)
        if queries is not None:
            at_least_one(queries=queries)
            self.queries = nn.Parameter(0.02 * torch.randn(queries, width))
        self.blocks = nn.ModuleList(self.layer(heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.project, *self.blocks]

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """One layer; subclasses say what it is made of."""
        raise NotImplementedError


def repeated(learned: Tensor, parts: dict[str, Tokens]) -> Tokens:
    """Learned tokens (N, D) for each row, (B, N, D); real where anything is."""
    real = torch.cat([part.mask for part in parts.values()], dim=1).any(1)  # (B,)
    values = learned.expand(len(real), -1, -1)
    return Tokens(values, real[:, None].expand(-1, len(learned)))


def at_least_one(**numbers: int) -> None:
    """Raise ValueError for the first of these numbers that is not positive."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1; got {number}")


def count_operations(fusion: nn.Module, tokens: dict[str, Tokens]) -> int:
    """Additions and multiplications in matrix products (运算量). Chapter 2.5."""
    with torch.no_grad(), counting(fusion) as counted:
        fusion(tokens)
        return counted()
