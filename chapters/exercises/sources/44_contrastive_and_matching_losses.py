# %% [markdown]
# # Exercises 4.4 The other losses
#
# To the chapter: [4.4 The other losses](../4-mathematics/44_contrastive_and_matching_losses.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here takes
# longer than a few seconds.

# %% shared
import itertools
import math

import torch
from torch.nn import functional as F

from mmbook.losses import contrastive
from mmbook.notebook.exercises import check
from mmbook.notebook.gradients import numerical_gradient

torch.set_num_threads(1)


def draw(*shape, seed=0):
    """Numbers of 64 bits."""
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made, dtype=torch.float64)


# %% [markdown]
# The next cell is for the last exercise only: embeddings, and how many of them were made with a graph.

# %% shared
SEEN = []


def unit(net, x):
    """Embeddings of length one; notes how many were made with a graph."""
    SEEN.append(len(x) if torch.is_grad_enabled() else 0)
    return F.normalize(net(x), dim=1)


# %% exercise 4.4.1 warm-up A gradient with paper and pencil
# Two pictures, two sentences. The scores are the same everywhere: $s_{ij} = 0$. So the model knows
# nothing.
#
# Write down the InfoNCE loss (both directions) and its gradient with respect to the four scores, from
# equation (2) of the chapter. Then the same for the sigmoid loss (8) with all scores zero. No machine.

# %% stub
infonce_loss = ...  # a number
infonce_gradient = ...  # [[., .], [., .]]
sigmoid_loss = ...
sigmoid_gradient = ...

# %% solution
infonce_loss = math.log(2)
infonce_gradient = [[-0.25, 0.25], [0.25, -0.25]]
sigmoid_loss = 2 * math.log(2)
sigmoid_gradient = [[-0.25, 0.25], [0.25, -0.25]]


# %% check
def infonce(s):
    """InfoNCE of a table of scores."""
    both = s.log_softmax(1) + s.log_softmax(0)
    return -both.diagonal().mean() / 2


def sigmoid(s):
    """Sigmoid loss of a table of scores."""
    sign = 2 * torch.eye(len(s), dtype=s.dtype) - 1
    return F.softplus(-sign * s).sum() / len(s)


with check("4.4.1", "A gradient with paper and pencil") as it:
    zero = torch.zeros(2, 2, dtype=torch.float64)
    for name, loss, value, gradient in (
            ("InfoNCE", infonce, infonce_loss, infonce_gradient),
            ("sigmoid", sigmoid, sigmoid_loss, sigmoid_gradient)):
        it.close(f"loss, {name}", value, loss(zero).item())
        it.true(f"gradient, {name}", gradient if gradient is ... else
                torch.allclose(torch.tensor(gradient).double(),
                               numerical_gradient(loss, zero)))

# %% hint
# InfoNCE: all probabilities are one half, in rows and in columns; divide by $2B = 4$. Sigmoid:
# $\sigma(0)$ is one half; divide by $B = 2$.

# %% remark
# The same gradient, from two losses. With two pairs a row has one right and one wrong sentence, so right
# and wrong are in balance by themselves. With more, the sigmoid loss needs its bias for that:
# $-\log(B - 1)$, and $\log 1 = 0$.

# %% exercise 4.4.2 predict How many nats does it know?
# A model is trained with batches of 64. Its InfoNCE loss, one direction, is 0.30 in the mean. How many
# nats about the sentence does the picture tell, as far as this loss can certify? Then: the true
# information is 12 nats. How large must a batch be, at the least, so that the bound *could* show 12?
# Guess the second before you compute it.

# %% stub
guess = ...  # the batch, before computing
certified = ...  # nats
smallest_batch = ...

# %% solution
guess = 100_000
certified = math.log(64) - 0.30
smallest_batch = math.exp(12)

# %% check
with check("4.4.2", "How many nats does it know?") as it:
    it.prediction("the batch", guess, math.exp(12))
    it.close("certified", certified, 3.8589, within=0.01,
             hint="The bound is log B minus the loss.")
    it.close("the smallest batch", smallest_batch, 162_755, within=10,
             hint="log B must not be below 12.")

# %% hint
# Equation (6), both halves.

# %% remark
# And 163 thousand is for a loss of exactly zero. A bound from samples needs a number of samples that
# grows like $e^I$. So nobody measures large information in this way; and nobody needs to. For retrieval
# the order of the scores counts, and that is learned from much smaller batches.

# %% exercise 4.4.3 core The temperature that hears ten
# $e^H$ is the number of wrong sentences that share the push, with $H$ the entropy of their shares
# (chapter 4.4, "Temperature"). Write `heard`, for one row of cosines of wrong sentences. Then find the
# temperature at which exactly ten of the 200 below are heard. The number grows with $\tau$, so it can be
# found by halving an interval.

# %% stub
def heard(cosine, tau):
    """How many of these wrong sentences share the push: (n,) → number."""
    share = ...
    return ...


def temperature_for(cosine, count):
    """The τ at which so many are heard."""
    low, high = 1e-3, 10.0
    return ...


# %% solution
def heard(cosine, tau):
    """How many of these wrong sentences share the push: (n,) → number."""
    share = (cosine / tau).softmax(0)
    return torch.special.entr(share).sum().exp().item()


def temperature_for(cosine, count):
    """The τ at which so many are heard."""
    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if heard(cosine, middle) < count:
            low = middle
        else:
            high = middle
    return low


# %% check
with check("4.4.3", "The temperature that hears ten") as it:
    it.close("equal cosines: all", heard(torch.zeros(7).double(), 0.1), 7)
    it.close("two of them near", heard(
        torch.tensor([0.9, 0.9, -1, -1]).double(), 0.01), 2)
    for seed in (1, 2):
        cosine = 0.2 * draw(200, seed=seed)
        tau = temperature_for(cosine, 10)
        p = (cosine / tau).softmax(0)
        it.close(f"ten are heard, row {seed}",
                 (-(p * p.log()).sum()).exp().item(), 10, within=0.01)

# %% hint
# The shares of the push are a softmax of the cosines divided by $\tau$. Too few heard: go up with the
# lower end of the interval. Sixty halvings are more than enough.

# %% remark
# A temperature says nothing by itself. It has to be compared with how far the cosines are apart: the same
# $\tau$ that hears everybody at the start of a training, when all cosines are alike, hears few at its
# end.

# %% exercise 4.4.4 core Count the paths
# How many paths of $N$ moments read as a sentence, if the vocabulary does not matter? With all
# $p_t(v) = 1$, the recursion of CTC adds up ones: it counts. Write `count_paths(N, y)` with the forward
# recursion, in whole numbers. `y` is a tuple of symbols; the blank is 0.
#
# Then say, for a sentence of $U$ symbols, $r$ of which equal the one before: in how few moments can it be
# said?

# %% stub
def count_paths(N, y):
    """How many paths of N moments read as y."""
    z = [0, *(v for symbol in y for v in (symbol, 0))]
    here = [1] + [0] * (len(z) - 1)  # before the first moment
    return ...


def shortest(U, r):
    """The fewest moments."""
    return ...


# %% solution
def count_paths(N, y):
    """How many paths of N moments read as y."""
    z = [0, *(v for symbol in y for v in (symbol, 0))]
    here = [1] + [0] * (len(z) - 1)  # before the first moment
    for _ in range(N):
        then = []
        for i, symbol in enumerate(z):
            ways = here[i] + (here[i - 1] if i else 0)
            if i > 1 and symbol not in (0, z[i - 2]):
                ways += here[i - 2]
            then.append(ways)
        here = then
    return here[-1] + here[-2]


def shortest(U, r):
    """The fewest moments."""
    return U + r


# %% check
def collapse(path):
    """Merge repetitions, then drop blanks."""
    return tuple(v for v, before in zip(path, (None, *path))
                 if v != before and v)


def by_hand(N, y):
    """Go through all of them."""
    return sum(collapse(path) == y
               for path in itertools.product(range(3), repeat=N))


with check("4.4.4", "Count the paths") as it:
    for N, y in ((4, (1, 2)), (5, (1, 2)), (5, (1, 1)), (6, (1, 2, 2)),
                 (3, (1, 1, 2)), (6, (2,))):
        it.equal(f"{N} moments, {y}", count_paths(N, y), by_hand(N, y))
    for y, r in (((1, 2, 1), 0), ((1, 1, 2), 1), ((2, 2, 2), 2)):
        fewest = next(n for n in range(9) if by_hand(n, y))
        it.equal(f"shortest for {y}", shortest(len(y), r), fewest)

# %% hint
# Place $i$ is reached from itself, from the place before, and over a blank from the place before that, if
# the symbols on both sides differ. At the end a path stands at the last symbol or at the last blank.

# %% remark
# The counts say how much freedom CTC leaves. For two different symbols they are 1, 5, 15, 35, 70 at 2, 3,
# 4, 5, 6 moments: binomial coefficients. Most of these paths have blanks in them, and that is why a model
# that knows nothing yet is pulled to the blank at every moment.

# %% exercise 4.4.5 core From conditionals to sentences
# A masked model of three words gives each word, if all others are known: `given[t]` is a table (3, 3, 3)
# whose axis $t$ holds the probabilities of word $t$, given the other two. Their product is no probability
# of a sentence. But one can *write* with it, by going round: hide a word, draw it from its conditional,
# hide the next, and so on. If the conditionals are the true ones, the sentences come as often as they
# should: *Gibbs sampling* (吉布斯采样).
#
# Do it without chance. Write `one_round(q)`: if the sentences are distributed as `q`, a table (3, 3, 3),
# before, how are they distributed after each of the three words was drawn anew, one after the other?

# %% stub
def one_round(q, given):
    """(3, 3, 3) → (3, 3, 3). given[t] is a table: p(word t | the others)."""
    for t in range(3):
        others = ...  # how likely the other two words are, place t kept as 1
        q = ...
    return q


# %% solution
def one_round(q, given):
    """(3, 3, 3) → (3, 3, 3). given[t] is a table: p(word t | the others)."""
    for t in range(3):
        others = q.sum(t, keepdim=True)  # place t kept as 1
        q = others * given[t]
    return q


# %% check
with check("4.4.5", "From conditionals to sentences") as it:
    joint = draw(27, seed=3).softmax(0).view(3, 3, 3)
    given = [joint / joint.sum(t, keepdim=True) for t in range(3)]
    q = torch.full((3, 3, 3), 1 / 27, dtype=torch.float64)
    after = one_round(q, given)
    it.true("still a distribution", after if after is ... else
            abs(after.sum().item() - 1) < 1e-9)
    it.true("the true one stays as it is",
            torch.allclose(one_round(joint, given), joint))
    for _ in range(100):
        q = one_round(q, given)
    it.true("from any start it comes there", torch.allclose(
        q, joint, atol=1e-6))
    product = given[0] * given[1] * given[2]
    it.true("the product of conditionals does not", not torch.allclose(
        product / product.sum(), joint, atol=1e-3))

# %% hint
# Before the word is drawn, the old one is forgotten: sum over its axis, and keep the axis with length 1.
# Then multiply by the conditional.

# %% remark
# So the conditionals of a perfect masked model hold the whole joint distribution, if no sentence is
# impossible. It just can't be read off in one go. For "left left" and "right right" going round is stuck
# for ever where it began: every word is certain, given the other. And a *trained* model's conditionals
# need not fit any joint distribution at all.

# %% exercise 4.4.6 open Cut the batch, keep the gradient
# The chapter's GradCache had one encoder. Now both sides are encoders, and the temperature is learned,
# too. Write `cached_gradients`, which must never encode more than `size` examples *with* a graph, and
# returns the gradients of all parameters and of `log_scale`, equal to those of the whole batch.
#
# Then go on by yourself. Put dropout in the encoders: why are the gradients not equal any more, and how
# do you save it? (The second pass must make the same draw as the first.) How do time and memory grow with
# the number of parts? And for which losses of the chapter is none of this needed?

# %% stub
def cached_gradients(first, second, log_scale, x, y, size):
    """A list: of first's parameters, of second's, of log_scale."""
    parameters = [*first.parameters(), *second.parameters()]
    ...
    return ...


# %% solution
def cached_gradients(first, second, log_scale, x, y, size):
    """A list: of first's parameters, of second's, of log_scale."""
    parameters = [*first.parameters(), *second.parameters()]
    with torch.no_grad():
        a, b = (torch.cat([unit(net, part) for part in data.split(size)])
                for net, data in ((first, x), (second, y)))
    a.requires_grad_(), b.requires_grad_()
    loss = contrastive(a, b, log_scale.exp())
    da, db, dscale = torch.autograd.grad(loss, (a, b, log_scale))
    total = [torch.zeros_like(p) for p in parameters]
    for rows in torch.arange(len(x)).split(size):
        value = ((unit(first, x[rows]) * da[rows]).sum()
                 + (unit(second, y[rows]) * db[rows]).sum())
        for sum_, part in zip(total, torch.autograd.grad(value, parameters)):
            sum_ += part
    return [*total, dscale]


# %% check
def encoder(seed, width):
    """A small network of 64 bits."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(width, 8), torch.nn.Tanh(),
        torch.nn.Linear(8, 4)).double()


with check("4.4.6", "Cut the batch, keep the gradient") as it:
    first, second = encoder(0, 5), encoder(1, 3)
    log_scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    x, y = draw(24, 5, seed=1), draw(24, 3, seed=2)
    got = cached_gradients(first, second, log_scale, x, y, 8)
    it.true("it returns gradients", got if got is ... else len(got) == 9)
    most = max(SEEN)
    whole = torch.autograd.grad(
        contrastive(unit(first, x), unit(second, y), log_scale.exp()),
        [*first.parameters(), *second.parameters(), log_scale])
    it.true("equal to the whole batch", all(
        torch.allclose(one, two) for one, two in zip(got, whole)))
    it.true("never more than 8 at once", 0 < most <= 8,
            hint="Use unit(net, part), and no graph in the first pass.")
    uneven = cached_gradients(first, second, log_scale, x, y, 7)
    it.true("parts that are not equal", all(
        torch.allclose(one, two) for one, two in zip(uneven, whole)))

# %% hint
# Use `unit(net, part)`, from the top of this page, to embed. First pass: under `torch.no_grad()`. Then
# the loss is a function of two tables of embeddings and of `log_scale`, which is cheap. Second pass: the
# scalar product of an embedding with its gradient has the right gradient for the encoder.

# %% remark
# Matching, the sigmoid loss and CTC are sums over examples or over pairs. CTC can simply be cut; the
# sigmoid loss can be cut if all pairs of parts are visited (exercise 2.7.3). Only a softmax over the
# batch needs the cache.
