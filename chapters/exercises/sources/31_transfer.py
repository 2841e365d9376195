# %% [markdown]
# # Exercises 3.1 Fine-tuning as transfer
#
# To the chapter: [3.1 Fine-tuning as transfer](../3-fine-tuning/31_transfer.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. The last two checks train something; that
# takes some seconds.

# %% shared
import math

import torch
from torch import nn
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder
from mmbook.finetuning import freeze
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel
from mmbook.notebook.exercises import check
from mmbook.pretrained import PretrainedImageEncoder, keep_features
from mmbook.samples import photographs
from mmbook.saving import Configured
from mmbook.training import TrainingConfig, fit, linear_probe
from mmbook.world import render, sample_scenes

torch.set_num_threads(1)


def encoder():
    """The book's pre-trained image encoder."""
    return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")


# %% exercise 3.1.1 warm-up Said minus true
# Two losses for a whole batch, each a mean: the cross-entropy of scores (B, K) with class numbers (B,), and half the squared error of numbers (B,) with
# numbers (B,). Write down their *gradients* with respect to what the model said, without calling autograd.

# %% stub
def gradient_of_names(scores, truth):
    """d (mean cross-entropy) / d scores: (B, K)."""
    return ...


def gradient_of_numbers(said, truth):
    """d (mean of (said - truth)² / 2) / d said: (B,)."""
    return ...

# %% solution
def gradient_of_names(scores, truth):
    """d (mean cross-entropy) / d scores: (B, K)."""
    true = F.one_hot(truth, scores.shape[1])
    return (scores.softmax(-1) - true) / len(scores)


def gradient_of_numbers(said, truth):
    """d (mean of (said - truth)² / 2) / d said: (B,)."""
    return (said - truth) / len(said)

# %% wrong The mean over the batch is forgotten
def gradient_of_names(scores, truth):
    return scores.softmax(-1) - F.one_hot(truth, scores.shape[1])


def gradient_of_numbers(said, truth):
    return said - truth

# %% wrong The sign is that of the step, not of the gradient
def gradient_of_names(scores, truth):
    true = F.one_hot(truth, scores.shape[1])
    return (true - scores.softmax(-1)) / len(scores)


def gradient_of_numbers(said, truth):
    return (truth - said) / len(said)

# %% wrong Only the score of the true class has a gradient
def gradient_of_names(scores, truth):
    true = F.one_hot(truth, scores.shape[1])
    return true * (scores.softmax(-1) - 1) / len(scores)


def gradient_of_numbers(said, truth):
    return (said - truth) / len(said)

# %% check
torch.manual_seed(0)
scores = torch.randn(6, 4, requires_grad=True)
classes = torch.randint(4, (6,))
numbers = torch.randn(6, requires_grad=True)
truth = torch.randn(6)

with check("3.1.1", "Said minus true") as it:
    F.cross_entropy(scores, classes).backward()
    ((numbers - truth) ** 2 / 2).mean().backward()
    got = gradient_of_names(scores.detach(), classes)
    it.true("names", got if got is ... else
            torch.allclose(got, scores.grad, atol=1e-6),
            hint="The mean over B divides each row.")
    got = gradient_of_numbers(numbers.detach(), truth)
    it.true("numbers", got if got is ... else
            torch.allclose(got, numbers.grad, atol=1e-6))

# %% hint
# Equations (4) and (5) of the chapter are for one example. What does the mean over the batch do to a derivative?

# %% remark
# Each row of the first gradient sums to zero: to raise one score and to lower all others are the same for a softmax. And both gradients
# are zero where the model says what is true, which for names is never quite the case.

# %% exercise 3.1.2 predict The best constant
# A lazy model says the same for every picture. Which constant has the lowest loss?
#
# - Ten labels: 7 × red, 2 × blue, 1 × green. The model may choose the probability of red. Loss: cross-entropy.
# - Four numbers: 0, 0, 0, 8. Loss: squared error.
# - The same four numbers, with the *absolute* error $|y - \hat y|$.

# %% stub
probability_of_red = ...
best_for_squares = ...
best_for_absolute = ...

# %% solution
probability_of_red = 0.7
best_for_squares = 2.0
best_for_absolute = 0.0

# %% wrong The most frequent answer gets all the probability
probability_of_red = 1.0
best_for_squares = 0.0
best_for_absolute = 0.0

# %% wrong The mean is best for both errors
probability_of_red = 0.7
best_for_squares = 2.0
best_for_absolute = 2.0

# %% wrong The median is best for both errors
probability_of_red = 0.7
best_for_squares = 0.0
best_for_absolute = 0.0

# %% check
with check("3.1.2", "The best constant") as it:
    it.close("the probability of red", probability_of_red, 0.7,
             hint="Set the mean of (4) over the ten labels to zero.")
    it.close("squared error", best_for_squares, 2.0,
             hint="Set the sum of (5) over the four numbers to zero.")
    it.close("absolute error", best_for_absolute, 0.0,
             hint="Move the constant up a little: how many get worse?")

# %% hint
# At the best constant the gradient is zero. The gradient is "said minus true", added up over all labels.

# %% remark
# Shares, mean, median. Absolute error is maximum likelihood, too, for errors that are larger now and then than a normal distribution allows (Laplace's
# distribution). One outlier moves the mean by a quarter of its distance, and the median not at all.

# %% exercise 3.1.3 core When does it pay?
# A pre-training costs `pretraining`, one fine-tuning costs `tuning`, and one training from scratch costs `scratch`, all in the same unit. Write the
# *smallest whole number of tasks* with which pre-training and all fine-tunings together cost less than all trainings from scratch. If that never happens,
# return `math.inf`.

# %% stub
def tasks_until_it_pays(pretraining, tuning, scratch):
    return ...

# %% solution
def tasks_until_it_pays(pretraining, tuning, scratch):
    if scratch <= tuning:
        return math.inf
    return math.floor(pretraining / (scratch - tuning)) + 1

# %% wrong The quotient, rounded up
def tasks_until_it_pays(pretraining, tuning, scratch):
    if scratch <= tuning:
        return math.inf
    return math.ceil(pretraining / (scratch - tuning))

# %% wrong The fine-tunings cost nothing
def tasks_until_it_pays(pretraining, tuning, scratch):
    if scratch <= tuning:
        return math.inf
    return math.floor(pretraining / scratch) + 1

# %% wrong It always pays at some time
def tasks_until_it_pays(pretraining, tuning, scratch):
    saved = max(scratch - tuning, 1)
    return math.floor(pretraining / saved) + 1

# %% check
with check("3.1.3", "When does it pay?") as it:
    it.equal("100 + m < 3 m", tasks_until_it_pays(100, 1, 3), 51,
             hint="With 50 tasks both cost the same.")
    it.equal("a fraction", tasks_until_it_pays(10, 1, 5), 3)
    it.equal("frozen, kept features", tasks_until_it_pays(100, 0, 40), 3)
    it.equal("never", tasks_until_it_pays(100, 3, 3), math.inf)

# %% hint
# Solve equation (6) for m. "Less" is meant strictly: what does a whole quotient mean?

# %% remark
# The formula compares costs of the *same* result. In the chapter from scratch never came to the same result with 300 labels; then
# labels have a price too, and belong on both sides.

# %% shared
INDOORS = {0, 2, 3, 5, 6, 10, 13, 14, 16, 18, 19, 25, 26, 27, 29, 30, 36,
           39, 40}


def right_indoors(network):
    """Indoors or not: a linear layer on 20 photographs, 22 are the test."""
    photos = photographs(224)
    pixels = [photos.pixels(n) for n in range(42)]
    seen = keep_features(network, pixels).float().mean(1)
    labels = torch.tensor([n in INDOORS for n in range(42)]).long()
    found = []
    for draw in range(10):
        order = torch.randperm(42, generator=torch.manual_seed(draw))
        layer = linear_probe(seen[order[:20]], labels[order[:20]], 2)
        said = layer(seen[order[20:]]).argmax(1)
        found.append((said == labels[order[20:]]).float().mean().item())
    return sum(found) / len(found)


# %% exercise 3.1.4 core Same numbers, no knowledge
# Write the control of the chapter: a *copy* of a module in which the numbers of each tensor of its `state_dict` are shuffled within this tensor. The
# module itself must stay as it is. The check also shuffles MobileNetV2 and asks both versions whether the book's photographs were taken indoors.

# %% stub
def without_knowledge(module):
    return ...

# %% solution
@torch.no_grad()
def without_knowledge(module):
    import copy

    other = copy.deepcopy(module)
    for tensor in other.state_dict().values():
        order = torch.randperm(tensor.numel())
        tensor.copy_(tensor.flatten()[order].view_as(tensor))
    return other

# %% wrong The module itself is shuffled
@torch.no_grad()
def without_knowledge(module):
    for tensor in module.state_dict().values():
        order = torch.randperm(tensor.numel())
        tensor.copy_(tensor.flatten()[order].view_as(tensor))
    return module

# %% wrong New random numbers of the same mean and spread
@torch.no_grad()
def without_knowledge(module):
    import copy

    other = copy.deepcopy(module)
    for tensor in other.state_dict().values():
        if tensor.is_floating_point() and tensor.numel() > 1:
            tensor.normal_(tensor.mean(), tensor.std())
    return other

# %% wrong Whole rows are exchanged
@torch.no_grad()
def without_knowledge(module):
    import copy

    other = copy.deepcopy(module)
    for tensor in other.state_dict().values():
        if tensor.ndim:
            tensor.copy_(tensor[torch.randperm(len(tensor))])
    return other

# %% check
with check("3.1.4", "Same numbers, no knowledge") as it:
    module, before = encoder(), encoder().state_dict()
    other = without_knowledge(module)
    it.true("it gives back a module", other)
    after = other.state_dict()
    it.true("the module is as it was", all(
        torch.equal(v, before[k]) for k, v in module.state_dict().items()),
        hint="deepcopy first; state_dict shares memory with the module.")
    it.true("the same numbers in each tensor", all(
        torch.equal(v.flatten().sort()[0], before[k].flatten().sort()[0])
        for k, v in after.items()))
    large = [k for k, v in before.items() if v.numel() > 500]
    it.true("in another order", all(
        not torch.equal(after[k], before[k]) for k in large))
    it.true("not only whole rows", not torch.equal(
        after[large[-1]].flatten(1).sum(1).sort()[0],
        before[large[-1]].flatten(1).sum(1).sort()[0]),
        hint="Shuffle single numbers: flatten the tensor.")
    mobile = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
    knows = right_indoors(mobile)
    left = right_indoors(without_knowledge(mobile))
    it.true("the shuffled MobileNetV2 knows less of real photographs",
            left < knows - 0.15, hint=f"{knows:.2f} before, {left:.2f} now.")

# %% hint
# `torch.randperm(n)` is an order of n numbers. A flat view can be indexed with it, and brought back into shape.

# %% remark
# There are milder controls. Shuffle whole filters, and each filter stays what it was, but the next layer no longer knows which is which. Draw
# new numbers with the same mean and spread, and the extremes are gone. Each asks another question about what was transferred.

# %% exercise 3.1.5 core Is it really frozen?
# Somebody froze an encoder with `requires_grad_(False)`, trained a head on it, and found that the encoder's answers had changed all the same.
# Write `with_frozen_encoder`: a model of the pre-trained encoder and a head for 48 classes, in which the encoder gives after a training exactly what it gave before.
# And which tensors had changed in the accident? `"weights"`, `"batch norm"` (its running means and variances) or `"positions"`.

# %% stub
class PictureHead(ClassificationHead):
    """A linear head for models without fusion."""

    def forward(self, tokens, labels=None, items=None):
        return super().forward(tokens["image"], labels, items)


def with_frozen_encoder():
    return ...


changed = ...

# %% solution
class PictureHead(ClassificationHead):
    """A linear head for models without fusion."""

    def forward(self, tokens, labels=None, items=None):
        return super().forward(tokens["image"], labels, items)


def with_frozen_encoder():
    frozen = freeze(encoder())
    return MultimodalModel({"image": frozen}, None, PictureHead(96, 48))


changed = "batch norm"

# %% wrong No gradient is enough
class PictureHead(ClassificationHead):
    def forward(self, tokens, labels=None, items=None):
        return super().forward(tokens["image"], labels, items)


def with_frozen_encoder():
    frozen = encoder().requires_grad_(False)
    return MultimodalModel({"image": frozen}, None, PictureHead(96, 48))


changed = "batch norm"

# %% wrong eval() once is enough
class PictureHead(ClassificationHead):
    def forward(self, tokens, labels=None, items=None):
        return super().forward(tokens["image"], labels, items)


def with_frozen_encoder():
    frozen = encoder().requires_grad_(False).eval()
    return MultimodalModel({"image": frozen}, None, PictureHead(96, 48))


changed = "batch norm"

# %% wrong The weights moved without a gradient
class PictureHead(ClassificationHead):
    def forward(self, tokens, labels=None, items=None):
        return super().forward(tokens["image"], labels, items)


def with_frozen_encoder():
    frozen = freeze(encoder())
    return MultimodalModel({"image": frozen}, None, PictureHead(96, 48))


changed = "weights"

# %% check
with check("3.1.5", "Is it really frozen?") as it:
    model = with_frozen_encoder()
    it.true("it makes a model", model)
    pictures = render(sample_scenes(64, seed=1, objects=(1,)), seed=1)
    items = [{"image": p, "labels": torch.tensor(i % 48)}
             for i, p in enumerate(pictures)]
    fit(model, items, TrainingConfig(steps=3, batch_size=16, compile=False,
                                     precision="no"))
    model.cpu()
    with torch.no_grad():
        same = torch.equal(model.encoders["image"](pictures).values,
                           encoder()(pictures).values)
    it.true("the encoder gives what it gave", same,
            hint="fit calls model.train(). Who listens?")
    it.true("the head has learned", any(
        p.requires_grad for p in model.head.parameters()))
    it.choice("what had changed", changed, "batch norm", {
        "weights": "They got no gradient, so no step could move them.",
        "batch norm": "Its statistics are no parameters; they move with "
                      "each batch in training mode.",
        "positions": "They are parameters, and got no gradient.",
    })

# %% hint
# `mmbook.finetuning` has a function for it. Read its text: what else does it do beside stopping the gradient?

# %% remark
# "Frozen" needs both: no gradient, and eval mode that lasts. With it, what the encoder says of a picture can be computed once and kept.

# %% exercise 3.1.6 open Bins for the head, squares for the loss
# In the chapter, bins and the number stood for two *losses*. But they also were two *heads*. Separate the two: let a head give 12 scores for 12 bins, turn
# them into probabilities, and say the *mean of the bins' middles* under these probabilities. That is a number again, and it is trained with the squared error.
#
# Write `said_by_bins`. The check trains it and the plain number on the same 300 labels.
#
# Then go on: how does it do with 40 labels, with 48 bins, and at places that were never shown? And with two right answers?

# %% stub
def said_by_bins(scores):
    """Scores (B, K) of K bins of [0, 1] → numbers (B, 1)."""
    return ...

# %% solution
def said_by_bins(scores):
    """Scores (B, K) of K bins of [0, 1] → numbers (B, 1)."""
    bins = scores.shape[1]
    middles = (torch.arange(bins) + 0.5) / bins
    return (scores.softmax(-1) * middles).sum(-1, keepdim=True)

# %% wrong The middle of the likeliest bin
def said_by_bins(scores):
    bins = scores.shape[1]
    middles = (torch.arange(bins) + 0.5) / bins
    return middles[scores.argmax(-1)][:, None] + 0 * scores[:, :1]

# %% wrong The left edges in place of the middles
def said_by_bins(scores):
    bins = scores.shape[1]
    edges = torch.arange(bins) / bins
    return (scores.softmax(-1) * edges).sum(-1, keepdim=True)

# %% wrong Scores are used as if they were probabilities
def said_by_bins(scores):
    bins = scores.shape[1]
    middles = (torch.arange(bins) + 0.5) / bins
    return (scores * middles).sum(-1, keepdim=True)

# %% check
class Where(Configured):
    """The head of the chapter, for tokens that were computed before."""

    def __init__(self, outputs):
        super().__init__()
        self.norm, self.score = nn.LayerNorm(96), nn.Linear(96, 1)
        self.say = nn.Linear(98, outputs)
        c = (torch.arange(6) + 0.5) / 6
        self.grid = torch.stack([c.repeat(6), c.repeat_interleave(6)], 1)

    def forward(self, values):
        v = self.norm(values)
        a = self.score(v).softmax(1)
        v = torch.cat([v, self.grid.expand(len(v), -1, -1)], -1)
        return self.say((a * v).sum(1))


@torch.no_grad()
def seen(count, seed):
    scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
    values = encoder()(render(scenes, seed=seed)).values
    return values, torch.tensor([[s.things[0].x] for s in scenes])


def error(outputs, decode, known, new):
    torch.manual_seed(0)
    head = Where(outputs)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for step in range(200):
        rows = torch.randint(len(known[1]), (64,))
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 200)
        loss = F.mse_loss(decode(head(known[0][rows])), known[1][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return 48 * (decode(head(new[0])) - new[1]).abs().mean().item()


with check("3.1.6", "Bins for the head, squares for the loss") as it:
    scores = torch.full((2, 4), -50.0)
    scores[0, 0], scores[1, 1], scores[1, 2] = 50.0, 50.0, 50.0
    got = said_by_bins(scores)
    it.true("the middle of one bin, and between two", got if got is ... else
            torch.allclose(got, torch.tensor([[0.125], [0.5]])),
            hint="Softmax, times the middles, summed; keep the last axis.")
    known, new = seen(300, 1), seen(300, 2)
    plain = error(1, lambda x: x, known, new)
    binned = error(12, said_by_bins, known, new)
    it.true("nearer to the truth than the plain number", binned < plain)

# %% hint
# The middle of bin k of K is (k + ½) / K, counted from zero. `keepdim=True` keeps the last axis.

# %% remark
# The bins were no bad idea; their *loss* was, for it forgot that bins have neighbours. As a head they help: a softmax over places can point, where a
# linear layer can only weigh. This is called soft-argmax; key points of faces and hands are often found so.
