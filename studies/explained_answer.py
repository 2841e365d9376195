"""What does a word of a real vision–language model's caption owe to the photograph?

Nothing is trained here. The three models of ``vision_language_model.py`` (projector and
LoRA, three times the steps; MobileNetV2 and SmolLM2-135M inside) describe the book's 42
photographs greedily. Each word that a model wrote is then scored again:

- *evidence*: by how many nats its log-probability is higher with the photograph than with
  what stands in its place: one of three other photographs, the mean of the tokens of all
  photographs, or a grey picture. The words before it stay the same;
- *maps* over the 7 × 7 tokens of MobileNetV2, for every third photograph: how far the
  log-probability falls if a token is dropped (before the projector averages them),
  gradient × input of each token, and how far it falls if a square of the photograph is
  painted over with its mean colour. The rank correlation of two maps says whether they
  agree; as a control, the map of a word is compared with the second kind of map of the
  other content words of the same caption.

The arms are three kinds of words: content words that at least one of five people also used
for the photograph, content words that nobody used, and function words. What could reverse
the comparison of the first two, and is tried: another thing in the photograph's place.

    MMBOOK_MODELS=… MMBOOK_DATA=… python studies/explained_answer.py

The trained parts come from the work folder of ``vision_language_model.py`` (run it first,
205 min), or from the folder that ``MMBOOK_STATES`` names.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import NamedTuple

import torch
from fingerprint import ROOT, training_hash
from keeping import Finished
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from vision_language_model import (
    DESIGN as CAPTIONING,
)
from vision_language_model import (
    FUNCTION_WORDS,
    LORA,
    folder,
    new_model,
    tokenizer,
)

from mmbook import samples
from mmbook.explain import rank_correlation
from mmbook.generation import generate
from mmbook.metrics import words
from mmbook.pretrained import PretrainedImageEncoder
from mmbook.studies import load
from mmbook.tokens import Tokens

SAID, UNSAID, FUNCTION = "said by people", "said by nobody", "function words"
OTHER, MEAN, GREY = "other photographs", "mean of all photographs", "a grey picture"
SHIFTS = (1, 11, 23)  # each photograph is replaced by these, counted on in a circle
SQUARE, STRIDE = 64, 32  # pixels
MAPPED = range(1, 42, 3)  # photographs for which maps are drawn, to save time
SHOWN = (7, 22, 25, 28)  # those whose maps are kept, of one model
TRAINED = "three times the steps"


class Pictures(NamedTuple):
    """The book's photographs, what MobileNetV2 makes of them, and people's captions."""

    encoder: PretrainedImageEncoder
    pixels: Tensor
    features: Tensor
    said: list[set[str]]


def train(run: Run) -> Trained:
    """Nothing is trained."""
    return Trained([], 0.0, {})


@torch.no_grad()
def test_data() -> Pictures:
    """The 42 photographs of the book, which may be shown."""
    source = folder("MMBOOK_MODELS", "mobilenet_v2_1.0_224")
    encoder = PretrainedImageEncoder.from_pretrained(source).eval()
    data = samples.photographs()
    pixels = torch.stack([data.pixels(n) for n in range(len(data.files))]) / 255
    features = torch.cat([encoder(some).values for some in pixels.split(14)])
    said = [{word for text in row for word in words(text)} for row in data.references]
    return Pictures(encoder, pixels, features, said)


@functools.cache
def model_of(seed: int) -> torch.nn.Module:
    """A trained model of the other study, in single precision."""
    where = os.environ.get("MMBOOK_STATES")
    if where is None:
        file = Path(__file__).with_name("vision_language_model.py")
        where = ROOT / "_build" / "studies" / file.stem / training_hash(file)
    condition = next(each for each in CAPTIONING.conditions if each.name == TRAINED)
    setting = load("vision_language_model").chosen(LORA, TRAINED)
    state = Finished(Path(where)).state(Run(LORA, condition, setting, seed))
    model = new_model(LORA, seed)
    model.load_state_dict(state, strict=False)
    return model.float().eval().requires_grad_(False)


def log_p(model, features: Tensor, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """Log-probability (B, L) of each token of captions, given tokens (B, 49, C)."""
    tokens = model.fusion({"image": Tokens(features, mask)})
    logits = model.head.decode(model.head.shifted(ids), tokens)
    return logits.gather(-1, ids[..., None])[..., 0] - logits.logsumexp(-1)


def spelled(ids: Tensor, end: int) -> list[tuple[str, list[int]]]:
    """The words of a caption, each with the places of its tokens."""
    found: list[tuple[str, list[int]]] = []
    for place, token in enumerate(ids.tolist()):
        if token == end:
            break
        text = tokenizer().decode([token])
        if found and not text.startswith(" ") and text[:1].isalnum():
            found[-1] = found[-1][0] + text, [*found[-1][1], place]
        else:
            found.append((text.strip(), [place]))
    return found


def kind(word: str, said: set[str]) -> str | None:
    """The arm to which a word belongs; none for punctuation."""
    word = word.lower()
    if not word.isalpha():
        return None
    if word in FUNCTION_WORDS:
        return FUNCTION
    return SAID if word in said else UNSAID


def in_words(values: Tensor, found) -> Tensor:
    """Sums of the tokens of each word, (..., L) → (..., words)."""
    return torch.stack([values[..., places].sum(-1) for _, places in found], -1)


def instead(data: Pictures, condition: str, n: int) -> Tensor:
    """What stands in the place of a photograph: (some, 49, C)."""
    if condition == OTHER:
        return torch.stack([data.features[(n + s) % len(data.said)] for s in SHIFTS])
    if condition == MEAN:
        return data.features.mean(0, keepdim=True)
    return data.encoder(torch.full_like(data.pixels[:1], 0.5)).values


def dropped(model, features: Tensor, ids: Tensor, found) -> Tensor:
    """How far each word falls if one of the 49 tokens is not there: (words, 49)."""
    rows = features.expand(49, -1, -1)
    without = in_words(
        log_p(model, rows, ids.expand(49, -1), ~torch.eye(49).bool()), found
    )
    return (in_words(log_p(model, features[None], ids[None]), found) - without).T


def times_input(model, features: Tensor, ids: Tensor, found) -> Tensor:
    """Gradient × input of each token, for each word: (words, 49)."""
    rows = features.repeat(len(found), 1, 1).requires_grad_()
    with torch.enable_grad():
        each = in_words(log_p(model, rows, ids.expand(len(found), -1)), found)
        (slope,) = torch.autograd.grad(each.diagonal().sum(), rows)
    return (slope * rows.detach()).sum(-1)


def painted(model, data: Pictures, n: int, ids: Tensor, found) -> Tensor:
    """How far each word falls if a square is painted over: (words, 49)."""
    image, pictures = data.pixels[n], []
    for place in range(49):
        top, left = (max(0, STRIDE * k - STRIDE // 2) for k in divmod(place, 7))
        covered = image.clone()
        area = covered[:, top : top + SQUARE, left : left + SQUARE]
        area[:] = image.mean((1, 2), keepdim=True)
        pictures.append(covered)
    features = data.encoder(torch.stack(pictures)).values
    after = in_words(log_p(model, features, ids.expand(49, -1)), found)
    return (in_words(log_p(model, data.features[n][None], ids[None]), found) - after).T


def agreement(first: Tensor, second: Tensor, content: list[int]) -> list[float]:
    """Mean rank correlation of two kinds of maps of a caption's content words, and of
    the first kind with the second kind of the other content words."""
    table = torch.stack(
        [
            rank_correlation(first[content], second[[other] * len(content)])
            for other in content
        ]
    )
    own = table.diagonal().mean().item()
    pairs = len(content) * (len(content) - 1)
    return [own, (table.sum() - table.diagonal().sum()).item() / max(1, pairs)]


@functools.cache
def _measured(seed: int, condition: str, quick: bool) -> list[dict]:
    """For each photograph its words, their kinds, and log-probabilities."""
    data, model, rows = _DATA[0], model_of(seed), []
    for n in range(4 if quick else len(data.said)):
        ids = written(seed, n)
        found = spelled(ids, model.head.end)
        with torch.no_grad():
            given = in_words(log_p(model, data.features[n][None], ids[None]), found)[0]
            swapped = instead(data, condition, n)
            without = log_p(model, swapped, ids.expand(len(swapped), -1))
            without = in_words(without, found)
        kinds = [kind(word, data.said[n]) for word, _ in found]
        rows.append(
            {
                "words": [word for word, _ in found],
                "kinds": kinds,
                "given": given,
                "without": without.mean(0),
                "first": without[0],
            }
        )
    return rows


@functools.cache
def written(seed: int, n: int) -> Tensor:
    """The caption that a model writes, token by token, its end included."""
    model = model_of(seed)
    ids = generate(model, {"image": _DATA[0].features[n][None]})[0]
    ends = (ids == model.head.end).nonzero()
    return ids[: ends[0, 0] + 1].clone() if len(ends) else ids.clone()


_DATA: list[Pictures] = []


def test(run: Run, state: dict, data: Pictures) -> dict:
    """Evidence of the words of a kind; with the first kind, all that a chapter shows."""
    _DATA[:] = [data]
    rows = _measured(run.seed, run.condition.name, run.quick)
    each = [
        [
            (row["given"] - row["without"])[k].item()
            for k, its in enumerate(row["kinds"])
            if its == run.arm
        ]
        for row in rows
    ]
    every = [value for some in each for value in some]
    found = {
        "evidence": sum(every) / max(1, len(every)),
        "words": len(every),
        "below zero": 100 * sum(v < 0 for v in every) / max(1, len(every)),
        "photographs": [
            round(sum(some) / len(some), 3) if some else None for some in each
        ],
    }
    if run.arm == SAID:
        whole = [(row["given"] - row["without"]).sum().item() for row in rows]
        found["captions"] = [round(value, 2) for value in whole]
    if run.arm == SAID and run.condition.name == OTHER:
        found |= shown(run, data, rows)
    return found


def shown(run: Run, data: Pictures, rows: list[dict]) -> dict:
    """Captions with their probabilities, agreement of the maps, maps of a few."""
    model, kept, maps = model_of(run.seed), [], {}
    grey = _measured(run.seed, GREY, run.quick)
    mean = _measured(run.seed, MEAN, run.quick)
    pairs: dict[str, list] = {"drop, gradient": [], "drop, painted": []}
    pairs |= {"gradient, painted": []}
    for n, row in enumerate(rows):
        ids = written(run.seed, n)
        words_here = spelled(ids, model.head.end)
        columns = (row["given"], mean[n]["without"], grey[n]["without"], row["first"])
        p = [[round(v, 3) for v in c.exp().tolist()] for c in columns]
        kept.append([row["words"], *p])
        if n not in MAPPED:
            continue
        content = [k for k, its in enumerate(row["kinds"]) if its in (SAID, UNSAID)]
        with torch.no_grad():
            drop = dropped(model, data.features[n], ids, words_here)
            paint = painted(model, data, n, ids, words_here)
        slope = times_input(model, data.features[n], ids, words_here)
        if len(content) > 1:
            pairs["drop, gradient"].append(agreement(drop, slope, content))
            pairs["drop, painted"].append(agreement(drop, paint, content))
            pairs["gradient, painted"].append(agreement(slope, paint, content))
        if n in SHOWN and run.seed == 1:
            maps[str(n)] = {
                "words": [row["words"][k] for k in content],
                "drop": _short(drop[content]),
                "gradient": _short(slope[content]),
                "painted": _short(paint[content]),
            }
        print(f"maps of photograph {n}, seed {run.seed}", flush=True)
    agree = {
        name: [[round(x, 3) for x in pair] for pair in v] for name, v in pairs.items()
    }
    return {"said": kept, "agreement": agree, "maps": maps}


def _short(values: Tensor) -> list:
    return [[round(x, 3) for x in row] for row in values.tolist()]


DESIGN = Design(
    question="What does a word of a vision–language model's caption owe to the photograph?",
    tries={SAID: [{}], UNSAID: [{}], FUNCTION: [{}]},
    conditions=[
        Condition(OTHER),
        Condition(MEAN, {"instead": "mean"}, like=OTHER, asks="the mean of all tokens"),
        Condition(GREY, {"instead": "grey"}, like=OTHER, asks="a grey picture"),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="evidence",
    unit="nats per word",
    untrained=(SAID, UNSAID, FUNCTION),
    needs=("MMBOOK_DATA", "MMBOOK_MODELS"),
)

if __name__ == "__main__":
    main(DESIGN, __file__)
