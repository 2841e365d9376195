# %% [markdown]
# # Exercises 4.3 The captioning loss
#
# To the chapter: [4.3 The captioning loss](../4-mathematics/43_captioning_loss.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Only the last check trains
# models; that takes about ten seconds.

# %% shared
import math
import random
from itertools import product

import torch
from torch.nn import functional as F

from mmbook import training
from mmbook.data import Collate, stack_images
from mmbook.encoders import ConvImageEncoder, PrecomputedTokens
from mmbook.fusion import fusion
from mmbook.generation import generate, to_text
from mmbook.heads import GenerationHead
from mmbook.losses import cross_entropy
from mmbook.models import MultimodalModel, Output
from mmbook.notebook.exercises import check
from mmbook.world import (
    CaptionedScenes,
    attribute_accuracy,
    sample_scenes,
    scene_tokenizer,
)

torch.set_num_threads(1)
tokenizer = scene_tokenizer()
collate = Collate(tokenizer, max_length=24)


def voice():
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


# %% check
class Decoders:
    """Some that leak and some that don't, all from one language model."""

    head = voice()

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

# %% check
def perplexity(captions):
    """Of the language model, a word."""
    labels = collate([{"caption": text} for text in captions])["labels"]
    with torch.no_grad():
        return voice()(None, labels)[1].exp().item()


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
# Some programmes spread $\varepsilon$ over the $V - 1$ *wrong* words only: the true word gets $1 -
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

# %% exercise 4.3.6 open Noise in what is read
# Scheduled sampling gives the decoder its own words to read. A cheaper idea: exchange some of the words that it
# reads for *random* ones. Write `noised`, which does that. The check trains a captioner with 20 % noise beside
# one without, and shows how many captions are exact and how many say the same thing twice, such as "a big red
# ring above a big red ring".
#
# *Guess before you run it:* will the noise help, and in which of the two numbers do you see it?
#
# Then go on by yourself. Which share is harmless? What happens if only colours are exchanged for colours, so
# that the grammar stays? Can you find a noise that makes captions behind a planted wrong colour better (see the
# chapter), and costs nothing elsewhere?

# %% stub
def noised(read, share, size):
    """Words (B, L), a share of them exchanged; the start token stays."""
    return ...


# %% solution
def noised(read, share, size):
    """Words (B, L), a share of them exchanged; the start token stays."""
    drawn = torch.randint(4, size, read.shape, device=read.device)
    take = torch.rand(read.shape, device=read.device) < share
    take[:, 0] = False
    return torch.where(take, drawn, read)


# %% check
class Noisy(MultimodalModel):
    """In training it reads noised words; the labels stay true."""

    share = 0.0

    def forward(self, labels=None, **batch):
        if not self.training:
            return super().forward(labels, **batch)
        read = noised(self.head.shifted(labels), self.share, 43)
        logits = self.head.decode(read, self.encode(batch))
        return Output(loss=cross_entropy(logits, labels), logits=logits)


def seen(count, seed, **which):
    """Items with tokens of the frozen image encoder, and their scenes."""
    data = CaptionedScenes(sample_scenes(count, seed, **which), seed=seed)
    eyes = ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder")
    with torch.no_grad():
        tokens = eyes(stack_images(list(data.images))).values
    return [dict(data[i], image=tokens[i]) for i in range(count)], data


with check("4.3.6", "Noise in what is read") as it:
    read = torch.randint(4, 43, (400, 10))
    read[:, 0] = 1
    kept = read.clone()
    new = noised(read, 0.2, 43)
    it.equal("the shape", getattr(new, "shape", new), read.shape)
    it.true("the start token stays", (new[:, 0] == 1).all())
    changed = (new != read)[:, 1:].float().mean()
    it.close("about one word in five is another", changed, 0.2, 0.03)
    it.true("no noise changes nothing", torch.equal(
        noised(read, 0.0, 43), read))
    it.true("what it was given stays as it was", torch.equal(read, kept))
    it.true("only words of the vocabulary", 0 <= new.min() <= new.max() < 43)
    train, _ = seen(500, 1)
    test, world = seen(300, 5, objects=(2,))
    for share in (0.0, 0.2):
        torch.manual_seed(0)
        joined = fusion("concatenation", widths={"image": 96}, width=96)
        model = Noisy({"image": PrecomputedTokens(96)}, joined,
                      voice().with_context(96))
        model.share = share
        training.fit(model, train, training.TrainingConfig(
            steps=150, batch_size=32, learning_rate=2e-3, compile=False),
            collate)
        model.cpu()
        image = stack_images([item["image"] for item in test])
        said = to_text(generate(model, {"image": image}, 24), tokenizer)
        rows = [text.split() for text in said]
        twice = sum(len(s) > 5 and s[:4] == s[-4:] for s in rows) / len(rows)
        exact = attribute_accuracy(said, world.scenes)["exact"]
        it.true(f"share {share}: exact {exact:.0%}, twice the same "
                f"{twice:.0%}", exact > 0.1)

# %% hint
# Draw a random word for each place, and a random number which decides whether it is taken. `torch.where` puts
# the two together. Which numbers of the vocabulary are words, and which are marks?

# %% remark
# The noise does harm. In two things of a picture, the decoder must know which it has named already, and only
# the words before can tell. If those can't be trusted, it learns to lean on them less, and the second half of
# the caption forgets the first. Scheduled sampling has the same flaw in a milder form: [Huszár
# 2015](https://arxiv.org/abs/1511.05101) shows that its best solution, taken to the end, ignores what was said.
# Data for a robust model must show the errors that really happen, with the answer that is right *then*.
