# %% [markdown]
# # Exercises 2.1 Pre-trained text models
#
# To the chapter: [2.1 Pre-trained text models](../2-concepts/21_pretrained_text_models.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import json
from collections import Counter
from math import log

import torch

from mmbook.data import Collate, mask_words
from mmbook.layers import Attention
from mmbook.notebook.exercises import check
from mmbook.world import describe, sample_scenes, scene_tokenizer

torch.set_num_threads(1)
tokenizer = scene_tokenizer(mask=True)
collate = Collate(tokenizer)


def join(pieces, pair):
    """Put the pair together wherever it stands in the row."""
    done = []
    for piece in pieces:
        if done and (done[-1], piece) == pair:
            done[-1] += piece
        else:
            done.append(piece)
    return done


# %% exercise 2.1.1 warm-up What is real
# Three sentences have 2, 5 and 3 words. In a batch they are filled up to the longest. Make the mask: a tensor of
# truth values, (B, L), true where there is a word. No loop, please: compare the number of each place with the lengths.

# %% stub
lengths = torch.tensor([2, 5, 3])
mask = ...

# %% solution
lengths = torch.tensor([2, 5, 3])
mask = torch.arange(5) < lengths[:, None]

# %% check
with check("2.1.1", "What is real") as it:
    if mask is not ...:
        it.equal("its shape", tuple(mask.shape), (3, 5))
        it.equal("its type", mask.dtype, torch.bool)
    it.equal("which places are real",
             mask if mask is ... else mask.int().tolist(),
             [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
             hint="Places are 0 to 4; a place is real if it is below n.")

# %% hint
# `lengths[:, None]` is a column, `torch.arange(5)` is a row. What does `<` make of a row and a column?

# %% remark
# This line stands in every tokeniser, every loader of sounds and every loader of clips. Put it the wrong way round, `<=`,
# and each sentence sees one word of padding; nothing crashes.

# %% exercise 2.1.2 predict How large is large
# BERT has two sizes. *Base*: 12 layers, $D = 768$. *Large*: 24 layers, $D = 1024$. Both know 30 522 word pieces. Use
# the formula of the chapter, $12 \cdot \text{layers} \cdot D^2 + V D$.
#
# Predict, in your head: how many million parameters has the large one? Which share of the base model is the table
# of word vectors? And: if $D$ is doubled and nothing else changes, the *blocks* get
#
# - `"a"`: two times as large
# - `"b"`: four times as large
# - `"c"`: eight times as large

# %% stub
guess_large = ...  # million parameters
guess_share = ...  # between 0 and 1
doubled = ...  # "a", "b" or "c"

# %% solution
guess_large = 335
guess_share = 0.2
doubled = "b"

# %% check
def size(layers, width, words=30_522):
    return 12 * layers * width**2 + words * width


with check("2.1.2", "How large is large") as it:
    it.prediction("the large one", guess_large, size(24, 1024) / 1e6,
                  " million")
    it.prediction("share of the table", guess_share,
                  30_522 * 768 / size(12, 768))
    it.choice("twice the width", doubled, "b", {
        "a": "That is the table. A matrix of a block grows on both sides.",
        "b": "Each matrix of a block grows on both of its sides.",
        "c": "There are as many matrices as before; each has two sides.",
    })

# %% hint
# $1024^2$ is about a million. For the share, compute both terms for the base model: $12 \cdot 12 \cdot 768^2$ is about
# 85 million.

# %% remark
# The table takes a fifth of BERT-base, and much less of anything larger. For GPT-3 it is four parts in a thousand. What makes a model
# large is width and depth; the width counts twice.

# %% exercise 2.1.3 core Read with the merges
# Learning the merges is one half of byte-pair encoding. The other half uses them on a new word: cut it into characters, then
# go through the merges *in the order in which they were learned*, and apply each one wherever it fits. `join` is
# in the first cell.

# %% stub
def encode(word, merges):
    """The pieces of a word that nobody has seen before."""
    pieces = ...
    for pair in merges:
        ...
    return pieces


# %% solution
def encode(word, merges):
    """The pieces of a word that nobody has seen before."""
    pieces = list(word)
    for pair in merges:
        pieces = join(pieces, pair)
    return pieces


# %% check
from tokenizers import Tokenizer, models, trainers

core = Tokenizer(models.BPE())
small = "hug pug pun bun hugs huge hugest punish bunch hungry snug".split()
core.train_from_iterator(
    small * 3, trainers.BpeTrainer(vocab_size=26, show_progress=False))
model = json.loads(core.to_str())["model"]
merges = [tuple(pair) for pair in model["merges"]]

with check("2.1.3", "Read with the merges") as it:
    for word in "hug", "bugs", "unhinges", "hungriest":
        it.equal(f"{word!r} as the library cuts it", encode(word, merges),
                 core.encode(word).tokens,
                 hint="Characters first; then one join after the other.")
    it.equal("the order counts", encode("abc", [("b", "c"), ("a", "b")]),
             ["a", "bc"])

# %% hint
# The loop needs one line: the pieces become what `join` makes of them.

# %% remark
# The order matters. If *b c* was learned before *a b*, then *abc* is *a bc*, whatever a reader would find more natural. A
# tokeniser is part of a model as much as its weights are: with another order of merges, the same weights read other numbers.

# %% exercise 2.1.4 core Who may see whom
# Write the weights of causal attention by hand, for a batch with padding: word $t$ sees the places $j \le t$ that are
# real. What may not be seen gets the fit $-\infty$ *before* the softmax.

# %% stub
def causal_weights(q, k, mask):
    """q, k (B, L, d), mask (B, L) → weights (B, L, L)."""
    fit = ...
    allowed = ...  # (B, L, L), true where t may see j
    return ...


# %% solution
def causal_weights(q, k, mask):
    """q, k (B, L, d), mask (B, L) → weights (B, L, L)."""
    fit = q @ k.mT / q.shape[-1] ** 0.5
    L = q.shape[1]
    before = torch.ones(L, L, dtype=torch.bool).tril()
    allowed = before & mask[:, None, :]  # (L, L) & (B, 1, L)
    return fit.masked_fill(~allowed, float("-inf")).softmax(-1)


# %% check
torch.manual_seed(0)
layer, x = Attention(8, heads=1), torch.randn(2, 5, 8)
real = torch.arange(5) < torch.tensor([[5], [3]])

with check("2.1.4", "Who may see whom") as it:
    with torch.no_grad():
        got = causal_weights(layer.query(x), layer.key(x), real)
    if got is not ...:
        it.equal("the shape", tuple(got.shape), (2, 5, 5))
        it.close("each row sums to one", (got.sum(-1) - 1).abs().max(), 0)
        it.close("nobody sees what comes later", got.triu(1).sum(), 0)
        it.close("nobody sees padding", got[1, :, 3:].sum(), 0)
    wanted = layer.weights(x, mask=real, causal=True)[:, 0]
    it.true("equal to the package",
            got if got is ... else torch.allclose(got, wanted, atol=1e-6),
            hint="Divide by the root of d, and mask before the softmax.")

# %% hint
# `torch.ones(L, L, dtype=torch.bool).tril()` is true below and on the diagonal. The mask hides *keys*, which are the
# last axis: `mask[:, None, :]`.

# %% remark
# Setting weights to zero *after* the softmax would also hide the future, but the rest would no longer sum to one: a
# word early in the sentence would speak more quietly than a late one.

# %% exercise 2.1.5 core BERT by counting
# How well can hidden words be found without any network? Count. For each word, remember what stood between its left and its
# right neighbour. `count(rows, see)` makes such a table; `see(row, t)` says what is seen of place `t`. The loss is the
# mean of $-\ln p$, with $p$ from the counts (one is added to each count, so that nothing is impossible).
#
# Write what three readers see: one that sees nothing, one that sees the word to the left (a small GPT), and one that sees
# both neighbours (a small BERT). At the ends of a sentence, `row[t - 1]` or `row[t + 1]` is a `"|"` that was put there.
#
# *Guess first: by how much does the right neighbour lower the loss?*

# %% shared
def sentences(count, seed):
    scenes = sample_scenes(count, seed, objects=(2,), pairs="all")
    return [["|", *describe(scene, "partial", i).split(), "|"]
            for i, scene in enumerate(scenes)]


def count(rows, see):
    table = {}
    for row in rows:
        for t in range(1, len(row) - 1):
            table.setdefault(see(row, t), Counter())[row[t]] += 1
    return table


def loss(table, rows, see, words=len(tokenizer)):
    found = []
    for row in rows:
        for t in range(1, len(row) - 1):
            known = table.get(see(row, t), Counter())
            p = (known[row[t]] + 1) / (known.total() + words)
            found.append(-log(p))
    return sum(found) / len(found)


# %% stub
def nothing(row, t):
    return ...


def left(row, t):
    return ...


def both(row, t):
    return ...


# %% solution
def nothing(row, t):
    return ()


def left(row, t):
    return row[t - 1]


def both(row, t):
    return row[t - 1], row[t + 1]


# %% check
learn, test = sentences(2000, 1), sentences(300, 2)

with check("2.1.5", "BERT by counting") as it:
    row = ["|", "a", "red", "ring", "|"]
    for see in nothing, left, both:
        seen = see(row, 2)
        it.true(f"{see.__name__}: something is written",
                seen if seen is ... else True)
    hidden = ["|", "a", "blue", "ring", "|"]
    for see in nothing, left, both:
        it.true(f"{see.__name__} doesn't see the word itself",
                see(row, 2) == see(hidden, 2),
                hint="If the answer is in what is seen, the loss is worthless.")
    losses = [loss(count(learn, see), test, see)
              for see in (nothing, left, both)]
    print("nothing {:.2f}   left {:.2f}   both {:.2f}".format(*losses))
    it.close("nothing", losses[0], 3.34, 0.03)
    it.close("left", losses[1], 1.67, 0.03)
    it.close("both", losses[2], 1.52, 0.03)

# %% hint
# Whatever can be a key of a dictionary will do: a word, or a tuple of words. A reader that sees nothing returns always
# the same.

# %% remark
# The word to the left halves the loss, and the one to the right takes off a little more: much of what is left is colours, shapes
# and sizes, which no neighbour knows. Counting stops soon: for four neighbours there are too many
# tables to fill. A network shares between them what it has learned. And the bidirectional reader pays a price: it can't
# write, and it is asked at some places of a text, where the causal one gets a question at each.

# %% exercise 2.1.6 open Find the wrong word
# A small BERT can proof-read. In each of these sentences one word was replaced by a random other word of the
# vocabulary. The model below has learned from hidden words for a few seconds. Use it to find the place: write a function
# that gives, for one sentence, a number for each of its places; the highest must be where the wrong word is. `ask(rows)` gives the
# probabilities (B, L, V) for a batch of token numbers.
#
# The check wants 80 of 100. Then go on by yourself: look at those that were missed. Could a careful reader find them?

# %% shared
from mmbook.encoders import TextEncoder
from mmbook.heads import MaskedWordHead
from mmbook.models import MultimodalModel
from mmbook.saving import Configured
from mmbook.training import TrainingConfig, fit, to_device


class Alone(Configured):
    """There is one modality, so there is nothing to fuse."""

    def forward(self, tokens):
        return tokens["text"]


def hidden_words(items):
    batch = collate(items)
    batch["text"], batch["labels"] = mask_words(
        batch["text"], batch["text_mask"], tokenizer, share=0.25)
    return batch


def small_bert(steps=500, width=48):
    torch.manual_seed(0)
    V = len(tokenizer)
    model = MultimodalModel({"text": TextEncoder(V, width, layers=2)},
                            Alone(), MaskedWordHead(width, V))
    scenes = sample_scenes(4000, 1, objects=(2,), pairs="all")
    data = [{"text": describe(scene, "varied", i)}
            for i, scene in enumerate(scenes)]
    config = TrainingConfig(steps=steps, batch_size=32, learning_rate=3e-3,
                            compile=False)
    fit(model, data, config, hidden_words)
    return model


@torch.no_grad()
def ask(rows):
    """Token numbers (B, L), without padding → probabilities (B, L, V)."""
    device = next(bert.parameters()).device
    return bert(text=rows.to(device)).logits.softmax(-1).cpu()


def spoiled(number):
    """A sentence with one wrong word: token numbers (L,), and its place."""
    dice = torch.Generator().manual_seed(number)
    scene = sample_scenes(1, 5000 + number, objects=(2,), pairs="all")[0]
    ids = collate([{"text": describe(scene, "varied", number)}])["text"][0]
    place = int(torch.randint(len(ids), (), generator=dice))
    while (new := int(torch.randint(4, len(tokenizer) - 1, (),
                                    generator=dice))) == ids[place]:
        pass
    ids[place] = new
    return ids, place


bert = small_bert()
ids, place = spoiled(3)
print(tokenizer.decode(ids), "| wrong:", tokenizer.decode(ids[place]))

# %% stub
def suspicion(ids):
    """Token numbers (L,) → how suspicious each place is, (L,)."""
    hide = ...  # (L, L): in row t, place t is hidden
    p = ...  # probabilities of the words that stand there, (L,)
    return ...


# %% solution
def suspicion(ids):
    """Token numbers (L,) → how suspicious each place is, (L,)."""
    L = len(ids)
    hide = ids.repeat(L, 1)  # (L, L)
    hide.fill_diagonal_(tokenizer.mask_token_id)
    places = torch.arange(L)
    p = ask(hide)[places, places, ids]
    return -p.log()


# %% check
with check("2.1.6", "Find the wrong word") as it:
    trials = [spoiled(number) for number in range(100)]
    scores = [suspicion(ids) for ids, _ in trials]
    if not any(score is ... for score in scores):
        it.true("one number a place",
                all(len(s) == len(ids) for s, (ids, _) in zip(scores, trials)))
    found = ... if scores[0] is ... else sum(
        int(s.argmax()) == place for s, (_, place) in zip(scores, trials))
    it.true("better than chance", found if found is ... else found > 25)
    it.true("80 of 100", found if found is ... else found >= 80,
            hint="Hide one place after the other, and ask for the word there.")

# %% hint
# Repeat the sentence L times, put the mask token on the diagonal (`fill_diagonal_`), and ask once. Row t answers for place t.
# A word that the model finds improbable is suspicious.

# %% remark
# Some can't be found by anybody: "big" instead of "small" is as good a sentence as before. That error is only visible
# in the picture.
