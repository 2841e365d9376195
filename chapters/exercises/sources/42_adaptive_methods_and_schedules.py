# %% [markdown]
# # Exercises 4.2 Adaptive methods and schedules
#
# To the chapter: [4.2 Adaptive methods and schedules](../4-mathematics/42_adaptive_methods_and_schedules.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import math

import torch

from mmbook.notebook.exercises import check
from mmbook.pretrained import PretrainedImageEncoder

torch.set_num_threads(1)
float64 = torch.float64


def equal(a, b):
    """Equal up to rounding."""
    return torch.allclose(a, b, rtol=0, atol=1e-12)


# %% exercise 4.2.1 warm-up The bytes of a training
# SmolLM2-135M has 134,515,008 parameters. In mixed precision, a parameter that is trained needs two bytes for itself and
# two for its gradient (bfloat16), four for its copy in float32, and AdamW's two averages in float32. A frozen parameter
# needs its two bytes only.
#
# How many GiB ($2^{30}$ bytes) do parameters, gradients, copies and states need together
#
# - if everything is trained by AdamW,
# - if the two averages are kept in eight bits instead, each with a scale of four bytes for every block of 256,
# - if one per cent of the parameters are trained by AdamW in float32 states and the rest is frozen?

# %% stub
n = 134_515_008
adamw = ...
eight = ...
one_percent = ...

# %% solution
n = 134_515_008
adamw = 16 * n / 2**30
eight = (8 + 2 * (1 + 4 / 256)) * n / 2**30
one_percent = (2 + 0.01 * 14) * n / 2**30

# %% wrong Adam keeps one number for each parameter
n = 134_515_008
adamw = 12 * n / 2**30
eight = (8 + 1 + 4 / 256) * n / 2**30
one_percent = (2 + 0.01 * 10) * n / 2**30

# %% wrong Eight bits for the states are eight bits for everything
n = 134_515_008
adamw = 16 * n / 2**30
eight = 16 * n / 4 / 2**30
one_percent = (2 + 0.01 * 14) * n / 2**30

# %% wrong Frozen parameters cost nothing
n = 134_515_008
adamw = 16 * n / 2**30
eight = (8 + 2 * (1 + 4 / 256)) * n / 2**30
one_percent = 0.01 * 16 * n / 2**30

# %% wrong Scales cost nothing worth counting, a GiB has ten to the ninth bytes
n = 134_515_008
adamw = 16 * n / 1e9
eight = 10 * n / 1e9
one_percent = (2 + 0.01 * 14) * n / 1e9

# %% check
with check("4.2.1", "The bytes of a training") as it:
    count = 134_515_008 / 2**30
    it.close("AdamW", adamw, 16 * count, within=1e-3,
             hint="Two, two, four, and two averages of four.")
    it.close("eight bits", eight, (8 + 2.03125) * count, within=1e-3,
             hint="Only the two averages change; a scale belongs to 256.")
    it.close("one per cent", one_percent, 2.14 * count, within=1e-3,
             hint="All parameters must be there, trained or not.")

# %% hint
# Write down the bytes of one parameter first, part by part.

# %% remark
# 2.0, 1.3 and 0.3 GiB. Eight bits save three eighths of the memory, because parameters, gradients and copies stay as
# they are. Training few parameters saves more (chapter 3.3). All of this leaves out the activations, which grow with
# the batch.

# %% exercise 4.2.2 predict Adam without its correction
# In the first step Adam has $m_1 = (1 - \beta_1)\, g$ and $v_1 = (1 - \beta_2)\, g^2$. With the correction the step is
# $\eta \cdot \text{sign}(g)$. Leave the correction out, and set $\varepsilon = 0$. How many times $\eta$ is the first step, for
# $\beta = (0.9, 0.999)$, and for the book's $(0.9, 0.98)$?
#
# And which of the two would you trust less without correction?
#
# - `"a"`: (0.9, 0.999), because its first steps are too long
# - `"b"`: (0.9, 0.98), because its first steps are too short
# - `"c"`: neither, as the gradient's size does not count in Adam anyway

# %% stub
first_step_999 = ...  # times η
first_step_98 = ...
less = ...  # "a", "b" or "c"

# %% solution
first_step_999 = (1 - 0.9) / (1 - 0.999)**0.5
first_step_98 = (1 - 0.9) / (1 - 0.98)**0.5
less = "a"

# %% wrong The first step is always one learning rate
first_step_999 = 1.0
first_step_98 = 1.0
less = "c"

# %% wrong The squares are not under a root
first_step_999 = (1 - 0.9) / (1 - 0.999)
first_step_98 = (1 - 0.9) / (1 - 0.98)
less = "a"

# %% wrong Too short a step is worse than too long a one
first_step_999 = (1 - 0.9) / (1 - 0.999)**0.5
first_step_98 = (1 - 0.9) / (1 - 0.98)**0.5
less = "b"

# %% check
def lengths(beta1, beta2, steps=200):
    """Steps without correction, for gradients that are all 3."""
    m, v, taken = 0.0, 0.0, []
    for _ in range(steps):
        m = beta1 * m + (1 - beta1) * 3
        v = beta2 * v + (1 - beta2) * 9
        taken.append(m / v**0.5)
    return taken


with check("4.2.2", "Adam without its correction") as it:
    it.close("0.999", first_step_999, lengths(0.9, 0.999)[0], within=0.01,
             hint="Divide m by the root of v; the gradient drops out.")
    it.close("0.98", first_step_98, lengths(0.9, 0.98)[0], within=0.01)
    it.choice("trusted less", less, "a", {
        "a": f"The longest step is {max(lengths(0.9, 0.999)):.1f} η, while "
             f"with 0.98 none is above {max(lengths(0.9, 0.98)):.1f} η.",
        "b": "Short first steps do no harm: that is what a warm-up does.",
        "c": "It drops out, but the two averages begin at different speed.",
    })

# %% hint
# Put $g = 3$ into both formulas, then $g = 300$.

# %% remark
# The two averages fill up at different speeds: after ten steps $m$ holds 65 % of the gradient, but $v$ with 0.999
# holds only 1 % of its square. Its root is a tenth, so the steps are six times too long, and after a thousand steps
# they are still a quarter too long. This is why Kingma and Ba needed the correction, and why a slow $\beta_2$ needs it most.

# %% exercise 4.2.3 core Another way to begin
# Why not begin the moving average with the first gradient, $m_1 = g_1$, and go on from there with
# $m_t = \beta m_{t-1} + (1 - \beta)\, g_t$? Then no correction would be needed. Write both ways as *weights*: how much of
# each of the gradients $g_1 \dots g_t$ is in the average, as a tensor of $t$ numbers (float64).
#
# `corrected(t, beta)` begins at zero and is divided by $1 - \beta^t$, as in Adam. `from_first(t, beta)` begins with $g_1$.
# What is the weight of $g_1$ after ten steps, for $\beta = 0.9$, in each?

# %% stub
def corrected(t, beta):
    """Weights of g_1 … g_t in Adam's corrected average."""
    return ...


def from_first(t, beta):
    """Weights of g_1 … g_t, if the average begins with g_1."""
    return ...


first_in_corrected = ...
first_in_from_first = ...

# %% solution
def corrected(t, beta):
    """Weights of g_1 … g_t in Adam's corrected average."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    return powers / powers.sum()


def from_first(t, beta):
    """Weights of g_1 … g_t, if the average begins with g_1."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    weights = (1 - beta) * powers
    weights[0] = powers[0]
    return weights


first_in_corrected = corrected(10, 0.9)[0].item()
first_in_from_first = from_first(10, 0.9)[0].item()

# %% wrong The correction changes the step and not the average
def corrected(t, beta):
    """Weights of g_1 … g_t in Adam's corrected average."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    return (1 - beta) * powers


def from_first(t, beta):
    """Weights of g_1 … g_t, if the average begins with g_1."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    weights = (1 - beta) * powers
    weights[0] = powers[0]
    return weights


first_in_corrected = corrected(10, 0.9)[0].item()
first_in_from_first = from_first(10, 0.9)[0].item()

# %% wrong The first gradient is weighted like all others
def corrected(t, beta):
    """Weights of g_1 … g_t in Adam's corrected average."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    return powers / powers.sum()


def from_first(t, beta):
    """Weights of g_1 … g_t, if the average begins with g_1."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    weights = (1 - beta) * powers
    return weights


first_in_corrected = corrected(10, 0.9)[0].item()
first_in_from_first = from_first(10, 0.9)[0].item()

# %% wrong Beginning with the first gradient only needs another scale
def corrected(t, beta):
    """Weights of g_1 … g_t in Adam's corrected average."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    return powers / powers.sum()


def from_first(t, beta):
    """Weights of g_1 … g_t, if the average begins with g_1."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    weights = (1 - beta) * powers
    weights = weights / weights.sum()
    return weights


first_in_corrected = corrected(10, 0.9)[0].item()
first_in_from_first = from_first(10, 0.9)[0].item()

# %% wrong The oldest gradient counts most
def corrected(t, beta):
    """Weights of g_1 … g_t in Adam's corrected average."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    return (powers / powers.sum()).flip(0)


def from_first(t, beta):
    """Weights of g_1 … g_t, if the average begins with g_1."""
    powers = beta ** torch.arange(t - 1, -1, -1, dtype=float64)
    weights = (1 - beta) * powers
    weights[0] = powers[0]
    return weights


first_in_corrected = corrected(10, 0.9)[0].item()
first_in_from_first = from_first(10, 0.9)[0].item()

# %% check
def run(gradients, beta, first):
    """Both averages, step by step."""
    m = gradients[0] if first else 0.0
    for g in gradients[1 if first else 0:]:
        m = beta * m + (1 - beta) * g
    return m if first else m / (1 - beta**len(gradients))


with check("4.2.3", "Another way to begin") as it:
    torch.manual_seed(0)
    for name, weights, first in (("corrected", corrected, False),
                                 ("from the first", from_first, True)):
        for t, beta in ((1, 0.9), (7, 0.9), (12, 0.5)):
            w, g = weights(t, beta), torch.randn(t, dtype=float64)
            it.equal(f"{name}, t = {t}, β = {beta}: how many weights",
                     w if w is ... else len(w), t)
            it.true("and the average is right",
                    equal((w * g).sum(), torch.as_tensor(
                        run(g, beta, first), dtype=float64)),
                    hint="Write m₁, m₂ and m₃ out on paper.")
    it.close("g₁ in the corrected one", first_in_corrected, 0.0595, 0.001)
    it.close("g₁ if it begins with it", first_in_from_first, 0.3874, 0.001)

# %% hint
# Both kinds of weights add up to 1. In which places do the two recursions differ? Only in one.

# %% remark
# Both are unbiased: the weights add up to 1. But the second still holds 39 % of the very first gradient after ten
# steps, six times as much as the first. One gradient counts so much that the average is noisy: its variance is
# $\sum_s w_s^2$ times that of a gradient. The correction is the better beginning not because of its mean, but because of
# its spread.

# %% exercise 4.2.4 core Orthogonalise a real matrix
# Write `orthogonal`: divide the matrix by its Frobenius norm, then apply
# $X \leftarrow 1.5\, X - 0.5\, X X^\top X$ so many times. The check compares it with $U V^\top$ from a singular value
# decomposition, for random matrices and for weights of the real MobileNetV2.
#
# A singular value that is tiny after the division grows by the same factor in each round, as long as it is tiny. By
# which one?

# %% stub
def orthogonal(G, rounds):
    """The factor U V of a matrix, by the cubic iteration."""
    return ...


slope = ...

# %% solution
def orthogonal(G, rounds):
    """The factor U V of a matrix, by the cubic iteration."""
    X = G / G.norm()
    for _ in range(rounds):
        X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


slope = 1.5

# %% wrong The division is only for looks
def orthogonal(G, rounds):
    """The factor U V of a matrix, by the cubic iteration."""
    X = G
    for _ in range(rounds):
        X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


slope = 1.5

# %% wrong Rows of length one are orthogonal
def orthogonal(G, rounds):
    """The factor U V of a matrix, by the cubic iteration."""
    X = G / G.norm(dim=1, keepdim=True)
    return X + 0 * rounds


slope = 1.5

# %% wrong The third power is taken entry by entry
def orthogonal(G, rounds):
    """The factor U V of a matrix, by the cubic iteration."""
    X = G / G.norm()
    for _ in range(rounds):
        X = 1.5 * X - 0.5 * X**3
    return X


slope = 1.5

# %% wrong Every singular value moves at one speed to 1
def orthogonal(G, rounds):
    """The factor U V of a matrix, by the cubic iteration."""
    X = G / G.norm()
    for _ in range(rounds):
        X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


slope = 1.0

# %% check
mobile = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
real = next(p.detach().double().flatten(1) for p in mobile.parameters()
            if p.ndim == 4 and p.shape[:2] == (24, 96))  # 1 × 1


def polar(G):
    """U V of a singular value decomposition."""
    u, _, v = torch.linalg.svd(G, full_matrices=False)
    return u @ v


with check("4.2.4", "Orthogonalise a real matrix") as it:
    torch.manual_seed(0)
    for shape in ((8, 5), (5, 8), (6, 6)):
        G = torch.randn(*shape, dtype=float64)
        X = it.answer(orthogonal(G, 60))
        it.true(f"a random matrix {shape}", torch.allclose(
            X, polar(G), atol=1e-8), hint="Are all singular values 1?")
    it.true("weights of MobileNetV2", torch.allclose(
        orthogonal(real, 60), polar(real), atol=1e-8))
    few = torch.linalg.svdvals(orthogonal(real, 5))
    it.true("after five rounds the smallest lags behind",
            few.min() < 0.9 and few.max() < 1 + 1e-9)
    it.close("growth of a tiny value", slope, 1.5,
             hint="What is p(s) = 1.5 s − 0.5 s³ for a tiny s?")

# %% hint
# Two lines: one before the loop and one in it. For a matrix $X = U S V^\top$, what is $X X^\top X$?

# %% remark
# With the factor 1.5 a singular value of one thousandth needs seventeen rounds to come near 1. Muon's polynomial has
# the factor 3.4445 and needs six. This is what its coefficients were chosen for.

# %% exercise 4.2.5 core Eight bits for squares
# Adam divides by $\sqrt v$, so small entries of $v$ must not become zero. Write `store`, which turns a tensor of
# positive numbers, whose length is a multiple of `block`, into codes of one byte (`torch.uint8`) and one scale for each
# block, and `restore`, which undoes it. For every entry that is not below $10^{-12}$ of the largest in its block, the
# relative error must stay below 8 %. The check uses the squares of real weights.

# %% stub
def store(v, block=256):
    """Codes (n, block) of one byte, and a scale for each block."""
    return ..., ...


def restore(codes, scales):
    """The entries again, (n · block)."""
    return ...


# %% solution
def store(v, block=256):
    """Codes (n, block) of one byte, and a scale for each block."""
    rows = v.reshape(-1, block)
    scales = rows.amax(1, keepdim=True)
    down = -torch.log10(rows / scales).clamp(max=12.0)
    return torch.round(down * 255 / 12).to(torch.uint8), scales


def restore(codes, scales):
    """The entries again, (n · block)."""
    return (scales * 10 ** (-codes.double() * 12 / 255)).flatten()

# %% wrong Equal steps are fine enough
def store(v, block=256):
    """Codes (n, block) of one byte, and a scale for each block."""
    rows = v.reshape(-1, block)
    scales = rows.amax(1, keepdim=True)
    return torch.round(rows / scales * 255).to(torch.uint8), scales


def restore(codes, scales):
    """The entries again, (n · block)."""
    return (scales * codes.double() / 255).flatten()

# %% wrong Equal steps for the root are fine enough
def store(v, block=256):
    """Codes (n, block) of one byte, and a scale for each block."""
    rows = v.reshape(-1, block)
    scales = rows.amax(1, keepdim=True)
    codes = torch.round((rows / scales).sqrt() * 255)
    return codes.to(torch.uint8), scales


def restore(codes, scales):
    """The entries again, (n · block)."""
    return (scales * (codes.double() / 255) ** 2).flatten()

# %% wrong One scale serves the whole tensor
def store(v, block=256):
    """Codes (n, block) of one byte, and a scale for each block."""
    rows = v.reshape(-1, block)
    scales = v.max().expand(len(rows), 1)
    down = -torch.log10(rows / scales).clamp(max=12.0)
    return torch.round(down * 255 / 12).to(torch.uint8), scales


def restore(codes, scales):
    """The entries again, (n · block)."""
    return (scales * 10 ** (-codes.double() * 12 / 255)).flatten()

# %% wrong The logarithm itself is short enough
def store(v, block=256):
    """Codes (n, block) of one byte, and a scale for each block."""
    rows = v.reshape(-1, block)
    scales = rows.amax(1, keepdim=True)
    return torch.log10(rows / scales).half(), scales


def restore(codes, scales):
    """The entries again, (n · block)."""
    return (scales * 10 ** codes.double()).flatten()


# %% check
network = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
weights = next(p.detach().double() for p in network.parameters()
               if p.ndim == 4 and p.shape[:2] == (96, 16))
squares = weights.flatten().square().clamp(min=1e-30)

with check("4.2.5", "Eight bits for squares") as it:
    codes, scales = store(squares)
    codes = it.answer(codes)
    it.equal("a byte for each entry", codes.dtype, torch.uint8)
    it.equal("a scale for each block", scales.numel(), len(squares) // 256)

    def error(v):
        """Largest relative error of entries that matter."""
        back, rows = restore(*store(v)), v.reshape(-1, 256)
        there = (rows > 1e-12 * rows.amax(1, keepdim=True)).flatten()
        return ((back - v).abs() / v)[there].max().item()

    it.true("real squares, within 8 %", error(squares) < 0.08,
            hint="Which code has the same relative error everywhere?")
    torch.manual_seed(0)
    wide = 10 ** (-11 * torch.rand(1024, dtype=float64))
    it.true("eleven decades, within 8 %", error(wide) < 0.08)
    wide[:256] *= 1e12
    it.true("an enormous block spoils no other", error(wide) < 0.08,
            hint="Does each block have a scale of its own?")

# %% hint
# Keep the exponent and not the number: how many decades is an entry below the largest of its block? 256 codes have to
# cover 12 decades.

# %% remark
# Neighbouring codes differ by a factor of $10^{12/255} = 1.114$, so rounding is off by at most 5.6 %, and the root, by
# which Adam divides, by half of that. Dettmers and others ([2021](https://arxiv.org/abs/2110.02861)) use a code whose steps are finer
# near the largest value; it is not purely logarithmic, but it keeps small values in the same spirit.

# %% exercise 4.2.6 open A schedule of your own
# A bowl of curvature $h$ with noisy gradients, $\theta \leftarrow \theta - \eta_t (h \theta + \xi_t)$, begins at
# $\theta = 3$ and has $\mathbb E\, \xi^2 = 1$. Write `rate(t, T)`: the learning rate of step $t = 0, \dots, T - 1$. The same
# function is used for $h = 0.2$ and $h = 1$, and for 100 and 400 steps. What is left of $\mathbb E\, \theta^2$ must be
# below 0.9 ($h = 0.2$) and 0.1 ($h = 1$) after 100 steps, and below 0.45 and 0.05 after 400. No rate may reach 2, where a
# bowl of $h = 1$ diverges.
#
# There are many solutions. Then go on: which schedule leaves least? Can you do it without knowing $T$?

# %% stub
def rate(t, T):
    """The learning rate of step t of T."""
    return ...


# %% solution
def rate(t, T):
    """The learning rate of step t of T."""
    return 0.25 * (1 + math.cos(math.pi * t / T))


# %% wrong A small constant rate is always safe
def rate(t, T):
    """The learning rate of step t of T."""
    return 0.02


# %% wrong A large constant rate only needs more steps
def rate(t, T):
    """The learning rate of step t of T."""
    return 0.5


# %% wrong A warm-up is what matters
def rate(t, T):
    """The learning rate of step t of T."""
    return 0.5 * min(1, (t + 1) / (0.1 * T))


# %% wrong One over t is best because theory says so
def rate(t, T):
    """The learning rate of step t of T."""
    return 1 / (t + 1)


# %% check
def what_is_left(T, h):
    """E θ² at the end, by its exact recursion."""
    square = 9.0
    for t in range(T):
        eta = rate(t, T)
        square = (1 - eta * h)**2 * square + eta**2
    return square


with check("4.2.6", "A schedule of your own") as it:
    first = it.answer(rate(0, 100))
    it.true("no rate reaches 2", all(0 <= rate(t, T) < 2 for T in (100, 400)
                                     for t in range(T)))
    for T, h, most in ((100, 0.2, 0.9), (100, 1.0, 0.1), (400, 0.2, 0.45),
                       (400, 1.0, 0.05)):
        left = what_is_left(T, h)
        it.true(f"T = {T}, h = {h}: {left:.3f} is left, below {most}",
                left < most,
                hint="Large enough to arrive, small enough at the end.")

# %% hint
# Draw what is left against the step for two constant rates, a large one and a small one. When would you change from one
# to the other?

# %% remark
# A cosine, a straight line, WSD and an exponential decay all pass. The rate $1/(t + 1)$ is optimal for $h = 1$, where
# it simply averages, and far too small for the flat bowl. A model has many curvatures at once, which is why no formula
# for one of them settles the schedule.
