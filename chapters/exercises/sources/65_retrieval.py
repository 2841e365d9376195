# %% [markdown]
# # Exercises 6.5 Retrieval
#
# To the chapter: [6.5 Retrieval](../6-applications/65_retrieval.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right.

# %% shared
import base64

import torch
from torch.nn import functional as F

from mmbook.notebook.exercises import check
from mmbook.studies import load

torch.set_num_threads(1)


def unit(*shape, seed):
    """Rows of length one."""
    dice = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=dice), dim=-1)


# %% exercise 6.5.1 warm-up The recall of an index
# `exact` (Q, k) are the numbers of the k nearest vectors of each question, found by an exact search, and `found` (Q, k)
# those that an index gives. Write the recall of the index: the share of all exact neighbours that were found, in
# whatever order.

# %% stub
def index_recall(found, exact):
    """The share of exact neighbours that an index finds, 0 to 1."""
    return ...


# %% solution
def index_recall(found, exact):
    """The share of exact neighbours that an index finds, 0 to 1."""
    there = (found[:, :, None] == exact[:, None, :]).any(1)
    return there.float().mean().item()


# %% wrong Neighbours must stand at the same place
def index_recall(found, exact):
    """The share of exact neighbours that an index finds, 0 to 1."""
    return (found == exact).float().mean().item()


# %% wrong One neighbour is enough
def index_recall(found, exact):
    """The share of exact neighbours that an index finds, 0 to 1."""
    there = (found[:, :, None] == exact[:, None, :]).any(1)
    return there.any(1).float().mean().item()


# %% wrong Only the nearest counts
def index_recall(found, exact):
    """The share of exact neighbours that an index finds, 0 to 1."""
    return (found == exact[:, :1]).any(1).float().mean().item()

# %% check
with check("6.5.1", "The recall of an index") as it:
    exact = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    it.close("all, in another order", index_recall(exact.flip(1), exact), 1.0)
    it.close("half of them", index_recall(
        torch.tensor([[2, 1, 9, 9], [8, 9, 9, 5]]), exact), 0.5)
    it.close("nothing", index_recall(exact + 10, exact), 0.0)

# %% hint
# Compare each found number with each exact one: shapes (Q, k, 1) and (Q, 1, k).

# %% remark
# An index can have a recall of one and still find the wrong picture first: it is as good as the exact search, and no
# better.

# %% exercise 6.5.2 core Search in lists
# The rows (N, E) of a collection were grouped: `centres` (C, E), and `numbers` (N,) says to which centre each row
# belongs. Write the search of an inverted file: look only at rows whose centre is one of the `probes` nearest to the
# question (E,), and give the `k` best of them, best first. Near means a large scalar product.

# %% stub
def search(question, rows, centres, numbers, probes, k):
    """Numbers of the best rows in the nearest lists."""
    return ...


# %% solution
def search(question, rows, centres, numbers, probes, k):
    """Numbers of the best rows in the nearest lists."""
    chosen = (centres @ question).topk(probes).indices
    there = torch.isin(numbers, chosen).nonzero()[:, 0]
    best = (rows[there] @ question).topk(min(k, len(there))).indices
    return there[best]


# %% wrong One list is enough
def search(question, rows, centres, numbers, probes, k):
    """Numbers of the best rows in the nearest lists."""
    there = (numbers == (centres @ question).argmax()).nonzero()[:, 0]
    best = (rows[there] @ question).topk(min(k, len(there))).indices
    return there[best]


# %% wrong The best in the list are the best in the collection
def search(question, rows, centres, numbers, probes, k):
    """Numbers of the best rows in the nearest lists."""
    chosen = (centres @ question).topk(probes).indices
    there = torch.isin(numbers, chosen).nonzero()[:, 0]
    return (rows[there] @ question).topk(min(k, len(there))).indices


# %% wrong Everything is compared, so nothing can be missed
def search(question, rows, centres, numbers, probes, k):
    """Numbers of the best rows in the nearest lists."""
    return (rows @ question).topk(k).indices

# %% check
with check("6.5.2", "Search in lists") as it:
    rows, centres = unit(400, 16, seed=1), unit(20, 16, seed=2)
    numbers = (rows @ centres.T).argmax(1)
    asked = unit(30, 16, seed=3)
    found = [search(q, rows, centres, numbers, 4, 5) for q in asked]
    filled = found[0] is not ...
    it.equal("five each", [len(f) for f in found] if filled else ...,
             [5] * 30)
    near = [(centres @ q).topk(4).indices.tolist() for q in asked]
    it.true("only of the four nearest lists", filled and all(
        int(numbers[n]) in lists for f, lists in zip(found, near) for n in f))
    best = [max((rows[n] @ q).item() for n in range(400)
                if int(numbers[n]) in lists)
            for q, lists in zip(asked, near)]
    it.true("the best of them first", filled and all(
        abs((rows[f[0]] @ q).item() - b) < 1e-6
        for f, q, b in zip(found, asked, best)),
        hint="A place in a list is not yet a number of the collection.")
    whole = [search(q, rows, centres, numbers, 20, 5) for q in asked]
    it.true("with all lists it is the exact search", filled and all(
        f.tolist() == (rows @ q).topk(5).indices.tolist()
        for f, q in zip(whole, asked)))

# %% hint
# `torch.isin(numbers, chosen)` marks the rows of the chosen lists; `nonzero` gives their numbers.

# %% remark
# The loop over lists is what faiss does too, with the rows of a list side by side in memory.

# %% exercise 6.5.3 predict What does it cost?
# A collection of one million pictures, vectors of 64 values of four bytes. *Predict* the gigabytes (of 10⁹ bytes) of one
# vector for each picture, and of late interaction with 36 vectors for each. Then: of eight bytes for each picture, by
# product quantisation. And by what factor does late interaction with ten words need more products for a question?

# %% stub
one_vector = ...
late_interaction = ...
quantised = ...
factor = ...

# %% solution
one_vector = 1e6 * 64 * 4 / 1e9
late_interaction = 36 * one_vector
quantised = 1e6 * 8 / 1e9
factor = 36 * 10

# %% wrong A word more costs nothing
one_vector = 1e6 * 64 * 4 / 1e9
late_interaction = 36 * one_vector
quantised = 1e6 * 8 / 1e9
factor = 36

# %% wrong A value is a byte
one_vector = 1e6 * 64 / 1e9
late_interaction = 36 * one_vector
quantised = 1e6 * 8 / 1e9
factor = 36 * 10

# %% wrong Late interaction stores the products
one_vector = 1e6 * 64 * 4 / 1e9
late_interaction = 36 * 10 * one_vector
quantised = 1e6 * 8 / 1e9
factor = 36 * 10

# %% check
with check("6.5.3", "What does it cost?") as it:
    it.close("one vector, GB", one_vector, 0.256)
    it.close("late interaction, GB", late_interaction, 9.216)
    it.close("quantised, GB", quantised, 0.008)
    it.close("times as many products", factor, 360)

# %% hint
# The words of a question are not stored: they come with the question.

# %% remark
# ColBERT's later versions store about two bits a value; late interaction then takes less than one vector in 32 bits
# for each of its tokens, and still an index is needed to find candidates.

# %% exercise 6.5.4 core Late interaction, with padding
# `w` (L, E) are the words of a question, `real` (L,) says which of them are real and which are padding, `z` (P, E) are the
# places of a picture. All rows have length one. Write equation (3) of the chapter.

# %% stub
def late_score(w, real, z):
    """The mean over real words of the best cosine with a place."""
    return ...


# %% solution
def late_score(w, real, z):
    """The mean over real words of the best cosine with a place."""
    return (w @ z.T).amax(1)[real].mean().item()


# %% wrong Padding is a word, too
def late_score(w, real, z):
    """The mean over real words of the best cosine with a place."""
    return (w @ z.T).amax(1).mean().item()


# %% wrong Each place looks for its word
def late_score(w, real, z):
    """The mean over real words of the best cosine with a place."""
    return (w[real] @ z.T).amax(0).mean().item()


# %% wrong The mean over places instead of the best
def late_score(w, real, z):
    """The mean over real words of the best cosine with a place."""
    return (w @ z.T).mean(1)[real].mean().item()

# %% check
with check("6.5.4", "Late interaction, with padding") as it:
    z = torch.eye(4)
    w = torch.stack([z[0], (z[1] + z[2]) / 2**0.5, -z[3]])
    real = torch.tensor([True, True, False])
    it.close("by hand", late_score(w, real, z), (1 + 0.5**0.5) / 2)
    it.close("what padding holds changes nothing",
             late_score(torch.stack([w[0], w[1], z[3]]), real, z),
             (1 + 0.5**0.5) / 2, hint="Padding is no word.")
    a, b = unit(7, 32, seed=4), unit(36, 32, seed=5)
    whole = torch.ones(7, dtype=torch.bool)
    once = late_score(a, whole, b)
    it.close("a place twice changes nothing",
             late_score(a, whole, torch.cat([b, b[:5]])), once)

# %% hint
# `amax(1)` over places, then only real words, then the mean.

# %% remark
# The score is not symmetric: a picture may show more than the sentence says. FILIP trains with the mean of both
# directions.

# %% exercise 6.5.5 core Put the first ones in order again
# `order` (N,) are the numbers of all pictures, best first, from a fast search. `matcher` (N,) is the score of a slow
# model for each picture *number*; it may be looked up for the first `depth` pictures only. Give the new order: the first
# `depth` by the matcher, the others as they were.

# %% stub
def reranked(order, matcher, depth):
    """The new order of all pictures (N,)."""
    return ...


# %% solution
def reranked(order, matcher, depth):
    """The new order of all pictures (N,)."""
    head = order[:depth]
    head = head[matcher[head].argsort(descending=True)]
    return torch.cat([head, order[depth:]])


# %% wrong All are put in order again
def reranked(order, matcher, depth):
    """The new order of all pictures (N,)."""
    return matcher.argsort(descending=True)


# %% wrong What was not read again is dropped
def reranked(order, matcher, depth):
    """The new order of all pictures (N,)."""
    head = order[:depth]
    return head[matcher[head].argsort(descending=True)]


# %% wrong Scores stand in the order of the search
def reranked(order, matcher, depth):
    """The new order of all pictures (N,)."""
    head = order[:depth][matcher[:depth].argsort(descending=True)]
    return torch.cat([head, order[depth:]])

# %% check
with check("6.5.5", "Put the first ones in order again") as it:
    order = torch.tensor([3, 0, 4, 1, 2])
    matcher = torch.tensor([0.2, 9.0, 0.5, 0.1, 0.8])
    told = reranked(order, matcher, 3)
    it.equal("the first three", told if told is ... else told.tolist(),
             [4, 0, 3, 1, 2])
    told = reranked(order, matcher, 1)
    it.equal("one read again changes nothing",
             told if told is ... else told.tolist(), order.tolist())
    told = reranked(order, matcher, 5)
    it.equal("all five", told if told is ... else told.tolist(),
             [1, 4, 2, 0, 3])

# %% hint
# `matcher[head]` are the scores of the first pictures, by their numbers.

# %% remark
# What is not among the first `depth` can't come back: the recall of the fast search at that depth is the ceiling of
# the second stage.

# %% exercise 6.5.6 open Five captions, one list
# Real photographs, the shared space of chapter 2.8: `photo` (42, E), `caption` (42, 5, E). Each of a photograph's five
# captions ranks all 42 photographs. *Reciprocal rank fusion* joins the lists: a photograph gets the sum of
# $1 / (60 + r)$ over the lists, where $r$ is its rank in a list, 1 for the first. Write `fused`: questions (n, E) → the
# fused scores of the photographs (42,).

# %% stub
def fused(questions, photo):
    """Reciprocal rank fusion of the lists of all questions: (photographs,)."""
    return ...


# %% solution
def fused(questions, photo):
    """Reciprocal rank fusion of the lists of all questions: (photographs,)."""
    scores = questions @ photo.T
    ranks = scores.argsort(1, descending=True).argsort(1) + 1
    return (1 / (60 + ranks)).sum(0)


# %% wrong Ranks begin at 0
def fused(questions, photo):
    """Reciprocal rank fusion of the lists of all questions: (photographs,)."""
    scores = questions @ photo.T
    ranks = scores.argsort(1, descending=True).argsort(1)
    return (1 / (60 + ranks)).sum(0)


# %% wrong The order is the rank
def fused(questions, photo):
    """Reciprocal rank fusion of the lists of all questions: (photographs,)."""
    ranks = (questions @ photo.T).argsort(1, descending=True) + 1
    return (1 / (60 + ranks)).sum(0)


# %% wrong The smallest cosine comes first
def fused(questions, photo):
    """Reciprocal rank fusion of the lists of all questions: (photographs,)."""
    ranks = (questions @ photo.T).argsort(1).argsort(1) + 1
    return (1 / (60 + ranks)).sum(0)

# %% check
stored = load("real_shared_space").runs(
    "linear, InfoNCE", "798 photographs")[0]["test"]["embeddings"]
values = torch.frombuffer(bytearray(base64.b64decode(stored["bytes"])),
                          dtype=torch.int8).float()
table = F.normalize(values.view(stored["shape"]), dim=-1)
photo, caption = table[:42], table[42:252].unflatten(0, (42, 5))
hits = ...
with check("6.5.6", "Five captions, one list") as it:
    toy = fused(torch.eye(3)[:1], torch.tensor(
        [[0.1, 0, 0], [0.9, 0, 0], [0.5, 0, 0]]))
    for n, (name, rank) in enumerate((("third", 3), ("first", 1),
                                      ("second", 2))):
        it.close(f"the {name}", toy if toy is ... else toy[n],
                 1 / (60 + rank), within=1e-6)
    lists = [fused(caption[n], photo) for n in range(42)]
    hits = (... if lists[0] is ... else
            sum(int(each.argmax()) == n for n, each in enumerate(lists)))
    it.true("real photographs: far above one of 42",
            hits is not ... and hits >= 8)
if hits is not ...:
    one = sum((caption[:, k] @ photo.T).argmax(1).eq(torch.arange(42)).sum()
              for k in range(5)).item() / 5
    print(f"first of 42: {hits} with five lists, {one:.1f} with one caption")

# %% hint
# The rank of each photograph is the `argsort` of the `argsort`, plus one.

# %% remark
# Fusion of ranks needs no scores that can be compared, so it also joins lists of different engines. Whether it helps
# has to be measured: with 42 photographs, a difference of three or four is noise.
