# %% [markdown]
# # Exercises 5.2 Complete fine-tuning
#
# To the chapter: [5.2 Complete fine-tuning](../5-practice/52_complete_fine_tuning.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Only the last check trains
# a model, which takes about ten seconds.

# %% shared
import math
import random

import torch
from torch.nn import functional as F

from mmbook import metrics, samples, training
from mmbook.data import Collate, stack_images
from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import fusion
from mmbook.generation import generate, to_text
from mmbook.heads import GenerationHead
from mmbook.models import MultimodalModel
from mmbook.notebook.exercises import check
from mmbook.pretrained import PretrainedImageEncoder, keep_features
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


def image_encoder():
    """The pre-trained image encoder."""
    return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")


def language_model():
    """The pre-trained language model."""
    return GenerationHead.from_pretrained("mmbook/scene-language-model")


def captioner():
    """The model of the chapter, joined and not yet trained."""
    torch.manual_seed(0)
    joined = fusion("concatenation", widths={"image": 96}, width=96)
    return MultimodalModel({"image": image_encoder()}, joined,
                           language_model().with_context(96)).eval()


# %% exercise 5.2.1 warm-up One place to the right
# The labels of a batch are the captions, each with its end token, −100 where there is nothing. The decoder
# reads them moved right by one place: first the start token, then the labels but the last one. It can't read
# −100, so it gets the padding token there.
#
# Write this function. Then say what goes wrong if the labels are moved once too seldom, or once too often. Two
# programs:
#
# - `no_shift`: the decoder reads the labels as they are, and is compared with the labels.
# - `double_shift`: the decoder reads the labels moved right; then the loss compares `logits[:, :-1]` with
#   `labels[:, 1:]`, as many programs for language models do.
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

# %% wrong The decoder reads the labels, since they are the caption
def moved(labels, start, pad):
    """What the decoder reads (B, L), for labels (B, L)."""
    return labels.masked_fill(labels < 0, pad)


no_shift = "b"
double_shift = "c"

# %% wrong To predict the next word, the words move to the left
def moved(labels, start, pad):
    """What the decoder reads (B, L), for labels (B, L)."""
    last = torch.full_like(labels[:, :1], start)
    read = torch.cat([labels[:, 1:], last], dim=1)
    return read.masked_fill(read < 0, pad)


no_shift = "b"
double_shift = "c"

# %% wrong The start token is one word more
def moved(labels, start, pad):
    """What the decoder reads (B, L), for labels (B, L)."""
    first = torch.full_like(labels[:, :1], start)
    read = torch.cat([first, labels], dim=1)
    return read.masked_fill(read < 0, pad)


no_shift = "b"
double_shift = "c"

# %% wrong The labels may be changed, they have done their work
def moved(labels, start, pad):
    """What the decoder reads (B, L), for labels (B, L)."""
    labels[:, 1:] = labels[:, :-1].clone()
    labels[:, 0] = start
    return labels.masked_fill_(labels < 0, pad)


no_shift = "b"
double_shift = "c"

# %% wrong Without a shift it still learns the next word
def moved(labels, start, pad):
    """What the decoder reads (B, L), for labels (B, L)."""
    first = torch.full_like(labels[:, :1], start)
    read = torch.cat([first, labels[:, :-1]], dim=1)
    return read.masked_fill(read < 0, pad)


no_shift = "a"
double_shift = "a"

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
    head = language_model()
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
# Neither mistake gives an error, and copying can bring the loss to nearly zero. What fails is the sentence that
# the model writes by itself, where there is nothing to copy and no word may be skipped. Before you trust a small
# loss, let the model write. In this book `logits[:, t]` is always compared with `labels[:, t]`; the head moves
# the words, and the loss does not.

# %% exercise 5.2.2 core A batch in two parts
# Four short captions and four long ones make one batch for the pre-trained language model. Suppose that it does
# not fit into memory, so that it goes through the model in two parts. The short part has 20 words that count (end
# tokens are among them), and the long part has 42.
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

# %% wrong Parts are weighted by their captions
def mean_loss(logits, labels):
    """The mean of -log p over the labels that are not -100."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def mean_of_means(parts):
    """The mean of the losses of the parts."""
    return sum(mean_loss(*part) for part in parts) / len(parts)


def in_parts(parts):
    """The loss of the whole batch, from its parts."""
    total = sum(len(labels) for _, labels in parts)
    return sum(mean_loss(*part) * len(part[1]) / total for part in parts)


times_as_much = 42 / 20

# %% wrong A mean of means is the mean
def mean_loss(logits, labels):
    """The mean of -log p over the labels that are not -100."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def mean_of_means(parts):
    """The mean of the losses of the parts."""
    return sum(mean_loss(*part) for part in parts) / len(parts)


def in_parts(parts):
    """The loss of the whole batch, from its parts."""
    return mean_of_means(parts)


times_as_much = 1

# %% wrong Padding counts as words
def mean_loss(logits, labels):
    """The mean of -log p over the labels that are not -100."""
    log_p = logits.log_softmax(-1)
    picked = log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return -(picked * (labels >= 0)).mean()


def mean_of_means(parts):
    """The mean of the losses of the parts."""
    return sum(mean_loss(*part) for part in parts) / len(parts)


def in_parts(parts):
    """The loss of the whole batch, from its parts."""
    counts = [labels.numel() for _, labels in parts]
    return sum(mean_loss(*part) * count / sum(counts)
               for part, count in zip(parts, counts))


times_as_much = 42 / 20

# %% wrong Long captions count more, because they have more words
def mean_loss(logits, labels):
    """The mean of -log p over the labels that are not -100."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def mean_of_means(parts):
    """The mean of the losses of the parts."""
    return sum(mean_loss(*part) for part in parts) / len(parts)


def in_parts(parts):
    """The loss of the whole batch, from its parts."""
    counts = [(labels >= 0).sum() for _, labels in parts]
    return sum(mean_loss(*part) * count / sum(counts)
               for part, count in zip(parts, counts))


times_as_much = 20 / 42

# %% check
scenes = [*sample_scenes(4, seed=5, objects=(1,)),
          *sample_scenes(4, seed=6, objects=(2,))]
data = CaptionedScenes(scenes)
labels = collate([data[i] for i in range(8)])["labels"]
head = language_model()


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
# In the mean of means each word of a short caption counts 2.1 times as much. There is no crash and no warning,
# only another loss, which changes with the way in which captions happen to fall into parts.
# The `Trainer` of transformers had this fault [until October
# 2024](https://huggingface.co/blog/gradient_accumulation). With its share, `count / total` in the chapter's
# loop, one update is the same however the batch is cut.

# %% exercise 5.2.3 core No photograph on both sides
# The 42 photographs of the package have five captions each, which makes 210 items for training and test.
#
# 1. Write `divided`: two lists of item numbers, for training and test, such that no photograph is on both sides.
#    About the `share` of the *photographs* shall be in the test, with all their captions, and another `seed` shall
#    give another division. `photo_of` holds for each item the number of its photograph.
# 2. Write `neighbour`: for each row of `asked` (n, C) the number of the row of `known` (m, C) with the largest
#    cosine. It is given what MobileNetV2 says of photographs.
# 3. Somebody divides the *items* at random instead, four fifths for training. With what probability does the
#    photograph of a test item also stand in the training set? Treat the other four captions of the photograph as
#    independent.

# %% stub
def divided(photo_of, share, seed):
    """Numbers of the items for training, and for the test."""
    return ...


def neighbour(known, asked):
    """For each row of asked, the number of the most similar row."""
    return ...


leaks = ...  # a probability

# %% solution
def divided(photo_of, share, seed):
    """Numbers of the items for training, and for the test."""
    photos = sorted(set(photo_of))
    held = random.Random(seed).sample(photos, round(share * len(photos)))
    train = [n for n, photo in enumerate(photo_of) if photo not in held]
    return train, [n for n, photo in enumerate(photo_of) if photo in held]


def neighbour(known, asked):
    """For each row of asked, the number of the most similar row."""
    cosines = F.normalize(asked, dim=-1) @ F.normalize(known, dim=-1).T
    return cosines.argmax(1)


leaks = 1 - 0.2**4

# %% wrong Items are divided, since items are what the model gets
def divided(photo_of, share, seed):
    """Numbers of the items for training, and for the test."""
    items = list(range(len(photo_of)))
    random.Random(seed).shuffle(items)
    cut = round(share * len(items))
    return items[cut:], items[:cut]


def neighbour(known, asked):
    """For each row of asked, the number of the most similar row."""
    cosines = F.normalize(asked, dim=-1) @ F.normalize(known, dim=-1).T
    return cosines.argmax(1)


leaks = 1 - 0.2**4

# %% wrong The last fifth is the test, without drawing
def divided(photo_of, share, seed):
    """Numbers of the items for training, and for the test."""
    first = round((1 - share) * (max(photo_of) + 1))
    train = [n for n, photo in enumerate(photo_of) if photo < first]
    return train, [n for n, photo in enumerate(photo_of) if photo >= first]


def neighbour(known, asked):
    """For each row of asked, the number of the most similar row."""
    cosines = F.normalize(asked, dim=-1) @ F.normalize(known, dim=-1).T
    return cosines.argmax(1)


leaks = 1 - 0.2**4

# %% wrong One caption of each test photograph is enough
def divided(photo_of, share, seed):
    """Numbers of the items for training, and for the test."""
    photos = sorted(set(photo_of))
    held = random.Random(seed).sample(photos, round(share * len(photos)))
    train = [n for n, photo in enumerate(photo_of) if photo not in held]
    return train, [photo_of.index(photo) for photo in held]


def neighbour(known, asked):
    """For each row of asked, the number of the most similar row."""
    cosines = F.normalize(asked, dim=-1) @ F.normalize(known, dim=-1).T
    return cosines.argmax(1)


leaks = 1 - 0.2**4

# %% wrong The largest product is the largest cosine
def divided(photo_of, share, seed):
    """Numbers of the items for training, and for the test."""
    photos = sorted(set(photo_of))
    held = random.Random(seed).sample(photos, round(share * len(photos)))
    train = [n for n, photo in enumerate(photo_of) if photo not in held]
    return train, [n for n, photo in enumerate(photo_of) if photo in held]


def neighbour(known, asked):
    """For each row of asked, the number of the most similar row."""
    return (asked @ known.T).argmax(1)


leaks = 1 - 0.2**4

# %% wrong Four fifths are in training, so four fifths leak
def divided(photo_of, share, seed):
    """Numbers of the items for training, and for the test."""
    photos = sorted(set(photo_of))
    held = random.Random(seed).sample(photos, round(share * len(photos)))
    train = [n for n, photo in enumerate(photo_of) if photo not in held]
    return train, [n for n, photo in enumerate(photo_of) if photo in held]


def neighbour(known, asked):
    """For each row of asked, the number of the most similar row."""
    cosines = F.normalize(asked, dim=-1) @ F.normalize(known, dim=-1).T
    return cosines.argmax(1)


leaks = 0.8

# %% check
real = samples.photographs()
photo_of = [real[n]["index"] for n in range(len(real))]
encoder = PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2")
seen = keep_features(encoder, real).mean(1)  # (42, 1280)
captions = real.captions


def repeats(parts):
    """CIDEr of the neighbour's caption, and how often it is itself."""
    known, asked = ([photo_of[n] for n in part] for part in parts)
    found = neighbour(seen[known], seen[asked]).tolist()
    same = sum(known[k] == photo for k, photo in zip(found, asked))
    said = [captions[parts[0][k]] for k in found]
    truths = [[t for t in real.references[photo] if t != captions[n]]
              for n, photo in zip(parts[1], asked)]
    return metrics.cider(said, truths), same / len(asked)


with check("5.2.3", "No photograph on both sides") as it:
    parts = divided(photo_of, 0.2, 0)
    it.true("it makes two lists", parts)
    train, test = map(list, parts)
    photos = [{photo_of[n] for n in part} for part in (train, test)]
    it.true("no photograph is on both sides", not photos[0] & photos[1],
            hint="Divide the photographs; then let the items follow.")
    it.true("each item is on one side",
            sorted(train + test) == list(range(len(photo_of))),
            hint="A test photograph keeps all five captions.")
    it.true("a fifth of the photographs", 7 <= len(photos[1]) <= 10)
    again, other = divided(photo_of, 0.2, 0), divided(photo_of, 0.2, 1)
    it.true("the seed decides", sorted(again[1]) == sorted(test)
            and sorted(other[1]) != sorted(test))
    known = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 1.0]])
    it.equal("neighbour", neighbour(known, known[[0, 2]] * 3).tolist(),
             [0, 2], hint="A longer vector is not a closer one.")
    items = list(range(len(photo_of)))
    random.Random(0).shuffle(items)
    dirty, clean = repeats((items[42:], items[:42])), repeats((train, test))
    it.true(f"CIDEr of the neighbour: items divided {dirty[0]:.1f}, "
            f"photographs divided {clean[0]:.1f}",
            dirty[1] > 0.9 and clean[1] == 0)
    it.close("how often it leaks", leaks, 0.9984, within=0.0006,
             hint="It does not leak only if all four others are held out.")

# %% hint
# A set of the photographs is what you draw from. For the probability, ask the opposite: when is the photograph
# *not* in the training set?

# %% remark
# With the items divided, the neighbour is nearly always the photograph itself, and it repeats what another person
# said about it. Its CIDEr is then a measure of how alike people's captions are, and not of what it can do for a
# new photograph. The same happens to a trained model, and nothing in the training shows it. In medicine the unit
# to divide by is the patient, in speech the speaker, in video the clip.

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

# %% wrong Three beams are one for each first word, so two are enough
ring = {
    (): {"a": 0.45, "one": 0.30, "there": 0.25},
    ("a",): {"ring": 0.40, "circle": 0.35, "cross": 0.25},
    ("one",): {"ring": 0.65, "circle": 0.35},
    ("there",): {"is": 1.0},
    ("there", "is"): {"a": 1.0},
    ("there", "is", "a"): {"ring": 0.90, "circle": 0.10},
}
greedily = "a ring"
beams_needed = 2


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

# %% wrong The first caption that ends is the answer
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
    running = [((), 1.0)]
    while True:
        longer = [((*words, word), p * q) for words, p in running
                  for word, q in table[words].items()]
        longer.sort(key=lambda pair: pair[1], reverse=True)
        best = longer[:width]
        finished = [pair for pair in best if pair[0] not in table]
        if finished:
            return max(finished, key=lambda pair: pair[1])[0]
        running = best

# %% wrong The last word decides, not the product
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
        longer = [((*words, word), q) for words, p in running
                  for word, q in table[words].items()]
        longer.sort(key=lambda pair: pair[1], reverse=True)
        best = longer[:width]
        finished += [pair for pair in best if pair[0] not in table]
        running = [pair for pair in best if pair[0] in table]
    return max(finished, key=lambda pair: pair[1])[0]

# %% wrong Greedy decoding finds the likeliest caption
ring = {
    (): {"a": 0.45, "one": 0.30, "there": 0.25},
    ("a",): {"ring": 0.40, "circle": 0.35, "cross": 0.25},
    ("one",): {"ring": 0.65, "circle": 0.35},
    ("there",): {"is": 1.0},
    ("there", "is"): {"a": 1.0},
    ("there", "is", "a"): {"ring": 0.90, "circle": 0.10},
}
greedily = "there is a ring"
beams_needed = 1


def beam(table, width):
    """The caption that a beam of this width finds: a tuple of words."""
    words = ()
    while words in table:
        words = (*words, max(table[words], key=table[words].get))
    return words

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
# "there" looks worst after one word, and everything behind it is nearly sure. Greedy decoding cannot know that,
# and a beam of two drops it just as early. A beam is no guarantee, only a later decision. Here the longer caption
# won. Because each further word multiplies by a number below 1, a long caption needs words that are surer, and so
# `generate` divides the log-probability by the length.

# %% exercise 5.2.5 predict A liar and a paraphraser
# Two authors describe 400 scenes of two objects. There is one reference for each, such as "a big red ring left
# of a small blue star".
#
# - The *liar* takes the reference and exchanges the two objects: "a small blue star left of a big red ring". Not
#   one of these captions is true.
# - The *paraphraser* says the truth, and all of it, in one of many ways: "left of a little blue star there is a
#   large red ring".
#
# Predict the BLEU of both, from 0 to 100, and which of them is higher, `"liar"` or `"paraphraser"`. Then say where
# the liar's BLEU comes from:
#
# - `"a"`: BLEU does not look at the order of words
# - `"b"`: most of the liar's phrases of up to four words stand in the reference
# - `"c"`: the liar's captions have the right length, which is most of BLEU

# %% stub
guess_liar = ...  # from 0 to 100
guess_paraphraser = ...
higher = ...  # "liar" or "paraphraser"
why = ...  # "a", "b" or "c"

# %% solution
guess_liar = 70
guess_paraphraser = 35
higher = "liar"
why = "b"

# %% wrong A true caption scores higher than a false one
guess_liar = 20
guess_paraphraser = 80
higher = "paraphraser"
why = "b"

# %% wrong BLEU is a bag of words
guess_liar = 100
guess_paraphraser = 50
higher = "liar"
why = "a"

# %% wrong BLEU mainly compares lengths
guess_liar = 90
guess_paraphraser = 60
higher = "liar"
why = "c"

# %% check
scenes = sample_scenes(400, seed=3, objects=(2,))
references = [describe(scene) for scene in scenes]


def lie(caption):
    """Exchange the two objects."""
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
    it.choice("which is higher", higher, "liar", {
        "liar": "All its words are right, and most of its phrases.",
        "paraphraser": "BLEU compares words and does not know the scene.",
    })
    it.choice("why", why, "b", {
        "a": "It does: pairs, triples and fours of words have an order.",
        "b": "Only the phrases across \"left of\" or \"above\" are wrong.",
        "c": "The length only matters when captions are too short.",
    })

# %% hint
# Take the example above. How many of the liar's single words stand in the reference? How many of its pairs of
# neighbours? Then do the same for the paraphraser.

# %% remark
# The liar has about twice the BLEU of the paraphraser. All its words are right, and most of its short phrases; one
# fact is wrong, and it makes the whole caption false. The paraphraser is always right, and loses with each
# synonym. Data sets of photographs have several captions for each, often five, so that other ways to say it may
# count too; this helps the paraphraser, but it does not stop the liar. A metric that compares words measures how
# alike captions sound. If a relation, a number or a "not" matters to you, test for it by itself.

# %% exercise 5.2.6 open Only the bridge
# The image encoder of our captioner serves other models, too, and so does its language model. Neither may be
# changed. Train a captioner in which both are entirely frozen (冻结), and only what joins them is learned. Write
# `bridge_only`, which makes such a model. The check trains it on 500 captions and looks at three points:
#
# 1. The encoder gives the same tokens after the training as before, bit for bit.
# 2. Without a picture, the language model gives the same logits as before, bit for bit.
# 3. At least 40 of 100 captions are exact, for new scenes as for held-out pairs.
#
# `requires_grad_(False)` freezes a parameter. Is that all? You may also change the settings, because those of the
# chapter were chosen for another purpose. Keep to at most 200 steps.
#
# Then go on by yourself. How many labels does the bridge need? Which attribute is it worst at, and is that the one
# at which the chapter's model is worst? And darken the test pictures: multiply them by 0.9, then by 0.8. How many
# captions remain exact, here and when the whole model was trained? Guess first.

# %% stub
settings = dict(steps=150, learning_rate=2e-3)


def bridge_only():
    """A captioner that learns only what joins encoder and decoder."""
    model = captioner()
    return ...


# %% solution
settings = dict(steps=150, learning_rate=5e-3)


def bridge_only():
    """A captioner that learns only what joins encoder and decoder."""
    model = captioner()
    for name, parameter in model.named_parameters():
        is_bridge = name.startswith("fusion.") or ".cross" in name
        parameter.requires_grad_(is_bridge)
    seeing = model.encoders["image"].eval()
    seeing.train = lambda mode=True: seeing  # it stays in eval mode
    return model


numbers = [(p.numel(), p.requires_grad) for p in bridge_only().parameters()]
print(f"{sum(n for n, learns in numbers if learns):,} parameters of "
      f"{sum(n for n, _ in numbers):,} are trained")

# %% wrong Without gradients nothing can change
settings = dict(steps=150, learning_rate=5e-3)


def bridge_only():
    """A captioner that learns only what joins encoder and decoder."""
    model = captioner()
    for name, parameter in model.named_parameters():
        is_bridge = name.startswith("fusion.") or ".cross" in name
        parameter.requires_grad_(is_bridge)
    return model

# %% wrong The fusion alone is the bridge
settings = dict(steps=150, learning_rate=5e-3)


def bridge_only():
    """A captioner that learns only what joins encoder and decoder."""
    model = captioner()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("fusion."))
    seeing = model.encoders["image"].eval()
    seeing.train = lambda mode=True: seeing
    return model

# %% wrong What is pre-trained is the encoder
settings = dict(steps=150, learning_rate=2e-3)


def bridge_only():
    """A captioner that learns only what joins encoder and decoder."""
    model = captioner()
    model.encoders["image"].requires_grad_(False)
    seeing = model.encoders["image"].eval()
    seeing.train = lambda mode=True: seeing
    return model

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
    words = language_model().shifted(few["labels"])
    with torch.no_grad():
        seen = [part(few["image"]).values
                for part in (image_encoder(), model.encoders["image"])]
        said = [part.decode(words, None)
                for part in (language_model(), model.head)]
    it.true("the encoder gives the tokens that it gave", torch.equal(*seen),
            hint="Parameters are not all: what does batch norm remember?")
    it.true("the language model says what it said", torch.equal(*said),
            hint="Words, positions, norms and the bias belong to it, too.")
    for seed, pairs in ((3, "seen"), (4, "held-out")):
        test = CaptionedScenes(sample_scenes(200, seed, pairs=pairs),
                               seed=seed)
        it.true(f"40 of 100 exact, pairs that were {pairs}",
                exact_captions(model, test) >= 0.4,
                hint="Does the fusion learn, and each cross-attention?")

# %% hint
# Look at `model.named_parameters()`: which names belong to the place where picture and word meet? If the encoder
# still changes, compare `model.encoders["image"].state_dict()` before and after: not all of it are parameters. In
# which mode do those others move, and what switches it on?

# %% remark
# Batch norm keeps means and variances, which move with each batch as long as the module is in training mode, and
# `fit` switches the whole model to it. So "frozen" needs both: no gradient, and an eval mode that lasts. The book's
# `Pretrained` encoders do it for you.
#
# The encoder had learned from incomplete sentences only, and the language model had never seen a picture. A bridge
# of fewer than a fifth of all parameters is enough to pass, also for pairs that were never shown. What is frozen
# cannot forget what it knows. [Flamingo](https://arxiv.org/abs/2204.14198) joins its parts in this way, a frozen
# language model with new cross-attentions.
