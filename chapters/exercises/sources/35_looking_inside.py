# %% [markdown]
# # Exercises 3.5 Looking inside
#
# To the chapter: [3.5 Looking inside](../3-fine-tuning/35_looking_inside.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
from itertools import permutations

import torch
from torch import nn

from mmbook import explain
from mmbook.notebook.exercises import check
from mmbook.world import render, sample_scenes

torch.set_num_threads(1)
torch.manual_seed(0)

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

# %% exercise 3.5.3 predict Two layers, two tokens
# Attention weights of two layers, one head, two tokens: $A_1 = \begin{pmatrix} 0 & 1 \\ 1 & 0 \end{pmatrix}$ and $A_2 = \begin{pmatrix} 1 & 0 \\ 1 & 0 \end{pmatrix}$.
# In the last layer everybody looks at token 0 only.
#
# *Guess:* of how much of the *first* token 0 are the two last tokens made, if one follows the attention through both layers with half of each token kept? Then compute $R$ with a pencil.

# %% stub
guess = ...  # the mean over both last tokens, from 0 to 1
R = ...  # two rows of two numbers

# %% solution
guess = 0.7
R = [[0.5, 0.5], [0.5, 0.5]]

# %% check
with check("3.5.3", "Two layers, two tokens") as it:
    A = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    rolled = explain.rollout(A[None, :, None])[0]
    it.prediction("of the first token 0", guess, rolled[:, 0].mean().item())
    it.true("the rows are there", R)
    it.true("R", torch.allclose(torch.tensor(R), rolled, atol=1e-3),
            hint="(I + A₂) / 2 stands on the left.")
    it.true("each row adds up to 1", torch.allclose(
        torch.tensor(R).sum(1), torch.ones(2)))

# %% hint
# Write down $\frac 1 2 (I + A_1)$ and $\frac 1 2 (I + A_2)$, and multiply: the later layer on the left.

# %% remark
# All look at token 0, and half of what they find there came from token 1. The last layer's attention alone would have told you that token 1 doesn't matter.
# Rollout is right about mixing; but it assumes that every layer keeps exactly one half and that values are all alike. The chapter's grades
# for it are no better than for plain attention.

# %% exercise 3.5.4 core A fair bill for three
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

# %% check
def some_game(seed, players):
    """Drawn worths for all subsets."""
    draw = torch.Generator().manual_seed(seed)
    chosen = [frozenset(p for n, p in enumerate(players) if k >> n & 1)
              for k in range(2 ** len(players))]
    return {s: torch.rand((), generator=draw).item() for s in chosen}


with check("3.5.4", "A fair bill for three") as it:
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
# formula (3) of the chapter goes through subsets. With hundreds of players, say the words of a text, one draws some orders at random.

# %% exercise 3.5.5 core Spot the insensitive one
# Three methods draw maps of small pictures for a small network. Two of them read the network. One of them only
# says so. You may not read their code; you may spoil the network. Write `alike`: the mean rank correlation of a method's maps before and after all weights are drawn anew. Then
# name the impostor.

# %% stub
def alike(method, model, pictures):
    """How alike the maps are before and after: one number."""
    ((_, spoiled),) = explain.randomised(model, ["layers"], seed=1)
    return ...


impostor = ...  # "a", "b" or "c"

# %% solution
def alike(method, model, pictures):
    """How alike the maps are before and after: one number."""
    ((_, spoiled),) = explain.randomised(model, ["layers"], seed=1)
    before, after = method(model, pictures), method(spoiled, pictures)
    return explain.rank_correlation(before, after).mean().item()


impostor = "b"

# %% check
class Small(nn.Module):
    """A network for 12 × 12 pictures: one number for each."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(800, 1))

    def forward(self, image):
        return self.layers(image)[:, 0]


def method_a(model, image):
    return explain.gradients(lambda b: model(b["image"]),
                             {"image": image}).abs().amax(1)


def method_b(model, image):
    slope = method_a(model, image).mean((1, 2), keepdim=True)
    return (image - image.mean((2, 3), keepdim=True)).abs().sum(1) * slope


def method_c(model, image):
    return explain.integrated_gradients(
        lambda b: model(b["image"]), {"image": image}, baseline=0.5,
        steps=8).sum(1)


with check("3.5.5", "Spot the insensitive one") as it:
    torch.manual_seed(2)
    model, pictures = Small().eval(), torch.rand(20, 3, 12, 12)
    values = {name: alike(method, model, pictures) for name, method in
              zip("abc", (method_a, method_b, method_c))}
    it.true("alike gives numbers", values["a"])
    it.true("one of them does not change", abs(values["b"] - 1) < 1e-4,
            hint="Draw both maps of the same pictures.")
    it.true("two of them do", max(values["a"], values["c"]) < 0.7)
    it.choice("the impostor", impostor, "b", {
        "a": "Its maps change when the network does.",
        "b": "Its maps stay in the same order, whatever the network is.",
        "c": "Its maps change when the network does.",
    })

# %% hint
# Call the method twice, with `model` and with `spoiled`, on the same pictures. `explain.rank_correlation` compares two batches of maps, one number for each picture.

# %% remark
# Method b multiplies the contrast of the picture by one number from the network. So it *does* depend on the weights, and a test of "is the map exactly the
# same" would have let it pass. The order of the places is what a viewer sees, and it never changes. Methods that were in wide use failed in a like way: guided back-propagation draws sharp edges of the
# picture, and hardly notices that the upper layers are random ([Adebayo et al. 2018](https://arxiv.org/abs/1810.03292)).

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
