# %% [markdown]
# # Exercises 2.9 The whole architecture
#
# To the chapter: [2.9 The whole architecture](../2-concepts/29_the_whole_architecture.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import torch
from torch import nn
from torch.nn import functional as F

from mmbook.encoders import PatchImageEncoder, PrecomputedTokens
from mmbook.finetuning import freeze
from mmbook.fusion import PerceiverResampler, Projector, QFormer
from mmbook.heads import GPT, FlamingoHead
from mmbook.models import MultimodalModel
from mmbook.notebook.exercises import check
from mmbook.samples import photographs
from mmbook.tokens import Tokens

torch.set_num_threads(1)
torch.manual_seed(0)
given = {"image": torch.randn(2, 9, 16), "labels": torch.randint(3, 20, (2, 5))}


def moves(module):
    """Does a gradient that is not zero reach any of its parameters?"""
    return any(p.grad is not None and bool(p.grad.abs().max() > 0)
               for p in module.parameters())

# %% exercise 2.9.1 warm-up How many tokens?
# An image encoder cuts a picture of 336 × 336 pixels into patches of 14 × 14 pixels and gives one token for each patch. How many tokens reach the
# language model
#
# - for one picture, if a projector passes all of them on, as in LLaVA;
# - for one picture, if four neighbours are merged into one before, as in Qwen2.5-Omni;
# - for a clip of eight such frames, if *one* Perceiver resampler with 64 queries reads the whole clip, as in Flamingo?

# %% stub
projected = ...
merged = ...
resampled = ...

# %% solution
projected = (336 // 14) ** 2
merged = (336 // 28) ** 2
resampled = 64

# %% wrong The patches along one side are all patches
projected = 336 // 14
merged = 336 // 28
resampled = 64

# %% wrong Merging two by two leaves half of the tokens
projected = (336 // 14) ** 2
merged = (336 // 14) ** 2 // 2
resampled = 64

# %% wrong Each side is divided by four
projected = (336 // 14) ** 2
merged = (336 // (4 * 14)) ** 2
resampled = 64

# %% wrong Each frame has its own queries
projected = (336 // 14) ** 2
merged = (336 // 28) ** 2
resampled = 8 * 64

# %% wrong A resampler passes on what it reads
projected = (336 // 14) ** 2
merged = (336 // 28) ** 2
resampled = 8 * (336 // 14) ** 2

# %% wrong The queries are shared out among the frames
projected = (336 // 14) ** 2
merged = (336 // 28) ** 2
resampled = 64 // 8

# %% check
with check("2.9.1", "How many tokens?") as it:
    encoder = PatchImageEncoder(8, layers=1, size=336, patch=14)
    with torch.no_grad():  # the first token is the summary
        seen = encoder(torch.rand(1, 3, 336, 336)).values[:, 1:]
        all_tokens = Projector({"image": 8}, 8)({"image": Tokens(seen)})
        four = Projector({"image": 8}, 8, grid={"image": 12})
        fewer = four({"image": Tokens(seen)})
        clip = Tokens(seen.repeat(1, 8, 1))
        fixed = PerceiverResampler({"video": 8}, 8, 1, 2, 64)
        few = fixed({"video": clip})
    it.equal("projector", projected, all_tokens.values.shape[1],
             hint="There are 336 / 14 patches along each side.")
    it.equal("merged", merged, fewer.values.shape[1],
             hint="Two by two patches become one token.")
    it.equal("resampler", resampled, few.values.shape[1],
             hint="Each query gives one token, however much it reads.")

# %% hint
# Count the patches along one side first. A resampler gives as many tokens as it has queries.

# %% remark
# 576, 144 and 64. For the clip, a projector would need 8 · 576 = 4,608 tokens, which is more than the whole context of LLaVA-1.5's language model.

# %% exercise 2.9.2 predict What learns?
# Two models are built below in the way of the papers: BLIP-2 with a frozen language model, and Flamingo with gates at 0. One batch is put through each of
# them, forwards and backwards. Predict for each part whether it receives a gradient that is not zero: `True` or `False`.

# %% stub
learns = {
    "BLIP-2: Q-Former": ...,
    "BLIP-2: language model": ...,
    "Flamingo: gates": ...,
    "Flamingo: resampler": ...,
}

# %% solution
learns = {
    "BLIP-2: Q-Former": True,
    "BLIP-2: language model": False,
    "Flamingo: gates": True,
    "Flamingo: resampler": False,
}

# %% wrong No gradient passes through a frozen model
learns = {
    "BLIP-2: Q-Former": False,
    "BLIP-2: language model": False,
    "Flamingo: gates": True,
    "Flamingo: resampler": False,
}

# %% wrong What is frozen gets a gradient that is not used
learns = {
    "BLIP-2: Q-Former": True,
    "BLIP-2: language model": True,
    "Flamingo: gates": True,
    "Flamingo: resampler": False,
}

# %% wrong All that is new learns from the first step on
learns = {
    "BLIP-2: Q-Former": True,
    "BLIP-2: language model": False,
    "Flamingo: gates": True,
    "Flamingo: resampler": True,
}

# %% wrong A gate at zero never opens
learns = {
    "BLIP-2: Q-Former": True,
    "BLIP-2: language model": False,
    "Flamingo: gates": False,
    "Flamingo: resampler": False,
}

# %% check
blip2 = MultimodalModel({"image": PrecomputedTokens(16)},
                        QFormer({"image": 16}, 16, 1, 2, queries=4),
                        freeze(GPT(20, 16, heads=2)))
flamingo = MultimodalModel(
    {"image": PrecomputedTokens(16)},
    PerceiverResampler({"image": 16}, 16, 1, 2, queries=4),
    freeze(FlamingoHead(20, 16, 16, heads=2), keep=["looks"]))


with check("2.9.2", "What learns?") as it:
    for model in (blip2, flamingo):
        model(**given).loss.backward()
    gates = nn.ParameterList(look.gates for look in flamingo.head.looks)
    truth = {"BLIP-2: Q-Former": moves(blip2.fusion),
             "BLIP-2: language model": moves(blip2.head),
             "Flamingo: gates": moves(gates),
             "Flamingo: resampler": moves(flamingo.fusion)}
    hints = ("The loss is at the far side of the language model.",
             "What is frozen gets no gradient.",
             "The derivative of tanh at 0 is 1.",
             "What stands behind a gate is multiplied by tanh(0).")
    for (name, expected), hint in zip(truth.items(), hints):
        it.equal(name, it.answer(learns[name]), expected, hint=hint)

# %% hint
# Follow the loss backwards. Through which parts does the chain rule have to pass, and by what is it multiplied there?

# %% remark
# The gradient passes through the frozen language model without changing it. Behind a closed gate it is multiplied by $\tanh(0) = 0$; after one step the gates are open a little, and the
# resampler begins to learn. A gate at 0 *and* a resampler whose output is 0, with no biases behind it, would never learn: each of them would wait for the other.

# %% exercise 2.9.3 core A photograph in words
# Chameleon's language model sees a picture as the numbers of codes. Write `quantise`: for each patch $x$, the number $k$ of the code $e_k$ that is nearest to it,
# $k = \arg\min_j \lVert x - e_j \rVert$. The check takes patches of a real photograph.

# %% stub
def quantise(patches, codes):
    """(N, P) patches and (K, P) codes → (N,) numbers of codes."""
    return ...


# %% solution
def quantise(patches, codes):
    """(N, P) patches and (K, P) codes → (N,) numbers of codes."""
    return torch.cdist(patches, codes).argmin(1)


# %% wrong The nearest code has the largest dot product
def quantise(patches, codes):
    return (patches @ codes.T).argmax(1)


# %% wrong The nearest code has the smallest angle
def quantise(patches, codes):
    same = F.normalize(patches, dim=1) @ F.normalize(codes, dim=1).T
    return same.argmax(1)


# %% wrong A distance is a sum of absolute differences
def quantise(patches, codes):
    return torch.cdist(patches, codes, p=1).argmin(1)


# %% wrong A patch is known by its brightness
def quantise(patches, codes):
    gap = patches.mean(1)[:, None] - codes.mean(1)
    return gap.abs().argmin(1)


# %% wrong Differences add up without a square
def quantise(patches, codes):
    return (patches[:, None] - codes).sum(-1).argmin(1)


# %% wrong Each code has its nearest patch
def quantise(patches, codes):
    return torch.cdist(patches, codes).argmin(0)


# %% wrong A word is the distance to the nearest code
def quantise(patches, codes):
    return torch.cdist(patches, codes).min(1).values


# %% wrong The patch becomes the code itself
def quantise(patches, codes):
    return codes[torch.cdist(patches, codes).argmin(1)]


# %% wrong The largest of the distances is the one to look for
def quantise(patches, codes):
    return torch.cdist(patches, codes).argmax(1)


# %% check
photo = photographs(112).picture(7)[None].float() / 255
patches = F.unfold(photo, 8, stride=8)[0].T  # (196, 192)
codes = patches[torch.randperm(196, generator=torch.manual_seed(1))[:32]]

with check("2.9.3", "A photograph in words") as it:
    words = it.answer(quantise(patches, codes))
    it.equal("one word for each patch", tuple(words.shape), (196,))
    it.true("the words are whole numbers below K",
            words.dtype == torch.long and 0 <= words.min() <= words.max() < 32,
            hint="argmin gives numbers, min gives distances.")
    error = (patches - codes[words % 32]).norm(dim=1)
    best = torch.stack([(patches - code).norm(dim=1) for code in codes]).min(0)
    it.true("no other code is nearer", torch.allclose(error, best.values,
                                                      atol=1e-4),
            hint="The largest dot product is not the smallest distance: "
                 "bright codes have large dot products with everything.")
    it.equal("a code itself is its own word", quantise(codes, codes),
             torch.arange(32))

# %% hint
# `torch.cdist` gives the distance of each row to each other row, (N, K).

# %% remark
# $\lVert x - e \rVert^2 = \lVert x \rVert^2 - 2\, x \cdot e + \lVert e \rVert^2$, so the dot product alone decides only if all codes have the same length. Some
# quantisers normalise patches and codes, which also keeps the training stable.

# %% exercise 2.9.4 core Two stages
# LLaVA is trained in two stages: first the projector alone, then the projector and the language model. The image encoder is frozen in both. Write a function that
# prepares a model for stage 1 or 2, whatever was trainable before. A stage may follow the other one in any order.

# %% stub
def prepare(model, stage):
    """Set `requires_grad` of all parameters for stage 1 or 2."""
    return ...


# %% solution
def prepare(model, stage):
    """Set `requires_grad` of all parameters for stage 1 or 2."""
    model.encoders.requires_grad_(False)
    model.fusion.requires_grad_(True)
    model.head.requires_grad_(stage == 2)
    return model


# %% wrong What was frozen in stage 1 is known in stage 2
def prepare(model, stage):
    if stage == 1:
        model.requires_grad_(False)
        model.fusion.requires_grad_(True)
    else:
        model.head.requires_grad_(True)
    return model


# %% wrong What is to be frozen is all that must be said
def prepare(model, stage):
    model.encoders.requires_grad_(False)
    if stage == 1:
        model.head.requires_grad_(False)
    else:
        model.head.requires_grad_(True)
    return model


# %% wrong A model begins with everything frozen
def prepare(model, stage):
    model.fusion.requires_grad_(True)
    if stage == 2:
        model.head.requires_grad_(True)
    return model


# %% wrong Stage 2 trains the language model alone
def prepare(model, stage):
    model.requires_grad_(False)
    (model.fusion if stage == 1 else model.head).requires_grad_(True)
    return model


# %% wrong The image encoder belongs to what stage 1 trains
def prepare(model, stage):
    model.requires_grad_(True)
    model.head.requires_grad_(stage == 2)
    return model


# %% wrong Only the encoder has to be frozen
def prepare(model, stage):
    model.encoders.requires_grad_(False)
    model.fusion.requires_grad_(True)
    model.head.requires_grad_(True)
    return model


# %% wrong A module has an attribute that freezes it
def prepare(model, stage):
    model.encoders.requires_grad = False
    model.fusion.requires_grad = True
    model.head.requires_grad = stage == 2
    return model


# %% wrong What is kept when the rest is frozen becomes trainable
def prepare(model, stage):
    kept = ["fusion."] if stage == 1 else ["fusion.", "head."]
    return freeze(model, keep=kept)


# %% wrong What is set to evaluation does not learn
def prepare(model, stage):
    model.encoders.eval()
    model.fusion.train()
    model.head.train(stage == 2)
    return model


# %% check
llava = MultimodalModel({"image": PatchImageEncoder(16, 1, 2)},
                        Projector({"image": 16}, 16), GPT(20, 16, heads=2))
pictures = {"image": torch.rand(2, 3, 48, 48), "labels": given["labels"]}


def reached(stage):
    """The parts that a gradient reaches in a stage."""
    it.answer(prepare(llava, stage))
    llava.zero_grad()
    loss = llava(**pictures).loss
    if loss.requires_grad:  # something is trainable
        loss.backward()
    return {name for name, part in (("encoder", llava.encoders),
                                    ("projector", llava.fusion),
                                    ("language model", llava.head))
            if moves(part)}


with check("2.9.4", "Two stages") as it:
    it.equal("stage 1", reached(1), {"projector"},
             hint="Only the projector learns; but the gradient has to pass "
                  "through the language model.")
    it.equal("stage 2", reached(2), {"projector", "language model"})
    it.equal("stage 1 after stage 2", reached(1), {"projector"},
             hint="Set every part, also those that are to stay frozen.")
    llava.requires_grad_(True)
    it.equal("stage 2 when everything was trainable", reached(2),
             {"projector", "language model"},
             hint="Nobody else has frozen the encoder.")
    llava.requires_grad_(False)
    it.equal("stage 1 when everything was frozen", reached(1),
             {"projector"}, hint="Set the projector, too.")

# %% hint
# `module.requires_grad_(True or False)` sets all parameters of a module. `return model` at the end.

# %% remark
# To run the language model under `torch.no_grad()` is a common mistake: nothing behind it gets a gradient then, and the projector does not learn either. Freezing is a property of
# parameters, not of the forward pass.

# %% exercise 2.9.5 open What was the fusion worth?
# An experiment left out boxes. Its results are right answers in per cent, one for each seed, and the same seed saw the same data in all variants. Without a fusion there is no place for multimodal self-supervision,
# so `no fusion` has lost that, too. Write a function that gives the mean paired difference that is due to self-supervision *alone* and to the fusion *alone*.
#
# Then think about it: do the two numbers tell what the fusion would be worth if it came *with* self-supervision?

# %% stub
def worth(results):
    """{box: mean paired difference} for two boxes."""
    return {"self-supervision": ..., "fusion": ...}


# %% solution
def worth(results):
    """{box: mean paired difference} for two boxes."""
    def gain(more, less):
        pairs = zip(results[more], results[less])
        return sum(a - b for a, b in pairs) / len(results[more])

    return {"self-supervision": gain("everything", "no self-supervision"),
            "fusion": gain("no self-supervision", "no fusion")}


# %% wrong What is lost without a box is what the box is worth
def worth(results):
    def gain(more, less):
        pairs = zip(results[more], results[less])
        return sum(a - b for a, b in pairs) / len(results[more])

    return {"self-supervision": gain("everything", "no self-supervision"),
            "fusion": gain("everything", "no fusion")}


# %% wrong One seed is as good as all
def worth(results):
    def gain(more, less):
        return results[more][0] - results[less][0]

    return {"self-supervision": gain("everything", "no self-supervision"),
            "fusion": gain("no self-supervision", "no fusion")}


# %% wrong The best seed counts
def worth(results):
    def gain(more, less):
        return max(results[more]) - max(results[less])

    return {"self-supervision": gain("everything", "no self-supervision"),
            "fusion": gain("no self-supervision", "no fusion")}


# %% wrong The seed in the middle stands for all
def worth(results):
    def gain(more, less):
        pairs = zip(results[more], results[less])
        return float(torch.tensor([a - b for a, b in pairs]).quantile(0.5))

    return {"self-supervision": gain("everything", "no self-supervision"),
            "fusion": gain("no self-supervision", "no fusion")}


# %% wrong Every experiment has three seeds
def worth(results):
    def gain(more, less):
        pairs = zip(results[more], results[less])
        return sum(a - b for a, b in pairs) / 3

    return {"self-supervision": gain("everything", "no self-supervision"),
            "fusion": gain("no self-supervision", "no fusion")}


# %% wrong A difference has no sign
def worth(results):
    def gain(more, less):
        pairs = zip(results[more], results[less])
        return sum(abs(a - b) for a, b in pairs) / len(results[more])

    return {"self-supervision": gain("everything", "no self-supervision"),
            "fusion": gain("no self-supervision", "no fusion")}


# %% wrong The gain is counted in per cent of what was there before
def worth(results):
    def gain(more, less):
        pairs = list(zip(results[more], results[less]))
        return sum(100 * (a - b) / b for a, b in pairs) / len(pairs)

    return {"self-supervision": gain("everything", "no self-supervision"),
            "fusion": gain("no self-supervision", "no fusion")}


# %% wrong The results come in the order of building
def worth(results):
    rows = torch.tensor(list(results.values()))
    first, second, third = rows.mean(1)
    return {"self-supervision": first - second, "fusion": second - third}


# %% check
results = {"everything": [47.0, 52.0, 45.0],
           "no self-supervision": [39.0, 41.0, 37.0],
           "no fusion": [30.0, 28.0, 29.0]}
other = {"no fusion": [50.0, 60.0], "everything": [80.0, 90.0],
         "no self-supervision": [82.0, 86.0]}

with check("2.9.5", "What was the fusion worth?") as it:
    found = {k: it.answer(v) for k, v in it.answer(worth(results)).items()}
    it.close("self-supervision alone", found["self-supervision"], 9.0,
             hint="The mean is one over all seeds.")
    it.close("the fusion alone", found["fusion"], 10.0,
             hint="Two variants that differ in the fusion and nothing else: "
                  "neither of them may have had self-supervision.")
    found = worth(other)
    it.close("self-supervision in another experiment",
             found["self-supervision"], 1.0,
             hint="One of its two seeds got worse by self-supervision.")
    it.close("the fusion in another experiment", found["fusion"], 29.0)

# %% hint
# For each box, find the two variants that differ in this box alone.

# %% remark
# "Everything" minus "no fusion" is 19 in the first experiment: it counts both boxes and calls it fusion. And even the right numbers are about this order of building. The two boxes interact, since self-supervision
# teaches the fusion where to look; so what a box is worth depends on what is there already. Chapter 3.5 has a fair way to share such sums, the Shapley value.
