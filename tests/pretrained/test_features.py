"""Outputs of frozen encoders, computed once: the same numbers, never of other data."""

import pytest
import torch
from PIL import Image

from mmbook.data import Collate, Photographs, stack_audio
from mmbook.encoders import (
    ConvAudioEncoder,
    ConvImageEncoder,
    FrameVideoEncoder,
    PatchImageEncoder,
    PrecomputedTokens,
)
from mmbook.pretrained import (
    PretrainedImageEncoder,
    PretrainedTextEncoder,
    keep_features,
)
from mmbook.world import CaptionedScenes, sample_scenes


def pictures(count=2, size=32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=generator)


def test_features_stand_for_the_pictures(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, width=4).train()
    image = pictures(7)
    kept = keep_features(encoder, iter(image), batch_size=3)
    assert kept.shape == (7, 16, 16) and not kept.requires_grad and encoder.training
    assert torch.allclose(encoder(kept).values, encoder(image).values, atol=1e-6)
    levels = keep_features(encoder, (image * 255).round().byte())
    assert torch.allclose(levels, kept, atol=0.1) and not torch.equal(levels, kept)


def test_features_may_have_half_precision(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, width=4)
    kept = keep_features(encoder, pictures(3), dtype=torch.float16)
    assert kept.dtype == torch.float16
    values = encoder(kept).values
    assert values.dtype == torch.float32
    assert torch.allclose(values, encoder(pictures(3)).values, atol=1e-2)


# ------------------------------------------------------------------ any encoder, any data


@pytest.mark.parametrize("kind", ["conv", "patch"])
def test_features_of_the_encoders_of_the_book(kind):
    make = {"conv": ConvImageEncoder, "patch": PatchImageEncoder}[kind]
    torch.manual_seed(0)
    encoder = make(8, size=32).train()
    kept = keep_features(encoder, pictures(5), batch_size=2)
    assert encoder.training and kept.shape[0] == 5 and not kept.requires_grad
    with torch.no_grad():
        expected = encoder.eval()(pictures(5)).values
    assert torch.allclose(kept, expected, atol=1e-6)
    assert torch.equal(PrecomputedTokens(8)(kept).values, kept)


def test_features_of_clips_and_of_sounds_of_several_lengths():
    torch.manual_seed(0)
    video = FrameVideoEncoder(ConvImageEncoder(8, 16, (4,)), 4).eval()
    clips = [torch.rand(frames, 3, 16, 16) for frames in (4, 2, 3)]
    kept = keep_features(video, clips, "video", batch_size=2)
    assert [len(row) for row in kept] == [64, 32, 48]
    alone = video(clips[1][None]).values[0]
    assert torch.allclose(kept[1], alone, atol=1e-5)
    audio = ConvAudioEncoder(8, mels=20, rate=8_000).eval()
    items = [{"audio": torch.rand(n), "label": 1} for n in (4_000, 2_000)]
    kept = keep_features(audio, items, "audio")
    assert torch.allclose(kept[1], audio(items[1]["audio"][None]).values[0], atol=1e-5)
    batch = Collate()([dict(i, audio=f) for i, f in zip(items, kept, strict=True)])
    tokens = PrecomputedTokens()(batch["audio"], batch["audio_mask"])
    again = audio(*stack_audio([item["audio"] for item in items]))
    assert torch.equal(tokens.mask, again.mask)
    assert torch.allclose(tokens.pooled(), again.pooled(), atol=1e-5)


def test_features_of_strings(bert, like_bert):
    encoder = PretrainedTextEncoder.from_pretrained(bert, width=5)
    collate, texts = Collate(like_bert), ["a dog runs", "a", "", "dog"]
    kept = keep_features(encoder, texts, "text", 2, collate=collate)
    assert [tuple(row.shape) for row in kept] == [(5, 16), (3, 16), (2, 16), (3, 16)]
    batch = collate([{"text": row} for row in kept])
    read = collate([{"text": text} for text in texts])
    first, second = (encoder(b["text"], b["text_mask"]) for b in (batch, read))
    assert torch.equal(first.mask, second.mask)
    assert torch.allclose(first.pooled(), second.pooled(), atol=1e-5)


def test_features_of_the_items_of_a_data_set(vit):
    data = CaptionedScenes(sample_scenes(3, 0), size=32)
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    kept = keep_features(encoder, data)
    assert torch.equal(kept, keep_features(encoder, data.images))
    with pytest.raises(
        ValueError, match=r"hold image, caption, index; got modality='au"
    ):
        keep_features(encoder, data, "audio")


def test_the_features_of_photographs_keep_a_question_apart_from_its_picture(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    photographs = Photographs([tmp_path / "a.png"], [["a dog", "dog"]], size=16)
    encoder = ConvImageEncoder(8, size=16)
    assert keep_features(encoder, photographs).shape == (1, 4, 8)  # each picture once
    with pytest.raises(ValueError, match="got modality='text'"):
        keep_features(encoder, photographs, "text")


def test_nothing_to_compute_features_of_is_an_error(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    with pytest.raises(ValueError, match="no items"):
        keep_features(encoder, [])
    with pytest.raises(ValueError, match="no items"):
        keep_features(encoder, iter(()))
