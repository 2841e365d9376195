"""How near do a decoder and an encoder come to the entropy of the book's sentences?

A decoder-only language model (next word) and an encoder (masked words), two layers of
width 64 each, learn from the sentences of the book's grammar. The grammar is known, so
the probability of each sentence is known, and with it the lowest loss that any model can
reach. What is measured is the distance to it: the *excess* loss in nats a word.

Two corpora about the same 60,000 scenes are compared: one sentence about each scene, or
two different sentences about it. In single sentences the four words of size are
exchangeable, so nothing in them says that "big" and "large" belong together; the second
sentence about the same scene does. The study measures how far synonyms separate from
opposites in the word vectors, and whether labels reach words that no label spoke of:
a linear probe on the mean token learns sizes from "big" and "small" and is tested on
"large" and "little".

What is equal: the scenes, the number of steps and of documents in a batch, the size of
the models, the search over four rates. The masked words are hidden behind [mask] alone:
were some replaced, as in BERT, the floor would not be zero. What could reverse the answer,
and is tried: two and a half times
the steps.
"""

from __future__ import annotations

import math
import random
from functools import cache

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.data import mask_words
from mmbook.encoders import TextEncoder
from mmbook.heads import GPT, MaskedWordHead
from mmbook.tokens import IGNORED
from mmbook.training import linear_probe
from mmbook.world import (
    COLOURS,
    OPPOSITE,
    SHAPES,
    describe,
    parse,
    sample_scenes,
    scene_tokenizer,
)

SINGLE, PAIRS = "single sentences", "pairs of sentences"
MASKED, NEXT = "masked words", "next word"
WIDTH, LAYERS, BATCH, SHARE = 64, 2, 64, 0.3
SCENES, CHECKED, TESTED, VALIDATIONS = 60_000, 200, 1000, 8
TOKENIZER = scene_tokenizer(["."], mask=True)
V, MASK = len(TOKENIZER), TOKENIZER.mask_token_id
OPENINGS = ("there is", "the picture", "one can")
KINDS = {  # kind: its words, how many are possible without and with a second sentence
    "colour": (list(COLOURS), 8, 1),
    "shape": (list(SHAPES), 6, 1),
    "size": (["big", "large", "small", "little"], 4, 2),
    "left or right": (["left", "right"], 2, 1),
    "above or below": (["above", "over", "below", "under"], 4, 2),
}
SYNONYMS = {
    "size": (("big", "large"), ("small", "little")),
    "height": (("above", "over"), ("below", "under")),
}


# ----------------------------------------------------------------------- the sentences


@cache
def documents(arm: str, count: int, seed: int) -> list[str]:
    """One sentence about each scene, or two."""
    scenes = sample_scenes(count, f"sentences {seed}", pairs="all")
    each = range(2 if arm == PAIRS else 1)
    return [
        " . ".join(describe(scene, "varied", f"{seed} {i} {k}") for k in each)
        for i, scene in enumerate(scenes)
    ]


def log_probability(document: str) -> float:
    """ln p of a document, from the rules of the grammar."""
    first, *second = document.split(" . ")
    two = sum(word in SHAPES for word in first.split()) == 2
    looks = 1 / (48 * 47) if two else 1 / 48
    found = math.log(1 / 2 * looks) + _form(first, two, sizes=4, relations=8)
    for text in second:  # the scene is known now
        found += _form(text, two, sizes=2, relations=2) - math.log(2 if two else 1)
    return found


def _form(text: str, two: bool, sizes: int, relations: int) -> float:
    """ln p of the form of a sentence and of its words for sizes and the relation."""
    if not two:
        return -math.log(4 * sizes)
    opened = text.startswith(OPENINGS)
    return -math.log(4 * (3 if opened else 1) * sizes**2 * relations)


@cache
def rows(arm: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Documents as ids (n, L + 1), one place for the end, and their lengths (n,)."""
    texts = documents(arm, count, seed)
    found = TOKENIZER(texts, add_special_tokens=False)["input_ids"]
    lengths = torch.tensor([len(row) for row in found])
    ids = torch.zeros(len(found), int(lengths.max()) + 1, dtype=torch.long)
    for row, words in zip(ids, found, strict=True):
        row[: len(words)] = torch.tensor(words)
    return ids, lengths


def batches(arm: str, seed: int):
    """Batches of documents of about one length, without an end."""
    ids, lengths = rows(arm, SCENES, 1)
    dice = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(ids), generator=dice)
        for some in order.split(16 * BATCH):
            parts = some[lengths[some].argsort()].split(BATCH)
            for at in torch.randperm(len(parts), generator=dice).tolist():
                part = parts[at]
                yield ids[part, : int(lengths[part].max()) + 1], lengths[part]


# -------------------------------------------------------------------------- the models


class Masked(nn.Module):
    """The encoder and the head that names masked words."""

    def __init__(self):
        super().__init__()
        self.encoder = TextEncoder(V, WIDTH, layers=LAYERS)
        self.head = MaskedWordHead(WIDTH, V)

    @property
    def table(self) -> Tensor:
        """The vectors of the words, (V, D)."""
        return self.encoder.embedding.word.weight

    def loss(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Of words hidden at random."""
        real = ids != 0
        read, labels = mask_words(ids, real, TOKENIZER, SHARE, keep=0, replace=0)
        return self.head(self.encoder(read, real), labels)[1]

    def excess(self, arm: str, count: int, seed: int) -> dict[str, float]:
        """By how much the loss of one hidden word is above the entropy, by its kind."""
        texts, found = documents(arm, count, seed), {}
        for kind, (words, alone, paired) in KINDS.items():
            hidden, truth, floors = _hide_one(texts, words, alone, paired)
            batch = TOKENIZER(hidden, padding=True, return_tensors="pt")
            ids = batch["input_ids"]
            logits, _ = self.head(self.encoder(ids, ids != 0))
            told = logits[ids == MASK].log_softmax(-1)
            loss = -told[torch.arange(len(told)), truth]
            found[kind] = (loss.mean() - sum(floors) / len(floors)).item()
        return {"excess": sum(found.values()) / len(found), **found}


class Next(nn.Module):
    """The decoder."""

    def __init__(self):
        super().__init__()
        self.gpt = GPT(V, WIDTH, LAYERS)

    @property
    def table(self) -> Tensor:
        """The vectors of the words, (V, D)."""
        return self.gpt.word.weight

    def loss(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Of each word and of the end."""
        return self.gpt(None, ended(ids, lengths))[1]

    def excess(self, arm: str, count: int, seed: int) -> dict[str, float]:
        """By how much the loss a word is above the entropy."""
        ids, lengths = rows(arm, count, seed)
        labels = ended(ids, lengths)
        logits, _ = self.gpt(None, labels)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        floor = -sum(map(log_probability, documents(arm, count, seed)))
        words = int((labels != IGNORED).sum())
        return {"excess": (loss.item() - floor) / words, "floor": floor / words}


def ended(ids: Tensor, lengths: Tensor) -> Tensor:
    """Labels: the words, the end, −100."""
    labels = ids.masked_fill(ids == 0, IGNORED)
    labels[torch.arange(len(ids)), lengths] = TOKENIZER.eos_token_id
    return labels


def _hide_one(texts, words, alone: int, paired: int) -> tuple:
    """Texts with one of these words of the first sentence hidden; the word; its entropy."""
    rng, found = random.Random(0), []
    for text in texts:
        first, *second = text.split(" . ")
        row = first.split()
        places = [t for t, word in enumerate(row) if word in words]
        if not places:
            continue
        t = rng.choice(places)
        truth, row[t] = row[t], "[mask]"
        left = paired if second else alone - _taken(row, t)
        found.append((" . ".join([" ".join(row), *second]), truth, math.log(left)))
    texts, truth, floors = zip(*found, strict=True)
    return texts, torch.tensor(TOKENIZER.convert_tokens_to_ids(list(truth))), floors


def _taken(row: list[str], t: int) -> int:
    """1 if the other object rules one word out: no two look alike in colour and shape."""
    shapes = [i for i, word in enumerate(row) if word in SHAPES or i == t]
    if len(shapes) < 2:
        return 0
    colours = [i for i, word in enumerate(row) if word in COLOURS]
    if len(colours) == 2 and sum(row[i] in SHAPES for i in shapes) == 1:  # a shape
        return int(row[colours[0]] == row[colours[1]])
    shapes = [row[i] for i in shapes if row[i] in SHAPES]
    return int(len(colours) == 1 and len(shapes) == 2 and shapes[0] == shapes[1])


# ------------------------------------------------------------------- training and tests


def model_of(run: Run) -> nn.Module:
    """The model of a condition, untrained."""
    return Masked() if run["task"] == MASKED else Next()


def train(run: Run) -> Trained:
    """One model on one corpus."""
    model, steps = model_of(run), 24 if run.quick else run["steps"]
    optimizer = torch.optim.AdamW(model.parameters(), run["rate"], betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["rate"], steps, pct_start=0.1, anneal_strategy="cos"
    )
    curve, data = [], batches(run.arm, run.seed)
    for step in range(1, steps + 1):
        loss = model.loss(*next(data))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if not loss.isfinite():
            raise FloatingPointError("diverged")
        if step % (steps // VALIDATIONS) == 0:
            with torch.no_grad():
                curve.append((step, model.excess(run.arm, CHECKED, 2)["excess"]))
    return Trained(curve, curve[-1][1], model.state_dict())


def test_data() -> int:
    """The seed of the scenes that nothing else has seen."""
    return 3


@torch.no_grad()
def test(run: Run, state: dict[str, Tensor], seed: int) -> dict:
    """The excess on new scenes, the word vectors, and what the model can be used for."""
    model = model_of(run)
    model.load_state_dict(state)
    found = model.excess(run.arm, TESTED, seed) | neighbours(model.table)
    if run["task"] == MASKED:
        return found | {"new words": new_words(model.encoder, run.seed)}
    return found | samples(model.gpt, run)


def neighbours(table: Tensor) -> dict[str, float]:
    """Mean cosines of synonyms, and of words of one kind that mean the opposite."""
    found = {}
    near = F.normalize(table - table[4:].mean(0), dim=-1)  # 4 special tokens
    for kind, pairs in SYNONYMS.items():
        at = [TOKENIZER.convert_tokens_to_ids(list(pair)) for pair in pairs]
        alike = [near[a] @ near[b] for a, b in at]
        other = [near[a] @ near[b] for a in at[0] for b in at[1]]
        means = [torch.stack(each).mean().item() for each in (alike, other)]
        found[f"{kind}: synonyms"], found[f"{kind}: opposites"] = means
        found[f"{kind}: separation"] = means[0] - means[1]
    return found


def new_words(encoder: TextEncoder, seed: int) -> float:
    """Per cent right on sizes said with words that no label of the probe spoke of."""
    known, labels = _sized(("big", "small"), f"labelled {seed}", 200)
    other, truth = _sized(("large", "little"), "asked", 500)
    head = linear_probe(_mean(encoder, known), labels, 2, 1e-3, 100)
    return 100 * (head(_mean(encoder, other)).argmax(-1) == truth).float().mean().item()


def _mean(encoder: TextEncoder, texts: list[str]) -> Tensor:
    batch = TOKENIZER(texts, padding=True, return_tensors="pt")
    return encoder(batch["input_ids"], batch["attention_mask"].bool()).pooled()


def _sized(words: tuple[str, str], seed: str, count: int) -> tuple[list[str], Tensor]:
    """Sentences about one object with one of two words of size, and which."""
    found = []
    for i, scene in enumerate(sample_scenes(4 * count, seed, (1,), "all")):
        text = describe(scene, "varied", f"{seed} {i}")
        if set(words) & set(text.split()):
            found.append((text, int(words[1] in text.split())))
    texts, labels = zip(*found[:count], strict=True)
    return list(texts), torch.tensor(labels)


def samples(gpt: GPT, run: Run, count: int = 400) -> dict:
    """Sentences drawn from the decoder: are they of the grammar, new, and consistent?"""
    dice, known = torch.Generator().manual_seed(run.seed), set(_sentences(run.arm))
    ids, cache = torch.full((count, 1), gpt.start), gpt.new_cache(40)
    for _ in range(39):
        p = gpt.decode(ids[:, -1:], None, cache)[:, -1].softmax(-1)
        ids = torch.cat([ids, torch.multinomial(p, 1, generator=dice)], 1)
    texts = []
    for row in ids[:, 1:].tolist():
        until = row.index(gpt.end) if gpt.end in row else len(row)
        texts.append(TOKENIZER.decode(row[:until]))
    facts = [_facts(text) for text in texts]
    right = [each for each in facts if each]
    found = {
        "grammatical": 100 * len(right) / count,
        "new": 100 * sum(set(t.split(" . ")).isdisjoint(known) for t in texts) / count,
        "samples": texts[:6],
    }
    if run.arm == PAIRS:
        same = sum(len(each) == 2 and each[0] == each[1] for each in right)
        found["same scene"] = 100 * same / max(1, len(right))
    return found


@cache
def _sentences(arm: str) -> list[str]:
    return [s for text in documents(arm, SCENES, 1) for s in text.split(" . ")]


def _facts(text: str) -> list | None:
    """What the sentences of a document say, in a form that can be compared."""
    try:
        return [_ordered(parse(part)) for part in text.split(" . ")]
    except ValueError:
        return None


def _ordered(facts) -> tuple:
    """The facts, whichever object is named first."""
    things, relation = facts.things, facts.relation
    if len(things) == 2 and str(things[0]) > str(things[1]):
        things, relation = things[::-1], OPPOSITE[relation]
    return things, relation


RATES = [{"rate": rate} for rate in (2e-3, 5e-3, 1.2e-2)]
STEPS = 1200
DESIGN = Design(
    question="How near do small text models come to the entropy of their sentences, "
    "and what do pairs of sentences teach?",
    tries={arm: [{"rate": 1e-3}, *RATES] for arm in (SINGLE, PAIRS)},
    conditions=[
        Condition(MASKED, {"task": MASKED, "steps": STEPS}),
        Condition(NEXT, {"task": NEXT, "steps": 1000}),
        Condition(
            f"{MASKED}, longer",
            {"task": MASKED, "steps": 3000},
            like=MASKED,
            asks="two and a half times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="excess",
    unit="nats",
    maximise=False,
    tolerance=0.01,
)

if __name__ == "__main__":
    main(DESIGN, __file__)
