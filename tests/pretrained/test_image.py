"""Pre-trained image encoders give what transformers gives."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModel,
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipModel,
)

from mmbook.data import captioned_photographs
from mmbook.pretrained import PretrainedImageEncoder, keep_features

MEAN, STD = (torch.tensor(x).view(3, 1, 1) for x in ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3]))
SMALL_MAPS = {
    "mobilenet": (
        MobileNetV2ForImageClassification,
        MobileNetV2Config(depth_multiplier=0.35, image_size=32),
    ),
    "resnet": (
        ResNetModel,
        ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic"
        ),
    ),
    "convnext": (
        ConvNextModel,
        ConvNextConfig(num_stages=2, hidden_sizes=[8, 12], depths=[1, 1]),
    ),
}


def pictures(count=2, size=32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=generator)


def test_vit_gives_its_patches(vit):
    peer = AutoModel.from_pretrained(vit).eval()
    image = pictures()
    expected = peer(pixel_values=(image - MEAN) / STD).last_hidden_state[:, 1:]
    tokens = PretrainedImageEncoder.from_pretrained(vit)(image)
    assert tokens.values.shape == (2, 16, 16) and tokens.mask.all()
    assert torch.allclose(tokens.values, expected, atol=1e-5)


@pytest.mark.parametrize("name", SMALL_MAPS)
def test_maps_become_tokens_row_by_row(name, save, tmp_path):
    torch.manual_seed(0)
    make, config = SMALL_MAPS[name]
    folder = save(make(config), tmp_path / "saved")
    peer = AutoModel.from_pretrained(folder).eval()
    image = pictures(size=64)
    encoder = PretrainedImageEncoder.from_pretrained(folder, size=64)
    expected = peer(pixel_values=(image - MEAN) / STD).last_hidden_state  # (B, C, H, W)
    _, channels, high, wide = expected.shape
    values = encoder(image).values
    assert values.shape == (2, high * wide, channels) and encoder.width == channels
    row, column = high - 1, wide // 2
    token = values[:, row * wide + column]
    assert torch.allclose(token, expected[:, :, row, column], atol=1e-5)


def test_an_image_mask_is_passed_on(vit):
    mask = torch.arange(16).expand(2, 16) < 7
    tokens = PretrainedImageEncoder.from_pretrained(vit)(pictures(), mask)
    assert torch.equal(tokens.mask, mask)


def test_numbers_of_the_processor_are_read(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    assert encoder.size == 32 and encoder.interpolation == "bilinear"
    assert torch.allclose(encoder.mean, MEAN) and torch.allclose(encoder.std, STD)
    assert PretrainedImageEncoder.from_pretrained(vit, bicubic=True).interpolation == (
        "bicubic"
    )


def test_resizing_equals_the_processor(vit):
    """Up to the rounding to whole levels of brightness that the processor does."""
    levels = (pictures(1, 80)[0] * 255).byte()
    levels = torch.nn.functional.avg_pool2d(levels.float(), 5, 1, 2).byte()  # no noise
    processor = AutoImageProcessor.from_pretrained(vit, backend="pil")
    expected = processor(levels.permute(1, 2, 0).numpy(), return_tensors="pt")
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    ours = encoder._normalised(levels[None] / 255)
    gap = (ours - expected["pixel_values"]).abs() * STD * 255
    assert ours.shape == (1, 3, 32, 32) and gap.max() < 1.5


def test_oblong_pictures_are_cropped_not_squeezed(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    image = torch.zeros(1, 3, 32, 96)
    image[..., 32:64] = pictures(1)
    assert torch.equal(encoder(image).values, encoder(pictures(1)).values)


@pytest.mark.parametrize(
    "image, message",
    [
        (torch.rand(2, 32, 32, 3), "put the channels right before"),
        (torch.rand(2, 1, 32, 32), r"\(B, 3, H, W\)"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "divide by 255"),
        (
            torch.rand(3, 32, 32),
            r"features of this encoder must be \(B, N, 16\); got \(3, 32, 32\)",
        ),
    ],
)
def test_pictures_that_do_not_fit(vit, image, message):
    with pytest.raises(ValueError, match=message):
        PretrainedImageEncoder.from_pretrained(vit)(image)


def test_a_strip_of_pixels_is_no_giant(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    strip = torch.zeros(1, 3, 1, 10_000)
    strip[..., 4_998:5_002] = pictures(1, 1)
    normal = torch.nn.functional.pad(pictures(1, 1).expand(-1, -1, -1, 4), (50, 50))
    sizes = []
    encoder.model.register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape))
    assert torch.equal(encoder(strip).values, encoder(normal).values)
    assert encoder(torch.zeros(1, 3, 9_000, 2)).values.shape == (1, 16, 16)
    assert set(sizes) == {(1, 3, 32, 32)}


@pytest.mark.parametrize("shape", [(40, 80), (80, 50), (33, 131)])
def test_usual_pictures_are_framed_as_before_the_bound(vit, shape):
    image = torch.rand(1, 3, *shape)
    scale = 32 / min(shape)
    sides = [max(32, round(side * scale)) for side in shape]
    whole = torch.nn.functional.interpolate(
        image, sides, mode="bilinear", antialias=True
    )
    top, left = ((side - 32) // 2 for side in sides)
    expected = whole[..., top : top + 32, left : left + 32].clamp(0, 1)
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    assert torch.equal(encoder._normalised(image), (expected - MEAN) / STD)


TOWER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
TOWERS = {
    "vision_config": {**TOWER, "image_size": 32, "patch_size": 8},
    "text_config": {**TOWER, "vocab_size": 20, "max_position_embeddings": 9},
}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_of_a_model_with_two_towers_the_one_that_sees_is_taken(
    kind, dtype, save, tmp_path
):
    config = {"clip": CLIPConfig, "siglip": SiglipConfig}[kind](**TOWERS)
    model = {"clip": CLIPModel, "siglip": SiglipModel}[kind](config).eval()
    folder = save(model.to(dtype), tmp_path / kind)
    encoder = PretrainedImageEncoder.from_pretrained(folder, width=5)
    peer = model.float().vision_model((pictures() - MEAN) / STD).last_hidden_state
    tokens = encoder(pictures())
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    expected = encoder.project(peer[:, -16:])  # CLIP's first token is a summary
    assert torch.allclose(tokens.values, expected, atol=1e-5)
    assert not any("text" in name for name, _ in encoder.named_parameters())
    again = PretrainedImageEncoder.from_pretrained(
        encoder.save_pretrained(tmp_path / "ours")
    )
    assert torch.equal(again(pictures()).values, tokens.values)
    assert again.to_config() == encoder.to_config()


def test_the_mobilenet_of_the_book_is_there_offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
    assert (encoder.size, encoder.width, encoder.frozen) == (224, 1280, True)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    tokens = encoder(pictures(1, 224))
    assert tokens.values.shape == (1, 49, 1280) and tokens.values.isfinite().all()


needs_both = pytest.mark.skipif(
    not {"MMBOOK_MODELS", "MMBOOK_DATA"} <= os.environ.keys(),
    reason="MMBOOK_MODELS and MMBOOK_DATA do not name folders",
)


@needs_both
def test_real_mobilenet_on_photographs():
    """With the processor's own framing the features are those of transformers."""
    folder = Path(os.environ["MMBOOK_MODELS"], "mobilenet_v2_1.0_224")
    photographs = captioned_photographs(
        Path(os.environ["MMBOOK_DATA"], "flickr8k_1000"), "test"
    )
    images = [Image.open(file).convert("RGB") for file in photographs.files[:4]]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    peer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    pixels = processor(images, return_tensors="pt")["pixel_values"]
    framed = processor(images, return_tensors="pt", do_normalize=False)["pixel_values"]
    encoder = PretrainedImageEncoder.from_pretrained(folder)
    with torch.no_grad():
        expected = peer(pixels).last_hidden_state.flatten(2).transpose(1, 2)
        tokens = encoder(framed)
    assert tokens.values.shape == (4, 49, 1280)
    assert torch.allclose(tokens.values, expected, atol=1e-3)
    # our own framing shows a little more of the picture: other numbers, the same sense
    ours = keep_features(encoder, [photographs.pixels(i) for i in range(4)]).mean(1)
    likeness = torch.cosine_similarity(ours[:, None], expected.mean(1)[None], dim=-1)
    assert likeness.argmax(1).tolist() == [0, 1, 2, 3] and likeness.diag().min() > 0.7
