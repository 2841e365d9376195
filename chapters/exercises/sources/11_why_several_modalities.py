# %% [markdown]
# # Exercises 1.1 Why several modalities
#
# To the chapter: [1.1 Why several modalities](../1-background/11_why_several_modalities.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import random
from collections import Counter
from itertools import product
from math import log2

from mmbook.notebook.exercises import check
from mmbook.world import COLOURS, SHAPES, Matching


def mutual_information(pairs):
    """I(x; y) in bits, of a list of equally likely pairs (x, y)."""
    n, both = len(pairs), Counter(pairs)
    xs, ys = Counter(x for x, _ in pairs), Counter(y for _, y in pairs)
    return sum(k / n * log2(k * n / (xs[x] * ys[y]))
               for (x, y), k in both.items())


def best_accuracy(pairs):
    """The highest accuracy that guessing y from x can have."""
    most = {}
    for (x, _), k in Counter(pairs).items():
        most[x] = max(most.get(x, 0), k)
    return sum(most.values()) / len(pairs)


# %% [markdown]
# The next cell holds the photographs of the chapter for exercise 1.1.4: the scores that MobileNetV2 gives to eight words
# (columns) for eight photographs (rows). The word of a photograph stands on the diagonal.

# %% shared
import torch
from transformers import AutoModelForImageClassification

from mmbook.samples import photographs
from mmbook.saving import find_folder

ASKED = {  # the number of a photograph, and the classes of ImageNet
    "pizza": (6, "pizza"), "laptop": (2, "laptop|notebook"),
    "bus": (24, "minibus|school bus|trolleybus"),
    "cat": (16, "tabby|tiger cat|Persian cat|Siamese cat|Egyptian cat"),
    "bear": (22, "brown bear|American black bear|ice bear|sloth bear"),
    "clock": (38, "analog clock|digital clock|wall clock"),
    "poodle": (28, "toy poodle|miniature poodle|standard poodle"),
    "microwave": (30, "microwave"),
}
torch.set_num_threads(1)
classifier = AutoModelForImageClassification.from_pretrained(
    find_folder("mmbook/mobilenet-v2", needs="config.json"),
    dtype=torch.float32).eval()
names = [classifier.config.id2label[k].split(",")[0] for k in range(1001)]
covers = torch.tensor([[name in classes.split("|") for name in names]
                       for _, classes in ASKED.values()]).float()
photos = photographs(224)
pixels = torch.stack([photos.picture(n) for n, _ in ASKED.values()])
with torch.inference_mode():
    p = classifier((pixels.float() - 128) / 128).logits.softmax(-1)
    scores = (p @ covers.T / (p @ covers.T).sum(1, keepdim=True)).log()


# %% [markdown]
# The next cell is for the last exercise only. It holds what the chapter had for "which colour is it?": examples in
# which the picture may be empty and the colour may be left out, batches, and the model with cross-attention.

# %% shared
from mmbook.data import Collate
from mmbook.encoders import (
    ConvImageEncoder,
    PrecomputedTokens,
    TextEncoder,
)
from mmbook.fusion import fusion
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel
from mmbook.training import TrainingConfig, fit, to_device
from mmbook.world import Scene, render, sample_scenes, scene_tokenizer

frozen = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
collate = Collate(scene_tokenizer())


def naming(count, seed):
    """Which colour? A list of examples with precomputed image tokens."""
    rng, colours = random.Random(seed), list(COLOURS)
    scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
    shown = [s if rng.random() < 0.7 else Scene(()) for s in scenes]
    with torch.inference_mode():
        images = frozen(render(shown, seed=seed)).values
    items = []
    for image, scene in zip(images.clone(), scenes):
        colour = scene.things[0].colour
        word = f"a {colour} thing" if rng.random() < 0.6 else "a thing"
        items.append({"image": image, "text": word,
                      "label": colours.index(colour)})
    return items


def batch_of(items, names):
    """A batch that holds only these modalities, and the labels."""
    keep = (*names, "label")
    return collate([{key: item[key] for key in keep} for item in items])


def trained(collate_function, data, steps=300):
    """The cross-attention model of the chapter, trained on such batches."""
    torch.manual_seed(0)
    text = TextEncoder(len(collate.tokenizer), width=64, layers=1)
    joined = fusion("cross_attention", widths={"text": 64, "image": 96},
                    width=64)
    parts = {"text": text, "image": PrecomputedTokens()}
    model = MultimodalModel(parts, joined,
                            ClassificationHead(64, 8, hidden=64))
    fit(model, data, TrainingConfig(steps=steps, learning_rate=2e-3,
                                    compile=False), collate_function)
    return model


@torch.no_grad()
def accuracy(model, data, names):
    """Share of right answers, if the model gets these modalities."""
    batch = to_device(batch_of(data, names), next(model.parameters()).device)
    said = model(**batch).logits.argmax(-1)
    return (said == batch["labels"]).float().mean().item()


# %% exercise 1.1.1 warm-up Another gate
# In the chapter, $y$ was the exclusive or of two bits. Now let $y$ be their *and*: 1 only if both
# are 1. Write down the four cases, and count what $a$ tells about $y$, and what $a$ and $b$ tell
# together.

# %% stub
and_cases = ...  # four triples (a, b, y)
information_a = ...
information_both = ...

# %% solution
and_cases = [(a, b, a & b) for a, b in product((0, 1), repeat=2)]
information_a = mutual_information([(a, y) for a, b, y in and_cases])
information_both = mutual_information([((a, b), y) for a, b, y in and_cases])

# %% wrong both bits tell twice what one tells
and_cases = [(a, b, a & b) for a, b in product((0, 1), repeat=2)]
information_a = mutual_information([(a, y) for a, b, y in and_cases])
information_both = 2 * information_a

# %% wrong and is taken for or
and_cases = [(a, b, a | b) for a, b in product((0, 1), repeat=2)]
information_a = mutual_information([(a, y) for a, b, y in and_cases])
information_both = mutual_information([((a, b), y) for a, b, y in and_cases])

# %% wrong 0, 1 and 1, 0 are one case
and_cases = [(0, 0, 0), (0, 1, 0), (1, 1, 1)]
information_a = mutual_information([(a, y) for a, b, y in and_cases])
information_both = mutual_information([((a, b), y) for a, b, y in and_cases])

# %% check
with check("1.1.1", "Another gate") as it:
    it.equal("the four cases",
             and_cases if and_cases is ... else sorted(and_cases),
             [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1)])
    it.close("what a tells, in bits", information_a, 0.3113)
    it.close("what both tell, in bits", information_both, 0.8113,
             hint="Both bits together are one x: a pair.")

# %% hint
# A pair for the function is (what is seen, the answer). If both bits are seen, what is seen is itself
# a pair.

# %% remark
# This time $a$ alone tells something: if $a = 0$, the answer is surely 0. Even so, $0.31 + 0.31$ bits are
# less than the $0.81$ bits of both. "And" is partly synergy. (All that there is to know is less than one bit
# here, because $y = 1$ is rarer than $y = 0$.)

# %% exercise 1.1.2 predict A careless data set
# Somebody builds the matching task anew: the picture shows one of 8 colours, half of the sentences name that
# colour. For the false ones the author is careless, and picks the wrong colour only from *red, orange
# and yellow*.
#
# Predict the best accuracy that a model can have which sees only the picture, and of one which sees only the
# sentence. Then say why they differ:
#
# - `"a"`: colours are easier to read than to see
# - `"b"`: the false sentences have another distribution of words than the true ones
# - `"c"`: the pictures of false sentences are other pictures
# - `"d"`: they do not differ, because half of the sentences are false in either case

# %% stub
guess_picture = ...  # between 0.5 and 1
guess_sentence = ...
why = ...  # "a", "b", "c" or "d"

# %% solution
guess_picture = 0.5
guess_sentence = 0.8125
why = "b"

# %% wrong sentences are easier
guess_picture, guess_sentence, why = 0.5, 0.8, "a"

# %% wrong the careless choice changes the pictures
guess_picture, guess_sentence, why = 0.8, 0.5, "c"

# %% wrong balanced answers exclude a leak
guess_picture, guess_sentence, why = 0.5, 0.5, "d"

# %% check
warm = ("red", "orange", "yellow")
careless = []
for shown in COLOURS:
    wrong = [colour for colour in warm if colour != shown]
    careless += [(shown, shown, True)] * 6
    careless += [(shown, w, False) for w in wrong] * (6 // len(wrong))

with check("1.1.2", "A careless data set") as it:
    picture = best_accuracy([(shown, y) for shown, named, y in careless])
    sentence = best_accuracy([(named, y) for shown, named, y in careless])
    it.prediction("picture only", guess_picture, picture)
    it.prediction("sentence only", guess_sentence, sentence)
    it.choice("why", why, "b", {
        "a": "The bound holds for every model, however good its encoder.",
        "b": "\"a blue …\" is never false here, so reading is enough.",
        "c": "For each picture both answers are still equally likely.",
        "d": "Half are false over all; but how many of those that say \"red\"?",
    })

# %% hint
# How often is a sentence true that says "blue"? And one that says "red"? For the picture: was it chosen before or
# after the author decided between true and false?

# %% remark
# Sentences with one of the five other colours are always true; that is $\tfrac12 \cdot \tfrac58$ of all. With the three warm
# colours "false" is the better guess, right in the $\tfrac12$ of all examples that are false. Together
# $0.3125 + 0.5 = 0.8125$. The picture stays at one half. A leak can be in one modality only, so both must be
# tested.

# %% exercise 1.1.3 core A detector of leaks
# Counted in a sample, mutual information is above zero even where nothing leaks. Write the test of the chapter as a
# function. It returns `True` if what `seen` tells about `labels` is more than what it tells about *each* of
# 50 shuffles of the labels.

# %% stub
def leaks(seen, labels, shuffles=50):
    """Does what is seen tell more than chance about the labels?"""
    rng = random.Random(0)
    told = ...
    by_luck = ...
    return ...


# %% solution
def leaks(seen, labels, shuffles=50):
    """Does what is seen tell more than chance about the labels?"""
    rng = random.Random(0)
    told = mutual_information(list(zip(seen, labels)))
    by_luck = [
        mutual_information(list(zip(seen, rng.sample(labels, len(labels)))))
        for _ in range(shuffles)
    ]
    return told > max(by_luck)


# %% wrong anything above zero is a leak
def leaks(seen, labels, shuffles=50):
    """Does what is seen tell more than chance about the labels?"""
    return mutual_information(list(zip(seen, labels))) > 0


# %% wrong an accuracy above one half is a leak
def leaks(seen, labels, shuffles=50):
    """Does what is seen tell more than chance about the labels?"""
    return best_accuracy(list(zip(seen, labels))) > 0.5


# %% wrong seen and labels are shuffled together
def leaks(seen, labels, shuffles=50):
    """Does what is seen tell more than chance about the labels?"""
    rng, pairs = random.Random(0), list(zip(seen, labels))
    told = mutual_information(pairs)
    by_luck = [mutual_information(rng.sample(pairs, len(pairs)))
               for _ in range(shuffles)]
    return told > max(by_luck)


# %% check
data = Matching(3000, seed=7, size=4)
hurried = [  # somebody typed a few of the true ones in capitals
    text.upper() if label and random.Random(i).random() < 0.1 else text
    for i, (text, label) in enumerate(zip(data.texts, data.labels))
]

with check("1.1.3", "A detector of leaks") as it:
    answers = [leaks(texts, data.labels) for texts in (data.texts, hurried)]
    it.equal("the sentences of the chapter", answers[0], False,
             hint="Their information is what chance gives.")
    it.equal("sentences with a trace", answers[1], True,
             hint="Compare with the largest of the shuffles.")
    it.equal("the labels themselves", leaks(data.labels, data.labels), True)

# %% hint
# `rng.sample(labels, len(labels))` is a shuffled copy. Shuffle the labels, leave `seen` as it is, and count again;
# keep all the results.

# %% remark
# The trace is in one of twenty sentences, and somebody who reads only a few might miss it. A model that sees capital
# letters can use it: each sentence in capitals is true. Such traces come into real data sets when true and false
# examples are made by different hands.

# %% exercise 1.1.4 core What photographs and words have to do with each other
# `scores` holds what MobileNetV2 says about eight photographs and eight words. Write the additive projection, EMAP: the
# scores $f(i) + g(j)$ that are nearest to the given ones. What it leaves over is the interaction. Then count for how
# many of the eight photographs the largest interaction of their row is that with their own word.

# %% stub
def emap(scores):
    """The additive scores (m, n) that are nearest to the given ones."""
    return ...


interaction = ...
own_word = ...  # how many of the eight


# %% solution
def emap(scores):
    """The additive scores (m, n) that are nearest to the given ones."""
    rows, columns = scores.mean(1, keepdim=True), scores.mean(0)
    return rows + columns - scores.mean()


interaction = scores - emap(scores)
own_word = int((interaction.argmax(1) == torch.arange(8)).sum())


# %% wrong the mean of all is counted twice
def emap(scores):
    """The additive scores (m, n) that are nearest to the given ones."""
    return scores.mean(1, keepdim=True) + scores.mean(0)


interaction = scores - emap(scores)
own_word = int((interaction.argmax(1) == torch.arange(8)).sum())


# %% wrong the picture alone is the additive part
def emap(scores):
    """The additive scores (m, n) that are nearest to the given ones."""
    return scores.mean(1, keepdim=True).expand_as(scores)


interaction = scores - emap(scores)
own_word = int((interaction.argmax(1) == torch.arange(8)).sum())


# %% wrong independent means a product of the margins
def emap(scores):
    """The additive scores (m, n) that are nearest to the given ones."""
    return scores.mean(1, keepdim=True) * scores.mean(0) / scores.mean()


interaction = scores - emap(scores)
own_word = int((interaction.argmax(1) == torch.arange(8)).sum())


# %% check
with check("1.1.4", "What photographs and words have to do with each other") as it:
    additive = torch.tensor([[1.0], [2.0], [4.0]]) + torch.tensor([0.0, 5.0])
    got = it.answer(emap(additive))
    it.true("additive scores stay as they are",
            torch.allclose(got.expand(3, 2), additive, atol=1e-5),
            hint="f(i) + g(j) is its own nearest additive score.")
    left = it.answer(interaction)
    it.true("nothing is left in the mean of a row or of a column",
            left.mean(0).abs().max() + left.mean(1).abs().max() < 1e-4)
    it.equal("photographs with their own word", own_word, 7,
             hint="argmax along a row; compare with the row's number.")

# %% hint
# The mean of a row says how high the scores of that photograph are in general. `keepdim=True` keeps it a column. Both
# means contain the mean of all scores.

# %% remark
# The one exception is the laptop that is seen from behind. The largest score of a row and its largest interaction need not be at
# the same word, because the projection also takes away how high a word's scores are in general.

# %% exercise 1.1.5 core The best additive model
# By cross-entropy, the best additive model of the matching task answers one half everywhere. By accuracy, another
# additive model is better! Give each of the 48 objects a score as a picture, and a score as a sentence. The model says "true" if the sum is above
# zero. Find scores that are right in 75 of 100 examples.

# %% stub
objects = list(product(COLOURS, SHAPES))
picture_score = {it: ... for it in objects}
sentence_score = {it: ... for it in objects}

# %% solution
objects = list(product(COLOURS, SHAPES))
picture_score = {it: 0.5 - place for place, it in enumerate(objects)}
sentence_score = {it: place for place, it in enumerate(objects)}

# %% wrong always true
picture_score = dict.fromkeys(product(COLOURS, SHAPES), 1)
sentence_score = dict.fromkeys(product(COLOURS, SHAPES), 0)

# %% wrong equal scores for what belongs together
objects = list(product(COLOURS, SHAPES))
picture_score = {it: place for place, it in enumerate(objects)}
sentence_score = {it: place for place, it in enumerate(objects)}

# %% wrong the tie of a true sentence is forgotten
objects = list(product(COLOURS, SHAPES))
picture_score = {it: -place for place, it in enumerate(objects)}
sentence_score = {it: place for place, it in enumerate(objects)}

# %% check
copies = {(True, True): 105, (False, True): 5,
          (True, False): 7, (False, False): 1}

with check("1.1.5", "The best additive model") as it:
    right = total = 0
    for shown, named in product(objects, repeat=2):
        weight = copies[shown[0] == named[0], shown[1] == named[1]]
        if ... in (picture_score[shown], sentence_score[named]):
            it.true("a score for each object", ...)
        said = picture_score[shown] + sentence_score[named] > 0
        right += weight * (said == (shown == named))
        total += weight
    it.true("better than chance", right / total > 0.5,
            hint="Put the objects in a row. What if the scores grow along it?")
    it.true("75 of 100", right / total >= 0.75,
            hint="All true sentences can be right. How many false ones then?")

# %% hint
# Think of places in a row: a sum of scores can tell whether the named object stands *further along* than the shown one.
# For a true sentence both stand at the same place; let this count as "true".

# %% remark
# All true sentences are right, and so is the half of the false ones in which the named object stands further along.
# More is not possible: any two objects make four examples like the two bits, and an additive model is right in at most
# three of them. Training with cross-entropy does not lead there: one half everywhere has the lowest loss of all
# additive models, as the chapter shows. This model is very sure of itself when it is wrong, and its loss is five times as
# high (3.59 instead of 0.69 for the scores above). What a model *can* represent and what its loss makes it represent
# are two questions.

# %% exercise 1.1.6 open Train for a missing modality
# In the chapter, models with cross-attention named colours from a picture and a sentence. Without the sentence they
# failed, although the picture was still there, unless modalities had been left out in training.
#
# Write the `collate` function that does this. It sometimes leaves a modality out, for a whole batch:
# `batch_of(items, names)` makes a batch with the modalities in `names`, which are
# `("image", "text")`, `("image",)` or `("text",)`. The check trains a small model with it. It wants at
# least 60 of 100 right without a sentence, and 85 with both.
#
# Then go on by yourself: how rarely can you leave one out? What does it cost when both are there? Does it change how
# sure a model of the task "is it true" is when it sees a picture only?

# %% stub
rng = random.Random(0)


def forgetful(items):
    """A batch in which a modality is sometimes missing."""
    names = ...
    return ... if names is ... else batch_of(items, names)


# %% solution
rng = random.Random(0)


def forgetful(items):
    """A batch in which a modality is sometimes missing."""
    names = rng.choice([("image", "text"), ("image", "text"), ("image",),
                        ("text",)])
    return batch_of(items, names)


# %% wrong both modalities are always there
def forgetful(items):
    """A batch in which a modality is sometimes missing."""
    return batch_of(items, ("image", "text"))


# %% wrong the choice is drawn once, for all batches
names = random.Random(0).choice([("image", "text"), ("image",), ("text",)])


def forgetful(items):
    """A batch in which a modality is sometimes missing."""
    return batch_of(items, names)


# %% wrong only the sentence's model is practised
def forgetful(items):
    """A batch in which a modality is sometimes missing."""
    names = random.choice([("image", "text"), ("text",)])
    return batch_of(items, names)


# %% check
with check("1.1.6", "Train for a missing modality") as it:
    learned, asked = naming(2000, seed=3), naming(500, seed=4)
    it.true("it makes batches", forgetful(learned[:8]))
    seen = {tuple(sorted({"image", "text"} & set(forgetful(learned[:2]))))
            for _ in range(100)}
    it.true("sometimes both, sometimes only the picture",
            {("image", "text"), ("image",)} <= seen,
            hint="Draw anew in each call.")
    model = trained(forgetful, learned)
    it.true("60 of 100 right without a sentence",
            accuracy(model, asked, ("image",)) >= 0.6,
            hint="Leave the sentence out more often.")
    it.true("85 of 100 right with both",
            accuracy(model, asked, ("image", "text")) >= 0.85,
            hint="Leave modalities out less often.")

# %% hint
# Draw one of the three choices at random, each time that the function is called. How often each should come is for
# you to find out; each must come at times.

# %% remark
# This is *modality dropout* (模态丢弃). In one batch of four the sentence was missing, and the model has learned to answer
# from the picture alone. In the task "is it true?" the same training cannot make a lone picture right, because nothing
# can. But the model can then learn to be *unsure* when one modality is missing, which is the honest answer there.
