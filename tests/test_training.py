"""The loop: exact accumulation, exact resuming, clear errors, no waiting.

Run as a script it is a run that gets killed and a run of two processes.
"""

import copy
import gc
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset

from mmbook.data import Collate
from mmbook.encoders import PatchImageEncoder
from mmbook.fusion import Concatenation
from mmbook.generation import generate, to_text
from mmbook.heads import GenerationHead
from mmbook.models import LanguageModel, MultimodalModel, Output
from mmbook.training import (
    History,
    ShuffledStream,
    TrainingConfig,
    checkpoints,
    count_labels,
    fit,
    learning_rate,
    make_optimizer,
)
from mmbook.world import CaptionedScenes, sample_scenes, scene_tokenizer

checkpointing = sys.modules["mmbook.training.checkpoints"]

pytestmark = pytest.mark.usefixtures("fast_garbage_collection")
IGNORED = -100
TOKENIZER = scene_tokenizer()
COLLATE = Collate(TOKENIZER)
DATA = CaptionedScenes(sample_scenes(24, seed=0), style="varied", size=16)


@pytest.fixture(scope="module")
def fast_garbage_collection():
    """Each run ends with a collection; what was imported need not be looked through."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def captioner(dropout=0.0, width=16):
    torch.manual_seed(0)
    head = GenerationHead(
        len(TOKENIZER), width, 1, 2, 24, context_width=width, dropout=dropout
    )
    encoder = PatchImageEncoder(width, 1, 2, size=16, patch=8, dropout=dropout)
    return MultimodalModel(
        {"image": encoder}, Concatenation({"image": width}, width), head
    )


def train(model=None, data=DATA, collate=COLLATE, validate=None, **settings):
    """A short run; gives back the model and the history."""
    model = model or captioner()
    settings = {"steps": 6, "batch_size": 4, "warmup": 0.0} | settings
    return model, fit(model, data, TrainingConfig(**settings), collate, validate)


def assert_same_weights(first, second, **tolerance):
    first, second = first.state_dict(), second.state_dict()
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            value, second[name], msg=lambda m, n=name: f"{n}: {m}", **tolerance
        )


EXACTLY = {"rtol": 0, "atol": 0}


# ---------------------------------------------------------- it learns, what it is told


def test_four_captions_overfitted_come_back_word_for_word():
    data = CaptionedScenes(sample_scenes(4, seed=3, objects=(2,)), "varied", size=16)
    model, history = train(
        captioner(width=32),
        data,
        steps=120,
        batch_size=4,
        learning_rate=1e-2,
        warmup=0.1,
    )
    assert history["loss"][-1] < 0.02 < 1 < history["loss"][0]
    batch = COLLATE([data[i] for i in range(4)])
    assert len({len(caption.split()) for caption in data.captions}) > 1
    for settings in ({}, {"use_cache": False}, {"method": "beam"}):
        assert (
            to_text(generate(model, batch, 24, **settings), TOKENIZER) == data.captions
        )


def test_the_first_steps_are_what_pytorch_does_by_hand():
    twin = captioner()
    config = TrainingConfig(steps=3, batch_size=4, warmup=0.0, schedule="constant")
    optimizer = torch.optim.AdamW(
        [{"params": [p]} for p in twin.parameters()], lr=1e-3, betas=(0.9, 0.98)
    )
    layers = [m for m in twin.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    decayed = {id(layer.weight) for layer in layers}
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.01 if id(group["params"][0]) in decayed else 0.0
    expected = []
    for step, order in enumerate(ShuffledStream(24, config)):
        loss = twin(**COLLATE([DATA[index] for index in order])).loss
        loss.backward()
        norm = nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(
            {
                "step": step,
                "loss": pytest.approx(loss.item()),
                "gradient_norm": pytest.approx(norm.item(), rel=1e-4),
                "learning_rate": 1e-3,
            }
        )
    model, history = train(steps=3, schedule="constant")
    assert history.steps == expected
    for name, value in model.state_dict().items():
        if not name.endswith("key.bias"):  # without a gradient Adam follows rounding
            torch.testing.assert_close(
                value, twin.state_dict()[name], rtol=0, atol=1e-5
            )


# ----------------------------------------------------- one batch = its parts = two processes

SAME = {"optimizer": "sgd", "learning_rate": 0.1, "steps": 6}


@pytest.mark.parametrize("parts", [2, 4])
def test_one_batch_equals_accumulated_parts(parts):
    """SGD, since Adam makes rounding as large as the learning rate where nothing pulls."""
    whole, first = train(batch_size=8, **SAME)
    split, second = train(batch_size=8 // parts, accumulation=parts, **SAME)
    assert_same_weights(whole, split, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        torch.tensor(first["loss"]), torch.tensor(second["loss"])
    )
    start = captioner().state_dict()
    moved = [(whole.state_dict()[n] - v).abs().max() for n, v in start.items()]
    assert max(moved) > 0.05  # so the comparison means something


def test_parts_differ_in_length_so_averages_of_averages_would_be_wrong():
    stream = ShuffledStream(24, TrainingConfig(batch_size=4, accumulation=2, steps=1))
    counts = [count_labels(COLLATE([DATA[i] for i in part])).item() for part in stream]
    assert counts[0] != counts[1]


def test_accumulated_adamw_goes_the_same_way():
    _, whole = train(batch_size=8)
    _, split = train(batch_size=2, accumulation=4)
    torch.testing.assert_close(torch.tensor(whole["loss"]), torch.tensor(split["loss"]))
    norms = (torch.tensor(h["gradient_norm"]) for h in (whole, split))
    torch.testing.assert_close(*norms, rtol=1e-4, atol=1e-5)


def test_a_part_without_a_single_label_counts_nothing():
    items = [{"image": DATA[0]["image"], "labels": [5, 2]}]
    items += [{"image": DATA[1]["image"], "labels": [IGNORED] * 2}]

    def collate(batch):
        images = torch.stack([item["image"] for item in batch]).float() / 255
        return {"image": images, "labels": torch.tensor([i["labels"] for i in batch])}

    settings = {"collate": collate, **SAME, "steps": 2}
    whole, _ = train(data=items, batch_size=2, **settings)
    split, history = train(data=items, batch_size=1, accumulation=2, **settings)
    assert all(map(math.isfinite, history["loss"]))
    assert_same_weights(whole, split, rtol=0, atol=1e-6)


DISTRIBUTED = {"batch_size": 2, "accumulation": 2, **SAME}
STOPPING = {"steps": 12, "validate_every": 2, "patience": 2, "batch_size": 2}
DROPPING = {"steps": 6, "batch_size": 2, "save_every": 3}


def distributed(folder, rank, port):
    """What each process does; see the tests that read its files."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    model, history = train(**DISTRIBUTED)
    model.save_pretrained(folder / f"sgd-{rank}")
    (folder / f"sgd-{rank}.json").write_text(json.dumps(history.steps))

    seen = []  # the processes would decide differently, if each were asked alone

    def validate(model):
        seen.append(model.head.bias.detach().clone())
        return {
            "loss": (1.0, 0.5, 0.7, 0.8, 0.1)[len(seen) - 1]
            if rank == 0
            else -len(seen)
        }

    model, history = train(validate=validate, **STOPPING)
    (folder / f"stopped-{rank}.json").write_text(json.dumps(history.validations))
    assert torch.equal(model.head.bias, seen[1])

    model, _ = train(captioner(dropout=0.5), folder=str(folder / "runs"), **DROPPING)
    model.save_pretrained(folder / f"dropping-{rank}")
    torch.distributed.barrier()
    if rank == 0:
        checkpointing._remove(checkpoints(folder / "runs")[-1])
    torch.distributed.barrier()
    model, _ = train(captioner(dropout=0.5), folder=str(folder / "runs"), **DROPPING)
    model.save_pretrained(folder / f"resumed-{rank}")
    torch.distributed.destroy_process_group()


def test_one_process_equals_two(script):
    alone, history = train(batch_size=8, **SAME)
    for rank in range(2):
        there = MultimodalModel.from_pretrained(script / f"sgd-{rank}")
        assert_same_weights(alone, there, rtol=0, atol=1e-5)
        steps = json.loads((script / f"sgd-{rank}.json").read_text())
        losses = torch.tensor([step["loss"] for step in steps])
        torch.testing.assert_close(losses, torch.tensor(history["loss"]))


def test_two_processes_stop_early_together(script):
    """Process 0 decides for all; the other one would have gone on for ever."""
    first, second = (
        json.loads((script / f"stopped-{rank}.json").read_text()) for rank in (0, 1)
    )
    assert [record["loss"] for record in first] == [1.0, 0.5, 0.7, 0.8]
    assert [record["step"] for record in first] == [2, 4, 6, 8]
    assert first == second


def test_two_processes_resume_bit_for_bit(script):
    """Each process gets its own dropout back, not that of process 0."""
    models = [
        MultimodalModel.from_pretrained(script / f"{name}-{rank}")
        for name in ("dropping", "resumed")
        for rank in (0, 1)
    ]
    for model in models[1:]:
        assert_same_weights(models[0], model, **EXACTLY)


# --------------------------------------------------------------- killed and taken up


class Restless(Dataset):
    """Pictures with noise, drawn when they are asked for: the random state matters."""

    def __len__(self):
        return len(DATA)

    def __getitem__(self, index):
        item = dict(DATA[index])
        brightness = torch.rand(()) + random.random() + np.random.rand()
        item["image"] = item["image"].float() / 255 * brightness
        return item


LONG = {
    "steps": 10,
    "save_every": 3,
    "warmup": 0.2,
    "accumulation": 2,
    "data": Restless(),
}


def noisy_loss(model):
    """Validation that draws random numbers too."""
    torch.rand(1)
    return {"loss": model(**COLLATE([DATA[i] for i in range(4)])).loss}


def long_run(folder, **changes):
    random.seed(0)
    np.random.seed(0)
    settings = LONG | {"validate_every": 4} | changes
    return train(captioner(dropout=0.3), validate=noisy_loss, folder=folder, **settings)


def killed(folder):
    """Train, and die in the middle of writing the checkpoint of step 6."""

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    save = checkpointing.save_file
    checkpointing.save_file = lambda tensors, file: (
        kill() if "step-00000006" in str(file) and "random" in str(file) else None,
        save(tensors, file),
    )
    long_run(str(folder))


def test_kill_9_and_resume_is_as_if_nothing_had_happened(script, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(script / "killed", folder)
    assert [path.name for path in checkpoints(folder)] == ["step-00000003"]
    half = [path for path in folder.iterdir() if path.name.startswith(".step-00000006")]
    assert len(half) == 1 and any(half[0].iterdir())

    uninterrupted, expected = long_run(None, save_every=None)
    resumed, history = long_run(str(folder))
    assert_same_weights(resumed, uninterrupted, **EXACTLY)
    assert history == expected
    assert [step["step"] for step in history.steps] == list(range(10))


def test_resume_at_the_end_trains_no_further(tmp_path):
    first, history = long_run(str(tmp_path))
    again, same = long_run(str(tmp_path))
    assert_same_weights(first, again, **EXACTLY)
    assert same == history


def test_interrupted_runs_in_this_process_resume_too(tmp_path):
    """As a reader does who presses stop: at each step in turn."""
    expected, _ = long_run(None, save_every=None)

    class Stop(Exception):
        pass

    for last in (2, 5, 9):
        calls = []

        def collate(items, calls=calls, last=last):
            calls.append(1)
            if len(calls) > 2 * last:
                raise Stop
            return COLLATE(items)

        folder = str(tmp_path / str(last))
        with pytest.raises(Stop):
            long_run(folder, collate=collate)
        resumed, _ = long_run(folder)
        assert_same_weights(resumed, expected, **EXACTLY)


def test_checkpoints_hold_no_pickle_and_only_the_newest_stay(tmp_path):
    long_run(str(tmp_path), save_every=2, keep=3)
    names = [path.name for path in checkpoints(tmp_path)]
    assert names == ["step-00000006", "step-00000008", "step-00000010"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    files = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {".safetensors", ".json"}


def test_a_finished_checkpoint_is_never_written_twice(tmp_path):
    train(folder=str(tmp_path), save_every=3)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    train(folder=str(tmp_path), save_every=3)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


FILES = (
    "model.safetensors",
    "optimizer.safetensors",
    "random.safetensors",
    "state.json",
)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_named(tmp_path, file, damage):
    train(folder=str(tmp_path), steps=1)
    path = checkpoints(tmp_path)[0] / file
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=file) as error:
        train(folder=str(tmp_path), steps=1)
    assert any(word in str(error.value) for word in ("damaged", "no weights at"))


def test_a_checkpoint_of_another_configuration_is_named(tmp_path):
    train(folder=str(tmp_path), save_every=3, steps=3)
    with pytest.raises(ValueError, match=r"learning_rate: 0.001 → 0.1.*new folder"):
        train(folder=str(tmp_path), steps=3, learning_rate=0.1)
    train(folder=str(tmp_path), steps=3, keep=1)  # this changes no result
    with pytest.raises(ValueError, match=r"weights in.*do not fit"):
        train(captioner(width=8), folder=str(tmp_path), steps=3)
    frozen = captioner()
    frozen.encoders.requires_grad_(False)
    with pytest.raises(ValueError, match=r"parameter groups differ.*frozen"):
        train(frozen, folder=str(tmp_path), steps=3)


# ------------------------------------------------------------------- stopping early


def scripted(values):
    """A validation that returns these numbers and keeps the weights it was shown."""
    shown, left = [], iter(values)

    def validate(model):
        assert not model.training and not torch.is_grad_enabled()
        shown.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"score": next(left)}

    return validate, shown


EARLY = {"steps": 20, "validate_every": 2, "patience": 2, "metric": "score"}


@pytest.mark.parametrize(
    ("maximise", "scores", "best"),
    [(True, (1, 3, 2, 3), 1), (False, (3, 1, 2, 1), 1), (True, (1, 2, 3, 2, 1), 2)],
)
def test_stopping_early_restores_the_best_weights(maximise, scores, best):
    validate, shown = scripted(scores)
    model, history = train(validate=validate, maximise=maximise, **EARLY)
    assert history.stopped_early and len(history.validations) == len(scores)
    assert len(history.steps) == 2 * len(scores)
    for name, value in model.state_dict().items():
        assert torch.equal(value, shown[best][name]), name


def test_without_patience_training_goes_to_the_end():
    validate, shown = scripted((3, 2, 1))
    model, history = train(validate=validate, steps=6, validate_every=2)
    assert not history.stopped_early and len(history.steps) == 6
    for name, value in model.state_dict().items():
        assert torch.equal(value, shown[-1][name]), name
    assert model.training is False


def test_with_patience_the_best_weights_return_even_at_the_end():
    validate, shown = scripted((1, 5, 4))
    settings = EARLY | {"steps": 6, "patience": 9, "maximise": True}
    model, history = train(validate=validate, **settings)
    assert not history.stopped_early
    assert torch.equal(model.head.bias, shown[1]["head.bias"])


@pytest.mark.parametrize("save_every", [2, 3])
def test_stopping_early_survives_resuming(tmp_path, save_every):
    scores = (1, 5, 4, 3)
    settings = EARLY | {"maximise": True}
    validate, _ = scripted(scores)
    expected, history = train(validate=validate, **settings)

    class Stop(Exception):
        pass

    def until_step_6(model):
        if len(asked) == 2:
            raise Stop
        asked.append(1)
        return {"score": scores[len(asked) - 1]}

    asked, folder = [], str(tmp_path)
    saving = settings | {"folder": folder, "save_every": save_every}
    with pytest.raises(Stop):
        train(validate=until_step_6, **saving)
    done = int(checkpoints(tmp_path)[-1].name.removeprefix("step-")) // 2
    model, resumed = train(validate=scripted(scores[done:])[0], **saving)
    assert resumed == history
    assert_same_weights(model, expected, **EXACTLY)
    again, same = train(validate=scripted(())[0], **saving)  # it asks no more
    assert same == history
    assert_same_weights(again, expected, **EXACTLY)


def test_not_a_number_is_never_the_best():
    validate, shown = scripted((float("nan"), 2.0, float("nan"), 1.0))
    model, history = train(validate=validate, **(EARLY | {"maximise": True}))
    assert len(history.validations) == 4
    assert torch.equal(model.head.bias, shown[1]["head.bias"])


def test_wrong_wishes_about_validation_are_named():
    cider = {"metric": "cider", "validate_every": 1}
    with pytest.raises(
        ValueError, match="metric is 'cider', but validate returned score"
    ):
        train(validate=scripted((1,))[0], steps=1, patience=1, **cider)
    with pytest.raises(ValueError, match="patience needs validate: numbers"):
        train(patience=2, validate_every=1)
    with pytest.raises(ValueError, match="patience needs validate_every"):
        TrainingConfig(patience=2)


# ------------------------------------------------------- under other people's loops


class SameOrder:
    """Mixed into ``transformers.Trainer``: the examples in our order."""

    def get_train_dataloader(self):
        stream = ShuffledStream(len(DATA), self.same_config)
        return DataLoader(DATA, batch_sampler=stream, collate_fn=COLLATE)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_same_model_trains_under_transformers_trainer(tmp_path, accumulation):
    """The same weights come out: the loss is what Trainer thinks it is, parts included."""
    from transformers import Trainer, TrainingArguments

    class Same(SameOrder, Trainer):
        same_config = TrainingConfig(batch_size=4, accumulation=accumulation, steps=6)

    theirs = captioner()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=accumulation,
        max_grad_norm=1.0,
        remove_unused_columns=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Same(
        theirs,
        arguments,
        train_dataset=DATA,
        data_collator=COLLATE,
        optimizers=(optimizer, schedule),
    )
    trainer.train()
    ours, history = train(
        accumulation=accumulation, weight_decay=0.0, schedule="constant", **SAME
    )
    losses = [
        record["loss"] for record in trainer.state.log_history if "loss" in record
    ]
    assert losses == pytest.approx(history["loss"], abs=1e-3)
    assert_same_weights(ours, theirs, rtol=0, atol=1e-5)
    fit(theirs, DATA, TrainingConfig(steps=1, batch_size=2), COLLATE)  # and back again


def test_a_language_model_takes_the_count_from_trainer_too():
    model = LanguageModel(GenerationHead(len(TOKENIZER), 16, 1, 2, 24))
    assert model.accepts_loss_kwargs and captioner().accepts_loss_kwargs
    batch = {"labels": COLLATE([DATA[0], DATA[1]])["labels"]}
    half = model(**batch, num_items_in_batch=2 * count_labels(batch)).loss
    torch.testing.assert_close(half, model(**batch).loss / 2)


def tiny_gpt2():
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=len(TOKENIZER), n_positions=32, n_embd=16, n_layer=1, n_head=2
    )


def words(items):
    labels = COLLATE(items)["labels"]
    real = labels != IGNORED
    return {
        "input_ids": labels.clamp(min=0),
        "attention_mask": real.long(),
        "labels": labels,
    }


def test_a_transformers_language_model_trains_under_our_loop(tmp_path):
    from transformers import GPT2LMHeadModel

    torch.manual_seed(0)
    start = GPT2LMHeadModel(tiny_gpt2())
    model, history = train(start, collate=words, steps=30, learning_rate=1e-2)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    model.save_pretrained(tmp_path)
    again = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    batch = words([DATA[0]])
    assert torch.equal(again(**batch).loss, model(**batch).loss)


def test_a_transformers_classifier_trains_under_our_loop_in_parts_too():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )

    def collate(items):
        labels = [int(len(item["caption"].split()) > 5) for item in items]
        return words(items) | {"labels": torch.tensor(labels)}

    models = []
    for parts in (1, 2):
        torch.manual_seed(0)
        model, history = train(
            BertForSequenceClassification(config),
            collate=collate,
            batch_size=8 // parts,
            accumulation=parts,
            **SAME,
        )
        models.append(model)
    assert_same_weights(*models, rtol=0, atol=1e-5)
    assert history["loss"][0] == pytest.approx(math.log(2), abs=0.1)


# ------------------------------------------------------------------- what goes wrong


class Exploding(nn.Module):
    """Its loss is not finite for one picture."""

    def __init__(self, culprit, value):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.culprit, self.value = culprit, value

    def forward(self, index, image):
        loss = self.weight * image.mean()
        return Output(
            loss=loss + torch.where((index == self.culprit).any(), self.value, 0.0)
        )


def numbered(items):
    index = torch.tensor([item["index"] for item in items])
    return {"index": index, **COLLATE([{"image": item["image"]} for item in items])}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(tmp_path, value):
    config = TrainingConfig(batch_size=3, accumulation=2, steps=30)
    batches = list(ShuffledStream(24, config))
    culprit = batches[9][1]  # the second part of step 4
    first = next(n for n, batch in enumerate(batches) if culprit in batch) // 2
    with pytest.raises(
        FloatingPointError, match=rf"loss of step {first} is (nan|inf)"
    ) as error:
        train(
            Exploding(culprit, value),
            collate=numbered,
            folder=str(tmp_path),
            batch_size=3,
            accumulation=2,
            steps=30,
        )
    (file,) = tmp_path.glob(f"not-finite-step-{first}*.safetensors")
    assert str(file) in str(error.value) and "give TrainingConfig" not in str(
        error.value
    )
    kept = load_file(file)
    for number in range(2):
        expected = numbered([DATA[i] for i in batches[2 * first + number]])
        for name, tensor in expected.items():
            assert torch.equal(kept[f"{number}.{name}"], tensor)


def test_without_a_folder_the_error_says_how_to_keep_the_batch():
    with pytest.raises(FloatingPointError, match="give TrainingConfig a folder"):
        train(Exploding(DATA[3]["index"], math.nan), collate=numbered, steps=30)


def test_no_checkpoint_is_written_from_weights_that_are_not_finite(tmp_path):
    batches = list(ShuffledStream(24, TrainingConfig(batch_size=4, steps=6)))
    culprit = batches[4][0]
    first = next(n for n, batch in enumerate(batches) if culprit in batch)
    with pytest.raises(FloatingPointError):
        train(
            Exploding(culprit, math.nan),
            collate=numbered,
            folder=str(tmp_path),
            save_every=1,
        )
    assert len(checkpoints(tmp_path)) == min(first, 2)


def test_a_failure_leaves_the_model_as_it_was_found():
    model = captioner()
    with pytest.raises(ZeroDivisionError):
        train(model, validate=lambda _: 1 / 0, steps=1, precision="bf16")
    assert "forward" not in vars(model) and not model.training
    copy.deepcopy(model)


def test_empty_data_and_nothing_to_train_are_named():
    with pytest.raises(ValueError, match="the dataset is empty"):
        train(data=[])
    frozen = captioner().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        train(frozen)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps must be 1 or more; got 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more; got 0"),
        ({"accumulation": -1}, "accumulation must be 1 or more; got -1"),
        ({"optimizer": "lion"}, "optimizer must be one of adamw, sgd; got 'lion'"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant"),
        ({"precision": "int8"}, "precision must be one of auto, no, bf16"),
        ({"save_every": 5}, "save_every needs a folder"),
        ({"warmup": 100}, r"warmup is a share.*0 to 1; got 100"),
    ],
)
def test_wrong_configurations_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        TrainingConfig(**settings)


def test_the_configuration_is_json():
    config = TrainingConfig(rates={"encoders.": 0.1}, folder="runs")
    assert TrainingConfig(**json.loads(json.dumps(vars(config)))) == config


# ---------------------------------------------------------------- rate and optimiser


def test_the_learning_rate_rises_falls_and_ends():
    config = TrainingConfig(steps=100, warmup=0.1, learning_rate=2.0)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)  # half way down
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 0.001
    assert learning_rate(100, config) == pytest.approx(0)


def test_a_constant_rate_is_constant_after_warming_up():
    config = TrainingConfig(
        steps=10, warmup=0.2, learning_rate=2.0, schedule="constant"
    )
    rates = [learning_rate(step, config) for step in range(10)]
    assert rates == [1.0] + [2.0] * 9
    config = TrainingConfig(steps=3, warmup=0.0, schedule="constant", learning_rate=2.0)
    assert [learning_rate(step, config) for step in range(3)] == [2.0] * 3


def groups_of(model, **settings):
    """name → (decay, factor)"""
    optimizer = make_optimizer(model, TrainingConfig(**settings))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["weight_decay"], group["factor"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_decay_is_for_weights_of_linear_and_convolutional_layers_only(optimizer):
    model = captioner()
    groups = groups_of(model, weight_decay=0.3, optimizer=optimizer)
    expected = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    assert {name for name, (decay, _) in groups.items() if decay == 0.3} == expected
    assert {decay for decay, _ in groups.values()} == {0.3, 0.0}
    assert set(groups) == {name for name, _ in model.named_parameters()}


def test_decay_spares_embeddings_that_are_tied_to_the_output():
    from transformers import GPT2LMHeadModel

    groups = groups_of(GPT2LMHeadModel(tiny_gpt2()), weight_decay=0.3)
    decayed = {name for name, (decay, _) in groups.items() if decay}
    assert "transformer.wte.weight" not in decayed
    assert "transformer.h.0.attn.c_attn.weight" in decayed


def test_rates_go_by_the_longest_beginning():
    rates = {"encoders.": 0.1, "encoders.image.patches": 0.0, "head.bias": 5.0}
    factors = {
        n: factor for n, (_, factor) in groups_of(captioner(), rates=rates).items()
    }
    assert factors["encoders.image.summary"] == 0.1
    assert factors["encoders.image.patches.weight"] == 0.0
    assert factors["head.bias"] == 5.0 and factors["head.norm.weight"] == 1.0
    start = captioner().state_dict()
    moved, _ = train(rates=rates, weight_decay=0.0, steps=2)
    for name in ("weight", "bias"):
        key = f"encoders.image.patches.{name}"
        assert torch.equal(moved.state_dict()[key], start[key])
    assert not torch.equal(moved.head.bias, start["head.bias"])


def test_a_rate_for_nobody_is_named():
    with pytest.raises(ValueError, match=r"rates names 'encoder\.'.*encoders\.image"):
        make_optimizer(captioner(), TrainingConfig(rates={"encoder.": 0.1}))


def test_frozen_parameters_stay():
    model = captioner()
    model.encoders.requires_grad_(False)
    start = copy.deepcopy(model)
    assert not any(name.startswith("encoders.") for name in groups_of(model))
    train(model, steps=2)
    assert_same_weights(model.encoders, start.encoders, **EXACTLY)
    assert not torch.equal(model.head.bias, start.head.bias)


def test_clipping_shortens_the_gradient_and_notes_its_length_before():
    settings = SAME | {"steps": 1, "learning_rate": 1.0, "schedule": "constant"}
    start = captioner()
    for clip in (0.01, None):
        model, history = train(clip=clip, weight_decay=0.0, **settings)
        moves = zip(start.parameters(), model.parameters(), strict=True)
        moved = torch.stack([(b - a).norm() for a, b in moves]).norm().item()
        norm = history["gradient_norm"][0]
        assert norm > 0.1
        assert moved == pytest.approx(min(norm, clip or norm), rel=1e-3)


# --------------------------------------------------------------------- order of data


def stream(length=10, start=0, rank=0, processes=1, **settings):
    settings = {"steps": 12, "batch_size": 4} | settings
    return list(
        ShuffledStream(length, TrainingConfig(**settings), start, rank, processes)
    )


@pytest.mark.parametrize("batch_size", [1, 4, 10, 25])
def test_every_example_comes_once_an_epoch(batch_size):
    batches = stream(batch_size=batch_size, steps=20)
    assert all(len(batch) == batch_size for batch in batches)
    order = [index for batch in batches for index in batch]
    epochs = [order[i : i + 10] for i in range(0, len(order) - 9, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == len(epochs)  # shuffled anew each time


def test_the_order_depends_on_the_seed_alone():
    assert stream(seed=1) == stream(seed=1) != stream(seed=2)
    torch.manual_seed(7)
    assert stream(seed=1) == stream(seed=1, learning_rate=3.0)


def test_processes_and_parts_share_the_same_steps():
    alone = stream(batch_size=8)
    ranks = [
        stream(batch_size=2, accumulation=2, rank=rank, processes=2)
        for rank in range(2)
    ]
    for step, whole in enumerate(alone):
        shares = [
            ranks[rank][2 * step + part] for part in range(2) for rank in range(2)
        ]
        assert [index for share in shares for index in share] == whole


def test_the_stream_can_be_taken_up_at_any_step():
    whole = stream(accumulation=2)
    for start in range(12):
        assert stream(accumulation=2, start=start) == whole[2 * start :]


def test_workers_change_nothing():
    alone, first = train(steps=2)
    helped, second = train(steps=2, workers=1)
    assert first == second
    assert_same_weights(alone, helped, **EXACTLY)


def test_count_labels_counts_what_the_mean_is_over():
    labels = torch.tensor([[3, 4, IGNORED], [5, IGNORED, IGNORED]])
    assert count_labels({"labels": labels}) == 3
    assert count_labels({"labels": torch.tensor([0, 1, 2, 1])}) == 4
    assert count_labels({"image": torch.zeros(5, 3, 2, 2)}) == 5


# -------------------------------------------------- speed, precision, what is left behind


class Waits(TorchDispatchMode):
    """Counts the operations that fetch a number from the device."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.count += name in self.NAMES
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_no_step_waits_for_the_device(monkeypatch, precision):
    """Numbers are fetched every 20 steps, all at once; between, not a single one."""
    waits, seen = Waits(), []
    tolist = torch.Tensor.tolist

    def counted(tensor):
        waits.count += 1
        return tolist(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)

    def collate(items):  # called once in each step, before it
        batch = COLLATE(items)
        seen.append(waits.count)
        return batch

    with waits:
        train(
            steps=45, accumulation=1, collate=collate, precision=precision, batch_size=2
        )
    grew = [n for n in range(1, 45) if seen[n] > seen[n - 1]]
    assert grew == [20, 40]
    assert seen[-1] - seen[0] == 2


@pytest.mark.parametrize("precision", ["bf16", "no"])
def test_precision_is_kept_inside_the_run(precision, tmp_path):
    kinds = set()

    class Probe(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            kinds.add(out.dtype)
            return out

    model = captioner()
    model.fusion.project["image"] = Probe(16, 16)
    model, _ = train(model, precision=precision, steps=2)
    assert kinds == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    kinds.clear()
    out = model(**COLLATE([DATA[0]]))
    assert out.logits.dtype == torch.float32 and kinds == {torch.float32}


def test_after_training_the_model_is_its_old_self(tmp_path):
    for precision in ("bf16", "no", "bf16"):  # one run after another in one process
        model, _ = train(captioner(), precision=precision, steps=2)
        assert "forward" not in vars(model) and not model.training
        twin = copy.deepcopy(model)
        model.save_pretrained(tmp_path / "model")
        again = MultimodalModel.from_pretrained(tmp_path / "model")
        batch = COLLATE([DATA[0], DATA[1]])
        assert torch.equal(twin(**batch).logits, model(**batch).logits)
        assert torch.equal(again(**batch).logits, model(**batch).logits)


def test_training_in_bf16_stays_near_float32():
    _, exact = train(steps=6)
    _, rough = train(steps=6, precision="bf16")
    assert rough["loss"] == pytest.approx(exact["loss"], rel=0.02)
    assert rough["loss"] != exact["loss"]


def test_compiled_training_is_the_same_training():
    _, first = train(steps=3)
    compiled, second = train(
        steps=3, compile="eager", collate=Collate(TOKENIZER, pad_to=16)
    )
    torch.testing.assert_close(
        torch.tensor(first["loss"]), torch.tensor(second["loss"])
    )
    assert compiled._compiled_call_impl is None  # later calls are plain again
    copy.deepcopy(compiled)


def test_a_run_goes_on_after_another_one():
    model, first = train(steps=3)
    _, second = train(model, steps=3)
    assert len(second.steps) == 3 and second["loss"][-1] < first["loss"][0]


def test_the_bar_is_quiet_under_ci_and_shown_where_somebody_watches(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("CI", "true")
    train(steps=2)
    assert capfd.readouterr() == ("", "")
    train(steps=2, progress=True)
    assert "2/2" in capfd.readouterr().err
    monkeypatch.delenv("CI")
    train(steps=2)
    assert "2/2" in capfd.readouterr().err
    train(steps=2, progress=False)
    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------- history


def test_history_tells_what_happened():
    _, history = train(validate=lambda _: {"score": 0.5}, steps=5, validate_every=2)
    assert [record["step"] for record in history.steps] == list(range(5))
    assert len(history["loss"]) == len(history["gradient_norm"]) == 5
    assert history.validations == [{"step": s, "score": 0.5} for s in (2, 4, 5)]
    assert repr(history).startswith("History of 5 steps, last loss ")
    assert repr(history).endswith("last validation score 0.5000")
    assert repr(History()) == "History of no steps"
    assert History(**json.loads(json.dumps(vars(history)))) == history


# -------------------------------------------------------- what runs in other processes


def in_a_child(task, *arguments):
    child = os.fork()
    if child == 0:
        try:
            task(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def main(folder):
    """Import once, then split up: that is three times as fast as three scripts."""
    make_optimizer(captioner(), TrainingConfig())  # PyTorch imports much more here
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [in_a_child(killed, folder / "killed")]
    children += [in_a_child(distributed, folder, rank, port) for rank in range(2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]
    assert codes == [-signal.SIGKILL, 0, 0], codes


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The folder with what the other processes wrote."""
    folder = tmp_path_factory.mktemp("script")
    path = os.pathsep.join(
        [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return folder


if __name__ == "__main__":
    main(Path(sys.argv[1]))
