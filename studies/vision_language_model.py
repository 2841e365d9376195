"""How well does a small real vision–language model describe photographs?

MobileNetV2 (frozen) → projector → SmolLM2-135M in the book's own GPT, trained on the 798
training photographs of flickr8k_1000, of which every eighth is kept for validation. Two
stages, as is usual. In the first the projector alone learns to point at words: each of
its four tokens is compared with the embeddings of the words that occur in the captions,
and at least one of them shall be near each word that people said. This is cheap, because
it does not run the language model. In the second stage the whole learns to write captions.

Compared: the language model stays as it is (``projector``), or its linear layers get a
change of low rank as well (``projector and LoRA``). All else is equal: photographs,
order, steps, number of tries (each try half as long as a training). What could reverse
the answer, and is tried: three times the steps. At the test each model also describes
photographs while it is shown the next one: what is left then, it knows without looking.
Captions are written greedily, and by beam search as well; its two settings were chosen on
validation photographs with one model (projector and LoRA, three times the steps, seed 2),
from length penalties of 1 and 0.7.
"""

from __future__ import annotations

import functools
import os
import random
from collections import Counter
from pathlib import Path

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer

from mmbook import samples
from mmbook.data import Collate, Photographs, captioned_photographs
from mmbook.encoders import PrecomputedTokens
from mmbook.finetuning import add_lora
from mmbook.fusion import Projector
from mmbook.fusion.projector import merge_tokens
from mmbook.generation import generate, to_text
from mmbook.metrics import bleu, cider, words
from mmbook.models import MultimodalModel
from mmbook.pretrained import PretrainedImageEncoder, keep_features
from mmbook.tokens import Tokens
from mmbook.training import TrainingConfig, fit
from mmbook.twins import gpt_from_llama

PROJECTOR, LORA = "projector", "projector and LoRA"
NEIGHBOUR, CONSTANT = "nearest photograph", "always the same caption"
STEPS, LONGER, WORD_STEPS = 240, 720, 250
BATCH, LENGTH, GRID = 16, 32, 2
USUAL = 16  # tokens: longer captions, one of six, are left out, which saves a fifth
SPREAD = 0.097  # of the embeddings of SmolLM2 around their mean: so shall the tokens be
BEAM_SEARCH = {"method": "beam", "beams": 3, "length_penalty": 0.7}  # by validation
OFTEN = 5  # photographs in whose captions a word occurs, at least, to be pointed at
FUNCTION_WORDS = set(
    "a an the in on of with and is are at to while it its his her their by from".split()
)


def folder(variable: str, name: str) -> Path:
    """A folder of data or models."""
    return Path(os.environ[variable], name)


@functools.cache
def tokenizer():
    """SmolLM2's."""
    return AutoTokenizer.from_pretrained(
        folder("MMBOOK_MODELS", "smollm2-135m-instruct")
    )


@functools.cache
def language_model() -> nn.Module:
    """SmolLM2-135M in the book's own layers; to be copied, not trained."""
    tokens = tokenizer()
    ids = {"start": tokens.bos_token_id, "end": tokens.eos_token_id}
    source = folder("MMBOOK_MODELS", "smollm2-135m-instruct")
    return gpt_from_llama(source, LENGTH, **ids, pad=tokens.pad_token_id)


def seen(photographs: Photographs, mirrored: bool = False) -> Photographs:
    """The photographs as MobileNetV2's last map, 49 tokens each."""
    source = folder("MMBOOK_MODELS", "mobilenet_v2_1.0_224")
    encoder = PretrainedImageEncoder.from_pretrained(source)
    pixels = [
        photographs.pixels(n).flip(-1) if mirrored else photographs.pixels(n)
        for n in range(len(photographs.files))
    ]
    features = keep_features(encoder, pixels, dtype=torch.float16)
    return photographs.with_features(features)


@functools.cache
def photographs(split: str, mirrored: bool = False) -> Photographs:
    """The photographs of a split, with features."""
    data = captioned_photographs(folder("MMBOOK_DATA", "flickr8k_1000"), split)
    return seen(data, mirrored)


@functools.cache
def parts() -> tuple[Photographs, Photographs, Photographs]:
    """To train on, the same mirrored, to validate."""
    plain, held = photographs("train").split(1 / 8)
    mirrored, _ = photographs("train", mirrored=True).split(1 / 8)
    return plain, mirrored, held


class Pairs(torch.utils.data.Dataset):
    """The captions of some length, each with its photograph and with the mirrored one."""

    def __init__(self, plain: Photographs, mirrored: Photographs):
        self.both = plain, mirrored
        lengths = [len(ids) for ids in tokenizer()(plain.captions)["input_ids"]]
        self.known = [n for n, length in enumerate(lengths) if length <= USUAL]

    def __len__(self) -> int:
        return 2 * len(self.known)

    def __getitem__(self, index: int) -> dict:
        item = self.both[index % 2][self.known[index // 2]]
        return item | {"image": item["image"].float()}


def new_model(arm: str, seed: int) -> MultimodalModel:
    """The model of an arm; what is not trained is frozen."""
    torch.manual_seed(seed)
    head = language_model()
    head = type(head)(**head._arguments)
    head.load_state_dict(language_model().state_dict())
    head.requires_grad_(False)
    if arm == LORA:
        everywhere = ("query", "key", "value", "out", "gate", "up", "down")
        add_lora(head, rank=8, where=everywhere, keep=())
    fusion = Projector({"image": 1280}, head.width, SPREAD, {"image": GRID})
    with torch.no_grad():  # the embeddings have a mean, and the tokens start at it
        fusion.project["image"][-1].bias.copy_(head.word.weight.mean(0))
    for parameter in head.parameters():
        if not parameter.requires_grad:  # half the memory, and a little faster
            parameter.data = parameter.data.bfloat16()
    return MultimodalModel({"image": PrecomputedTokens(1280)}, fusion, head)


def point_at_words(model: MultimodalModel, data: Photographs, steps: int, seed: int):
    """The first stage: for each word of the captions one token at least is near it."""
    bags = [bag(group) for group in data.references]
    count = Counter(word for found in bags for word in found)
    known = sorted(word for word, n in count.items() if n >= OFTEN)
    truth = torch.tensor([[word in found for word in known] for found in bags]).float()
    embeddings = model.head.word.weight.detach().float()
    towards = F.normalize(embeddings[known] - embeddings.mean(0), dim=-1)
    level = nn.Parameter(torch.tensor(-3.0))
    scale = nn.Parameter(torch.tensor(5.0).log())
    *layers, _ = model.fusion.project["image"]  # the last norm keeps their size
    learned = [*nn.ModuleList(layers).parameters(), level, scale]
    optimizer = torch.optim.AdamW(learned, lr=1e-3, weight_decay=0.05)
    few = [
        merge_tokens(Tokens(x.float()), GRID).values for x in data.features.split(100)
    ]
    few, draw = torch.cat(few), random.Random(seed)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * min(
            1, (step + 1) / 30, 2 - 2 * step / steps
        )
        rows = draw.sample(range(len(bags)), 64)
        image = F.dropout(few[rows], 0.5)
        tokens = model.fusion({"image": Tokens(image)}).values
        scores = (scale.exp() * (tokens @ towards.T)).logsumexp(1) + level
        loss = F.binary_cross_entropy_with_logits(scores, truth[rows])
        optimizer.zero_grad()
        (loss * len(known)).backward()
        optimizer.step()


def bag(captions) -> set[int]:
    """The first token of each content word of the captions."""
    said = {word for text in captions for word in words(text)} - FUNCTION_WORDS
    return {tokenizer()(f" {word}")["input_ids"][0] for word in said if word.isalpha()}


def train(run: Run) -> Trained:
    """The two stages; the curve is CIDEr on the validation photographs."""
    plain, mirrored, held = parts()
    model = new_model(run.arm, run.seed)
    point_at_words(model, plain, 2 if run.quick else WORD_STEPS, run.seed)
    steps = run["steps"] // (2 if run.seed == SEARCH_SEED else 1)
    steps = 4 if run.quick else steps
    config = TrainingConfig(
        steps=steps,
        batch_size=BATCH,
        learning_rate=run["rate"],
        validate_every=max(1, steps // 4),
        patience=steps,  # never stops
        metric="cider",
        maximise=True,
        precision="bf16",
        progress=False,
        seed=run.seed,
    )
    few = held.split(0.1)[1] if run.quick else held
    history = fit(
        model,
        Pairs(plain, mirrored),
        config,
        Collate(tokenizer(), max_length=LENGTH),
        lambda now: {"cider": cider(described(now, few.features), few.references)},
    )
    curve = [(row["step"], row["cider"]) for row in history.validations]
    state = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    return Trained(curve, max(value for _, value in curve), state)


def described(model: MultimodalModel, features: Tensor, **how) -> list[str]:
    """One caption for each photograph, by default the likeliest word at each step."""
    said = []
    for some in features.float().split(25):
        with torch.autocast("cpu", torch.bfloat16):
            said += to_text(generate(model, {"image": some}, **how), tokenizer())
    return said


def test_data() -> dict:
    """The test photographs, and those of the book, which may be shown."""
    return {"test": photographs("test"), "book": seen(samples.photographs())}


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Scores on the test photographs, with wrong ones too, and captions of the book's."""
    exam, truth = data["test"], data["test"].references
    model = None
    if run.arm in (PROJECTOR, LORA):
        model = new_model(run.arm, run.seed)
        model.load_state_dict(state, strict=False)

    def say(features: Tensor, **how) -> list[str]:
        if model is not None:
            return described(model, features, **how)
        return nearest(features) if run.arm == NEIGHBOUR else constant(len(features))

    said, blind = say(exam.features), say(exam.features.roll(1, 0))
    found = {
        "cider": cider(said, truth),
        "bleu": bleu(said, truth),
        "cider, wrong photographs": cider(blind, truth),
        "said": say(data["book"].features),
    }
    searched = say(exam.features, **BEAM_SEARCH)
    return found | {
        "cider, beam search": cider(searched, truth),
        "bleu, beam search": bleu(searched, truth),
        "said, beam search": say(data["book"].features, **BEAM_SEARCH),
    }


def nearest(features: Tensor) -> list[str]:
    """A caption of the most similar training photograph: the one closest to its others."""
    known = photographs("train")
    there, here = (
        F.normalize(f.float().mean(1), dim=-1) for f in (known.features, features)
    )
    return [middle(known.references[n]) for n in (here @ there.T).argmax(1).tolist()]


@functools.cache
def _usual() -> str:
    """The training caption that scores best as the caption of everything."""
    groups = photographs("train").references
    candidates = random.Random(0).sample([c for group in groups for c in group], 200)
    scores = [cider([text] * len(groups), groups) for text in candidates]
    return candidates[scores.index(max(scores))]


def constant(count: int) -> list[str]:
    """The same caption for each."""
    return [_usual()] * count


def middle(group) -> str:
    """The caption that has most in common with the others of its photograph."""
    bags = [set(words(text)) for text in group]
    shared = [sum(len(a & b) / len(a | b) for b in bags) for a in bags]
    return group[shared.index(max(shared))]


def train_or_not(run: Run) -> Trained:
    """The baselines have nothing to train."""
    if run.arm in (NEIGHBOUR, CONSTANT):
        return Trained([(0, 0.0)], 0.0, {})
    return train(run)


SEARCH_SEED = 99
DESIGN = Design(
    question="How well does a small vision–language model describe photographs?",
    tries={
        PROJECTOR: [{"rate": rate} for rate in (1e-3, 3e-3, 1e-2)],
        LORA: [{"rate": rate} for rate in (5e-4, 1e-3, 2e-3)],
        NEIGHBOUR: [{}],
        CONSTANT: [{}],
    },
    conditions=[
        Condition("photographs", {"steps": STEPS}),
        Condition(
            "three times the steps",
            {"steps": LONGER},
            (PROJECTOR, LORA),
            like="photographs",
            asks="three times the steps",
        ),
    ],
    train=train_or_not,
    test_data=test_data,
    test=test,
    metric="cider",
    search_seed=SEARCH_SEED,
    unit="",
    tolerance=0.02,
    untrained=(NEIGHBOUR, CONSTANT),
    needs=["MMBOOK_DATA", "MMBOOK_MODELS"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
