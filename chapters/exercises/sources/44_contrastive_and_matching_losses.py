# %% [markdown]
# # Exercises 4.4 Contrastive and matching losses
#
# To the chapter: [4.4 Contrastive and matching losses](../4-mathematics/44_contrastive_and_matching_losses.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here takes
# longer than a few seconds.

# %% shared
import base64
import math

import torch
from torch.nn import functional as F

from mmbook.losses import contrastive
from mmbook.notebook.exercises import check
from mmbook.notebook.gradients import numerical_gradient
from mmbook.studies import load

torch.set_num_threads(1)


def draw(*shape, seed=0):
    """Random values in double precision."""
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made, dtype=torch.float64)


# %% [markdown]
# The next cell reads the vectors of the chapter: 42 photographs and five captions of each, in the space
# that a study has trained, with its temperature.

# %% shared
real = load("real_shared_space")
kept = real.runs("linear, InfoNCE", "798 photographs")[0]["test"]
values = torch.frombuffer(bytearray(base64.b64decode(kept["embeddings"]["bytes"])),
                          dtype=torch.int8).double()
rows = F.normalize(values.view(kept["embeddings"]["shape"]), dim=-1)
photo, caption = rows[:42], rows[42:252]  # five captions after each other
TAU = kept["temperature"]

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
# equation (2) of the chapter. Then do the same for the sigmoid loss (10), with all scores zero. Use paper,
# not the machine.

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

# %% wrong The loss is the sum of both directions, not their mean
infonce_loss = 2 * math.log(2)
infonce_gradient = [[-0.5, 0.5], [0.5, -0.5]]
sigmoid_loss = 2 * math.log(2)
sigmoid_gradient = [[-0.25, 0.25], [0.25, -0.25]]

# %% wrong The sigmoid loss is a mean over all pairs
infonce_loss = math.log(2)
infonce_gradient = [[-0.25, 0.25], [0.25, -0.25]]
sigmoid_loss = math.log(2)
sigmoid_gradient = [[-0.125, 0.125], [0.125, -0.125]]

# %% wrong The gradient is the direction of the step
infonce_loss = math.log(2)
infonce_gradient = [[0.25, -0.25], [-0.25, 0.25]]
sigmoid_loss = 2 * math.log(2)
sigmoid_gradient = [[0.25, -0.25], [-0.25, 0.25]]

# %% wrong Only the right pair has a gradient
infonce_loss = math.log(2)
infonce_gradient = [[-0.25, 0], [0, -0.25]]
sigmoid_loss = 2 * math.log(2)
sigmoid_gradient = [[-0.25, 0], [0, -0.25]]


# %% check
def infonce(s):
    """InfoNCE of a matrix of scores."""
    both = s.log_softmax(1) + s.log_softmax(0)
    return -both.diagonal().mean() / 2


def sigmoid(s):
    """Sigmoid loss of a matrix of scores."""
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

# %% exercise 4.4.2 predict How many nats does it certify?
# A model is trained with batches of 64. Its InfoNCE loss, one direction, is 0.30 on average over new
# pairs. How many nats about the sentence does the picture tell, as far as this loss can certify? Then
# suppose that the true information is 12 nats. How large must a batch be, at the least, so that the
# bound *could* show 12? Guess the second before you compute it.

# %% stub
guess = ...  # the batch, before computing
certified = ...  # nats
smallest_batch = ...

# %% solution
guess = 100_000
certified = math.log(64) - 0.30
smallest_batch = math.exp(12)

# %% wrong The loss is the information
guess = 64
certified = 0.30
smallest_batch = math.exp(12)

# %% wrong A batch certifies its logarithm, whatever the loss
guess = 1000
certified = math.log(64)
smallest_batch = math.exp(12)

# %% wrong Nats are counted in powers of two
guess = 4096
certified = math.log2(64) - 0.30
smallest_batch = 2**12

# %% wrong The loss adds to what is certified
guess = 100_000
certified = math.log(64) + 0.30
smallest_batch = math.exp(12.3)

# %% check
with check("4.4.2", "How many nats does it certify?") as it:
    it.prediction("the batch", guess, math.exp(12))
    it.close("certified", certified, 3.8589, within=0.01,
             hint="The bound is log B minus the loss.")
    it.close("the smallest batch", smallest_batch, 162_755, within=10,
             hint="log B must not be below 12.")

# %% hint
# Equation (7), both halves.

# %% remark
# And these 163 thousand are for a loss of exactly zero. The batch that this bound needs grows like $e^I$.
# For retrieval that matters less than it seems: the order of the scores counts there, and not the number
# of nats that a loss can certify.

# %% exercise 4.4.3 core The temperature at which ten share the push
# $e^H$ is the number of wrong captions that share the push, with $H$ the entropy of their shares (chapter
# 4.4, "Temperature"). Write `sharing`, for one row of cosines of wrong captions. Then find the temperature
# at which exactly ten of them share it, for real photographs and the 205 captions of the others. By (5)
# the number grows with $\tau$, so the temperature can be found by halving an interval.

# %% stub
def sharing(cosine, tau):
    """How many of these wrong captions share the push: (n,) → number."""
    share = ...
    return ...


def temperature_for(cosine, count):
    """The τ at which so many share it."""
    low, high = 1e-3, 10.0
    return ...


# %% solution
def sharing(cosine, tau):
    """How many of these wrong captions share the push: (n,) → number."""
    share = (cosine / tau).softmax(0)
    return torch.special.entr(share).sum().exp().item()


def temperature_for(cosine, count):
    """The τ at which so many share it."""
    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if sharing(cosine, middle) < count:
            low = middle
        else:
            high = middle
    return low


# %% wrong The temperature multiplies the cosines
def sharing(cosine, tau):
    share = (cosine * tau).softmax(0)
    return torch.special.entr(share).sum().exp().item()


def temperature_for(cosine, count):
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = ((middle, high) if sharing(cosine, middle) > count
                     else (low, middle))
    return low


# %% wrong The number that share is the number above an equal share
def sharing(cosine, tau):
    share = (cosine / tau).softmax(0)
    return float((share >= 1 / len(share)).sum())


def temperature_for(cosine, count):
    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = ((middle, high) if sharing(cosine, middle) < count
                     else (low, middle))
    return low


# %% wrong A higher temperature sharpens
def sharing(cosine, tau):
    share = (cosine / tau).softmax(0)
    return torch.special.entr(share).sum().exp().item()


def temperature_for(cosine, count):
    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = ((middle, high) if sharing(cosine, middle) > count
                     else (low, middle))
    return low


# %% wrong The entropy itself is the number
def sharing(cosine, tau):
    share = (cosine / tau).softmax(0)
    return torch.special.entr(share).sum().item()


def temperature_for(cosine, count):
    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = ((middle, high) if sharing(cosine, middle) < count
                     else (low, middle))
    return low


# %% check
with check("4.4.3", "The temperature at which ten share the push") as it:
    it.close("equal cosines: all", sharing(torch.zeros(7).double(), 0.1), 7)
    it.close("two of them near", sharing(
        torch.tensor([0.9, 0.9, -1, -1]).double(), 0.01), 2)
    for number in (10, 24, 26):
        others = torch.arange(210) // 5 != number
        cosine = caption[others] @ photo[number]
        tau = temperature_for(cosine, 10)
        p = (cosine / tau).softmax(0)
        it.close(f"ten share it, photograph {number}",
                 (-(p * p.log()).sum()).exp().item(), 10, within=0.01)

# %% hint
# The shares of the push are a softmax of the cosines divided by $\tau$. Too few share it: raise the lower
# end of the interval. Sixty halvings are more than enough.

# %% remark
# Print the three temperatures: they differ, although all photographs live in one space. A temperature
# says nothing by itself; it has to be compared with how far the cosines of a row are apart.

# %% exercise 4.4.4 core Five captions are right
# Every photograph of the chapter has five captions. Write both forms of the supervised contrastive loss
# for the direction from photographs to captions. `s` are scores (n, m), `same` says which captions are
# right (n, m). With `outside=False` the sum over the right ones stands inside the logarithm, as in (1);
# with `outside=True` their logarithms are averaged, as in (9). The loss is the mean over the rows, and
# rows may have different numbers of right captions.

# %% stub
def supervised(s, same, outside):
    """Supervised contrastive loss, rows only: a number."""
    log_p = ...
    return ...


# %% solution
def supervised(s, same, outside):
    """Supervised contrastive loss, rows only: a number."""
    log_p = s.log_softmax(1)
    if outside:
        each = -log_p.masked_fill(~same, 0).sum(1) / same.sum(1)
    else:
        each = -log_p.masked_fill(~same, -torch.inf).logsumexp(1)
    return each.mean()


# %% wrong Other right captions leave the denominator
def supervised(s, same, outside):
    each = []
    for row, right in zip(s, same):
        wrong = row[~right]
        logs = torch.stack([
            x - torch.cat([x[None], wrong]).logsumexp(0) for x in row[right]])
        each.append(-logs.mean() if outside else -logs.logsumexp(0))
    return torch.stack(each).mean()


# %% wrong One right caption is enough, the first
def supervised(s, same, outside):
    first = same.int().argmax(1)
    return F.cross_entropy(s, first)


# %% wrong The mean is over all right pairs
def supervised(s, same, outside):
    log_p = s.log_softmax(1)
    if outside:
        return -log_p[same].mean()
    return -log_p.masked_fill(~same, -torch.inf).logsumexp(1).mean()


# %% wrong Inside and outside are the same up to a factor
def supervised(s, same, outside):
    log_p = s.log_softmax(1)
    each = -log_p.masked_fill(~same, 0).sum(1)
    return (each / same.sum(1) if outside else each).mean()


# %% check
with check("4.4.4", "Five captions are right") as it:
    s = photo @ caption.T / TAU
    same = torch.arange(42)[:, None] == torch.arange(210) // 5
    p = s.softmax(1)
    inside, beyond = (supervised(s, same, way) for way in (False, True))
    it.close("inside, 42 photographs", inside,
             -(p * same).sum(1).log().mean().item(), within=1e-6)
    it.close("outside", beyond, sum(
        -p[n, 5 * n:5 * n + 5].log().mean().item()
        for n in range(42)) / 42, within=1e-6)
    fewer = [k for k in range(210) if k % 5 < 1 + (k // 5) % 5]
    it.close("different numbers of right captions",
             supervised(s[:, fewer], same[:, fewer], True), sum(
                 -s[n, fewer].log_softmax(0)[same[n, fewer]].mean().item()
                 for n in range(42)) / 42, within=1e-6)
    single = torch.eye(6).bool()
    it.close("one right caption: a row of InfoNCE",
             supervised(s[:6, :30:5], single, False),
             F.cross_entropy(s[:6, :30:5], torch.arange(6)).item(),
             within=1e-6)

# %% hint
# Take the logarithm of the softmax once, over the whole row. Then fill what is not right: with $-\infty$
# before a `logsumexp`, with zero before a sum.

# %% remark
# The two values differ a good deal. Inside, a photograph is content with one near caption; outside, the
# farthest of the five counts as much as the nearest. The smallest possible values differ, too: zero
# inside, and $\log 5$ outside.

# %% exercise 4.4.5 core The matcher moves to another world
# A matcher was trained with $k$ false pairs for each true one, drawn from $q$, and its score is the best
# one, $\log (p / q) - \log k$. It is now used where a share $\pi$ of the pairs is true and the false ones
# still come from $q$. Write `probability(s, k, share)`: the probability that a pair is true in the new
# world.

# %% stub
def probability(s, k, share):
    """Score of a matcher trained with k false pairs → probability."""
    return ...


# %% solution
def probability(s, k, share):
    """Score of a matcher trained with k false pairs → probability."""
    odds = math.log(share / (1 - share))
    return torch.sigmoid(s + math.log(k) + odds)


# %% wrong The sigmoid of the score is the probability everywhere
def probability(s, k, share):
    return torch.sigmoid(s)


# %% wrong The correction has the sign of the formula
def probability(s, k, share):
    return torch.sigmoid(s - math.log(k) + math.log(share / (1 - share)))


# %% wrong Probabilities are multiplied by the ratio of the shares
def probability(s, k, share):
    return (torch.sigmoid(s) * share * (k + 1)).clamp(max=1)


# %% wrong Only the training's imbalance has to be undone
def probability(s, k, share):
    return torch.sigmoid(s + math.log(k))


# %% check
with check("4.4.5", "The matcher moves to another world") as it:
    p, q = draw(5, 8, seed=1).softmax(1), draw(5, 8, seed=2).softmax(1)
    for k, share in ((1, 0.5), (9, 0.5), (3, 0.1), (1, 0.01)):
        s = (p / q).log() - math.log(k)
        truth = share * p / (share * p + (1 - share) * q)  # Bayes
        got = probability(s, k, share)
        it.true(f"k = {k}, share {share}", got if got is ... else
                torch.allclose(got, truth))

# %% hint
# Write down Bayes' rule for the new world and divide by the probability of "false". What is the logarithm
# of these odds, and how does it differ from $s$?

# %% remark
# Only a shift of the score, so the order of the sentences of a picture stays as it was. Thresholds and
# probabilities do not. The same correction belongs to every classifier whose classes are rarer in use than
# in training.

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


# %% wrong Gradients of small batches add up to that of the large one
def cached_gradients(first, second, log_scale, x, y, size):
    parameters = [*first.parameters(), *second.parameters(), log_scale]
    total = [torch.zeros_like(p) for p in parameters]
    for rows in torch.arange(len(x)).split(size):
        loss = contrastive(unit(first, x[rows]), unit(second, y[rows]),
                           log_scale.exp()) * len(rows) / len(x)
        for sum_, part in zip(total, torch.autograd.grad(loss, parameters)):
            sum_ += part
    return total


# %% wrong The whole batch may be encoded with a graph, once
def cached_gradients(first, second, log_scale, x, y, size):
    loss = contrastive(unit(first, x), unit(second, y), log_scale.exp())
    parameters = [*first.parameters(), *second.parameters(), log_scale]
    return list(torch.autograd.grad(loss, parameters))


# %% wrong The other side is a constant for each part
def cached_gradients(first, second, log_scale, x, y, size):
    parameters = [*first.parameters(), *second.parameters(), log_scale]
    total = [torch.zeros_like(p) for p in parameters]
    with torch.no_grad():
        a, b = unit(first, x), unit(second, y)
    for rows in torch.arange(len(x)).split(size):
        mine, other = unit(first, x[rows]), unit(second, y[rows])
        s = log_scale.exp() * mine @ b.T
        t = log_scale.exp() * other @ a.T
        loss = (F.cross_entropy(s, rows) + F.cross_entropy(t, rows)) / 2
        loss = loss * len(rows) / len(x)
        for sum_, part in zip(total, torch.autograd.grad(loss, parameters)):
            sum_ += part
    return total


# %% wrong The parts are averaged
def cached_gradients(first, second, log_scale, x, y, size):
    parameters = [*first.parameters(), *second.parameters()]
    with torch.no_grad():
        a, b = unit(first, x), unit(second, y)
    a.requires_grad_(), b.requires_grad_()
    loss = contrastive(a, b, log_scale.exp())
    da, db, dscale = torch.autograd.grad(loss, (a, b, log_scale))
    parts = torch.arange(len(x)).split(size)
    total = [torch.zeros_like(p) for p in parameters]
    for rows in parts:
        value = ((unit(first, x[rows]) * da[rows]).sum()
                 + (unit(second, y[rows]) * db[rows]).sum())
        for sum_, part in zip(total, torch.autograd.grad(value, parameters)):
            sum_ += part / len(parts)
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
    SEEN.clear()
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
# The sigmoid loss and matching are sums over pairs. The sigmoid loss can simply be cut if all pairs of
# parts are visited (exercise 2.7.3), and matching needs no other pair at all. A softmax over the batch is
# what needs the cache.
