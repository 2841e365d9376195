"""Pre-trained video encoders of transformers."""

from torch import Tensor

from ..encoders.video import check_video, equally_spaced
from ..tokens import Tokens
from .base import Pretrained
from .image import PretrainedImageEncoder


class PretrainedVideoEncoder(PretrainedImageEncoder):
    """A pre-trained VideoMAE (Tong et al. 2022): each tubelet is a token. Chapter 2.4.

    It takes its number of frames, equally spaced, from the real ones; none is padding.
    """

    kinds = ("videomae",)
    _measure = Pretrained._measure  # told by the config

    def features(self, video: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, F, 3, H, W) in [0, 1], mask (B, F) True = real → (B, N, C)."""
        check_video(video, mask)
        video = equally_spaced(video, mask, self.model.config.num_frames)
        frames = self._normalised(video.flatten(0, 1)).unflatten(0, video.shape[:2])
        return Tokens(self.model(frames).last_hidden_state)
