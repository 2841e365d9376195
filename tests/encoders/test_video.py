"""Video encoders know the order of frames, and never see what is padding."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmbook.encoders import (
    ConvImageEncoder,
    FrameVideoEncoder,
    PatchImageEncoder,
    TubeletVideoEncoder,
)
from mmbook.encoders.video import DividedBlock, equally_spaced, whole_tubelets
from mmbook.layers import sinusoids

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SMALL = {"width": 8, "layers": 2, "heads": 2, "frames": 6, "size": 16}
KINDS = {
    "frames": lambda: FrameVideoEncoder(ConvImageEncoder(8, 16, (4,)), 6),
    "frames along time": lambda: FrameVideoEncoder(
        ConvImageEncoder(8, 16, (4,)), 6, layers=2, heads=2
    ),
    "frames pooled": lambda: FrameVideoEncoder(
        PatchImageEncoder(8, 1, 2, 16, 8), 6, layers=1, heads=2, pool=True
    ),
    "joint": lambda: TubeletVideoEncoder(**SMALL),
    "joint, waves, summary": lambda: TubeletVideoEncoder(
        **SMALL, position="sinusoid", summary=True
    ),
    "divided": lambda: TubeletVideoEncoder(**SMALL, attention="divided"),
    "divided, summary": lambda: TubeletVideoEncoder(
        **SMALL, tubelet=1, attention="divided", summary=True
    ),
}


def scramble(module):
    """Weights far from any special start, norms and biases too."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def made(kind):
    return scramble(KINDS[kind]()).eval()


def test_the_frame_encoder_equals_a_loop_over_frames_and_places():
    ours = made("frames along time")
    video = torch.rand(2, 5, 3, 16, 16)
    frames = [ours.image_encoder(video[:, f]).values for f in range(5)]  # (B, N, D)
    frames = torch.stack([x + ours.time[f] for f, x in enumerate(frames)], 1)
    places = []
    for n in range(frames.shape[2]):
        along = frames[:, :, n]  # (B, F, D)
        for block in ours.blocks:
            along = block(along)
        places.append(F.layer_norm(along, (8,), ours.norm.weight, ours.norm.bias))
    expected = torch.stack(places, 2).flatten(1, 2)
    torch.testing.assert_close(ours(video).values, expected, **CLOSE)


def test_pooling_leaves_one_token_a_frame():
    ours = made("frames pooled")
    video = torch.rand(2, 4, 3, 16, 16)
    means = [ours.image_encoder(video[:, f]).values.mean(1) for f in range(4)]
    x = torch.stack(means, 1) + ours.time[:4]
    expected = ours.norm(ours.blocks[0](x))
    torch.testing.assert_close(ours(video).values, expected, **CLOSE)


def test_sinusoids_equal_the_formula():
    waves = sinusoids(torch.arange(7), 6).float()
    for n in range(7):
        for i in range(3):
            angle = torch.tensor(n / 10000 ** (2 * i / 6))
            pair = torch.stack([angle.sin(), angle.cos()])
            torch.testing.assert_close(waves[n, 2 * i : 2 * i + 2], pair)
    assert sinusoids(torch.arange(3), 5).shape == (3, 5)


# -------------------------------------------------------------------------- padding


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing_for_real_tokens(kind):
    encoder = made(kind)
    clips = [torch.rand(f, 3, 16, 16) for f in (6, 3, 1)]
    video = nn.utils.rnn.pad_sequence(clips, batch_first=True)
    mask = torch.arange(6) < torch.tensor([6, 3, 1])[:, None]
    tokens = encoder(video, mask)
    other = encoder(torch.where(mask[..., None, None, None], video, 7.0), mask)
    assert torch.equal(tokens.mask, other.mask)
    for row, clip in enumerate(clips):
        alone = encoder(clip[None])
        real = tokens.mask[row]
        assert real.sum() == alone.values.shape[1] and alone.mask.all()
        torch.testing.assert_close(tokens.values[row][real], alone.values[0], **CLOSE)
        torch.testing.assert_close(other.values[row][real], alone.values[0], **CLOSE)


def test_padding_is_not_counted_by_batch_norm():
    encoders = [FrameVideoEncoder(ConvImageEncoder(8, 16, (4,))) for _ in range(2)]
    encoders[1].load_state_dict(encoders[0].state_dict())
    video, mask = torch.rand(2, 4, 3, 16, 16), torch.ones(2, 4, dtype=torch.bool)
    mask[1, 2:] = False
    encoders[0](video, mask)
    encoders[1].image_encoder(video[mask])
    for ours, theirs in zip(*(e.buffers() for e in encoders), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_without_real_frames_gives_no_nan(kind):
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[1] = False
    tokens = made(kind)(torch.rand(2, 4, 3, 16, 16), mask)
    assert tokens.values.isfinite().all()


def test_clips_are_filled_up_to_whole_tubelets_by_their_last_frame():
    video = torch.arange(10.0).view(2, 5, 1, 1, 1).expand(2, 5, 3, 2, 2)
    mask = torch.arange(5) < torch.tensor([5, 3])[:, None]
    filled, real = whole_tubelets(video, mask, 2)
    assert filled[:, :, 0, 0, 0].tolist() == [[0, 1, 2, 3, 4, 4], [5, 6, 7, 7, 7, 7]]
    assert real.tolist() == [[True, True, True], [True, True, False]]
    filled, real = whole_tubelets(video, None, 4)
    assert filled[0, :, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4] and real is None
    assert whole_tubelets(video, None, 5)[0] is video


# -------------------------------------------------------------------- what they read


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    encoder = scramble(KINDS[kind]()).train()
    tokens = encoder(torch.rand(2, 6, 3, 16, 16))
    (tokens.values * torch.rand_like(tokens.values)).sum().backward()
    for name, parameter in encoder.named_parameters():
        if not name.endswith("key.bias"):  # the same for all keys: softmax cancels it
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_frames_matters(kind):
    encoder, video = made(kind), torch.rand(1, 6, 3, 16, 16)
    forwards, backwards = encoder(video).pooled(), encoder(video.flip(1)).pooled()
    if kind == "frames":  # each frame alone: the mean of the tokens knows no order
        torch.testing.assert_close(forwards, backwards, **CLOSE)
    else:
        assert not torch.allclose(forwards, backwards, **CLOSE)


def test_tokens_stand_moment_by_moment_and_row_by_row():
    encoder = TubeletVideoEncoder(8, 0, 2, 4, 16, tubelet=2, patch=8)
    video = torch.zeros(1, 4, 3, 16, 16)
    before = encoder(video).values
    video[:, 3, :, :8, 8:] = 1.0  # second moment; above, right
    changed = (encoder(video).values != before).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [4 + 1]
    frames = FrameVideoEncoder(ConvImageEncoder(8, 16, ()), 4).eval()
    before = frames(torch.zeros(1, 4, 3, 16, 16)).values
    changed = (frames(video).values != before).any(-1)[0]
    assert set((changed.nonzero() // 64).flatten().tolist()) == {3}  # 64 a frame


@pytest.mark.parametrize("attention", ["joint", "divided"])
def test_one_layer_of_attention_reaches_every_token(attention):
    encoder = scramble(TubeletVideoEncoder(8, 1, 2, 6, 16, 1, 8, attention)).eval()
    video = torch.rand(1, 6, 3, 16, 16)
    before = encoder(video).values
    video[:, 2, :, :8, :8] += 0.5
    assert (encoder(video).values - before).abs().amax(-1).min() > 1e-6


def test_divided_attention_along_time_stays_at_its_place():
    block = scramble(DividedBlock(8, 2)).eval()
    x = torch.rand(1, 4, 3, 8)  # (B, T, S, D)
    before = block._along_time(x, None)
    x[:, 1, 2] = torch.rand(8)
    changed = (block._along_time(x, None) - before).abs().amax(-1)[0] > 1e-6
    assert changed[:, 2].all() and not changed[:, :2].any()


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_videos_are_named(kind):
    encoder = KINDS[kind]()
    good = torch.rand(2, 4, 3, 16, 16)
    for video, mask, words in (
        (good.movedim(2, 4), None, r"\(B, F, 3, H, W\).*3\): put the channels"),
        (
            good.transpose(1, 2),
            None,
            r"got \(2, 3, 4, 16, 16\): put the channels right",
        ),
        (good[0], None, r"\(B, F, 3, H, W\).*got \(4, 3, 16, 16\)$"),
        ((good * 255).byte(), None, "uint8: divide by 255"),
        (torch.rand(1, 7, 3, 16, 16), None, "6 frames.*got 7: take fewer"),
        (good, torch.ones(2, 4), r"bool \(2, 4\).*float32"),
        (good, torch.ones(2, 3, dtype=torch.bool), r"bool \(2, 4\).*\(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            encoder(video, mask)
    if kind in ("frames", "frames along time"):  # of convolutions: any size
        assert encoder(good[..., :12, :]).values.shape == (2, 4 * 3 * 4, 8)
        return
    with pytest.raises(ValueError, match=r"16 pixels high and wide.*12 × 16: resize"):
        encoder(good[..., :12, :])


def test_wrong_choices_are_named():
    for choice, words in (
        ({"patch": 7}, "divide size; got 7 and 48"),
        ({"attention": "all"}, "one of joint, divided; got 'all'"),
        ({"position": "none"}, "one of learned, sinusoid; got 'none'"),
    ):
        with pytest.raises(ValueError, match=words):
            TubeletVideoEncoder(**choice)


def test_equally_spaced_frames_are_real_ones():
    video = torch.rand(2, 9, 3, 4, 4)
    assert torch.equal(equally_spaced(video, None, 3), video[:, [0, 4, 8]])
    mask = torch.arange(9) < torch.tensor([9, 2])[:, None]
    chosen = torch.stack([video[0, [0, 3, 5, 8]], video[1, [0, 0, 1, 1]]])
    assert torch.equal(equally_spaced(video, mask, 4), chosen)
