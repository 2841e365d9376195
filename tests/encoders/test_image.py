"""Image encoders equal plain torch.nn with the same weights, and read their places."""

import pytest
import torch
from torch import nn

from mmbook.encoders import ConvImageEncoder, PatchImageEncoder

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def scramble(module):
    """Weights far from any special start, norms and biases too."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("training", [True, False])
def test_conv_encoder_equals_plain_torch(training):
    torch.manual_seed(0)
    twin = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
    ).train(training)
    scramble(twin)
    ours = ConvImageEncoder(width=8, size=20, channels=(4,)).train(training)
    ours.stages.load_state_dict(twin.state_dict())
    image = torch.rand(3, 3, 20, 20)
    features = twin(image - 0.5)  # (B, 8, 5, 5)
    tokens = ours(image)
    for row in range(5):
        for column in range(5):
            number = 5 * row + column
            expected = features[:, :, row, column] + ours.position[number]
            torch.testing.assert_close(tokens.values[:, number], expected, **CLOSE)
    assert tokens.values.shape == (3, 25, 8) and tokens.mask.all()


@pytest.mark.parametrize("size", [7, 16, 20, 33])
def test_conv_encoder_takes_sizes_that_do_not_halve(size):
    encoder = ConvImageEncoder(width=8, size=size, channels=(4, 4))
    side = -(-size // 8)
    assert encoder(torch.rand(2, 3, size, size)).values.shape == (2, side**2, 8)


def test_patches_are_read_row_by_row():
    encoder = PatchImageEncoder(8, layers=0, size=16, patch=8)
    image = torch.zeros(1, 3, 16, 16)
    before = encoder(image).values
    image[:, :, :8, 8:] = 1.0  # above, right
    changed = (encoder(image).values != before).any(-1)[0]
    assert changed.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("make", [ConvImageEncoder, PatchImageEncoder])
def test_wrong_images_are_named(make):
    encoder = make(width=8, size=16)
    for image, words in (
        (
            torch.rand(8, 16, 16, 3),
            r"\(B, 3, H, W\).*\(8, 16, 16, 3\): put the channels",
        ),
        (torch.rand(3, 16, 16), r"\(B, 3, H, W\).*\(3, 16, 16\)$"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "uint8: divide by 255"),
    ):
        with pytest.raises(ValueError, match=words):
            encoder(image)


@pytest.mark.parametrize(("high", "wide"), [(16, 12), (32, 32), (40, 16)])
def test_a_patch_encoder_reads_its_own_size_and_says_so(high, wide):
    encoder = PatchImageEncoder(width=8, size=16)
    words = f"16 pixels high and wide.*{high} × {wide}: resize.*ConvImageEncoder"
    with pytest.raises(ValueError, match=words):
        encoder(torch.rand(1, 3, high, wide))


def test_a_conv_encoder_reads_any_height_and_width():
    torch.manual_seed(0)
    encoder = ConvImageEncoder(width=8, size=16, channels=(4,)).eval()
    tokens = encoder(torch.rand(2, 3, 24, 40))
    assert tokens.values.shape == (2, 6 * 10, 8) and tokens.mask.all()
    assert encoder(torch.rand(1, 3, 1, 1)).values.shape == (1, 1, 8)
    tokens.values.sum().backward()
    assert encoder.position.grad.abs().sum() > 0


def test_positions_of_another_size_are_interpolated():
    encoder = ConvImageEncoder(width=1, size=16, channels=(4,)).eval()
    rows = torch.arange(4.0)[:, None].expand(4, 4)  # a slope from above to below
    encoder.position.data = rows.reshape(-1, 1).contiguous()
    nn.init.zeros_(encoder.stages[-2].weight)  # no features: positions alone
    seen = encoder(torch.rand(1, 3, 32, 16)).values.view(8, 4)
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    assert torch.allclose(seen, expected[:, None].expand(8, 4), atol=1e-6)
    same = encoder(torch.rand(1, 3, 16, 16)).values.view(4, 4)
    assert torch.equal(same, rows)


def test_a_patch_must_divide_the_size():
    with pytest.raises(ValueError, match="divide size; got 7 and 48"):
        PatchImageEncoder(patch=7)
