# %% [markdown]
# # Exercises 4.3 The captioning loss
#
# To the chapter: [4.3 The captioning loss](../4-mathematics/43_captioning_loss.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import math
import random
from itertools import product

import torch
from torch.nn import functional as F

from mmbook.data import Collate, train_tokenizer
from mmbook.heads import GenerationHead
from mmbook.notebook.exercises import check
from mmbook.samples import photographs
from mmbook.world import CaptionedScenes, sample_scenes, scene_tokenizer

torch.set_num_threads(1)
tokenizer = scene_tokenizer()
collate = Collate(tokenizer, max_length=24)


def language_model():
    """The pre-trained language model of the book."""
    return GenerationHead.from_pretrained("mmbook/scene-language-model").eval()


# %% exercise 4.3.1 warm-up A decoder on paper
# A decoder remembers only the word before. These are its probabilities:
#
# | behind | it says |
# |---|---|
# | start | a 0.5 · ring 0.3 · end 0.2 |
# | a | ring 0.6 · star 0.4 |
# | ring | end 0.7 · a 0.3 |
# | star | end 1.0 |
#
# With paper and pencil: what is the probability of the caption "a ring", the end included? Of "ring a star"?
# With what probability is the caption finished within two tokens, the end being one of them? And how much is
# not finished then? Write the function last, and check your numbers with it.

# %% stub
a_ring = ...
ring_a_star = ...
finished_within_two = ...
not_finished = ...


def probability(table, words):
    """Of this caption, for example ["a", "ring", "end"]."""
    return ...


# %% solution
a_ring = 0.5 * 0.6 * 0.7
ring_a_star = 0.3 * 0.3 * 0.4 * 1.0
finished_within_two = 0.2 + 0.3 * 0.7
not_finished = 1 - finished_within_two


def probability(table, words):
    """Of this caption, for example ["a", "ring", "end"]."""
    before = ["start", *words[:-1]]
    return math.prod(table[b].get(w, 0.0) for b, w in zip(before, words))


# %% wrong The end costs nothing
a_ring = 0.5 * 0.6
ring_a_star = 0.3 * 0.3 * 0.4
finished_within_two = 0.2 + 0.3
not_finished = 1 - finished_within_two


def probability(table, words):
    before = ["start", *words[:-1]]
    pairs = zip(before, words)
    return math.prod(table[b].get(w, 0.0) for b, w in pairs if w != "end")


# %% wrong Words are independent of those before
share = {"a": 0.5, "ring": 0.3, "star": 0.0, "end": 0.2}
a_ring = 0.5 * 0.3 * 0.2
ring_a_star = 0.0
finished_within_two = 0.2 + 0.8 * 0.2
not_finished = 1 - finished_within_two


def probability(table, words):
    return math.prod(table["start"].get(w, 0.0) for w in words)


# %% wrong Probabilities along a caption are averaged
a_ring = (0.5 + 0.6 + 0.7) / 3
ring_a_star = (0.3 + 0.3 + 0.4 + 1.0) / 4
finished_within_two = 0.2 + (0.3 + 0.7) / 2
not_finished = 1 - finished_within_two


def probability(table, words):
    before = ["start", *words[:-1]]
    found = [table[b].get(w, 0.0) for b, w in zip(before, words)]
    return sum(found) / len(found)


# %% wrong The empty caption does not count
a_ring = 0.5 * 0.6 * 0.7
ring_a_star = 0.3 * 0.3 * 0.4 * 1.0
finished_within_two = 0.3 * 0.7
not_finished = 1 - finished_within_two


def probability(table, words):
    before = ["start", *words[:-1]]
    return math.prod(table[b].get(w, 0.0) for b, w in zip(before, words))


# %% check
paper = {"start": {"a": 0.5, "ring": 0.3, "end": 0.2},
         "a": {"ring": 0.6, "star": 0.4},
         "ring": {"end": 0.7, "a": 0.3}, "star": {"end": 1.0}}

with check("4.3.1", "A decoder on paper") as it:
    it.close("a ring", a_ring, 0.21)
    it.close("ring a star", ring_a_star, 0.036)
    it.close("finished within two tokens", finished_within_two, 0.41,
             hint="Which captions have at most two tokens? One is empty.")
    it.close("not finished", not_finished, 0.59)
    it.close("your function: a ring",
             probability(paper, ["a", "ring", "end"]), 0.21)
    it.close("what can't be said", probability(paper, ["a", "end"]), 0.0)
    total = 0.0
    for length in range(7):
        for said in product(("a", "ring", "star"), repeat=length):
            total += probability(paper, [*said, "end"])
    it.true("all captions of up to seven tokens: nearly 1",
            0.95 < total < 1)

# %% hint
# Multiply along the caption, beginning behind the start, and don't forget the end. Finished within two tokens:
# the end at once, or one word and then the end.

# %% remark
# The empty caption has probability 0.2 here; nothing forbids it. And no caption of this decoder is impossible
# to finish: behind each word, the end comes at the latest in the next but one place with some probability. That
# is why what has not ended shrinks to zero.

# %% exercise 4.3.2 core Downhill, at each place
# Write the gradient of the loss with respect to *all* logits of a batch, without autograd: of the mean per word
# (`average="word"`) and of the article's mean per caption (`average="caption"`). Labels of −100 are padding.

# %% stub
def gradient(logits, labels, average):
    """d loss / d logits (B, L, V), for labels (B, L)."""
    p = logits.softmax(-1)
    return ...


# %% solution
def gradient(logits, labels, average):
    """d loss / d logits (B, L, V), for labels (B, L)."""
    p = logits.softmax(-1)
    real = labels >= 0
    truth = F.one_hot(labels.clamp(min=0), logits.shape[-1])
    number = real.sum() if average == "word" else len(labels)
    return (p - truth) * real[..., None] / number


# %% wrong Padding counts
def gradient(logits, labels, average):
    p = logits.softmax(-1)
    truth = F.one_hot(labels.clamp(min=0), logits.shape[-1])
    number = labels.numel() if average == "word" else len(labels)
    return (p - truth) / number


# %% wrong The number is that of all positions, padding included
def gradient(logits, labels, average):
    p = logits.softmax(-1)
    real = labels >= 0
    truth = F.one_hot(labels.clamp(min=0), logits.shape[-1])
    number = labels.numel() if average == "word" else len(labels)
    return (p - truth) * real[..., None] / number


# %% wrong Only the true word has a gradient
def gradient(logits, labels, average):
    p = logits.softmax(-1)
    real = labels >= 0
    truth = F.one_hot(labels.clamp(min=0), logits.shape[-1])
    number = real.sum() if average == "word" else len(labels)
    return (p - 1) * truth * real[..., None] / number


# %% wrong The mean per caption is a mean of means
def gradient(logits, labels, average):
    p = logits.softmax(-1)
    real = labels >= 0
    truth = F.one_hot(labels.clamp(min=0), logits.shape[-1])
    number = real.sum()
    if average == "caption":
        number = len(labels) * real.sum(1)[:, None, None]
    return (p - truth) * real[..., None] / number


# %% wrong Uphill
def gradient(logits, labels, average):
    p = logits.softmax(-1)
    real = labels >= 0
    truth = F.one_hot(labels.clamp(min=0), logits.shape[-1])
    number = real.sum() if average == "word" else len(labels)
    return (truth - p) * real[..., None] / number


# %% check
with check("4.3.2", "Downhill, at each place") as it:
    torch.manual_seed(1)
    logits = torch.randn(3, 5, 7).double().requires_grad_()
    labels = torch.tensor([[1, 6, 2, -100, -100], [3, 2, -100, -100, -100],
                           [0, 5, 5, 4, 2]])
    for average, number in (("word", 10), ("caption", 3)):
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(),
                               reduction="sum") / number
        true, = torch.autograd.grad(loss, logits)
        mine = gradient(logits.detach(), labels, average)
        shape = getattr(mine, "shape", mine)
        it.equal(f"mean per {average}: the shape", shape, true.shape)
        it.true(f"mean per {average}", torch.allclose(mine, true),
                hint="p minus one-hot; what weight has a word? And padding?")
    it.true("each place adds up to zero",
            mine.sum(-1).abs().max() < 1e-12)

# %% hint
# At a single place it is formula (5). Then the weight of a word: by what is the sum divided? `F.one_hot` can't
# take −100: give it another number there, and make sure that nothing is left of it at the end.

# %% remark
# This is all that flows into the network from behind. Whatever stands before the logits, a transformer or a
# table, gets its gradient from this tensor: what was said too much, and what too little, at each place. Padding
# gets exact zeros: not small numbers, none at all.

# %% exercise 4.3.3 core The leak detector
# At place $t$ a decoder may know the words *before* $t$. If it can see word $t$, or anything that comes after,
# the answer leaks (答案泄漏): the loss gets wonderfully small, and the model can write nothing.
#
# A leak can be found without training. Write `leaks`: it gets a decoder, a function from labels (B, L) to
# logits (B, L, V), and labels without padding, and says whether the logits of *any* place $t$ depend on the
# words from $t$ on. The check has some decoders, good and bad. One of the bad ones leaks only a little.

# %% stub
def leaks(decoder, labels, size=43):
    """Can a place see what it shall say, or what comes later?"""
    logits = decoder(labels)
    for t in range(labels.shape[1]):
        changed = labels.clone()
        ...
    return ...


# %% solution
def leaks(decoder, labels, size=43):
    """Can a place see what it shall say, or what comes later?"""
    logits = decoder(labels)
    for t in range(labels.shape[1]):
        changed = labels.clone()
        for shift in range(1, size):  # each other word, from t on
            changed[:, t:] = (labels[:, t:] + shift) % size
            there = decoder(changed)[:, : t + 1]
            if not torch.allclose(there, logits[:, : t + 1], atol=1e-5):
                return True
    return False


# %% wrong Only the word itself can leak
def leaks(decoder, labels, size=43):
    logits = decoder(labels)
    for t in range(labels.shape[1]):
        changed = labels.clone()
        changed[:, t] = (labels[:, t] + 1) % size
        if not torch.allclose(decoder(changed)[:, t], logits[:, t], atol=1e-5):
            return True
    return False


# %% wrong Nothing may change anywhere
def leaks(decoder, labels, size=43):
    logits = decoder(labels)
    for t in range(labels.shape[1]):
        changed = labels.clone()
        for shift in range(1, size):
            changed[:, t:] = (labels[:, t:] + shift) % size
            if not torch.allclose(decoder(changed), logits, atol=1e-5):
                return True
    return False


# %% wrong One other word is enough
def leaks(decoder, labels, size=43):
    logits = decoder(labels)
    for t in range(labels.shape[1]):
        changed = labels.clone()
        changed[:, t:] = 7
        there = decoder(changed)[:, : t + 1]
        if not torch.allclose(there, logits[:, : t + 1], atol=0.05):
            return True
    return False


# %% wrong Position t may know word t
def leaks(decoder, labels, size=43):
    logits = decoder(labels)
    for t in range(labels.shape[1]):
        changed = labels.clone()
        for shift in range(1, size):
            changed[:, t + 1 :] = (labels[:, t + 1 :] + shift) % size
            there = decoder(changed)[:, : t + 1]
            if not torch.allclose(there, logits[:, : t + 1], atol=1e-5):
                return True
    return False


# %% check
class Decoders:
    """Some that leak and some that don't, all from one language model."""

    head = language_model()

    @torch.no_grad()
    def right(self, labels):
        return self.head.decode(self.head.shifted(labels), None)

    @torch.no_grad()
    def not_shifted(self, labels):
        return self.head.decode(labels, None)

    def shifted_twice(self, labels):
        return self.right(labels).roll(1, 1)

    def only_this_word(self, labels):
        seen = F.one_hot(self.head.shifted(labels), 43).float()
        return seen @ torch.linspace(-1, 1, 43 * 43).reshape(43, 43)

    def knows_where_it_ends(self, labels):
        ends = (labels == self.head.end).float().cumsum(1)[:, -1:]
        return self.right(labels) + 0.01 * ends[..., None]

    def reads_ahead(self, labels):
        later = F.one_hot(labels.roll(-1, 1), 43).float()
        later[:, -1] = 0
        return self.right(labels) + 0.01 * later


with check("4.3.3", "The leak detector") as it:
    rows = [{"caption": "a big red ring above a small blue star"},
            {"caption": "a big red star above a small blue ring"}]
    labels, decoders = collate(rows)["labels"], Decoders()
    before = labels.clone()
    it.equal("the right decoder", leaks(decoders.right, labels), False)
    it.equal("labels that were not shifted",
             leaks(decoders.not_shifted, labels), True,
             hint="Change the words from t on; look at the logits at t.")
    it.equal("one that reads the last word only",
             leaks(decoders.only_this_word, labels), False)
    it.equal("one shift too many: stupid, but no leak",
             leaks(lambda x: F.pad(decoders.right(x)[:, :-1],
                                   (0, 0, 1, 0)), labels), False,
             hint="Only places up to t must stay as they are.")
    it.equal("one that knows whether there is an end",
             leaks(decoders.knows_where_it_ends, labels), True,
             hint="Try several other words, the end token among them.")
    it.equal("one that sees the word after the one that it says",
             leaks(decoders.reads_ahead, labels), True,
             hint="Words later than t must not matter at t either.")
    it.true("the labels are as they were", torch.equal(labels, before))

# %% hint
# Change all words from place t on into others, and ask the decoder again. Which logits may differ now, and
# which must not? One change may be blind to what is read off: try many.

# %% remark
# The last decoder shows how leaks hide: in a length, in a mask, in a statistic over the whole caption. In each
# of these cases the loss falls and nobody complains. A test like yours takes milliseconds; run it once on each
# new decoder, before any training. The same test finds a forgotten causal mask.

# %% exercise 4.3.4 predict Worse than knowing nothing
# The language model of the book has 43 words. If it held all for equally likely, its perplexity would be 43.
# Guess its perplexity
#
# - on new incomplete captions, like those that it was trained on,
# - on the same captions with their words in random order.
#
# Then: can a perplexity be above the number of words? `"a"`: no, 43 is the worst case; `"b"`: yes, without
# bound; `"c"`: yes, but at most 86.

# %% stub
guess_ordered = ...
guess_shuffled = ...
can_be_above = ...  # "a", "b" or "c"

# %% solution
guess_ordered = 4
guess_shuffled = 2000
can_be_above = "b"

# %% wrong Nothing is worse than knowing nothing
guess_ordered = 4
guess_shuffled = 43
can_be_above = "a"

# %% wrong At most twice as bad
guess_ordered = 4
guess_shuffled = 86
can_be_above = "c"

# %% wrong A perplexity is a share
guess_ordered = "90 %"
guess_shuffled = "10 %"
can_be_above = "b"

# %% check
def perplexity(captions):
    """Of the language model, a word."""
    labels = collate([{"caption": text} for text in captions])["labels"]
    with torch.no_grad():
        return language_model()(None, labels)[1].exp().item()


with check("4.3.4", "Worse than knowing nothing") as it:
    ordered = CaptionedScenes(sample_scenes(200, seed=4), "partial",
                              seed=4).captions
    rng = random.Random(0)
    mixed = [" ".join(rng.sample(text.split(), len(text.split())))
             for text in ordered]
    it.prediction("in order", guess_ordered, perplexity(ordered))
    it.prediction("shuffled", guess_shuffled, perplexity(mixed))
    it.choice("above 43", can_be_above, "b", {
        "a": "43 is what somebody gets who knows nothing and says so.",
        "b": "The loss is −log p, and p of the truth may be near zero.",
        "c": "What would stop −log p at the double of log 43?",
    })

# %% hint
# What does the model expect behind "a big"? And what is −log p of a word that it has never seen in this place?

# %% remark
# Knowing nothing costs log V at each word. Being sure and wrong costs more, without limit. So a loss above log
# V says: this model knows something that is false here. In a training it often points to a mistake: labels
# moved by one place, another vocabulary, words in the wrong order.

# %% exercise 4.3.5 core Another smoothing
# Some programs spread $\varepsilon$ over the $V - 1$ *wrong* words only: the true word gets $1 -
# \varepsilon$. Write, for this kind of smoothing,
#
# - `gap`: by how much the logit of the true word is ahead of each other one at the optimum,
# - `floor`: the lowest possible loss in nats,
# - `temperature`: the number by which the optimal logits must be divided so that the true word gets the
#   probability `wanted`.

# %% stub
def gap(size, epsilon):
    """Of the logits, at the optimum."""
    return ...


def floor(size, epsilon):
    """The smallest loss that any model can reach."""
    return ...


def temperature(size, epsilon, wanted):
    """After which the true word has probability wanted."""
    return ...


# %% solution
def gap(size, epsilon):
    """Of the logits, at the optimum."""
    return math.log((1 - epsilon) * (size - 1) / epsilon)


def floor(size, epsilon):
    """The smallest loss that any model can reach."""
    wrong = epsilon / (size - 1)
    return (-(1 - epsilon) * math.log(1 - epsilon)
            - epsilon * math.log(wrong))


def temperature(size, epsilon, wanted):
    """After which the true word has probability wanted."""
    return gap(size, epsilon) / gap(size, 1 - wanted)


# %% wrong Spread over all words
def gap(size, epsilon):
    return math.log(1 + (1 - epsilon) * size / epsilon)


def floor(size, epsilon):
    q = 1 - epsilon + epsilon / size
    other = (size - 1) * epsilon / size
    return -q * math.log(q) - other * math.log(epsilon / size)


def temperature(size, epsilon, wanted):
    return gap(size, epsilon) / gap(size, 1 - wanted)


# %% wrong The loss can reach zero
def gap(size, epsilon):
    return math.log((1 - epsilon) * (size - 1) / epsilon)


def floor(size, epsilon):
    return 0.0


def temperature(size, epsilon, wanted):
    return gap(size, epsilon) / gap(size, 1 - wanted)


# %% wrong All of epsilon lies on one wrong word
def gap(size, epsilon):
    return math.log((1 - epsilon) / epsilon)


def floor(size, epsilon):
    return -(1 - epsilon) * math.log(1 - epsilon) - epsilon * math.log(epsilon)


def temperature(size, epsilon, wanted):
    return gap(size, epsilon) / gap(size, 1 - wanted)


# %% wrong A temperature multiplies the probability
def gap(size, epsilon):
    return math.log((1 - epsilon) * (size - 1) / epsilon)


def floor(size, epsilon):
    wrong = epsilon / (size - 1)
    return -(1 - epsilon) * math.log(1 - epsilon) - epsilon * math.log(wrong)


def temperature(size, epsilon, wanted):
    return (1 - epsilon) / wanted


# %% check
with check("4.3.5", "Another smoothing") as it:
    for size, epsilon in ((43, 0.1), (43, 0.01), (1000, 0.1)):
        q = torch.full((size,), epsilon / (size - 1)).double()
        q[3] = 1 - epsilon
        s = torch.zeros(size).double()
        for _ in range(4000):
            s = s - 8.0 * (s.softmax(0) - q)  # downhill: p - q
        loss = -(q * s.log_softmax(0)).sum().item()
        where = f"V = {size}, ε = {epsilon}"
        it.close(f"{where}: the gap", gap(size, epsilon),
                 (s[3] - s[4]).item(), hint="Where is p - q zero?")
        it.close(f"{where}: the floor", floor(size, epsilon), loss,
                 hint="At p = q the cross-entropy is an entropy.")
        for wanted in (0.99, 0.999):
            tau = temperature(size, epsilon, wanted)
            p = (s / tau).softmax(0)[3].item()
            it.close(f"{where}: back to {wanted}", p, wanted)

# %% hint
# At the optimum p equals the target, and a difference of logits is the logarithm of a ratio of probabilities.
# For the temperature: which gap belongs to the probability that is wanted? Which smoothing would lead there?

# %% remark
# A smoothed loss of 0.3 may be perfect: compare it with its floor, never with zero, and never with the loss of
# a model that was not smoothed. And the gap grows with the size of the vocabulary: the same ε means different
# logits for 43 words and for 50,000.

# %% exercise 4.3.6 open The labels of a real caption
# A vision–language model reads "Describe the photograph:" and then one of the captions that people wrote for the
# book's photographs. Only the caption and its end are to count. Write `example`, which makes the two rows for the
# library `transformers`: the ids that the model reads, and the labels, with −100 where nothing is to be learned. The
# shift is made *inside* the model, so ids and labels have the same length, and a label stands at the place of its
# own word. Both rows are filled up to `length`.
#
# Then go on by yourself. Leave the prompt in the loss, train a small model on the captions both ways, and look at what
# it writes. How large is the share of the prompt in the loss at the beginning, and how large at the end? What changes if
# each caption has the same weight, whatever its length? Which of the two losses would you report?

# %% stub
def example(prompt, caption, end, pad, length):
    """Two lists of this length: ids, and labels for transformers."""
    ids = [*prompt, *caption, end]
    return ids, ...


# %% solution
def example(prompt, caption, end, pad, length):
    """Two lists of this length: ids, and labels for transformers."""
    ids = [*prompt, *caption, end]
    labels = [-100] * len(prompt) + [*caption, end]
    more = length - len(ids)
    return ids + [pad] * more, labels + [-100] * more


# %% wrong The prompt counts
def example(prompt, caption, end, pad, length):
    ids = [*prompt, *caption, end]
    more = length - len(ids)
    return ids + [pad] * more, ids + [-100] * more


# %% wrong The labels are shifted here, too
def example(prompt, caption, end, pad, length):
    ids = [*prompt, *caption, end]
    labels = [-100] * (len(prompt) - 1) + [*caption, end, -100]
    more = length - len(ids)
    return ids + [pad] * more, labels + [-100] * more


# %% wrong Padding is a word like others
def example(prompt, caption, end, pad, length):
    ids = [*prompt, *caption, end]
    labels = [-100] * len(prompt) + [*caption, end]
    more = length - len(ids)
    return ids + [pad] * more, labels + [pad] * more


# %% wrong The end need not be learned
def example(prompt, caption, end, pad, length):
    ids = [*prompt, *caption, end]
    labels = [-100] * len(prompt) + [*caption, -100]
    more = length - len(ids)
    return ids + [pad] * more, labels + [-100] * more


# %% wrong What does not count is not read
def example(prompt, caption, end, pad, length):
    ids = [*caption, end]
    more = length - len(ids)
    return ids + [pad] * more, ids + [-100] * more


# %% check
with check("4.3.6", "The labels of a real caption") as it:
    from transformers import LlamaConfig, LlamaForCausalLM

    told = [text for group in photographs().references for text in group]
    pieces = train_tokenizer([*told, "Describe the photograph:"], size=900)
    prompt = pieces("Describe the photograph:", add_special_tokens=False)
    prompt = prompt["input_ids"]
    some = [pieces(told[n], add_special_tokens=False)["input_ids"]
            for n in (58, 141, 4)]
    length = 2 + max(map(len, some)) + len(prompt)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(pieces), hidden_size=16, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2)).eval()
    rows = [example(prompt, ids, 2, 0, length) for ids in some]
    if all(isinstance(row, tuple) and isinstance(x, list)
           for row in rows for x in row):
        for n, (ids, labels) in enumerate(rows):
            it.equal(f"caption {n + 1}: both lengths",
                     (len(ids), len(labels)), (length, length))
            it.equal("it reads prompt, caption, end and padding", ids,
                     [*prompt, *some[n], 2]
                     + [0] * (length - 1 - len(prompt) - len(some[n])))
        batch = [torch.tensor(part) for part in zip(*rows)]
        total, count = 0.0, 0
        for ids in some:
            read = torch.tensor([[*prompt, *ids, 2]])
            with torch.no_grad():
                logits = model(input_ids=read).logits[0, len(prompt) - 1:-1]
            total += F.cross_entropy(logits, torch.tensor([*ids, 2]),
                                     reduction="sum").item()
            count += len(ids) + 1
        if batch[0].shape == batch[1].shape:
            with torch.no_grad():
                loss = model(input_ids=batch[0], labels=batch[1]).loss.item()
            it.close("the loss per token of captions and ends", loss,
                     total / count, 1e-4,
                     hint="Which positions count, and who makes the shift?")
            real = (batch[1][:, 1:] >= 0).sum().item()
            it.equal("tokens that count", real, count)
    else:
        it.true("two lists", False)

# %% hint
# The labels are the ids, except where −100 stands: at the prompt and at the padding. The end token is a word that
# the model must learn to say.

# %% remark
# A label at the place of its own word and a shift inside the model is the convention of `transformers`. Other
# programs shift in the data set, and whoever mixes the two trains a model on the word after the next: the loss falls,
# though not as far, and nothing else complains. So compare one loss by hand, as this check does, before a long
# training.
