"""The loop: it learns, and one batch is its parts, on one process or two."""

import json
import math

import pytest
import torch
from runs import (
    COLLATE,
    DATA,
    IGNORED,
    SAME,
    TOKENIZER,
    Restless,
    Toy,
    assert_same_losses,
    assert_same_weights,
    captioner,
    numbered,
    pairs,
    retriever,
    train,
)
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from mmbook.generation import generate, to_text
from mmbook.heads import GenerationHead
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.training import (
    TrainingConfig,
    checkpoints,
    fit,
)
from mmbook.training.evaluate import count_labels
from mmbook.training.order import ShuffledStream
from mmbook.world import CaptionedScenes, sample_scenes

# ---------------------------------------------------------- it learns, what it is told


@pytest.mark.slow
def test_four_captions_overfitted_come_back_word_for_word():
    data = CaptionedScenes(sample_scenes(4, seed=3, objects=(2,)), "varied", size=16)
    settings = {"steps": 120, "batch_size": 4, "learning_rate": 1e-2, "warmup": 0.1}
    model, history = train(captioner(width=32), data, **settings)
    assert history["loss"][-1] < 0.02 < 1 < history["loss"][0]
    batch = COLLATE([data[i] for i in range(4)])
    assert len({len(caption.split()) for caption in data.captions}) > 1
    for how in ({}, {"use_cache": False}, {"method": "beam"}):
        assert to_text(generate(model, batch, 24, **how), TOKENIZER) == data.captions


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


@pytest.mark.parametrize("parts", [2, 4])
def test_one_batch_equals_accumulated_parts(parts):
    """SGD, since Adam makes rounding as large as the learning rate where nothing pulls."""
    whole, first = train(batch_size=8, **SAME)
    split, second = train(batch_size=8 // parts, accumulation=parts, **SAME)
    assert_same_weights(whole, split, rtol=0, atol=1e-5)
    assert_same_losses(first, second)
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
    assert_same_losses(whole, split)
    norms = (torch.tensor(h["gradient_norm"]) for h in (whole, split))
    torch.testing.assert_close(*norms, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_one_process_equals_two(processes):
    alone, history = train(batch_size=8, **SAME)
    restless, _ = train(data=Restless(), batch_size=8, **SAME)
    for rank in range(2):
        there = MultimodalModel.from_pretrained(processes / f"sgd-{rank}")
        assert_same_weights(alone, there, rtol=0, atol=1e-5)
        steps = json.loads((processes / f"sgd-{rank}.json").read_text("utf-8"))
        assert_same_losses({"loss": [step["loss"] for step in steps]}, history)
        there = MultimodalModel.from_pretrained(processes / f"restless-{rank}")
        assert_same_weights(restless, there, rtol=0, atol=1e-5)


def with_labels(rows):
    """A collate for (picture, labels) of one length."""
    images = torch.stack([row["image"] for row in rows]).float() / 255
    return {"image": images, "labels": torch.tensor([row["labels"] for row in rows])}


def test_a_part_without_a_single_label_counts_nothing():
    items = [{"image": DATA[0]["image"], "labels": [5, 2]}]
    items += [{"image": DATA[1]["image"], "labels": [IGNORED] * 2}]
    settings = {"collate": with_labels, **SAME, "steps": 2}
    whole, _ = train(data=items, batch_size=2, **settings)
    split, history = train(data=items, batch_size=1, accumulation=2, **settings)
    assert all(map(math.isfinite, history["loss"]))
    assert_same_weights(whole, split, rtol=0, atol=1e-6)


def test_also_if_its_loss_is_not_a_number():
    """As that of transformers: a mean over nothing."""

    def loss(weight, batch):
        logits = weight * torch.ones(len(batch["labels"]), 3)
        return F.cross_entropy(logits, batch["labels"])

    items = [{"labels": torch.tensor(n)} for n in (IGNORED, 1)]
    settings = {"batch_size": 1, "accumulation": 2, "steps": 3}
    _, history = train(Toy(loss), items, None, **settings)
    assert history["loss"] == pytest.approx([math.log(3)] * 3)


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
    settings = {"accumulation": accumulation, "weight_decay": 0.0} | SAME
    ours, history = train(schedule="constant", **settings)
    logged = trainer.state.log_history
    losses = [record["loss"] for record in logged if "loss" in record]
    assert losses == pytest.approx(history["loss"], abs=1e-3)
    assert_same_weights(ours, theirs, rtol=0, atol=1e-5)
    fit(theirs, DATA, TrainingConfig(steps=1, batch_size=2), COLLATE)  # and back again


def test_a_language_model_takes_the_count_from_trainer_too():
    model = LanguageModel(GenerationHead(len(TOKENIZER), 16, 1, 2, 24))
    assert model.accepts_loss_kwargs and captioner().accepts_loss_kwargs
    batch = {"labels": COLLATE([DATA[0], DATA[1]])["labels"]}
    half = model(**batch, num_items_in_batch=2 * count_labels(batch)).loss
    torch.testing.assert_close(half, model(**batch).loss / 2)


def words(items):
    """What language models of transformers read."""
    labels = COLLATE(items)["labels"]
    real = labels != IGNORED
    return {
        "input_ids": labels.clamp(min=0),
        "attention_mask": real.long(),
        "labels": labels,
    }


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def theirs(kind):
    """A small model of transformers without dropout."""
    import transformers

    torch.manual_seed(0)
    if kind == "GPT2LMHeadModel":
        config = transformers.GPT2Config(
            vocab_size=len(TOKENIZER), n_positions=32, n_embd=16, n_layer=1, n_head=2
        )
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    elif kind == "T5ForConditionalGeneration":
        config = transformers.T5Config(
            vocab_size=len(TOKENIZER), d_model=16, d_kv=8, d_ff=16, num_layers=1,
            num_heads=2, dropout_rate=0.0, decoder_start_token_id=0,
        )  # fmt: skip
    elif kind == "LlamaForCausalLM":
        config = transformers.LlamaConfig(
            vocab_size=len(TOKENIZER), intermediate_size=16, **SMALL
        )
    else:
        config = transformers.BertConfig(
            vocab_size=len(TOKENIZER), intermediate_size=16, **SMALL
        )
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    return getattr(transformers, kind)(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "GPT2LMHeadModel",
        "LlamaForCausalLM",
        "T5ForConditionalGeneration",
        "BertForMaskedLM",
        "BertLMHeadModel",
    ],
)
def test_parts_are_exact_whether_a_model_of_transformers_shifts_its_labels_or_not(kind):
    runs = [
        train(theirs(kind), collate=words, batch_size=8 // n, accumulation=n, **SAME)
        for n in (1, 4)
    ]
    assert_same_losses(runs[0][1], runs[1][1])
    assert_same_weights(runs[0][0], runs[1][0], rtol=0, atol=1e-5)


def test_parts_are_exact_if_the_model_stands_inside_of_another_one():
    """Nothing but its loss shows that it shifts, also if its input is its labels."""

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = theirs("GPT2LMHeadModel")

        def forward(self, labels):
            return self.inner(input_ids=labels.clamp(min=0), labels=labels)

    def collate(items):
        return {"labels": COLLATE(items)["labels"]}

    runs = [
        train(Wrapped(), collate=collate, batch_size=8 // n, accumulation=n, **SAME)
        for n in (1, 4)
    ]
    assert_same_weights(runs[0][0], runs[1][0], rtol=0, atol=1e-5)


def test_a_transformers_language_model_trains_under_our_loop(tmp_path):
    start = theirs("GPT2LMHeadModel")
    model, history = train(start, collate=words, steps=30, learning_rate=1e-2)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    batch = words([DATA[0]])
    assert torch.equal(again(**batch).loss, model(**batch).loss)


@pytest.mark.parametrize("problem", ["single_label_classification", "regression"])
def test_a_transformers_classifier_trains_under_our_loop_in_parts_too(problem):
    """Regression takes ``num_items_in_batch`` and does not use it."""

    def collate(items):
        labels = torch.tensor([len(item["caption"].split()) > 5 for item in items])
        labels = labels.long() if problem.startswith("single") else labels.float()
        return words(items) | {"labels": labels}

    runs = []
    for n in (1, 2):
        model = theirs("BertForSequenceClassification")
        model.config.problem_type = problem
        if problem == "regression":
            model.num_labels, model.classifier = 1, nn.Linear(16, 1)
            (
                nn.init.ones_(model.classifier.weight),
                nn.init.zeros_(model.classifier.bias),
            )
        settings = {"batch_size": 8 // n, "accumulation": n, **SAME}
        runs.append(train(model, collate=collate, **settings | {"learning_rate": 0.01}))
    assert_same_losses(runs[0][1], runs[1][1])
    assert_same_weights(runs[0][0], runs[1][0], rtol=0, atol=1e-5)


# ---------------------------------------------------------------- losses that couple rows


@pytest.mark.slow
def test_pairs_are_compared_with_those_of_the_other_process(processes):
    """Loss, length of the gradient and weights are those of one process."""
    alone, history = train(retriever(), collate=pairs, batch_size=8, **SAME)
    for rank in range(2):
        there = MultimodalModel.from_pretrained(processes / f"pairs-{rank}")
        assert_same_weights(alone, there, rtol=0, atol=1e-5)
        steps = json.loads((processes / f"pairs-{rank}.json").read_text("utf-8"))
        for name in ("loss", "gradient_norm"):
            found = [step[name] for step in steps]
            assert found == pytest.approx(history[name], rel=1e-4)


def test_a_loss_that_compares_the_rows_of_a_batch_is_not_cut_into_parts():
    class Compares(nn.Linear):
        couples_rows = True

    model = nn.Sequential(Compares(2, 2))
    with pytest.raises(ValueError, match="Compares compares the examples of a batch"):
        train(model, accumulation=2)
    with pytest.raises(ValueError, match="SharedSpaceHead compares the examples"):
        train(retriever(), collate=pairs, accumulation=2)


# ------------------------------------------------------------------- what goes wrong


def culprits(batch_size, accumulation=1, steps=30):
    """The batches of a run, an example of step 4, and the step that shows it first."""
    config = TrainingConfig(
        batch_size=batch_size, accumulation=accumulation, steps=steps
    )
    batches = list(ShuffledStream(24, config))
    culprit = batches[4 * accumulation][-1]
    found = next(n for n, batch in enumerate(batches) if culprit in batch)
    return batches, culprit, found // accumulation


def exploding(culprit, value):
    """Its loss is not finite for one picture."""

    def loss(weight, batch):
        bad = torch.where((batch["index"] == culprit).any(), value, 0.0)
        return weight * batch["image"].mean() + bad

    return Toy(loss)


def steep(culprit):
    """Its loss is finite, but for one picture the slope of the square root is not."""

    def loss(weight, batch):
        if (batch["index"] == culprit).any():
            return (weight - weight).sqrt()
        return weight * batch["image"].mean()

    return Toy(loss)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(tmp_path, value):
    batches, culprit, first = culprits(3, accumulation=2)
    settings = {"batch_size": 3, "accumulation": 2, "steps": 30, "collate": numbered}
    with pytest.raises(
        FloatingPointError, match=rf"loss of step {first} is (nan|inf)"
    ) as error:
        train(exploding(culprit, value), folder=tmp_path, **settings)
    (file,) = tmp_path.glob(f"not-finite-step-{first}-*.pt")
    assert str(file) in str(error.value)
    assert "give TrainingConfig" not in str(error.value)
    kept = torch.load(file, weights_only=True)
    for number in range(2):
        expected = numbered([DATA[i] for i in batches[2 * first + number]])
        for name, tensor in expected.items():
            assert torch.equal(kept[number][name], tensor)


def test_without_a_folder_the_error_says_how_to_keep_the_batch():
    model = exploding(DATA[3]["index"], math.nan)
    with pytest.raises(FloatingPointError, match="give TrainingConfig a folder"):
        train(model, collate=numbered, steps=30)


@pytest.mark.parametrize("make", [lambda c: exploding(c, math.nan), steep])
def test_no_checkpoint_and_no_history_come_from_a_step_that_is_not_finite(
    tmp_path, make
):
    """Whether the loss shows it or the gradient alone; also in the last step."""
    _, culprit, first = culprits(4)
    for steps in (first + 1, first + 3):
        folder = tmp_path / str(steps)
        settings = {"collate": numbered, "steps": steps}
        with pytest.raises(
            FloatingPointError, match=rf"loss of step {first} is .* norm "
        ):
            train(make(culprit), folder=folder, save_every=1, **settings)
        sound = checkpoints(folder)[-1]
        assert sound.name == f"step-{first:08d}"
        state = torch.load(sound / "state.pt", weights_only=True)
        assert len(state["history"]["steps"]) == first
        with pytest.raises(FloatingPointError):
            train(make(culprit), **settings)


def test_a_batch_is_kept_if_its_labels_are_its_inputs(tmp_path):
    """Two names of one tensor."""
    ids = torch.arange(6).reshape(2, 3)
    model = Toy(lambda weight, batch: weight * math.nan)
    collate = lambda items: {"input_ids": ids, "labels": ids}  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"torch\.load reads it from"):
        train(model, collate=collate, folder=tmp_path, steps=1)
    (file,) = tmp_path.glob("not-finite-*.pt")
    (part,) = torch.load(file, weights_only=True)
    assert torch.equal(part["labels"], ids) and torch.equal(part["input_ids"], ids)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_batch_without_a_single_label_is_named(tmp_path, accumulation):
    items = [{"image": DATA[i]["image"], "labels": [IGNORED] * 2} for i in range(4)]
    settings = {"steps": 2, "batch_size": 2, "accumulation": accumulation}
    with pytest.raises(FloatingPointError, match="no label in the batch of step 0"):
        train(data=items, collate=with_labels, folder=tmp_path, **settings)
    assert [c.name for c in checkpoints(tmp_path)] == ["step-00000000"]


class Endless(IterableDataset):
    def __iter__(self):
        yield from DATA


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": Endless()}, "length and items by index; got Endless: list.data. is"),
        ({"data": iter(DATA)}, "length and items by index; got"),
        (
            {"data": [(torch.ones(2), 1)] * 8, "collate": None},
            "a dict of tensors.*list",
        ),
        ({"collate": lambda items: {"captions": ["a"]}}, "a dict of tensors.*captions"),
        ({"collate": lambda items: None}, "a dict of tensors.*NoneType"),
        ({"model": Toy(lambda w, b: None)}, r"fit needs model.*image, labels.*is None"),
        ({"model": Toy(lambda w, b: w * torch.ones(2))}, r"one number.*tensor\(\[1"),
    ],
)
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_errors_say_what_fit_needs(changes, words, workers):
    with pytest.raises(TypeError, match=words):
        train(**changes, workers=workers, steps=1)


@pytest.mark.slow
def test_an_item_that_is_none_is_named():
    with pytest.raises(ValueError, match=r"item \d of the data is None"):
        train(data=[None] * 8, steps=1)


def test_a_model_whose_output_has_no_loss_is_named():
    class Plain(nn.Linear):
        def forward(self, image, labels):
            return super().forward(image.flatten(1))

    with pytest.raises(TypeError, match=r"fit needs model.*that of Plain is None"):
        train(Plain(3 * 16 * 16, 2), steps=1)
