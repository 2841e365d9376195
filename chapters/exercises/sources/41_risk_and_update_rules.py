# %% [markdown]
# # Exercises 4.1 Risk and update rules
#
# To the chapter: [4.1 Risk and update rules](../4-mathematics/41_risk_and_update_rules.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here takes more than
# a few seconds.

# %% shared
import torch

from mmbook.notebook.exercises import check
from mmbook.notebook.gradients import numerical_gradient
from mmbook.world import render, sample_scenes

torch.set_num_threads(1)
float64 = torch.float64


def equal(a, b):
    """Equal up to rounding."""
    return torch.allclose(a, b, rtol=0, atol=1e-12)


# %% exercise 4.1.1 warm-up A penalty and its gradient
# A model with one output, $\hat y_i = w^\top x_i$, and half the mean squared error with an L2 penalty:
#
# $$\mathcal L(w) = \frac{1}{2N} \sum_{i=1}^{N} (w^\top x_i - y_i)^2 + \frac{\lambda}{2} \lVert w \rVert^2$$
#
# Derive its gradient and write it down. `x` is (N, D), `y` is (N,), `w` is (D,).
#
# Then: plain SGD has $\eta = 0.02$ and $\lambda = 0.05$. One weight never gets a gradient from the data. What share
# of it is left after 1000 steps? And what share, about, if the penalty goes through momentum with $\beta = 0.9$?

# %% stub
def gradient(w, x, y, lam):
    """The gradient of the penalised loss, (D,)."""
    return ...


left_sgd = ...
left_momentum = ...

# %% solution
def gradient(w, x, y, lam):
    """The gradient of the penalised loss, (D,)."""
    return x.T @ (x @ w - y) / len(x) + lam * w


left_sgd = (1 - 0.02 * 0.05)**1000
left_momentum = (1 - 0.02 * 0.05 / (1 - 0.9))**1000

# %% check
def loss(w, x, y, lam):
    """What the gradient belongs to."""
    return (x @ w - y).square().mean() / 2 + lam / 2 * w.square().sum()


torch.manual_seed(0)
x, y, w = (torch.randn(*shape, dtype=float64)
           for shape in ((20, 5), (20,), (5,)))

with check("4.1.1", "A penalty and its gradient") as it:
    by_hand = gradient(w, x, y, 0.3)
    finite = numerical_gradient(lambda w: loss(w, x, y, 0.3), w)
    it.true("finite differences agree", by_hand if by_hand is ... else
            torch.allclose(by_hand, finite, atol=1e-7),
            hint="Set λ = 0 first: is the rest right?")
    v = w.clone().requires_grad_()
    auto, = torch.autograd.grad(loss(v, x, y, 0.3), v)
    it.true("autograd agrees", equal(by_hand, auto))
    it.close("left by SGD", left_sgd, 0.3677, within=0.002,
             hint="Each step takes the share ηλ.")
    it.close("left by momentum", left_momentum, 0.0, within=0.001,
             hint="Momentum adds up 1 + β + β² + … of it.")

# %% hint
# First one example and one weight: what is the derivative of $(w^\top x_i - y_i)^2 / 2$ with respect to $w_k$? Then
# look for the matrix product that sums it over all examples.

# %% remark
# $e^{-1}$ after 1000 steps: $1 / (\eta\lambda)$ is the time after which about a third is left. It is the number to
# look at when you choose a decay. If it is longer than the training, the decay can hardly do anything; if it is as
# short as ten steps, nothing survives. With momentum the same penalty works ten times as fast.

# %% exercise 4.1.2 predict Adam without its correction
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

# %% check
def lengths(beta1, beta2, steps=200):
    """Steps without correction, for gradients that are all 3."""
    m, v, taken = 0.0, 0.0, []
    for _ in range(steps):
        m = beta1 * m + (1 - beta1) * 3
        v = beta2 * v + (1 - beta2) * 9
        taken.append(m / v**0.5)
    return taken


with check("4.1.2", "Adam without its correction") as it:
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
# holds only 1 % of its square. Its root is a tenth, so the steps are six times too long, until thousands of steps
# have passed. This is why Kingma and Ba needed the correction, and why a slow $\beta_2$ needs it most.

# %% exercise 4.1.3 core Another way to begin
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

# %% check
def run(gradients, beta, first):
    """Both averages, step by step."""
    m = gradients[0] if first else 0.0
    for g in gradients[1 if first else 0:]:
        m = beta * m + (1 - beta) * g
    return m if first else m / (1 - beta**len(gradients))


with check("4.1.3", "Another way to begin") as it:
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

# %% exercise 4.1.4 core How steep is a real bowl?
# From the mean colour of a picture (three numbers, and a 1 behind them) a linear model shall say what share of the
# picture is covered by things. With half the mean squared error, the loss is an exact bowl. Its matrix of second
# derivatives is $H = X^\top X / N$.
#
# Write `largest_rate`, the learning rate at which gradient descent stops to converge, and `condition`, the condition
# number. Both take `x` (N, D). `torch.linalg.eigvalsh` gives the eigenvalues of a symmetric matrix.
#
# Then say what to do with the columns of `x`, all but the last, so that the condition number becomes smaller than 40:
# write `better`.

# %% stub
def largest_rate(x):
    """The rate above which gradient descent diverges."""
    return ...


def condition(x):
    """Steepest curvature over flattest."""
    return ...


def better(x):
    """The same columns, so that a linear model can say the same."""
    return ...


# %% solution
def curvatures(x):
    """Eigenvalues of H, from the smallest to the largest."""
    return torch.linalg.eigvalsh(x.T @ x / len(x))


def largest_rate(x):
    """The rate above which gradient descent diverges."""
    return 2 / curvatures(x)[-1]


def condition(x):
    """Steepest curvature over flattest."""
    return curvatures(x)[-1] / curvatures(x)[0]


def better(x):
    """The same columns, so that a linear model can say the same."""
    colours, one = x[:, :-1], x[:, -1:]
    return torch.cat([(colours - colours.mean(0)) / colours.std(0), one], 1)


# %% check
pictures = render(sample_scenes(300, seed=1), noise=0.0).double()
ground = pictures[:, :, :1, :1]
covered = ((pictures - ground).abs().amax(1) > 0.02).double().mean((1, 2))
real = torch.cat([pictures.mean((2, 3)), torch.ones(300, 1)], 1).double()


def descend(x, eta, steps):
    """Loss after so many steps, beside that of the best weights."""
    w = torch.zeros(x.shape[1], dtype=float64)
    for _ in range(steps):
        w = w - eta * x.T @ (x @ w - covered) / len(x)
    best = torch.linalg.lstsq(x, covered[:, None]).solution[:, 0]
    return ((x @ w - covered).square().mean()
            - (x @ best - covered).square().mean()).item()


with check("4.1.4", "How steep is a real bowl?") as it:
    limit = largest_rate(real)
    it.true("just below it converges",
            ... if limit is ... else
            descend(real, 0.99 * limit, 4000) < descend(real, 0.99 * limit, 0))
    it.true("just above it does not", descend(real, 1.01 * limit, 4000) > 1e3,
            hint="The largest curvature decides.")
    raw = condition(real)
    it.true("the bowl is a long valley", raw > 1000)
    made = better(real)
    it.true("a better one", condition(made) < 40,
            hint="What do the mean and the spread of a column do to H?")
    both = torch.cat([real, made], 1)
    it.equal("it spans the same space",
             int(torch.linalg.matrix_rank(both)), 4,
             hint="Shift and scale columns; the 1 stays.")
    eta = 0.9 * largest_rate(made)
    it.true("and 300 steps there do more than 4000 here",
            descend(made, eta, 300) < descend(real, 0.9 * limit, 4000))

# %% hint
# On the column of ones: the product of two columns that both have a large mean is large, whatever they vary by. What
# happens to these products if each column has the mean zero?

# %% remark
# Standardised inputs are no matter of taste: they change the shape of the bowl. The mean colours hardly vary around
# their common mean, so all columns are nearly the column of ones, and the valley is thousands of times longer than
# wide. Normalisation layers do for the inner layers of a network what you did here for its input.

# %% exercise 4.1.5 core An optimiser that PyTorch lacks
# `torch.optim.SGD` puts the decay into the gradient, and so into the momentum. Write `SGDW`: momentum as PyTorch has
# it, but the article's decay, outside. A step is
#
# $$m \leftarrow \beta m + g, \qquad \theta \leftarrow (1 - \eta\lambda)\, \theta - \eta m$$
#
# An optimiser of PyTorch is a class with a `step`. `self.param_groups` is a list of dictionaries, with the keys
# `"params"`, `"lr"` and whatever else you gave as default. `self.state[p]` is a dictionary of your own for each
# parameter.

# %% stub
class SGDW(torch.optim.Optimizer):
    """SGD with momentum and decoupled weight decay."""

    def __init__(self, params, lr, momentum=0.9, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum,
                                      weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                ...


# %% solution
class SGDW(torch.optim.Optimizer):
    """SGD with momentum and decoupled weight decay."""

    def __init__(self, params, lr, momentum=0.9, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum,
                                      weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            eta, lam = group["lr"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].get("m", torch.zeros_like(p))
                self.state[p]["m"] = group["momentum"] * m + p.grad
                p.mul_(1 - eta * lam)
                p.sub_(eta * self.state[p]["m"])


# %% check
def trained(make, steps=50, use=1.0):
    """All weights of a small network after so many steps."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(),
                              torch.nn.Linear(8, 1)).double()
    unused = torch.nn.Parameter(torch.ones(3, dtype=float64))
    x, y = torch.randn(2, 30, 4, dtype=float64)
    optimizer = make([*net.parameters(), unused])
    for _ in range(steps):
        optimizer.zero_grad()
        (use * (net(x) - y[:, :1]).square().mean()).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in net.parameters()])


SGD = torch.optim.SGD
with check("4.1.5", "An optimiser that PyTorch lacks") as it:
    start = trained(SGD, steps=0)
    ball = trained(lambda p: SGDW(p, 0.05))
    it.true("it moves", ... if equal(ball, start) else True)
    it.true("without decay it is SGD with momentum", equal(
        ball, trained(lambda p: SGD(p, 0.05, momentum=0.9))))
    it.true("without momentum it is SGD with its weight_decay", equal(
        trained(lambda p: SGDW(p, 0.05, 0.0, 0.1)),
        trained(lambda p: SGD(p, 0.05, weight_decay=0.1))))
    both = trained(lambda p: SGDW(p, 0.05, 0.9, 0.1))
    l2 = trained(lambda p: SGD(p, 0.05, momentum=0.9, weight_decay=0.1))
    it.true("with both it is another one", not torch.allclose(both, l2),
            hint="Does the decay reach m? It should not.")
    it.true("a weight without gradients loses ηλ a step", equal(
        trained(lambda p: SGDW(p, 0.05, 0.9, 0.1), use=0.0),
        start * (1 - 0.05 * 0.1)**50))

# %% hint
# For each parameter: fetch the old $m$, or zeros if there is none; make the new one and keep it; change `p` in place, as
# the methods whose names end with an underscore do. What is `p.grad` of a parameter that the loss does not use?

# %% remark
# Loshchilov and Hutter call it SGDW. With a constant learning rate it can be imitated: `SGD` with the decay
# $(1 - \beta)\lambda$ pulls about as strongly. But the pull then comes late and rolls on, and a schedule acts on both in
# different ways. For Adam no such number exists, because there is one $\sqrt{\hat v}$ for each weight.

# %% exercise 4.1.6 open A rule of your own
# Gradient descent needs a good $\eta$, the heavy ball needs $\kappa$, and Adam does not like turned bowls. Write a rule
# that knows nothing beforehand. `my_rule` gets a function that gives the gradient at a point, and a starting point; it
# may ask for 200 gradients, and returns the last point. It is tried on bowls with ten directions, turned at random,
# with condition numbers from 10 to 1000 and of any height. It must bring each of them down by a factor of a million.
#
# Anything is allowed but looking inside. Some directions to think in: what do two neighbouring gradients tell about the
# curvature between them? Could a ball be stopped whenever it rolls uphill? Must all ten directions be searched at once?
#
# Then go on by yourself: does your rule also work if the gradient comes from batches? Try it on the chapter's task,
# and against Adam. What breaks first?

# %% stub
def my_rule(gradient, start, steps=200):
    """Walk down an unknown bowl; returns where it ends."""
    theta = start
    return ...


# %% solution
def my_rule(gradient, start, steps=200):
    """Walk down an unknown bowl; returns where it ends."""
    theta, g = start, gradient(start)
    eta = 1e-3 / g.norm()
    for _ in range(steps - 1):
        if g.norm() == 0:
            break
        new = theta - eta * g
        new_g = gradient(new)
        move, change = new - theta, new_g - g
        eta = (move @ move) / (move @ change)  # one over the curvature
        theta, g = new, new_g
    return theta


# %% check
class Bowl:
    """A turned bowl that counts how often it is asked."""

    def __init__(self, kappa, height, seed):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(10, 10, generator=generator, dtype=float64)
        axes = torch.linalg.qr(drawn)[0]
        h = height * torch.logspace(0, torch.tensor(kappa).log10(), 10,
                                    dtype=float64)
        self.matrix, self.asked = axes.T * h @ axes, 0
        self.start = torch.randn(10, generator=generator, dtype=float64)

    def gradient(self, theta):
        self.asked += 1
        return self.matrix @ theta

    def height(self, theta):
        return (theta @ self.matrix @ theta / 2).item()


with check("4.1.6", "A rule of your own") as it:
    for kappa, height, seed in ((10.0, 1, 0), (100.0, 0.01, 1),
                                (100.0, 50, 2), (1000.0, 1, 3),
                                (1000.0, 1000, 4)):
        hole = Bowl(kappa, height, seed)
        end = my_rule(hole.gradient, hole.start.clone())
        gone = end if end is ... else hole.height(end) / hole.height(
            hole.start)
        it.true(f"κ = {kappa:g}, height {height:g}: a millionth is left",
                gone if gone is ... else gone < 1e-6,
                hint="Measure the curvature along your last step.")
        it.true("with at most 200 gradients", hole.asked <= 200)

# %% hint
# In one dimension the curvature is the change of the gradient over the change of the place. With ten directions both
# are vectors; which number could stand for their quotient? And the best step in one dimension is one over the
# curvature.

# %% remark
# The solution is the rule of Barzilai and Borwein ([1988](https://doi.org/10.1093/imanum/8.1.141)): gradient descent whose
# learning rate is one over the curvature along the last step. The height goes up now and then, and that is part of why it
# is fast. The method of conjugate gradients needs only as many steps as there are directions. Both trust differences of
# gradients, and noise of batches ruins just these: one reason why what trains large models is so simple.
