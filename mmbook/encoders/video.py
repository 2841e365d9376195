"""Video encoders, from scratch: frame by frame, and by tubelets of space and time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Attention, Block, sinusoids
from ..saving import Configured
from ..tokens import Tokens
from .checks import check_image, check_mask


class FrameVideoEncoder(Configured):
    """Each frame through an image encoder, then time (逐帧视频编码器).

    Tokens get the learned position of their frame, of ``frames`` at most; in ``layers``
    each place attends along time. ``pool`` makes one token of a frame, the mean (Arnab
    et al. 2021, https://arxiv.org/abs/2103.15691). Padding is not seen. Chapter 2.4.
    """

    def __init__(
        self,
        image_encoder,
        frames: int = 8,
        layers: int = 0,
        heads: int = 4,
        pool: bool = False,
        hidden: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.image_encoder, self.pool = image_encoder, pool
        self.width = image_encoder.width
        self.time = nn.Parameter(0.02 * torch.randn(frames, self.width))
        self.blocks = nn.ModuleList(
            Block(self.width, heads, hidden, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(self.width) if layers else nn.Identity()

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.image_encoder, *self.blocks]

    def forward(self, video: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, F, 3, H, W), mask (B, F) → tokens (B, F · N, D), frame by frame."""
        check_video(video, mask, len(self.time))
        x = self._frames(video, mask)  # (B, F, N, D)
        if self.pool:
            x = x.mean(2, keepdim=True)
        batch, frames, places, _ = x.shape
        x = x + self.time[:frames, None]
        x = x.transpose(1, 2).flatten(0, 1)  # (B · N, F, D)
        along = None if mask is None else mask.repeat_interleave(places, 0)
        for block in self.blocks:
            x = block(x, along)
        x = self.norm(x).unflatten(0, (batch, places)).transpose(1, 2)
        real = None if mask is None else mask.repeat_interleave(places, 1)
        return Tokens(x.flatten(1, 2), real)

    def _frames(self, video: Tensor, mask: Tensor | None) -> Tensor:
        """The tokens of each picture, (B, F, N, D); zeros where there is none."""
        if mask is None:
            seen = self.image_encoder(video.flatten(0, 1)).values
            return seen.unflatten(0, video.shape[:2])
        seen = self.image_encoder(video[mask]).values  # (real frames, N, D)
        x = seen.new_zeros(*mask.shape, *seen.shape[1:])
        x[mask] = seen
        return x


class TubeletVideoEncoder(Configured):
    """A video transformer (视频 Transformer): each tube of pixels (时空管) is a token.

    ``attention="joint"`` lets every token attend to all others (时空联合注意力), which costs
    (T · S)² for T moments and S places; ``"divided"`` first along time, then within the
    frame (时空分离注意力): T² · S + T · S² (Bertasius et al. 2021,
    https://arxiv.org/abs/2102.05095). The first equals ``transformers.VideoMAEModel``
    (Tong et al. 2022, https://arxiv.org/abs/2203.12602), both equal
    ``TimesformerModel``. A tubelet is real if one of its frames is. The position is
    ``"learned"``, moment plus place, or ``"sinusoid"`` over all tokens as in VideoMAE.
    With ``summary`` a learned token comes first. Chapter 2.4.
    """

    def __init__(
        self,
        width: int = 96,
        layers: int = 3,
        heads: int = 4,
        frames: int = 8,
        size: int = 48,
        tubelet: int = 2,
        patch: int = 8,
        attention: str = "joint",
        position: str = "learned",
        summary: bool = False,
        hidden: int | None = None,
        dropout: float = 0.0,
        eps: float = 1e-12,
    ):
        super().__init__()
        if size % patch:
            raise ValueError(f"patch must divide size; got {patch} and {size}")
        choices = {attention: ("joint", "divided"), position: ("learned", "sinusoid")}
        for given, known in choices.items():
            if given not in known:
                raise ValueError(f"choose one of {', '.join(known)}; got {given!r}")
        block = DividedBlock if attention == "divided" else Block
        self.width, self.size, self.frames = width, size, frames
        self.tubelet, self.attention = tubelet, attention
        sides = (tubelet, patch, patch)
        self.tubelets = nn.Conv3d(3, width, sides, stride=sides)
        self.summary = nn.Parameter(torch.zeros(1, width)) if summary else None
        self._add_positions(-(-frames // tubelet), (size // patch) ** 2, position)
        self.blocks = nn.ModuleList(
            block(width, heads, hidden, dropout=dropout, eps=eps) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=eps)

    def _add_positions(self, moments: int, places: int, position: str) -> None:
        """(T, 1, D) and (1, S, D) to learn, or (T, S, D) that stay as they are."""
        self.place: nn.Parameter | None = None
        if position == "learned":
            self.time = nn.Parameter(0.02 * torch.randn(moments, 1, self.width))
            self.place = nn.Parameter(0.02 * torch.randn(1, places, self.width))
        else:
            waves = sinusoids(torch.arange(moments * places), self.width).float()
            self.register_buffer("time", waves.unflatten(0, (moments, places)), False)

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.tubelets, *self.blocks]

    def forward(self, video: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, F, 3, H, W), mask (B, F) → tokens (B, T · S, D), moment by moment."""
        check_video(video, mask, self.frames, self.size)
        video, mask = whole_tubelets(video, mask, self.tubelet)
        x = self.tubelets(2 * video.transpose(1, 2) - 1)  # (B, D, T, rows, columns)
        x = x.flatten(3).permute(0, 2, 3, 1)  # (B, T, S, D)
        x = x + self.time[: x.shape[1]]
        x = x if self.place is None else x + self.place
        summary = x.new_zeros(0, self.width) if self.summary is None else self.summary
        summary, real = summary.expand(len(x), -1, -1), None
        if mask is not None:  # from moments (B, T) to tokens; a summary is always real
            real = mask.repeat_interleave(x.shape[2], 1)
            real = F.pad(real, (summary.shape[1], 0), value=True)
        if self.attention == "divided":
            for block in self.blocks:
                x, summary = block(x, summary, mask)
        x = torch.cat([summary, x.flatten(1, 2)], 1)  # (B, 0 or 1 + T · S, D)
        if self.attention == "joint":
            for block in self.blocks:
                x = block(x, real)
        return Tokens(self.norm(x), real)


class DividedBlock(Block):
    """One layer of divided attention: along time, within the frame, feed-forward."""

    def __init__(self, width: int, heads: int, hidden=None, dropout=0.0, eps=1e-5):
        super().__init__(width, heads, hidden, dropout=dropout, eps=eps)
        self.time = Attention(width, heads, dropout=dropout)
        self.time_norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, summary: Tensor, mask=None):  # type: ignore[override]
        """x (B, T, S, D), summary (B, 0 or 1, D), mask (B, T) → the first two, new."""
        x = x + self._along_time(x, mask)
        x, summary = self._within_frames(x, summary, mask)
        x = self._add(x, self.feed_forward_norm, self.feed_forward)
        return x, self._add(summary, self.feed_forward_norm, self.feed_forward)

    def _along_time(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, _, places, _ = x.shape
        rows = self.time_norm(x).transpose(1, 2).flatten(0, 1)  # (B · S, T, D)
        along = None if mask is None else mask.repeat_interleave(places, 0)
        seen = self.dropout(self.time(rows, mask=along))
        return seen.unflatten(0, (batch, places)).transpose(1, 2)

    def _within_frames(self, x: Tensor, summary: Tensor, mask: Tensor | None):
        """The summary attends to each frame and takes the mean of the results."""
        batch, moments, _, _ = x.shape
        first = summary.shape[1]  # 0 or 1
        rows = torch.cat([summary.repeat_interleave(moments, 0), x.flatten(0, 1)], 1)
        seen = self.dropout(self.attention(self.attention_norm(rows)))
        seen = seen.unflatten(0, (batch, moments))  # (B, T, 0 or 1 + S, D)
        weights = x.new_ones(batch, moments) if mask is None else mask.to(x.dtype)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
        mean = torch.einsum("bt,btnd->bnd", weights, seen[:, :, :first])
        return x + seen[:, :, first:], summary + mean


def whole_tubelets(video: Tensor, mask: Tensor | None, depth: int):
    """Clips of a multiple of ``depth`` frames, the others the last real one; their mask."""
    missing = -video.shape[1] % depth
    if mask is None and not missing:
        return video, None
    real = torch.ones_like(video[:, :, 0, 0, 0], dtype=torch.bool)
    real = F.pad(real if mask is None else mask, (0, missing))
    places = torch.arange(real.shape[1], device=video.device)
    number = torch.where(real, places, 0).cummax(1).values  # the last real one
    rows = torch.arange(len(video), device=video.device)[:, None]
    whole = None if mask is None else real.unflatten(1, (-1, depth)).any(-1)  # (B, T)
    return video[rows, number], whole


def check_video(video: Tensor, mask: Tensor | None = None, frames=None, size=None):
    """Clips must be float (B, F, 3, H, W), not too long, and the mask (B, F) must fit."""
    check_image(video, size, "video")
    if frames is not None and video.shape[1] > frames:
        given = f"{video.shape[1]}: take fewer, equally spaced"
        raise ValueError(f"video may have {frames} frames here; got {given}")
    check_mask(mask, tuple(video.shape[:2]), "video")


def equally_spaced(video: Tensor, mask: Tensor | None, count: int) -> Tensor:
    """So many frames of each clip, from its first to its last real one (mask (B, F))."""
    if mask is None:
        mask = torch.ones(video.shape[:2], dtype=torch.bool, device=video.device)
    last = (mask.sum(1, keepdim=True) - 1).clamp(min=0)
    steps = torch.linspace(0, 1, count, device=video.device)
    number = (steps * last).round().long()  # (B, count)
    return video[torch.arange(len(video), device=video.device)[:, None], number]
