# %% [markdown]
# # Exercises 5.4 Results, and how to read a table
#
# To the chapter: [5.4 Results, and how to read a table](../5-practice/54_results_and_how_to_read_a_table.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing is trained here.

# %% shared
import json
import math

import torch

from mmbook.metrics import cider
from mmbook.notebook.exercises import check
from mmbook.samples import photographs
from mmbook.studies import load

study = load("results_table")


def bits(arm, which="new"):
    """1 where a picture was described rightly: (seeds, pictures)."""
    return torch.tensor([[int(x) for x in text] for text in study.values(
        arm, "500 pictures", f"right, {which}")])


# %% exercise 5.4.1 warm-up Can these numbers stand in one row?
# A table prints a precision, a recall and an F1 value, each rounded to `places` digits after the point. Write `possible`: are there a precision and a recall that
# round to what is printed, and whose F1 rounds to what is printed?

# %% stub
def possible(precision, recall, f1, places=3):
    """Can the three printed values belong together?"""
    return ...

# %% solution
def possible(precision, recall, f1, places=3):
    """Can the three printed values belong together?"""
    half = 0.5 * 10 ** -places
    def harmonic(p, r):
        return 2 * p * r / (p + r)
    low = harmonic(precision - half, recall - half) - half
    high = harmonic(precision + half, recall + half) + half
    return low - 1e-9 <= f1 <= high + 1e-9

# %% wrong F1 is the arithmetic mean
def possible(precision, recall, f1, places=3):
    return abs((precision + recall) / 2 - f1) <= 10 ** -places

# %% wrong F1 only has to lie between precision and recall
def possible(precision, recall, f1, places=3):
    return min(precision, recall) <= f1 <= max(precision, recall)

# %% wrong The printed precision and recall are exact
def possible(precision, recall, f1, places=3):
    exact = 2 * precision * recall / (precision + recall)
    return abs(exact - f1) <= 1e-9

# %% wrong Rounding is always to three places
def possible(precision, recall, f1, places=3):
    exact = 2 * precision * recall / (precision + recall)
    return abs(exact - f1) <= 0.001

# %% check
with check("5.4.1", "Can these numbers stand in one row?") as it:
    it.true("0.897, 0.899 and 0.898 can",
            it.answer(possible(0.897, 0.899, 0.898)),
            hint="Rounding hides up to half of the last digit.")
    it.true("0.919, 0.903 and 0.914 cannot",
            not it.answer(possible(0.919, 0.903, 0.914)),
            hint="Is it enough to lie between the two?")
    it.true("0.9, 0.1 and 0.5 cannot",
            not it.answer(possible(0.9, 0.1, 0.5, 1)),
            hint="F1 is the harmonic mean.")
    it.true("with one place, 0.9, 0.5 and 0.6 can",
            it.answer(possible(0.9, 0.5, 0.6, 1)),
            hint="How much does rounding to one place hide?")

# %% hint
# F1 grows with the precision and with the recall. So its smallest value belongs to the smallest of both that would still be rounded to what is printed.

# %% remark
# Seven rows of the article's table fail this test. The fewer digits a table prints, the less it can be tested.

# %% exercise 5.4.2 predict What do these results allow you to say?
# Four results, and for each a sentence. Answer `"yes"` if the result supports the sentence, `"models"` if it supports it for the two trained models only, and `"no"` otherwise.
#
# - `one`: one training each, the same 400 pictures, McNemar's p = 0.003. "Method A is better than method B."
# - `zero`: five trainings each, difference 3.0 with the interval [−3.8, 9.9]. "The two methods are equally good."
# - `lying`: five trainings each, CIDEr higher by 0.4 with the interval [0.2, 0.6]. "Method A makes fewer false statements."
# - `many`: five trainings each, the same tries, difference 43 with the interval [36, 51]. "Method A is better than B on this test set."

# %% stub
one = ...
zero = ...
lying = ...
many = ...

# %% solution
one = "models"
zero = "no"
lying = "no"
many = "yes"

# %% wrong A small p-value proves that a method is better
one = "yes"
zero = "no"
lying = "no"
many = "yes"

# %% wrong Not significant means equal
one = "models"
zero = "yes"
lying = "no"
many = "yes"

# %% wrong A higher CIDEr means fewer false statements
one = "models"
zero = "no"
lying = "yes"
many = "yes"

# %% check
with check("5.4.2", "What do these results allow you to say?") as it:
    it.choice("one training each", one, "models", {
        "yes": "Another training of each could reverse it; see training 3.",
        "models": "The test draws pictures, and no trainings.",
        "no": "About two things it does say something. Which?"})
    it.choice("an interval with zero in it", zero, "no", {
        "yes": "Ten points more would be within the interval, too.",
        "models": "Five trainings of each were compared.",
        "no": "It allows four points less and ten points more."})
    it.choice("a higher CIDEr", lying, "no", {
        "yes": "CIDEr counts words in common. Remember the giraffe.",
        "models": "Are words in common the same as truth?",
        "no": "It agrees more in words; truth was not measured."})
    it.choice("a large difference over trainings", many, "yes", {
        "yes": "For this test set, and with these tries.",
        "models": "Five trainings of each were compared.",
        "no": "The interval is far from zero. What is missing?"})

# %% hint
# Ask of each: what was drawn several times, pictures or trainings? And what does the metric count?

# %% remark
# `zero` and `one` may describe the same two methods: they do in the chapter.

# %% exercise 5.4.3 core McNemar's test
# `x` and `y` hold 0 and 1 for each picture, for two models and the same pictures. Write `mcnemar`: the exact two-sided p-value. Without discordant pairs it is 1.

# %% stub
def mcnemar(x, y):
    """The p-value of the bits of two models: (N,), (N,)."""
    return ...

# %% solution
def mcnemar(x, y):
    """The p-value of the bits of two models: (N,), (N,)."""
    b, c = int((x > y).sum()), int((y > x).sum())
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    return min(1.0, 2 * tail / 2 ** (b + c))

# %% wrong All pictures are coins, also those with equal answers
def mcnemar(x, y):
    N, c = len(x), int((y > x).sum())
    tail = sum(math.comb(N, k) for k in range(c + 1))
    return min(1.0, 2 * tail / 2 ** N)

# %% wrong Only one side
def mcnemar(x, y):
    b, c = int((x > y).sum()), int((y > x).sum())
    return sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (
        b + c)

# %% wrong The pairing is ignored
def mcnemar(x, y):
    p, q, N = x.double().mean(), y.double().mean(), len(x)
    error = ((p * (1 - p) + q * (1 - q)) / N).sqrt() + 1e-12
    return math.erfc(((p - q).abs() / error / 2 ** 0.5).item())

# %% wrong The probability of exactly this outcome
def mcnemar(x, y):
    b, c = int((x > y).sum()), int((y > x).sum())
    return min(1.0, 2 * math.comb(b + c, b) / 2 ** (b + c))

# %% check
with check("5.4.3", "McNemar's test") as it:
    x = torch.tensor([1] * 8 + [0] * 2 + [1] * 50 + [0] * 40)
    y = torch.tensor([0] * 8 + [1] * 2 + [1] * 50 + [0] * 40)
    it.close("8 against 2", mcnemar(x, y), 112 / 1024, within=1e-6,
             hint="Ten coins: two or fewer on one side, on either side.")
    it.close("the other way round", mcnemar(y, x), 112 / 1024, within=1e-6,
             hint="Nobody knew before which model would be ahead.")
    it.close("no discordant pair", mcnemar(x, x), 1.0, within=1e-6)
    first = bits("pre-trained decoder")[3], bits("from scratch")[3]
    it.close("training 3 of the study", mcnemar(*first), 0.03336,
             within=1e-4, hint="38 pictures against 60.")

# %% hint
# If both models are equally good, each discordant picture is a fair coin. `math.comb(n, k)` counts the outcomes with $k$ heads.

# %% remark
# The 90 pictures on which both models agree do not enter. They say how good the models are, but not which is better.

# %% exercise 5.4.4 core An interval over trainings and pictures
# `d` (K, N) holds the differences of two methods: K pairs of trainings, N pictures. Write `hierarchical`: the 95 % bootstrap interval of the mean that
# draws K trainings *and* N pictures, each with repetition, and the same pictures for all drawn trainings. Use the generator that is given.

# %% stub
def hierarchical(d, draws=1000, seed=0):
    """Lower and upper end."""
    g = torch.Generator().manual_seed(seed)
    return ..., ...

# %% solution
def hierarchical(d, draws=1000, seed=0):
    """Lower and upper end."""
    g = torch.Generator().manual_seed(seed)
    K, N = d.shape
    means = []
    for _ in range(draws):
        k = torch.randint(K, (K,), generator=g)
        i = torch.randint(N, (N,), generator=g)
        means.append(d[k][:, i].mean())
    low, high = torch.stack(means).quantile(torch.tensor([0.025, 0.975]))
    return low.item(), high.item()

# %% wrong Only pictures are drawn
def hierarchical(d, draws=1000, seed=0):
    g = torch.Generator().manual_seed(seed)
    K, N = d.shape
    means = torch.stack([
        d[:, torch.randint(N, (N,), generator=g)].mean()
        for _ in range(draws)])
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return low.item(), high.item()

# %% wrong All cells are independent
def hierarchical(d, draws=1000, seed=0):
    g = torch.Generator().manual_seed(seed)
    cells = d.flatten()
    means = torch.stack([
        cells[torch.randint(len(cells), cells.shape, generator=g)].mean()
        for _ in range(draws)])
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return low.item(), high.item()

# %% wrong Only trainings are drawn
def hierarchical(d, draws=1000, seed=0):
    g = torch.Generator().manual_seed(seed)
    means = torch.stack([
        d[torch.randint(len(d), (len(d),), generator=g)].mean()
        for _ in range(draws)])
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return low.item(), high.item()

# %% wrong The range of the cells, not of the mean
def hierarchical(d, draws=1000, seed=0):
    low, high = d.flatten().quantile(torch.tensor([0.025, 0.975]))
    return low.item(), high.item()

# %% check
with check("5.4.4", "An interval over trainings and pictures") as it:
    def length(d):
        low, high = (it.answer(x) for x in hierarchical(d))
        return high - low

    rows = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0])[:, None].repeat(1, 200)
    columns = torch.tensor([0.0, 1.0] * 50).repeat(5, 1)
    it.true("trainings that differ, pictures that do not",
            0.6 < length(rows) < 1.0, hint="Were trainings drawn?")
    it.true("pictures that differ, trainings that do not",
            0.16 < length(columns) < 0.23,
            hint="The same picture is equally difficult for all trainings.")
    d = 100.0 * (bits("pre-trained decoder") - bits("from scratch"))
    low, high = hierarchical(d)
    it.true("the study: zero is inside", low < -1 and 7 < high < 12)

# %% hint
# `d[k]` draws rows and `[:, i]` columns. Each draw needs new `k` and new `i`.

# %% remark
# If all 5 N cells were drawn by themselves, the interval would be as short as that of 5 N different pictures.

# %% exercise 5.4.5 core How large must the test set be?
# A share `q` of the pictures is discordant, and the first model is better by `delta` (both between 0 and 1). Write `needed`: the smallest whole number of
# pictures with which a difference of this size is found at the 5 % level with a power of 80 % (use 1.96 and 0.84).

# %% stub
def needed(delta, q):
    """Pictures for a test in pairs."""
    return ...

# %% solution
def needed(delta, q):
    """Pictures for a test in pairs."""
    return math.ceil((1.96 + 0.84) ** 2 * (q - delta ** 2) / delta ** 2)

# %% wrong Without power: the difference is just significant on average
def needed(delta, q):
    return math.ceil(1.96 ** 2 * (q - delta ** 2) / delta ** 2)

# %% wrong The error falls with N, not with its root
def needed(delta, q):
    return math.ceil((1.96 + 0.84) * (q - delta ** 2) ** 0.5 / delta)

# %% wrong The variance of one model
def needed(delta, q):
    return math.ceil((1.96 + 0.84) ** 2 * q * (1 - q) / delta ** 2)

# %% check
with check("5.4.5", "How large must the test set be?") as it:
    it.equal("10 points, 26 % discordant", needed(0.1, 0.26), 196,
             hint="2.8² times 0.25 over 0.01, rounded up.")
    it.equal("1 point, 26 % discordant", needed(0.01, 0.26), 20377,
             hint="Half the difference needs four times the pictures.")
    it.equal("5 points, 5 % discordant", needed(0.05, 0.05), 149,
             hint="Here only the first model is ever right alone.")

# %% hint
# The variance of one difference is its mean square, $q$, minus the square of its mean.

# %% remark
# Similar models need fewer pictures, since fewer pairs are discordant. Two trainings of the same method can still disagree on a quarter of the pictures.

# %% exercise 5.4.6 open Real photographs, in the public form
# `results` is a text in COCO's form: a list of records with `image_id` and `caption`, in any order. `annotations` is a list of such records, several for each
# picture. Write `scored`: the CIDEr of the results over all pictures *of the annotations*. A picture without a caption counts as an empty caption. Two
# captions for one picture are an error: raise `ValueError`.

# %% stub
def scored(results, annotations):
    """CIDEr of a text of records."""
    return ...

# %% solution
def scored(results, annotations):
    """CIDEr of a text of records."""
    records = json.loads(results)
    said = {r["image_id"]: r["caption"] for r in records}
    if len(said) < len(records):
        raise ValueError("two captions for one picture")
    truths = {}
    for r in annotations:
        truths.setdefault(r["image_id"], []).append(r["caption"])
    return cider([said.get(n, "") for n in truths], list(truths.values()))

# %% wrong The records come in the order of the pictures
def scored(results, annotations):
    records = json.loads(results)
    truths = {}
    for r in annotations:
        truths.setdefault(r["image_id"], []).append(r["caption"])
    if len({r["image_id"] for r in records}) < len(records):
        raise ValueError("two captions for one picture")
    said = [r["caption"] for r in records]
    said += [""] * (len(truths) - len(said))
    return cider(said, list(truths.values()))

# %% wrong Pictures without a caption are left out
def scored(results, annotations):
    records = json.loads(results)
    said = {r["image_id"]: r["caption"] for r in records}
    if len(said) < len(records):
        raise ValueError("two captions for one picture")
    truths = {}
    for r in annotations:
        if r["image_id"] in said:
            truths.setdefault(r["image_id"], []).append(r["caption"])
    return cider([said[n] for n in truths], list(truths.values()))

# %% wrong The last of two captions counts
def scored(results, annotations):
    said = {r["image_id"]: r["caption"] for r in json.loads(results)}
    truths = {}
    for r in annotations:
        truths.setdefault(r["image_id"], []).append(r["caption"])
    return cider([said.get(n, "") for n in truths], list(truths.values()))

# %% wrong One reference for each picture is enough
def scored(results, annotations):
    records = json.loads(results)
    said = {r["image_id"]: r["caption"] for r in records}
    if len(said) < len(records):
        raise ValueError("two captions for one picture")
    truths = {r["image_id"]: [r["caption"]] for r in annotations}
    return cider([said.get(n, "") for n in truths], list(truths.values()))

# %% check
people = photographs(64).references
truths = [{"image_id": n, "caption": text}
          for n, group in enumerate(people) for text in group[1:]]
human = [{"image_id": n, "caption": group[0]}
         for n, group in enumerate(people)]


def refused(records):
    try:
        scored(json.dumps(records), truths)
    except ValueError:
        return True
    return False


with check("5.4.6", "Real photographs, in the public form") as it:
    score = it.answer(scored(json.dumps(human), truths))
    it.close("the first person, against the other four", score, 1.1332,
             within=1e-3, hint="All references of a picture count.")
    it.close("in another order", scored(json.dumps(human[::-1]), truths),
             1.1332, within=1e-3, hint="Match by image_id.")
    it.close("21 pictures only", scored(json.dumps(human[:21]), truths),
             cider([g[0] for g in people[:21]] + [""] * 21,
                   [g[1:] for g in people]), within=1e-3,
             hint="A missing caption is a bad caption.")
    it.true("two captions for one picture", refused([*human, human[0]]),
            hint="Which of them would count?")

# %% hint
# Make two dictionaries by `image_id`: the caption, and the list of the references.

# %% remark
# A program that leaves out pictures without a caption rewards a model that answers only when it is sure. Whether a published number was computed
# in that way is seen in the program, hardly ever in the table.
