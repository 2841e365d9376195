# %% [markdown]
# # Exercises 2.9 The whole architecture
#
# To the chapter: [2.9 The whole architecture](../2-concepts/29_the_whole_architecture.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import torch

from mmbook.fusion import fusion
from mmbook.notebook.exercises import check
from mmbook.tokens import Tokens

torch.set_num_threads(1)
torch.manual_seed(0)

# %% exercise 2.9.1 warm-up How many tokens?
# A batch of two examples: pictures of 48 × 48 pixels, which an encoder turns into one token for each field of 8 × 8 pixels;
# and sentences of at most 7 words. The width is 96.
#
# What shape leaves the fusion, if it is merged attention? And if it is cross-attention, and the text asks?

# %% stub
merged = ...  # three numbers, (B, N, D)
asked_by_text = ...

# %% solution
merged = (2, 6 * 6 + 7, 96)
asked_by_text = (2, 7, 96)

# %% check
with check("2.9.1", "How many tokens?") as it:
    given = {"text": Tokens(torch.randn(2, 7, 96)),
             "image": Tokens(torch.randn(2, (48 // 8) ** 2, 96))}
    widths = {"text": 96, "image": 96}

    def leaves(method):
        out = fusion(method, widths=widths, width=96)(given)
        return tuple(out.values.shape)

    it.equal("merged attention", merged, leaves("merged_attention"),
             hint="All tokens of all modalities stand in one row.")
    it.equal("cross-attention", asked_by_text, leaves("cross_attention"),
             hint="Each asking token gets one answer.")

# %% hint
# A picture has $(48 / 8)^2$ fields.

# %% remark
# The batch and the width are the same in both. Only N tells the fusions apart: $36 + 7 = 43$, or 7.

# %% exercise 2.9.2 predict Twice as wide
# The text encoder of the chapter has a vocabulary of 53 words, width 96 and two blocks. A block has four square matrices for attention and two
# of $D \times 4D$ for thinking. Predict by which factor its number of parameters grows if the width is doubled. Then say why it
# isn't exactly four:
#
# - `"a"`: there are norms and biases, and an embedding, which grow with the width only
# - `"b"`: the heads become wider, too
# - `"c"`: the sentences become longer

# %% stub
guess_factor = ...
why = ...  # "a", "b" or "c"

# %% solution
guess_factor = 3.8
why = "a"

# %% check
from mmbook.encoders import TextEncoder


def size(width):
    return sum(p.numel() for p in TextEncoder(53, width).parameters())


with check("2.9.2", "Twice as wide") as it:
    it.prediction("factor", guess_factor, size(192) / size(96))
    it.choice("why", why, "a", {
        "a": "A matrix D × D grows by four, a row of D numbers by two.",
        "b": "The width of a head changes what is computed, not how many "
             "numbers a D × D matrix has.",
        "c": "Nothing was said about sentences; and their length changes "
             "no matrix.",
    })

# %% hint
# $12 D^2$ numbers a block. Which other parts have numbers?

# %% remark
# The larger the width, the more do the matrices dominate, and the closer the factor comes to four. That is why "twice as wide" is
# "four times as large" in large models.

# %% exercise 2.9.3 core From arrows to rows
# `plots.draw_graph` puts each box one row beneath the lowest of those that point to it. Write the function that finds the row: 0 for a box to
# which nothing points.

# %% stub
def row_of(arrows):
    """{box: row} of a list of (from, to)."""
    return ...


# %% solution
def row_of(arrows):
    """{box: row} of a list of (from, to)."""
    rows = {box: 0 for arrow in arrows for box in arrow}
    for _ in rows:  # a row can be no deeper than there are boxes
        for a, b in arrows:
            rows[b] = max(rows[b], rows[a] + 1)
    return rows


# %% check
whole = [("data", "pre-training"), ("pre-training", "model"),
         ("model", "fusion"), ("model", "learning"), ("fusion", "learning"),
         ("learning", "fine-tuning"), ("fine-tuning", "task")]
turned = list(reversed(whole))  # the order of the list means nothing

with check("2.9.3", "From arrows to rows") as it:
    rows = it.answer(row_of(whole))
    it.equal("data", rows["data"], 0)
    it.equal("learning stands beneath fusion, not beside it",
             rows["learning"], 4)
    it.equal("the task is last", rows["task"], 6)
    it.equal("the order of the arrows does not matter",
             row_of(turned), rows, hint="Go through the arrows more than once.")

# %% hint
# Start with row 0 for all. An arrow from $a$ to $b$ says: $b$ is at least one row beneath $a$. Repeat until nothing changes.

# %% remark
# This is the longest path to a box. If the arrows ran in a circle, it would never end: so the package counts how often it went round, and
# refuses.

# %% exercise 2.9.4 core A fusion of your own
# Write the smallest fusion that obeys the contract: it takes a dictionary of any of its modalities and gives *one* token, the mean of the
# means of those that are there. A modality that is missing must not count, neither in the sum nor in the number.

# %% stub
def mean_fusion(tokens):
    """dict of Tokens (B, N, D) -> Tokens (B, 1, D)."""
    return ...


# %% solution
def mean_fusion(tokens):
    """dict of Tokens (B, N, D) -> Tokens (B, 1, D)."""
    means = [part.pooled() for part in tokens.values()]  # each (B, D)
    return Tokens(torch.stack(means).mean(0)[:, None])


# %% check
a, b = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
mask = torch.tensor([[True] * 3, [True, False, False]])

with check("2.9.4", "A fusion of your own") as it:
    both = it.answer(mean_fusion({"a": Tokens(a), "b": Tokens(b, mask)}))
    it.equal("shape", tuple(both.values.shape), (2, 1, 8))
    real = torch.stack([b[0].mean(0), b[1, 0]])  # padding does not count
    expected = (a.mean(1) + real) / 2
    it.true("mean of the means, padding left out",
            torch.allclose(both.values[:, 0], expected, atol=1e-6),
            hint="tokens.pooled() knows the mask.")
    alone = mean_fusion({"a": Tokens(a)})
    it.true("a missing modality does not count",
            torch.allclose(alone.values[:, 0], a.mean(1), atol=1e-6),
            hint="Divide by how many are there, not by two.")

# %% hint
# `Tokens.pooled()` gives the mean over what is real, (B, D).

# %% remark
# It has no parameters, takes any subset, and is a place where nothing meets before it is added: the "no fusion" of the chapter. The
# fusions of the package add a projection and a mark for each modality.

# %% exercise 2.9.5 open More than noise?
# Three runs each, as the chapter makes them: accuracy with everything, and with one box left out. Write a function that says which
# boxes were worth something *beyond the spread of the seeds*: the lowest run with everything must be above the highest run without the box.
# Then think about what this rule does with three runs, with thirty, and about a rule that you like better.

# %% stub
def worth_something(everything, without):
    """Names of the boxes in `without` that were missed beyond the spread."""
    return ...


# %% solution
def worth_something(everything, without):
    """Names of the boxes in `without` that were missed beyond the spread."""
    return [box for box, runs in without.items()
            if min(everything) > max(runs)]


# %% check
everything = [0.71, 0.78, 0.83]
without = {"eyes": [0.16, 0.15, 0.17], "words": [0.72, 0.69, 0.75],
           "blanks": [0.80, 0.84, 0.79]}

with check("2.9.5", "More than noise?") as it:
    it.equal("three boxes", worth_something(everything, without), ["eyes"])
    it.equal("the order of the runs does not matter",
             worth_something(everything[::-1], without), ["eyes"])

# %% hint
# Compare the worst run with the best one.

# %% remark
# With three runs and no true difference, all three of one side lie above all three of the other in one of twenty cases
# ($3!\,3!/6!$); so the rule is about a test at five per cent. With thirty runs the extremes drift apart, and the rule finds nothing any
# more, however real the difference is. Means with their standard errors do not have this fault.
