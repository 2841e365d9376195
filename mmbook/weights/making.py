"""Make the book's own pre-trained parts: ``python -m mmbook.weights --out FOLDER``.

Four parts are trained on scenes, for longer than a chapter has time for:

``scene-language-model``
    a decoder that has read sentences about scenes and has never seen a picture;
``scene-image-encoder``
    a convolutional encoder that learned to see by predicting alternative texts
    (替代文本), incomplete descriptions as the web has them, with a decoder that is then
    thrown away (Tschannen et al. 2023, https://arxiv.org/abs/2306.07915);
``scene-audio-encoder``
    an audio encoder that learned to hear by writing down what was said (CTC), in
    hundreds of voices; its output layer is thrown away;
``scene-captioner``
    a whole captioner from scratch, the one that ``python -m mmbook.service`` serves.

No held-out pair of colour and shape occurs in any of them. The full, canonical captions
on which chapter 5.2 fine-tunes occur in neither of the first two; the third hears them,
beside incomplete ones and sentences about motion, and the last learns from them alone. Every run is seeded, writes
checkpoints and can be taken up where it was stopped. The results are installed with the package and
load as ``from_pretrained("mmbook/scene-image-encoder")``.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ..data.collate import Collate
from ..encoders.audio import ConvAudioEncoder
from ..encoders.image import ConvImageEncoder
from ..fusion import Concatenation
from ..generation import generate, to_text
from ..heads.ctc import CTCHead
from ..heads.generation import GenerationHead
from ..metrics import word_error_rate
from ..models import LanguageModel, MultimodalModel
from ..training.config import TrainingConfig
from ..training.loop import fit
from ..world.datasets import CaptionedScenes
from ..world.judging import attribute_accuracy
from ..world.language import motion_words, scene_tokenizer
from ..world.scenes import sample_moving_scenes, sample_scenes
from ..world.voices import sample_voices
from .texts import AltTexts, Dictations

WIDTH = 96
LANGUAGE_MODEL, IMAGE_ENCODER = "scene-language-model", "scene-image-encoder"
AUDIO_ENCODER, CAPTIONER = "scene-audio-encoder", "scene-captioner"


def pretrain_language_model(folder: Path, seed: int = 0, steps: int = 4000):
    """Read sentences; learn which word comes next. Returns the head and its history."""
    tokenizer = scene_tokenizer()
    torch.manual_seed(seed)
    model = LanguageModel(_decoder(tokenizer))
    data = AltTexts(
        sample_scenes(50_000, seed=1000 + seed), per_scene=8, pictures=False
    )
    config = TrainingConfig(
        steps=steps,
        batch_size=64,
        learning_rate=5e-4,
        weight_decay=1.0,  # keeps its inner vectors short, so that others can be heard
        folder=str(folder),
        save_every=1000,
        seed=seed,
    )
    held = AltTexts(sample_scenes(500, seed=2000), per_scene=1, pictures=False)
    history = fit(model, data, config, Collate(tokenizer), _loss_on(held, tokenizer))
    return model.head, history


def pretrain_image_encoder(folder: Path, seed: int = 0, steps: int = 5000):
    """See pictures; learn to say what the web says of them. Encoder and history."""
    tokenizer = scene_tokenizer()
    torch.manual_seed(seed)
    encoder = ConvImageEncoder(width=WIDTH)
    model = MultimodalModel(
        {"image": encoder},
        Concatenation({"image": WIDTH}, WIDTH),
        _decoder(tokenizer, context_width=WIDTH),
    )
    data = AltTexts(sample_scenes(30_000, seed=1000 + seed), per_scene=8)
    config = TrainingConfig(
        steps=steps,
        batch_size=64,
        learning_rate=2e-3,
        folder=str(folder),
        save_every=500,
        seed=seed,
    )
    held = AltTexts(sample_scenes(500, seed=2000), per_scene=1)
    history = fit(model, data, config, Collate(tokenizer), _loss_on(held, tokenizer))
    return encoder, history


def pretrain_audio_encoder(folder: Path, seed: int = 0, steps: int = 800):
    """Hear sentences; learn to write them down. Encoder and history."""
    tokenizer = scene_tokenizer(motion_words())
    torch.manual_seed(seed)
    encoder = ConvAudioEncoder(width=WIDTH, mels=40, strides=(2, 2, 2, 1))
    head = CTCHead(
        WIDTH, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id
    )
    model = MultimodalModel(
        {"audio": encoder}, Concatenation({"audio": WIDTH}, WIDTH), head
    )
    scenes = sample_moving_scenes(3_600, 1000 + seed, objects=(1, 2, 2))
    held = sample_moving_scenes(240, 2000, objects=(1, 2, 2))
    data = Dictations(scenes, sample_voices(600), seed)
    config = TrainingConfig(
        steps=steps,
        batch_size=48,
        learning_rate=3e-3,
        folder=str(folder),
        save_every=250,
        seed=seed,
    )
    unseen = Dictations(held, sample_voices(60, "validation"), 2000)
    collate = Collate(tokenizer)
    history = fit(model, data, config, collate, _hearing_of(unseen, tokenizer))
    return encoder, history


def train_captioner(folder: Path, seed: int = 0, steps: int = 1600):
    """See scenes; learn to say all of what they show. The captioner and its history."""
    tokenizer = scene_tokenizer()
    torch.manual_seed(seed)
    settings = {"layers": 1, "smoothing": 0.1, "context_width": WIDTH}
    head = GenerationHead.for_tokenizer(
        tokenizer, width=WIDTH, heads=4, max_length=32, **settings
    )
    joined = Concatenation({"image": WIDTH}, WIDTH)
    model = MultimodalModel({"image": ConvImageEncoder(width=WIDTH)}, joined, head)
    data = CaptionedScenes(sample_scenes(20_000, seed=1000 + seed))
    config = TrainingConfig(
        steps=steps,
        batch_size=32,
        learning_rate=1.4e-3,
        folder=str(folder),
        save_every=200,
        validate_every=steps,
        seed=seed,
    )
    held = {pairs: sample_scenes(1000, 2000, pairs=pairs) for pairs in _PAIRS}
    sets = {_PAIRS[pairs]: CaptionedScenes(held[pairs], seed=2000) for pairs in held}
    return model, fit(model, data, config, Collate(tokenizer), _right_on(sets))


_PAIRS = {"seen": "right on unseen scenes", "held-out": "right on pairs never shown"}


def _right_on(sets: dict[str, CaptionedScenes]):
    """The loss on the first set; of each, how many captions are true and complete."""
    tokenizer = scene_tokenizer()
    first = next(iter(sets.values()))
    batch = Collate(tokenizer)([first[index] for index in range(500)])

    def validate(model) -> dict[str, float]:
        shares = {"loss": float(model(**batch).loss)}
        for name, data in sets.items():
            said = to_text(generate(model, {"image": data.images / 255}), tokenizer)
            shares[name] = attribute_accuracy(said, data.scenes)["exact"]
        return shares

    return validate


def _hearing_of(data: Dictations, tokenizer):
    """Loss, and words that are wrong, missing or too many, as a share of those said."""
    batch = Collate(tokenizer)([data[index] for index in range(len(data))])

    def validate(model) -> dict[str, float]:
        heard = model.head.greedy(
            model.encode({name: batch[name] for name in ("audio", "audio_mask")})
        )
        wrong = word_error_rate(tokenizer.batch_decode(heard), data.captions)
        return {"loss": model(**batch).loss, "wrong words": wrong}

    return validate


def _decoder(tokenizer, context_width: int | None = None) -> GenerationHead:
    return GenerationHead.for_tokenizer(
        tokenizer,
        width=WIDTH,
        layers=2,
        heads=4,
        max_length=32,
        context_width=context_width,
    )


def _loss_on(data: AltTexts, tokenizer):
    batch = Collate(tokenizer)([data[index] for index in range(len(data))])
    return lambda model: {"loss": model(**batch).loss}
