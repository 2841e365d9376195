# %% [markdown]
# # Exercises 4.5 Sequence, masked, distillation and preference losses
#
# To the chapter: [4.5 Sequence, masked, distillation and preference losses](../4-mathematics/45_sequence_and_preference_losses.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import itertools
import math

import torch
from transformers import AutoModelForImageClassification

from mmbook.losses import distillation, dpo, grpo
from mmbook.notebook.exercises import check
from mmbook.notebook.gradients import numerical_gradient
from mmbook.samples import photographs
from mmbook.saving import find_folder

torch.set_num_threads(1)


def draw(*shape, seed=0):
    """Random numbers in double precision."""
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made, dtype=torch.float64)


# %% [markdown]
# The next cell is for exercise 4.5.5 only: what MobileNetV2 says about a photograph of a bus.

# %% shared
model = AutoModelForImageClassification.from_pretrained(
    find_folder("mmbook/mobilenet-v2", needs="config.json"),
    dtype=torch.float32).eval()
with torch.no_grad():
    pixels = photographs(224).pixels(24)[None] / 127.5 - 1
    BUS = model(pixel_values=pixels).logits[0].double()  # (1001,)

# %% exercise 4.5.1 warm-up A pair with paper and pencil
# One pair of captions. The reference gives the preferred caption $y^+$ the log-probability $-9$ and the
# other one $-7$. The policy says $-8$ and $-8$ now, and $\beta = 0.5$.
#
# Write down the two implicit rewards, the DPO loss, and its derivatives with respect to the two
# log-probabilities of the policy. No machine but a calculator.

# %% stub
implicit = ...  # [of the preferred caption, of the other one]
loss = ...
gradient = ...  # [with respect to log π(y⁺), to log π(y⁻)]

# %% solution
implicit = [0.5 * (-8 + 9), 0.5 * (-8 + 7)]
loss = math.log(1 + math.exp(-1))
push = 0.5 / (1 + math.exp(1))
gradient = [-push, push]

# %% wrong The reference only matters for the length
implicit = [0.5 * -8, 0.5 * -8]
loss = math.log(2)
gradient = [-0.25, 0.25]

# %% wrong Only the preferred caption has a gradient
implicit = [0.5, -0.5]
loss = math.log(1 + math.exp(-1))
gradient = [-0.5 / (1 + math.exp(1)), 0.0]

# %% wrong The gradient has no factor beta
implicit = [0.5, -0.5]
loss = math.log(1 + math.exp(-1))
gradient = [-1 / (1 + math.exp(1)), 1 / (1 + math.exp(1))]

# %% wrong The reward is reference less policy
implicit = [-0.5, 0.5]
loss = math.log(1 + math.exp(1))
gradient = [-0.5 / (1 + math.exp(-1)), 0.5 / (1 + math.exp(-1))]

# %% check
with check("4.5.1", "A pair with paper and pencil") as it:
    now = torch.tensor([[-8.0, -8.0]], dtype=torch.float64)
    before = torch.tensor([[-9.0, -7.0]], dtype=torch.float64)
    for name, value, truth in zip(
            ("preferred", "other"), implicit if implicit is not ... else 2 * [...],
            (0.5 * (now - before))[0].tolist()):
        it.close(f"implicit reward, {name}", value, truth)
    it.close("loss", loss, dpo(now, before, 0.5).item())
    truth = numerical_gradient(lambda x: dpo(x, before, 0.5), now)[0].tolist()
    for name, value, right in zip(
            ("preferred", "other"), gradient if gradient is not ... else 2 * [...],
            truth):
        it.close(f"gradient, {name}", value, right)

# %% hint
# An implicit reward is $\beta$ times the log-ratio. Equation (15) has loss and gradient; $\sigma(-1)$ is
# $1 / (1 + e)$.

# %% remark
# The policy gives both captions the same probability, and DPO is already half content: the preferred one
# has *gained* and the other one has *lost* against the reference. What counts is where they came from.

# %% exercise 4.5.2 predict Which prompts teach?
# GRPO, one-token captions, groups of eight, rewards 0 or 1, one step after the captions were written.
# The push of a group is the sum of the lengths of its gradients, $\sum_i |A_i| / 8$. In group A one caption
# of eight is right, in B four, in C all eight.
#
# First guess which of A and B is pushed harder, *with* the division by the standard deviation (the
# unbiased one, of $n - 1$) and *without*. Then compute the push of each group, with and without.

# %% stub
harder_with = ...  # "A" or "B"
harder_without = ...
push_with = {"A": ..., "B": ..., "C": ...}
push_without = {"A": ..., "B": ..., "C": ...}

# %% solution
harder_with = "B"
harder_without = "B"


def push(right, scale):
    rewards = torch.tensor([1.0] * right + [0.0] * (8 - right))
    gap = rewards - rewards.mean()
    return (gap.abs().mean() / (rewards.std() + 1e-4 if scale else 1)).item()


push_with = {"A": push(1, True), "B": push(4, True), "C": push(8, True)}
push_without = {"A": push(1, False), "B": push(4, False), "C": push(8, False)}

# %% wrong A rare success is pushed hardest
harder_with = "A"
harder_without = "A"
push_with = {"A": 0.8750, "B": 0.5, "C": 0.0}
push_without = {"A": 0.8750, "B": 0.5, "C": 0.0}

# %% wrong The reward itself is the push
harder_with = "B"
harder_without = "B"
push_with = {"A": 1 / 8, "B": 4 / 8, "C": 1.0}
push_without = {"A": 1 / 8, "B": 4 / 8, "C": 1.0}

# %% wrong Only right captions have an advantage
harder_with = "B"
harder_without = "B"
push_with = {"A": 7 / 64 / 0.35355, "B": 0.25 / 0.53452, "C": 0.0}
push_without = {"A": 7 / 64, "B": 0.25, "C": 0.0}

# %% wrong The standard deviation makes all groups equal
harder_with = "B"
harder_without = "B"
push_with = {"A": 1.0, "B": 1.0, "C": 1.0}
push_without = {"A": 7 / 32, "B": 0.5, "C": 0.0}

# %% check
def measured(right, scale):
    """The push of a group, from the gradient of mmbook's loss."""
    zero = torch.zeros(1, 8, 1, dtype=torch.float64, requires_grad=True)
    rewards = (torch.arange(8) < right).double()[None]
    grpo(zero, zero, rewards, torch.ones(1, 8, 1).bool(),
         scale=scale).backward()
    return zero.grad.abs().sum().item()


with check("4.5.2", "Which prompts teach?") as it:
    for scale, guess, pushes, name in (
            (True, harder_with, push_with, "with"),
            (False, harder_without, push_without, "without")):
        it.equal(f"harder, {name} the division", guess,
                 max("AB", key=lambda g: measured({"A": 1, "B": 4}[g], scale)))
        for group, right in (("A", 1), ("B", 4), ("C", 8)):
            it.close(f"push of {group}, {name}", pushes[group],
                     measured(right, scale), within=1e-3)

# %% hint
# The mean is the share of right captions. Take the absolute differences from it, average them, and divide
# by `rewards.std()` for the first row.

# %% remark
# B is pushed harder in both cases: 0.94 against 0.62 with the division, 0.50 against 0.22 without. So the
# division raises A from 44 to 66 per cent of B. "GRPO pushes rare successes most" is not true;
# true is that the division *favours* them. Group C teaches nothing at all.

# %% exercise 4.5.3 core Count the paths
# How many paths of $N$ frames read as a sentence? With all $p_t(v) = 1$, the forward recursion of CTC adds
# up ones: it counts. Write `count_paths(N, y)` with it, in whole numbers. `y` is a tuple of symbols; the
# blank is 0.
#
# Then say, for a sentence of $U$ symbols, $r$ of which equal the one before: in how few frames can it be
# said?

# %% stub
def count_paths(N, y):
    """How many paths of N frames read as y."""
    z = [0, *(v for symbol in y for v in (symbol, 0))]
    here = [1] + [0] * (len(z) - 1)  # before the first frame
    return ...


def shortest(U, r):
    """The fewest frames."""
    return ...


# %% solution
def count_paths(N, y):
    """How many paths of N frames read as y."""
    z = [0, *(v for symbol in y for v in (symbol, 0))]
    here = [1] + [0] * (len(z) - 1)  # before the first frame
    for _ in range(N):
        then = []
        for i, symbol in enumerate(z):
            reach = here[i] + (here[i - 1] if i else 0)
            if i > 1 and symbol not in (0, z[i - 2]):
                reach += here[i - 2]
            then.append(reach)
        here = then
    return here[-1] + here[-2]


def shortest(U, r):
    """The fewest frames."""
    return U + r


# %% wrong A jump is allowed between equal symbols
def count_paths(N, y):
    z = [0, *(v for symbol in y for v in (symbol, 0))]
    here = [1] + [0] * (len(z) - 1)
    for _ in range(N):
        here = [here[i] + (here[i - 1] if i else 0)
                + (here[i - 2] if i > 1 and z[i] != 0 else 0)
                for i in range(len(z))]
    return here[-1] + here[-2]


def shortest(U, r):
    return U


# %% wrong A path must end with a symbol
def count_paths(N, y):
    z = [0, *(v for symbol in y for v in (symbol, 0))]
    here = [1] + [0] * (len(z) - 1)
    for _ in range(N):
        here = [here[i] + (here[i - 1] if i else 0)
                + (here[i - 2] if i > 1 and z[i] not in (0, z[i - 2]) else 0)
                for i in range(len(z))]
    return here[-2]


def shortest(U, r):
    return U + r


# %% wrong Every symbol needs a blank after it
def count_paths(N, y):
    z = [0, *(v for symbol in y for v in (symbol, 0))]
    here = [1] + [0] * (len(z) - 1)
    for _ in range(N):
        here = [here[i] + (here[i - 1] if i else 0) for i in range(len(z))]
    return here[-1] + here[-2]


def shortest(U, r):
    return 2 * U - 1


# %% check
def collapse(path):
    """Merge repetitions, then drop blanks."""
    return tuple(v for v, before in zip(path, (None, *path))
                 if v != before and v)


def by_hand(N, y):
    """Go through all of them."""
    return sum(collapse(path) == y
               for path in itertools.product(range(3), repeat=N))


with check("4.5.3", "Count the paths") as it:
    for N, y in ((4, (1, 2)), (5, (1, 2)), (5, (1, 1)), (6, (1, 2, 2)),
                 (3, (1, 1, 2)), (6, (2,))):
        it.equal(f"{N} frames, {y}", count_paths(N, y), by_hand(N, y))
    for y, r in (((1, 2, 1), 0), ((1, 1, 2), 1), ((2, 2, 2), 2)):
        fewest = next(n for n in range(9) if by_hand(n, y))
        it.equal(f"shortest for {y}", shortest(len(y), r), fewest)

# %% hint
# Place $i$ is reached from itself, from the place before, and over a blank from the place before that, if
# the symbols on both sides differ. At the end a path stands at the last symbol or at the last blank.

# %% remark
# The counts say how much freedom CTC leaves. For two different symbols they are 1, 5, 15, 35, 70 at 2, 3,
# 4, 5, 6 frames: binomial coefficients. Most of these paths contain blanks, and therefore a model that
# knows nothing yet is pulled towards the blank at every frame.

# %% exercise 4.5.4 core From conditionals to sentences
# A masked model of three words gives each word, if all others are known: `given[t]` is a table (3, 3, 3)
# whose axis $t$ holds the probabilities of word $t$, given the other two. Their product is no probability
# of a sentence. But one can *write* with it, by going round: hide a word, draw it from its conditional,
# hide the next, and so on. If the conditionals are the true ones, the sentences come as often as they
# should: *Gibbs sampling* (吉布斯采样).
#
# Do it without chance. Write `one_round(q, given)`: if the sentences are distributed as `q`, a table
# (3, 3, 3), before, how are they distributed after each of the three words was drawn anew, one after the
# other?

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


# %% wrong All words at once, from the old sentence
def one_round(q, given):
    return given[0] * given[1] * given[2]


# %% wrong The old word stays a reason for the new one
def one_round(q, given):
    for t in range(3):
        q = q * given[t]
        q = q / q.sum()
    return q


# %% wrong The other words are independent
def one_round(q, given):
    for t in range(3):
        a, b = (i for i in range(3) if i != t)
        others = (q.sum((t, a), keepdim=True) * q.sum((t, b), keepdim=True))
        q = others * given[t]
    return q


# %% check
with check("4.5.4", "From conditionals to sentences") as it:
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
# impossible; it just can't be read off in one go. For "left left" and "right right" going round is stuck
# for ever where it began: every word is certain, given the other. And a *trained* model's conditionals
# need not fit any joint distribution at all.

# %% exercise 4.5.5 core What a real teacher knows about a bus
# MobileNetV2 has looked at a photograph of a bus (its logits are `BUS`), and two students answer. One has copied the *label*: all its
# probability is on the teacher's first class, as nearly as logits allow. The other has copied the
# teacher's logits of the first eight classes and knows nothing about the rest.
#
# Write `soften(logits, share)`: the temperature at which the first class keeps just this share of the
# probability (it falls with $T$, so halve an interval of $\log T$). Then `other_share(logits, T)`: how
# much of the probability that is *not* on the first class lies on the next seven. Finally say which
# student has the lower distillation loss at $T = 4$.

# %% stub
def soften(logits, share):
    """The temperature at which the first class has this probability."""
    low, high = 1e-2, 1e3
    return ...


def other_share(logits, T):
    """Of what the first class leaves, the share of the next seven."""
    return ...


lower = ...  # "label" or "eight classes"


# %% solution
def soften(logits, share):
    """The temperature at which the first class has this probability."""
    low, high = 1e-2, 1e3
    for _ in range(100):
        middle = math.sqrt(low * high)
        if (logits / middle).softmax(0).max() > share:
            low = middle
        else:
            high = middle
    return middle


def other_share(logits, T):
    """Of what the first class leaves, the share of the next seven."""
    p = (logits / T).softmax(0).sort(descending=True).values
    return (p[1:8].sum() / (1 - p[0])).item()


lower = "eight classes"


# %% wrong Probabilities are divided by T
def soften(logits, share):
    return (logits.softmax(0).max() / share).item()


def other_share(logits, T):
    p = (logits.softmax(0) / T).sort(descending=True).values
    return (p[1:8].sum() / (1 - p[0])).item()


lower = "eight classes"


# %% wrong A higher temperature makes the teacher surer
def soften(logits, share):
    low, high = 1e-2, 1e3
    for _ in range(100):
        middle = math.sqrt(low * high)
        if (logits / middle).softmax(0).max() < share:
            low = middle
        else:
            high = middle
    return middle


def other_share(logits, T):
    p = (logits * T).softmax(0).sort(descending=True).values
    return (p[1:8].sum() / (1 - p[0])).item()


lower = "eight classes"


# %% wrong Soft targets say no more than the label
def soften(logits, share):
    low, high = 1e-2, 1e3
    for _ in range(100):
        middle = math.sqrt(low * high)
        if (logits / middle).softmax(0).max() > share:
            low = middle
        else:
            high = middle
    return middle


def other_share(logits, T):
    p = (logits / T).softmax(0).sort(descending=True).values
    return (p[1:8].sum() / (1 - p[0])).item()


lower = "label"


# %% check
with check("4.5.5", "What a real teacher knows about a bus") as it:
    logits = BUS
    for share in (0.9, 0.5, 0.1):
        T = soften(logits, share)
        it.close(f"the first class keeps {share}", T if T is ... else
                 (logits / T).softmax(0).max().item(), share, within=1e-4)
    for T in (1.0, 4.0):
        p = (logits / T).softmax(0)
        first = p.topk(8).values
        it.close(f"share of the next seven at T = {T:.0f}",
                 other_share(logits, T),
                 ((first.sum() - first[0]) / (1 - first[0])).item())
    label = torch.zeros_like(logits)
    label[logits.argmax()] = 60
    eight = torch.full_like(logits, logits.mean().item())
    top = logits.topk(8)
    eight[top.indices] = top.values
    cost = {"label": distillation(label[None], logits[None], 4.0),
            "eight classes": distillation(eight[None], logits[None], 4.0)}
    it.equal("the lower loss", lower, min(cost, key=cost.get))

# %% hint
# Divide the *logits* by the temperature, then take the softmax. As long as the first class still has more
# than the share, the temperature is too low.

# %% remark
# At $T = 1$ nearly all that the first class leaves belongs to the next seven, other vehicles: this is what
# a student can learn beyond the label. At $T = 4$ it is spread over hundreds of classes. A temperature
# that is too high teaches the teacher's noise.

# %% exercise 4.5.6 open Leave yourself out
# GRPO's baseline, the mean of the group, contains the answer's own reward, so the mean gradient is
# $1 - 1/G$ times the true one. Write `leave_one_out(rewards)`, (B, G) → (B, G): each reward less the mean
# of the *others* of its group. The check goes through all groups and asks for the true gradient.
#
# Then go on by yourself. How does it differ from `rewards - rewards.mean(1)`, and could a learning rate
# make up for it? Which of the two has the lower variance, per step of the same length? What does the
# division by the standard deviation do to the mean gradient: go through all groups again.

# %% stub
def leave_one_out(rewards):
    """(B, G) → (B, G)"""
    return ...


# %% solution
def leave_one_out(rewards):
    """(B, G) → (B, G)"""
    count = rewards.shape[1]
    others = (rewards.sum(1, keepdim=True) - rewards) / (count - 1)
    return rewards - others


# %% wrong The group's mean is unbiased
def leave_one_out(rewards):
    return rewards - rewards.mean(1, keepdim=True)


# %% wrong A standard deviation belongs to a gradient
def leave_one_out(rewards):
    gap = rewards - rewards.mean(1, keepdim=True)
    return gap / (rewards.std(1, keepdim=True) + 1e-4)


# %% wrong The mean of the others is divided by all
def leave_one_out(rewards):
    others = (rewards.sum(1, keepdim=True) - rewards) / rewards.shape[1]
    return rewards - others


# %% wrong The baseline is the best of the others
def leave_one_out(rewards):
    far = rewards[:, None, :].expand(-1, rewards.shape[1], -1).clone()
    far.diagonal(dim1=1, dim2=2).fill_(-1e9)
    return rewards - far.max(2).values


# %% check
with check("4.5.6", "Leave yourself out") as it:
    worth = torch.tensor([0.0, 1.0, 0.3, -0.5], dtype=torch.float64)
    rewards = worth[torch.tensor([[0, 1, 1], [2, 2, 3]])]
    found = leave_one_out(rewards)
    by_loop = torch.tensor([[row[i] - (row.sum() - row[i]) / 2
                             for i in range(3)] for row in rewards]).double()
    it.true("each less the mean of the others", found if found is ... else
            torch.allclose(found, by_loop))
    for count in (2, 3, 4):
        pi = draw(4, seed=count).softmax(0)
        true_gradient = pi * (worth - pi @ worth)
        groups = torch.tensor(list(itertools.product(range(4),
                                                     repeat=count)))
        of_log = torch.eye(4).double() - pi
        each = (leave_one_out(worth[groups])[..., None]
                * of_log[groups]).mean(1)
        mean = (pi[groups].prod(1)[:, None] * each).sum(0)
        it.true(f"groups of {count}: the true gradient",
                torch.allclose(mean, true_gradient))

# %% hint
# The sum of the others is the sum of all less one's own.

# %% remark
# The two differ by the factor $G / (G - 1)$ alone, the same for every answer: a learning rate makes up for
# it. Leave-one-out is the RLOO of [Ahmadian et al. 2024](https://arxiv.org/abs/2402.14740). The standard
# deviation is another matter: it differs from group to group, and no learning rate makes up for that.
