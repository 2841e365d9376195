"""What does a picture add to a translation, and does the model follow it?

English sentences about one or two objects of a picture, whose names mean two things each
("bat", "crane"), are translated into German or Chinese. The sentence does not tell the
sense; the picture does, but it does not tell which object the sentence is about.

Compared: a decoder that reads the sentence and the picture, the sentence alone, the
picture alone. All else is equal: the 12,000 examples, their order, the steps, the number
of tries, a text encoder of one layer, the book's pre-trained image encoder. What could
reverse the answer, and is tried: three times the steps; another language.

At the test the model that reads both is also shown wrong pictures: those of other
sentences, and the same objects in their other senses. If it follows the picture, the
second makes it choose the other translation.
"""

from __future__ import annotations

from functools import cache

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor

from mmbook.data import Collate, stack_images
from mmbook.encoders import ConvImageEncoder, TextEncoder
from mmbook.fusion import fusion
from mmbook.generation import generate, to_text
from mmbook.heads import GenerationHead
from mmbook.metrics import bleu
from mmbook.models import MultimodalModel
from mmbook.training import TrainingConfig, fit
from mmbook.world import (
    AmbiguousPictures,
    ambiguous_words,
    render_utterances,
    sample_utterances,
    scene_tokenizer,
    sense_accuracy,
)

FOLDER = "mmbook/weights/scene-image-encoder"
BOTH, TEXT, PICTURE = "sentence and picture", "sentence", "picture"
READS = {BOTH: ("text", "image"), TEXT: ("text",), PICTURE: ("image",)}
SENTENCES, VALIDATED, TESTED, BATCH, POINTS = 12_000, 300, 500, 64, 8
STEPS, LONGER, LONGEST, WIDTH, SHOWN = 600, 1800, 24, 96, 8


@cache
def tokenizer():
    return scene_tokenizer(ambiguous_words(), language="all")


@cache
def sentences(count: int, seed: int, language: str) -> AmbiguousPictures:
    return AmbiguousPictures(sample_utterances(count, seed), language, seed=seed)


def new_model(arm: str, seed: int) -> MultimodalModel:
    """The encoders that an arm has, and a new decoder."""
    torch.manual_seed(seed)
    encoders = {
        "text": TextEncoder(len(tokenizer()), width=WIDTH, layers=1),
        "image": ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder"),
    }
    chosen = {name: encoders[name] for name in READS[arm]}
    widths = {name: encoder.width for name, encoder in chosen.items()}
    joined = fusion("concatenation", widths=widths, width=WIDTH)
    head = GenerationHead.for_tokenizer(
        tokenizer(), width=WIDTH, max_length=LONGEST, context_width=WIDTH
    )
    return MultimodalModel(chosen, joined, head)


def translated(model, texts: list[str], images: Tensor) -> list[str]:
    """Translations of sentences beside pictures (B, 3, H, W) uint8."""
    said, pad = [], tokenizer().pad_token_id
    for start in range(0, len(texts), 250):
        some = slice(start, start + 250)
        read = tokenizer()(texts[some], padding=True, return_tensors="pt")["input_ids"]
        batch = {
            "text": read,
            "text_mask": read != pad,
            "image": stack_images(list(images[some])),
        }
        known = {k: v for k, v in batch.items() if k.split("_")[0] in model.encoders}
        said += to_text(generate(model, known), tokenizer())
    return said


def scores(said: list[str], data: AmbiguousPictures) -> dict[str, float]:
    """Exact sentences, right senses, BLEU; in per cent."""
    truth = [caption.replace(" ", "") for caption in data.captions]
    exact = sum(a.replace(" ", "") == b for a, b in zip(said, truth, strict=True))
    letters = data.language == "zh"
    spelled = [" ".join(t.replace(" ", "")) if letters else t for t in said]
    references = [" ".join(t) if letters else t for t in truth]
    references = references if letters else data.captions
    return {
        "exact": 100 * exact / len(said),
        "senses": 100 * sense_accuracy(said, data.utterances, data.language),
        "bleu": bleu(spelled, [[text] for text in references]),
    }


def train(run: Run) -> Trained:
    """The curve is the share of validation sentences that are exact."""
    language, steps = run["language"], 8 if run.quick else run["steps"]
    data = sentences(300 if run.quick else SENTENCES, 10 * run.seed + 1, language)
    held = sentences(60 if run.quick else VALIDATED, 10 * run.seed + 2, language)
    model = new_model(run.arm, run.seed)
    config = TrainingConfig(
        steps=steps,
        batch_size=BATCH,
        learning_rate=run["rate"],
        validate_every=max(1, steps // POINTS),
        patience=steps,  # never stops
        metric="exact",
        maximise=True,
        progress=False,
        seed=run.seed,
    )
    items = data if run.arm == BOTH else Without(data, READS[run.arm])
    history = fit(
        model,
        items,
        config,
        Collate(tokenizer(), max_length=LONGEST),
        lambda now: scores(translated(now, held.texts, held.images), held),
    )
    curve = [(row["step"], row["exact"]) for row in history.validations]
    return Trained(curve, max(value for _, value in curve), model.state_dict())


class Without(torch.utils.data.Dataset):
    """Items without what an arm does not read."""

    def __init__(self, data, modalities):
        self.data, self.known = data, {*modalities, "caption", "index"}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict:
        return {k: v for k, v in self.data[index].items() if k in self.known}


def test_data() -> dict[str, AmbiguousPictures]:
    return {language: sentences(TESTED, 7, language) for language in ("de", "zh")}


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """With right pictures, with those of others, with the other senses."""
    model, exam = new_model(run.arm, run.seed), data[run["language"]]
    model.load_state_dict(state)
    said = translated(model, exam.texts, exam.images)
    found = scores(said, exam) | {"said": said[:SHOWN]}
    if run.arm != BOTH:
        return found
    turned = [utterance.other_sense() for utterance in exam.utterances]
    other = (render_utterances(turned, seed=7) * 255).round().byte()
    told = translated(model, exam.texts, other)
    strange = translated(model, exam.texts, exam.images.roll(1, 0))
    return found | {
        "senses, pictures of others": scores(strange, exam)["senses"],
        "exact, pictures of others": scores(strange, exam)["exact"],
        "senses, other senses shown": scores(told, exam)["senses"],
        "followed, other senses shown": 100
        * sense_accuracy(told, turned, exam.language),
        "said, other senses shown": told[:SHOWN],
    }


RATES = [{"rate": 2e-3}, {"rate": 4e-3}]
DESIGN = Design(
    question="What does a picture add to a translation?",
    tries={arm: RATES for arm in READS},
    conditions=[
        Condition("German", {"language": "de", "steps": STEPS}),
        Condition(
            "German, three times the steps",
            {"language": "de", "steps": LONGER},
            (BOTH, TEXT),
            like="German",
            asks="three times the steps",
        ),
        Condition("Chinese", {"language": "zh", "steps": STEPS}, (BOTH, TEXT)),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="exact",
    rests_on=[f"{FOLDER}/model.safetensors", f"{FOLDER}/config.json"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
