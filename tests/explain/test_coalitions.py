"""Modalities left out, and Shapley values: their axioms, and the mean over all orders."""

import itertools

import pytest
import torch

from mmbook.explain import blindfold, coalitions, shapley


def subsets(players):
    return [
        frozenset(p for n, p in enumerate(players) if number >> n & 1)
        for number in range(2 ** len(players))
    ]


def game(seed, players="abcd"):
    draw = torch.Generator().manual_seed(seed)
    return {
        s: torch.rand(5, generator=draw, dtype=torch.double) for s in subsets(players)
    }


def test_shapley_is_the_mean_over_all_orders():
    worth = game(0)
    orders = list(itertools.permutations("abcd"))
    share = dict.fromkeys("abcd", 0.0)
    for order in orders:
        for number, player in enumerate(order):
            before = frozenset(order[:number])
            gain = worth[before | {player}] - worth[before]
            share[player] = share[player] + gain / len(orders)
    for player, value in shapley(worth).items():
        assert torch.allclose(value, share[player], atol=1e-9)


def test_shapley_keeps_its_promises():
    worth = game(1)
    total = worth[frozenset("abcd")] - worth[frozenset()]
    assert torch.allclose(sum(shapley(worth).values()), total, atol=1e-6)  # efficiency
    idle = {s: worth[s - {"d"}] for s in worth}
    assert shapley(idle)["d"].abs().max() < 1e-6  # null player
    swap = str.maketrans("ab", "ba")
    same = {s: worth[s] + worth[frozenset(p.translate(swap) for p in s)] for s in worth}
    share = shapley(same)
    assert torch.allclose(share["a"], share["b"], atol=1e-6)  # symmetry
    other = game(2)
    both = shapley({s: worth[s] + 3 * other[s] for s in worth})  # linearity
    expected = shapley(worth)["c"] + 3 * shapley(other)["c"]
    assert torch.allclose(both["c"], expected, atol=1e-6)


def test_two_bits_of_an_exclusive_or_share_alike():
    worth = dict.fromkeys(subsets("ab"), 0.5) | {frozenset("ab"): 1.0}
    assert shapley(worth) == {"a": 0.25, "b": 0.25}


@torch.no_grad()
def test_coalitions_leave_modalities_out_with_their_masks(asked, reader, score_of):
    model = reader()
    worth = coalitions(score_of(model), asked | {"labels": torch.zeros(3)}, 0.2)
    assert set(worth) == set(subsets(["image", "text"]))
    assert torch.equal(worth[frozenset()], torch.full((3,), 0.2))
    alone = score_of(model)({"text": asked["text"], "text_mask": asked["text_mask"]})
    assert torch.equal(worth[frozenset({"text"})], alone)
    share = shapley(worth)
    total = score_of(model)(asked) - 0.2
    assert torch.allclose(share["image"] + share["text"], total, atol=1e-6)


def test_of_two_each_gets_half_of_coming_first_and_half_of_coming_second(
    asked, reader, score_of
):
    worth = coalitions(score_of(reader()), asked, 0.0)
    image, text = (worth[frozenset({m})] for m in ("image", "text"))
    both = worth[frozenset({"image", "text"})]
    assert torch.allclose(shapley(worth)["image"], (image + both - text) / 2, atol=1e-6)


def test_missing_subsets_and_modalities_are_named():
    with pytest.raises(ValueError, match="the empty one"):
        shapley({frozenset("a"): 1.0})
    with pytest.raises(ValueError, match="a batch with modalities"):
        coalitions(lambda b: b["x"], {"labels": torch.zeros(3)}, 0.0)


def test_a_blindfold_leaves_a_modality_out_with_its_mask(asked):
    before = dict(asked)
    assert set(blindfold(asked, "text")) == {"image"}
    assert set(blindfold(asked, "image")) == {"text", "text_mask"}
    assert blindfold(asked) == asked
    assert asked.keys() == before.keys()


def test_a_blindfold_can_put_something_in_the_place(asked, reader):
    mean, before = asked["image"].mean(0), asked["image"].clone()
    hidden = blindfold(asked, "image", fill=mean)
    assert hidden["image"].shape == (3, 3, 48, 48)
    assert all(torch.equal(image, mean) for image in hidden["image"])
    assert torch.equal(hidden["text"], asked["text"])
    assert torch.equal(asked["image"], before)
    assert torch.all(blindfold(asked, "image", fill=0.5)["image"] == 0.5)
    assert reader()(**hidden).logits.isfinite().all()


def test_a_blindfold_for_what_is_not_there_is_refused(asked):
    with pytest.raises(ValueError, match="has image, text, text_mask; got smell"):
        blindfold(asked, "smell")
