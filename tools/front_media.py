"""Make what the front page plays and shows: python tools/front_media.py

One scene as picture, clip and speech, and one photograph of ``mmbook.samples`` as it is.
The clip is a strip of frames, which the style of the page lets run: so it can be stopped.
"""

import shutil
import sys
import wave
from pathlib import Path

import torch
from front_parts import FRAMES, SCENE
from PIL import Image

from mmbook.samples import photographs
from mmbook.world import describe, describe_motion, render_video, speak

TARGET = Path(__file__).parent.parent / "_static/front"
PHOTOGRAPH = 28  # its credit and captions stand on the front page
SIDE, RATE = 180, 8_000


def sentences() -> dict[str, str]:
    """What the front page says of the scene, by language; and of its clip."""
    return {
        "en": describe(SCENE),
        "zh": describe(SCENE, language="zh"),
        "clip": describe_motion(SCENE),
    }


def strip() -> Image.Image:
    """All frames of the clip, side by side."""
    frames = render_video([SCENE], FRAMES, size=SIDE, noise=0)[0]  # (F, 3, H, W)
    pixels = (255 * torch.cat(list(frames), dim=2)).round().byte()  # (3, H, F · W)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def save_speech(path: Path) -> None:
    """The sentence, spoken by the package's voice."""
    sound = speak(describe(SCENE), rate=RATE, noise=0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((32767 * sound).short().numpy().tobytes())


def seen(count: int = 3) -> list[tuple[str, float]]:
    """The likeliest classes of the photograph to MobileNetV2, with their probability."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    from mmbook.saving import find_folder

    folder = find_folder("mmbook/mobilenet-v2", needs="config.json")
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32)
    processor = AutoImageProcessor.from_pretrained(folder)
    with Image.open(photographs().files[PHOTOGRAPH]) as photograph:
        inputs = processor(photograph.convert("RGB"), return_tensors="pt")
    with torch.no_grad():
        found = model.eval()(**inputs).logits.softmax(-1)[0].topk(count)
    names = [model.config.id2label[number] for number in found.indices.tolist()]
    return list(zip(names, found.values.tolist(), strict=True))


def main() -> int:
    """Write all, and say what belongs beside it."""
    TARGET.mkdir(parents=True, exist_ok=True)
    frames = strip()
    frames.quantize(64, dither=Image.Dither.NONE).save(
        TARGET / "clip.png", optimize=True
    )
    picture = frames.crop((0, 0, SIDE, SIDE))
    picture.quantize(64, dither=Image.Dither.NONE).save(
        TARGET / "scene.png", optimize=True
    )
    save_speech(TARGET / "speech.wav")
    shutil.copyfile(photographs().files[PHOTOGRAPH], TARGET / "photograph.jpg")
    for what, said in [*sentences().items(), *seen()]:
        print(what, said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
