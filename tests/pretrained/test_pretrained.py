"""Pre-trained encoders give what transformers gives, and stay frozen if they should."""

import copy
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    BertConfig,
    BertModel,
    ConvNextConfig,
    ConvNextModel,
    HubertConfig,
    HubertModel,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from mmbook.data.corpora import Photographs, captioned_photographs
from mmbook.fusion import Concatenation
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel
from mmbook.pretrained import (
    PretrainedAudioEncoder,
    PretrainedImageEncoder,
    PretrainedTextEncoder,
    keep_features,
)
from mmbook.saving import Configured

PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.25, 0.3],
}
MEAN, STD = (
    torch.tensor(PROCESSOR[f"image_{k}"]).view(3, 1, 1) for k in ("mean", "std")
)
VIT = ViTConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    image_size=32,
    patch_size=8,
    hidden_dropout_prob=0.5,
)
BERT = BertConfig(
    vocab_size=20,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=12,
)
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


def saved(model, folder):
    """A checkpoint with batch norm statistics and biases that are not all 0 and 1."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                shift = torch.rand_like(value) * 0.1
                value.add_(shift if "var" in name else shift - 0.05)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


@pytest.fixture
def vit(tmp_path):
    torch.manual_seed(0)
    return saved(ViTModel(VIT), tmp_path / "vit")


@pytest.fixture
def mobilenet(tmp_path):
    torch.manual_seed(0)
    make, config = SMALL_MAPS["mobilenet"]
    return saved(make(config), tmp_path / "mobilenet")


@pytest.fixture
def bert(tmp_path):
    torch.manual_seed(0)
    return saved(BertModel(BERT), tmp_path / "bert")


def pictures(count=2, size=32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=generator)


# ------------------------------------------------------------------ the same numbers


def test_vit_gives_its_patches(vit):
    peer = AutoModel.from_pretrained(vit).eval()
    image = pictures()
    expected = peer(pixel_values=(image - MEAN) / STD).last_hidden_state[:, 1:]
    tokens = PretrainedImageEncoder.from_pretrained(vit)(image)
    assert tokens.values.shape == (2, 16, 16) and tokens.mask.all()
    assert torch.allclose(tokens.values, expected, atol=1e-5)


@pytest.mark.parametrize("name", SMALL_MAPS)
def test_maps_become_tokens_row_by_row(name, tmp_path):
    torch.manual_seed(0)
    make, config = SMALL_MAPS[name]
    folder = saved(make(config), tmp_path / "saved")
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


def test_bert_with_and_without_mask(bert):
    peer = AutoModel.from_pretrained(bert).eval()
    encoder = PretrainedTextEncoder.from_pretrained(bert)
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    expected = peer(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    tokens = encoder(ids, mask)
    assert torch.equal(tokens.mask, mask) and encoder.width == 16
    assert torch.allclose(tokens.values, expected, atol=1e-6)
    assert torch.allclose(
        encoder(ids[1:, :2]).values, tokens.values[1:, :2], atol=1e-5
    )  # padding changes nothing


def test_the_linear_layer_brings_tokens_to_the_width(vit):
    plain = PretrainedImageEncoder.from_pretrained(vit)
    wide = PretrainedImageEncoder.from_pretrained(vit, width=5)
    assert (plain.width, wide.width, wide.own_width) == (16, 5, 16)
    expected = wide.project(plain(pictures()).values)
    assert torch.allclose(wide(pictures()).values, expected, atol=1e-6)


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
    ours = (encoder._resized(levels[None] / 255) - encoder.mean) / encoder.std
    gap = (ours - expected["pixel_values"]).abs() * STD * 255
    assert ours.shape == (1, 3, 32, 32) and gap.max() < 1.5


def test_oblong_pictures_are_cropped_not_squeezed(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    image = torch.zeros(1, 3, 32, 96)
    image[..., 32:64] = pictures(1)
    assert torch.equal(encoder(image).values, encoder(pictures(1)).values)


def test_weights_are_loaded_in_float32(vit):
    ViTModel.from_pretrained(vit).bfloat16().save_pretrained(vit)
    assert load_file(vit / "model.safetensors").popitem()[1].dtype == torch.bfloat16
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


# ------------------------------------------------------------------ frozen or not


def test_frozen_stays_in_eval_mode_and_gets_no_gradient(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, width=4)
    before = encoder(pictures()).values
    holder = torch.nn.ModuleList([encoder]).train()
    after = encoder(pictures()).values  # dropout of 0.5 would show
    assert encoder.training and not encoder.model.training and holder.training
    assert torch.equal(before, after)
    after.sum().backward()
    assert encoder.project.weight.grad is not None
    assert all(p.grad is None for p in encoder.model.parameters())


def test_trainable_has_dropout_in_training_and_gradients(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, trainable=True)
    assert torch.equal(encoder(pictures()).values, encoder(pictures()).values)
    encoder.train()
    assert not torch.equal(encoder(pictures()).values, encoder(pictures()).values)
    encoder(pictures()).values.sum().backward()
    assert all(p.grad is not None for p in encoder.model.parameters())


@pytest.mark.parametrize("trainable", [False, True])
def test_batch_norm_keeps_its_statistics(mobilenet, trainable):
    encoder = PretrainedImageEncoder.from_pretrained(mobilenet, trainable=trainable)
    before = {name: b.clone() for name, b in encoder.named_buffers()}
    expected = encoder(pictures(4)).values
    assert torch.equal(encoder.train()(pictures(4)).values, expected)
    assert all(torch.equal(b, before[name]) for name, b in encoder.named_buffers())


def test_unfreezing_by_hand_is_noticed_and_saved(vit, tmp_path):
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    encoder.model.layers[-1].requires_grad_(True)
    assert not encoder.frozen and encoder.train().model.training
    assert encoder.to_config()["trainable"] is True
    encoder(pictures()).values.sum().backward()
    first, last = encoder.model.layers[0], encoder.model.layers[-1]
    assert all(p.grad is None for p in first.parameters())
    assert all(p.grad is not None for p in last.parameters())


def test_gradients_reach_the_picture_through_a_frozen_model(vit):
    image = pictures().requires_grad_()
    PretrainedImageEncoder.from_pretrained(vit)(image).values.pow(2).sum().backward()
    assert image.grad.abs().sum() > 0


# ------------------------------------------------------------------ saved and copied


@pytest.mark.parametrize("kind", ["vit", "mobilenet", "bert"])
def test_everything_comes_back_without_the_checkpoint(kind, request, tmp_path):
    folder = request.getfixturevalue(kind)
    cls = PretrainedTextEncoder if kind == "bert" else PretrainedImageEncoder
    encoder = cls.from_pretrained(folder, width=6)
    given = torch.tensor([[1, 2, 3]]) if kind == "bert" else pictures()
    expected = encoder(given).values
    encoder.save_pretrained(tmp_path / "ours")
    for file in folder.iterdir():
        file.unlink()
    json.dumps(encoder.to_config())
    for again in (
        cls.from_pretrained(tmp_path / "ours"),
        Configured.from_pretrained(tmp_path / "ours"),
        copy.deepcopy(encoder),
    ):
        assert torch.equal(again(given).values, expected) and again.frozen
        assert again.to_config() == encoder.to_config()
    other = cls.from_config({k: v for k, v in encoder.to_config().items()}).eval()
    assert not torch.equal(other(given).values, expected)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(given).values, expected)


def test_a_composed_model_is_saved_with_its_encoders(vit, bert, tmp_path):
    encoders = {
        "image": PretrainedImageEncoder.from_pretrained(vit, width=8),
        "text": PretrainedTextEncoder.from_pretrained(bert, width=8, trainable=True),
    }
    fusion = Concatenation({"image": 8, "text": 8}, 8)
    model = MultimodalModel(encoders, fusion, ClassificationHead(8, 3)).eval()
    model.save_pretrained(tmp_path / "whole")
    again = MultimodalModel.from_pretrained(tmp_path / "whole")
    batch = {"image": pictures(), "text": torch.tensor([[1, 2], [3, 4]])}
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert again.encoders["image"].frozen and not again.encoders["text"].frozen
    again.train()(**batch, labels=torch.tensor([0, 1])).loss.backward()
    assert all(p.grad is not None for p in again.parameters() if p.requires_grad)


def test_a_saved_encoder_must_fit_what_is_asked(vit, tmp_path):
    PretrainedImageEncoder.from_pretrained(vit, width=6).save_pretrained(tmp_path / "s")
    with pytest.raises(ValueError, match="has width 6; asked for 7"):
        PretrainedImageEncoder.from_pretrained(tmp_path / "s", width=7)
    again = PretrainedImageEncoder.from_pretrained(tmp_path / "s", 6, trainable=True)
    assert not again.frozen
    with pytest.raises(
        ValueError, match="PretrainedImageEncoder, not a PretrainedText"
    ):
        PretrainedTextEncoder.from_pretrained(tmp_path / "s")


# ------------------------------------------------------------------ kept features


def test_kept_features_stand_for_the_pictures(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, width=4).train()
    image = pictures(7)
    kept = keep_features(encoder, iter(image), batch_size=3)
    assert kept.shape == (7, 16, 16) and not kept.requires_grad and encoder.training
    assert torch.allclose(encoder(kept).values, encoder(image).values, atol=1e-6)
    levels = keep_features(encoder, (image * 255).round().byte())
    assert torch.allclose(levels, kept, atol=0.1) and not torch.equal(levels, kept)


def test_kept_features_in_half_precision(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, width=4)
    kept = keep_features(encoder, pictures(3), dtype=torch.float16)
    assert kept.dtype == torch.float16
    values = encoder(kept).values
    assert values.dtype == torch.float32
    assert torch.allclose(values, encoder(pictures(3)).values, atol=1e-2)


class Counting(PretrainedImageEncoder):
    """Counts the batches that it computes."""

    batches = 0

    def features(self, image):
        self.batches += 1
        return super().features(image)


def test_a_file_keeps_the_features_of_these_weights_and_pictures(vit, tmp_path):
    file = tmp_path / "deep" / "features.safetensors"
    encoder = Counting.from_pretrained(vit)
    first = keep_features(encoder, pictures(2), file=file)
    assert torch.equal(keep_features(encoder, pictures(2), file=file), first)
    assert encoder.batches == 1 and [f.name for f in file.parent.iterdir()] == [
        file.name
    ]
    other = keep_features(encoder, pictures(2, seed=9), file=file)
    assert encoder.batches == 2 and not torch.equal(other, first)
    keep_features(encoder, pictures(2, seed=9), file=file, dtype=torch.float16)
    assert encoder.batches == 3
    with torch.no_grad():
        encoder.model.layernorm.weight[:2] = encoder.model.layernorm.weight[:2].flip(0)
    keep_features(encoder, pictures(2, seed=9), file=file, dtype=torch.float16)
    assert encoder.batches == 4
    encoder.project = torch.nn.Linear(16, 3)  # behind what is kept
    keep_features(encoder, pictures(2, seed=9), file=file, dtype=torch.float16)
    assert encoder.batches == 4


def test_a_damaged_file_of_features_is_made_again(vit, tmp_path):
    file = tmp_path / "features.safetensors"
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    first = keep_features(encoder, pictures(), file=file)
    file.write_bytes(file.read_bytes()[:-9])
    assert torch.equal(keep_features(encoder, pictures(), file=file), first)
    assert torch.equal(load_file(file)["features"], first)


def test_photographs_tell_themselves_apart(vit, tmp_path):
    for name, level in ("a.png", 10), ("b.png", 200):
        Image.new("RGB", (40, 32), (level, 0, 0)).save(tmp_path / name)
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    both = Photographs(files, [["a"], ["b"]], size=32)
    encoder, file = Counting.from_pretrained(vit), tmp_path / "features"
    kept = keep_features(encoder, both, file=file)
    keep_features(encoder, both, file=file)
    assert kept.shape[0] == 2 and encoder.batches == 1
    keep_features(encoder, Photographs(files[::-1], [["b"], ["a"]], 32), file=file)
    assert encoder.batches == 2
    Image.new("RGB", (40, 32), (0, 77, 0)).save(files[0])
    keep_features(encoder, Photographs(files[::-1], [["b"], ["a"]], 32), file=file)
    assert encoder.batches == 3


def test_pictures_without_a_name_need_a_key(vit, tmp_path):
    encoder = PretrainedImageEncoder.from_pretrained(vit)
    with pytest.raises(ValueError, match="give key="):
        keep_features(encoder, iter(pictures()), file=tmp_path / "f")
    first = keep_features(encoder, iter(pictures()), file=tmp_path / "f", key="mine")
    again = keep_features(encoder, iter(()), file=tmp_path / "f", key="mine")
    assert torch.equal(first, again)
    with pytest.raises(ValueError, match="no pictures"):
        keep_features(encoder, [])


# ------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    "image, message",
    [
        (torch.rand(2, 32, 32, 3), "move the channels first"),
        (torch.rand(2, 1, 32, 32), r"\(B, 3, H, W\)"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "divide by 255"),
        (
            torch.rand(3, 32, 32),
            r"kept features must be \(B, N, 16\); got \(3, 32, 32\)",
        ),
    ],
)
def test_pictures_that_do_not_fit(vit, image, message):
    with pytest.raises(ValueError, match=message):
        PretrainedImageEncoder.from_pretrained(vit)(image)


def test_kept_features_cannot_train_the_model(vit):
    encoder = PretrainedImageEncoder.from_pretrained(vit, trainable=True).train()
    with pytest.raises(ValueError, match="to be trained: freeze it"):
        encoder(torch.rand(2, 16, 16))


def test_ids_that_do_not_fit(bert):
    encoder = PretrainedTextEncoder.from_pretrained(bert)
    with pytest.raises(ValueError, match="12 tokens here; got 13"):
        encoder(torch.ones(1, 13, dtype=torch.long))
    with pytest.raises(ValueError, match="kept features"):
        encoder(torch.rand(2, 3))


def test_folders_that_are_no_checkpoint(vit, tmp_path):
    load = PretrainedImageEncoder.from_pretrained
    with pytest.raises(FileNotFoundError, match="no folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no config.json"):
        load(tmp_path / "empty")
    (vit / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no preprocessor_config.*give size="):
        load(vit)
    assert load(vit, size=32, mean=[0.5] * 3, std=[0.5] * 3).size == 32


def test_damaged_and_missing_weights(vit):
    load, file = PretrainedImageEncoder.from_pretrained, vit / "model.safetensors"
    weights = load_file(file)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged"):
        load(vit)
    lost = next(name for name in weights if "layers.1" in name or "layer.1" in name)
    less = {name: value for name, value in weights.items() if name != lost}
    save_file(less, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of a ViTModel"):
        load(vit)
    file.unlink()
    torch.save(weights, vit / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no safetensors weights"):
        load(vit)


def test_a_checkpoint_may_lack_the_pooler_or_have_a_classifier(vit, mobilenet, capfd):
    file = vit / "model.safetensors"
    weights = {k: v for k, v in load_file(file).items() if "pooler" not in k}
    save_file(weights, file, metadata={"format": "pt"})
    PretrainedImageEncoder.from_pretrained(vit)
    PretrainedImageEncoder.from_pretrained(mobilenet)
    said = capfd.readouterr()
    assert "LOAD REPORT" not in said.err + said.out and "Loading" not in said.err


# ------------------------------------------------------------------ speech

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
WAVES = {
    **SMALL,
    "intermediate_size": 24,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
WHISPER = WhisperConfig(
    vocab_size=20,
    d_model=16,
    encoder_layers=2,
    encoder_attention_heads=2,
    encoder_ffn_dim=24,
    decoder_layers=1,
    decoder_attention_heads=2,
    decoder_ffn_dim=8,
    max_source_positions=50,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
)
SPEECH = {
    "whisper": lambda: WhisperForConditionalGeneration(WHISPER),
    "wav2vec2": lambda: Wav2Vec2Model(Wav2Vec2Config(**WAVES)),
    "wav2vec2 stable": lambda: Wav2Vec2Model(Wav2Vec2Config(**WAVES, **STABLE)),
    "hubert": lambda: HubertModel(HubertConfig(**WAVES)),
}


@pytest.fixture
def speech(tmp_path):
    """Makes a saved checkpoint of a kind, with its feature extractor."""

    def make(kind):
        torch.manual_seed(0)
        folder = saved(SPEECH[kind](), tmp_path / "speech")
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
        if kind == "whisper":
            extractor = WhisperFeatureExtractor(chunk_length=1)
        extractor.save_pretrained(folder)
        return folder

    return make


def sounds(lengths=(1_600, 900)):
    generator = torch.Generator().manual_seed(2)
    waves = torch.rand(len(lengths), max(lengths), generator=generator) - 0.4
    return waves, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("kind", SPEECH)
def test_speech_models_give_what_transformers_gives(kind, speech):
    folder = speech(kind)
    peer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    waves, mask = sounds()
    encoder = PretrainedAudioEncoder.from_pretrained(folder)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    tokens = encoder(waves, mask)
    for row, length in enumerate((1_600, 900)):  # each alone, without padding
        given = extractor(
            waves[row, :length].numpy(), sampling_rate=16_000, return_tensors="pt"
        )
        part = peer.encoder if kind == "whisper" else peer
        expected = part(*given.values()).last_hidden_state[0]
        real = tokens.values[row, tokens.mask[row]]
        assert torch.allclose(real, expected[: len(real)], atol=1e-4)
        if kind == "whisper":
            assert len(real) == length // 320 + (length % 320 >= 160)  # of 20 ms
        else:
            assert len(real) == len(expected)
    assert encoder.width == 16 and tokens.values.shape[1] == tokens.mask.shape[1]


@pytest.mark.parametrize("kind", SPEECH)
def test_speech_models_do_not_hear_padding(kind, speech):
    encoder = PretrainedAudioEncoder.from_pretrained(speech(kind), width=5)
    waves, mask = sounds()
    tokens = encoder(waves, mask)
    longer = torch.nn.functional.pad(waves.masked_fill(~mask, 3.0), (0, 640), value=-2)
    again = encoder(longer, torch.nn.functional.pad(mask, (0, 640)))
    assert again.mask.sum(1).tolist() == tokens.mask.sum(1).tolist()
    assert again.values.shape[1] == again.mask.shape[1] >= tokens.mask.shape[1]
    for first, second in ((tokens, again), (again, tokens)):
        real = first.values[first.mask]
        assert torch.allclose(real, second.values[second.mask], atol=1e-4)
    alone = encoder(waves[:1])
    assert torch.allclose(alone.values, tokens.values[:1], atol=1e-4)


def test_whisper_is_taken_without_its_decoder(speech, tmp_path):
    encoder = PretrainedAudioEncoder.from_pretrained(speech("whisper"), width=4)
    assert not any("decoder" in name for name, _ in encoder.named_parameters())
    assert encoder.frozen and (encoder.rate, encoder.normalise) == (16_000, False)
    with pytest.raises(ValueError, match=r"hears 16,000 samples; got 16,001"):
        encoder(torch.zeros(1, 16_001))
    file = tmp_path / "speech" / "model.safetensors"
    weights = load_file(file)
    weights.pop("model.encoder.layers.1.fc1.weight")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of a WhisperEncoder"):
        PretrainedAudioEncoder.from_pretrained(tmp_path / "speech")


@pytest.mark.parametrize("kind", SPEECH)
def test_speech_models_come_back_and_learn(kind, speech, tmp_path):
    encoder = PretrainedAudioEncoder.from_pretrained(speech(kind), 6, trainable=True)
    waves, mask = sounds()
    encoder.save_pretrained(tmp_path / "ours")
    again = PretrainedAudioEncoder.from_pretrained(tmp_path / "ours")
    assert (again.rate, again.normalise) == (16_000, kind != "whisper")
    expected = encoder(waves, mask)
    assert torch.equal(again(waves, mask).values, expected.values)
    expected.pooled().pow(2).sum().backward()
    learning = [p.grad is not None for p in encoder.model.parameters()]
    assert sum(learning) >= len(learning) - 1  # all but a vector for masked training


def test_kept_features_of_speech(speech):
    encoder = PretrainedAudioEncoder.from_pretrained(speech("hubert"), width=4)
    waves, mask = sounds()
    features, real = encoder.features(waves, mask)
    assert torch.equal(encoder(features, real).values, encoder(waves, mask).values)


def test_sounds_and_checkpoints_that_do_not_fit(speech, bert):
    folder = speech("wav2vec2")
    encoder = PretrainedAudioEncoder.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"needs 20 samples or more.*; got 19"):
        encoder(torch.zeros(1, 19))
    assert encoder(torch.zeros(1, 20)).values.shape == (1, 1, 16)
    with pytest.raises(ValueError, match=r"\(B, S\).*\(1600,\)"):
        encoder(torch.zeros(1_600))
    with pytest.raises(ValueError, match=r"whisper, wav2vec2, .* needed; got a 'bert'"):
        PretrainedAudioEncoder.from_pretrained(bert, rate=16_000, normalise=False)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"preprocessor_config.*give rate="):
        PretrainedAudioEncoder.from_pretrained(folder)


# ------------------------------------------------------------------ real checkpoints

MODELS, DATA = os.environ.get("MMBOOK_MODELS"), os.environ.get("MMBOOK_DATA")
needs_models = pytest.mark.skipif(
    not MODELS, reason="MMBOOK_MODELS does not name a folder of pre-trained models"
)
needs_data = pytest.mark.skipif(
    not DATA, reason="MMBOOK_DATA does not name a folder of data sets"
)


@needs_models
@needs_data
def test_real_mobilenet_on_photographs():
    """With the processor's own framing the features are those of transformers."""
    folder = Path(MODELS, "mobilenet_v2_1.0_224")
    photographs = captioned_photographs(Path(DATA, "flickr8k_1000"), "test")
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


@needs_models
def test_real_minilm_tells_paraphrases():
    folder = Path(MODELS, "all-MiniLM-L6-v2")
    encoder = PretrainedTextEncoder.from_pretrained(folder)
    texts = ["A man is eating food.", "A man eats something.", "The stock market fell."]
    tokenizer = PretrainedTextEncoder.tokenizer(folder)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        tokens = encoder(batch["input_ids"], batch["attention_mask"].bool())
        peer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        expected = peer(**batch).last_hidden_state
    assert torch.allclose(tokens.values, expected, atol=1e-5)
    a, b, c = torch.nn.functional.normalize(tokens.pooled(), dim=-1)
    assert a @ b > 0.6 > 0.2 > a @ c
