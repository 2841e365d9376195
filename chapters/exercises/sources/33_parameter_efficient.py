# %% [markdown]
# # Exercises 3.3 Parameter-efficient fine-tuning
#
# To the chapter: [3.3 Parameter-efficient fine-tuning](../3-fine-tuning/33_parameter_efficient.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Only the last check trains
# a model; that takes about ten seconds.

# %% shared
import random

import torch
from torch import nn
from torch.nn import functional as F

from mmbook import training
from mmbook.data import Collate
from mmbook.encoders import TextEncoder
from mmbook.finetuning import (
    LoRALinear,
    add_adapters,
    add_ia3,
    add_lora,
    add_prefix,
    add_prompt,
    count_parameters,
    train_biases,
)
from mmbook.heads import GenerationHead
from mmbook.layers import Attention
from mmbook.models import LanguageModel
from mmbook.notebook.exercises import check
from mmbook.world import COLOURS, SHAPES, scene_tokenizer

torch.set_num_threads(1)

# %% exercise 3.3.1 warm-up Count before you train
# A linear layer maps `inside` numbers to `outside` numbers. Write how many numbers LoRA trains in it at rank
# $r$, and how many full fine-tuning trains there (with the bias).
#
# BERT-base has 12 layers of width 768. How many numbers does LoRA train at rank 8, if it changes query and
# value of each layer? And up to which rank does LoRA train fewer numbers than full fine-tuning does, in one
# layer from 768 to 768?

# %% stub
def lora_numbers(inside, outside, rank):
    """How many numbers LoRA trains in one linear layer."""
    return ...


def full_numbers(inside, outside):
    """How many numbers full fine-tuning trains in it."""
    return ...


bert = ...  # rank 8, query and value of 12 layers
largest_rank = ...  # that trains fewer than the full layer

# %% solution
def lora_numbers(inside, outside, rank):
    """How many numbers LoRA trains in one linear layer."""
    return rank * (inside + outside)


def full_numbers(inside, outside):
    """How many numbers full fine-tuning trains in it."""
    return inside * outside + outside


bert = 12 * 2 * lora_numbers(768, 768, rank=8)
largest_rank = max(r for r in range(1, 768)
                   if lora_numbers(768, 768, r) < full_numbers(768, 768))

# %% check
with check("3.3.1", "Count before you train") as it:
    it.equal("A and B for a layer of 5 to 3, rank 2",
             lora_numbers(5, 3, 2), 16,
             hint="A is (r, in), B is (out, r). Is there a new bias?")
    it.equal("the whole layer of 5 to 3", full_numbers(5, 3), 18)
    layer = add_lora(nn.Sequential(nn.Linear(40, 30)), 4, where=("*",),
                     keep=())
    it.equal("as the package counts", lora_numbers(40, 30, 4),
             count_parameters(layer).trained)
    it.equal("BERT-base", bert, 294_912,
             hint="Two layers of 768 to 768 in each of twelve blocks.")
    it.equal("the largest rank", largest_rank, 384,
             hint="Where is r · 2 · 768 still below 768² + 768?")

# %% hint
# Each number of A is multiplied with one input and goes to one of the $r$ values in the middle. For the last
# question, both sides have the factor 768.

# %% remark
# Half the width: above it, LoRA trains more than the matrix has, and still can't do more than the matrix can.
# Ranks in use lie far below, from 1 to 64. BERT-base has 110 million numbers, so 294,912 is 0.27 %.

# %% exercise 3.3.2 core The gradient by hand
# The layer says $h = W x + \frac{\alpha}{r} B A x$. A loss reaches it as $G = \partial \mathcal L / \partial h$,
# one row for each row of $X$. Write what LoRA says for rows $X$ (B, in), and the two gradients. No autograd.
#
# Then: at the start $B = 0$. Which of the two gradients is zero in the first step? And which
# would be, if $A$ was zero as well?

# %% stub
def lora(X, W, A, B, scale):
    """What the layer says: (B, out)."""
    return ...


def gradient_of_B(X, A, G, scale):
    """(out, r)"""
    return ...


def gradient_of_A(X, B, G, scale):
    """(r, in)"""
    return ...


zero_at_first = ...  # "a" (of A), "b" (of B), "both" or "neither"
zero_if_both_are = ...

# %% solution
def lora(X, W, A, B, scale):
    """What the layer says: (B, out)."""
    return X @ W.T + scale * (X @ A.T) @ B.T


def gradient_of_B(X, A, G, scale):
    """(out, r)"""
    return scale * G.T @ (X @ A.T)


def gradient_of_A(X, B, G, scale):
    """(r, in)"""
    return scale * (G @ B).T @ X


zero_at_first = "a"
zero_if_both_are = "both"

# %% check
torch.manual_seed(0)
X, W, G = torch.randn(6, 5), torch.randn(4, 5), torch.randn(6, 4)
A = torch.randn(2, 5, requires_grad=True)
B = torch.randn(4, 2, requires_grad=True)

with check("3.3.2", "The gradient by hand") as it:
    said = lora(X, W, A, B, 1.5)
    it.true("it says something", said if said is ... else True)
    wanted = F.linear(X, W + 1.5 * B @ A)
    it.true("the layer", torch.allclose(said, wanted, atol=1e-5))
    wanted.backward(G)
    with torch.no_grad():
        ours = gradient_of_B(X, A, G, 1.5), gradient_of_A(X, B, G, 1.5)
    it.true("both gradients are written", all(g is not ... for g in ours))
    for name, mine, its in zip("BA", ours, (B.grad, A.grad)):
        it.true(f"the gradient of {name} is autograd's",
                mine.shape == its.shape
                and torch.allclose(mine, its, atol=1e-4),
                hint=f"It has the shape of {name}: {tuple(its.shape)}.")
    because = {
        "a": "Each gradient holds the other matrix as a factor.",
        "b": "The gradient of B holds A, which is not zero at the start.",
        "both": "Then neither moves, in this step and in all others.",
        "neither": "One of them holds a factor that is zero.",
    }
    it.choice("zero in the first step", zero_at_first, "a", because)
    it.choice("zero if both start at zero", zero_if_both_are, "both",
              because)

# %% hint
# The layer is two linear layers behind each other. For one of them alone, $y = M z$ in rows, the gradient
# of $M$ is $G^\top Z$, and the gradient of $Z$ is $G M$.

# %% remark
# So $B$ starts and $A$ follows one step later. It would work as well the other way round, with $A = 0$
# and a random $B$; one of the two must be zero, so that nothing changes at first, and not both.

# %% exercise 3.3.3 core Fold it in
# Write `folded`: a plain `nn.Linear` that says what this layer with LoRA says. `layer.base()` gives its $W$ and
# $b$ (or None); it also has `down` ($A$), `up` ($B$) and `scale`. Leave the layer as it is: others may still use it.
#
# Then the same for a layer whose *inputs* are multiplied by learned factors, as IA³ does behind the
# activation: $y = W (l \odot x) + b$.

# %% stub
def folded(layer):
    """A plain linear layer that says the same as a LoRALinear."""
    plain = nn.Linear(layer.in_features, layer.out_features,
                      bias=layer.bias is not None)
    return ...


def folded_factors(weight, factors):
    """The weight (out, in) that needs no factors (in,) any more."""
    return ...


# %% solution
def folded(layer):
    """A plain linear layer that says the same as a LoRALinear."""
    plain = nn.Linear(layer.in_features, layer.out_features,
                      bias=layer.bias is not None)
    with torch.no_grad():
        W, b = layer.base()
        plain.weight.copy_(W + layer.scale * layer.up @ layer.down)
        if b is not None:
            plain.bias.copy_(b)
    return plain


def folded_factors(weight, factors):
    """The weight (out, in) that needs no factors (in,) any more."""
    return weight * factors


# %% check
torch.manual_seed(0)
with check("3.3.3", "Fold it in") as it:
    for bias in (True, False):
        base = nn.Linear(7, 5, bias=bias)
        layer = LoRALinear(base, rank=2, alpha=6)
        nn.init.normal_(layer.up)
        before, x = layer.base()[0].clone(), torch.randn(9, 7)
        plain = folded(layer)
        it.true("a layer", plain)
        it.true("it is a plain nn.Linear", type(plain) is nn.Linear)
        it.true(f"it says the same, bias {bias}",
                torch.allclose(plain(x), layer(x), atol=1e-5),
                hint="Is the scale in it? And the bias?")
        it.true("the layer is as it was",
                torch.equal(layer.base()[0], before))
    W, factors, x = torch.randn(5, 7), torch.rand(7), torch.randn(9, 7)
    new = folded_factors(W, factors)
    it.true("factors of the inputs", new if new is ... else torch.allclose(
        F.linear(x, new), F.linear(x * factors, W), atol=1e-5),
        hint="Which axis of the weight belongs to the inputs?")

# %% hint
# A product of two matrices is a matrix. Copy with `copy_` under `torch.no_grad()`. For the factors: each
# input has its column in the weight.

# %% remark
# What is linear can be folded. An adapter has a GELU in the middle, so no matrix does what it does,
# and it costs time in every call, for as long as the model is used.

# %% exercise 3.3.4 core The bias that can't learn
# BitFit trains the biases alone. Write `only_biases`, which freezes everything else. Norms have
# biases, too.
#
# One of the four biases of an attention layer never learns anything, whatever the data. Find it: look at
# gradients, or at the formula of the softmax. Its name is `"query"`, `"key"`, `"value"` or `"out"`.

# %% stub
def only_biases(model):
    """Let the biases learn, and nothing else; gives back the model."""
    for name, parameter in model.named_parameters():
        ...
    return model


dead = ...  # "query", "key", "value" or "out"

# %% solution
def only_biases(model):
    """Let the biases learn, and nothing else; gives back the model."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return model


dead = "key"

# %% check
torch.manual_seed(0)
with check("3.3.4", "The bias that can't learn") as it:
    model = only_biases(TextEncoder(20, 16, layers=2, heads=2))
    learns = {n for n, p in model.named_parameters() if p.requires_grad}
    same = train_biases(TextEncoder(20, 16, layers=2, heads=2), keep=())
    wanted = {n for n, p in same.named_parameters() if p.requires_grad}
    it.true("not all learn", ... if len(learns) == len(
        list(model.parameters())) else True)
    it.true("the biases learn, those of the norms too", wanted <= learns)
    it.true("nothing else learns", learns <= wanted)
    it.choice("the bias that can't learn", dead, "key", {
        "query": "It is multiplied with each key, and keys differ.",
        "key": "It adds the same to the score of each key: q · b.",
        "value": "The weights sum to one, so it comes out again as it is.",
        "out": "It is added to what the layer says.",
    })
    attention = Attention(16, 2)
    attention(torch.randn(3, 5, 16)).square().mean().backward()
    size = {name: getattr(attention, name).bias.grad.norm().item()
            for name in ("query", "key", "value", "out")}
    it.true("its gradient is zero, those of the others are not",
            all((value < 1e-6) == (name == dead)
                for name, value in size.items()))

# %% hint
# A score is $q^\top (k_n + b) = q^\top k_n + q^\top b$. What happens to a softmax if the same number is added
# to all scores?

# %% remark
# The softmax takes out what all scores have in common. Some models, Whisper among them, leave this bias out.
# The paper on BitFit found that the biases of the query and of the first layer of the feed-forward network
# matter most.

# %% exercise 3.3.5 predict How much rank does a change need?
# Full fine-tuning has found a change $\Delta W$ of a 64 × 64 matrix: five strong directions, and noise in all of them.
# LoRA may use rank $r$. How well can $B A$ come to it, at best?
#
# Predict: the error that is left at rank 5, as a share of the whole (both as squared numbers). Then write
# `best`, the nearest matrix of rank $r$: `torch.linalg.svd` gives $U$, $s$ and $V^\top$ with
# $\Delta W = U\, \mathrm{diag}(s)\, V^\top$, the strongest direction first. And say at which rank the error
# stops to fall quickly.

# %% stub
guess_left = ...  # between 0 and 1


def best(change, rank):
    """A (rank, in) and B (out, rank) whose product B A is nearest."""
    u, s, v = torch.linalg.svd(change)
    A = ...
    B = ...
    return A, B


saturates_at = ...  # a rank

# %% solution
guess_left = 0.2


def best(change, rank):
    """A (rank, in) and B (out, rank) whose product B A is nearest."""
    u, s, v = torch.linalg.svd(change)
    A = v[:rank]
    B = u[:, :rank] * s[:rank]
    return A, B


saturates_at = 5

# %% check
torch.manual_seed(0)
change = torch.randn(64, 5) @ torch.randn(5, 64) + 0.8 * torch.randn(64, 64)


def error_left(rank):
    """What is left, as a share of the whole."""
    A, B = best(change, rank)
    gap = change if A is ... or B is ... else change - B @ A
    return (gap.square().sum() / change.square().sum()).item()


with check("3.3.5", "How much rank does a change need?") as it:
    A, B = best(change, 3)
    it.true("two matrices", ... if A is ... or B is ... else True)
    it.equal("their shapes at rank 3", (tuple(A.shape), tuple(B.shape)),
             ((3, 64), (64, 3)))
    strengths = torch.linalg.svdvals(change).square()
    for rank in (1, 3, 5, 20, 64):
        least = (strengths[rank:].sum() / strengths.sum()).item()
        it.close(f"the least error at rank {rank}", error_left(rank),
                 least, within=1e-3,
                 hint="The strengths belong to one of the two matrices.")
    it.prediction("left at rank 5", guess_left, error_left(5))
    it.equal("where it stops to fall quickly", saturates_at, 5,
             hint="Compare error_left(r) with error_left(r + 1).")

# %% hint
# $U\, \mathrm{diag}(s)\, V^\top$ is a sum of products of a column of $U$, a strength and a row of $V^\top$. Keep
# the first $r$ of them. The strengths may go to either side, once.

# %% remark
# No matrix of rank $r$ is nearer (Eckart and Young 1936). The sixth direction brings little, because noise has as
# much of everything. But note what the error does not say: whether noise matters for the answers. In
# the chapter a small part of a change does nearly all of the work.

# %% exercise 3.3.6 open A rule for five thousand numbers
# The book's language model has read sentences about two things, whose colours had nothing to do with each other. Now it
# shall learn a rule: *both things have the same colour*. When it has read "a big red star left of a small", the next word must
# be "red". No picture helps; the second colour must look back at the first.
#
# Write `small_change`: it prepares the model so that at most 5,000 numbers are trained. The check trains it on 400
# sentences for 200 steps and asks for 7 of 10 colours that follow the rule, on new sentences. Full
# fine-tuning gets all of them, with 231,115 numbers.
#
# Then go on by yourself. How few numbers are enough? Which layers must change, and which need not? Do the methods that fail
# here fail for lack of numbers, for lack of steps, or for another reason? And what happens to the sentences that
# the model knew before?

# %% stub
settings = dict(steps=200, learning_rate=1e-2)


def small_change(model):
    """Prepare a LanguageModel: at most 5,000 numbers learn."""
    return ...


# %% solution
settings = dict(steps=200, learning_rate=3e-2)


def small_change(model):
    """Prepare a LanguageModel: at most 5,000 numbers learn."""
    return add_lora(model, rank=4, where=("query", "value"), keep=())


# %% check
tokenizer = scene_tokenizer()
collate = Collate(tokenizer)


def same_colour(count, seed):
    """Sentences that follow the rule."""
    rng = random.Random(seed)
    items = []
    for _ in range(count):
        colour = rng.choice(list(COLOURS))
        sizes = rng.sample(["big", "small"], 2)
        first, second = (f"a {size} {colour} {rng.choice(SHAPES)}"
                         for size in sizes)
        place = rng.choice(["left of", "above"])
        items.append({"caption": f"{first} {place} {second}"})
    return items


@torch.no_grad()
def follows(model, sentences):
    """The share of second colours that the model expects."""
    labels = collate(sentences)["labels"]
    names = tokenizer.convert_tokens_to_ids(list(COLOURS))
    colour = torch.isin(labels, torch.tensor(names))
    second = colour & (colour.cumsum(1) == 2)
    right = model(labels=labels).logits.argmax(-1) == labels
    return right[second].float().mean().item()


with check("3.3.6", "A rule for five thousand numbers") as it:
    torch.manual_seed(0)
    model = LanguageModel(
        GenerationHead.from_pretrained("mmbook/scene-language-model"))
    model = small_change(model)
    it.true("it makes a model", model)
    count = count_parameters(model)
    it.true("something learns, and at most 5,000 numbers",
            0 < count.trained <= 5000,
            hint=f"{count.trained:,} numbers would be trained.")
    it.true("at most 200 steps", settings["steps"] <= 200)
    if 0 < count.trained <= 5000 and settings["steps"] <= 200:
        config = training.TrainingConfig(
            batch_size=32, compile=False, precision="no", progress=False,
            **settings)
        training.fit(model, same_colour(400, 1), config, collate)
        share = follows(model.cpu(), same_colour(300, 2))
        it.true("7 of 10 second colours follow the rule", share >= 0.7,
                hint="Another rate, other layers, or another method?")

# %% hint
# What has to travel from the first colour to the place before the second one, and which part of a transformer
# moves things from place to place? Small changes often want higher learning rates than whole models.

# %% remark
# LoRA on query and value is enough: the query decides where to look, and the value what is brought along. Biases, factors and
# a prefix that is the same for each sentence hardly help at this number of steps: they can make what is there stronger
# or weaker, but this model never had a reason to look from one colour to another. "Which method" is a question about
# the change that the task needs.
