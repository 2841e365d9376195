"""How many labels pre-training saves on real data: pictures and spoken digits.

Two tasks, 10 to 1000 (digits: 2000) labels, three seeds, each with its own labels.
Pictures: which of 24 pairs of shape and colour does a picture of easy-VQA show? The labels
are read from its questions. Spoken digits: which digit was said in a recording of the Free
Spoken Digit Dataset (official split: all voices are known)? Each learns from scratch, and
from the book's own encoder of the same architecture, which was pre-trained on synthetic
scenes or synthetic speech alone and has never met anything of the kind: frozen with a
linear probe on the mean of its tokens, and fine-tuned from that probe. Beside the pictures
stands a probe on MobileNetV2, which was pre-trained on the photographs of ImageNet.

All trainings have the same number of steps. Validation examples choose, for each of them,
the best moment, for each probe its weight decay, and for each kind of training its rate
(at 100 labels, with a seed of its own). They are labels, too: who has only ten labels has
no such validation set, and no curve here counts them.

The factor is the number of labels with which training from scratch reaches an accuracy,
divided by the number with which a pre-trained model reaches the same; both are
interpolated on the logarithm of the number, and the accuracy is the one that training
from scratch reaches with all its labels; then the ones that it reaches with 300 and 1000
labels and three times the steps. Where a pre-trained model never gets there, the factor
is 0.

    MMBOOK_DATA=… MMBOOK_MODELS=… python benchmarks/label_efficiency.py [--kept FILE]

needs ``easyvqa`` and ``fsdd`` in the first folder and ``mobilenet_v2_1.0_224`` in the
second. ``--kept`` names a json file that keeps each finished run, so that a stopped
benchmark goes on.

Bound: with equal steps the better of the two ways to use the book's encoder saves a
factor of 4 or more on pictures, median of the seeds. With three times the steps for
training from scratch it is less than that, and on digits nothing is saved: there is no
bound for these.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from common import Bound, report, spread, table
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.data import EasyVQA, easy_vqa, spoken_digits, stack_audio
from mmbook.encoders import ConvAudioEncoder, ConvImageEncoder
from mmbook.heads import ClassificationHead
from mmbook.models import Output
from mmbook.pretrained import PretrainedImageEncoder
from mmbook.saving import build
from mmbook.training import TrainingConfig, fit

IMAGE_MODEL = "mobilenet_v2_1.0_224"
SIDE = 32  # pixels: things are then about as large as in the pictures of pre-training
SIZES = {"pictures": (10, 30, 100, 300, 1000), "digits": (10, 30, 100, 300, 1000, 2000)}
RATES = (3e-4, 1e-3, 3e-3)
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
SCRATCH, TUNED = "from scratch", "fine-tuned from the probe"
LONGER = "from scratch, three times the steps"
FROZEN = "frozen, linear probe"
COMPARED = (None, 300, 1000)  # None: equal steps; labels of the longer training


class Classifier(nn.Module):
    """An encoder of one modality and a linear head on the mean of its tokens."""

    def __init__(self, encoder: nn.Module, classes: int):
        super().__init__()
        self.encoder = encoder
        self.head = ClassificationHead(encoder.width, classes)

    def forward(self, values: Tensor, mask: Tensor | None = None, labels=None):
        """Logits (B, classes), and the loss if there are labels."""
        logits, loss = self.head(self.encoder(values, mask), labels)
        return Output(loss=loss, logits=logits)


class Examples:
    """Pictures or sounds in memory, with their labels.

    Parameters
    ----------
    values : pictures (n, 3, H, W) in [0, 1], or n waveforms.
    labels : (n,).
    """

    def __init__(self, values: Tensor | list[Tensor], labels: Tensor):
        self.values, self.labels = values, labels

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, numbers: Sequence[int]) -> Examples:
        """Only these."""
        if isinstance(self.values, Tensor):
            return Examples(self.values[numbers], self.labels[numbers])
        return Examples([self.values[i] for i in numbers], self.labels[numbers])

    def batch(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """What the classifier takes: the collate function of :func:`fit`."""
        part = self.some(numbers)
        if isinstance(part.values, Tensor):
            return {"values": part.values, "labels": part.labels}
        sounds, mask = stack_audio(part.values)
        return {"values": sounds, "mask": mask, "labels": part.labels}

    def batches(self, size: int = 100):
        """All of them, in order."""
        for first in range(0, len(self), size):
            yield self.batch(range(first, min(first + size, len(self))))


@torch.inference_mode()
def accuracy(model: Classifier, data: Examples) -> float:
    """Per cent right."""
    model.eval()
    device, right = next(model.parameters()).device, 0
    for batch in data.batches():
        batch = {name: value.to(device) for name, value in batch.items()}
        labels = batch.pop("labels")
        right += (model(**batch).logits.argmax(-1) == labels).sum().item()
    return 100 * right / len(data)


@torch.no_grad()
def vectors(encoder: nn.Module, data: Examples) -> Tensor:
    """The mean of each example's tokens: (n, D)."""
    encoder.eval()
    rows = []
    for batch in data.batches():
        batch.pop("labels")
        rows.append(encoder(*batch.values()).pooled())
    return torch.cat(rows)


def probe(x: Tensor, labels: Tensor, classes: int, decay: float) -> nn.Linear:
    """Softmax regression on frozen vectors (n, D), each number scaled to spread one."""
    centre, width = x.mean(0), x.std(0) + 1e-3
    scaled = (x - centre) / width
    layer = nn.Linear(x.shape[1], classes)
    nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(layer(scaled), labels)
        value = value + decay * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():  # the scaling becomes part of the layer
        layer.weight /= width
        layer.bias -= layer.weight @ centre
    return layer


def best_probe(x, labels, classes, held, truth) -> nn.Linear:
    """The probe whose weight decay is the best on validation."""
    probes = [probe(x, labels, classes, decay) for decay in DECAYS]
    right = [(p(held).argmax(-1) == truth).float().mean().item() for p in probes]
    return probes[int(np.argmax(right))]


def trained(model: Classifier, data: Examples, held: Examples, rate, steps, seed):
    """After ``fit``, at the moment that was best on validation."""
    every = steps // 6
    config = TrainingConfig(
        steps=steps,
        batch_size=min(32, len(data)),
        learning_rate=rate,
        weight_decay=0.05,
        validate_every=every,
        patience=steps,  # never stops, but goes back to the best
        metric="right",
        maximise=True,
        precision="no",
        seed=seed,
    )
    validate = lambda m: {"right": accuracy(m, held)}  # noqa: E731
    fit(model, range(len(data)), config, data.batch, validate)
    return model


# ------------------------------------------------------------------------- the tasks


class Task:
    """Training, validation and test examples, and the encoders.

    Parameters
    ----------
    name : for the table.
    train, held, test : examples.
    pretrained : makes the book's encoder; ``fresh`` the same with random weights.
    classes : how many.
    """

    def __init__(self, name, train, held, test, pretrained, fresh, classes):
        self.name, self.classes = name, classes
        self.train, self.held, self.test = train, held, test
        self.pretrained, self.fresh = pretrained, fresh
        self.kept: dict[str, tuple[Tensor, ...]] = {}  # vectors of frozen encoders
        parts = (train, held, test)
        self.probes: dict[str, tuple[Callable[[], nn.Module], tuple]] = {
            FROZEN: (pretrained, parts)
        }

    def labelled(self, count: int, seed: int) -> list[int]:
        """Which training examples have a label."""
        rng = np.random.default_rng((seed, 7))
        return rng.permutation(len(self.train))[:count].tolist()

    def frozen(self, name: str) -> tuple[Tensor, ...]:
        """Vectors of training, validation and test; computed once."""
        if name not in self.kept:
            make, parts = self.probes[name]
            encoder = make()
            self.kept[name] = tuple(vectors(encoder, part) for part in parts)
        return self.kept[name]

    def probed(self, name: str, numbers: list[int]) -> tuple[nn.Linear, float]:
        """The probe on some labels, and its per cent right in the test."""
        train, held, test = self.frozen(name)
        y = self.train.labels[numbers]
        layer = best_probe(train[numbers], y, self.classes, held, self.held.labels)
        right = layer(test).argmax(-1) == self.test.labels
        return layer, 100 * right.float().mean().item()

    def model(self, kind: str, numbers: list[int], seed: int) -> Classifier:
        """What is to be trained."""
        torch.manual_seed(seed)
        if kind in (SCRATCH, LONGER):
            return Classifier(self.fresh(), self.classes)
        model = Classifier(self.pretrained(), self.classes)
        layer = self.probed(FROZEN, numbers)[0]
        model.head.layers[-1].load_state_dict(layer.state_dict())
        return model

    def rate(self, kind: str, steps: int) -> float:
        """The rate that is best on validation at 100 labels, with another seed."""
        numbers, right = self.labelled(100, 99), {}
        for rate in RATES:
            model = self.model(kind, numbers, 99)
            trained(model, self.train.some(numbers), self.held, rate, steps, 99)
            right[rate] = accuracy(model, self.held)
        print(self.name, kind, "rates on validation:", right, flush=True)
        return max(right, key=right.get)

    def run(self, kind: str, count: int, seed: int, rate: float | None, steps: int):
        """Per cent right in the test."""
        numbers = self.labelled(count, seed)
        if kind in self.probes:
            return self.probed(kind, numbers)[1]
        model = self.model(kind, numbers, seed)
        trained(model, self.train.some(numbers), self.held, rate, steps, seed)
        return accuracy(model, self.test)


def shown(data: EasyVQA) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 64, 64) in [0, 1] and the pair of shape and colour of each.

    Of a picture whose questions and answers leave one of the two open, nothing is taken.
    """
    words = [a for a in data.answers if a not in ("yes", "no")]
    shapes = [a for a in words if a in ("circle", "rectangle", "triangle")]
    colours = [a for a in words if a not in shapes]
    known: dict[int, set[str]] = {}
    for row, question in enumerate(data.questions):
        if question.startswith("what"):
            said = {*question.rstrip("?").split(), data.answers[data.labels[row]]}
            known.setdefault(data.pictures[row], set()).update(said & set(words))
    whole = sorted(number for number, said in known.items() if len(said) == 2)
    labels = [
        next(i for i, s in enumerate(shapes) if s in known[n]) * len(colours)
        + next(i for i, c in enumerate(colours) if c in known[n])
        for n in whole
    ]
    return data.images[whole].float() / 255, torch.tensor(labels)


def pictures(data: Path, models: Path) -> Task:
    """easy-VQA: 1000 training and 300 validation pictures; all test pictures."""
    images, labels = shown(easy_vqa(data / "easyvqa", "train"))
    tests, truth = shown(easy_vqa(data / "easyvqa", "test"))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    large = [
        Examples(images[order[:1000]], labels[order[:1000]]),
        Examples(images[order[1000:1300]], labels[order[1000:1300]]),
        Examples(tests, truth),
    ]
    small = [
        Examples(F.interpolate(part.values, size=SIDE, mode="area"), part.labels)
        for part in large
    ]

    def fresh() -> ConvImageEncoder:
        return ConvImageEncoder(96, size=SIDE)

    def pretrained() -> ConvImageEncoder:
        source = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
        encoder = fresh()
        encoder.stages = source.stages
        with torch.no_grad():  # fewer places: each gets the mean of what was learned
            encoder.position.copy_(source.position.mean(0).expand_as(encoder.position))
        return encoder

    task = Task("pictures", *small, pretrained, fresh, 24)
    make = functools.partial(
        PretrainedImageEncoder.from_pretrained, models / IMAGE_MODEL
    )
    task.probes["MobileNetV2, frozen, linear probe"] = (make, large)
    return task


class KeptSpectrum(nn.Module):
    """Stands where the spectrogram is computed, and is given it: (B, T, C), (B, T)."""

    def forward(self, spectrum: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T) and the mask, as the encoder's own spectrogram gives them."""
        return spectrum.transpose(1, 2), mask


def digits(data: Path) -> Task:
    """Spoken digits at 16 kHz: 2400 training, 300 validation, 300 test recordings."""
    source = ConvAudioEncoder.from_pretrained("mmbook/scene-audio-encoder")
    config, hear = source.to_config(), source.spectrogram
    source.spectrogram = KeptSpectrum()

    def fresh() -> ConvAudioEncoder:
        encoder = build(config)
        encoder.spectrogram = KeptSpectrum()
        return encoder

    def kept(split: str) -> Examples:
        part = spoken_digits(data / "fsdd", split)
        sounds = (hear(*stack_audio([part.sound(i)])) for i in range(len(part)))
        spectra = [spectrum[0, :, seen[0]].T for spectrum, seen in sounds]
        return Examples(spectra, torch.tensor([row["label"] for row in part.known]))

    whole, test = kept("train"), kept("test")
    order = torch.randperm(2700, generator=torch.Generator().manual_seed(0)).tolist()
    train, held = whole.some(order[300:]), whole.some(order[:300])
    pretrained = functools.partial(copy.deepcopy, source)
    return Task("digits", train, held, test, pretrained, fresh, 10)


# ---------------------------------------------------------------------------- numbers


def needed(accuracies: Sequence[float], sizes: Sequence[int], wanted: float) -> float:
    """With how many labels the curve reaches an accuracy, on the logarithmic axis.

    Infinite if it never does; the fewest if it is there from the start.
    """
    rising = np.maximum.accumulate(accuracies)
    if wanted > rising[-1]:
        return math.inf
    if wanted <= rising[0]:
        return float(sizes[0])
    last = int(np.argmax(rising >= wanted))
    share = (wanted - rising[last - 1]) / (rising[last] - rising[last - 1])
    low, high = math.log(sizes[last - 1]), math.log(sizes[last])
    return math.exp(low + share * (high - low))


def factors(
    done: dict[str, float], task: str, kind: str, seeds: int, count: int | None = None
) -> list[float]:
    """Of each seed, how many times as many labels training from scratch needs.

    ``count``: for the accuracy that three times the steps reach with so many labels.
    None: for the best accuracy that the same number of steps reaches.
    """
    sizes, found = SIZES[task], []
    for seed in () if kind in (SCRATCH, LONGER) else range(seeds):
        longer = f"{task}|{LONGER}|{count}|{seed}"
        if f"{task}|{kind}|{sizes[-1]}|{seed}" not in done or (
            count and longer not in done
        ):
            continue
        curve = [done[f"{task}|{kind}|{n}|{seed}"] for n in sizes]
        scratch = [done[f"{task}|{SCRATCH}|{n}|{seed}"] for n in sizes]
        if count:
            top, many = done[longer], count
        else:
            top = max(scratch)
            many = needed(scratch, sizes, top)
        found.append(many / needed(curve, sizes, top))
    return found


def settings() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=sorted(SIZES), help="one task, no report")
    parser.add_argument(
        "--report", action="store_true", help="of what is kept; no runs"
    )
    parser.add_argument("--kept", type=Path, help="a json file for finished runs")
    return parser.parse_args()


def main() -> None:
    """Run what is not kept yet, report."""
    given = settings()
    missing = [n for n in ("MMBOOK_DATA", "MMBOOK_MODELS") if not os.environ.get(n)]
    if missing:
        sys.exit(f"set {' and '.join(missing)}: see the head of this file")
    data, models = (Path(os.environ[n]) for n in ("MMBOOK_DATA", "MMBOOK_MODELS"))
    torch.set_num_threads(given.threads)
    kept = given.kept
    done = json.loads(kept.read_text()) if kept and kept.is_file() else {}
    makers = {
        "pictures": lambda: pictures(data, models),
        "digits": lambda: digits(data),
    }
    for name in () if given.report else [given.only] if given.only else makers:
        measure(makers[name](), given, done)
    if not given.only:
        finish(given, done)


def measure(task: Task, given: argparse.Namespace, done: dict[str, float]) -> None:
    """All runs of a task that are not done yet."""
    start = time.process_time()

    def note(key: str, value: float) -> None:
        done[key] = value
        print(f"{key}: {value:.4g}, {time.process_time() - start:.0f} s", flush=True)
        if given.kept:
            given.kept.write_text(json.dumps(done))

    for kind in (SCRATCH, TUNED, LONGER, *task.probes):
        rate, steps = None, given.steps * (3 if kind == LONGER else 1)
        if kind not in task.probes:
            key = f"{task.name}|{SCRATCH if kind == LONGER else kind}|rate"
            if key not in done:
                note(key, task.rate(kind, steps))
            rate = done[key]
        for seed in range(given.seeds):
            for count in SIZES[task.name][2 if kind == LONGER else 0 :]:
                key = f"{task.name}|{kind}|{count}|{seed}"
                if key not in done:
                    note(key, task.run(kind, count, seed, rate, steps))


def finish(given: argparse.Namespace, done: dict[str, float]) -> None:
    """The tables and the bounds."""
    body, best = [], {}
    for task, sizes in SIZES.items():
        kinds = list(dict.fromkeys(k.split("|")[1] for k in done if k.startswith(task)))
        rows = []
        for kind in kinds:
            columns = [
                [done.get(f"{task}|{kind}|{n}|{s}") for s in range(given.seeds)]
                for n in sizes
            ]
            columns = [[x for x in column if x is not None] for column in columns]
            found = [factors(done, task, kind, given.seeds, n) for n in COMPARED]
            seeds = max(map(len, columns))
            rows.append([kind, seeds, *map(_said, columns), *map(_spread, found)])
            if kind in (TUNED, FROZEN) and found[0]:
                best[task] = max(best.get(task, 0), statistics.median(found[0]))
        header = [f"{task}: labels", "seeds", *sizes, "times fewer, same steps"]
        header += [f"than {n} with three times the steps" for n in COMPARED[1:]]
        body.append(table(header, rows))
    about = " ".join(" ".join(__doc__.split("\n\n")[1:4]).split())
    rates = ", ".join(
        f"{key.split('|')[0]} {key.split('|')[1]} {value:g}"
        for key, value in done.items()
        if key.endswith("rate")
    )
    report(
        "label_efficiency",
        f"{about} {given.steps} steps of 32, the seeds that each row names; per cent right in the "
        "test, mean ± standard deviation; of the factors the median, the smallest and "
        f"the largest. Rates: {rates}.",
        "\n\n".join(body),
        [
            Bound(f"times fewer labels, {name}", best[name], 4.0, at_most=False)
            for name in ("pictures",)
        ],
    )


def _spread(numbers: list[float]) -> str:
    return spread(numbers, 2) if numbers else ""


def _said(numbers: list[float]) -> str:
    if not numbers:
        return ""
    text = f"{statistics.mean(numbers):.1f}"
    return text + (f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else "")


if __name__ == "__main__":
    main()
