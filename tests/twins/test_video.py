"""Our video encoder equals VideoMAE and TimeSformer with the same weights."""

import pytest
import torch
from torch import nn
from transformers import (
    TimesformerConfig,
    TimesformerModel,
    VideoMAEConfig,
    VideoMAEModel,
)

from mmbook.twins import video_encoder_from_timesformer, video_encoder_from_videomae

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "patch_size": 8,
}


def scrambled(module):
    """Weights far from any special start, norms and biases too."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def tiny_videomae(**changes):
    sizes = {"image_size": 24, "num_frames": 6, "use_mean_pooling": False}
    return scrambled(VideoMAEModel(VideoMAEConfig(**SIZES | sizes | changes)))


def tiny_timesformer(attention):
    config = TimesformerConfig(
        **SIZES, image_size=16, num_frames=3, attention_type=attention
    )
    return scrambled(TimesformerModel(config))


def test_joint_attention_equals_videomae(tmp_path):
    peer = tiny_videomae()
    ours = video_encoder_from_videomae(peer)
    assert ours.tubelet == 2 and ours.place is None and len(ours.blocks) == 2
    video = torch.rand(2, 6, 3, 24, 24)
    expected = peer(pixel_values=2 * video - 1).last_hidden_state
    tokens = ours(video)
    assert tokens.values.shape == (2, 27, 16) and tokens.mask.all()
    torch.testing.assert_close(tokens.values, expected, **CLOSE)
    peer.save_pretrained(tmp_path)
    loaded = video_encoder_from_videomae(str(tmp_path))
    assert torch.equal(loaded(video).values, tokens.values)


@pytest.mark.parametrize("attention", ["joint", "divided"])
def test_both_attentions_equal_timesformer(attention):
    peer = tiny_timesformer(f"{attention}_space_time")
    ours = video_encoder_from_timesformer(peer)
    assert ours.attention == attention and ours.norm.eps == peer.config.layer_norm_eps
    video = torch.rand(2, 3, 3, 16, 16)
    expected = peer(pixel_values=2 * video - 1).last_hidden_state
    summary, places = expected[:, :1], expected[:, 1:].unflatten(1, (4, 3))
    expected = torch.cat([summary, places.transpose(1, 2).flatten(1, 2)], 1)
    tokens = ours(video)
    assert tokens.values.shape == (2, 13, 16)
    torch.testing.assert_close(tokens.values, expected, **CLOSE)


def test_checkpoints_that_ours_cannot_be_are_named():
    with pytest.raises(ValueError, match="videomae with gelu has a twin; got 'relu'"):
        video_encoder_from_videomae(tiny_videomae(hidden_act="relu"))
    with pytest.raises(ValueError, match="divided_space_time; got 'space_only'"):
        video_encoder_from_timesformer(tiny_timesformer("space_only"))
    with pytest.raises(ValueError, match="no last norm: set use_mean_pooling=False"):
        video_encoder_from_videomae(tiny_videomae(use_mean_pooling=True))
