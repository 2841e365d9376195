"""What does a released language model pay for each word of a human caption?

Nothing is trained here. SmolLM2-135M-Instruct (Ben Allal et al. 2025) runs as the book's
own ``GPT`` with its weights and reads two of the five captions of each of the book's 42
photographs. It sees no picture. Three arms differ in what stands before the caption: a
bare prompt, a prompt with a caption of *another* photograph, and one with another caption
of the *same* photograph, written by somebody else. The last two have the same form, so
their difference is what it is worth to know what the caption is about.

The loss counts the tokens of the caption and the line break that ends it, never the
prompt. Each seed takes another third of the photographs, so an interval is one over
photographs. What could reverse the comparison, and is tried: captions of one photograph
share words, so the context is also the one of the four others that shares fewest.

    MMBOOK_MODELS=… python studies/caption_likelihood.py

needs ``smollm2-135m-instruct`` in that folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmbook.samples import photographs
from mmbook.twins import gpt_from_llama

ALONE, OTHER, SAME = "prompt alone", "another photograph", "same photograph"
FIRST = "A caption of a photograph:"
SECOND = "Another caption of the photograph:"
TAUS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0)
BINS, CAPTIONS = 10, (1, 3)  # of five, to save time
SHOWN = {0: (12, 3), 1: (28, 1), 2: (11, 3)}  # seed: photograph, caption
NEXT = ("A dog is tied to a", " fire")  # of photograph 28
PLACES = 8


class Released(NamedTuple):
    """The model in our own code, its tokenizer, and the captions of each photograph."""

    gpt: torch.nn.Module
    pieces: object
    told: list[list[str]]


def train(run: Run) -> Trained:
    """Nothing is trained."""
    return Trained([], 0.0, {})


@torch.no_grad()
def test_data() -> Released:
    """The model and the captions, with single spaces and without line breaks."""
    folder = Path(os.environ["MMBOOK_MODELS"], "smollm2-135m-instruct")
    pieces = AutoTokenizer.from_pretrained(folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    gpt = gpt_from_llama(theirs, start=pieces.convert_tokens_to_ids("<|endoftext|>"))
    told = [
        [" ".join(text.split()) for text in row] for row in photographs().references
    ]
    return Released(gpt, pieces, told)


@torch.no_grad()
def test(run: Run, state: dict, model: Released) -> dict:
    """Nats per word, and all that a chapter shows of this third."""
    rows = []
    for photo in range(run.seed, len(model.told), 3):
        for number in CAPTIONS:
            before = prompt(run, model, photo, number)
            rows.append(
                (photo, number, *read(model, before, model.told[photo][number]))
            )
    nats = torch.cat([row[3] for row in rows])
    logits = torch.cat([row[4] for row in rows])
    truth = torch.cat([row[5] for row in rows])
    texts = [model.told[photo][number] for photo, number, *_ in rows]
    words = sum(len(text.split()) + 1 for text in texts)  # and the end
    total = nats.sum().item()
    found = {"nats": total / words, "tokens": len(nats), "words": words, "total": total}
    found |= {"bytes": sum(len(text.encode()) + 1 for text in texts)}
    found |= {"captions": len(rows), "places": places(model, rows)}
    found |= calibration(logits, truth)
    if run.condition.name == "captions":
        found |= examples(run, model, rows)
    return found


def prompt(run: Run, model: Released, photo: int, number: int) -> str:
    """What stands before a caption."""
    if run.arm == ALONE:
        return FIRST
    own = [n for n in range(5) if n != number]
    which = (number + 1) % 5
    if run.condition.values.get("least"):
        words = set(model.told[photo][number].lower().rstrip(".").split())
        which = min(own, key=lambda n: _shared(words, model.told[photo][n]))
    if run.arm == OTHER:
        photo = (photo + 7) % len(model.told)
    return f"{FIRST} {model.told[photo][which]}\n{SECOND}"


def _shared(words: set[str], text: str) -> float:
    other = set(text.lower().rstrip(".").split())
    return len(words & other) / len(words | other)


def read(model: Released, before: str, caption: str):
    """The tokens of a caption: ids, nats of each, logits (L, V), labels (L,)."""
    first = model.pieces(before)["input_ids"]
    own = model.pieces(f" {caption}\n")["input_ids"]
    labels = torch.tensor([[*first, *own]])
    logits = model.gpt(None, labels)[0][0, len(first) :]
    truth = torch.tensor(own)
    nats = -logits.log_softmax(-1).gather(-1, truth[:, None])[:, 0]
    return own, nats, logits, truth


def places(model: Released, rows) -> list[list[float]]:
    """Nats at each word from the first to the eighth: their sum and their number."""
    sums = torch.zeros(PLACES, 2)
    for _, _, own, nats, *_ in rows:
        word = -1
        for token, cost in zip(own, nats.tolist(), strict=True):
            text = model.pieces.decode([token])
            if text == "\n":
                break
            begins = text.startswith(" ")
            word += begins
            if word < PLACES:
                sums[word] += torch.tensor([cost, float(begins)])
    return sums.tolist()


def calibration(logits: Tensor, truth: Tensor) -> dict:
    """NLL per token at each temperature; counts for a reliability diagram at three."""
    found = {"taus": list(TAUS), "at": [], "bins": {}}
    for tau in TAUS:
        log_p = (logits / tau).log_softmax(-1)
        found["at"].append(-log_p.gather(-1, truth[:, None]).mean().item())
        if tau in (0.5, 1.0, 2.0):
            sure, guess = log_p.exp().max(-1)
            hit = (guess == truth).float()
            where = (sure * BINS).long().clamp(max=BINS - 1)
            counts = torch.zeros(BINS, 3)
            counts.index_add_(
                0, where, torch.stack([torch.ones_like(hit), sure, hit], 1)
            )
            found["bins"][str(tau)] = counts.tolist()
    found["likeliest"] = 100 * (logits.argmax(-1) == truth).float().mean().item()
    return found


def examples(run: Run, model: Released, rows) -> dict:
    """One caption token by token; of photograph 28, the words behind a beginning."""
    photo, number = SHOWN[run.seed]
    own, nats = next(row[2:4] for row in rows if row[:2] == (photo, number))
    shown = [
        [model.pieces.decode([n]), x] for n, x in zip(own, nats.tolist(), strict=True)
    ]
    found = {"shown": shown, "photo": photo}
    if run.seed == 1:
        before, truth = NEXT
        text = f"{prompt(run, model, 28, 0)} {before}"
        ids = torch.tensor([model.pieces(text)["input_ids"]])
        p = model.gpt.decode(_started(model, ids), None)[0, -1].softmax(-1)
        right = model.pieces(truth)["input_ids"][0]
        top = p.argsort(descending=True)[:10].tolist()
        top += [right] * (right not in top)
        found["next"] = [[model.pieces.decode([n]), p[n].item()] for n in top]
    return found


def _started(model: Released, ids: Tensor) -> Tensor:
    start = torch.full((len(ids), 1), model.gpt.start)
    return torch.cat([start, ids], 1)


DESIGN = Design(
    question="What does a released language model pay for a word of a human caption?",
    tries={ALONE: [{}], OTHER: [{}], SAME: [{}]},
    conditions=[
        Condition("captions"),
        Condition(
            "least alike",
            {"least": True},
            (OTHER, SAME),
            like="captions",
            asks="of the four other captions, the one that shares fewest words",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="nats",
    unit="nats per word",
    maximise=False,
    untrained=(ALONE, OTHER, SAME),
    needs=("MMBOOK_MODELS",),
)

if __name__ == "__main__":
    main(DESIGN, __file__)
