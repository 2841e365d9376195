"""Make the book's own pre-trained parts: ``python -m mmbook.weights --out FOLDER``."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch

from ..world.scenes import HELD_OUT
from .making import (
    AUDIO_ENCODER,
    CAPTIONER,
    IMAGE_ENCODER,
    LANGUAGE_MODEL,
    pretrain_audio_encoder,
    pretrain_image_encoder,
    pretrain_language_model,
    train_captioner,
)


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
        CAPTIONER: train_captioner,
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
    size = {AUDIO_ENCODER: 48, CAPTIONER: 32}.get(name, 64)
    card = {
        "steps": f"{last['step']:,} of {size} sentences",
        "seed": seed,
        "loss on unseen scenes": f"{last['loss']:.3f} nats a word",
    }
    if "wrong words" in last:
        card["wrong words, unseen scenes and voices"] = f"{last['wrong words']:.1%}"
    card |= {k: f"{v:.1%}" for k, v in last.items() if k.startswith("right")}
    return card


def _surroundings() -> dict[str, str]:
    return {
        "hardware": f"{torch.get_num_threads()} CPU thread ({platform.machine()})",
        "made with": f"Python {platform.python_version()}, torch "
        f"{torch.__version__.split('+')[0]}",
    }


_ABOUT = {
    LANGUAGE_MODEL: (
        "A small causal language model (语言模型) of mmbook. It has read 256,000 incomplete "
        "sentences, drawn from 400,000, about scenes of one or two coloured shapes, and "
        "has seen no picture. Never mentioned together: {held_out}. The vocabulary is that "
        "of `mmbook.world.scene_tokenizer()`."
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
    CAPTIONER: (
        "A small captioner (图像描述模型) of mmbook: it says what a picture of one or two "
        "coloured shapes shows, in one fixed way, with the vocabulary of "
        "`mmbook.world.scene_tokenizer()`. It learned from scratch, from 20,000 scenes of "
        "48 × 48 pixels with their full captions. Never shown: {held_out}. It knows coloured "
        "shapes on a light ground and nothing else: what it says of a photograph means "
        "nothing."
    ),
}
_AGAIN = """Made by `python -m mmbook.weights --out FOLDER --work FOLDER`, which can be
stopped and started again. Licence: MIT, as the package; the training data are generated.
"""


if __name__ == "__main__":
    main()
