# %% [markdown]
# # Exercises 2.1 Pre-trained text models
#
# To the chapter: [2.1 Pre-trained text models](../2-concepts/21_pretrained_text_models.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import torch

from mmbook import studies
from mmbook.data import Collate, mask_words
from mmbook.layers import Attention, rotate
from mmbook.notebook.exercises import check
from mmbook.world import describe, sample_scenes, scene_tokenizer

torch.set_num_threads(1)
tokenizer = scene_tokenizer(mask=True)
collate = Collate(tokenizer)


# %% exercise 2.1.1 warm-up What is real
# Three sentences have 2, 5 and 3 words. In a batch they are filled up to the longest. Make the mask: a tensor of
# truth values, (B, L), true where there is a word. No loop, please: compare the number of each place with the lengths.

# %% stub
lengths = torch.tensor([2, 5, 3])
mask = ...

# %% solution
lengths = torch.tensor([2, 5, 3])
mask = torch.arange(5) < lengths[:, None]

# %% wrong The places count from one
lengths = torch.tensor([2, 5, 3])
mask = torch.arange(5) <= lengths[:, None]

# %% wrong The mask says what is to be masked
lengths = torch.tensor([2, 5, 3])
mask = torch.arange(5) >= lengths[:, None]

# %% wrong The places are the rows
lengths = torch.tensor([2, 5, 3])
mask = torch.arange(5)[:, None] < lengths

# %% wrong Padding stands before the words
lengths = torch.tensor([2, 5, 3])
mask = torch.arange(5) >= 5 - lengths[:, None]

# %% wrong Zeros and ones are truth values
lengths = torch.tensor([2, 5, 3])
mask = (torch.arange(5) < lengths[:, None]).float()

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
# This line stands in every tokenizer, every loader of sounds and every loader of clips. Put it the wrong way round, `<=`,
# and each sentence but the longest sees one word of padding; nothing crashes.

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

# %% wrong The size is in proportion to the width
guess_large = 110 * 24 / 12 * 1024 / 768
guess_share = 0.2
doubled = "a"

# %% wrong Nearly all of it is the table of words
guess_large = 30_522 * 1024 / 1e6
guess_share = 0.9
doubled = "a"  # V · D has one D

# %% wrong Twice the width needs twice as many matrices
guess_large = 335
guess_share = 0.2
doubled = "c"

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
# The table takes a fifth of BERT-base. With the same vocabulary, a deeper and wider model gives it a smaller share: for GPT-3 it is four parts in a thousand. What makes a model
# large is width and depth; the width counts twice.

# %% exercise 2.1.3 core WordPiece on a real vocabulary
# BERT's tokenizer encodes by greedy longest match: it takes the longest piece of the vocabulary with which the word begins, then the
# longest one with which the rest begins, and so on. Pieces inside a word are written with `##` in the vocabulary. If at some point no piece fits, the *whole*
# word becomes `[UNK]`. Write it. The vocabulary below holds pieces of a real model, MiniLM, and the check compares with what its tokenizer
# did.

# %% shared
released = studies.load("language_models").runs("MiniLM", "tokens")[0]["test"]
pieces = {piece for row in released["pieces"] for piece in row}
pieces |= {"re", "paint", "##pain", "##t", "un"}  # shorter ones as a trap
print(len(pieces), "pieces, for example", *sorted(pieces)[3:12])

# %% stub
def word_piece(word, pieces):
    """The pieces of a word, or ["[UNK]"]."""
    found, rest = [], word  # go on until the rest is empty
    return ...


# %% solution
def word_piece(word, pieces):
    """The pieces of a word, or ["[UNK]"]."""
    found, rest = [], word
    while rest:
        mark = "##" if found else ""
        fits = [n for n in range(1, len(rest) + 1)
                if mark + rest[:n] in pieces]
        if not fits:
            return ["[UNK]"]
        n = max(fits)
        found.append(mark + rest[:n])
        rest = rest[n:]
    return found


# %% wrong Only the end that does not fit is unknown
def word_piece(word, pieces):
    found, rest = [], word
    while rest:
        mark = "##" if found else ""
        fits = [n for n in range(1, len(rest) + 1)
                if mark + rest[:n] in pieces]
        if not fits:
            return [*found, "[UNK]"]
        found.append(mark + rest[:max(fits)])
        rest = rest[max(fits):]
    return found


# %% wrong The first piece that fits is taken
def word_piece(word, pieces):
    found, rest = [], word
    while rest:
        mark = "##" if found else ""
        fits = [n for n in range(1, len(rest) + 1)
                if mark + rest[:n] in pieces]
        if not fits:
            return ["[UNK]"]
        found.append(mark + rest[:min(fits)])
        rest = rest[min(fits):]
    return found


# %% wrong If nothing fits, a shorter piece before it is tried
def word_piece(word, pieces, mark=""):
    if not word:
        return []
    for n in range(len(word), 0, -1):
        if mark + word[:n] in pieces:
            after = word_piece(word[n:], pieces, "##")
            if after != ["[UNK]"]:
                return [mark + word[:n], *after]
    return ["[UNK]"]


# %% wrong The marks only tell how to write a piece
def word_piece(word, pieces):
    letters = {piece.removeprefix("##") for piece in pieces}
    found, rest = [], word
    while rest:
        fits = [n for n in range(1, len(rest) + 1) if rest[:n] in letters]
        if not fits:
            return ["[UNK]"]
        mark = "##" if found else ""
        found.append(mark + rest[:max(fits)])
        rest = rest[max(fits):]
    return found


# %% wrong A piece inside a word is in the vocabulary without a mark
def word_piece(word, pieces):
    found, rest = [], word
    while rest:
        fits = [n for n in range(1, len(rest) + 1) if rest[:n] in pieces]
        if not fits:
            return ["[UNK]"]
        mark = "##" if found else ""
        found.append(mark + rest[:max(fits)])
        rest = rest[max(fits):]
    return found


# %% wrong A range includes its end
def word_piece(word, pieces):
    found, rest = [], word
    while rest:
        mark = "##" if found else ""
        fits = [n for n in range(1, len(rest)) if mark + rest[:n] in pieces]
        if not fits:
            return ["[UNK]"]
        found.append(mark + rest[:max(fits)])
        rest = rest[max(fits):]
    return found


# %% check
with check("2.1.3", "WordPiece on a real vocabulary") as it:
    real = {"repaints": ["rep", "##aint", "##s"],
            "unpainted": ["un", "##pa", "##int", "##ed"],
            "frisbee": ["fr", "##is", "##bee"], "boats": ["boats"]}
    for word, wanted in real.items():
        assert all(piece in pieces for piece in wanted)
    own = {"un", "##pain", "##paint", "##t", "##ted", "a", "##b", "##bc"}
    it.equal("the longest piece first", word_piece("unpainted", own),
             ["[UNK]"], hint="un, ##paint, and then nothing fits: ed is "
             "not there. Greedy search does not go back.")
    it.equal("inside a word with ##", word_piece("abc", own), ["a", "##bc"])
    it.equal("no beginning fits", word_piece("zabc", own), ["[UNK]"])
    it.equal("a word without a piece for its end", word_piece("abd", own),
             ["[UNK]"], hint="The whole word is lost, not its end alone.")
    it.equal("beginnings and insides are different pieces",
             [word_piece(word, own) for word in ("bc", "aa")],
             [["[UNK]"], ["[UNK]"]],
             hint="##bc begins no word, and a stands only at a beginning.")
    plain = pieces - {"re", "paint", "##pain", "##t"}
    for word, wanted in real.items():
        it.equal(f"{word!r} as MiniLM cuts it", word_piece(word, plain),
                 wanted)

# %% hint
# While there is a rest: put `##` before it unless it is the beginning, try all numbers of letters, and keep the largest that
# gives a piece of the vocabulary.

# %% remark
# Greedy longest match does not replay the joins of the training and does not look for the cut with the fewest pieces. It is fast, and it is what BERT does. Byte-level BPE
# has no `[UNK]`: at worst a word is a sequence of bytes.

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


# %% wrong What is set to zero after the softmax is hidden well enough
def causal_weights(q, k, mask):
    fit = q @ k.mT / q.shape[-1] ** 0.5
    before = torch.ones_like(fit, dtype=torch.bool).tril()
    return fit.softmax(-1) * (before & mask[:, None, :])


# %% wrong A fit of zero is no weight
def causal_weights(q, k, mask):
    fit = q @ k.mT / q.shape[-1] ** 0.5
    before = torch.ones_like(fit, dtype=torch.bool).tril()
    return fit.masked_fill(~(before & mask[:, None, :]), 0).softmax(-1)


# %% wrong The fit is the dot product
def causal_weights(q, k, mask):
    fit = q @ k.mT
    before = torch.ones_like(fit, dtype=torch.bool).tril()
    allowed = before & mask[:, None, :]
    return fit.masked_fill(~allowed, float("-inf")).softmax(-1)


# %% wrong The scale is the width, not its root
def causal_weights(q, k, mask):
    fit = q @ k.mT / q.shape[-1]
    before = torch.ones_like(fit, dtype=torch.bool).tril()
    allowed = before & mask[:, None, :]
    return fit.masked_fill(~allowed, float("-inf")).softmax(-1)


# %% wrong The scale is the root of the number of words
def causal_weights(q, k, mask):
    fit = q @ k.mT / q.shape[1] ** 0.5
    before = torch.ones_like(fit, dtype=torch.bool).tril()
    allowed = before & mask[:, None, :]
    return fit.masked_fill(~allowed, float("-inf")).softmax(-1)


# %% wrong The mask hides queries
def causal_weights(q, k, mask):
    fit = q @ k.mT / q.shape[-1] ** 0.5
    before = torch.ones_like(fit, dtype=torch.bool).tril()
    allowed = before & mask[:, :, None]
    return fit.masked_fill(~allowed, float("-inf")).softmax(-1)


# %% wrong Padding comes last, so the causal mask hides it
def causal_weights(q, k, mask):
    fit = q @ k.mT / q.shape[-1] ** 0.5
    before = torch.ones_like(fit, dtype=torch.bool).tril()
    return fit.masked_fill(~before, float("-inf")).softmax(-1)


# %% wrong The future is below the diagonal
def causal_weights(q, k, mask):
    fit = q @ k.mT / q.shape[-1] ** 0.5
    before = torch.ones_like(fit, dtype=torch.bool).triu()
    allowed = before & mask[:, None, :]
    return fit.masked_fill(~allowed, float("-inf")).softmax(-1)


# %% wrong The weights of each key sum to one
def causal_weights(q, k, mask):
    fit = q @ k.mT / q.shape[-1] ** 0.5
    before = torch.ones_like(fit, dtype=torch.bool).tril()
    allowed = before & mask[:, None, :]
    return fit.masked_fill(~allowed, float("-inf")).softmax(1).nan_to_num()


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

# %% exercise 2.1.5 core Turn by the place
# Write rotary positions by hand for one vector of length $d$ at place $m$: the entries $i$ and $i + d/2$ are a point $(a, b)$ in
# the plane, turned by the angle $m \cdot 10000^{-2i/d}$, $i = 0, \dots, d/2 - 1$. A point turned by $\varphi$ is $(a \cos\varphi - b \sin\varphi,\ b \cos\varphi + a \sin\varphi)$.

# %% stub
def turned(x, m):
    """x (d,) at place m → (d,)."""
    half = len(x) // 2
    angle = ...  # (d/2,)
    a, b = x[:half], x[half:]
    return ...


# %% solution
def turned(x, m):
    """x (d,) at place m → (d,)."""
    half = len(x) // 2
    angle = m * 10_000.0 ** (-torch.arange(half) / half)  # (d/2,)
    a, b = x[:half], x[half:]
    c, s = angle.cos(), angle.sin()
    return torch.cat([a * c - b * s, b * c + a * s])


# %% wrong The exponent is the number of the point divided by d
def turned(x, m):
    half = len(x) // 2
    angle = m * 10_000.0 ** (-torch.arange(half) / len(x))
    a, b = x[:half], x[half:]
    c, s = angle.cos(), angle.sin()
    return torch.cat([a * c - b * s, b * c + a * s])


# %% wrong The two entries of a point are neighbours
def turned(x, m):
    half = len(x) // 2
    angle = m * 10_000.0 ** (-torch.arange(half) / half)
    a, b = x[0::2], x[1::2]
    c, s = angle.cos(), angle.sin()
    return torch.stack([a * c - b * s, b * c + a * s], -1).flatten()


# %% wrong It does not matter which way a point is turned
def turned(x, m):
    half = len(x) // 2
    angle = m * 10_000.0 ** (-torch.arange(half) / half)
    a, b = x[:half], x[half:]
    c, s = angle.cos(), angle.sin()
    return torch.cat([a * c + b * s, b * c - a * s])


# %% wrong The last point is turned fastest
def turned(x, m):
    half = len(x) // 2
    angle = m * 10_000.0 ** (torch.arange(half) / half)
    a, b = x[:half], x[half:]
    c, s = angle.cos(), angle.sin()
    return torch.cat([a * c - b * s, b * c + a * s])


# %% wrong All points are turned by the same angle
def turned(x, m):
    half = len(x) // 2
    angle = torch.full((half,), float(m))
    a, b = x[:half], x[half:]
    c, s = angle.cos(), angle.sin()
    return torch.cat([a * c - b * s, b * c + a * s])


# %% wrong The second entry may be computed from the new first one
def turned(x, m):
    half = len(x) // 2
    angle = m * 10_000.0 ** (-torch.arange(half) / half)
    a, b = x[:half], x[half:]
    a = a * angle.cos() - b * angle.sin()
    b = b * angle.cos() + a * angle.sin()
    return torch.cat([a, b])


# %% wrong A position is added to the vector
def turned(x, m):
    half = len(x) // 2
    angle = m * 10_000.0 ** (-torch.arange(half) / half)
    return x + torch.cat([angle.sin(), angle.cos()])


# %% wrong The first place is number one
def turned(x, m):
    half = len(x) // 2
    angle = (m + 1) * 10_000.0 ** (-torch.arange(half) / half)
    a, b = x[:half], x[half:]
    c, s = angle.cos(), angle.sin()
    return torch.cat([a * c - b * s, b * c + a * s])


# %% check
torch.manual_seed(0)
q, k = torch.randn(2, 8)

with check("2.1.5", "Turn by the place") as it:
    got = turned(q, 3)
    it.true("place 0 changes nothing", got if got is ... else
            torch.allclose(turned(q, 0), q, atol=1e-6))
    it.true("a turn keeps the length", got if got is ... else
            torch.allclose(got.norm(), q.norm(), atol=1e-5),
            hint="Cosine and sine of one angle, for both entries of a point.")
    it.true("only the distance counts", got if got is ... else
            torch.allclose(turned(q, 9) @ turned(k, 4),
                           turned(q, 25) @ turned(k, 20), atol=1e-4))
    wanted = rotate(q[None, None, None], torch.tensor([[3]]))[0, 0, 0]
    it.true("equal to the package", got if got is ... else
            torch.allclose(got, wanted, atol=1e-5),
            hint="The first point is turned fastest: by m itself.")

# %% hint
# The exponent $-2i/d$ is $-i$ divided by $d/2$. `torch.arange(half)` are the numbers $i$.

# %% remark
# Other programs put neighbours, $2i$ and $2i + 1$, together instead of $i$ and $i + d/2$. Both are rotary positions, but weights trained with one do not work with the
# other, a mistake that shows only in the quality of what is written.

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


# %% wrong A word that the model expects is suspicious
def suspicion(ids):
    hide = ids.repeat(len(ids), 1)
    hide.fill_diagonal_(tokenizer.mask_token_id)
    places = torch.arange(len(ids))
    return ask(hide)[places, places, ids]


# %% wrong All words can be hidden at once
def suspicion(ids):
    hide = torch.full_like(ids, tokenizer.mask_token_id)
    p = ask(hide[None])[0, torch.arange(len(ids)), ids]
    return -p.log()


# %% wrong Where the model is unsure, the word is wrong
def suspicion(ids):
    hide = ids.repeat(len(ids), 1)
    hide.fill_diagonal_(tokenizer.mask_token_id)
    places = torch.arange(len(ids))
    p = ask(hide)[places, places]
    return -(p * p.clamp(min=1e-9).log()).sum(-1)


# %% wrong A word is wrong if another one is more probable
def suspicion(ids):
    hide = ids.repeat(len(ids), 1)
    hide.fill_diagonal_(tokenizer.mask_token_id)
    places = torch.arange(len(ids))
    return (ask(hide)[places, places].argmax(-1) != ids).float()


# %% wrong A rare word is a wrong word
def suspicion(ids):
    scenes = enumerate(sample_scenes(200, 2, objects=(2,), pairs="all"))
    said = [{"text": describe(scene, "varied", i)} for i, scene in scenes]
    count = torch.bincount(collate(said)["text"].flatten(), minlength=99)
    return -count[ids].float()


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
#
# This model finds about as many if nothing is hidden at all. In training, one in ten of the words that it was asked for
# had been replaced by a random one, so it doesn't simply believe what it reads.
