"""CTC: every way to say the labels counts."""

from itertools import groupby, product

import pytest
import torch
from torch.nn import functional as F

from mmbook.heads import CTCHead
from mmbook.tokens import IGNORED, Tokens

SPOKEN = torch.tensor([[3, 4, 2], [4, 2, IGNORED], [1, 2, IGNORED]])


@pytest.fixture
def ctc_head(scrambled):
    def make(**changes):
        torch.manual_seed(0)
        return scrambled(CTCHead(6, 5, **changes))

    return make


def collapse(path, blank=0):
    return [symbol for symbol, _ in groupby(path) if symbol != blank]


def test_ctc_counts_every_way_to_say_the_labels(ctc_head, pictures):
    """By hand: the sum over all paths that collapse to the labels."""
    head, tokens = ctc_head(), pictures()  # 4, 2 and 1 tokens
    logits, loss = head(tokens, SPOKEN)
    assert logits.shape == (3, 4, 5)
    total = 0.0
    for row, wanted in enumerate(([3, 4], [4], [1])):
        table = logits[row, tokens.mask[row]].softmax(-1).tolist()
        likelihood = 0.0
        for path in product(range(5), repeat=len(table)):
            if collapse(path) == wanted:
                ways = torch.tensor([table[t][s] for t, s in enumerate(path)])
                likelihood += ways.prod().item()
        total -= torch.tensor(likelihood).log()
    assert (SPOKEN != IGNORED).sum() == 7  # the end counts in the mean, as elsewhere
    torch.testing.assert_close(loss, total / 7, rtol=1e-4, atol=1e-5)


def test_ctc_does_not_hear_padding(ctc_head, pictures):
    head, tokens = ctc_head(), pictures()
    other = tokens.values.masked_fill(~tokens.mask[..., None], 9.0)
    longer = Tokens(
        F.pad(other, (0, 0, 0, 2), value=7.0), F.pad(tokens.mask, (0, 2), value=False)
    )
    loss, again = head(tokens, SPOKEN)[1], head(longer, SPOKEN)[1]
    torch.testing.assert_close(loss, again)
    assert head.greedy(tokens) == head.greedy(longer)


def test_a_row_without_labels_does_not_count_in_ctc(ctc_head, pictures):
    """Silence would: it has the label "end"."""
    head, tokens = ctc_head(), pictures()
    some = SPOKEN.clone()
    some[1] = IGNORED
    two = Tokens(tokens.values[[0, 2]], tokens.mask[[0, 2]])
    torch.testing.assert_close(head(tokens, some)[1], head(two, SPOKEN[[0, 2]])[1])
    loss = head(tokens, torch.full_like(SPOKEN, IGNORED))[1]
    loss.backward()
    assert loss == 0 and not head.symbols.weight.grad.any()


def test_ctc_of_two_halves_is_that_of_the_whole(ctc_head, pictures):
    head, tokens = ctc_head(), pictures()
    whole = head(tokens, SPOKEN)[1]
    parts = [
        head(Tokens(tokens.values[rows], tokens.mask[rows]), SPOKEN[rows], items=7)[1]
        for rows in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_greedy_merges_what_is_repeated_and_drops_blanks():
    head = CTCHead(5, 5)
    with torch.no_grad():
        head.symbols.weight.copy_(torch.eye(5))
        head.symbols.bias.zero_()
    said = torch.tensor([[3, 3, 0, 3, 4, 4], [0, 1, 1, 0, 4, 4]])
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
    tokens = Tokens(F.one_hot(said, 5).float(), mask)
    assert head.greedy(tokens) == [[3, 3, 4], [1]]


def test_ctc_learns_to_say_the_labels():
    torch.manual_seed(0)
    head = CTCHead(6, 5)
    tokens = Tokens(torch.randn(2, 4, 6))
    labels = torch.tensor([[3, 3, 2], [4, 1, 2]])  # a repetition needs a blank
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = head(tokens, labels)[1]
        loss.backward()
        optimizer.step()
    assert loss < 0.05 and head.greedy(tokens) == [[3, 3], [4, 1]]


def test_what_ctc_cannot_say(ctc_head):
    short = Tokens(torch.randn(1, 2, 6))
    assert ctc_head()(short, torch.tensor([[3, 4, 1, 2]]))[1].isinf()
    assert ctc_head(end=None)(short, torch.tensor([[3, 4]]))[1].isfinite()
    with pytest.raises(ValueError, match=r"\(B, L\) with B = 1; got \(1,\)"):
        ctc_head()(short, torch.tensor([3]))
    with pytest.raises(ValueError, match="width 6; got 4"):
        ctc_head()(Tokens(torch.randn(1, 2, 4)))
