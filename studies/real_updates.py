"""What do gradients and the states of Adam look like in a released language model?

SmolLM2-135M-Instruct (Ben Allal et al. 2025) reads captions of the package's photographs,
eight batches of four, and nothing is trained: the weights stay, and the gradients of two
matrices of its block 15 (of 30) go into Adam's moving averages (0.9 and 0.98). Measured
are

- how many singular directions hold nine tenths of the squares of the weights, of the
  averaged gradient, of Adam's step and of Muon's;
- how far the step is off if both averages are kept in eight bits: by a linear code, by a
  logarithmic one, in blocks of 256 or in one block.

Each seed takes another third of the photographs, so an interval is one over texts. What
could reverse the order of the directions, and is tried: one batch in place of eight. With
eight batches the average of the squares has seen little: another length, a longer average
or a model in training may look different.

    MMBOOK_MODELS=… python studies/real_updates.py

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

WEIGHTS, MOMENTUM = "weights", "averaged gradient"
ADAM, MUON = "Adam's step", "Muon's step"
MATRICES = {
    "feed-forward": "model.layers.14.mlp.up_proj.weight",
    "queries": "model.layers.14.self_attn.q_proj.weight",
}
BATCHES, SIZE, BETAS, POINTS = 8, 4, (0.9, 0.98), 24


class States(NamedTuple):
    """A matrix, and Adam's averages of its gradients, corrected."""

    w: Tensor
    m: Tensor
    v: Tensor


def train(run: Run) -> Trained:
    """Nothing is trained."""
    return Trained([], 0.0, {})


def test_data() -> dict:
    """States by seed and matrix, and the number of the model's parameters."""
    folder = Path(os.environ["MMBOOK_MODELS"], "smollm2-135m-instruct")
    cut = AutoTokenizer.from_pretrained(folder)
    cut.pad_token = cut.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.requires_grad_(False)
    chosen = {name: model.get_parameter(path) for name, path in MATRICES.items()}
    for matrix in chosen.values():
        matrix.requires_grad_(True)
    found: dict = {"parameters": sum(p.numel() for p in model.parameters())}
    for seed in DESIGN.seeds:
        captions = [text for five in photographs().references[seed::3] for text in five]
        for place, states in averaged(model, cut, captions, chosen).items():
            found[seed, *place] = states
    return found


def averaged(model, cut, captions: list[str], chosen: dict) -> dict[tuple, States]:
    """Adam's two averages after one batch and after all, with their correction."""
    found: dict[tuple, States] = {}
    m, v = ({n: torch.zeros_like(p) for n, p in chosen.items()} for _ in range(2))
    for number in range(BATCHES):
        texts = captions[SIZE * number : SIZE * (number + 1)]
        batch = cut(texts, padding=True, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model.zero_grad()
        model(**batch, labels=labels).loss.backward()
        for name, matrix in chosen.items():
            m[name].lerp_(matrix.grad, 1 - BETAS[0])
            v[name].lerp_(matrix.grad.square(), 1 - BETAS[1])
            if number in (0, BATCHES - 1):
                found[name, number + 1] = States(
                    matrix.detach().clone(),
                    m[name] / (1 - BETAS[0] ** (number + 1)),
                    v[name] / (1 - BETAS[1] ** (number + 1)),
                )
    return found


def orthogonal(m: Tensor) -> Tensor:
    """Muon's step: five rounds of its polynomial on the singular values."""
    x = m.double() / m.double().norm()
    for _ in range(5):
        s = x @ x.T if len(x) <= x.shape[1] else x.T @ x
        change = -4.775 * s + 2.0315 * s @ s
        x = 3.4445 * x + (change @ x if len(x) <= x.shape[1] else x @ change)
    return x


def linear(x: Tensor, block: int, levels: int) -> Tensor:
    """Equal steps from zero to the largest of a block."""
    rows = x.reshape(-1, block)
    top = rows.abs().amax(1, keepdim=True)
    return (torch.round(rows / top * levels) * top / levels).view_as(x)


def logarithmic(x: Tensor, block: int, levels: int, decades: int) -> Tensor:
    """Equal factors from the largest of a block down; the smallest is no zero."""
    rows = x.reshape(-1, block)
    top = rows.abs().amax(1, keepdim=True)
    down = -torch.log10(rows.abs() / top).clamp(max=decades) * (levels - 1) / decades
    value = top * 10 ** (-torch.round(down) * decades / (levels - 1))
    return (rows.sign() * value).view_as(x)


def eight_bits(states: States) -> dict[str, float]:
    """By how many per cent the step is off, for two codes and two sizes of blocks."""
    _, m, v = states
    step, found = m / (v.sqrt() + 1e-8), {}
    for size, block in (("256", 256), ("all", m.numel())):
        codes = {
            "linear": (linear(m, block, 127), linear(v, block, 255)),
            "logarithmic": (
                logarithmic(m, block, 127, 7),
                logarithmic(v, block, 255, 14),
            ),
        }
        for name, (small, square) in codes.items():
            off = (small / (square.sqrt() + 1e-8) - step).norm() / step.norm()
            found[f"{name}, {size}"] = 100 * off.item()
            found[f"{name}, {size}, m"] = 100 * ((small - m).norm() / m.norm()).item()
            found[f"{name}, {size}, v is 0"] = 100 * (square == 0).float().mean().item()
    return found


@torch.no_grad()
def test(run: Run, state: dict, data: dict) -> dict:
    """Directions that hold nine tenths of the squares; singular values; eight bits."""
    name = run.condition.like or run.condition.name
    states = data[run.seed, name, run["batches"]]
    w, m, v = states
    step = m / (v.sqrt() + 1e-8)
    matrix = {WEIGHTS: w, MOMENTUM: m, ADAM: step, MUON: orthogonal(m)}[run.arm]
    s = torch.linalg.svdvals(matrix.double())
    energy = s.square().cumsum(0) / s.square().sum()
    places = torch.linspace(0, len(s) - 1, POINTS).round().long()
    found = {
        "directions": 100 * ((energy < 0.9).sum().item() + 1) / len(s),
        "singular": (s[places] / s[0]).tolist(),
    }
    if run.arm == ADAM:
        found |= {"eight": eight_bits(states), "parameters": data["parameters"]}
        found |= {"decades": torch.log10(v.max() / v[v > 0].quantile(0.01)).item()}
    return found


ARMS = (WEIGHTS, MOMENTUM, ADAM, MUON)
DESIGN = Design(
    question="What do Adam's states look like in a released language model?",
    tries={arm: [{}] for arm in ARMS},
    conditions=[
        *(Condition(name, {"batches": BATCHES}) for name in MATRICES),
        *(
            Condition(f"{name}, one batch", {"batches": 1}, (), name, "one batch")
            for name in MATRICES
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="directions",
    unit="% of all",
    untrained=ARMS,
    needs=("MMBOOK_MODELS",),
)

if __name__ == "__main__":
    main(DESIGN, __file__)
