"""Hidden words: who is asked, what the model reads, and how often, as BERT counted."""

from collections import Counter

import pytest
import torch

from mmbook.data import mask_words
from mmbook.tokens import IGNORED
from mmbook.world import scene_tokenizer

TOKENIZER = scene_tokenizer(mask=True)
SPECIAL = set(TOKENIZER.all_special_ids)
PLAIN = [n for n in range(len(TOKENIZER)) if n not in SPECIAL]


def rows(count=400, length=40, seed=1):
    """Random words with padding behind, and an end token that nobody may ask for."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randint(len(PLAIN), (count, length), generator=generator)
    ids = torch.tensor(PLAIN)[draw]
    lengths = torch.randint(4, length + 1, (count, 1), generator=generator)
    places = torch.arange(length)
    ids[places == lengths - 1] = TOKENIZER.eos_token_id
    mask = places < lengths
    return ids.masked_fill(~mask, TOKENIZER.pad_token_id), mask


def masked(ids, mask, seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    return mask_words(ids, mask, TOKENIZER, generator=generator, **more)


def test_labels_are_the_words_that_were_asked_for_and_nothing_else_changes():
    ids, mask = rows()
    before = ids.clone()
    read, labels = masked(ids, mask)
    assert torch.equal(ids, before)
    asked = labels != IGNORED
    assert torch.equal(labels[asked], ids[asked])
    assert torch.equal(read[~asked], ids[~asked])


def test_special_tokens_and_padding_are_never_asked_for():
    ids, mask = rows()
    read, labels = masked(ids, mask, share=1.0)
    special = torch.isin(ids, torch.tensor(sorted(SPECIAL)))
    assert torch.equal(labels != IGNORED, mask & ~special)  # all others, at share 1
    assert torch.equal(read[~mask], ids[~mask])


def test_words_behind_a_mask_are_not_asked_for_even_if_they_are_no_padding():
    ids, _ = rows(3, 6)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    mask[:, :2] = True
    assert (masked(ids, mask, share=1.0)[1][:, 2:] == IGNORED).all()


def test_each_row_is_asked_for_at_least_one_word_if_it_has_any():
    ids, mask = rows(length=5)
    asked = (masked(ids, mask, share=1e-6)[1] != IGNORED).sum(1)
    assert (asked == 1).all()
    ids[0], mask[1] = TOKENIZER.eos_token_id, False
    asked = (masked(ids, mask, share=1e-6)[1] != IGNORED).sum(1)
    assert asked[:2].tolist() == [0, 0] and (asked[2:] == 1).all()


def fates(ids, read, labels):
    """How many of the words asked for were hidden, changed, left."""
    asked = labels != IGNORED
    hidden = asked & (read == TOKENIZER.mask_token_id)
    changed = asked & ~hidden & (read != ids)
    left = asked & (read == ids)
    return Counter(
        asked=int(asked.sum()),
        hidden=int(hidden.sum()),
        changed=int(changed.sum()),
        left=int(left.sum()),
    )


def test_the_counts_are_those_of_the_collator_of_transformers():
    """15 % asked, 80 / 10 / 10 of them: both within four standard deviations."""
    from transformers import DataCollatorForLanguageModeling

    ids, _ = rows(600, 40)
    ids = torch.tensor(PLAIN)[ids % len(PLAIN)]  # no padding: each word can be asked
    ours = fates(ids, *masked(ids, torch.ones_like(ids, dtype=torch.bool)))
    torch.manual_seed(0)
    theirs = fates(
        ids, *DataCollatorForLanguageModeling(TOKENIZER).torch_mask_tokens(ids.clone())
    )
    words = ids.numel()
    same_by_chance = 0.1 / len(PLAIN)  # a random word may be the true one
    for counts in ours, theirs:
        asked = counts["asked"]
        for what, total, share in (
            ("asked", words, 0.15),
            ("hidden", asked, 0.8),
            ("changed", asked, 0.1 - same_by_chance),
            ("left", asked, 0.1 + same_by_chance),
        ):
            spread = (total * share * (1 - share)) ** 0.5
            assert abs(counts[what] - total * share) < 4 * spread + 20, what


def test_random_words_are_all_plain_words_equally_often():
    ids = torch.full((300, 100), PLAIN[0])
    mask = torch.ones_like(ids, dtype=torch.bool)
    read, _ = masked(ids, mask, share=1.0, keep=0.0, replace=1.0)
    counts = torch.bincount(read.flatten(), minlength=len(TOKENIZER))
    assert (counts[sorted(SPECIAL)] == 0).all()
    expected = ids.numel() / len(PLAIN)
    assert (counts[PLAIN] - expected).abs().max() < 5 * expected**0.5


def test_the_two_other_shares_are_told_apart():
    ids, mask = rows()
    read, _ = masked(ids, mask, share=1.0, keep=1.0, replace=0.0)
    assert torch.equal(read, ids)
    read, labels = masked(ids, mask, share=1.0, keep=0.0, replace=0.0)
    assert (read[labels != IGNORED] == TOKENIZER.mask_token_id).all()


def test_the_same_generator_hides_the_same_words():
    ids, mask = rows(20)
    first, again, other = (masked(ids, mask, seed=seed)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_wrong_calls_are_named():
    ids, mask = rows(2)
    with pytest.raises(ValueError, match="no mask token"):
        mask_words(ids, mask, scene_tokenizer())
    for wrong in ({"share": 0}, {"share": 1.5}, {"keep": 0.6, "replace": 0.6}):
        with pytest.raises(ValueError, match="share must lie in"):
            masked(ids, mask, **wrong)
