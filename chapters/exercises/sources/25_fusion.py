# %% [markdown]
# # Exercises 2.5 Fusion
#
# To the chapter: [2.5 Fusion](../2-concepts/25_fusion.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import torch
from torch import nn
from torch.nn import functional as F

from mmbook.fusion import FUSIONS, fusion
from mmbook.fusion.base import Fusion
from mmbook.notebook.exercises import check
from mmbook.tokens import Tokens

torch.set_num_threads(1)
torch.manual_seed(0)
WIDTHS = {"image": 6, "text": 5}
D = 8
mask = torch.tensor([[True] * 3, [True, True, False], [True, False, False]])
few = {"image": Tokens(torch.randn(3, 4, 6)),
       "text": Tokens(torch.randn(3, 3, 5), mask)}


# %% exercise 2.5.1 warm-up Three modalities
# A picture, a text and a sound, each brought to $D = 64$. How many numbers does the tensor $W$ have that takes *all*
# products of three vectors (each with its 1 behind it)? And the factors of a low-rank tensor fusion of
# rank $R = 4$? Only the tensor and the factors count, not the projections.

# %% stub
full_numbers = ...
low_rank_numbers = ...

# %% solution
full_numbers = 65**3 * 64
low_rank_numbers = 4 * 3 * 65 * 64

# %% check
with check("2.5.1", "Three modalities") as it:
    it.equal("the full tensor", full_numbers, 17_576_000,
             hint="One side for each vector, one for what comes out.")
    method = fusion("low_rank", widths={"a": 2, "b": 2, "c": 2}, width=64,
                    rank=4)
    real = sum(p.numel() for p in method.factors.values())
    it.equal("the factors", low_rank_numbers, real)

# %% hint
# Each vector has $64 + 1$ numbers. A factor maps one of them to 64 numbers, and there is one for each modality and each of the
# four terms.

# %% remark
# 350 times as many. Each further modality multiplies the full tensor by 65 and adds the same small piece to the factors.

# %% exercise 2.5.2 predict Who knows what
# A picture of 4 tokens and a sentence of 3 go through an attention bottleneck with *one* layer and 2 shared tokens. 9 tokens
# come out. How many of them depend on both modalities? And how many with two layers?

# %% stub
with_one_layer = ...
with_two_layers = ...

# %% solution
with_one_layer = 2
with_two_layers = 9

# %% check
def know_both(layers):
    """Count the tokens that change with either modality."""
    torch.manual_seed(0)
    method = fusion("bottleneck", widths=WIDTHS, width=D, layers=layers,
                    shared=2).eval()
    before, changed = method(few).values, []
    for name, tokens in few.items():
        other = Tokens(tokens.values.roll(1, 0) + 1, tokens.mask)
        after = method(few | {name: other}).values
        changed.append((after - before).abs().amax((0, 2)) > 1e-6)
    return int((changed[0] & changed[1]).sum())


with check("2.5.2", "Who knows what") as it:
    it.equal("one layer", with_one_layer, know_both(1),
             hint="In the first layer the shared tokens have no news yet.")
    it.equal("two layers", with_two_layers, know_both(2))

# %% hint
# Follow one word. After the first layer it is in the shared tokens. When do the places look at these?

# %% remark
# News needs one layer to the hub and one more from the hub. If a head reads only the shared tokens, one layer is enough.

# %% exercise 2.5.3 core The product is a bilinear fusion
# Product fusion computes $z_k = \bar x_k\, \bar y_k$ (before the norm). Fill the tensor $W$ of a bilinear fusion so that
# $\sum_{ij} W_{ijk}\, \tilde x_i\, \tilde y_j$ gives the same. And make a second tensor that gives the *sum*
# $z_k = \bar x_k + \bar y_k$. The 1 stands at the last place, number $D$.

# %% stub
for_product = torch.zeros(D + 1, D + 1, D)
for_sum = torch.zeros(D + 1, D + 1, D)
k = torch.arange(D)
# ... your lines, with k

# %% solution
for_product = torch.zeros(D + 1, D + 1, D)
for_sum = torch.zeros(D + 1, D + 1, D)
k = torch.arange(D)
for_product[k, k, k] = 1
for_sum[k, D, k] = 1
for_sum[D, k, k] = 1

# %% check
with check("2.5.3", "The product is a bilinear fusion") as it:
    bilinear = fusion("bilinear", widths=WIDTHS, width=D)
    x, y = torch.randn(2, 5, D)
    both = F.pad(torch.stack([x, y], 1), (0, 1), value=1.0)
    found = []
    for W in (for_product, for_sum):
        with torch.no_grad():
            bilinear.weight[0] = W
        found.append(bilinear.multiply(both))
    it.true("the product", torch.allclose(found[0], x * y, atol=1e-5),
            hint="Which i and j may contribute to z_k?")
    it.true("the sum", torch.allclose(found[1], x + y, atol=1e-5),
            hint="x_k times the 1 of the other is x_k.")

# %% hint
# `W[k, k, k] = 1` writes $D$ ones at once, if $k$ is the row of the numbers from 0 to $D - 1$.

# %% remark
# So sum and product are two corners of bilinear fusion. Training could find them there, among many other things; to build them in
# is cheaper, and leaves less to find.

# %% exercise 2.5.4 core Repair it
# This layer mixes two vectors through two factors. Its factors are neither saved nor trained. Repair it, and leave the formula as it is.

# %% stub
class Mixed(nn.Module):
    """(x F) times (y G)."""

    def __init__(self, width):
        super().__init__()
        self.factors = [nn.Parameter(torch.randn(width, width)),
                        nn.Parameter(torch.randn(width, width))]

    def forward(self, x, y):
        return (x @ self.factors[0]) * (y @ self.factors[1])


# %% solution
class Mixed(nn.Module):
    """(x F) times (y G)."""

    def __init__(self, width):
        super().__init__()
        self.factors = nn.ParameterList(
            [nn.Parameter(torch.randn(width, width)) for _ in range(2)])

    def forward(self, x, y):
        return (x @ self.factors[0]) * (y @ self.factors[1])


# %% check
with check("2.5.4", "Repair it") as it:
    layer = Mixed(4)
    x, y = torch.randn(2, 3, 4)
    it.equal("tensors that are saved", len(layer.state_dict()), 2,
             hint="PyTorch doesn't look into a Python list.")
    layer(x, y).sum().backward()
    grads = [p.grad is not None for p in layer.parameters()]
    it.equal("parameters with a gradient", grads, [True, True])
    again = Mixed(4)
    again.load_state_dict(layer.state_dict())
    it.true("it comes back as it was",
            torch.equal(again(x, y), layer(x, y)))

# %% hint
# There is a list that PyTorch does look into.

# %% remark
# The test that finds this bug compares what `named_parameters()` and `state_dict()` list with what you believe you made. It costs two lines.

# %% exercise 2.5.5 core A gate that knows who is there
# Gated fusion asks each modality how much of it should pass: `scores` (B, modalities, D), and a softmax over the modalities. `real`
# (B, modalities) says which are there. Write the gates: a modality that is missing gets exactly 0, the others share the whole
# weight. If *nothing* is there, all gates are 0, and nothing is "not a number".

# %% stub
def gates(scores, real):
    """(B, modalities, D) and (B, modalities) bool → (B, modalities, D)"""
    return ...


# %% solution
def gates(scores, real):
    """(B, modalities, D) and (B, modalities) bool → (B, modalities, D)"""
    real = real[..., None]
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~real, lowest).softmax(1) * real


# %% check
with check("2.5.5", "A gate that knows who is there") as it:
    scores = torch.randn(3, 2, D)
    real = torch.tensor([[True, True], [True, False], [False, False]])
    g = gates(scores, real)
    it.true("a tensor like the scores",
            g if g is ... else g.shape == scores.shape)
    it.true("both there: they share",
            torch.allclose(g[0], scores[0].softmax(0)))
    it.true("one there: it gets all", torch.equal(
        g[1], torch.tensor([[1.0], [0.0]]).expand(2, D)),
        hint="Hide the score of the other before the softmax.")
    it.true("nothing there: zero", torch.equal(g[2], torch.zeros(2, D)),
            hint="A softmax of −∞ alone is 'not a number'.")

# %% hint
# `masked_fill` with a very small *finite* number, softmax, and multiply by `real` at the end.

# %% remark
# The same three steps make attention safe where a row has nothing to look at.

# %% exercise 2.5.6 open A fusion of your own
# Write a fusion that is in no table. It gets the mean vectors of the modalities (a missing one is zero, and not real in the mask) and makes one
# token. The check holds it to the book's contract: right shape, every parameter trained, padding changes nothing, a missing modality is
# not an error, and, since a sum is in the table already, it must be able to *relate*: what one modality says must change what the other one does.
#
# Then go on by yourself: put it into the arena of the chapter. Does it bind?

# %% stub
class Mine(Fusion):
    """Mean vectors of the modalities → one token (B, 1, D)."""

    def __init__(self, widths, width):
        super().__init__(widths, width)
        ...

    def forward(self, tokens):
        vectors = self.vectors(tokens)  # values (B, modalities, D), mask
        z = ...  # (B, D)
        real = vectors.mask.any(1, keepdim=True)
        return ... if z is ... else Tokens(z[:, None], real)


# %% solution
class Mine(Fusion):
    """Mean vectors of the modalities → one token (B, 1, D)."""

    def __init__(self, widths, width):
        super().__init__(widths, width)
        self.mix = nn.Linear(2 * width, width)

    def forward(self, tokens):
        vectors = self.vectors(tokens)  # values (B, modalities, D), mask
        added = vectors.values.sum(1)
        one = vectors.values.masked_fill(~vectors.mask[..., None], 1)
        z = self.mix(torch.cat([added, one.prod(1)], dim=-1))
        return Tokens(z[:, None], vectors.mask.any(1, keepdim=True))


# %% check
with check("2.5.6", "A fusion of your own") as it:
    torch.manual_seed(0)
    mine = Mine(WIDTHS, D)
    it.true("tokens come out", mine(few))
    z = mine(few).values
    it.equal("(B, 1, D)", tuple(z.shape), (3, 1, D))
    z.pow(3).sum().backward()
    it.true("every parameter gets a gradient", all(
        p.grad is not None and p.grad.abs().max() > 0
        for p in mine.parameters()))
    hidden = few["text"].values.masked_fill(~mask[..., None], 50.0)
    junk = few | {"text": Tokens(hidden, mask)}
    it.true("padding changes nothing",
            torch.allclose(mine(junk).values, z, atol=1e-5))
    it.true("either modality may be missing", all(
        mine({n: t}).values.isfinite().all() for n, t in few.items()))
    other = {n: Tokens(t.values + 1, t.mask) for n, t in few.items()}
    with_a = mine(other).values - mine(few | {"text": other["text"]}).values
    with_b = mine(few | {"image": other["image"]}).values - z
    it.true("it relates", not torch.allclose(with_a, with_b, atol=1e-4),
            hint="A sum alone doesn't. Multiply, gate, or add a layer.")

# %% hint
# Products, gates, hidden layers: anything in which two modalities touch. `vectors.mask` says who is there.

# %% remark
# The last check is the two bits of chapter 1.1 in another form: if the effect of the picture is the same whatever the text says, the fusion
# only votes. That yours binds in the arena is unlikely: it meets after the places were averaged.
