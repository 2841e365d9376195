"""Pre-trained video encoders of transformers."""

from torch import Tensor

from ..encoders.video import check_video, equally_spaced
from ..tokens import Tokens
from .base import Pretrained
from .image import PretrainedImageEncoder


class PretrainedVideoEncoder(PretrainedImageEncoder):
    """A pre-trained VideoMAE (Tong et al. 2022): each tubelet is a token.

    Such a model wants clips of one length, so as many frames as it wants are taken from
    the real ones of each clip, equally spaced; fewer are shown more than once. No token
    is padding then. Frames are resized, cropped and normalised as pictures are.
    """

    def features(self, video: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, F, 3, H, W) in [0, 1], mask (B, F) True = real → (B, N, C)."""
        check_video(video, mask)
        video = equally_spaced(video, mask, self.model.config.num_frames)
        frames = self._normalised(video.flatten(0, 1)).unflatten(0, video.shape[:2])
        return Tokens(self.model(frames).last_hidden_state)

    def _measure(self) -> int:
        kind = self.model.config.model_type
        if kind != "videomae":
            raise ValueError(f"a VideoMAE checkpoint is needed; got a {kind!r}")
        return Pretrained._measure(self)
