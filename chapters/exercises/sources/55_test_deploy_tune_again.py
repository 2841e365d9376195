# %% [markdown]
# # Exercises 5.5 Test, deploy, tune again
#
# To the chapter: [5.5 Test, deploy, tune again](../5-practice/55_test_deploy_tune_again.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right.

# %% shared
import io
import math

import torch
from PIL import Image

from mmbook.notebook.exercises import check
from mmbook.samples import photographs
from mmbook.service.answering import Captioner
from mmbook.service.quantised import QuantisedLinear, size_of
from mmbook.studies import interval

torch.set_num_threads(1)

# %% exercise 5.5.1 warm-up How many bytes?
# A linear layer of `rows` × `columns` weights without a bias is stored with `bits` bits a weight. Each group of
# `group` neighbours in a row has a scale of four bytes. Write the number of bytes.

# %% stub
def bytes_of(rows, columns, bits, group):
    """Bytes of a quantised linear layer, its scales included."""
    return ...


# %% solution
def bytes_of(rows, columns, bits, group):
    """Bytes of a quantised linear layer, its scales included."""
    return rows * columns * bits // 8 + rows * (columns // group) * 4


# %% wrong The scales cost nothing
def bytes_of(rows, columns, bits, group):
    """Bytes of a quantised linear layer, its scales included."""
    return rows * columns * bits // 8


# %% wrong Each row has one scale, whatever the group
def bytes_of(rows, columns, bits, group):
    """Bytes of a quantised linear layer, its scales included."""
    return rows * columns * bits // 8 + rows * 4


# %% wrong Four bits are four bytes
def bytes_of(rows, columns, bits, group):
    """Bytes of a quantised linear layer, its scales included."""
    return rows * columns * bits + rows * (columns // group) * 4

# %% check
with check("5.5.1", "How many bytes?") as it:
    it.equal("8 bits, one scale a row", bytes_of(96, 96, 8, 96), 9600)
    layer = torch.nn.Linear(96, 64, bias=False)
    for bits, group in ((8, 96), (4, 96), (4, 32)):
        it.equal(f"{bits} bits, groups of {group}, as the package stores it",
                 bytes_of(64, 96, bits, group),
                 size_of(QuantisedLinear(layer, bits, group)),
                 hint="How many groups are in a row?")
    it.close("bits a weight, 4 bits in groups of 32",
             bytes_of(4096, 4096, 4, 32) * 8 / 4096**2, 5.0)

# %% hint
# Each row has `columns // group` groups, and each of them has a scale of 32 bits.

# %% remark
# "Four bits" are five bits a weight if 32 weights share a scale of 32 bits. Formats in use store the scales in 16 bits
# or quantise them once more.

# %% exercise 5.5.2 core Round and read back
# Write equation (1) of the chapter: quantise the rows of a matrix with `bits` bits, symmetric, one scale for each row,
# and give back the weights that such a layer computes with. No row is all zeros.

# %% stub
def read_back(w, bits):
    """Weights (rows, columns), rounded to a few levels in each row."""
    return ...


# %% solution
def read_back(w, bits):
    """Weights (rows, columns), rounded to a few levels in each row."""
    scale = w.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    return (w / scale).round() * scale


# %% wrong One scale serves the whole matrix
def read_back(w, bits):
    """Weights (rows, columns), rounded to a few levels in each row."""
    scale = w.abs().max() / (2 ** (bits - 1) - 1)
    return (w / scale).round() * scale


# %% wrong Digits behind the point are cut off
def read_back(w, bits):
    """Weights (rows, columns), rounded to a few levels in each row."""
    scale = w.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    return (w / scale).trunc() * scale


# %% wrong All levels of b bits are on the positive side
def read_back(w, bits):
    """Weights (rows, columns), rounded to a few levels in each row."""
    scale = w.abs().amax(1, keepdim=True) / (2 ** bits - 1)
    return (w / scale).round() * scale

# %% check
with check("5.5.2", "Round and read back") as it:
    w = torch.tensor([[1.0, -0.4, 0.1], [70.0, 10.4, -33.0]])
    found = read_back(w, 4)
    it.equal("the shape", None if found is ... else tuple(found.shape), (2, 3))
    it.close("the largest weight of a row stays", found[0, 0], 1.0)
    it.close("4 bits have steps of 1/7 of it", found[0, 1], -3 / 7,
             hint="b bits, one of them for the sign: 2^(b−1) − 1 levels above 0.")
    it.close("another row has another scale", found[1, 1], 10.0)
    head = Captioner.from_folder("mmbook/scene-captioner").head
    weight = next(m.weight.detach() for m in head.modules()
                  if type(m) is torch.nn.Linear)
    for bits in (8, 4):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data.copy_(weight)
        theirs = QuantisedLinear(layer, bits).weight
        it.true(f"a layer of the captioner, {bits} bits, as the package does it",
                torch.allclose(read_back(weight, bits), theirs, atol=1e-6))

# %% hint
# `w.abs().amax(1, keepdim=True)` is the largest weight of each row, with a shape that divides `w`.

# %% remark
# The error of a weight is at most half a step. What it does to the answers has to be measured: a small error of each
# weight can be a large error of a sum, or none.

# %% exercise 5.5.3 core What has come while the model was busy
# Requests come at the times `arrivals` (rising, in seconds). The model needs `seconds` for a batch, however many are in
# it, and takes at most `size`. Whenever it is free, it takes all that have come by then; if there is none, it waits for
# the next one and takes it at once, alone or with those of the same moment. Give the sizes of the batches.

# %% stub
def batch_sizes(arrivals, seconds, size):
    """The sizes of the batches, in order."""
    return ...


# %% solution
def batch_sizes(arrivals, seconds, size):
    """The sizes of the batches, in order."""
    sizes, first, free = [], 0, 0.0
    while first < len(arrivals):
        start = max(free, arrivals[first])
        there = sum(time <= start for time in arrivals[first:])
        sizes.append(min(there, size))
        first, free = first + sizes[-1], start + seconds
    return sizes


# %% wrong A batch waits until it is full
def batch_sizes(arrivals, seconds, size):
    """The sizes of the batches, in order."""
    return [len(arrivals[i:i + size]) for i in range(0, len(arrivals), size)]


# %% wrong Each request is a batch of its own
def batch_sizes(arrivals, seconds, size):
    """The sizes of the batches, in order."""
    return [1 for _ in arrivals]


# %% wrong The queue is taken whole, however long it is
def batch_sizes(arrivals, seconds, size):
    """The sizes of the batches, in order."""
    sizes, first, free = [], 0, 0.0
    while first < len(arrivals):
        start = max(free, arrivals[first])
        sizes.append(sum(time <= start for time in arrivals[first:]))
        first, free = first + sizes[-1], start + seconds
    return sizes

# %% check
with check("5.5.3", "What has come while the model was busy") as it:
    it.equal("slow requests are answered alone",
             batch_sizes([0, 1, 2], 0.1, 16), [1, 1, 1])
    it.equal("a crowd is answered together",
             batch_sizes([0, 0.01, 0.02, 0.03], 0.1, 16), [1, 3])
    it.equal("at most the size of a batch",
             batch_sizes([0.0] * 50, 0.1, 16), [16, 16, 16, 2])
    steady = [0.01 * n for n in range(100)]
    it.equal("a hundred a second, ten batches a second: at most ten in each",
             max(batch_sizes(steady, 0.1, 16)), 10,
             hint="Count those that came until the model became free.")

# %% hint
# Keep the time at which the model becomes free. A batch starts at that time or when the next request comes, whichever
# is later.

# %% remark
# The size of a batch adapts by itself: a slow model meets longer queues, takes larger batches, and becomes faster per
# request. Beyond the largest batch this ends, and the queue grows; then the service has to refuse.

# %% exercise 5.5.4 core The threshold of an alarm
# You have the statistic of many quiet groups, in which nothing has changed. Set the threshold so that about `share` of
# quiet groups ring. A group rings if its statistic is above the threshold. Assume nothing about its distribution.

# %% stub
def threshold(quiet, share):
    """The value that this share of the quiet statistics (n,) exceeds."""
    return ...


# %% solution
def threshold(quiet, share):
    """The value that this share of the quiet statistics (n,) exceeds."""
    return quiet.quantile(1 - share)


# %% wrong Two standard deviations above the mean
def threshold(quiet, share):
    """The value that this share of the quiet statistics (n,) exceeds."""
    return quiet.mean() + 2 * quiet.std()


# %% wrong The largest quiet value: then nothing ever rings by mistake
def threshold(quiet, share):
    """The value that this share of the quiet statistics (n,) exceeds."""
    return quiet.max()


# %% wrong The lower end
def threshold(quiet, share):
    """The value that this share of the quiet statistics (n,) exceeds."""
    return quiet.quantile(share)

# %% check
with check("5.5.4", "The threshold of an alarm") as it:
    dice = torch.Generator().manual_seed(1)
    draws = torch.randn(10, 60_000, generator=dice)
    quiet = draws.square().sum(0)  # chi-squared with ten degrees
    past, fresh = quiet[:30_000], quiet[30_000:]
    for share in (0.01, 0.1):
        limit = threshold(past, share)
        rings = (None if limit is ... else
                 (fresh > limit).float().mean().item())
        it.close(f"{share:.0%} of fresh quiet groups ring", rings, share,
                 within=0.2 * share,
                 hint="Sort the quiet values: how many may lie above?")
    heavy = past.exp().clamp(max=1e30)  # another distribution, same rule
    limit = threshold(heavy, 0.05)
    it.close("of any distribution", None if limit is ... else
             (heavy > limit).float().mean().item(), 0.05, within=0.005)

# %% hint
# `Tensor.quantile(p)` is the value below which the share `p` lies.

# %% remark
# The values that set the threshold cannot tell how often it rings by mistake, because they were used: measure it on
# other quiet groups. And with a hundred groups a day, one false alarm in a hundred is one every day.

# %% exercise 5.5.5 predict Who serves?
# A camera has changed, and nine of the labels are held out. The new version is right in four of these pictures where the
# old one was wrong, and loses none. Of 300 held-out pictures of the old kind it loses two and wins none. The new version
# serves if the 95 % interval of the paired difference, new − old, is above zero.
#
# Predict the mean difference over all 309 pictures, in percentage points. Does the new version serve, if all 309 judge
# together? And if only the nine new ones judge?

# %% stub
points_together = ...
serves_together = ...  # True or False
serves_by_labels = ...  # True or False

# %% solution
points_together = 100 * (4 - 2) / 309
serves_together = False
serves_by_labels = True

# %% wrong Four gained and two lost: the mean decides
points_together = 100 * (4 - 2) / 309
serves_together = True
serves_by_labels = True

# %% wrong Nine pictures can never prove anything
points_together = 100 * (4 - 2) / 309
serves_together = False
serves_by_labels = False

# %% wrong The means of both kinds are averaged
points_together = 100 * (4 / 9 - 2 / 300) / 2
serves_together = False
serves_by_labels = True

# %% check
labels = [1.0] * 4 + [0.0] * 5
replay = [-1.0] * 2 + [0.0] * 298
together, alone = interval(labels + replay), interval(labels)
print(f"together {together}, labels alone {alone}")
with check("5.5.5", "Who serves?") as it:
    it.close("points, together", points_together, 100 * together.mean,
             within=0.05)
    it.equal("all together", serves_together, together.low > 0)
    it.equal("the nine labels", serves_by_labels, alone.low > 0,
             hint="Four of nine improve, and none becomes worse.")

# %% hint
# The differences are 1, −1 or 0. Those of 0 pull the mean towards zero, and they make the interval narrower, but not as
# fast.

# %% remark
# Both answers are defensible, and they protect against different things: together, against forgetting; alone, against a
# gate that never opens. The service judges together. Another rule would be two gates: better on the labels, and not
# worse on the replay.

# %% exercise 5.5.6 open A small file, a huge picture
# A service may decode pictures of at most `most` pixels. Write `allowed(data, most)`: True if the file in `data` (bytes)
# is a picture that may be decoded. `Image.open` reads only the header and gives the `size`; the pixels are decoded later.
# Bytes that are no picture are not allowed.

# %% stub
def allowed(data, most):
    """May this file be decoded?"""
    return ...


# %% solution
def allowed(data, most):
    """May this file be decoded?"""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return math.prod(image.size) <= most
    except OSError:
        return False


# %% wrong A small file is a small picture
def allowed(data, most):
    """May this file be decoded?"""
    try:
        Image.open(io.BytesIO(data)).close()
    except OSError:
        return False
    return len(data) <= most


# %% wrong Neither side is too long
def allowed(data, most):
    """May this file be decoded?"""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return max(image.size) <= most**0.5
    except OSError:
        return False


# %% wrong Whatever can be opened can be decoded
def allowed(data, most):
    """May this file be decoded?"""
    try:
        Image.open(io.BytesIO(data)).close()
    except OSError:
        return False
    return True

# %% check
def file_of(wide, high, mode="1"):
    """A picture of one colour, as PNG."""
    written = io.BytesIO()
    Image.new(mode, (wide, high)).save(written, "PNG")
    return written.getvalue()


with check("5.5.6", "A small file, a huge picture") as it:
    photograph = photographs().files[24].read_bytes()
    it.equal("a real photograph", allowed(photograph, 1_000_000), True)
    bomb = file_of(6000, 6000)
    it.true("the bomb is smaller than the photograph",
            len(bomb) < len(photograph))
    it.equal("the bomb", allowed(bomb, 1_000_000), False,
             hint="What counts is width times height.")
    it.equal("a long strip of few pixels",
             allowed(file_of(20_000, 20), 1_000_000), True)
    it.equal("no picture", allowed(b"GIF89a, or so it says", 10), False)

# %% hint
# `PIL.UnidentifiedImageError` is an `OSError`.

# %% remark
# Read the size before you decode, never after: to decode is what the bomb waits for. A header can lie, too; so a
# decoder must also stop when more comes than was announced, and the time must be limited.
