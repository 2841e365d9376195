"""Make the book's own pre-trained parts: ``python -m mmbook.pretrain --out FOLDER``.

Two parts are trained on scenes, for longer than a chapter has time for:

``scene-language-model``
    a decoder that has read sentences about scenes and has never seen a picture;
``scene-image-encoder``
    a convolutional encoder that learned to see by predicting alternative texts
    (替代文本), incomplete descriptions as the web has them, with a decoder that is then
    thrown away (Tschannen et al. 2023, https://arxiv.org/abs/2306.07915).

No held-out pair of colour and shape occurs in either. The full, canonical captions on
which chapter 5.2 fine-tunes occur in neither. Every run is seeded, writes checkpoints
and can be taken up where it was stopped. The results are installed with the package and
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
from .data.language import describe, scene_tokenizer
from .data.scenes import HELD_OUT, Scene, sample_scenes
from .encoders.image import ConvImageEncoder
from .fusion import Concatenation
from .heads import GenerationHead
from .models import LanguageModel, MultimodalModel
from .training import TrainingConfig, fit

WIDTH = 96
LANGUAGE_MODEL, IMAGE_ENCODER = "scene-language-model", "scene-image-encoder"


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
    """Train both parts and write them with their cards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the parts go")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints go here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    makers = {
        LANGUAGE_MODEL: pretrain_language_model,
        IMAGE_ENCODER: pretrain_image_encoder,
    }
    for name, make in makers.items():
        part, history = make(given.work / name, given.seed)
        last = history.validations[-1]
        card = {
            "steps": f"{last['step']:,} of 64 sentences",
            "seed": given.seed,
            "loss on unseen scenes": f"{last['loss']:.3f} nats a word",
        }
        write_part(part, name, given.out, card)
        print(json.dumps({"part": name, **last}))


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
}
_AGAIN = """Made by `python -m mmbook.pretrain --out FOLDER --work FOLDER`, which can be
stopped and started again. Licence: MIT, as the package; the training data are generated.
"""


if __name__ == "__main__":
    main()
