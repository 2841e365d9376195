# %% [markdown]
# # Exercises 2.8 Cross-modal embedding
#
# To the chapter: [2.8 Cross-modal embedding](../2-concepts/28_cross_modal_embedding.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import base64
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from mmbook.heads import SharedSpaceHead
from mmbook.losses import contrastive
from mmbook.metrics import retrieval
from mmbook.models import MultimodalModel
from mmbook.notebook.exercises import check
from mmbook.saving import Configured
from mmbook.studies import load
from mmbook.tokens import Tokens
from mmbook.training import TrainingConfig, fit

torch.set_num_threads(1)


def unit(count, width=16, seed=0):
    """Random vectors of length one, (count, width)."""
    made = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, width, generator=made), dim=-1)


# %% [markdown]
# The next cell reads the real space of the chapter: 42 photographs, and two prompts for each of 25 names. `answers` says
# which name is right for 36 of the photographs.

# %% shared
study = load("real_shared_space")
kept = study.runs("linear, InfoNCE", "798 photographs")[0]["test"]
stored = kept["embeddings"]
values = torch.frombuffer(bytearray(base64.b64decode(stored["bytes"])),
                          dtype=torch.int8).float()
rows = F.normalize(values.view(stored["shape"]), dim=-1)
numbers = [n for each in kept["classes"].values() for n in each]
answers = torch.tensor([k for k, each in enumerate(kept["classes"].values())
                        for _ in each])  # (36,)
photo = rows[:42][numbers]  # (36, E)
prompts = rows[252:302].unflatten(0, (2, 25))  # template, name, E

# %% [markdown]
# The next cell is for the last exercise only: a toy world of three modalities, and its training.

# %% shared
class Some(Dataset):
    """Examples of one modality with text; whole batches."""

    def __init__(self, names, make):
        self.names, self.make = names, make

    def __len__(self):
        return 1000

    def __getitem__(self, number):
        name = self.names[number % len(self.names)]
        views = self.make(64, 1000 + number)
        return {key: views[key] for key in (name, "text")}


class Layer(Configured):
    """One vector in, one token out."""

    def __init__(self, width=8):
        super().__init__()
        self.layer = nn.Linear(width, 32)

    def forward(self, values, mask=None):
        return Tokens(self.layer(values)[:, None])


def experiment(tells_one, tells_two):
    """Train on one–text and two–text; three R@1 among 200."""
    made = torch.Generator().manual_seed(0)
    mix = {n: torch.randn(8, 8, generator=made) for n in ("one", "two", "text")}
    told = {"one": tells_one, "two": tells_two, "text": range(8)}

    def views(count, seed):
        facts = torch.randn(count, 8,
                            generator=torch.Generator().manual_seed(seed))
        return {n: torch.zeros_like(facts).index_copy(
            1, torch.tensor(list(t)), facts[:, list(t)]) @ mix[n]
            for n, t in told.items()}

    torch.manual_seed(0)
    model = MultimodalModel({n: Layer() for n in told}, None,
                            SharedSpaceHead({n: 32 for n in told}, 16))
    fit(model, Some(("one", "two"), views),
        TrainingConfig(steps=300, batch_size=1, learning_rate=1e-2,
                       compile=False), lambda items: items[0])
    with torch.no_grad():
        z = model.cpu()(**views(200, 5)).embeddings
    return [retrieval(z[a] @ z[b].T)["R@1"]
            for a, b in (("one", "text"), ("two", "text"), ("one", "two"))]


# %% exercise 2.8.1 warm-up Sure enough
# Two sentences compete for a picture. The cosines are 0.31 for the right one and 0.29 for the wrong
# one. At which temperature does the right one get the probability 0.9? Use a formula, not trial and
# error: for two answers, $p = 1 / (1 + e^{-(s_1 - s_2) / \tau})$.

# %% stub
tau = ...

# %% solution
tau = (0.31 - 0.29) / math.log(0.9 / 0.1)

# %% wrong The inverse of the temperature
tau = math.log(0.9 / 0.1) / (0.31 - 0.29)

# %% wrong The probability itself in place of the odds
tau = (0.31 - 0.29) / 0.9

# %% wrong The right cosine alone decides
tau = 0.31 / math.log(0.9 / 0.1)

# %% wrong The logarithm of the probability in place of the odds
tau = -(0.31 - 0.29) / math.log(0.9)

# %% check
with check("2.8.1", "Sure enough") as it:
    it.true("a temperature is above zero", tau if tau is ... else tau > 0)
    p = (torch.tensor([0.31, 0.29]) / tau).softmax(-1)[0].item()
    it.close("the probability of the right one", p, 0.9)

# %% hint
# Solve for $(s_1 - s_2)/\tau$: it is $\log\frac{p}{1 - p}$.

# %% remark
# About 0.009, below CLIP's bound of 0.01: a difference of 0.02 is small. In practice the differences may grow, too, as the
# model learns.

# %% exercise 2.8.2 predict Two of a kind
# A batch has four pairs. Two of the four sentences are equal word for word, and their pictures show the same
# thing. The model is perfect: equal things have equal vectors, different things are as far apart as
# one likes, and the temperature is tiny.
#
# Predict its InfoNCE loss. Then say what training does about it:
#
# - `"a"`: it learns to tell the two apart by their meaning
# - `"b"`: nothing can be done by meaning; the loss that is left cannot be removed by training
# - `"c"`: it lowers the temperature until the loss is zero

# %% stub
guess_loss = ...  # in nats; 0 would be perfect
then = ...  # "a", "b" or "c"

# %% solution
guess_loss = 2 * math.log(2) / 4
then = "b"

# %% wrong A loss of zero can always be reached by learning more
guess_loss = 0.0
then = "a"

# %% wrong A lower temperature separates equal cosines
guess_loss = 2 * math.log(2) / 4
then = "c"

# %% wrong Equal sentences can still be told apart
guess_loss = 2 * math.log(2) / 4
then = "a"

# %% check
same = torch.eye(3)[[0, 0, 1, 2]]  # the first two are equal
with check("2.8.2", "Two of a kind") as it:
    it.prediction("the loss", guess_loss, contrastive(same, same, 100.0).item())
    it.choice("then", then, "b", {
        "a": "They have the same meaning; there is nothing to tell apart.",
        "b": "Each of the two gets probability one half, always.",
        "c": "Equal cosines stay equal at every temperature.",
    })

# %% hint
# For the two equal pairs the right answer gets probability $\tfrac12$; for the two others it gets 1. The loss
# is the mean of four logarithms.

# %% remark
# Such *false negatives* (假负样本) are a reason to draw mostly scenes of two objects, as the chapter does: there are thousands of those sentences, and only 84
# about one object. In real data sets they are common, and unnoticed.

# %% exercise 2.8.3 core Count equal ones as right
# Repair it. `same` is (B, B) bool and says which sentences mean the same as sentence $i$; the diagonal is always
# true. Let *all* of them together be the right answer of row $i$:
#
# $$\mathcal{L}_i = -\log \sum_{j:\, \mathrm{same}_{ij}} p_{ij}$$
#
# Do it in both directions, and take the mean, as InfoNCE does. No loops.

# %% stub
def kind_infonce(a, b, scale, same):
    """InfoNCE in which everything that means the same is right."""
    scores = ...  # (B, B)
    loss = ...
    return loss


# %% solution
def kind_infonce(a, b, scale, same):
    """InfoNCE in which everything that means the same is right."""
    scores = scale * a @ b.T  # (B, B)

    def one_way(scores, same):
        log_p = scores.log_softmax(-1)
        return -log_p.masked_fill(~same, -torch.inf).logsumexp(-1).mean()

    loss = (one_way(scores, same) + one_way(scores.T, same.T)) / 2
    return loss


# %% wrong Equal ones are only left out of the negatives
def kind_infonce(a, b, scale, same):
    """InfoNCE without the false negatives."""
    hidden = same & ~torch.eye(len(a)).bool()
    scores = (scale * a @ b.T).masked_fill(hidden, -torch.inf)
    right = torch.arange(len(a))
    return (F.cross_entropy(scores, right)
            + F.cross_entropy(scores.T, right)) / 2


# %% wrong The mean of the logarithms in place of the logarithm of the sum
def kind_infonce(a, b, scale, same):
    """Each equal one must get all of the probability."""
    def one_way(scores, same):
        log_p = scores.log_softmax(-1).masked_fill(~same, 0)
        return -(log_p.sum(-1) / same.sum(-1)).mean()

    scores = scale * a @ b.T
    return (one_way(scores, same) + one_way(scores.T, same.T)) / 2


# %% wrong One direction only
def kind_infonce(a, b, scale, same):
    """Pictures ask, sentences do not."""
    log_p = (scale * a @ b.T).log_softmax(-1)
    return -log_p.masked_fill(~same, -torch.inf).logsumexp(-1).mean()


# %% wrong The scale is forgotten
def kind_infonce(a, b, scale, same):
    """Cosines without a temperature."""
    def one_way(scores, same):
        log_p = scores.log_softmax(-1)
        return -log_p.masked_fill(~same, -torch.inf).logsumexp(-1).mean()

    scores = a @ b.T
    return (one_way(scores, same) + one_way(scores.T, same.T)) / 2


# %% check
with check("2.8.3", "Count equal ones as right") as it:
    a, b, alone = unit(6, seed=1), unit(6, seed=2), torch.eye(6).bool()
    got = kind_infonce(a, b, 10.0, alone)
    it.close("without equal ones it is InfoNCE", got,
             contrastive(a, b, 10.0).item())
    twins = torch.eye(3)[[0, 0, 1, 2]]
    got = kind_infonce(twins, twins, 100.0, twins @ twins.T > 0.5)
    it.close("a perfect model has no loss", got, 0.0)
    got = kind_infonce(a, b, 10.0, torch.ones(6, 6).bool())
    it.close("if all are right, nobody is wrong", got, 0.0)
    couples = torch.eye(3).bool().repeat_interleave(2, 0)
    couples = couples.repeat_interleave(2, 1)  # rows 0 and 1 are equal, …
    p = [(10 * x @ y.T).softmax(-1) for x, y in ((a, b), (b, a))]
    wanted = sum(-(x * couples).sum(-1).log().mean() for x in p) / 2
    it.close("equal ones share the probability",
             kind_infonce(a, b, 10.0, couples), wanted.item())

# %% hint
# $\log \sum_j p_{ij}$ over some $j$: take `log_softmax`, put $-\infty$ where `same` is false, and use
# `logsumexp`. For the other direction use the transposes of both.

# %% remark
# In the world of scenes one can say which sentences mean the same; on the web nobody can. There one hopes that large batches hold
# few equal ones.

# %% exercise 2.8.4 core Name real photographs
# `photo` (36, E) are photographs, `prompts` (2, 25, E) the sentences "a pizza" and "a photo of a pizza" for 25 names, and `answers` (36,)
# the number of the right name; all vectors have length one. Give each name *one* vector of length one, the mean over the two templates, and
# return the share of photographs whose nearest name is the right one.

# %% stub
def named(photo, prompts, answers):
    """The share of photographs that get the right name."""
    names = ...  # (25, E)
    return ...


# %% solution
def named(photo, prompts, answers):
    """The share of photographs that get the right name."""
    names = F.normalize(prompts.mean(0), dim=-1)  # (25, E)
    return (photo @ names.T).argmax(1).eq(answers).float().mean().item()


# %% wrong Each name looks for its photograph
def named(photo, prompts, answers):
    """The photograph that is nearest to each name."""
    names = F.normalize(prompts.mean(0), dim=-1)
    best = (photo @ names.T).argmax(0)  # (25,)
    return answers[best].eq(torch.arange(len(names))).float().mean().item()


# %% wrong The names are averaged, not the templates
def named(photo, prompts, answers):
    """One vector for each template."""
    names = F.normalize(prompts.mean(1), dim=-1)
    return (photo @ names.T).argmax(1).eq(answers).float().mean().item()


# %% wrong One of the five best is enough
def named(photo, prompts, answers):
    """Recall at 5."""
    names = F.normalize(prompts.mean(0), dim=-1)
    best = (photo @ names.T).topk(min(5, len(names))).indices
    return best.eq(answers[:, None]).any(1).float().mean().item()


# %% wrong The length of the mean is left as it is
def named(photo, prompts, answers):
    """Means are shorter the more the templates differ."""
    names = prompts.mean(0)
    return (photo @ names.T).argmax(1).eq(answers).float().mean().item()


# %% check
with check("2.8.4", "Name real photographs") as it:
    mean = F.normalize(prompts.mean(0), dim=-1)
    share = (photo @ mean.T).argmax(1).eq(answers).float().mean().item()
    it.close("the share of the 36 photographs", named(photo, prompts, answers),
             share)
    two = torch.tensor([[[0.6, 0.8], [0.8, 0.6]], [[0.6, -0.8], [0.8, 0.6]]])
    here = torch.tensor([[1.0, 0.0]])  # the mean of the first name is (0.6, 0)
    it.close("short means are brought to length one",
             named(here, two, torch.tensor([0])), 1.0)
    it.true("far above chance", share > 3 / 25)

# %% hint
# The axes of `prompts` are template, name, width. After the mean over the first axis the vectors are shorter than one.

# %% remark
# About one in four, where chance is one in 25. CLIP's authors averaged eighty templates for each class in the same way.

# %% exercise 2.8.5 core Three scores
# `s` (C, 2, 2) holds C cases of Winoground: `s[c, i, j]` is the cosine of picture `i` with sentence `j`, and sentence `i` is true of picture `i`.
# Write the text score (each *picture* prefers its own sentence), the image score (each *sentence* prefers its own picture) and the group score (both), as shares of
# the cases.

# %% stub
def three_scores(s):
    """Text, image and group score, three numbers."""
    return ..., ..., ...


# %% solution
def three_scores(s):
    """Text, image and group score, three numbers."""
    text = (s[:, 0, 0] > s[:, 0, 1]) & (s[:, 1, 1] > s[:, 1, 0])
    image = (s[:, 0, 0] > s[:, 1, 0]) & (s[:, 1, 1] > s[:, 0, 1])
    return tuple(x.float().mean().item() for x in (text, image, text & image))


# %% wrong Rows and columns are exchanged
def three_scores(s):
    """The picture is searched where the sentence should be."""
    image = (s[:, 0, 0] > s[:, 0, 1]) & (s[:, 1, 1] > s[:, 1, 0])
    text = (s[:, 0, 0] > s[:, 1, 0]) & (s[:, 1, 1] > s[:, 0, 1])
    return tuple(x.float().mean().item() for x in (text, image, text & image))


# %% wrong One of the two pictures is enough
def three_scores(s):
    """Each comparison counts alone."""
    text = (s[:, 0, 0] > s[:, 0, 1])
    image = (s[:, 0, 0] > s[:, 1, 0])
    return tuple(x.float().mean().item() for x in (text, image, text & image))


# %% wrong The group score is the product of the other two
def three_scores(s):
    """As if the two were independent."""
    text = (s[:, 0, 0] > s[:, 0, 1]) & (s[:, 1, 1] > s[:, 1, 0])
    image = (s[:, 0, 0] > s[:, 1, 0]) & (s[:, 1, 1] > s[:, 0, 1])
    text, image = text.float().mean().item(), image.float().mean().item()
    return text, image, text * image


# %% wrong The sum of the right ones must be larger
def three_scores(s):
    """The right matching as a whole has the larger sum."""
    right = s[:, 0, 0] + s[:, 1, 1] > s[:, 0, 1] + s[:, 1, 0]
    share = right.float().mean().item()
    return share, share, share


# %% check
with check("2.8.5", "Three scores") as it:
    s = torch.randn(6000, 2, 2, generator=torch.Generator().manual_seed(0))
    s[:, :, 0] += 0.5  # sentence 0 is liked by all pictures
    got = three_scores(s)
    right = s.diagonal(dim1=1, dim2=2)  # (C, 2)
    other = s.flip(2).diagonal(dim1=1, dim2=2)  # same picture
    across = s.flip(1).diagonal(dim1=1, dim2=2)  # same sentence
    text, image = (right > other).all(1), (right > across).all(1)
    it.close("text score", got[0], text.float().mean().item())
    it.close("image score", got[1], image.float().mean().item())
    it.close("group score", got[2], (text & image).float().mean().item())

# %% hint
# In the text score the picture, the first of the two axes, stays the same in each comparison.

# %% remark
# For four independent random cosines the three are 1/4, 1/4 and 1/6: the group score is not the product. Here a sentence that all pictures like lowers the text score.

# %% exercise 2.8.6 open Bound through a third
# Two modalities that never met were bound by a third. How much must they have in common? In this toy world an example is a list of eight
# numbers. A text tells all eight; modality `one` tells some of them, modality `two` tells some, each through a random matrix of its own.
# Training sees `one` with text, and `two` with text.
#
# Choose which numbers each of them tells, so that `one` finds `two` among 200 with R@1 of at least 0.5, although *neither tells
# all eight*. `experiment(tells_one, tells_two)` trains and gives back three R@1: one → text, two → text, one → two.
#
# Then go on: what if they share a single number? None? If you add a fourth modality that was only ever seen with `two`?

# %% stub
tells_one = ...  # numbers from 0 to 7, e.g. [0, 1, 2]
tells_two = ...

# %% solution
tells_one = [0, 1, 2, 3, 4, 5, 6]
tells_two = [1, 2, 3, 4, 5, 6, 7]

# %% wrong Each tells what the other leaves out
tells_one = [0, 1, 2, 3]
tells_two = [4, 5, 6, 7]

# %% wrong One number in common is enough
tells_one = [0, 1, 2, 3]
tells_two = [3, 4, 5, 6, 7]

# %% wrong One of them tells all
tells_one = [0, 1, 2, 3, 4, 5, 6, 7]
tells_two = [1, 2, 3, 4, 5, 6, 7]

# %% check
with check("2.8.6", "Bound through a third") as it:
    it.true("one leaves something out",
            tells_one if tells_one is ... else len(set(tells_one)) < 8)
    it.true("two leaves something out",
            tells_two if tells_two is ... else len(set(tells_two)) < 8)
    found = experiment(tells_one, tells_two)
    it.true("one finds two in half of the cases", found[2] >= 0.5,
            hint="What can both of them know of an example?")
    apart = experiment([0, 1, 2, 3], [4, 5, 6, 7])
    it.true("with nothing in common they do not find each other",
            apart[2] < 0.05)

# %% hint
# They are bound by what both tell. Let each leave out one number, and not more than it must.

# %% remark
# With nothing in common both may find their texts, and still not each other: the text then holds two halves that have nothing to do with
# one another. A common space promises nothing about pairs whose modalities do not speak of the same.
