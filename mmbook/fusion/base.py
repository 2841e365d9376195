"""What all fusions share: every modality brought to one width, with a mark of its own."""

from __future__ import annotations

import torch
from torch import nn

from ..configuration import Configured
from ..tokens import Tokens


class Fusion(Configured):
    """A fusion of named modalities; subclasses write :meth:`forward`.

    Parameters
    ----------
    widths : width of each modality's tokens, by name, e.g. ``{"image": 96}``.
    width : D of the fused tokens.
    """

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__()
        if not widths:
            raise ValueError("a fusion needs at least one modality; got none")
        self.modalities, self.width = tuple(widths), width
        self.project = nn.ModuleDict(
            {name: nn.Linear(size, width) for name, size in widths.items()}
        )
        self.mark = nn.ParameterDict(
            {name: nn.Parameter(0.02 * torch.randn(width)) for name in widths}
        )

    def aligned(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        """Project each modality to D and add its mark; check what was given."""
        unknown = set(tokens) - set(self.modalities)
        if unknown or not tokens:
            raise ValueError(
                f"this fusion takes any of {', '.join(self.modalities)}; got "
                f"{', '.join(sorted(tokens)) or 'nothing'}"
            )
        aligned = {}
        for name in self.modalities:
            if name in tokens:
                if tokens[name].width != self.project[name].in_features:
                    raise ValueError(
                        f"this fusion takes {name} tokens of width "
                        f"{self.project[name].in_features}; got {tokens[name].width}"
                    )
                values = self.project[name](tokens[name].values) + self.mark[name]
                aligned[name] = Tokens(values, tokens[name].mask)
        return aligned
