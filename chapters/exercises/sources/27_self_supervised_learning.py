# %% [markdown]
# # Exercises 2.7 Multimodal self-supervised learning
#
# To the chapter: [2.7 Multimodal self-supervised learning](../2-concepts/27_self_supervised_learning.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import torch
from torch.nn import functional as F

from mmbook.losses import contrastive, hard_negatives, sigmoid_contrastive
from mmbook.notebook.exercises import check
from mmbook.world import (
    SHAPES,
    Scene,
    Thing,
    describe,
    parse,
    render,
    sample_scenes,
    scene_tokenizer,
)

torch.set_num_threads(1)
tokenizer = scene_tokenizer()


def unit_vectors(rows, width, seed):
    """Random vectors of length one, (rows, width)."""
    torch.manual_seed(seed)
    return F.normalize(torch.randn(rows, width), dim=-1)


# %% exercise 2.7.1 warm-up Who wrote the label?
# Six tasks. Write `True` if the label comes from the data itself, and `False` if somebody has to be asked for it.

# %% stub
free = {
    "which of five summaries of this article does an editor prefer?": ...,
    "does this sound track belong to this film?": ...,
    "which colours had this grey picture before I took them away?": ...,
    "which disease does this X-ray show?": ...,
    "do these two frames follow each other in the clip?": ...,
    "what is the next word of this page?": ...,
}

# %% solution
free = {
    "which of five summaries of this article does an editor prefer?": False,
    "does this sound track belong to this film?": True,
    "which colours had this grey picture before I took them away?": True,
    "which disease does this X-ray show?": False,
    "do these two frames follow each other in the clip?": True,
    "what is the next word of this page?": True,
}

# %% wrong Only text can label itself
free = {
    "which of five summaries of this article does an editor prefer?": False,
    "does this sound track belong to this film?": False,
    "which colours had this grey picture before I took them away?": False,
    "which disease does this X-ray show?": False,
    "do these two frames follow each other in the clip?": False,
    "what is the next word of this page?": True,
}

# %% wrong Whatever stands in a file is free
free = {
    "which of five summaries of this article does an editor prefer?": True,
    "does this sound track belong to this film?": True,
    "which colours had this grey picture before I took them away?": True,
    "which disease does this X-ray show?": True,
    "do these two frames follow each other in the clip?": True,
    "what is the next word of this page?": True,
}

# %% wrong Two modalities need a person to pair them
free = {
    "which of five summaries of this article does an editor prefer?": False,
    "does this sound track belong to this film?": False,
    "which colours had this grey picture before I took them away?": True,
    "which disease does this X-ray show?": False,
    "do these two frames follow each other in the clip?": True,
    "what is the next word of this page?": True,
}

# %% check
with check("2.7.1", "Who wrote the label?") as it:
    for (task, said), right in zip(free.items(), (0, 1, 1, 0, 1, 1)):
        it.equal(task, said, bool(right),
                 hint="Could a program make the label from the data?")

# %% hint
# Ask for each: with a million examples in a folder and nobody to help you, could you write the program that makes
# the labels?

# %% remark
# The sound and the film are a pair from two modalities, like picture and caption. The disease could become free, too, if
# a doctor's report lies beside the X-ray anyway and a program extracts the disease from it. Large sets of chest
# X-rays such as [ChestX-ray14](https://arxiv.org/abs/1705.02315) were labelled in this way; the labels then contain the mistakes of the program.

# %% exercise 2.7.2 predict Upside down
# *Write both answers down before you run anything.* In the chapter, pictures were turned by quarter turns, and the best possible accuracy was one half. What is the best
# possible accuracy
#
# - if a picture is either left as it is or turned *by 180 degrees*, two classes, equally likely?
# - with the four quarter turns of the chapter, but with *two* objects in each picture, whose shapes are drawn
#   independently of each other?

# %% stub
half_turn = ...  # between 0 and 1
two_objects = ...

# %% solution
half_turn = 2 / 6 + 4 / 6 * 1 / 2
two_objects = (1 - (4 / 6) ** 2) + (4 / 6) ** 2 / 4

# %% wrong Fewer classes do not change what a guess is worth
half_turn = 2 / 6 + 4 / 6 / 4
two_objects = 1 - (4 / 6) ** 2 + (4 / 6) ** 2 / 4

# %% wrong A second object changes nothing
half_turn = 2 / 6 + 4 / 6 / 2
two_objects = 0.5

# %% wrong Pictures that tell nothing are always wrong
half_turn = 2 / 6
two_objects = 1 - (4 / 6) ** 2

# %% check
alone = [Scene((Thing(shape, "black", "big", 0.5, 0.5),)) for shape in SHAPES]
clean = render(alone, 48, noise=0)
same = {k: [(torch.rot90(p, k, (1, 2)) - p).abs().mean() < 0.01
            for p in clean] for k in (1, 2)}
blank = sum(bool(x) for x in same[1]) / 6  # a quarter turn changes nothing

with check("2.7.2", "Upside down") as it:
    tells = 1 - sum(bool(x) for x in same[2]) / 6
    it.close("half turns", half_turn, tells + (1 - tells) / 2)
    it.close("two objects", two_objects, 1 - blank**2 + blank**2 / 4)

# %% hint
# Which of the six shapes does a half turn change? For two objects: the picture can be answered if at least one of them
# tells; the chance that neither does is a product.

# %% remark
# Half turns change triangles and stars, the same two. But a guess among two classes is right more often, so the
# accuracy is higher although the share of pictures that can be answered is the same. Compare an accuracy only with its own chance
# level. With two objects in the picture, more of the labels can be answered: richer data make the same pretext task
# more useful. (That both answers are two thirds is a coincidence.)

# %% exercise 2.7.3 core The sigmoid loss in pieces
# A batch of 4096 has nearly 17 million pairs. InfoNCE needs a whole row for its softmax. The sigmoid loss
# doesn't: compute it so that never more than `size` × `size` scores exist at a time, with the same result.

# %% stub
def in_pieces(a, b, scale, bias, size):
    """sigmoid_contrastive(a, b, scale, bias), block by block."""
    total = 0.0
    for i in range(0, len(a), size):
        for j in range(0, len(b), size):
            scores = ...  # of these rows with these columns
            total = ...
    return total


# %% solution
def in_pieces(a, b, scale, bias, size):
    """sigmoid_contrastive(a, b, scale, bias), block by block."""
    total = 0.0
    for i in range(0, len(a), size):
        for j in range(0, len(b), size):
            scores = scale * a[i:i + size] @ b[j:j + size].T + bias
            z = -torch.ones_like(scores)
            if i == j:
                z += 2 * torch.eye(len(scores))
            total = total - F.logsigmoid(z * scores).sum()
    return total / len(a)


# %% wrong Every block has its own pairs on the diagonal
def in_pieces(a, b, scale, bias, size):
    total = 0.0
    for i in range(0, len(a), size):
        for j in range(0, len(b), size):
            scores = scale * a[i:i + size] @ b[j:j + size].T + bias
            z = -torch.ones_like(scores)
            z.fill_diagonal_(1)
            total = total - F.logsigmoid(z * scores).sum()
    return total / len(a)

# %% wrong Only negatives count outside the first block
def in_pieces(a, b, scale, bias, size):
    total = 0.0
    for i in range(0, len(a), size):
        for j in range(0, len(b), size):
            scores = scale * a[i:i + size] @ b[j:j + size].T + bias
            z = -torch.ones_like(scores)
            z += 2 * torch.eye(len(z)) if i == j == 0 else 0
            total = total - F.logsigmoid(z * scores).sum()
    return total / len(a)

# %% wrong The mean is over all pairs
def in_pieces(a, b, scale, bias, size):
    total = 0.0
    for i in range(0, len(a), size):
        for j in range(0, len(b), size):
            scores = scale * a[i:i + size] @ b[j:j + size].T + bias
            z = -torch.ones_like(scores)
            z += 2 * torch.eye(len(z)) if i == j else 0
            total = total - F.logsigmoid(z * scores).sum()
    return total / len(a) ** 2

# %% check
with check("2.7.3", "The sigmoid loss in pieces") as it:
    a, b = (unit_vectors(10, 8, seed) for seed in (0, 1))
    whole = sigmoid_contrastive(a, b, 10.0, -3.0).item()
    for size in (10, 5, 3):
        part = in_pieces(a, b, 10.0, -3.0, size)
        part = part if part is ... else float(part)
        it.close(f"pieces of {size}", part, whole,
                 hint="Own pairs are on the diagonal of blocks with i = j.")

# %% hint
# $z_{ij}$ is $+1$ only where row and column are the same pair. In which blocks does that happen? Divide by $B$ once,
# at the end.

# %% remark
# With several devices, each keeps its pictures and passes its captions on to the next one. After as many steps as
# there are devices all pairs have met, and no device has held the whole matrix; SigLIP is trained in this way. InfoNCE can be cut as well, but
# the sum of each row must be collected from all devices before its logarithm is taken.

# %% exercise 2.7.4 core Forgive the doubles
# In the chapter, two pictures with the same caption were false negatives, and the loss had a floor above zero. Write the InfoNCE loss that
# leaves them out: in each row and each column, the scores of *other* pairs with the same caption do not take part.

# %% stub
def forgiving(a, b, scale, ids):
    """InfoNCE without false negatives; ids (B, L) are the captions."""
    scores = scale * a @ b.T
    doubles = ...  # (B, B) bool: same caption, but not the own row
    scores = ...
    truth = torch.arange(len(a))
    return (... if scores is ... else
            (F.cross_entropy(scores, truth)
             + F.cross_entropy(scores.T, truth)) / 2)


# %% solution
def forgiving(a, b, scale, ids):
    """InfoNCE without false negatives; ids (B, L) are the captions."""
    scores = scale * a @ b.T
    doubles = (ids[:, None] == ids).all(-1) & ~torch.eye(len(a)).bool()
    scores = scores.masked_fill(doubles, -torch.inf)
    truth = torch.arange(len(a))
    return (F.cross_entropy(scores, truth)
            + F.cross_entropy(scores.T, truth)) / 2


# %% wrong The own pair is a double as well
def forgiving(a, b, scale, ids):
    scores = scale * a @ b.T
    doubles = (ids[:, None] == ids).all(-1)
    scores = scores.masked_fill(doubles, -torch.inf)
    truth = torch.arange(len(a))
    return (F.cross_entropy(scores, truth)
            + F.cross_entropy(scores.T, truth)) / 2

# %% wrong A score of zero does not compete
def forgiving(a, b, scale, ids):
    scores = scale * a @ b.T
    doubles = (ids[:, None] == ids).all(-1) & ~torch.eye(len(a)).bool()
    scores = scores.masked_fill(doubles, 0)
    truth = torch.arange(len(a))
    return (F.cross_entropy(scores, truth)
            + F.cross_entropy(scores.T, truth)) / 2

# %% wrong Doubles are counted as right by lowering them a little
def forgiving(a, b, scale, ids):
    scores = scale * a @ b.T
    doubles = (ids[:, None] == ids).all(-1) & ~torch.eye(len(a)).bool()
    scores = scores - doubles.float()
    truth = torch.arange(len(a))
    return (F.cross_entropy(scores, truth)
            + F.cross_entropy(scores.T, truth)) / 2

# %% check
with check("2.7.4", "Forgive the doubles") as it:
    a, b = (unit_vectors(8, 16, seed) for seed in (2, 3))
    single = torch.arange(8)[:, None]
    double = torch.tensor([0, 0, 1, 2, 3, 3, 3, 4])[:, None]
    got = [forgiving(a, b, 5.0, single), forgiving(a, b, 5.0, double)]
    got = [x if x is ... else float(x) for x in got]
    it.close("all captions different: InfoNCE", got[0],
             contrastive(a, b, 5.0).item())
    s, wanted = 5.0 * a @ b.T, 0.0
    for i in range(8):  # the own pair, and all with another caption
        rest = [j for j in range(8) if j == i or double[j] != double[i]]
        wanted += (s[i, rest].logsumexp(0) + s[rest, i].logsumexp(0)
                   - 2 * s[i, i]).item() / 16
    it.close("other pairs with the same caption take no part", got[1], wanted)
    knows = F.one_hot(double[:, 0]).float()
    best = forgiving(knows, knows, 100.0, double)
    it.close("the floor is zero", best if best is ... else float(best), 0.0)

# %% hint
# A score of $-\infty$ has the probability zero, so it takes no part. The diagonal must stay.

# %% remark
# Real captions are rarely exactly the same: "a dog runs" and "a running dog". One can replace the labels by soft ones, which follow the
# similarity of two captions. There is a price: a loss that leaves out too much has no hard negatives any more.

# %% exercise 2.7.5 core Two windows of a photograph
# `first` and `second` hold the features of two windows of each of the 42 photographs of the package, from MobileNetV2. Compute
# for each first window the position of the second window with the largest *cosine*, and the share of the photographs whose two windows find
# each other in this way. First subtract the mean of each side: no feature is negative, so without this step no cosine is negative, even between photographs that have nothing in common.

# %% shared
from mmbook import samples
from mmbook.pretrained import PretrainedImageEncoder

photos = samples.photographs(256)
windows = torch.stack([photos.pixels(n) for n in range(42)]) / 255
encoder = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
with torch.no_grad():
    first, second = (encoder(windows[..., c:c + 128, c:c + 128]).pooled()
                     for c in (0, 128))

# %% stub
def found(a, b):
    """Positions (n,) of the nearest of b, and the share of right ones."""
    a, b = ..., ...  # without their means, of length one
    nearest = ...
    return nearest, ...


# %% solution
def found(a, b):
    """Positions (n,) of the nearest of b, and the share of right ones."""
    a, b = (F.normalize(x - x.mean(0), dim=-1) for x in (a, b))
    nearest = (a @ b.T).argmax(1)
    return nearest, (nearest == torch.arange(len(a))).float().mean().item()


# %% wrong The scalar product is the cosine
def found(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    nearest = (a @ b.T).argmax(1)
    return nearest, (nearest == torch.arange(len(a))).float().mean().item()


# %% wrong The mean does not matter
def found(a, b):
    a, b = (F.normalize(x, dim=-1) for x in (a, b))
    nearest = (a @ b.T).argmax(1)
    return nearest, (nearest == torch.arange(len(a))).float().mean().item()


# %% wrong Columns and rows are the same question
def found(a, b):
    a, b = (F.normalize(x - x.mean(0), dim=-1) for x in (a, b))
    nearest = (a @ b.T).argmax(0)
    return nearest, (nearest == torch.arange(len(a))).float().mean().item()


# %% check
with check("2.7.5", "Two windows of a photograph") as it:
    nearest, share = found(first, second)
    x, y = (F.normalize(z - z.mean(0), dim=-1) for z in (first, second))
    best = (x @ y.T).argmax(1)
    it.equal("the nearest windows",
             nearest if nearest is ... else nearest.tolist(), best.tolist(),
             hint="A cosine is a scalar product of vectors of length one.")
    it.close("the share", share,
             (best == torch.arange(42)).float().mean().item())

# %% hint
# Subtract `x.mean(0)` from each side, then `F.normalize`. Rows of the matrix are the first windows.

# %% remark
# About half of the photographs find their partner; chance is one in 42. The two windows do not overlap, so only what both
# corners have in common, such as the place, the light or parts of one large object, can lead to the partner.

# %% exercise 2.7.6 open Hard negatives without a model
# The chapter found hard negatives with a trained contrastive model. At the beginning of a training there is none. Write scores that
# use nothing but the words of the captions, `ids` (B, L), so that `hard_negatives` picks wrong captions that are nearly right. The check wants
# exactly one wrong word in nearly every row.
#
# Then go on by yourself: make the chapter's table "How often the wrong caption differs in each word" for your scores. How could you
# make them change each of the three words equally often?

# %% stub
def word_scores(ids):
    """(B, B): the more alike two captions are, the higher."""
    return ...


# %% solution
def word_scores(ids):
    """(B, B): the more alike two captions are, the higher."""
    return (ids[:, None] == ids).float().sum(-1)


# %% wrong A hard negative is as different as possible
def word_scores(ids):
    return (ids[:, None] != ids).float().sum(-1)

# %% wrong The first word decides
def word_scores(ids):
    return (ids[:, None, 0] == ids[:, 0]).float()

# %% wrong Only the colour counts
def word_scores(ids):
    return (ids[:, None, 2] == ids[:, 2]).float()

# %% check
with check("2.7.6", "Hard negatives without a model") as it:
    texts = [describe(s) for s in sample_scenes(256, 0, (1,), "all")]
    ids = torch.tensor(tokenizer(texts)["input_ids"])
    same = (ids[:, None] == ids).all(-1)
    scores = word_scores(ids)
    it.equal("the size of the matrix", scores if scores is ... else tuple(scores.shape),
             (256, 256))
    if scores is not ...:
        chosen = ids[hard_negatives(scores, same)]
        alike = (chosen == ids).sum(-1)
        it.true("none of them is right", bool((alike < 4).all()))
        it.true("three of four words are the same",
                (alike == 3).float().mean().item() > 0.95,
                hint="Count the places at which two rows agree.")

# %% hint
# `ids[:, None] == ids` compares each row with each, word by word: (B, B, L).

# %% remark
# Negatives chosen by words need no model. The model's own are those that *this* model cannot tell apart yet, so they
# change as it learns. On real data, two captions that differ in one word can both be true of a picture ("a small dog", "a brown
# dog"): then the hardest negatives are false negatives.
