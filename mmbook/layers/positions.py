"""Positions as waves (正弦位置编码)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wave_angles(places: Tensor, width: int) -> Tensor:
    r"""Places as angles of ever slower waves, $n / 10000^{2i/D}$: (N,) → (N, ⌈D / 2⌉).

    Their sines and cosines are positions (正弦位置编码): Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762. In float64, but for Apple's GPUs, which have none.
    """
    exact = torch.float32 if places.device.type == "mps" else torch.float64
    steps = torch.arange(0, width, 2, device=places.device, dtype=exact)
    return places[:, None] / 10_000 ** (steps / width)


def sinusoids(length: int, width: int, device: torch.device | None = None) -> Tensor:
    r"""Positions as waves of growing length (正弦位置编码): (N, D), sines then cosines.

    $$\sin(n / 10000^{k / (D/2 - 1)}),\ \cos(n / 10000^{k / (D/2 - 1)}),
    \quad k = 0, \dots, D/2 - 1$$

    Nothing is learnt, so there is no longest sound. Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762, in the order that Whisper uses.
    """
    half = width // 2
    slower = torch.exp(
        -math.log(10_000) / (half - 1) * torch.arange(half, device=device)
    )
    angle = torch.arange(length, device=device)[:, None] * slower  # (N, D / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)
