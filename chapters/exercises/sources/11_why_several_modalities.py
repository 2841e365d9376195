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
from itertools import combinations, product
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
# The next cell is for the last exercise only. It holds what the chapter had for "which colour is it?": examples in
# which the picture may be empty and the word may be left out, batches, and the cross-attention model.

# %% shared
import torch

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

torch.set_num_threads(1)
eyes = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
collate = Collate(scene_tokenizer())


def naming(count, seed):
    """Which colour? A list of examples with kept image tokens."""
    rng, names = random.Random(seed), list(COLOURS)
    scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
    shown = [s if rng.random() < 0.7 else Scene(()) for s in scenes]
    with torch.inference_mode():
        images = eyes(render(shown, seed=seed)).values
    items = []
    for image, scene in zip(images.clone(), scenes):
        colour = scene.things[0].colour
        word = f"a {colour} thing" if rng.random() < 0.6 else "a thing"
        items.append({"image": image, "text": word,
                      "label": names.index(colour)})
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

# %% stub
guess_picture = ...  # between 0.5 and 1
guess_sentence = ...
why = ...  # "a", "b" or "c"

# %% solution
guess_picture = 0.5
guess_sentence = 0.8125
why = "b"

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
        "a": "The bound holds for anybody, with however good eyes.",
        "b": "\"a blue …\" is never false here, so reading is enough.",
        "c": "For each picture both answers are still equally likely.",
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
# function. It says `True` if what `seen` tells about `labels` is more than what it tells about *each* of
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


# %% check
data = Matching(3000, seed=7, size=4)
hurried = [  # somebody wrote the article in capitals, mostly if it is true
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
# The trace is in one of twenty sentences, and no reader would have noticed it. A model would: nothing is easier to
# learn than a capital letter. Such traces come into real data sets when true and false examples are made by different
# hands.

# %% exercise 1.1.4 core Three modalities
# Picture, sentence and sound: three bits $a, b, c$, and $y = a \oplus b \oplus c$. Write a function that
# counts what any choice of the modalities tells about $y$. `seen` names positions: `(0,)` is $a$ alone, `(0, 2)`
# is $a$ and $c$.
#
# *Guess first: what do two of the three tell?*

# %% stub
parity = ...  # eight tuples (a, b, c, y)


def information(cases, seen):
    """What the bits at these positions tell about the last one."""
    return ...


# %% solution
parity = [(a, b, c, a ^ b ^ c) for a, b, c in product((0, 1), repeat=3)]


def information(cases, seen):
    """What the bits at these positions tell about the last one."""
    return mutual_information(
        [(tuple(case[i] for i in seen), case[-1]) for case in cases])


# %% check
with check("1.1.4", "Three modalities") as it:
    it.equal("the eight cases", parity if parity is ... else sorted(parity),
             [(a, b, c, (a + b + c) % 2)
              for a, b, c in product((0, 1), repeat=3)])
    for size in (1, 2):
        told = [information(parity, s) for s in combinations(range(3), size)]
        most = ... if ... in told else max(told)
        it.close(f"the most that {size} of 3 tell", most, 0)
    it.close("what all three tell", information(parity, (0, 1, 2)), 1)

# %% hint
# What is seen must be one thing that can be counted: a tuple of the bits at the positions `seen`. The answer is
# the last element of a case.

# %% remark
# Two of three tell nothing at all. Fusing modalities two by two, and deciding after each, would never solve
# this. In practice it is rarely so pure; but it happens that a third modality makes sense of two others.

# %% exercise 1.1.5 core The best votes
# Trained votes stay near chance in the matching task. Hand-made ones can do better! Give each of the 48 things a score as a
# picture, and a score as a sentence. The votes say "true" if the sum is above zero. Find scores that are right
# in 75 of 100 examples.

# %% stub
things = list(product(COLOURS, SHAPES))
picture_score = {thing: ... for thing in things}
sentence_score = {thing: ... for thing in things}

# %% solution
things = list(product(COLOURS, SHAPES))
picture_score = {thing: 0.5 - place for place, thing in enumerate(things)}
sentence_score = {thing: place for place, thing in enumerate(things)}

# %% check
copies = {(True, True): 105, (False, True): 5,
          (True, False): 7, (False, False): 1}

with check("1.1.5", "The best votes") as it:
    right = total = 0
    for shown, named in product(things, repeat=2):
        weight = copies[shown[0] == named[0], shown[1] == named[1]]
        if ... in (picture_score[shown], sentence_score[named]):
            it.true("a score for each thing", ...)
        said = picture_score[shown] + sentence_score[named] > 0
        right += weight * (said == (shown == named))
        total += weight
    it.true("better than chance", right / total > 0.5,
            hint="Put the things in a row. What if the scores grow along it?")
    it.true("75 of 100", right / total >= 0.75,
            hint="All true sentences can be right. How many false ones then?")

# %% hint
# Think of places in a row: the votes can say whether the named thing stands *further along* than the shown one, or
# not. For a true sentence both stand at the same place; let this count as "true".

# %% remark
# All true sentences are right, and so is the half of the false ones in which the named thing stands earlier in the
# row. More is not possible: each two things $i, j$ make four examples like the two bits, with equal
# weight, and of these votes get at most three. And yet training with cross-entropy doesn't go there. These votes are
# very sure of themselves when they are wrong, and cross-entropy punishes that more than it rewards
# the accuracy. What a model *could* say, and what its loss makes it say, are two questions.

# %% exercise 1.1.6 open Practise being alone
# In the chapter the cross-attention model named colours from a picture and a sentence. When the sentence was
# taken away, it failed, although the picture was still there. It had never practised that.
#
# Let it practise. Write a `collate` function that sometimes leaves a modality out, for a whole batch:
# `batch_of(items, names)` makes a batch with the modalities in `names`, which are
# `("image", "text")`, `("image",)` or `("text",)`. The check trains a small model with it. It wants at
# least 60 of 100 right without a sentence, and the full 85 with both.
#
# Then go on by yourself: how rarely can you leave one out? What does it cost when both are there? Does this cure the
# false confidence in the task "is it true"?

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


# %% check
with check("1.1.6", "Practise being alone") as it:
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
# This is called *modality dropout* (模态丢弃). In one batch of four the sentence was missing, and that was enough: the
# model has now practised to answer from the picture alone, and lost next to nothing with both. In the task "is it
# true?" the same practice can't make a lone picture right. But it can teach the model to be *unsure*
# when it is alone, and that is the honest answer there.
