# %% [markdown]
# # Exercises 2.2 Image encoders
#
# To the chapter: [2.2 Image encoders](../2-concepts/22_image_encoders.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds. The photographs are those of a bear and of a bus (numbers 22 and 41 of
# `mmbook.samples`, which also tells their credits).

# %% shared
import random
from math import isqrt

import torch
from torch import nn
from torch.nn import functional as F

from mmbook import samples
from mmbook.encoders import ConvImageEncoder, PatchImageEncoder
from mmbook.notebook.exercises import check
from mmbook.pretrained import PretrainedImageEncoder
from mmbook.world import SHAPES, Scene, Thing, render, sample_scenes

torch.set_num_threads(1)
images = render(sample_scenes(4, seed=22, objects=(2,)))
photos = samples.photographs(224)
photographs = torch.stack([photos.pixels(n) for n in (22, 41)]) / 255


# %% exercise 2.2.1 warm-up Count before you build
# A convolution with 5 × 5 kernels, stride 2 and padding 2 makes 16 channels from the three colours of a picture
# of 48 × 48 pixels. Then each place of its map becomes a token.
#
# How many tokens are there? How many parameters does the layer have, biases included? And how many multiplications
# and additions does it take, two for each use of a weight (without the biases)?

# %% stub
tokens = ...
parameters = ...
operations = ...

# %% solution
tokens = 24 * 24
parameters = 16 * 3 * 5 * 5 + 16
operations = 2 * 16 * 3 * 5 * 5 * 24 * 24

# %% wrong A filter has one channel, whatever it reads
tokens = 24 * 24
parameters = 16 * 5 * 5 + 16
operations = 2 * 16 * 5 * 5 * 24 * 24

# %% wrong Each place has weights of its own
tokens = 24 * 24
parameters = (16 * 3 * 5 * 5 + 16) * 24 * 24
operations = 2 * 16 * 3 * 5 * 5 * 24 * 24

# %% wrong A stride changes the number of operations but not of places
tokens = 48 * 48
parameters = 16 * 3 * 5 * 5 + 16
operations = 2 * 16 * 3 * 5 * 5 * 48 * 48

# %% check
layer = nn.Conv2d(3, 16, 5, stride=2, padding=2)
places = layer(images[:1]).flatten(2).shape[-1]

with check("2.2.1", "Count before you build") as it:
    it.equal("tokens", tokens, places,
             hint="The side of the map is (48 + 2·2 − 5) / 2, rounded down, "
                  "plus 1.")
    it.equal("parameters", parameters,
             sum(p.numel() for p in layer.parameters()),
             hint="Each of the 16 channels has a filter for all three "
                  "colours, and one bias.")
    it.equal("operations", operations, 2 * layer.weight.numel() * places,
             hint="All weights are used once for each place.")

# %% hint
# One filter reads all three colours in its window: 3 · 5 · 5 weights. The same filters are used at every place of the
# map; so the number of places counts for the operations, and not for the parameters.

# %% remark
# 1216 parameters and 576 tokens, and more than a million operations: for a convolution these three are almost
# independent. A picture with twice the side has four times the tokens and the operations, and not one parameter more.

# %% exercise 2.2.2 predict Two ways to see far
# Five layers with 3 × 3 kernels, all with stride 1. Or three layers with 3 × 3 kernels, all with stride 2. Predict the sides of
# the two receptive fields. Then say: why do networks use strides and not only many layers?
#
# - `"a"`: with strides the receptive field grows by a factor, without by a constant, and the map gets cheaper
# - `"b"`: a layer with a stride has fewer weights
# - `"c"`: with strides the network is equivariant to every move
#
# And for which moves of a picture, without any border, is the map of the strided network exactly a moved map?
#
# - `"a"`: for all
# - `"b"`: for multiples of 2 pixels
# - `"c"`: for multiples of 8 pixels

# %% stub
guess_flat = ...
guess_strided = ...
why = ...  # "a", "b" or "c"
moves = ...  # "a", "b" or "c"

# %% solution
guess_flat = 11
guess_strided = 15
why = "a"
moves = "c"

# %% wrong A stride saves weights
guess_flat = 11
guess_strided = 7
why = "b"
moves = "c"

# %% wrong Convolutions are equivariant, so strided networks are
guess_flat = 11
guess_strided = 15
why = "c"
moves = "a"

# %% wrong The stride of a layer counts, not that of the network
guess_flat = 11
guess_strided = 15
why = "a"
moves = "b"


# %% check
def measured(layers, side=65):
    """The side of the receptive field, from derivatives."""
    x = torch.ones(1, 1, side, side, requires_grad=True)
    y = x
    for k, s in layers:
        y = F.conv2d(y, torch.ones(1, 1, k, k), stride=s, padding=k // 2)
    middle = y.shape[-1] // 2
    y[0, 0, middle, middle].backward()
    return (x.grad[0, 0] > 0).any(0).sum().item()


with check("2.2.2", "Two ways to see far") as it:
    it.prediction("five layers, stride 1", guess_flat, measured([(3, 1)] * 5))
    it.prediction("three layers, stride 2", guess_strided,
                  measured([(3, 2)] * 3))
    it.choice("why", why, "a", {
        "a": "1, 3, 5, 7, 9, 11 against 1, 3, 7, 15.",
        "b": "The number of weights is k · k · C · O. The stride isn't in it.",
        "c": "On the contrary: only to moves by whole strides.",
    })
    it.choice("moves", moves, "c", {
        "a": "Between two places there is no place to which the map could go.",
        "b": "That is true of the first layer; two more follow.",
        "c": "2 · 2 · 2 pixels lie between two neighbours of the last map.",
    })

# %% hint
# Start with $r = m = 1$. Each layer adds $(k - 1)\,m$ to $r$; then $m$ becomes $s\,m$.

# %% remark
# Without strides, 47 layers would be needed before a token in the middle depends on 95 pixels; with strides of 2, six are more than
# enough. What is paid for it is the exact place: a move by one pixel is no longer a move of the map.

# %% exercise 2.2.3 core Cut it yourself
# The chapter cut pictures into patches with `F.unfold`. Write it with `reshape` and `permute` only: pictures
# (B, 3, H, W) become (B, N, 3 P P), row by row, and in each patch first all of red, then green, then blue. The check
# cuts two photographs.

# %% stub
def patches_of(image, P):
    """(B, 3, H, W) → (B, N, 3 P P)"""
    B, C, H, W = image.shape
    return ...


# %% solution
def patches_of(image, P):
    """(B, 3, H, W) → (B, N, 3 P P)"""
    B, C, H, W = image.shape
    x = image.reshape(B, C, H // P, P, W // P, P)
    x = x.permute(0, 2, 4, 1, 3, 5)  # (B, H / P, W / P, C, P, P)
    return x.reshape(B, (H // P) * (W // P), C * P * P)


# %% wrong A reshape alone cuts squares
def patches_of(image, P):
    B, C, H, W = image.shape
    return image.reshape(B, (H // P) * (W // P), C * P * P)


# %% wrong Columns of patches come before rows
def patches_of(image, P):
    B, C, H, W = image.shape
    x = image.reshape(B, C, H // P, P, W // P, P).permute(0, 4, 2, 1, 3, 5)
    return x.reshape(B, (H // P) * (W // P), C * P * P)


# %% wrong The colours of a pixel stay together
def patches_of(image, P):
    B, C, H, W = image.shape
    x = image.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(B, (H // P) * (W // P), C * P * P)


# %% check
with check("2.2.3", "Cut it yourself") as it:
    got = patches_of(photographs, 32)
    it.equal("the shape", got if got is ... else tuple(got.shape),
             (2, 49, 3072))
    expected = F.unfold(photographs, 32, stride=32).transpose(1, 2)
    it.true("the first patch", torch.equal(got[:, 0], expected[:, 0]),
            hint="Colours come first inside a patch, then rows, then "
                 "columns.")
    it.true("all patches", torch.equal(got, expected),
            hint="The two axes that number the patches belong together, and "
                 "so do the three inside a patch.")
    conv = nn.Conv2d(3, 5, 32, stride=32)
    tokens = got @ conv.weight.flatten(1).T + conv.bias
    it.true("a strided convolution, with your patches",
            torch.allclose(tokens,
                           conv(photographs).flatten(2).transpose(1, 2),
                           atol=1e-4))

# %% hint
# Split each of the axes H and W in two: H is (H / P) rows of patches times P rows of pixels. That makes six axes. Put those
# which number the patches in front, and then merge three and two of them.

# %% remark
# `reshape` and `permute` are all that a vision transformer has to do with pictures as such; from here on it could be reading
# anything. And the last line shows again that "cut, flatten, multiply" and "convolve with stride P" are one operation.

# %% exercise 2.2.4 core Move a photograph
# MobileNetV2 has a total stride of 32 pixels and makes 49 tokens of a photograph, row by row. `borderless` is MobileNetV2 without a border:
# a picture goes on at its opposite side, in every layer. The photograph moves to the right by some pixels; what leaves it at the right comes
# back at the left.
#
# Write `moved(tokens, pixels)`: from the tokens (B, 49, C) of the photograph as it was, make those of the moved photograph, *without* running
# the network again. Where the tokens of the photograph as it was do not tell, return `None`.

# %% shared
def borderless():
    """MobileNetV2 in which a picture goes on at its opposite side."""
    encoder = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
    encoder.model.config.tf_padding = False
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size[0] > 1:
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(
                lambda _, x: F.pad(x[0], (1, 1, 1, 1), mode="circular"))
    return encoder.eval()


# %% stub
def moved(tokens, pixels):
    """Tokens (B, 49, C), and a move to the right → tokens (B, 49, C)."""
    side = isqrt(tokens.shape[1])
    return ...


# %% solution
def moved(tokens, pixels):
    """Tokens (B, 49, C), and a move to the right → tokens (B, 49, C)."""
    if pixels % 32:
        return None
    side = isqrt(tokens.shape[1])
    grid = tokens.unflatten(1, (side, side))  # (B, row, column, C)
    return grid.roll(pixels // 32, 2).flatten(1, 2)


# %% wrong A sequence of tokens moves as a whole
def moved(tokens, pixels):
    return None if pixels % 32 else tokens.roll(pixels // 32, 1)


# %% wrong A convolution follows every move, if one rounds
def moved(tokens, pixels):
    grid = tokens.unflatten(1, (7, 7))
    return grid.roll(round(pixels / 32), 2).flatten(1, 2)


# %% wrong The first axis of a map is the horizontal one
def moved(tokens, pixels):
    if pixels % 32:
        return None
    return tokens.unflatten(1, (7, 7)).roll(pixels // 32, 1).flatten(1, 2)


# %% wrong Equivariance means that nothing changes
def moved(tokens, pixels):
    return tokens


# %% check
network = borderless()
with torch.no_grad(), check("2.2.4", "Move a photograph") as it:
    tokens = network(photographs).values
    for pixels in (0, 32, 96):
        got = moved(tokens, pixels)
        it.true(f"{pixels} pixels",
                got if got is ... else got is not None and torch.allclose(
                    got, network(photographs.roll(pixels, -1)).values,
                    atol=1e-2),
                hint="Rows are moved within themselves: what leaves a row at "
                     "its end comes back at its beginning.")
    for pixels in (1, 16, 40):
        got = moved(tokens, pixels)
        it.true(f"{pixels} pixels: the tokens do not tell",
                got if got is ... else got is None,
                hint="Is there a place of the map to which it could go?")

# %% hint
# Give the tokens their two axes back, row and column, before you move them. A move of 32 pixels is one place; how many is a move of 16?

# %% remark
# For whole strides one need not encode again: move the tokens. For every other move one must, because the network samples other places of its
# inner maps. With a border even whole strides are not exact, because the frame of zeros does not move along.

# %% exercise 2.2.5 core Catch the trap
# A colleague evaluates with the following function. The results are odd, and each test also changes the *model*.
# Write `careful(model, image)`: it returns the logits that the model gives in use, whatever mode it was in, and leaves its
# mode and all its weights and statistics as they were.
#
# ```python
# def careless(model, image):
#     return model.train()(image)
# ```

# %% stub
def careful(model, image):
    """Logits as in use; the model is afterwards as it was."""
    mode = model.training
    logits = ...
    return logits


# %% solution
def careful(model, image):
    """Logits as in use; the model is afterwards as it was."""
    mode = model.training
    model.eval()
    with torch.no_grad():
        logits = model(image)
    model.train(mode)
    return logits


# %% wrong Without gradients a model is as in use
def careful(model, image):
    with torch.no_grad():
        return model(image)


# %% wrong After a test a model goes back to training
def careful(model, image):
    model.eval()
    with torch.no_grad():
        logits = model(image)
    model.train()
    return logits


# %% wrong Eval mode switches the gradients off
def careful(model, image):
    mode = model.training
    logits = model.eval()(image)
    model.train(mode)
    return logits


# %% check
def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = ConvImageEncoder(16, 48, channels=(8,))
        self.head = nn.Linear(16, 3)

    def forward(self, image):
        return self.head(self.encoder(image).pooled())


torch.manual_seed(0)
model = Small()
model(images)  # some statistics
before = state_of(model)

with check("2.2.5", "Catch the trap") as it:
    for mode in (True, False):
        model.train(mode)
        alone, among = careful(model, images[:1]), careful(model, images)
        name = "train" if mode else "eval"
        it.equal(f"{name}: three logits",
                 alone if alone is ... else tuple(alone.shape), (1, 3))
        it.true(f"{name}: the rest of the batch doesn't matter",
                torch.allclose(alone[0], among[0], atol=1e-5),
                hint="In which mode does batch norm use the collected "
                     "statistics?")
        it.equal(f"{name}: the mode is as before", model.training, mode)
        it.true(f"{name}: no gradient is kept", not among.requires_grad)
    after = model.state_dict()
    it.true("weights and statistics are as before",
            all(torch.equal(before[name], after[name]) for name in before),
            hint="A forward pass in training mode moves the statistics.")

# %% hint
# `model.eval()` switches the mode, and `model.training` tells which one it is in. Note it first, and put it back at the end.

# %% remark
# A test must not change what it tests. In training mode even a forward pass under `no_grad` does: batch norm collects the mean and the
# variance of every batch that it reads.

# %% [markdown]
# The next cell is for the last exercise only: the chapter's pictures of pairs, its classifier and its training.

# %% shared
CENTRES = [(0.25, 0.5), (0.75, 0.5), (0.5, 0.25), (0.5, 0.75)]


def pairs(count, seed, columns=(0, 8, 16)):
    """Pictures (B, 3, 32, 32) of a pair; where is the red object?"""
    rng, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    labels = [rng.randrange(4) for _ in range(count)]
    scenes = []
    for x, y in (CENTRES[label] for label in labels):
        one, two = rng.choice(SHAPES), rng.choice(SHAPES)
        scenes.append(Scene((Thing(one, "red", "big", x, y),
                             Thing(two, "blue", "big", 1 - x, 1 - y))))
    images = torch.full((count, 3, 32, 32), 0.93)
    for image, pair in zip(images, render(scenes, 16, noise=0)):
        left, top = rng.choice(columns), rng.choice((0, 8, 16))
        image[:, top:top + 16, left:left + 16] = pair
    images += 0.02 * torch.randn(count, 1, 32, 32, generator=noise)
    return images.clamp(0, 1), torch.tensor(labels)


class Classifier(nn.Module):
    """An encoder, the mean of its tokens, a linear layer."""

    def __init__(self, encoder, classes=4):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, classes)

    def forward(self, image):
        return self.head(self.encoder(image).pooled())


def train(model, data, steps=300):
    images, labels = data
    wanted = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(wanted, 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, steps, pct_start=0.2)
    for _ in range(steps):
        i = torch.randint(len(images), (32,))
        loss = F.cross_entropy(model(images[i]), labels[i])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model, data):
    return (model(data[0]).argmax(-1) == data[1]).float().mean().item()


# %% exercise 2.2.6 open Both in one
# A vision transformer that was trained on the left half knows only half of the answer in the right half. In the chapter, shifted
# pictures cured it. Cure it *without* showing anything in the right half: change the encoder. `patches()` returns
# the module that takes the place of the patch embedding: it reads (B, 3, 32, 32) and gives (B, 48, 4, 4). With `keep_positions = False` the
# positions stay zero. The check trains for 300 steps on the left half. It wants 0.9 in the left half and 0.8 in the right.
#
# Then go on by yourself: how large must a window be? What do you lose if you switch the positions off altogether? Is it still a
# vision transformer?

# %% stub
keep_positions = ...  # True or False


def patches():
    """A module: (B, 3, 32, 32) → (B, 48, 4, 4)."""
    return ...


# %% solution
keep_positions = False


def patches():
    """A module: (B, 3, 32, 32) → (B, 48, 4, 4)."""
    return nn.Sequential(nn.Conv2d(3, 32, 8, stride=8), nn.GELU(),
                         nn.Conv2d(32, 48, 3, padding=1))


# %% wrong Positions alone cause the trouble
keep_positions = False


def patches():
    return nn.Conv2d(3, 48, 8, stride=8)


# %% wrong A second layer is enough, whatever it reads
keep_positions = False


def patches():
    return nn.Sequential(nn.Conv2d(3, 32, 8, stride=8), nn.GELU(),
                         nn.Conv2d(32, 48, 1))


# %% wrong Positions that were trained at the left hold at the right
keep_positions = True


def patches():
    return nn.Conv2d(3, 48, 8, stride=8)


# %% check
with check("2.2.6", "Both in one") as it:
    torch.manual_seed(0)
    module, keep = patches(), keep_positions
    it.equal("4 × 4 patches of width 48", module if module is ... else
             tuple(module(torch.rand(2, 3, 32, 32)).shape), (2, 48, 4, 4))
    it.true("positions or not", keep if keep is ... else keep in (True, False))
    encoder = PatchImageEncoder(48, 2, 4, size=32, hidden=96)
    encoder.patches = module
    if not keep:
        nn.init.zeros_(encoder.position).requires_grad_(False)
    model = train(Classifier(encoder), pairs(1000, 2, columns=(0,)))
    known = accuracy(model, pairs(300, 3, columns=(0,)))
    new = accuracy(model, pairs(300, 4, columns=(16,)))
    it.true("0.9 in the left half", known >= 0.9,
            hint="One window should be able to read both objects.")
    it.true("0.8 in the right half, never shown", new >= 0.8,
            hint="What is learned in a window holds everywhere; what is "
                 "learned in a position holds there only.")

# %% hint
# The order of two objects is hidden as long as no window reads both of them. Patches may overlap: a convolution with a larger kernel than
# stride, or a second convolution over the map of patches. And a position that isn't there can't be learned.

# %% remark
# A few convolutions in front of a transformer are called a *convolutional stem* (卷积主干). It brings the bias of the CNN along, and leaves the
# far connections to attention; it also makes training steadier ([Xiao et al. 2021](https://arxiv.org/abs/2106.14881)). Without positions, only
# the zeros at the border of the second convolution can still tell "in which half?". What you build in helps if it is true of the task.
