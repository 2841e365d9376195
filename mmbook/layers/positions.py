"""Sinusoidal positions (正弦位置编码)."""

import math

import torch
from torch import Tensor


def sinusoids(positions: Tensor, width: int, order: str = "interleaved") -> Tensor:
    r"""Sines and cosines of positions (正弦位置编码): (N,) → (N, D).

    $$\sin(n / 10000^{2i/D}), \quad \cos(n / 10000^{2i/D}), \quad 0 \le i < D / 2$$

    ``"interleaved"`` in turn (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762),
    ``"halves"`` sines first, both in float64 (Apple's GPUs lack it); ``"whisper"`` as
    halves in float32, $i / (D/2 - 1)$ for $2i / D$. Chapters 2.3, 2.4 and 2.6.
    """
    if order not in ("interleaved", "halves", "whisper"):
        raise ValueError(f"order is interleaved, halves or whisper; got {order!r}")
    if order != "interleaved" and (width % 2 or width < 4):
        raise ValueError(f"width must be even and at least 4; got {width}")
    exact = torch.float32 if positions.device.type == "mps" else torch.float64
    if order == "whisper":
        steps = torch.arange(width // 2, device=positions.device)
        slower = torch.exp(-math.log(10_000) / (width // 2 - 1) * steps)
        angles = positions[:, None] * slower  # (N, D / 2)
    else:
        steps = torch.arange(0, width, 2, device=positions.device, dtype=exact)
        angles = positions[:, None] / 10_000 ** (steps / width)  # (N, ⌈D / 2⌉)
    if order == "interleaved":
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1)
        return waves.flatten(1)[:, :width]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
