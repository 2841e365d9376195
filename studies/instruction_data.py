"""What becomes of a photograph's caption before SmolLM2 may learn from it?

Nothing is trained here. SmolLM2-135M-Instruct (Ben Allal et al. 2025) and its tokenizer
show how data for instruction tuning look: the chat template, which tokens carry the loss,
and several conversations in one row. A question and the first human caption of each
photograph of the package make a conversation.

Each seed takes another third of the photographs, so an interval is one over photographs.
What could reverse an answer, and is tried: another question.

    MMBOOK_MODELS=… python studies/instruction_data.py

needs ``smollm2-135m-instruct`` in that folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmbook.samples import photographs

SMOL = "SmolLM2-135M-Instruct"
SHORT = "Describe the photograph in one sentence."
LONG = "What does this photograph show? Answer with a short caption."
ASKED = "What is the capital of France?"
BUS, PACKED, NEW = 24, 3, 20


class Real(NamedTuple):
    """The model, its tokenizer, and the first caption of each photograph."""

    model: torch.nn.Module
    pieces: object
    captions: list[str]


def train(run: Run) -> Trained:
    """Nothing is trained."""
    return Trained([], 0.0, {})


def test_data() -> Real:
    folder = Path(os.environ["MMBOOK_MODELS"], "smollm2-135m-instruct")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    captions = [several[0] for several in photographs(32).references]
    return Real(model, AutoTokenizer.from_pretrained(folder), captions)


def messages(question: str, answer: str) -> list[dict]:
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]


def ids_of(real: Real, text: str) -> list[int]:
    return real.pieces(text, add_special_tokens=False)["input_ids"]


def cut(real: Real, question: str, answer: str, template: bool) -> tuple[list, list]:
    """Ids of the prompt and of the answer with its end."""
    if not template:
        return ids_of(real, f"{question}\n"), ids_of(real, f"{answer}<|im_end|>")
    both = messages(question, answer)
    whole = real.pieces.apply_chat_template(both, tokenize=False)
    prompt = real.pieces.apply_chat_template(
        both[:1], tokenize=False, add_generation_prompt=True
    )
    assert whole == f"{prompt}{answer}<|im_end|>\n"
    first, ids = ids_of(real, prompt), ids_of(real, whole)
    assert ids[: len(first)] == first
    return first, ids[len(first) : -1]  # the line feed behind the end is no answer


@torch.no_grad()
def losses(real: Real, first: list[int], answer: list[int]) -> Tensor:
    """Of each token but the first, given those before it."""
    ids = torch.tensor([first + answer])
    return F.cross_entropy(real.model(ids).logits[0, :-1], ids[0, 1:], reduction="none")


@torch.no_grad()
def packing(real: Real, rows: list[list[int]]) -> dict:
    """How far the logits of a row that holds several conversations are from each alone."""
    alone = torch.cat([real.model(torch.tensor([ids])).logits[0] for ids in rows])
    ids = torch.tensor([sum(rows, [])])  # noqa: RUF017
    owner = torch.cat([torch.full((len(row),), n) for n, row in enumerate(rows)])
    restart = torch.cat([torch.arange(len(row)) for row in rows])
    running = torch.arange(len(owner))
    causal = running[:, None] >= running
    own = causal & (owner[:, None] == owner)
    found = {}
    for name, mask, position in (
        ("own conversation, positions restart", own, restart),
        ("own conversation, positions run on", own, running),
        ("all before, positions restart", causal, restart),
        ("all before, positions run on", causal, running),
    ):
        bias = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo().min)
        logits = real.model(
            ids, attention_mask=bias[None, None], position_ids=position[None]
        ).logits[0]
        found[name] = (logits - alone).abs().max().item()
    return found


@torch.no_grad()
def written(real: Real, text: str) -> str:
    """The likeliest continuation, with its special tokens."""
    ids = torch.tensor([ids_of(real, text)])
    out = real.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False
    )
    return real.pieces.decode(out[0, ids.shape[1] :])


def test(run: Run, state: dict, real: Real) -> dict:
    """Counts and losses of a third of the photographs; with seed 0 what there is to show."""
    chosen = range(run.seed, len(real.captions), 3)
    question, sums = run["question"], {}
    for number in chosen:
        for name, template in (("template", True), ("no template", False)):
            first, answer = cut(real, question, real.captions[number], template)
            found = losses(real, first, answer)
            parts = found[: len(first) - 1], found[len(first) - 1 :]
            for part, values in zip(("prompt", "answer"), parts):  # noqa: B905
                old = sums.get(f"{name}, {part}", (0.0, 0))
                sums[f"{name}, {part}"] = (
                    old[0] + values.sum().item(),
                    old[1] + len(values),
                )
    result = {name: total / count for name, (total, count) in sums.items()}
    prompt, answer = (sums[f"template, {part}"] for part in ("prompt", "answer"))
    result["all tokens"] = (prompt[0] + answer[0]) / (prompt[1] + answer[1])
    result["answer tokens"] = 100 * answer[1] / (prompt[1] + answer[1])
    rows = [
        sum(cut(real, question, real.captions[n], True), [])  # noqa: RUF017
        for n in list(chosen)[:PACKED]
    ]
    result["gaps"] = packing(real, rows)
    if run.seed == 0 and question == SHORT:
        result["shown"] = shown(real)
    return result


def shown(real: Real) -> dict:
    """The template, one conversation, its tokens, and what the model says."""
    both = messages(SHORT, real.captions[BUS])
    first, answer = cut(real, SHORT, real.captions[BUS], True)
    asked = [{"role": "user", "content": ASKED}]
    texts = {
        "generation prompt": real.pieces.apply_chat_template(
            asked, tokenize=False, add_generation_prompt=True
        ),
        "question alone": ASKED,
    }
    return {
        "template": real.pieces.chat_template,
        "text": real.pieces.apply_chat_template(both, tokenize=False),
        "prompt": [real.pieces.decode([i]) for i in first],
        "answer": [real.pieces.decode([i]) for i in answer],
        "lengths": [
            len(sum(cut(real, SHORT, caption, True), []))  # noqa: RUF017
            for caption in real.captions
        ],
        "says": {name: written(real, text) for name, text in texts.items()},
    }


DESIGN = Design(
    question="How do data for instruction tuning look?",
    tries={SMOL: [{}]},
    conditions=[
        Condition("captions", {"question": SHORT}),
        Condition(
            "captions, another question", {"question": LONG}, (), "captions", "another"
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="answer tokens",
    untrained=[SMOL],
    needs=["MMBOOK_MODELS"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
