"""Sounds changed so that their words stay (音频数据增强). Chapter 2.3."""

import torch
from torch import Tensor

from .files import resample


def change_speed(wave: Tensor, factor: float) -> Tensor:
    """Play a sound faster (变速): (S,) → (⌈S / factor⌉,), at the same rate.

    Pitch and formants move up, too. Ko et al. 2015,
    https://doi.org/10.21437/Interspeech.2015-711, train with 0.9 to 1.1. Chapter 2.3.
    """
    if wave.ndim != 1:
        raise ValueError(f"a waveform must be (S,); got {tuple(wave.shape)}")
    if not 0.5 <= factor <= 2:
        raise ValueError(f"factor must be from 0.5 (half speed) to 2; got {factor}")
    sound = resample(wave.cpu().numpy(), round(100 * factor), 100)
    return torch.from_numpy(sound).to(wave.device)


def add_noise(
    wave: Tensor, decibels: float, generator: torch.Generator | None = None
) -> Tensor:
    r"""White noise that is so many decibels softer than the sound (信噪比): (…, S).

    $10 \log_{10}(P_\text{sound} / P_\text{noise})$, P a mean square. Chapter 2.3.
    """
    power = wave.detach().square().mean(-1, keepdim=True)
    deviation = (power / 10 ** (decibels / 10)).sqrt()
    noise = torch.randn(wave.shape, generator=generator).to(wave)
    return wave + deviation * noise
