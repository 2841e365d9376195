"""easy-VQA with real encoders: the same fit, two frozen models, cross-attention between.

MobileNetV2 looks at the pictures and MiniLM reads the questions (both pre-trained and
frozen, so what they say is computed once and kept). The question's tokens look for their
answer in the picture's by cross-attention; the head names one of 13 answers. Trained on
the official training split, tested once on the official test split (9,673 questions).

Needs the data (https://github.com/vzhou842/easy-VQA) and the two models on disk:

    MMBOOK_DATA=… MMBOOK_MODELS=… python benchmarks/easy_vqa.py [--steps 3000]

with ``easyvqa`` in the first folder, ``mobilenet_v2_1.0_224`` and ``all-MiniLM-L6-v2`` in
the second. ``--keep FOLDER`` keeps the picture features for the next run.

Bound: at least 98 % right.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from common import Bound, report, table
from torch import Tensor
from torch.utils.data import Dataset

from mmbook.data import EasyVQA, easy_vqa
from mmbook.fusion import CrossAttention
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel
from mmbook.pretrained import (
    PretrainedImageEncoder,
    PretrainedTextEncoder,
    keep_features,
)
from mmbook.training import TrainingConfig, fit

IMAGE_MODEL, TEXT_MODEL = "mobilenet_v2_1.0_224", "all-MiniLM-L6-v2"
PUBLISHED = 93.78  # per cent; README of easy-VQA-keras, 8 epochs


class Answered(Dataset):
    """Questions with the kept features of the picture and of the question.

    Parameters
    ----------
    data : easy-VQA with kept features of its pictures.
    known : of each question its features (L, C) and its mask (L,).
    """

    def __init__(self, data: EasyVQA, known: dict[str, tuple[Tensor, Tensor]]):
        self.data, self.known = data, known

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict:
        item = self.data[index]
        text, mask = self.known[item["text"]]
        label = torch.tensor(item["label"])
        return {
            "image": item["image"],
            "text": text,
            "text_mask": mask,
            "labels": label,
        }


def collate(items: Sequence[dict]) -> dict[str, Tensor]:
    """Everything is a tensor already, and all questions are padded to one length."""
    batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    return batch | {"image": batch["image"].float()}


@torch.no_grad()
def read_questions(encoder: PretrainedTextEncoder, tokenizer, texts: Sequence[str]):
    """What the frozen text encoder says of each different question."""
    texts = sorted(set(texts))
    given = tokenizer(texts, padding=True, return_tensors="pt")
    ids, mask = given["input_ids"], given["attention_mask"].bool()
    features = encoder(ids, mask).values
    return {text: pair for text, *pair in zip(texts, features, mask, strict=True)}


def model_for(
    image: PretrainedImageEncoder, text: PretrainedTextEncoder, answers: int, width: int
) -> MultimodalModel:
    """The question asks, the picture answers."""
    torch.manual_seed(0)
    widths = {"text": text.width, "image": image.width}
    fusion = CrossAttention(widths, width, layers=2)
    head = ClassificationHead(width, answers, hidden=2 * width)
    return MultimodalModel({"image": image, "text": text}, fusion, head)


def question_prior(train: EasyVQA, test: EasyVQA) -> float:
    """Share right of who never looks: each question's most frequent training answer."""
    seen: dict[str, Counter] = defaultdict(Counter)
    for question, label in zip(train.questions, train.labels, strict=True):
        seen[question][label] += 1
    best = {question: counts.most_common(1)[0][0] for question, counts in seen.items()}
    pairs = zip(test.questions, test.labels, strict=True)
    return sum(best.get(question) == label for question, label in pairs) / len(test)


@torch.inference_mode()
def right(model: MultimodalModel, data: Answered) -> Tensor:
    """Of each question, whether the answer is right."""
    device, rows = next(model.parameters()).device, []
    for first in range(0, len(data), 500):
        items = [data[i] for i in range(first, min(first + 500, len(data)))]
        batch = {name: value.to(device) for name, value in collate(items).items()}
        labels = batch.pop("labels")
        rows.append((model(**batch).logits.argmax(-1) == labels).cpu())
    return torch.cat(rows)


def by_kind(data: EasyVQA, correct: Tensor) -> dict[str, float]:
    """Share right of each kind of question, told by its answer."""
    shapes = {"circle", "rectangle", "triangle"}
    kinds = defaultdict(list)
    for label, good in zip(data.labels, correct.tolist(), strict=True):
        answer = data.answers[label]
        kind = "a shape" if answer in shapes else "a colour"
        kinds["yes or no" if answer in ("yes", "no") else kind].append(good)
    return {kind: sum(all_of) / len(all_of) for kind, all_of in sorted(kinds.items())}


def folders() -> tuple[Path, Path]:
    """Where the data and the models are; ends with a clear word if nobody said so."""
    names = ("MMBOOK_DATA", "MMBOOK_MODELS")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        sys.exit(f"set {' and '.join(missing)}: see the head of this file")
    data, models = (Path(os.environ[name]) for name in names)
    return data / "easyvqa", models


def settings() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the picture features")
    return parser.parse_args()


def features_of(image, pictures, file: Path | None) -> Tensor:
    """The features of pictures, or those that an earlier run has kept in this file."""
    if file and file.is_file():
        return torch.load(file)
    features = keep_features(image, pictures, dtype=torch.float16)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(features, file)
    return features


def main() -> None:
    """Keep features, train, test, report."""
    given, (data, models) = settings(), folders()
    torch.set_num_threads(given.threads)
    image = PretrainedImageEncoder.from_pretrained(models / IMAGE_MODEL)
    text = PretrainedTextEncoder.from_pretrained(models / TEXT_MODEL)
    plain = {split: easy_vqa(data, split) for split in ("train", "test")}
    start = time.perf_counter()
    sets = {}
    known = read_questions(
        text,
        text.tokenizer(models / TEXT_MODEL),
        plain["train"].questions + plain["test"].questions,
    )
    for split, questions in plain.items():
        file = given.keep / f"{IMAGE_MODEL}-{split}.pt" if given.keep else None
        features = features_of(image, questions.images, file)
        sets[split] = Answered(questions.with_features(features), known)
    kept = time.perf_counter() - start
    model = model_for(image, text, len(plain["train"].answers), given.width)
    config = TrainingConfig(steps=given.steps, batch_size=64, learning_rate=5e-4)
    start = time.perf_counter()
    fit(model, sets["train"], config, collate)
    trained = time.perf_counter() - start
    correct = right(model, sets["test"])
    finish(given, plain, correct, kept, trained, model)


def finish(given, plain, correct, kept, trained, model) -> None:
    """The table and the bound."""
    accuracy = 100 * correct.float().mean().item()
    prior = 100 * question_prior(plain["train"], plain["test"])
    rows = [
        ["the question alone (its most frequent answer)", f"{prior:.2f}"],
        ["published by the data set's author", f"{PUBLISHED:.2f}"],
        ["mmbook", f"{accuracy:.2f}"],
    ]
    for kind, share in by_kind(plain["test"], correct).items():
        rows.append([f"· answers that are {kind}", f"{100 * share:.2f}"])
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    about = " ".join(__doc__.split("\n\n")[1].split())
    report(
        "easy_vqa",
        f"{about} {given.steps} steps of 64 questions, {trainable:,} trained parameters, "
        f"seed 0. Features took {kept:.0f} s"
        f"{' (kept from an earlier run)' if kept < 10 else ''}, training {trained:.0f} s "
        "on a machine that others used, too.",
        table(["", "right, %"], rows),
        [Bound("right answers, %", accuracy, 98.0, at_most=False)],
    )


if __name__ == "__main__":
    main()
