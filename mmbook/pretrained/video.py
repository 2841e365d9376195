"""Pre-trained video encoders of transformers."""

from __future__ import annotations

from torch import Tensor

from ..encoders.video import check_video, equally_spaced
from ..tokens import Tokens
from .image import PretrainedImageEncoder


class PretrainedVideoEncoder(PretrainedImageEncoder):
    """A pre-trained VideoMAE (Tong et al. 2022): each tubelet is a token.

    Such a model wants clips of one length, so as many frames as it wants are taken from
    the real ones of each clip, equally spaced; fewer are shown more than once. No token
    is padding then. Frames are resized as pictures are.

    Parameters
    ----------
    config, width, trainable, size, mean, std, bicubic : see
        :class:`PretrainedImageEncoder`.
    """

    def forward(self, video: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, F, 3, H, W), mask (B, F), or kept features (B, N, C) → tokens (B, N, D)."""
        if video.ndim == 3:
            return Tokens(self.project(self._kept(video)), mask)
        return Tokens(self.project(self.features(video, mask)))

    def features(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the model says before projection: (B, F, 3, H, W) → (B, N, C)."""
        check_video(video, mask)
        video = equally_spaced(video, mask, self.model.config.num_frames)
        frames = (self._resized(video.flatten(0, 1)) - self.mean) / self.std
        return self._run(frames.unflatten(0, video.shape[:2]))

    def _run(self, pixels: Tensor) -> Tensor:
        return self.model(pixels).last_hidden_state

    def _measure(self) -> int:
        kind = self.model.config.model_type
        if kind != "videomae":
            raise ValueError(f"a VideoMAE checkpoint is needed; got a {kind!r}")
        return self.model.config.hidden_size
