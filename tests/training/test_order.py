"""Which examples make which batch, and which random numbers they draw."""

import pickle
import random

import numpy as np
import pytest
import torch
from runs import DATA, EXACTLY, Restless, assert_same_weights, captioner, noisy, train

from mmbook.training import TrainingConfig
from mmbook.training.order import Batches, ShuffledStream


def stream(length=10, rank=0, processes=1, **settings):
    settings = {"steps": 12, "batch_size": 4} | settings
    config = TrainingConfig(**settings)
    return list(ShuffledStream(length, config, rank, processes))


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


# ------------------------------------------------------------------- random numbers


def images(start=0, data=None, **settings):
    """The pictures of steps, brightened at random, by their numbers."""
    settings = {"steps": 8, "batch_size": 6} | settings
    order = ShuffledStream(len(DATA), TrainingConfig(**settings))
    rows = Batches(
        data or Restless(),
        lambda items: {"x": torch.stack([item["image"] for item in items])},
        order,
    )
    return [
        part["x"] for step in range(start, settings["steps"]) for part in rows[step]
    ]


def test_what_an_item_draws_depends_on_seed_epoch_and_index_alone():
    whole = torch.cat(images())
    assert torch.equal(whole, torch.cat(images()))
    assert torch.equal(whole, torch.cat(images(batch_size=2, accumulation=3)))
    assert torch.equal(whole[24:], torch.cat(images(start=4)))
    for other in (images(seed=1), images(start=4)):  # another seed, another epoch
        brightness = {round(x.mean().item(), 4) for x in torch.cat(other)}
        assert len(brightness & {round(x.mean().item(), 4) for x in whole[:24]}) < 3


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers):
    """Also if items, batches and the model draw random numbers."""
    alone, first = train(captioner(dropout=0.5), Restless(), noisy)
    helped, second = train(captioner(dropout=0.5), Restless(), noisy, workers=workers)
    assert first == second
    assert_same_weights(alone, helped, **EXACTLY)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_another_seed_draws_other_numbers(workers):
    runs = [
        train(captioner(0.5), Restless(), noisy, seed=s, workers=workers)[1]
        for s in (0, 1, 0)
    ]
    assert runs[0] == runs[2] != runs[1]


def test_looking_more_often_changes_no_result():
    def validate(model):
        torch.rand(7), random.random(), np.random.rand()
        return {"loss": 1.0}

    settings = {"data": Restless(), "validate": validate}
    rare, _ = train(captioner(dropout=0.5), validate_every=5, **settings)
    often, _ = train(captioner(dropout=0.5), validate_every=1, **settings)
    assert_same_weights(rare, often, **EXACTLY)


def test_the_random_numbers_of_the_caller_go_on_as_if_nothing_had_been_drawn():
    def drawn():
        return torch.rand(2).tolist(), random.random(), np.random.randn(3).tolist()

    def start():
        torch.manual_seed(3), random.seed(3), np.random.seed(3)
        np.random.randn()  # leaves a second one behind

    model = captioner(dropout=0.5)
    start()
    expected = drawn()
    start()
    train(model, Restless(), noisy, validate_every=2, validate=lambda _: {"a": 1})
    assert drawn() == expected
    start()
    with pytest.raises(ZeroDivisionError):
        train(model, validate=lambda _: 1 / 0, steps=1)
    assert drawn() == expected


def test_batches_can_be_sent_to_a_worker():
    """As they are where processes are not forked: on Windows and macOS."""
    order = ShuffledStream(len(DATA), TrainingConfig(batch_size=3, steps=2))
    batches = Batches(Restless(), noisy, order)
    there = pickle.loads(pickle.dumps(batches))
    for name, value in batches[1][0].items():
        assert torch.equal(there[1][0][name], value)
