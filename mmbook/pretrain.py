"""Make the book's own pre-trained parts: ``python -m mmbook.pretrain --out FOLDER``.

Three parts are trained on scenes, for longer than a chapter has time for:

``scene-language-model``
    a decoder that has read sentences about scenes and has never seen a picture;
``scene-image-encoder``
    a convolutional encoder that learned to see by predicting alternative texts
    (替代文本), incomplete descriptions as the web has them, with a decoder that is then
    thrown away (Tschannen et al. 2023, https://arxiv.org/abs/2306.07915);
``scene-audio-encoder``
    an audio encoder that learned to hear by writing down what was said (CTC), in
    hundreds of voices; its output layer is thrown away.

No held-out pair of colour and shape occurs in any of them. The full, canonical captions
on which chapter 5.2 fine-tunes occur in neither of the first two; the third hears them,
beside incomplete ones and sentences about motion. Every run is seeded, writes
checkpoints and can be taken up where it was stopped. The results are installed with the package and
load as ``from_pretrained("mmbook/scene-image-encoder")``.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
from torch.utils.data import Dataset

from .data.batching import CaptionedScenes, Collate
from .data.language import describe, describe_motion, motion_words, scene_tokenizer
from .data.scenes import HELD_OUT, Scene, sample_moving_scenes, sample_scenes
from .data.speech import Voice, sample_voices, speak
from .encoders.audio import ConvAudioEncoder
from .encoders.image import ConvImageEncoder
from .fusion import Concatenation
from .heads import CTCHead, GenerationHead
from .metrics import word_error_rate
from .models import LanguageModel, MultimodalModel
from .training import TrainingConfig, fit

WIDTH = 96
LANGUAGE_MODEL, IMAGE_ENCODER = "scene-language-model", "scene-image-encoder"
AUDIO_ENCODER = "scene-audio-encoder"


class AltTexts(Dataset):
    """Pictures with several incomplete sentences each, or the sentences alone.

    Parameters
    ----------
    scenes : what is shown and spoken of.
    per_scene : sentences for each scene.
    pictures : False leaves the pictures out.
    """

    def __init__(self, scenes: list[Scene], per_scene: int = 4, pictures: bool = True):
        self.scenes, self.per_scene = scenes, per_scene
        self.images = CaptionedScenes(scenes).images if pictures else None

    def __len__(self) -> int:
        return len(self.scenes) * self.per_scene

    def __getitem__(self, index: int) -> dict:
        scene = index // self.per_scene
        item = {"caption": describe(self.scenes[scene], "partial", index)}
        return item if self.images is None else item | {"image": self.images[scene]}


class Dictations(Dataset):
    """Sentences about moving scenes, spoken once when it is made; what was said.

    In turn a full description, an incomplete one, and one of the motion. Items are
    ``{"audio": (S,) float, "caption": str}``.

    Parameters
    ----------
    scenes : what is spoken of; each is spoken of once.
    voices : who speaks, in turn.
    seed : of the incomplete sentences and of the sound.
    """

    def __init__(self, scenes: list[Scene], voices: list[Voice], seed: int = 0):
        self.captions = [
            self._sentence(number, scene, seed) for number, scene in enumerate(scenes)
        ]
        self.waves = [
            speak(caption, voices[number % len(voices)], seed=(seed, number)).half()
            for number, caption in enumerate(self.captions)
        ]

    @staticmethod
    def _sentence(number: int, scene: Scene, seed: int) -> str:
        if number % 3 == 2:
            return describe_motion(scene)
        return describe(scene, ("canonical", "partial")[number % 3], seed + number)

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> dict:
        return {"audio": self.waves[index].float(), "caption": self.captions[index]}


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


def _hearing_of(data: Dataset, tokenizer):
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
    return GenerationHead(
        len(tokenizer),
        width=WIDTH,
        layers=2,
        heads=4,
        max_length=32,
        start=tokenizer.bos_token_id,
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        context_width=context_width,
    )


def _loss_on(data: Dataset, tokenizer):
    batch = Collate(tokenizer)([data[index] for index in range(len(data))])
    return lambda model: {"loss": model(**batch).loss}


def write_part(part, name: str, folder: Path, card: dict) -> None:
    """Save a part with its model card: the data, the steps, the numbers, how to redo."""
    part.save_pretrained(folder / name)
    parameters = sum(p.numel() for p in part.parameters())
    rows = {"parameters": f"{parameters:,}", **card, **_surroundings()}
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    about = _ABOUT[name].format(
        held_out=", ".join(" ".join(p) for p in sorted(HELD_OUT))
    )
    text = f"# {name}\n\n{about}\n\n| | |\n|---|---|\n{table}\n\n{_AGAIN}"
    (folder / name / "README.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Train the parts and write them with their cards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the parts go")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints go here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="the name of one part; all, if not given")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    makers = {
        LANGUAGE_MODEL: pretrain_language_model,
        IMAGE_ENCODER: pretrain_image_encoder,
        AUDIO_ENCODER: pretrain_audio_encoder,
    }
    if given.only not in (None, *makers):
        parser.error(f"--only must be one of {', '.join(makers)}; got {given.only}")
    for name, make in makers.items():
        if given.only not in (None, name):
            continue
        part, history = make(given.work / name, given.seed)
        last = history.validations[-1]
        write_part(part, name, given.out, _card(last, name, given.seed))
        print(json.dumps({"part": name, **last}))


def _card(last: dict, name: str, seed: int) -> dict:
    """The rows of the model card that tell of the training."""
    card = {
        "steps": f"{last['step']:,} of {48 if name == AUDIO_ENCODER else 64} sentences",
        "seed": seed,
        "loss on unseen scenes": f"{last['loss']:.3f} nats a word",
    }
    if "wrong words" in last:
        card["wrong words, unseen scenes and voices"] = f"{last['wrong words']:.1%}"
    return card


def _surroundings() -> dict[str, str]:
    return {
        "hardware": f"{torch.get_num_threads()} CPU thread ({platform.machine()})",
        "made with": f"Python {platform.python_version()}, torch "
        f"{torch.__version__.split('+')[0]}",
    }


_ABOUT = {
    LANGUAGE_MODEL: (
        "A small causal language model (语言模型) of mmbook. It has read 400,000 incomplete "
        "sentences about scenes of one or two coloured shapes, and has seen no picture. "
        "Never mentioned together: {held_out}. The vocabulary is that of "
        "`mmbook.data.language.scene_tokenizer()`."
    ),
    IMAGE_ENCODER: (
        "A small convolutional image encoder (图像编码器) of mmbook for pictures of 48 × 48 "
        "pixels. It learned from 30,000 scenes with eight incomplete sentences each, by "
        "predicting the sentence with a decoder that was thrown away. Never shown: "
        "{held_out}. It knows coloured shapes on a light ground and nothing else."
    ),
    AUDIO_ENCODER: (
        "A small convolutional audio encoder (语音编码器) of mmbook for speech of 16,000 "
        "samples a second; a token stands for 80 ms. It learned from 3,600 synthetic "
        "sentences about scenes and how their things move, in 600 voices, by writing down "
        "what was said (CTC); the output layer was thrown away. Never said together: "
        "{held_out}. It knows the words of the scenes, said by the book's own synthesiser, "
        "and no real speech."
    ),
}
_AGAIN = """Made by `python -m mmbook.pretrain --out FOLDER --work FOLDER`, which can be
stopped and started again. Licence: MIT, as the package; the training data are generated.
"""


if __name__ == "__main__":
    main()
