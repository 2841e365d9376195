# %% [markdown]
# # Exercises 3.5 Looking inside
#
# To the chapter: [3.5 Looking inside](../3-fine-tuning/35_looking_inside.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds. The photograph is number 22 of `mmbook.samples`, which also tells its credit.

# %% shared
from itertools import permutations

import torch
from transformers import AutoModelForImageClassification

from mmbook import explain, samples
from mmbook.notebook.exercises import check
from mmbook.saving import find_folder
from mmbook.world import render, sample_scenes

torch.set_num_threads(1)
torch.manual_seed(0)


def read_photograph(number):
    """The network, its last map (1, C, 7, 7) of a photograph, the class."""
    folder = find_folder("mmbook/mobilenet-v2", needs="config.json")
    net = AutoModelForImageClassification.from_pretrained(
        folder, dtype=torch.float32).eval()
    pixels = samples.photographs().pixels(number)[None] / 255
    with torch.no_grad():
        features = net.mobilenet_v2(2 * pixels - 1).last_hidden_state
        top = net.classifier(features.mean((2, 3))).argmax().item()
    return net, features, top


net, features, top = read_photograph(22)

# %% exercise 3.5.1 warm-up Slope or share?
# A model reads three numbers, $s(x) = 3 x_1 - 2 x_2 + 0 \cdot x_3 + 1$, and the input is $x = (2, 5, 9)$. With a pencil: the gradient, gradient ×
# input, and the integrated gradients from the baseline $(1, 1, 1)$.

# %% stub
gradient = ...  # three numbers, for example [0, 0, 0]
times_input = ...
integrated = ...

# %% solution
gradient = [3, -2, 0]
times_input = [6, -10, 0]
integrated = [3, -8, 0]

# %% wrong The gradient contains the input
gradient = [6, -10, 0]
times_input = [6, -10, 0]
integrated = [3, -8, 0]

# %% wrong Only the size of a share counts
gradient = [3, 2, 0]
times_input = [6, 10, 0]
integrated = [3, 8, 0]

# %% wrong The largest number matters most, and a baseline changes nothing
gradient = [3, -2, 0]
times_input = [6, -10, 9]
integrated = [6, -10, 9]

# %% check
def line(batch):
    """The model, for rows of three numbers."""
    return batch["x"] @ torch.tensor([3.0, -2.0, 0.0]) + 1


with check("3.5.1", "Slope or share?") as it:
    x = {"x": torch.tensor([[2.0, 5.0, 9.0]])}
    answers = {
        "the gradient": (gradient, explain.gradients(line, x, "x")),
        "gradient × input": (times_input, explain.gradients(
            line, x, "x", times_input=True)),
        "integrated gradients": (integrated, explain.integrated_gradients(
            line, x, "x", baseline=1.0)),
    }
    for name, (given, truth) in answers.items():
        it.true(f"{name} is there", given)
        it.true(name, torch.allclose(torch.tensor(given).float(), truth[0]),
                hint="On a straight line the slope is the same everywhere.")

# %% hint
# The gradient of a linear model doesn't depend on the input. The share of a number is its weight times how far it is away from the baseline.

# %% remark
# $x_3$ is the largest number, and it gets nothing, because the model doesn't use it. The shares of gradient × input add up to $s(x) - s(0) = -3 - 1 = -4$, those of
# integrated gradients to $s(x) - s(1, 1, 1) = -3 - 2 = -5$. For a linear model gradient × input *is* integrated gradients from the baseline zero. Which baseline is right? That depends on what "nothing" is.

# %% exercise 3.5.2 core Nothing left unexplained
# Now a model in which the numbers work together, $s(x) = x_1 x_2$, as two modalities might. The input is $(3, 2)$, so $s = 6$; the baseline is $(0, 0)$.
#
# First with a pencil: gradient × input, and the integrated gradients. Which of them adds up to 6? Then write integrated
# gradients for any function whose slope you are given.

# %% stub
product_times_input = ...  # two numbers
product_integrated = ...


def integrate(slope, x, baseline, steps):
    """Integrated gradients; slope(x) gives the gradient at x, (n,)."""
    total = torch.zeros_like(x)
    return ...

# %% solution
product_times_input = [6, 6]
product_integrated = [3, 3]


def integrate(slope, x, baseline, steps):
    """Integrated gradients; slope(x) gives the gradient at x, (n,)."""
    total = torch.zeros_like(x)
    for k in range(steps):
        share = (k + 0.5) / steps
        total += slope(baseline + share * (x - baseline)) / steps
    return (x - baseline) * total

# %% wrong The gradient at the input is enough
product_times_input = [6, 6]
product_integrated = [6, 6]


def integrate(slope, x, baseline, steps):
    return (x - baseline) * slope(x)

# %% wrong The slope at the end of each step
product_times_input = [6, 6]
product_integrated = [3, 3]


def integrate(slope, x, baseline, steps):
    total = torch.zeros_like(x)
    for k in range(steps):
        total += slope(baseline + (k + 1) / steps * (x - baseline)) / steps
    return (x - baseline) * total

# %% wrong The input times the mean slope, whatever the baseline
product_times_input = [6, 6]
product_integrated = [3, 3]


def integrate(slope, x, baseline, steps):
    total = torch.zeros_like(x)
    for k in range(steps):
        share = (k + 0.5) / steps
        total += slope(baseline + share * (x - baseline)) / steps
    return x * total

# %% check
with check("3.5.2", "Nothing left unexplained") as it:
    it.equal("gradient × input", product_times_input, [6, 6],
             hint="The slope along the first number is the second one.")
    it.equal("integrated gradients", product_integrated, [3, 3],
             hint="Half-way, both slopes are half as large.")
    x, start = torch.tensor([3.0, 2.0]), torch.zeros(2)
    it.true("your function finds the same", torch.allclose(
        integrate(lambda v: v.flip(0), x, start, 4),
        torch.tensor([3.0, 3.0])))
    x, start = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, 1.0, 0.0])
    gain = (x**3).sum() - (start**3).sum()
    gaps = [abs(integrate(lambda v: 3 * v**2, x, start, n).sum() - gain)
            for n in (2, 4, 8)]
    it.true("complete for a sum of cubes, with 8 steps", gaps[-1] < 0.15)
    it.true("twice the steps, a quarter of the error", all(
        3.5 < a / b < 4.5 for a, b in zip(gaps, gaps[1:])),
        hint="Take the slope in the middle of each step, not at its end.")

# %% hint
# The way from the baseline to $x$ has `steps` pieces of equal length. Add up the slope in the middle of each, divide by their number, and multiply by
# the way.

# %% remark
# Gradient × input pays 12 for a gain of 6: each factor counts the whole product as its own. It is leave-one-out once more, in the small: without either factor nothing
# is left. Integrated gradients divide it, like Shapley values, which for this game give 3 and 3, too.

# %% exercise 3.5.3 core Grad-CAM of a photograph
# MobileNetV2 has seen a photograph of a bear. Write equation (5) for one picture: its last map, the gradient of a class's score with respect to that map, and out comes
# the map of 7 × 7 places.
#
# Then think: of the class that comes first we take the map *before* the maximum with 0 and add up its places. What is missing to the logit? `"a"` nothing; `"b"` the bias of the class; `"c"` what
# speaks against the class.

# %% stub
def grad_cam(features, slope):
    """Features and gradient, (C, 7, 7) both → (7, 7), equation (5)."""
    return ...


missing = ...  # "a", "b" or "c"

# %% solution
def grad_cam(features, slope):
    """Features and gradient, (C, 7, 7) both → (7, 7), equation (5)."""
    weight = slope.mean((1, 2))  # of each channel
    return torch.einsum("c,chw->hw", weight, features).clamp(min=0)


missing = "b"

# %% wrong Gradient × input is the same for every network
def grad_cam(features, slope):
    return (slope * features).sum(0).clamp(min=0)


missing = "b"

# %% wrong The mean is taken over the channels
def grad_cam(features, slope):
    return (slope.mean(0) * features.sum(0)).clamp(min=0)


missing = "b"

# %% wrong What speaks against the class stays, and the bias is in the map
def grad_cam(features, slope):
    return torch.einsum("c,chw->hw", slope.mean((1, 2)), features)


missing = "a"

# %% wrong The size of the gradient is what counts
def grad_cam(features, slope):
    weight = slope.abs().mean((1, 2))
    return torch.einsum("c,chw->hw", weight, features)


missing = "c"

# %% check
with check("3.5.3", "Grad-CAM of a photograph") as it:
    weight, bias = net.classifier.weight[top], net.classifier.bias[top]
    slope = explain.gradients(
        lambda b: net.classifier(b["map"].mean((2, 3)))[:, top],
        {"map": features}, "map")[0]
    given = it.answer(grad_cam(features[0], slope))
    it.true("a map of 7 × 7", given.shape == (7, 7))
    cam = torch.einsum("c,chw->hw", weight, features[0]).detach() / 49
    it.true("the class activation map, its positive part", torch.allclose(
        given, cam.clamp(min=0), atol=1e-4),
        hint="The weight of a channel is the mean of its gradient.")
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 7, 7, generator=draw) for _ in range(2))
    weights = b.flatten(1).sum(1) / 49
    it.true("also where the gradient differs from place to place",
            torch.allclose(grad_cam(a, b), (weights @ a.flatten(1)).clamp(
                min=0).view(7, 7), atol=1e-5),
            hint="Average first, multiply then.")
    with torch.no_grad():
        logit = net.classifier(features.mean((2, 3)))[0, top]
    it.true("the map before the maximum is the logit without the bias",
            abs(logit - bias - cam.sum()).item() < 1e-3)
    it.choice("what is missing", missing, "b", {
        "a": "The head is linear, with a constant.",
        "b": "The sum of the map is the logit minus the bias.",
        "c": "Before the maximum, what speaks against it is in the map.",
    })

# %% hint
# One weight for each channel: the mean of its gradient over the 49 places. Then add up the channels, each times its weight, and drop what is below zero.

# %% remark
# The head of MobileNetV2 averages and is linear, so the gradient of a channel is the same at all places, and averaging it changes nothing. In a network with
# another head, Grad-CAM and gradient × input differ. The class that comes first here is a dog, the flat-coated retriever, and its map is as tidy as that of a right answer.

# %% exercise 3.5.4 predict Patching by hand
# A model of two tokens: $p$, what the picture says, and $q$, the question. Layer 1 computes $p_1 = p$ and $q_1 = q + 2p$, layer 2 $q_2 = q_1 + p_1$ and $p_2 = p_1$, and the score is $q_2$. For picture A,
# $p = 1$, for B, $p = 2$; the question is $q = 5$ for both.
#
# With a pencil: the effect (3) if the token of the picture is patched before layer 1, after layer 1 and after layer 2, and the same for the token of the question. Then write the effect.

# %% stub
of_picture = ...  # three numbers: before layer 1, after 1, after 2
of_question = ...


def effect(patched, score_a, score_b):
    """0 if the patch does nothing, 1 if it gives B's score."""
    return ...

# %% solution
of_picture = [1, 1 / 3, 0]
of_question = [0, 2 / 3, 1]


def effect(patched, score_a, score_b):
    """0 if the patch does nothing, 1 if it gives B's score."""
    return (patched - score_a) / (score_b - score_a)

# %% wrong The picture's token holds the answer until the end
of_picture = [1, 1, 1]
of_question = [0, 0, 0]


def effect(patched, score_a, score_b):
    return (patched - score_a) / (score_b - score_a)

# %% wrong The effect is the patched score as a share of B's
of_picture = [1, 9 / 11, 8 / 11]
of_question = [8 / 11, 10 / 11, 1]


def effect(patched, score_a, score_b):
    return patched / score_b

# %% wrong What has been read once has moved, and nothing stays behind
of_picture = [1, 0, 0]
of_question = [0, 1, 1]


def effect(patched, score_a, score_b):
    return (patched - score_a) / (score_b - score_a)

# %% wrong The effect is what is left of A
of_picture = [0, 2 / 3, 1]
of_question = [1, 1 / 3, 0]


def effect(patched, score_a, score_b):
    return (score_b - patched) / (score_b - score_a)

# %% check
def toy(p, q, level=None, token=None, other=None):
    """The score; at a level, a token is that of another run."""
    kept = []
    for layer in range(3):
        if layer == level:
            p, q = (other[layer][0], q) if token == "p" else (
                p, other[layer][1])
        kept.append((p, q))
        if layer == 0:
            q = q + 2 * p
        elif layer == 1:
            q = q + p
    return q, kept


with check("3.5.4", "Patching by hand") as it:
    (a, _), (b, of_b) = toy(1, 5), toy(2, 5)
    it.true("the effects are there", of_picture)
    it.true("those of the question, too", of_question)
    for token, given in (("p", of_picture), ("q", of_question)):
        for level in range(3):
            z, _ = toy(1, 5, level, token, of_b)
            it.close(f"token {token}, level {level}", given[level],
                     (z - a) / (b - a), 0.01,
                     hint="Which later step still reads this token?")
    for z, low, high in ((4.0, 4.0, 9.0), (9.0, 4.0, 9.0), (5.0, 3.0, -1.0)):
        it.close("your function", effect(z, low, high),
                 (z - low) / (high - low), 1e-6)

# %% hint
# The score is $q + 3p$: two parts of the picture come through layer 1, one through layer 2. A patch after layer 1 comes too late for the first two.

# %% remark
# After layer 1 both tokens carry a part of the answer, one third and two thirds. They add up to 1 because this model is linear; in a real one the effects of parts need not add up to the effect of all. And an
# effect of zero means "nothing reads it from here on", not "it was never needed": before layer 1 the picture decides everything.

# %% exercise 3.5.5 core A fair bill for three
# Picture, sound and text answer together. The share of right answers, by what is given:
#
# | nothing | p | s | t | p, s | p, t | s, t | all |
# |---|---|---|---|---|---|---|---|
# | 0.1 | 0.5 | 0.1 | 0.5 | 0.5 | 0.5 | 0.7 | 0.7 |
#
# With a pencil, by writing down the six orders: the Shapley value of each. And what does leave-one-out pay? Then write the function that goes through all orders.

# %% stub
shares = ...  # {"p": …, "s": …, "t": …}
left_out = ...  # the same for leave-one-out


def over_all_orders(worth, players):
    """The mean gain of each player when it comes, over all orders."""
    total = dict.fromkeys(players, 0.0)
    return ...

# %% solution
shares = {"p": 0.2, "s": 0.1, "t": 0.3}
left_out = {"p": 0.0, "s": 0.2, "t": 0.2}


def over_all_orders(worth, players):
    """The mean gain of each player when it comes, over all orders."""
    total = dict.fromkeys(players, 0.0)
    orders = list(permutations(players))
    for order in orders:
        for number, player in enumerate(order):
            before = frozenset(order[:number])
            gain = worth[before | {player}] - worth[before]
            total[player] += gain / len(orders)
    return total

# %% wrong Leave-one-out is fair
shares = {"p": 0.0, "s": 0.2, "t": 0.2}
left_out = {"p": 0.0, "s": 0.2, "t": 0.2}


def over_all_orders(worth, players):
    everyone = frozenset(players)
    return {p: worth[everyone] - worth[everyone - {p}] for p in players}

# %% wrong What each can do alone
shares = {"p": 0.4, "s": 0.0, "t": 0.4}
left_out = {"p": 0.0, "s": 0.2, "t": 0.2}


def over_all_orders(worth, players):
    nothing = worth[frozenset()]
    return {p: worth[frozenset(p)] - nothing for p in players}

# %% wrong One order is enough
shares = {"p": 0.4, "s": 0.0, "t": 0.2}
left_out = {"p": 0.0, "s": 0.2, "t": 0.2}


def over_all_orders(worth, players):
    total, before = {}, frozenset()
    for player in players:
        total[player] = worth[before | {player}] - worth[before]
        before = before | {player}
    return total

# %% check
def some_game(seed, players):
    """Drawn worths for all subsets."""
    draw = torch.Generator().manual_seed(seed)
    chosen = [frozenset(p for n, p in enumerate(players) if k >> n & 1)
              for k in range(2 ** len(players))]
    return {s: torch.rand((), generator=draw).item() for s in chosen}


with check("3.5.5", "A fair bill for three") as it:
    values = dict(zip(["", "p", "s", "t", "ps", "pt", "st", "pst"],
                      [0.1, 0.5, 0.1, 0.5, 0.5, 0.5, 0.7, 0.7]))
    worth = {frozenset(k): v for k, v in values.items()}
    it.true("the shares are there", shares)
    for player, share in explain.shapley(worth).items():
        it.close(f"the share of {player}", shares[player], share, 0.005,
                 hint="In each order: what is added when it comes?")
    it.true("leave-one-out is there", left_out)
    for player, share in {"p": 0.0, "s": 0.2, "t": 0.2}.items():
        it.close(f"leave-one-out pays {player}", left_out[player], share)
    found = over_all_orders(worth, "pst")
    it.close("your function adds up to the gain", sum(found.values()), 0.6)
    for seed in range(3):
        game = some_game(seed, "abcd")
        ours, truth = over_all_orders(game, "abcd"), explain.shapley(game)
        it.true(f"as the package, four players, game {seed}", all(
            abs(ours[p] - truth[p]) < 1e-6 for p in "abcd"))

# %% hint
# The order s, p, t: the sound adds 0, the picture 0.4, the text 0.2. The order p, t, s: 0.4, 0, 0.2. There are four more. For the function:
# `permutations` gives the orders; a player's gain is the worth with it minus the worth of those who came before.

# %% remark
# Leave-one-out pays 0.4 of a gain of 0.6, and nothing to the picture: whoever has text and sound can do without it. The sound, useless alone, is paid as much as the text.
# The Shapley value pays the picture for the cases in which it comes before the text. Orders grow fast, 3.6 million for ten players, subsets only to 1024; the
# formula (4) of the chapter goes through subsets. With hundreds of players, say the words of a text, one draws some orders at random.

# %% exercise 3.5.6 open Same answers, another map
# Somebody wants to sell a model which decides by the wrong thing, and the buyer will look at gradients. Write `disguised`, a score that agrees with `honest` on
# every picture of 8-bit levels, $x = n / 255$, up to 0.001, and whose gradient map is brightest in the upper left corner of 4 × 4 pixels, always.
#
# Then go on by yourself: do integrated gradients fall for it, too? Does occlusion? Which test would *you* ask for before you buy?

# %% stub
def honest(batch):
    """How blue the picture is in its middle."""
    return batch["image"][:, 2, 16:32, 16:32].mean((1, 2))


def disguised(batch):
    """The same numbers as honest, with another gradient."""
    corner = batch["image"][:, :, :4, :4]
    return ...

# %% solution
def honest(batch):
    """How blue the picture is in its middle."""
    return batch["image"][:, 2, 16:32, 16:32].mean((1, 2))


def disguised(batch):
    """The same numbers as honest, with another gradient."""
    corner = batch["image"][:, :, :4, :4]
    wave = torch.sin(2 * torch.pi * 255 * corner)  # zero at each level
    return honest(batch) + 1e-3 * wave.mean((1, 2, 3))

# %% wrong A small change of the corner is enough
def honest(batch):
    return batch["image"][:, 2, 16:32, 16:32].mean((1, 2))


def disguised(batch):
    corner = batch["image"][:, :, :4, :4]
    return honest(batch) + 1e-4 * corner.mean((1, 2, 3))

# %% wrong The gradient follows a large term, whatever it does to the answer
def honest(batch):
    return batch["image"][:, 2, 16:32, 16:32].mean((1, 2))


def disguised(batch):
    corner = batch["image"][:, :, :4, :4]
    return honest(batch) + corner.mean((1, 2, 3))

# %% wrong A wave that is zero at the levels where its slope is zero, too
def honest(batch):
    return batch["image"][:, 2, 16:32, 16:32].mean((1, 2))


def disguised(batch):
    corner = batch["image"][:, :, :4, :4]
    wave = torch.sin(torch.pi * 255 * corner) ** 2
    return honest(batch) + 1e-3 * wave.mean((1, 2, 3))

# %% check
with check("3.5.6", "Same answers, another map") as it:
    pictures = render(sample_scenes(100, 4), seed=4)
    batch = {"image": (pictures * 255).round() / 255}
    given = it.answer(disguised(batch))
    it.true("it gives a score for each picture", given.shape == (100,))
    it.true("the same answers", torch.allclose(
        given, honest(batch), atol=1e-3))

    def in_corner(maps):
        return maps[:, :4, :4].amax((1, 2)) >= maps.amax((1, 2))

    slope = explain.gradients(disguised, batch).abs().amax(1)
    it.true("the gradient points at the corner", in_corner(slope).all(),
            hint="What is zero at each n / 255, and steep there?")
    slope = explain.gradients(honest, batch).abs().amax(1)
    it.true("and that of the honest score does not",
            not in_corner(slope).any())

# %% hint
# Add something to the honest score that is zero for every level $n / 255$, but goes up and down between them. A wave does. Its slope is its height
# times how fast it swings: a low and fast wave is steep.

# %% remark
# A gradient says what would happen if a pixel moved by less than one level, and no picture ever does. So it can be set freely without
# touching a single answer. Occlusion moves pixels by much, and isn't fooled. Integrated gradients walk through all levels between; with enough steps the wave cancels itself, with
# few steps they may be fooled. A map is evidence only if the one who made the model couldn't choose it: ask for experiments on pictures which you made
# yourself, with the suspect thing changed. Networks that were disguised in this way are no invention of ours ([Dombrowski et al. 2019](https://arxiv.org/abs/1906.07983)).
