"""Write the models of chapter 2.7 into the package, with their card.

    python studies/keep_pretext_models.py

takes the pre-trainings of seed 0 of ``pretraining.py``, with the rates that were chosen
there, and trains what is not finished. Each model is kept whole, encoder and head, in
half precision, all in one file: ``mmbook/weights/pretext-models/model.safetensors``.
"""

from __future__ import annotations

import torch
from fingerprint import ROOT
from pretraining import CAPTIONS, INFONCE, PATCHES, STEPS, VIEWS, WORDS, start
from safetensors.torch import save_file

FOLDER = ROOT / "mmbook" / "weights" / "pretext-models"
NAMES = (WORDS, PATCHES, VIEWS, INFONCE, CAPTIONS)
CARD = """# pretext-models

Five small models of mmbook that share one convolutional image encoder (图像编码器) for
pictures of 24 × 24 pixels and differ in what they were asked: masked words, masked
patches, two views of a picture, pictures with captions (InfoNCE), and captioning. Chapter
2.7 defines them and loads these weights; `studies/pretraining.py` trained them. They know
one coloured shape on a light ground and nothing else.

| | |
|---|---|
{rows}
| steps | {steps:,} of 64 pictures, drawn from 8,192 |
| seed | 0 |
| stored | in half precision |

Made by `python studies/keep_pretext_models.py`. Licence: MIT, as the package; the
training data are generated.
"""


def main() -> None:
    """Write the weights and the card."""
    kept, rows = {}, []
    for name in NAMES:
        state = start(name, 0, quick=False)
        floats = {k: v.half() for k, v in state.items() if v.is_floating_point()}
        kept |= {f"{name}.{k}": v.contiguous() for k, v in (state | floats).items()}
        rows.append(f"| {name} | {sum(v.numel() for v in floats.values()):,} values |")
    FOLDER.mkdir(parents=True, exist_ok=True)
    save_file(kept, FOLDER / "model.safetensors")
    card = CARD.format(rows="\n".join(rows), steps=STEPS)
    (FOLDER / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
