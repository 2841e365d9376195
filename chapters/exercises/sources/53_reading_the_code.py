# %% [markdown]
# # Exercises 5.3 Reading the code
#
# To the chapter: [5.3 Reading the code](../5-practice/53_reading_the_code.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Only the last check trains a model; that takes some
# seconds.

# %% shared
import math

import torch
from torch.nn import functional as F

from mmbook.data import Collate, train_tokenizer
from mmbook.encoders import PrecomputedTokens
from mmbook.fusion import fusion
from mmbook.generation import generate, to_text
from mmbook.heads import GenerationHead
from mmbook.models import MultimodalModel
from mmbook.notebook.exercises import check
from mmbook.pretrained import PretrainedImageEncoder, keep_features
from mmbook.samples import photographs
from mmbook.training import TrainingConfig, fit

torch.set_num_threads(1)

# %% exercise 5.3.1 warm-up A loss that is mostly padding
# Captions of `lengths` tokens are padded to `width` places. A model gives each real token the probability 1 / `words`, and is quite sure of padding (probability
# 1). Write its mean loss over the real tokens, and its mean loss if padding counts like a token.

# %% stub
def mean_losses(lengths, width, words):
    """The mean loss over real tokens, and over all places."""
    return ..., ...

# %% solution
def mean_losses(lengths, width, words):
    """The mean loss over real tokens, and over all places."""
    real = math.log(words)
    return real, real * sum(lengths) / (width * len(lengths))

# %% wrong Padding costs as much as a word
def mean_losses(lengths, width, words):
    return math.log(words), math.log(words)

# %% wrong The sum is divided by the number of captions
def mean_losses(lengths, width, words):
    total = math.log(words) * sum(lengths)
    return total / len(lengths), total / (width * len(lengths))

# %% wrong Padding becomes one more word
def mean_losses(lengths, width, words):
    return math.log(words), math.log(words + 1)

# %% wrong A batch always has two captions
def mean_losses(lengths, width, words):
    return math.log(words), math.log(words) * sum(lengths) / (2 * width)

# %% wrong The loss of padding is the share of padding
def mean_losses(lengths, width, words):
    padding = 1 - sum(lengths) / (width * len(lengths))
    return math.log(words), padding * math.log(words)

# %% check
with check("5.3.1", "A loss that is mostly padding") as it:
    real, padded = mean_losses([12, 14], 128, 1000)
    it.close("over the real tokens", real, math.log(1000), within=1e-6,
             hint="Each real token costs the same.")
    it.close("over all places", padded, math.log(1000) * 13 / 128,
             within=1e-6, hint="What does a place of padding cost?")
    it.close("three captions in 26 places",
             mean_losses([10, 14, 2], 26, 1000)[1], math.log(1000) / 3,
             within=1e-6, hint="How many places do the captions have?")

# %% hint
# −log 1 is zero. So padding adds nothing to the sum, and much to the number by which it is divided.

# %% remark
# The second loss is 0.70, which looks like the loss of a model that chooses between two words. It has learned nothing. And with another width
# it would be another number.

# %% exercise 5.3.2 predict Which test finds it?
# Four defects, each alone in an otherwise right captioner. Which test of the chapter finds it: `"reads ahead"`, `"uses the picture"`, `"padding"`,
# `"examples apart"`, or only `"by heart"`?
#
# - `causal`: the attention of the decoder among its words is not masked.
# - `end`: the end token of each caption has the label −100.
# - `divided`: the loss is the sum over the real tokens, divided by all places of the batch, padding included.
# - `average`: each example's image tokens are replaced by their mean over the batch.
#
# For `average` several tests fail; name the one that says that *other examples* take part.

# %% stub
causal = ...
end = ...
divided = ...
average = ...

# %% solution
causal = "reads ahead"
end = "by heart"
divided = "padding"
average = "examples apart"

# %% wrong Words that come later are not the answer
causal = "by heart"
end = "by heart"
divided = "padding"
average = "examples apart"

# %% wrong A label that is left out is padding
causal = "reads ahead"
end = "padding"
divided = "padding"
average = "examples apart"

# %% wrong Padding that adds nothing to the sum does no harm
causal = "reads ahead"
end = "by heart"
divided = "by heart"
average = "examples apart"

# %% check
with check("5.3.2", "Which test finds it?") as it:
    it.choice("no causal mask", causal, "reads ahead", {
        "reads ahead": "Logits change with later words.",
        "by heart": "Another test finds it without any training.",
    })
    it.choice("the end does not count", end, "by heart", {
        "by heart": "Nothing in the logits is wrong, but it cannot stop.",
        "padding": "More ignored places would not change this loss.",
    })
    it.choice("divided by all places", divided, "padding", {
        "padding": "Ten more places make the loss smaller.",
        "by heart": "The gradient has the right direction: it learns.",
    })
    it.choice("the mean over the batch", average, "examples apart", {
        "examples apart": "Alone, an example gets other logits.",
        "uses the picture": "It fails too, but it doesn't name the reason.",
    })

# %% hint
# Ask of each defect: which input could I change without changing what should come out?

# %% remark
# A model whose end token never counts writes good captions that do not end. Its loss is even lower, because one word less has to be predicted.

# %% exercise 5.3.3 core A test for leaks
# `decode(labels)` gives the logits (B, L, V) of a decoder for its labels (B, L). Write `leaks`: does any of its logits at places 0 to $t$ depend on labels
# at place $t$ or later? Test *each* $t$. Labels are numbers from 0 to `words` − 1.

# %% stub
def leaks(decode, labels, words):
    """True if a logit depends on its own label or a later one."""
    return ...

# %% solution
def leaks(decode, labels, words):
    """True if a logit depends on its own label or a later one."""
    before = decode(labels)
    for t in range(labels.shape[1]):
        other = labels.clone()
        other[:, t:] = (labels[:, t:] + 1) % words
        if not torch.allclose(decode(other)[:, :t + 1], before[:, :t + 1]):
            return True
    return False

# %% wrong The logits at the changed place are not compared
def leaks(decode, labels, words):
    before = decode(labels)
    for t in range(labels.shape[1]):
        other = labels.clone()
        other[:, t:] = (labels[:, t:] + 1) % words
        if not torch.allclose(decode(other)[:, :t], before[:, :t]):
            return True
    return False

# %% wrong All logits are compared
def leaks(decode, labels, words):
    before = decode(labels)
    for t in range(labels.shape[1]):
        other = labels.clone()
        other[:, t:] = (labels[:, t:] + 1) % words
        if not torch.allclose(decode(other), before):
            return True
    return False

# %% wrong Only the first logit is looked at
def leaks(decode, labels, words):
    other = (labels + 1) % words
    return not torch.allclose(decode(other)[:, :1], decode(labels)[:, :1])

# %% wrong The first place cannot leak
def leaks(decode, labels, words):
    before = decode(labels)
    for t in range(1, labels.shape[1]):
        other = labels.clone()
        other[:, t:] = (labels[:, t:] + 1) % words
        if not torch.allclose(decode(other)[:, :t + 1], before[:, :t + 1]):
            return True
    return False

# %% wrong One place in the middle stands for all
def leaks(decode, labels, words):
    other, t = labels.clone(), 2
    other[:, t:] = (labels[:, t:] + 1) % words
    before, after = decode(labels), decode(other)
    return not torch.allclose(after[:, :t + 1], before[:, :t + 1])

# %% wrong A perfect loss is the sign of a leak
def leaks(decode, labels, words):
    loss = F.cross_entropy(decode(labels).flatten(0, 1), labels.flatten())
    return loss.item() < 0.1

# %% check
torch.manual_seed(0)
table, labels = torch.randn(7, 7), torch.randint(7, (3, 6))


def moved(labels, by):
    """Labels moved by some places; zeros come in."""
    L = labels.shape[1]
    padded = F.pad(labels, (max(by, 0), max(-by, 0)))
    return padded[:, max(-by, 0):][:, :L]


def once(place):
    """A decoder that reads its own word at one place only."""
    def decode(labels):
        read = moved(labels, 1)
        read[:, place] = labels[:, place]
        return table[read]
    return decode


with check("5.3.3", "A test for leaks") as it:
    it.true("honest: it reads the word before",
            leaks(lambda x: table[moved(x, 1)], labels, 7) is False,
            hint="Later logits may depend on earlier labels.")
    it.true("it reads its own word", leaks(lambda x: table[x], labels, 7),
            hint="Compare the logits up to place t, t included.")
    it.true("it reads the word after next",
            leaks(lambda x: table[moved(x, -2)], labels, 7))
    it.true("it reads its own word at one place, whichever",
            all(leaks(once(place), labels, 7) for place in range(6)),
            hint="Try each t.")

# %% hint
# Change the labels from place $t$ on, for example to `(labels + 1) % words`, and compare the logits `[:, :t + 1]` before and after.

# %% remark
# The test needs no training and no data. It finds a forgotten mask, a missing shift, and a normalisation over the places.

# %% exercise 5.3.4 core Parts that add up
# A batch went through the model in parts. `losses` holds the mean loss of each part over its labels, `counts` the number of its labels. Write the mean loss
# over all labels, and the `factors` by which the losses of the parts have to be multiplied before `backward`, so that the gradients add up to
# that of the whole batch. A part may have no labels at all; its loss is then not a number.

# %% stub
def joint(losses, counts):
    """The loss of the whole batch, and the factor of each part."""
    return ..., ...

# %% solution
def joint(losses, counts):
    """The loss of the whole batch, and the factor of each part."""
    total = sum(counts)
    factors = [count / total for count in counts]
    parts = [x * f for x, f in zip(losses, factors) if f]
    return sum(parts), factors

# %% wrong All parts count the same
def joint(losses, counts):
    used = [x for x, count in zip(losses, counts) if count]
    return sum(used) / len(used), [1 / len(losses)] * len(losses)

# %% wrong What is zero times nan
def joint(losses, counts):
    total = sum(counts)
    factors = [count / total for count in counts]
    return sum(x * f for x, f in zip(losses, factors)), factors

# %% wrong A part without labels has no factor
def joint(losses, counts):
    used = [(x, count) for x, count in zip(losses, counts) if count]
    factors = [count / sum(counts) for _, count in used]
    return sum(x * f for (x, _), f in zip(used, factors)), factors

# %% wrong The factors are the counts
def joint(losses, counts):
    total = sum(x * c for x, c in zip(losses, counts) if c)
    return total / sum(counts), list(counts)

# %% check
with check("5.3.4", "Parts that add up") as it:
    loss, factors = joint([1.0, 3.0], [30, 10])
    it.close("the loss", loss, 1.5, within=1e-9,
             hint="Three of four labels are in the first part.")
    it.close("the first factor", factors[0], 0.75, within=1e-9)
    it.close("the second factor", factors[1], 0.25, within=1e-9)
    loss, factors = joint([2.0, float("nan"), 4.0], [5, 0, 5])
    it.close("a part without labels", loss, 3.0, within=1e-9,
             hint="Zero times nan is nan.")
    it.equal("a factor for each part", list(factors), [0.5, 0, 0.5],
             hint="A part without labels has the factor 0.")

# %% hint
# The loss of the whole is $\sum_i n_i \ell_i / \sum_i n_i$, where part $i$ has $n_i$ labels.

# %% remark
# `fit` does the same: `share = run.loss_of(part, count) * (count / total)`, and `loss_of` replaces the loss of a part without labels by zero.

# %% exercise 5.3.5 core Where is the end?
# Many language models have no padding token, so people set `tokenizer.pad_token = tokenizer.eos_token`, the end token. A row of ids is then: words, the end
# token, and more end tokens as padding. Write the labels for a model that shifts inside its loss: the ids, with −100 where nothing shall count. Each row
# has an end token at least. The *first* one of each row must count.

# %% stub
def labels_of(ids, end):
    """Labels (B, L): −100 behind the first end token of each row."""
    return ...

# %% solution
def labels_of(ids, end):
    """Labels (B, L): −100 behind the first end token of each row."""
    ends = (ids == end).cumsum(1)
    return ids.masked_fill((ends > 1) | ((ends == 1) & (ids != end)), -100)

# %% wrong Every padding token is left out
def labels_of(ids, end):
    return ids.masked_fill(ids == end, -100)

# %% wrong Nothing is left out
def labels_of(ids, end):
    return ids.clone()

# %% wrong The labels are shifted, too
def labels_of(ids, end):
    ends = (ids == end).cumsum(1)
    labels = ids.masked_fill((ends > 1) | ((ends == 1) & (ids != end)), -100)
    return F.pad(labels[:, 1:], (0, 1), value=-100)

# %% wrong Only the last place counts as the end
def labels_of(ids, end):
    labels = ids.masked_fill(ids == end, -100)
    labels[:, -1] = end
    return labels

# %% check
with check("5.3.5", "Where is the end?") as it:
    ids = torch.tensor([[5, 6, 7, 2, 2, 2], [8, 2, 2, 2, 2, 2],
                        [5, 6, 7, 8, 9, 2]])
    found = labels_of(ids, 2)
    it.equal("the first row", found[0].tolist(), [5, 6, 7, 2, -100, -100],
             hint="The first end token is the one the model has to learn.")
    it.equal("the second row", found[1].tolist(), [8, 2, *4 * [-100]])
    it.equal("the third row", found[2].tolist(), [5, 6, 7, 8, 9, 2])
    it.equal("the ids stay as they were", ids[0].tolist(),
             [5, 6, 7, 2, 2, 2])

# %% hint
# `(ids == end).cumsum(1)` counts the end tokens from the left: what is behind the first one has a count of two or more.

# %% remark
# `ids.masked_fill(ids == pad, -100)` is found in many programs. With the end token as padding it removes every end from the labels, and the model never
# learns to stop.

# %% exercise 5.3.6 open Three photographs by heart
# A small captioner gets MobileNetV2's tokens of three photographs of the book. Choose the number of steps and the learning rate so that it writes all three
# captions by heart. *Guess first what happens with a rate ten times as high as yours.*

# %% stub
steps, rate = ..., ...

# %% solution
steps, rate = 120, 3e-3

# %% wrong A few steps are enough, since there are three examples only
steps, rate = 5, 3e-3

# %% wrong A higher rate always learns faster
steps, rate = 120, 1.0

# %% wrong The rate of fine-tuning fits new weights as well
steps, rate = 120, 1e-5

# %% check
def by_heart(steps, rate):
    """How many of three captions does the trained model write?"""
    photos, numbers = photographs(224), (2, 16, 24)
    network = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
    seen = keep_features(network, [photos.pixels(n) for n in numbers])
    told = [photos.references[n][0] for n in numbers]
    pieces = train_tokenizer(told)
    torch.manual_seed(0)
    join = fusion("concatenation", widths={"image": 1280}, width=64)
    model = MultimodalModel(
        {"image": PrecomputedTokens(1280)}, join,
        GenerationHead.for_tokenizer(pieces, width=64, context_width=64))
    items = [{"image": x.float(), "caption": c} for x, c in zip(seen, told)]
    fit(model, items, TrainingConfig(
        steps=steps, batch_size=3, learning_rate=rate, precision="no",
        compile=False, progress=False), Collate(pieces))
    said = to_text(generate(model, {"image": seen.float()}), pieces)
    return sum(text == caption for text, caption in zip(said, told))


with check("5.3.6", "Three photographs by heart") as it:
    it.true("at most 300 steps", steps if steps is ... else steps <= 300)
    it.equal("captions written by heart", by_heart(steps, rate), 3,
             hint="Some hundred steps; a rate between 1e-4 and 1e-2.")

# %% hint
# The chapter does the same with eight photographs.

# %% remark
# A model that cannot learn three captions by heart has a defect, or a wrong rate. One that can has shown only this.
