# %% [markdown]
# # Exercises 4.1 Risk and gradient descent
#
# To the chapter: [4.1 Risk and gradient descent](../4-mathematics/41_risk_and_update_rules.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import torch

from mmbook.notebook.exercises import check
from mmbook.notebook.gradients import numerical_gradient
from mmbook.pretrained import PretrainedImageEncoder
from mmbook.samples import photographs

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
# of it is left after 1000 steps? And what share, about, is left after 300 steps if the penalty goes through momentum
# with $\beta = 0.9$?

# %% stub
def gradient(w, x, y, lam):
    """The gradient of the penalised loss, (D,)."""
    return ...


left_sgd = ...  # after 1000 steps
left_momentum = ...  # after 300 steps

# %% solution
def gradient(w, x, y, lam):
    """The gradient of the penalised loss, (D,)."""
    return x.T @ (x @ w - y) / len(x) + lam * w


left_sgd = (1 - 0.02 * 0.05)**1000
left_momentum = (1 - 0.02 * 0.05 / (1 - 0.9))**300

# %% wrong A mean of squares has a sum as its gradient
def gradient(w, x, y, lam):
    """The gradient of the penalised loss, (D,)."""
    return x.T @ (x @ w - y) + lam * w


left_sgd = (1 - 0.02 * 0.05)**1000
left_momentum = (1 - 0.02 * 0.05 / (1 - 0.9))**300

# %% wrong The square of the penalty brings a factor of two
def gradient(w, x, y, lam):
    """The gradient of the penalised loss, (D,)."""
    return x.T @ (x @ w - y) / len(x) + 2 * lam * w


left_sgd = (1 - 0.02 * 0.05)**1000
left_momentum = (1 - 0.02 * 0.05 / (1 - 0.9))**300

# %% wrong A penalty is not accelerated by momentum
def gradient(w, x, y, lam):
    """The gradient of the penalised loss, (D,)."""
    return x.T @ (x @ w - y) / len(x) + lam * w


left_sgd = (1 - 0.02 * 0.05)**1000
left_momentum = (1 - 0.02 * 0.05)**300

# %% wrong Decay subtracts the same amount in each step
def gradient(w, x, y, lam):
    """The gradient of the penalised loss, (D,)."""
    return x.T @ (x @ w - y) / len(x) + lam * w


left_sgd = 1 - 1000 * 0.02 * 0.05
left_momentum = 0.0

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
    theta, m = 1.0, 0.0
    for _ in range(300):
        m = 0.9 * m + 0.05 * theta
        theta -= 0.02 * m
    it.close("left by momentum", left_momentum, theta, within=0.015,
             hint="Momentum adds up 1 + β + β² + … of it.")

# %% hint
# First one example and one weight: what is the derivative of $(w^\top x_i - y_i)^2 / 2$ with respect to $w_k$? Then
# look for the matrix product that sums it over all examples.

# %% remark
# $e^{-1}$ after 1000 steps: $1 / (\eta\lambda)$ is the time after which about a third is left. It is the number to
# look at when you choose a decay. If it is longer than the training, the decay can hardly do anything; if it is as
# short as ten steps, nothing survives. With momentum the same penalty works about ten times as
# fast: 4 % are left after 300 steps, 5 % by the rule of thumb, and 74 % without momentum.

# %% exercise 4.1.2 predict How far does momentum move the limit?
# In a bowl of curvature $h$, plain gradient descent converges for $\eta < 2/h$. PyTorch's momentum with $\beta = 0.9$ adds
# up ten gradients, so that its steps become ten times as long when all gradients point the same way.
#
# *Write your answer down before you run anything.* Up to which $\eta$ does the heavy ball converge, in units of $1/h$?
#
# - `"a"`: up to a tenth of that limit, because the steps are ten times as long
# - `"b"`: up to the same limit
# - `"c"`: beyond it, because a zigzag cancels in $m$

# %% stub
limit = ...  # times 1/h
because = ...  # "a", "b" or "c"

# %% solution
limit = 2 * (1 + 0.9)
because = "c"

# %% wrong Longer steps, smaller limit
limit = 2 * (1 - 0.9)
because = "a"

# %% wrong Momentum does not touch the limit
limit = 2.0
because = "b"

# %% wrong Ten gradients, ten times the limit
limit = 2 / (1 - 0.9)
because = "c"

# %% check
def end_of_ball(eta, beta=0.9, h=1.0, steps=2000):
    """Where a heavy ball that began at 1 is after so many steps."""
    theta, m = 1.0, 0.0
    for _ in range(steps):
        m = beta * m + h * theta
        theta -= eta * m
        if abs(theta) > 1e6:
            break
    return abs(theta)


low, high = 0.0, 50.0
for _ in range(40):  # halve the interval in which the limit lies
    middle = (low + high) / 2
    low, high = ((middle, high) if end_of_ball(middle) < 1 else
                 (low, middle))

with check("4.1.2", "How far does momentum move the limit?") as it:
    it.close("the limit", limit, low, within=0.02,
             hint="At the limit, neighbouring gradients have opposite signs.")
    it.choice("why", because, "c", {
        "a": "That would be so if all gradients had the same sign.",
        "b": "Then the zigzag would not cancel, but it does.",
        "c": "At the limit the gradients alternate, and m is shorter than "
             "a single one."})

# %% hint
# At the limit the ball jumps from one side to the other, so the gradients are $+g, -g, +g, \dots$ Which number is
# $g - \beta g + \beta^2 g - \dots$?

# %% remark
# For alternating gradients $m$ is $g / (1 + \beta)$, so the limit is $2(1 + \beta)/h = 3.8/h$. This follows from the
# chapter's roots as well: both have a size below 1 as long as $\eta h < 2(1 + \beta)$. In a real bowl the steepest
# direction zigzags and gains by this, while the flat ones add up their gradients and gain the factor of ten.

# %% exercise 4.1.3 core How noisy is a real gradient?
# The noise scale $\sigma^2 / \lVert G \rVert^2$ needs the gradient of every example, which a large model does not have. It
# has gradients of batches. Let $l$ be the mean squared length of the gradients of small batches of $b$ examples, and $L$
# that of large batches of $B$ examples. For batches drawn *with* replacement, $\mathbb E \lVert g_B \rVert^2 =
# \lVert G \rVert^2 + \sigma^2 / B$.
#
# Write `estimate`: from $l$, $L$, $b$ and $B$, unbiased estimates of $\lVert G \rVert^2$ and of $\sigma^2$. The check uses
# gradients of a linear head on MobileNetV2's features of twenty photographs: food and rooms, or something else? Then say
# what happens to the noise scale if the labels are replaced
# by coin flips.
#
# - `"a"`: it becomes larger, because the examples agree less on a direction
# - `"b"`: it stays, because it depends on the pictures alone
# - `"c"`: it becomes smaller, because every gradient becomes shorter

# %% stub
def estimate(l, L, b, B):
    """Squared length of the gradient, variance of one example's."""
    return ..., ...


coins = ...  # "a", "b" or "c"

# %% solution
def estimate(l, L, b, B):
    """Squared length of the gradient, variance of one example's."""
    signal = (B * L - b * l) / (B - b)
    noise = (l - L) / (1 / b - 1 / B)
    return signal, noise


coins = "a"

# %% wrong The large batch has no noise
def estimate(l, L, b, B):
    """Squared length of the gradient, variance of one example's."""
    return L, (l - L) * b


coins = "a"

# %% wrong The difference of the lengths is the variance
def estimate(l, L, b, B):
    """Squared length of the gradient, variance of one example's."""
    return (B * L - b * l) / (B - b), l - L


coins = "a"

# %% wrong The standard deviation falls like one over the batch
def estimate(l, L, b, B):
    """Squared length of the gradient, variance of one example's."""
    noise = (l - L) / (1 / b**2 - 1 / B**2)
    return L - noise / B**2, noise


coins = "a"

# %% wrong Noise belongs to the pictures
def estimate(l, L, b, B):
    """Squared length of the gradient, variance of one example's."""
    return (B * L - b * l) / (B - b), (l - L) / (1 / b - 1 / B)


coins = "b"

# %% check
mobile = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
photos = photographs(224)
INSIDE = (2, 3, 5, 6, 10, 13, 14, 18, 19)  # food and rooms
with torch.no_grad():
    pictures = torch.stack([photos.picture(n) for n in range(20)])
    x = mobile(pictures.float() / 255).pooled().double()
x = (x - x.mean(0)) / 1280**0.5
label = torch.tensor([n in INSIDE for n in range(20)]).double()[:, None]


def lengths(label, sizes):
    """Expected squared length of a batch's gradient, for each size."""
    each = (0.5 - label) * x  # of a logistic regression at zero
    mean = each.mean(0)
    sigma2 = (each - mean).square().sum(1).mean()
    return mean.square().sum(), sigma2, [
        (mean.square().sum() + sigma2 / size).item() for size in sizes]


with check("4.1.3", "How noisy is a real gradient?") as it:
    for b, B in ((1, 4), (2, 16), (8, 10)):
        signal, noise, (l, L) = lengths(label, (b, B))
        said = estimate(l, L, b, B)
        it.close(f"the signal, b = {b}, B = {B}", said[0], signal.item(),
                 within=1e-9, hint="Two equations with two unknowns.")
        it.close(f"the noise, b = {b}, B = {B}", said[1], noise.item(),
                 within=1e-9)
    generator = torch.Generator().manual_seed(0)
    flips = [torch.randint(2, (20, 1), generator=generator).double()
             for _ in range(200)]
    scales = [(found[1] / found[0]).item() for found in
              (lengths(flip, ()) for flip in flips)]
    real = (noise / signal).item()
    it.choice("coins", coins, "a", {
        "a": f"With the true labels it is {real:.1f}; with coins it is larger "
             f"in {sum(s > real for s in scales) / 2:.0f} % of 200 cases.",
        "b": "The label is a factor of each gradient.",
        "c": "At zero every gradient has the same length for both labels."})

# %% hint
# Write the two equations below each other, one for $b$ and one for $B$. Subtract them, and $\lVert G \rVert^2$ is gone.

# %% remark
# McCandlish and others ([2018](https://arxiv.org/abs/1812.06162)) measure the noise scale of large models in this way, since
# training on several devices has both kinds of batches at hand: the gradient of one device, and the mean over all of
# them. With coin flips only chance makes the examples agree, and most of the gradient is noise.

# %% exercise 4.1.4 core An optimiser that PyTorch lacks
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


# %% wrong The decay belongs into the gradient
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
                self.state[p]["m"] = group["momentum"] * m + p.grad + lam * p
                p.sub_(eta * self.state[p]["m"])

# %% wrong Decay is not multiplied by the rate
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
                p.mul_(1 - lam)
                p.sub_(eta * self.state[p]["m"])

# %% wrong Momentum is an average
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
                beta = group["momentum"]
                self.state[p]["m"] = beta * m + (1 - beta) * p.grad
                p.mul_(1 - eta * lam)
                p.sub_(eta * self.state[p]["m"])

# %% wrong The step itself decays, too
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
                p.sub_(eta * self.state[p]["m"])
                p.mul_(1 - eta * lam)

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
with check("4.1.4", "An optimiser that PyTorch lacks") as it:
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
# different ways. For Adam no such factor exists, because $\sqrt{\hat v}$ differs from weight to weight (chapter 4.2).

# %% exercise 4.1.5 open A rule of your own
# Gradient descent needs a good $\eta$, and the heavy ball needs $\kappa$. Write a rule
# that knows nothing beforehand. `my_rule` gets a function that gives the gradient at a point, and a starting point; it
# may ask for 200 gradients, and returns the last point. It is tried on bowls with ten directions, turned at random,
# with condition numbers from 10 to 1000 and of any height. It must bring each of them down by a factor of a million.
#
# Anything is allowed but looking inside. Some directions to think in: what do two neighbouring gradients tell about the
# curvature between them? Could a ball be stopped whenever it rolls uphill? Must all ten directions be searched at once?
#
# Then go on by yourself: does your rule also work if the gradient comes from batches? Try it on the chapter's
# photographs. What breaks first?

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


# %% wrong One learning rate fits every bowl
def my_rule(gradient, start, steps=200):
    """Walk down an unknown bowl; returns where it ends."""
    theta = start
    for _ in range(steps):
        theta = theta - 0.01 * gradient(theta)
    return theta

# %% wrong Steps of a fixed length arrive
def my_rule(gradient, start, steps=200):
    """Walk down an unknown bowl; returns where it ends."""
    theta = start
    for t in range(steps):
        g = gradient(theta)
        theta = theta - 0.1 * (1 - t / steps) * g / g.norm()
    return theta

# %% wrong Momentum replaces the search for a rate
def my_rule(gradient, start, steps=200):
    """Walk down an unknown bowl; returns where it ends."""
    theta, m = start, torch.zeros_like(start)
    for _ in range(steps):
        m = 0.9 * m + gradient(theta)
        theta = theta - 1e-3 * m
    return theta

# %% wrong Adam's rule makes every rate good
def my_rule(gradient, start, steps=200):
    """Walk down an unknown bowl; returns where it ends."""
    theta, m, v = start, torch.zeros_like(start), torch.zeros_like(start)
    for t in range(1, steps + 1):
        g = gradient(theta)
        m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g * g
        step = m / (1 - 0.9**t) / (v / (1 - 0.98**t)).sqrt()
        theta = theta - 0.1 * (1 - t / steps) * step
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


with check("4.1.5", "A rule of your own") as it:
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
