"""Positions: sinusoidal (正弦位置编码) and rotary (旋转位置编码)."""

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


def rotate(x: Tensor, places: Tensor, base: float = 10_000.0) -> Tensor:
    r"""Rotary positions (旋转位置编码) of queries or keys: (B, heads, N, d), same shape.

    Numbers i and i + d/2 are a point in the plane, turned by the angle
    $n \, \text{base}^{-2i/d}$ at place n, of ``places`` (B, N): the product of a query
    and a key then depends on the distance of their places alone. Su et al. 2021,
    https://arxiv.org/abs/2104.09864. Chapter 2.1.
    """
    half = x.shape[-1] // 2
    steps = torch.arange(half, device=x.device, dtype=torch.float32) / half
    angles = (places[:, None, :, None] * base**-steps).to(torch.float32)  # (B, 1, N, h)
    sine, cosine = angles.sin().to(x.dtype), angles.cos().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    turned = first * cosine - second * sine, second * cosine + first * sine
    return torch.cat(turned, -1)
