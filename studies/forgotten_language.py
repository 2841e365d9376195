"""What does a real language model forget that is tuned for one kind of sentence?

SmolLM2-135M-Instruct, as the book's own GPT, learns the word order "a circle red big above
a star blue small" from 240 sentences. Three ways: everything is trained; LoRA of rank 8 in
each linear layer; everything, where half of each batch is replay: human captions of 21 of
the package's photographs. *Before* is the model as it was.

The task is measured in nats a token on 64 other sentences; they choose among four rates for
each arm, one half decade apart. What is forgotten is measured only afterwards: nats a token
on captions of the 21 other photographs (the kind of text that was replayed), on sentences
that readers of LJ Speech read (a kind that was not), and how many of 24 beginnings such as
"The capital of France is" are continued rightly.

What could reverse the answer, and is tried: three times the steps.

    MMBOOK_DATA=… MMBOOK_MODELS=… python studies/forgotten_language.py

needs ``ljspeech32`` in the first folder, ``smollm2-135m-instruct`` in the second.
"""

from __future__ import annotations

import csv
import functools
import os
from copy import deepcopy
from pathlib import Path

import torch
from adapters import noun_first
from language_models import ASKED
from looks import looking
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer

from mmbook.data import Collate
from mmbook.finetuning import add_lora
from mmbook.models import LanguageModel
from mmbook.samples import photographs
from mmbook.training import TrainingConfig, fit
from mmbook.twins import gpt_from_llama
from mmbook.world import sample_scenes

BEFORE, ALL = "before", "everything"
LORA, REPLAY = "LoRA, rank 8", "everything, with replay"
STEPS, SENTENCES, BATCH, LENGTH = 20, 240, 8, 48
EVERYWHERE = ("query", "key", "value", "out", "gate", "up", "down")


def folder(variable: str, name: str) -> Path:
    """Of real data or a real model."""
    return Path(os.environ[variable], name)


@functools.cache
def pieces():
    """SmolLM2's tokenizer."""
    return AutoTokenizer.from_pretrained(
        folder("MMBOOK_MODELS", "smollm2-135m-instruct")
    )


def start_id() -> int:
    """What stands before a text of its pre-training."""
    return pieces().convert_tokens_to_ids("<|endoftext|>")


@functools.cache
def released() -> LanguageModel:
    """SmolLM2 in the book's own GPT; whoever trains takes a copy."""
    words = pieces()
    ids = {"start": start_id(), "end": words.eos_token_id}
    source = folder("MMBOOK_MODELS", "smollm2-135m-instruct")
    return LanguageModel(gpt_from_llama(source, LENGTH, **ids, pad=words.pad_token_id))


def new_sentences(count: int, seed: int) -> list[str]:
    """Of two objects each, in the new word order."""
    return [noun_first(scene) for scene in sample_scenes(count, seed, objects=(2,))]


def captions(first: int, last: int) -> list[str]:
    """Of photographs of the package, five each."""
    groups = photographs(32).references[first:last]
    return [text.strip() for group in groups for text in group]


def read_aloud() -> list[str]:
    """The sentences of LJ Speech."""
    file = folder("MMBOOK_DATA", "ljspeech32") / "metadata.csv"
    with open(file, encoding="utf-8", newline="") as lines:
        return [
            row[-1] for row in csv.reader(lines, delimiter="|", quoting=csv.QUOTE_NONE)
        ]


@torch.no_grad()
def nats(model: LanguageModel, texts: list[str]) -> float:
    """Mean loss of a token; the end of the text is not asked for."""
    total = count = 0
    for first in range(0, len(texts), 16):
        rows = [
            pieces()(text, add_special_tokens=False)["input_ids"][: LENGTH - 1]
            for text in texts[first : first + 16]
        ]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        start = torch.full((len(rows), 1), start_id())
        logits = model.head.decode(torch.cat([start, ids[:, :-1]], 1), None)
        real = torch.arange(longest) < torch.tensor([[len(row)] for row in rows])
        losses = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
        total, count = total + losses[real].sum().item(), count + int(real.sum())
    return total / count


@torch.no_grad()
def facts(model: LanguageModel) -> float:
    """Per cent of the beginnings that the likeliest word continues rightly."""
    right, asked = 0, [pair.strip() for pair in ASKED.split(";")]
    for pair in asked:
        beginning, answers = pair.split("|")
        ids = [start_id(), *pieces()(beginning)["input_ids"]]
        best = int(model.head.decode(torch.tensor([ids]), None)[0, -1].argmax())
        said = pieces().decode([best]).strip()
        wanted = answers.split("/")
        right += bool(said) and any(answer.startswith(said) for answer in wanted)
    return 100 * right / len(asked)


class _Order:
    """Texts by number; replay puts an old one at every second place."""

    def __init__(self, new: list[str], old: list[str]):
        self.new, self.old = new, old

    def __len__(self) -> int:
        return 2 * len(self.new) if self.old else len(self.new)

    def __getitem__(self, number: int) -> dict:
        if not self.old:
            return {"caption": self.new[number]}
        source = self.old if number % 2 else self.new
        return {"caption": source[(number // 2) % len(source)]}


def train(run: Run) -> Trained:
    """One way to tune; the curve is the loss of the task."""
    held, model = new_sentences(64, 98), released()
    if run.arm == BEFORE:
        return Trained([(0, nats(model, held))], nats(model, held), {})
    model, curve = deepcopy(model), [(0, nats(model, held))]
    torch.manual_seed(run.seed)
    if run.arm == LORA:
        add_lora(model, rank=8, where=EVERYWHERE, keep=())
    replayed = captions(0, 21) if run.arm == REPLAY else []
    data = _Order(new_sentences(SENTENCES, 200 + run.seed), replayed)
    steps = 4 if run.quick else run["steps"]
    config = TrainingConfig(
        steps=steps,
        batch_size=BATCH,
        learning_rate=run["rate"],
        seed=run.seed,
        precision="no",
        compile=False,
        progress=False,
    )
    looking(model, steps, lambda n: curve.append((n, nats(model.eval(), held))))
    fit(model, data, config, Collate(pieces(), max_length=LENGTH))
    model = model.cpu().eval()
    curve.append((steps, nats(model, held)))
    searching = run.seed == DESIGN.search_seed
    return Trained(curve, curve[-1][1], {} if searching else measured(model))


def measured(model: LanguageModel) -> dict[str, Tensor]:
    """What the test needs: 135 million parameters for each run would be too much.

    Nothing of this was looked at before all trainings were done: the runner keeps the
    state and reads it in the test.
    """
    texts = test_data()
    found = {name: nats(model, part) for name, part in texts.items()}
    found["facts"] = facts(model)
    return {
        name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()
    }


@functools.cache
def test_data() -> dict[str, list[str]]:
    """Sentences of the task; texts of the kind that was replayed, and of another."""
    return {
        "task": new_sentences(128, 97),
        "captions": captions(21, 42),
        "read aloud": read_aloud(),
    }


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Nats a token of three kinds of text, and facts in per cent."""
    found = state or measured(released())
    return {name: value.item() for name, value in found.items()}


RATES = (3e-5, 1e-4, 3e-4, 1e-3)
LONG = "three times the steps"
DESIGN = Design(
    question="What does a real language model forget that is tuned for one task?",
    tries={
        BEFORE: [{}],
        ALL: [{"rate": rate / 3} for rate in RATES],
        LORA: [{"rate": 3 * rate} for rate in RATES],
        REPLAY: [{"rate": rate / 3} for rate in RATES],
    },
    conditions=[
        Condition("noun first", {"steps": STEPS}),
        Condition(
            f"noun first, {LONG}",
            {"steps": 3 * STEPS},
            [ALL, LORA, REPLAY],
            like="noun first",
            asks=LONG,
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="task",
    unit="nats",
    maximise=False,
    tolerance=0.02,
    untrained=[BEFORE],
    needs=["MMBOOK_DATA", "MMBOOK_MODELS"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
