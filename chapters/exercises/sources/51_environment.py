# %% [markdown]
# # Exercises 5.1 Environment
#
# To the chapter: [5.1 Environment](../5-practice/51_environment.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# measures time, so all answers are the same on every machine, although two exercises examine yours.

# %% shared
from importlib.metadata import PackageNotFoundError, requires, version

import torch
from packaging.requirements import Requirement
from torch import nn
from transformers import AutoModelForImageClassification

from mmbook.notebook.exercises import check
from mmbook.saving import find_folder

GIB = 2**30

# %% exercise 5.1.1 warm-up Sixteen bytes
# A model with `count` parameters is trained in float32 with AdamW. How many GiB do its parameters,
# their gradients and the state of the optimiser take together? Activations do not count here. One GiB is
# $2^{30}$ bytes.


# %% stub
def training_gib(count):
    """GiB for parameters, gradients and the state of AdamW."""
    return ...


# %% solution
def training_gib(count):
    """GiB for parameters, gradients and the state of AdamW."""
    return (4 + 4 + 2 * 4) * count / GIB


# %% wrong A model takes what its file takes
def training_gib(count):
    return 4 * count / GIB


# %% wrong Adam remembers one number for each parameter
def training_gib(count):
    return (4 + 4 + 4) * count / GIB


# %% wrong Gradients are gone before the optimiser needs memory
def training_gib(count):
    return (4 + 2 * 4) * count / GIB


# %% wrong A GiB is a billion bytes
def training_gib(count):
    return 16 * count / 1e9


# %% check
with check("5.1.1", "Sixteen bytes") as it:
    it.close("135 million parameters", training_gib(135_000_000), 2.0117)
    it.close("7 billion parameters", training_gib(7_000_000_000), 104.3081)
    layer = nn.Linear(300, 200)
    adam = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 300)).sum().backward()
    adam.step()
    kept = [x for s in adam.state.values() for x in s.values() if x.dim()]
    own = list(layer.parameters())
    there = sum(x.nbytes for x in [*own, *[p.grad for p in own], *kept])
    it.close(
        "a real layer of 60,200, in KiB",
        training_gib(60_200) * 2**20,
        there / 1024,
    )

# %% hint
# Four bytes each: the parameter, its gradient, and the two running means that Adam keeps.

# %% remark
# The last check counts the bytes of real tensors. With SGD without momentum the state is empty and the factor is 8.

# %% exercise 5.1.2 predict Twice the batch
# On a machine with $P = 100$ GFLOP/s, $B = 20$ GB/s and $o = 5$ µs, a training step with *one* picture has
# $F = 0.1$ GFLOP, $M = 20$ MB and $n = 1000$ operations. With a second picture in the batch, $F$ and $M$ double and $n$
# stays.
#
# First predict: by what factor does the step become longer? Then compute both times by equation (1), in
# milliseconds, and say which term is the largest for one picture: `"arithmetic"`, `"memory"` or `"starting"`.

# %% stub
guess = ...  # how many times as long, before you compute
one_ms = ...
two_ms = ...
largest = ...  # "arithmetic", "memory" or "starting"

# %% solution
guess = 1.3
one_ms = 1000 * (0.1e9 / 100e9 + 20e6 / 20e9 + 1000 * 5e-6)
two_ms = 1000 * (0.2e9 / 100e9 + 40e6 / 20e9 + 1000 * 5e-6)
largest = "starting"

# %% wrong Twice the pictures take twice the time
guess = 2.0
one_ms = 7.0
two_ms = 14.0
largest = "arithmetic"

# %% wrong Only arithmetic takes time
guess = 2.0
one_ms = 1000 * 0.1e9 / 100e9
two_ms = 2 * one_ms
largest = "arithmetic"

# %% wrong The slowest term hides the others, whatever the processor
guess = 1.0
one_ms = 1000 * max(0.1e9 / 100e9, 20e6 / 20e9, 1000 * 5e-6)
two_ms = one_ms
largest = "starting"

# %% wrong Each picture has operations of its own
guess = 2.0
one_ms = 1000 * (0.1e9 / 100e9 + 20e6 / 20e9 + 1000 * 5e-6)
two_ms = 1000 * (0.2e9 / 100e9 + 40e6 / 20e9 + 2000 * 5e-6)
largest = "starting"

# %% check
with check("5.1.2", "Twice the batch") as it:
    it.prediction("how many times as long", guess, 9 / 7)
    it.close("one picture, ms", one_ms, 7.0)
    it.close(
        "two pictures, ms",
        two_ms,
        9.0,
        hint="One operation handles the whole batch.",
    )
    it.choice(
        "the largest term",
        largest,
        "starting",
        {
            "arithmetic": "0.1 GFLOP at 100 GFLOP/s take one millisecond.",
            "memory": "20 MB at 20 GB/s take one millisecond.",
            "starting": "1000 operations of 5 µs take 5 of the 7 ms.",
        },
    )

# %% hint
# The three terms for one picture are 1, 1 and 5 milliseconds in some order. Which of them know the size of the batch?

# %% remark
# Two pictures in 9 ms are 4.5 ms for each in place of 7: this is one reason for batches. From three pictures on, arithmetic and
# memory together, 2 ms for each picture, outweigh the 5 ms of starting.

# %% exercise 5.1.3 core What does not fit
# Write the check of the chapter as a function. `lines` are requirements as a package's metadata has them, such as
# `"torch>=2.6"`; `have` gives the installed version of a name, or None. Return the sorted names of what is missing or
# outside of its range. A requirement that belongs to an extra has a `marker` with the word "extra" in it and does not count;
# all others count, and their markers may be taken to hold.
# At the end, the function examines *your* environment.


# %% stub
def unfit(lines, have):
    """Names of requirements that are missing or outside of their range."""
    return ...


# %% solution
def unfit(lines, have):
    """Names of requirements that are missing or outside of their range."""
    found = []
    for requirement in map(Requirement, lines):
        if "extra" in str(requirement.marker or ""):
            continue
        there = have(requirement.name)
        if there is None or not requirement.specifier.contains(there):
            found.append(requirement.name)
    return sorted(found)


# %% wrong Versions compare like words
def unfit(lines, have):
    found = []
    for requirement in map(Requirement, lines):
        if "extra" in str(requirement.marker or ""):
            continue
        there = have(requirement.name)
        bounds = [(s.operator, s.version) for s in requirement.specifier]
        wrong = (
            any(
                (op == ">=" and there < v) or (op == "<" and there >= v)
                for op, v in bounds
            )
            if there
            else True
        )
        if wrong:
            found.append(requirement.name)
    return sorted(found)


# %% wrong Newer is always good enough
def unfit(lines, have):
    found = []
    for requirement in map(Requirement, lines):
        if "extra" in str(requirement.marker or ""):
            continue
        there = have(requirement.name)
        lower = [s for s in requirement.specifier if s.operator == ">="]
        if there is None or not all(s.contains(there) for s in lower):
            found.append(requirement.name)
    return sorted(found)


# %% wrong What is not installed cannot be wrong
def unfit(lines, have):
    return sorted(
        r.name
        for r in map(Requirement, lines)
        if "extra" not in str(r.marker or "")
        and have(r.name) is not None
        and not r.specifier.contains(have(r.name))
    )


# %% wrong Extras are needed, too
def unfit(lines, have):
    return sorted(
        r.name
        for r in map(Requirement, lines)
        if have(r.name) is None or not r.specifier.contains(have(r.name))
    )


# %% wrong Every marker belongs to an extra
def unfit(lines, have):
    return sorted(
        r.name
        for r in map(Requirement, lines)
        if r.marker is None
        and (have(r.name) is None or not r.specifier.contains(have(r.name)))
    )


# %% wrong The label of a build makes another version
def unfit(lines, have):
    return sorted(
        r.name
        for r in map(Requirement, lines)
        if "extra" not in str(r.marker or "")
        and (
            have(r.name) is None
            or "+" in have(r.name)
            or not r.specifier.contains(have(r.name))
        )
    )


# %% check
with check("5.1.3", "What does not fit") as it:

    def here(name):
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    box = {
        "torch": "2.15.0+cpu",
        "numpy": "1.26.4",
        "transformers": "6.0.1",
    }
    it.equal("2.15 is newer than 2.6", unfit(["torch>=2.6"], box.get), [])
    it.equal(
        "a range may end",
        unfit(["transformers<6,>=5"], box.get),
        ["transformers"],
    )
    it.equal(
        "missing, and too old",
        unfit(["safetensors", "numpy>=2", "torch"], box.get),
        ["numpy", "safetensors"],
    )
    it.equal(
        "extras do not count",
        unfit(['pytest>=8; extra == "test"'], box.get),
        [],
    )
    it.equal(
        "a marker of another kind",
        unfit(['numpy>=2; python_version >= "3"'], box.get),
        ["numpy"],
    )
    it.equal(
        "your environment",
        unfit(requires("mmbook"), here),
        [],
        hint="If this fails alone, install the book again.",
    )

# %% hint
# `Requirement(line)` of packaging has `.name`, `.specifier` and `.marker`; a specifier has the method `contains`. Do
# not compare versions as texts: "2.15" < "2.6".

# %% remark
# A version with a label satisfies the range of the version without it. So this function cannot see that torch and torchvision come
# from different sources; the chapter says what can.

# %% exercise 5.1.4 core Frozen parts of a real model
# `mobile` is the real MobileNetV2 of the package. To fine-tune it, one often freezes most of it. Write a function that adds up
# the bytes of parameters, gradients and AdamW's state *of any model*: frozen parameters (`requires_grad` is False)
# have neither gradient nor state, and a parameter may be stored in 2 bytes instead of 4. Assume that gradient and state
# have the type of their parameter.

# %% shared
folder = find_folder("mmbook/mobilenet-v2", needs="config.json")
mobile = AutoModelForImageClassification.from_pretrained(
    folder, dtype=torch.float32
)


# %% stub
def training_bytes(model):
    """Bytes of parameters, gradients and AdamW's state."""
    return ...


# %% solution
def training_bytes(model):
    """Bytes of parameters, gradients and AdamW's state."""
    return sum(
        p.nbytes * (4 if p.requires_grad else 1) for p in model.parameters()
    )


# %% wrong What is frozen takes no memory
def training_bytes(model):
    return sum(4 * p.nbytes for p in model.parameters() if p.requires_grad)


# %% wrong Freezing saves nothing, for the optimiser knows all parameters
def training_bytes(model):
    return sum(4 * p.nbytes for p in model.parameters())


# %% wrong Sixteen bytes, whatever the type
def training_bytes(model):
    return sum(
        p.numel() * (16 if p.requires_grad else 4)
        for p in model.parameters()
    )


# %% wrong A frozen parameter still gets a gradient
def training_bytes(model):
    return sum(
        p.nbytes * (4 if p.requires_grad else 2) for p in model.parameters()
    )


# %% check
with check("5.1.4", "Frozen parts of a real model") as it:
    for p in mobile.float().parameters():
        p.requires_grad_(True)
    everything = sum(p.numel() for p in mobile.parameters())
    it.equal("all of it", training_bytes(mobile), 16 * everything)
    for p in mobile.mobilenet_v2.parameters():
        p.requires_grad_(False)
    last = sum(p.numel() for p in mobile.classifier.parameters())
    it.equal(
        "the last layer only",
        training_bytes(mobile),
        4 * everything + 12 * last,
    )
    mobile.mobilenet_v2.to(torch.bfloat16)
    it.equal(
        "and the rest in bfloat16",
        training_bytes(mobile),
        2 * (everything - last) + 16 * last,
    )
    mobile.classifier.to(torch.bfloat16)
    it.equal(
        "everything in bfloat16",
        training_bytes(mobile),
        2 * (everything - last) + 8 * last,
    )

# %% hint
# `p.nbytes` knows the type. How many copies of its size does a parameter with a gradient have, and how many does one without?

# %% remark
# Of MobileNetV2's 3.5 million parameters, 1.3 million stand in the last layer, so freezing the rest saves less than half
# of these bytes. With a language model and LoRA, where hardly any parameter is trained, it is about three quarters, and seven eighths
# if the frozen parameters are stored in 2 bytes.

# %% exercise 5.1.5 open A plan that fits
# You want to fine-tune a language model with 500 million parameters on a GPU with 8 GiB. Each example of a batch
# needs 0.2 GiB for activations. Choose a plan: the batch size (how many examples at a time), the number of parts that make one
# update (gradient accumulation), and the share of parameters that is trained, 0.001 to 1. What is frozen is stored in
# 2 bytes, what is trained takes 16 more. Three demands:
#
# - it fits, and 1 GiB stays free for everything that this calculation leaves out;
# - an update sees at least 32 examples;
# - as few parts as possible are not demanded, but more than 16 would be slow.
#
# Many plans are right. Say in one sentence why you chose yours.

# %% stub
plan = dict(batch_size=..., parts=..., share=...)
because = ...

# %% solution
plan = dict(batch_size=16, parts=2, share=0.01)
because = "With LoRA most memory is free for activations, so two parts do."

# %% wrong All of it is trained, since the parameters alone fit
plan = dict(batch_size=16, parts=2, share=1.0)
because = "Half a billion parameters in two bytes are one gibibyte."

# %% wrong One part, because accumulation needs the same memory
plan = dict(batch_size=32, parts=1, share=0.01)
because = "Accumulating gradients does not save memory."

# %% wrong A batch of one always fits, and the optimiser sees one batch
plan = dict(batch_size=1, parts=1, share=0.001)
because = "Smaller is safer, and the size of an update does not matter."

# %% wrong All eight GiB may be planned
plan = dict(batch_size=33, parts=1, share=0.01)
because = "The plan uses what the card has."

# %% check
with check("5.1.5", "A plan that fits") as it:
    size, parts, share = (
        it.answer(plan[name]) for name in ("batch_size", "parts", "share")
    )
    whole = all(isinstance(n, int) and n >= 1 for n in (size, parts))
    it.true(
        "whole numbers, and a share from 0.001 to 1",
        whole and 0.001 <= share <= 1,
    )
    needed = (2 + 16 * share) * 500e6 / GIB + 0.2 * size
    it.true(
        "it fits, and 1 GiB stays free",
        needed <= 7,
        hint=f"It needs {needed:.1f} of the 7 GiB.",
    )
    it.true("an update sees 32 examples or more", size * parts >= 32)
    it.true("at most 16 parts", parts <= 16)
    it.true("a reason is given", len(str(it.answer(because)).split()) > 4)

# %% hint
# Start with the share: $(2 + 16 \cdot \text{share}) \cdot 0.5 \cdot 10^9$ bytes are gone before the first example. What is left,
# divided by 0.2 GiB, is the largest batch. The rest is done by parts.

# %% remark
# Training everything takes 8.4 GiB before the first example, so no batch size helps. With 30 per cent trained, about 3.2
# GiB are gone, and a batch of 16 in two parts still fits: a smaller share is not always needed.
