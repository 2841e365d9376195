# %% [markdown]
# # Exercises 2.5 Fusion
#
# To the chapter: [2.5 Fusion](../2-concepts/25_fusion.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
from fractions import Fraction

import torch
from torch import nn
from torch.nn import functional as F

from mmbook.fusion import FUSIONS, fusion
from mmbook.fusion.base import Fusion
from mmbook.layers import Attention
from mmbook.notebook.exercises import check
from mmbook.pretrained import PretrainedImageEncoder
from mmbook.samples import photographs
from mmbook.tokens import Tokens

torch.set_num_threads(1)
torch.manual_seed(0)
WIDTHS = {"image": 6, "text": 5}
D = 8
mask = torch.tensor([[True] * 3, [True, True, False], [True, False, False]])
few = {"image": Tokens(torch.randn(3, 4, 6)),
       "text": Tokens(torch.randn(3, 3, 5), mask)}
mobile = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
photos = photographs(224)
pair = torch.stack([photos.picture(n) for n in (3, 12)]).float() / 255
with torch.no_grad():
    first, second = mobile(pair).values  # (49, 1280) each


# %% exercise 2.5.1 warm-up The bound of another task
# A picture shows two objects, and a sentence names the colour of one of them; which shape has it? A model recognises both shapes but does not know which
# of them is meant. How often is it right, if there are *four* shapes and each object gets one at random, independently of the other? And if the two shapes always differ? Give
# fractions.

# %% stub
independent = ...  # such as Fraction(1, 3)
always_different = ...

# %% solution
independent = Fraction(1, 2) * Fraction(3, 4) + Fraction(1, 4)
always_different = Fraction(1, 2)

# %% wrong It is a guess among all shapes
independent = Fraction(1, 4)
always_different = Fraction(1, 4)

# %% wrong Equal shapes make no difference
independent = Fraction(1, 2)
always_different = Fraction(1, 2)

# %% wrong Equal shapes are added to one half
independent = Fraction(1, 2) + Fraction(1, 4)
always_different = Fraction(1, 2)

# %% wrong The bound of the chapter holds for every number of shapes
independent = Fraction(7, 12)
always_different = Fraction(1, 2)

# %% check
with check("2.5.1", "The bound of another task") as it:
    pairs = [(a, b) for a in range(4) for b in range(4)]
    right = sum(Fraction(1) if a == b else Fraction(1, 2) for a, b in pairs)
    it.equal("four shapes", independent, right / len(pairs),
             hint="In what share of the pictures are both shapes equal?")
    it.equal("always different", always_different, Fraction(1, 2))

# %% hint
# With probability 1/4 both shapes are equal, and then the model cannot be wrong. In the other cases it says one of two.

# %% remark
# The fewer the answers, the higher the bound. Compute it before you train: an accuracy of 60 per cent shows binding with six shapes and nothing with four.

# %% exercise 2.5.2 predict What the shared tokens know
# A picture of 4 tokens and a sentence of 3 go through an attention bottleneck with *one* layer and 2 shared tokens. 9 tokens
# come out. How many of them depend on both modalities? And how many with two layers?

# %% stub
with_one_layer = ...
with_two_layers = ...

# %% solution
with_one_layer = 2
with_two_layers = 9

# %% wrong One layer is enough for all tokens
with_one_layer = 9
with_two_layers = 9

# %% wrong Only the shared tokens ever know of both
with_one_layer = 2
with_two_layers = 2

# %% wrong In the first layer nothing is exchanged
with_one_layer = 0
with_two_layers = 2

# %% wrong The words learn of the picture, but not the other way round
with_one_layer = 5
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


with check("2.5.2", "What the shared tokens know") as it:
    it.equal("one layer", with_one_layer, know_both(1),
             hint="At the input of the first layer the shared tokens are the "
                  "same for every picture.")
    it.equal("two layers", with_two_layers, know_both(2))

# %% hint
# Follow one word. After the first layer it is in the shared tokens. When do the places look at these?

# %% remark
# One layer carries information into the shared tokens, and a second one out of them. If a head reads only the shared tokens, one layer is enough.

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

# %% wrong All products with all others
for_product = torch.zeros(D + 1, D + 1, D)
for_sum = torch.zeros(D + 1, D + 1, D)
k = torch.arange(D)
for_product[:D, :D] = 1
for_sum[k, D, k] = 1
for_sum[D, k, k] = 1

# %% wrong The sum needs the product of both
for_product = torch.zeros(D + 1, D + 1, D)
for_sum = torch.zeros(D + 1, D + 1, D)
k = torch.arange(D)
for_product[k, k, k] = 1
for_sum[k, k, k] = 2

# %% wrong One vector is enough for the sum
for_product = torch.zeros(D + 1, D + 1, D)
for_sum = torch.zeros(D + 1, D + 1, D)
k = torch.arange(D)
for_product[k, k, k] = 1
for_sum[k, D, k] = 1

# %% wrong The 1 stands at the first place
for_product = torch.zeros(D + 1, D + 1, D)
for_sum = torch.zeros(D + 1, D + 1, D)
k = torch.arange(D)
for_product[k, k, k] = 1
for_sum[k, 0, k] = 1
for_sum[0, k, k] = 1

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
# `W[k, k, k] = 1` writes $D$ ones at once, if $k$ holds the integers from 0 to $D - 1$.

# %% remark
# Sum and product are special cases of bilinear fusion. Training could find them among many other functions; to build one of them in takes fewer parameters.

# %% exercise 2.5.4 core Flamingo's gate
# Write a layer that lets words (B, L, D) look at a picture (B, N, D) and changes *nothing* at first: $x + \tanh(\alpha)\,\mathrm{cross}(x, c)$, with one learned number $\alpha$.
# `Attention(width, heads)` is there: called with `(x, c)`, it lets `x` look at `c`.

# %% stub
class Gated(nn.Module):
    """Cross-attention behind a gate that begins shut."""

    def __init__(self, width):
        super().__init__()
        self.cross = Attention(width, heads=2)
        self.gate = ...

    def forward(self, x, c):
        return ...


# %% solution
class Gated(nn.Module):
    """Cross-attention behind a gate that begins shut."""

    def __init__(self, width):
        super().__init__()
        self.cross = Attention(width, heads=2)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x, c):
        return x + self.gate.tanh() * self.cross(x, c)


# %% wrong A sigmoid is a gate, too
class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.cross = Attention(width, heads=2)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x, c):
        return x + self.gate.sigmoid() * self.cross(x, c)


# %% wrong The gate weighs old against new
class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.cross = Attention(width, heads=2)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x, c):
        g = self.gate.tanh()
        return (1 - g) * x + g * self.cross(x, c)


# %% wrong A constant zero will do
class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.cross = Attention(width, heads=2)
        self.gate = torch.zeros(1)

    def forward(self, x, c):
        return x + self.gate.tanh() * self.cross(x, c)


# %% wrong A gate needs no bound
class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.cross = Attention(width, heads=2)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x, c):
        return x + self.gate * self.cross(x, c)


# %% wrong The attention's weights begin at zero, and the gate open
class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.cross = Attention(width, heads=2)
        nn.init.zeros_(self.cross.out.weight)
        nn.init.zeros_(self.cross.out.bias)
        self.gate = nn.Parameter(torch.ones(1))

    def forward(self, x, c):
        return x + self.gate.tanh() * self.cross(x, c)


# %% check
with check("2.5.4", "Flamingo's gate") as it:
    torch.manual_seed(0)
    layer, x, c = Gated(D), torch.randn(2, 3, D), torch.randn(2, 5, D)
    z = layer(x, c)
    it.true("a tensor like the words", z if z is ... else z.shape == x.shape)
    it.true("at first nothing changes", torch.equal(z, x),
            hint="tanh(0) = 0.")
    z.pow(2).sum().backward()
    moving = {name for name, p in layer.named_parameters()
              if p.grad is not None and p.grad.abs().max() > 0}
    it.equal("at first only the gate learns", moving, {"gate"})
    found = layer.cross(x, c)
    for value in (-3.0, 0.5, 20.0):
        with torch.no_grad():
            layer.gate.fill_(value)
        wanted = x + torch.tensor(value).tanh() * found
        it.true(f"with a gate of {value}",
                torch.allclose(layer(x, c), wanted, atol=1e-5),
                hint="The words themselves always pass whole.")

# %% hint
# The gate is an `nn.Parameter` with the value 0. It multiplies what was fetched, and nothing else.

# %% remark
# The gradient of everything behind the gate is multiplied by $\tanh(0) = 0$. So the gate moves first, and the attention can only learn once it is open a little.

# %% exercise 2.5.5 core Two photographs side by side
# MobileNetV2 gives $7 \times 7$ tokens for a photograph, row by row: token number $7r + c$ is row $r$, column $c$. Put the tokens of two photographs, `first` and `second` in the cell at the top, *beside* each other, the first one at
# the left, as one grid of 7 rows and 14 columns, again row by row.

# %% stub
def beside(left, right):
    """(49, C) and (49, C) → (98, C)"""
    return ...


# %% solution
def beside(left, right):
    """(49, C) and (49, C) → (98, C)"""
    rows = [x.unflatten(0, (7, 7)) for x in (left, right)]
    return torch.cat(rows, dim=1).flatten(0, 1)


# %% wrong Behind each other is beside each other
def beside(left, right):
    return torch.cat([left, right])


# %% wrong Token by token in turn
def beside(left, right):
    return torch.stack([left, right], 1).flatten(0, 1)


# %% wrong Below each other
def beside(left, right):
    rows = [x.unflatten(0, (7, 7)) for x in (left, right)]
    return torch.cat(rows, dim=0).flatten(0, 1)


# %% wrong A view makes rows of fourteen
def beside(left, right):
    return torch.cat([left, right]).view(7, 14, -1).flatten(0, 1)


# %% wrong The features stand beside each other
def beside(left, right):
    return torch.cat([left, right], dim=1)


# %% check
with check("2.5.5", "Two photographs side by side") as it:
    z = beside(first, second)
    it.true("98 tokens", z if z is ... else tuple(z.shape) == (98, 1280))
    at = {(0, 0): first[0], (0, 6): first[6], (0, 7): second[0],
          (1, 0): first[7], (6, 13): second[48]}
    for (row, column), token in at.items():
        it.true(f"row {row}, column {column}",
                torch.equal(z[14 * row + column], token),
                hint="A row of the grid is a row of the left photograph and "
                     "then one of the right photograph.")
    it.true("exchanged, they have the same mean", torch.allclose(
        z.mean(0), beside(second, first).mean(0), atol=1e-4))

# %% hint
# Give both a shape with rows and columns, join them along the columns, and flatten rows and columns again.

# %% remark
# The last line of the check exchanges the photographs: the mean token stays the same. A fusion that begins with mean vectors cannot answer "what is at the left?" about such a picture, whatever follows it.

# %% exercise 2.5.6 open A fusion of your own
# Write a fusion that is in no table. It gets the mean vectors of the modalities (a missing one is zero, and not real in the mask) and makes one
# token. The check holds it to the book's contract: right shape, every parameter trained, padding changes nothing, a missing modality is
# not an error, and, since a sum is in the table already, it must be able to *relate*: what one modality says must change what the other one does.
#
# Then go on by yourself: put it into the study `fusion_arena` as one more line of the table. Does it bind?

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


# %% wrong A learned sum relates
class Mine(Fusion):
    def __init__(self, widths, width):
        super().__init__(widths, width)
        self.mix = nn.Linear(2 * width, width)

    def forward(self, tokens):
        vectors = self.vectors(tokens)
        z = self.mix(vectors.values.flatten(1))
        return Tokens(z[:, None], vectors.mask.any(1, keepdim=True))


# %% wrong All modalities are always there
class Mine(Fusion):
    def __init__(self, widths, width):
        super().__init__(widths, width)
        self.mix = nn.Linear(width, width)

    def forward(self, tokens):
        parts = self.aligned(tokens)
        z = self.mix(parts["image"].pooled() * parts["text"].pooled())
        return Tokens(z[:, None])


# %% wrong The mean runs over padding, too
class Mine(Fusion):
    def __init__(self, widths, width):
        super().__init__(widths, width)
        self.mix = nn.Linear(width, width)

    def forward(self, tokens):
        parts = self.aligned(tokens)
        z = torch.ones(1)
        for part in parts.values():
            z = z * part.values.mean(1)
        return Tokens(self.mix(z)[:, None])


# %% wrong A list of layers is trained
class Mine(Fusion):
    def __init__(self, widths, width):
        super().__init__(widths, width)
        self.late = nn.Parameter(torch.zeros(width))
        self.mix = [nn.Linear(width, width)]

    def forward(self, tokens):
        vectors = self.vectors(tokens)
        z = self.mix[0](vectors.values.prod(1)).detach() + self.late
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
    it.true("it is in no table", type(mine) not in FUSIONS.values())

# %% hint
# Products, gates, hidden layers: anything in which two modalities touch. `vectors.mask` says what is there.

# %% remark
# The check "it relates" is the two bits of chapter 1.1 in another form: if the effect of the picture is the same whatever the text says, the fusion
# only adds scores. It does not follow that yours binds soon: it meets after the places were averaged.
