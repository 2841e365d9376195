"""A pre-trained video encoder gives what VideoMAE gives."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    ViTConfig,
    ViTModel,
)

from mmbook.encoders.video import equally_spaced
from mmbook.pretrained import PretrainedVideoEncoder, keep_features

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
PROCESSOR = {
    "image_processor_type": "VideoMAEImageProcessor",
    "size": {"shortest_edge": 16},
    "crop_size": {"height": 16, "width": 16},
    "resample": 2,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.25, 0.3],
}
MEAN, STD = (
    torch.tensor(PROCESSOR[f"image_{k}"]).view(3, 1, 1) for k in ("mean", "std")
)


def scramble(module):
    """Weights far from any special start, norms and biases too."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def tiny_videomae(**changed):
    return VideoMAEConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=8,
        num_frames=4,
        **changed,
    )


def saved(model, folder):
    scramble(model).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


@pytest.fixture(params=[True, False], ids=["mean pooling", "norm"])
def checkpoint(tmp_path, request):
    config = tiny_videomae(use_mean_pooling=request.param)
    return saved(VideoMAEForVideoClassification(config), tmp_path / "videomae")


def test_pretrained_gives_what_videomae_gives(checkpoint):
    peer = AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    encoder = PretrainedVideoEncoder.from_pretrained(checkpoint)
    assert encoder.frozen and encoder.width == 16 and encoder.size == 16
    video = torch.rand(2, 4, 3, 16, 16)
    expected = peer(pixel_values=(video - MEAN) / STD).last_hidden_state
    tokens = encoder(video)
    assert tokens.values.shape == (2, 8, 16) and tokens.mask.all()
    torch.testing.assert_close(tokens.values, expected, **CLOSE)


def test_as_many_frames_as_it_wants_are_taken_from_the_real_ones(checkpoint):
    encoder = PretrainedVideoEncoder.from_pretrained(checkpoint, width=6)
    video = torch.rand(2, 9, 3, 16, 16)
    mask = torch.arange(9) < torch.tensor([9, 2])[:, None]
    tokens = encoder(video, mask)
    assert tokens.values.shape == (2, 8, 6) and tokens.mask.all()
    chosen = torch.stack([video[0, [0, 3, 5, 8]], video[1, [0, 0, 1, 1]]])
    torch.testing.assert_close(tokens.values, encoder(chosen).values, **CLOSE)
    spaced = equally_spaced(video, None, 3)
    assert torch.equal(spaced, video[:, [0, 4, 8]])


def test_frames_of_another_size_are_resized_and_features_can_be_kept(checkpoint):
    encoder = PretrainedVideoEncoder.from_pretrained(checkpoint, width=6)
    clips = (torch.rand(3, 4, 3, 24, 32) * 255).byte()
    kept = keep_features(encoder, clips, "video", batch_size=2)
    assert kept.shape == (3, 8, 16)
    expected = encoder(clips.float() / 255).values
    torch.testing.assert_close(encoder(kept).values, expected, **CLOSE)
    middle = F.interpolate(
        clips[0].float() / 255, (16, 21), mode="bilinear", antialias=True
    )[..., 2:18]
    torch.testing.assert_close(encoder(middle[None]).values[0], expected[0], **CLOSE)


@pytest.mark.parametrize("trainable", [True, False])
def test_pretrained_comes_back_from_a_folder(checkpoint, tmp_path, trainable):
    encoder = PretrainedVideoEncoder.from_pretrained(checkpoint, 6, trainable)
    encoder.save_pretrained(tmp_path / "ours")
    again = PretrainedVideoEncoder.from_pretrained(tmp_path / "ours")
    video = torch.rand(1, 4, 3, 16, 16)
    assert torch.equal(again(video).values, encoder(video).values)
    assert again.frozen is not trainable


def test_another_kind_of_checkpoint_is_named(tmp_path):
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=8,
    )
    folder = saved(ViTModel(config), tmp_path / "vit")
    with pytest.raises(ValueError, match="videomae checkpoint is needed; got a 'vit'"):
        PretrainedVideoEncoder.from_pretrained(folder)
