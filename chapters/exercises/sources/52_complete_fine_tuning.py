# %% [markdown]
# # Exercises 5.2 Complete fine-tuning
#
# To the chapter: [5.2 Complete fine-tuning](../5-practice/52_complete_fine_tuning.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Only the last check trains
# a model; that takes about ten seconds.

# %% shared
import math
import random

import torch
from torch.nn import functional as F

from mmbook import metrics, training
from mmbook.data import Collate, stack_images
from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import fusion
from mmbook.generation import generate, to_text
from mmbook.heads import GenerationHead
from mmbook.models import MultimodalModel
from mmbook.notebook.exercises import check
from mmbook.world import (
    CaptionedScenes,
    attribute_accuracy,
    describe,
    sample_scenes,
    scene_tokenizer,
)

torch.set_num_threads(1)
tokenizer = scene_tokenizer()
collate = Collate(tokenizer, max_length=24)


def eyes():
    """The pre-trained image encoder."""
    return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")


def voice():
    """The pre-trained language model."""
    return GenerationHead.from_pretrained("mmbook/scene-language-model")


def captioner():
    """The model of the chapter, joined and not yet trained."""
    torch.manual_seed(0)
    joined = fusion("concatenation", widths={"image": 96}, width=96)
    return MultimodalModel({"image": eyes()}, joined,
                           voice().with_context(96)).eval()


# %% exercise 5.2.1 warm-up One place to the right
# The labels of a batch are the captions, each with its end token, −100 where there is nothing. The decoder
# reads them moved right by one place: first the start token, then the labels but the last one. It can't read
# −100, so it gets the padding token there.
#
# Write this function. Then say what goes wrong if it is used once too seldom, or once too often. Two
# programmes:
#
# - `no_shift`: the decoder reads the labels as they are, and is compared with the labels.
# - `double_shift`: the decoder reads the labels moved right; then the loss compares `logits[:, :-1]` with
#   `labels[:, 1:]`, as many programmes for language models do.
#
# What does each learn to say? `"a"`: the next word, `"b"`: the word that it has just read, `"c"`: the word
# after the next.

# %% stub
def moved(labels, start, pad):
    """What the decoder reads (B, L), for labels (B, L)."""
    return ...


no_shift = ...  # "a", "b" or "c"
double_shift = ...

# %% solution
def moved(labels, start, pad):
    """What the decoder reads (B, L), for labels (B, L)."""
    first = torch.full_like(labels[:, :1], start)
    read = torch.cat([first, labels[:, :-1]], dim=1)
    return read.masked_fill(read < 0, pad)


no_shift = "b"
double_shift = "c"

# %% check
labels = torch.tensor([[7, 9, 4, 2], [8, 2, -100, -100]])

with check("5.2.1", "One place to the right") as it:
    before = labels.clone()
    read = moved(labels, start=1, pad=0)
    it.equal("moved", read if read is ... else read.tolist(),
             [[1, 7, 9, 4], [1, 8, 2, 0]],
             hint="As long as the labels, and no -100 is left.")
    it.true("the labels are as they were", torch.equal(labels, before),
            hint="The loss still needs them: change a copy.")
    batch = collate([{"caption": "a big red ring"},
                     {"caption": "a red ring above a big blue star"}])
    head = voice()
    it.true("as the generation head does it", torch.equal(
        moved(batch["labels"], head.start, head.pad),
        head.shifted(batch["labels"])))
    it.choice("no shift", no_shift, "b", {
        "a": "At place t it reads word t, and word t is what it shall say.",
        "b": "The answer is what it reads, so it learns to copy.",
        "c": "Nothing is moved here, so no word can be skipped.",
    })
    it.choice("a double shift", double_shift, "c", {
        "a": "At place t it has read t - 1 words. Which label is it given?",
        "b": "What it reads was moved one way, the labels the other.",
        "c": "One word is skipped, and the first word is never learned.",
    })

# %% hint
# Write the start token, the labels and what the loss compares in three rows below each other. What stands in
# one column is read and said at the same time.

# %% remark
# Neither mistake gives an error, and under both the loss falls: copying brings it to nearly zero. What fails is
# the sentence that the model writes by itself, where there is nothing to copy and no word may be skipped.
# Before you trust a small loss, let the model speak. In this book `logits[:, t]` is always compared with
# `labels[:, t]`; the head moves, the loss does not.

# %% exercise 5.2.2 core A batch in two parts
# Four short captions and four long ones make one batch for the pre-trained voice. Suppose that it doesn't fit
# into memory: then it goes through the model in two parts. The short part has 20 words that count (end tokens
# are among them), the long part has 42.
#
# Write the mean loss over the words that count; then two ways of putting parts together: the mean of the parts'
# means, and the one that equals the whole batch. A part is a pair of logits (B, L, V) and labels (B, L).
#
# And calculate: in the mean of means, how many times as much does one word of the short part count as one word
# of the long part?

# %% stub
def mean_loss(logits, labels):
    """The mean of -log p over the labels that are not -100."""
    return ...


def mean_of_means(parts):
    """The mean of the losses of the parts."""
    return ...


def in_parts(parts):
    """The loss of the whole batch, from its parts."""
    return ...


times_as_much = ...

# %% solution
def mean_loss(logits, labels):
    """The mean of -log p over the labels that are not -100."""
    real = labels >= 0
    log_p = logits.log_softmax(-1)[real]  # (n, V)
    return -log_p.gather(1, labels[real][:, None]).mean()


def mean_of_means(parts):
    """The mean of the losses of the parts."""
    return sum(mean_loss(*part) for part in parts) / len(parts)


def in_parts(parts):
    """The loss of the whole batch, from its parts."""
    counts = [(labels >= 0).sum() for _, labels in parts]
    return sum(mean_loss(*part) * count / sum(counts)
               for part, count in zip(parts, counts))


times_as_much = 42 / 20

# %% check
scenes = [*sample_scenes(4, seed=5, objects=(1,)),
          *sample_scenes(4, seed=6, objects=(2,))]
data = CaptionedScenes(scenes)
labels = collate([data[i] for i in range(8)])["labels"]
head = voice()


def split(logits, *places):
    """The batch in parts, cut at these places."""
    return list(zip(logits.tensor_split(places),
                    labels.tensor_split(places)))


with check("5.2.2", "A batch in two parts") as it:
    with torch.no_grad():
        logits, loss = head(None, labels)
    true = loss.item()
    it.close("the loss of the whole batch", mean_loss(logits, labels), true,
             hint="Padding must not count, in the sum nor in the number.")
    halves = split(logits, 4)
    assert [int((y >= 0).sum()) for _, y in halves] == [20, 42]
    means = [F.cross_entropy(x.flatten(0, 1), y.flatten()).item()
             for x, y in halves]
    it.close("the mean of means", mean_of_means(halves), sum(means) / 2)
    it.true("which is another number", abs(sum(means) / 2 - true) > 0.005)
    it.close("in two parts", in_parts(halves), true,
             hint="Weight each part by its share of the words.")
    it.close("in three uneven parts", in_parts(split(logits, 1, 6)), true)
    logits, loss = head(None, labels)
    wanted, = torch.autograd.grad(loss, head.bias, retain_graph=True)
    got, = torch.autograd.grad(in_parts(split(logits, 4)), head.bias)
    it.true("the gradient is the same, too",
            torch.allclose(got, wanted, atol=1e-5))
    it.close("how many times as much", times_as_much, 2.1,
             hint="What is 1 / (2 · 20), beside 1 / (2 · 42)?")

# %% hint
# `labels >= 0` says which places count; with it you can take the rows of `logits` and of `labels` that count,
# and leave the others. A mean of $n_1$ words and a mean of $n_2$ words: by what must you multiply each, so that
# you may add them and have the mean of $n_1 + n_2$ words?

# %% remark
# The mean of means listens to short captions more: each of their words counts 2.1 times as much. It is no crash
# and no warning, only another loss, and it changes with the way in which captions happen to fall into parts.
# The `Trainer` of transformers had this fault [until October
# 2024](https://huggingface.co/blog/gradient_accumulation). With its share, `count / total` in the chapter's
# loop, one update is the same however the batch is cut.

# %% exercise 5.2.3 core Up, then down
# Write the learning rate as a function of the step, which counts from 0 to `steps` − 1. In the first `warmup`
# steps it rises by the same amount each time, from `highest / warmup` in step 0 to `highest` in the last of
# them. Then it falls along half a cosine: from `highest`, in the first step after the warm-up, towards 0, which
# it would reach in the step after the last one.
#
# *Guess before you count:* with 200 steps, 20 of them warm-up, in what share of the steps is the rate above
# half of the highest?

# %% stub
def rate(step, steps, warmup, highest):
    """The learning rate of this step."""
    if step < warmup:
        return ...
    progress = ...  # 0 after the warm-up, 1 at the end
    return ...


above_half = ...  # a share, between 0 and 1

# %% solution
def rate(step, steps, warmup, highest):
    """The learning rate of this step."""
    if step < warmup:
        return highest * (step + 1) / warmup
    progress = (step - warmup) / (steps - warmup)
    return highest * (1 + math.cos(math.pi * progress)) / 2


above_half = sum(rate(s, 200, 20, 1.0) > 0.5 for s in range(200)) / 200

# %% check
with check("5.2.3", "Up, then down") as it:
    it.close("the first step", rate(0, 200, 20, 1.0), 0.05)
    it.close("the last of the warm-up", rate(19, 200, 20, 1.0), 1.0)
    it.close("the first step after it", rate(20, 200, 20, 1.0), 1.0)
    it.close("half-way down", rate(110, 200, 20, 1.0), 0.5)
    it.true("at the end almost nothing", 0 < rate(199, 200, 20, 1.0) < 1e-3)
    for steps, share in ((200, 0.1), (50, 0.3), (80, 0.0)):
        config = training.TrainingConfig(steps=steps, warmup=share,
                                         learning_rate=2e-3)
        ours = [rate(s, steps, round(share * steps), 2e-3)
                for s in range(steps)]
        its = [training.learning_rate(s, config) for s in range(steps)]
        it.true(f"as in fit: {steps} steps, {share:.0%} warm-up",
                all(abs(a - b) < 1e-9 for a, b in zip(ours, its)))
    it.close("the share above one half", above_half, 0.5, within=0.01,
             hint="Half of the way up, and half of the way down?")

# %% hint
# The cosine of 0 is 1, the cosine of π is −1. Move and squeeze it so that it goes from 1 to 0. In step 0 one
# part of the warm-up is already done.

# %% remark
# Half of the steps are above one half, whatever the warm-up is: both curves are as long above their middle as
# below. The start is slow because the cross-attention is new and its first gradients say little; the end is
# slow because by then only fine things are left to be learned. The rate depends on `steps`. Stop such a run
# half-way, and you have a model that was never allowed its small steps. So a shorter run is not the beginning
# of a longer one: choose the number of steps first.

# %% exercise 5.2.4 core Where greed is wrong
# A decoder looks at a ring that is nearly closed. These are its probabilities; a beginning with no line in the
# table is a finished caption.
#
# | behind | it says |
# |---|---|
# | (start) | a 0.45 · one 0.30 · there 0.25 |
# | a | ring 0.40 · circle 0.35 · cross 0.25 |
# | one | ring 0.65 · circle 0.35 |
# | there | is 1.00 |
# | there is | a 1.00 |
# | there is a | ring 0.90 · circle 0.10 |
#
# With paper and pencil: what does greedy decoding say, and how many beams does it take until the likeliest
# caption is found? Then write the beam search. It keeps the `width` likeliest beginnings, and lets each go on
# by every word that may follow. Finished captions are put aside. When no beginning is left, the likeliest
# finished caption is the answer.

# %% stub
ring = {
    (): {"a": 0.45, "one": 0.30, "there": 0.25},
    ("a",): {"ring": 0.40, "circle": 0.35, "cross": 0.25},
    ("one",): {"ring": 0.65, "circle": 0.35},
    ("there",): {"is": 1.0},
    ("there", "is"): {"a": 1.0},
    ("there", "is", "a"): {"ring": 0.90, "circle": 0.10},
}
greedily = ...  # a caption, such as "a cross"
beams_needed = ...


def beam(table, width):
    """The caption that a beam of this width finds: a tuple of words."""
    running, finished = [((), 1.0)], []
    return ...


# %% solution
ring = {
    (): {"a": 0.45, "one": 0.30, "there": 0.25},
    ("a",): {"ring": 0.40, "circle": 0.35, "cross": 0.25},
    ("one",): {"ring": 0.65, "circle": 0.35},
    ("there",): {"is": 1.0},
    ("there", "is"): {"a": 1.0},
    ("there", "is", "a"): {"ring": 0.90, "circle": 0.10},
}
greedily = "a ring"
beams_needed = 3


def beam(table, width):
    """The caption that a beam of this width finds: a tuple of words."""
    running, finished = [((), 1.0)], []
    while running:
        longer = [((*words, word), p * q) for words, p in running
                  for word, q in table[words].items()]
        longer.sort(key=lambda pair: pair[1], reverse=True)
        best = longer[:width]
        finished += [pair for pair in best if pair[0] not in table]
        running = [pair for pair in best if pair[0] in table]
    return max(finished, key=lambda pair: pair[1])[0]


# %% check
def some_table(seed):
    """Captions of two to four words, with drawn probabilities."""
    rng, table, todo = random.Random(seed), {}, [()]
    while todo:
        words = todo.pop()
        if len(words) < 2 or (len(words) < 4 and rng.random() < 0.6):
            drawn = {word: rng.random() for word in "abc"}
            table[words] = {w: p / sum(drawn.values())
                            for w, p in drawn.items()}
            todo += [(*words, word) for word in drawn]
    return table


def take_the_likeliest(table, words=()):
    """Greedy decoding."""
    while words in table:
        words = (*words, max(table[words], key=table[words].get))
    return words


def likeliest(table):
    """Of all captions the one with the highest probability."""
    captions = {(*b, w) for b in table for w in table[b]} - set(table)
    return max(captions, key=lambda c: math.prod(
        table[c[:i]][word] for i, word in enumerate(c)))


with check("5.2.4", "Where greed is wrong") as it:
    it.equal("what greedy decoding says", greedily, "a ring")
    it.equal("beams needed", beams_needed, 3,
             hint="Multiply each caption's probabilities.")
    found = [beam(ring, width) for width in (1, 2, 3)]
    it.equal("one beam", found[0], ("a", "ring"))
    it.equal("two beams", found[1], ("one", "ring"))
    it.equal("three beams", found[2], ("there", "is", "a", "ring"),
             hint="Go on until no beginning is left.")
    tables = [some_table(seed) for seed in range(50)]
    it.true("on 50 other tables one beam is greedy", all(
        beam(t, 1) == take_the_likeliest(t) for t in tables))
    it.true("and 100 beams find the likeliest caption", all(
        beam(t, 100) == likeliest(t) for t in tables),
        hint="A finished caption may be beaten by a later one.")

# %% hint
# Keep pairs of words and probability. One round: make all beginnings that are longer by one word, sort them by
# their probability, keep the best `width`. Which of those can go on? Those that stand in the table.

# %% remark
# "there" looks worst after one word, and everything behind it is nearly sure. Greedy decoding can't know that,
# and a beam of two forgets it just as early. A beam is no guarantee, only a later decision. How wide must it
# be? Where the decoder is nearly sure of each word, as after fine-tuning on scenes, one beam says almost always
# what four say; where it hesitates early, as it may before a photograph, a few beams can help. Here the longer
# caption won; but as each further word multiplies by something below 1, long captions mostly lose, and so
# `generate` divides the log-probability by the length.

# %% exercise 5.2.5 predict A liar and a paraphraser
# Two authors describe 400 scenes of two things. There is one reference for each, such as "a big red ring left
# of a small blue star".
#
# - The *liar* takes the reference and exchanges the two things: "a small blue star left of a big red ring". Not
#   one of these captions is true.
# - The *paraphraser* says the truth, and all of it, in one of many ways: "left of a little blue star there is a
#   large red ring".
#
# Predict the BLEU of both, from 0 to 100. Then say how the liar comes by so much:
#
# - `"a"`: BLEU does not look at the order of words
# - `"b"`: most of the liar's phrases of up to four words stand in the reference
# - `"c"`: the liar's captions have the right length, which is most of BLEU

# %% stub
guess_liar = ...  # from 0 to 100
guess_paraphraser = ...
why = ...  # "a", "b" or "c"

# %% solution
guess_liar = 70
guess_paraphraser = 35
why = "b"

# %% check
scenes = sample_scenes(400, seed=3, objects=(2,))
references = [describe(scene) for scene in scenes]


def lie(caption):
    """Exchange the two things."""
    relation = " left of " if " left of " in caption else " above "
    first, second = caption.split(relation)
    return second + relation + first


with check("5.2.5", "A liar and a paraphraser") as it:
    bleu, exact = {}, {}
    said = {"liar": [lie(text) for text in references],
            "paraphraser": [describe(scene, "varied", seed)
                            for seed, scene in enumerate(scenes)]}
    for name, captions in said.items():
        bleu[name] = metrics.bleu(captions, [[t] for t in references])
        shares = attribute_accuracy(captions, scenes)
        exact[name] = shares["exact"]
    it.prediction("BLEU of the liar", guess_liar, bleu["liar"])
    it.prediction("BLEU of the paraphraser", guess_paraphraser,
                  bleu["paraphraser"])
    it.true(f"exact: liar {exact['liar']:.0%}, paraphraser "
            f"{exact['paraphraser']:.0%}", exact["paraphraser"] == 1)
    it.choice("why", why, "b", {
        "a": "It does: pairs, triples and fours of words have an order.",
        "b": "Only the phrases across \"left of\" or \"above\" are wrong.",
        "c": "The length only matters when captions are too short.",
    })

# %% hint
# Take the example above. How many of the liar's single words stand in the reference? How many of its pairs of
# neighbours? Then do the same for the paraphraser.

# %% remark
# The liar has twice the BLEU of the paraphraser. All the words are right, and most of the short phrases; one
# fact is wrong, and it makes the whole caption false. The paraphraser is always right, and pays for each
# synonym. Data sets of photographs have several captions for each, often five, so that other ways to say it may
# count too; this helps the paraphraser, but it doesn't stop the liar. A metric that compares words measures how
# alike captions sound. If a relation, a number or a "not" matters to you, test for it by itself.

# %% exercise 5.2.6 open Only the bridge
# The eyes of our captioner serve other models, too, and so does its voice. Neither may be changed. Train a
# captioner in which they are frozen (冻结) entirely, and only what joins them is learned. Write `bridge_only`,
# which makes such a model. The check trains it on 500 captions and looks at three things:
#
# 1. What the eyes say of a picture is the same after training as before, bit for bit.
# 2. Without a picture, the voice gives the same logits as before, bit for bit.
# 3. At least 40 of 100 captions are exact, for new scenes as for held-out pairs.
#
# `requires_grad_(False)` freezes a parameter. Is that all? You may also change the settings: those of the
# chapter were chosen for another purpose. Keep to at most 200 steps.
#
# Then go on by yourself. How many labels does the bridge need? Which attribute is it worst at, and is that the
# one at which the chapter's model is worst? And let dusk fall over the test pictures: multiply them by 0.9,
# then by 0.8. How many captions remain exact, here and when the whole model was trained? Guess first.

# %% stub
settings = dict(steps=150, learning_rate=2e-3)


def bridge_only():
    """A captioner that learns only what joins eyes and voice."""
    model = captioner()
    return ...


# %% solution
settings = dict(steps=150, learning_rate=5e-3)


def bridge_only():
    """A captioner that learns only what joins eyes and voice."""
    model = captioner()
    for name, parameter in model.named_parameters():
        is_bridge = name.startswith("fusion.") or ".cross" in name
        parameter.requires_grad_(is_bridge)
    seeing = model.encoders["image"].eval()
    seeing.train = lambda mode=True: seeing  # it stays in eval mode
    return model


numbers = [(p.numel(), p.requires_grad) for p in bridge_only().parameters()]
print(f"{sum(n for n, learns in numbers if learns):,} numbers of "
      f"{sum(n for n, _ in numbers):,} are trained")

# %% check
def exact_captions(model, dataset):
    """The share of exact captions that the model writes."""
    pictures = [dataset.picture(i) for i in range(len(dataset))]
    ids = generate(model, {"image": stack_images(pictures)}, 24)
    said = to_text(ids, tokenizer)
    return attribute_accuracy(said, dataset.scenes)["exact"]


with check("5.2.6", "Only the bridge") as it:
    model = bridge_only()
    it.true("it makes a model", model)
    learned = CaptionedScenes(sample_scenes(500, seed=1))
    config = training.TrainingConfig(batch_size=32, compile=False,
                                     **settings)
    training.fit(model, learned, config, collate)
    model.cpu().eval()
    few = collate([learned[i] for i in range(20)])
    words = voice().shifted(few["labels"])
    with torch.no_grad():
        seen = [part(few["image"]).values
                for part in (eyes(), model.encoders["image"])]
        said = [part.decode(words, None) for part in (voice(), model.head)]
    it.true("the eyes see what they saw", torch.equal(*seen),
            hint="Parameters are not all: what does batch norm remember?")
    it.true("the voice says what it said", torch.equal(*said),
            hint="Words, positions, norms and the bias belong to it, too.")
    for seed, pairs in ((3, "seen"), (4, "held-out")):
        test = CaptionedScenes(sample_scenes(200, seed, pairs=pairs),
                               seed=seed)
        it.true(f"40 of 100 exact, pairs that were {pairs}",
                exact_captions(model, test) >= 0.4,
                hint="Does the fusion learn, and each cross-attention?")

# %% hint
# Look at `model.named_parameters()`: which names belong to the place where picture and word meet? If the eyes
# still change, compare `model.encoders["image"].state_dict()` before and after: not all of it are parameters.
# In which mode do those others move, and who switches it on?

# %% remark
# Batch norm keeps means and variances, which move with each batch as long as the module is in training mode,
# and `fit` switches the whole model to it. So "frozen" needs both: no gradient, and eval mode that lasts. The
# book's `Pretrained` encoders do it for you; many programmes forget it.
#
# The eyes had learned from incomplete sentences only, the voice had never seen a picture. A bridge of fewer
# than a fifth of all numbers is enough to pass, and with pairs that were never shown, too. What was frozen
# can't forget what it knows. Large models are joined in the same way, a frozen language model with new
# cross-attentions ([Alayrac et al. 2022](https://arxiv.org/abs/2204.14198)).
