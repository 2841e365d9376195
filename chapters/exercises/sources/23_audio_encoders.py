# %% [markdown]
# # Exercises 2.3 Audio encoders
#
# To the chapter: [2.3 Audio encoders](../2-concepts/23_audio_encoders.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds. The recordings are those of `mmbook.samples`: sentences of LJ Speech (public
# domain) and digits of the Free Spoken Digit Dataset (CC BY-SA 4.0).

# %% shared
import math
from itertools import product

import torch
from torch.nn import functional as F

from mmbook import samples
from mmbook.encoders.spectrogram import log_mel
from mmbook.notebook.exercises import check
from mmbook.world import sample_voices, speak

torch.set_num_threads(1)

# %% exercise 2.3.1 warm-up Which tone do you hear?
# A tone of $f$ Hz is sampled $R$ times a second, and nobody removed what lies above $R/2$. Which tone
# between 0 and $R/2$ has the same samples? Write the function. It should work for every $f$, also for those above $R$.

# %% stub
def heard(f, R):
    """The frequency below R / 2 that has the samples of f."""
    return ...


# %% solution
def heard(f, R):
    """The frequency below R / 2 that has the samples of f."""
    f = f % R
    return min(f, R - f)


# %% wrong What lies above the limit is lost, so it becomes the limit
def heard(f, R):
    """The frequency below R / 2 that has the samples of f."""
    return min(f, R / 2)

# %% wrong A tone comes back after R, and this is all
def heard(f, R):
    """The frequency below R / 2 that has the samples of f."""
    return f % R

# %% wrong The axis is folded once
def heard(f, R):
    """The frequency below R / 2 that has the samples of f."""
    return f if f <= R / 2 else R - f

# %% check
with check("2.3.1", "Which tone do you hear?") as it:
    it.equal("300 Hz at 8000", heard(300, 8000), 300)
    it.equal("7560 Hz at 8000", heard(7560, 8000), 440)
    for f, R in ((5000, 8000), (17_000, 8000), (23_500, 16_000)):
        n, found = torch.arange(64).double(), heard(f, R)
        same = found is not ... and torch.allclose(
            torch.cos(2 * math.pi * f * n / R),
            torch.cos(2 * math.pi * found * n / R))
        it.true(f"{f} Hz at {R}: the same samples", same and 0 <= found <= R / 2,
                hint="What does adding R to a frequency change?")

# %% hint
# The samples of $f$ and of $f + R$ are the same, and so are those of $f$ and $R - f$. First bring $f$ below $R$.

# %% remark
# The whole axis of frequencies is folded, like paper, at $R/2$, again and again. That is why aliasing is
# also called folding.

# %% exercise 2.3.2 predict How fine is a picture of sound?
# A spectrogram has windows of 25 ms, one each 10 ms. Two tones sound at the same time. Predict how far apart they must be, in Hz, to
# give two separate peaks: about 10, 80 or 400? Then: what if the windows are ten times as long, 250 ms, and what is
# lost by it? And what happens if the windows stay at 25 ms, but there is a new one only each 50 ms?
#
# - `"a"`: frequencies can be told apart less well
# - `"b"`: nothing is lost, there are fewer columns of the same information
# - `"c"`: half of the sound is in no window, so what happens there is not in the spectrogram

# %% stub
guess_short = ...  # in Hz
guess_long = ...
what_is_lost = ...  # "a": loudness, "b": when it was, "c": the pitch
longer_hop = ...  # "a", "b" or "c"

# %% solution
guess_short = 80
guess_long = 8
what_is_lost = "b"
longer_hop = "c"

# %% wrong A longer window is better at everything but loudness
guess_short = 80
guess_long = 8
what_is_lost = "a"
longer_hop = "c"

# %% wrong Long windows blur the pitch
guess_short = 80
guess_long = 800
what_is_lost = "c"
longer_hop = "c"

# %% wrong The hop decides how fine the frequencies are
guess_short = 80
guess_long = 8
what_is_lost = "b"
longer_hop = "a"

# %% wrong A hop longer than the window only saves work
guess_short = 80
guess_long = 8
what_is_lost = "b"
longer_hop = "b"

# %% check
def apart(seconds, rate=8000):
    """From which distance on is there a dip, whatever the phases?"""
    n = torch.arange(int(seconds * rate)).double()
    w = 0.5 - 0.5 * torch.cos(2 * math.pi * n / len(n))
    phases = torch.linspace(0, 2 * math.pi, 9)[:, None].double()
    for gap in range(1, 400):
        high = torch.cos(2 * math.pi * (1000 + gap) * n / rate + phases)
        both = (torch.cos(2 * math.pi * 1000 * n / rate) + high) * w
        f = torch.tensor([1000, 1000 + gap / 2, 1000 + gap]).double()
        at = (both.to(torch.complex128) @ torch.exp(
            -2j * math.pi * f * n[:, None] / rate)).abs()
        if (at[:, 1] < 0.7 * at[:, (0, 2)].amin(1)).all():
            return gap


with check("2.3.2", "How fine is a picture of sound?") as it:
    it.prediction("windows of 25 ms", guess_short, apart(0.025), " Hz")
    it.prediction("windows of 250 ms", guess_long, apart(0.25), " Hz")
    it.choice("what long windows lose", what_is_lost, "b", {
        "a": "The sum over the window keeps it.",
        "b": "Whatever happens within a window becomes one column.",
        "c": "On the contrary: its multiples stand apart.",
    })
    it.choice("a new window each 50 ms", longer_hop, "c", {
        "a": "That depends on the length of a window alone.",
        "b": "25 of each 50 ms are in no window.",
        "c": "A click of a millisecond can fall between two windows.",
    })

# %% hint
# A window of length $T$ tells frequencies apart that differ by about $2/T$: the window that fades in and out is wider than
# $1/T$.

# %% remark
# Ten times as long, ten times as fine: the product of both is fixed. There is no setting that is good at both.

# %% exercise 2.3.3 core Quantise a voice in stages
# `codebooks` were learned on the frames of a recorded sentence, for residual vector quantisation. Write `quantise`: each stage
# takes what the stages before it left over, finds the nearest vector of its codebook (the smallest distance) and subtracts it. Then say how many bits a second three
# stages cost, at 100 frames a second and with 32 vectors in each codebook.

# %% stub
def quantise(x, codebooks):
    """Frames (n, C) → tokens (n, S) and the sum of their vectors (n, C)."""
    tokens = ...
    found = ...
    return tokens, found


bits_a_second = ...

# %% solution
def quantise(x, codebooks):
    """Frames (n, C) → tokens (n, S) and the sum of their vectors (n, C)."""
    tokens, found = [], torch.zeros_like(x)
    for codes in codebooks:
        nearest = torch.cdist(x - found, codes).argmin(1)
        found = found + codes[nearest]
        tokens.append(nearest)
    return torch.stack(tokens, 1), found


bits_a_second = 100 * 3 * 5

# %% wrong Each stage quantises the frame itself
def quantise(x, codebooks):
    """Frames (n, C) → tokens (n, S) and the sum of their vectors (n, C)."""
    tokens = [torch.cdist(x, codes).argmin(1) for codes in codebooks]
    found = sum(codes[t] for codes, t in zip(codebooks, tokens))
    return torch.stack(tokens, 1), found


bits_a_second = 100 * 3 * 5

# %% wrong The last stage replaces those before it
def quantise(x, codebooks):
    """Frames (n, C) → tokens (n, S) and the sum of their vectors (n, C)."""
    tokens, rest = [], x
    for codes in codebooks:
        nearest = torch.cdist(rest, codes).argmin(1)
        found, rest = codes[nearest], rest - codes[nearest]
        tokens.append(nearest)
    return torch.stack(tokens, 1), found


bits_a_second = 100 * 3 * 5

# %% wrong The nearest vector is the one with the largest product
def quantise(x, codebooks):
    """Frames (n, C) → tokens (n, S) and the sum of their vectors (n, C)."""
    tokens, found = [], torch.zeros_like(x)
    for codes in codebooks:
        nearest = ((x - found) @ codes.T).argmax(1)
        found = found + codes[nearest]
        tokens.append(nearest)
    return torch.stack(tokens, 1), found


bits_a_second = 100 * 3 * 5

# %% wrong A token costs as many bits as the codebook has vectors
def quantise(x, codebooks):
    """Frames (n, C) → tokens (n, S) and the sum of their vectors (n, C)."""
    tokens, found = [], torch.zeros_like(x)
    for codes in codebooks:
        nearest = torch.cdist(x - found, codes).argmin(1)
        found = found + codes[nearest]
        tokens.append(nearest)
    return torch.stack(tokens, 1), found


bits_a_second = 100 * 3 * 32


# %% check
def learn(x, stages=3, K=32):
    """Codebooks by k-means, stage after stage."""
    found, rest = [], x
    for stage in range(stages):
        generator = torch.Generator().manual_seed(stage)
        start = torch.randperm(len(rest), generator=generator)[:K]
        codes = rest[start].clone()
        for _ in range(10):
            nearest = torch.cdist(rest, codes).argmin(1)
            for k in nearest.unique():
                codes[k] = rest[nearest == k].mean(0)
        rest = rest - codes[torch.cdist(rest, codes).argmin(1)]
        found.append(codes)
    return found


readings = samples.sentences(8000)
x, held = (log_mel(readings[i]["audio"][None], mels=40, rate=8000)[0][0].T
           for i in (0, 1))
codebooks = learn(x)

with check("2.3.3", "Quantise a voice in stages") as it:
    tokens, found = quantise(held, codebooks)
    it.equal("a token for each frame and stage",
             tokens if tokens is ... else tuple(tokens.shape),
             (len(held), 3))
    told = sum(codes[tokens[:, s]] for s, codes in enumerate(codebooks))
    it.true("what was found is the sum of the vectors that tokens name",
            torch.allclose(told, found, atol=1e-4))
    first = torch.cdist(held, codebooks[0]).argmin(1)
    it.true("the first stage takes the nearest vector",
            torch.equal(tokens[:, 0], first))
    errors = []
    for S in (1, 2, 3):
        _, near = quantise(held, codebooks[:S])
        errors.append((held - near).square().mean().item())
    it.true("each stage lowers the error on another sentence",
            errors[0] > errors[1] > errors[2],
            hint="What does a stage quantise: the frame, or what is left?")
    it.equal("bits a second", bits_a_second, 1500,
             hint="To name one of 32 vectors takes log2(32) bits.")

# %% hint
# Begin with a sum of zeros. In each stage the rest is the frame less the sum so far; `torch.cdist(rest, codes)` has the
# distances of all frames from all vectors.

# %% remark
# Three codebooks of 32 vectors name 32,768 different frames with 96 stored vectors. The order of the stages matters: without the first
# token the second one means nothing, because it names a correction.

# %% exercise 2.3.4 core Collapse, and count
# How many paths of $N$ tokens read as a word in which all letters differ, "ab" or "abc"? In the chapter we counted 15 for "ab" and $N = 4$. Find
# it for "aa" and $N = 4$ as well. Write `collapse`, then count.

# %% stub
def collapse(path):
    """Merge repetitions, then drop the blanks "–"."""
    return ...


def count(word, N):
    """How many paths of N symbols (blank and letters) read as the word."""
    return ...


# %% solution
def collapse(path):
    """Merge repetitions, then drop the blanks "–"."""
    merged = [s for s, b in zip(path, (None, *path)) if s != b]
    return "".join(s for s in merged if s != "–")


def count(word, N):
    """How many paths of N symbols (blank and letters) read as the word."""
    symbols = "–" + "".join(sorted(set(word)))
    return sum(collapse(path) == word for path in product(symbols, repeat=N))


# %% wrong First drop the blanks, then merge
def collapse(path):
    """Merge repetitions, then drop the blanks "–"."""
    path = path.replace("–", "")
    return "".join(s for s, b in zip(path, (None, *path)) if s != b)


def count(word, N):
    """How many paths of N symbols (blank and letters) read as the word."""
    symbols = "–" + "".join(sorted(set(word)))
    return sum(collapse(path) == word
               for path in map("".join, product(symbols, repeat=N)))

# %% wrong A letter that came once is not said again
def collapse(path):
    """Merge repetitions, then drop the blanks "–"."""
    return "".join(dict.fromkeys(s for s in path if s != "–"))


def count(word, N):
    """How many paths of N symbols (blank and letters) read as the word."""
    symbols = "–" + "".join(sorted(set(word)))
    return sum(collapse(path) == word for path in product(symbols, repeat=N))

# %% wrong The blank is only a pause, so nothing is merged
def collapse(path):
    """Merge repetitions, then drop the blanks "–"."""
    return "".join(s for s in path if s != "–")


def count(word, N):
    """How many paths of N symbols (blank and letters) read as the word."""
    symbols = "–" + "".join(sorted(set(word)))
    return sum(collapse(path) == word for path in product(symbols, repeat=N))

# %% wrong There is no blank: only repetitions spread the letters
def collapse(path):
    """Merge repetitions, then drop the blanks "–"."""
    merged = [s for s, b in zip(path, (None, *path)) if s != b]
    return "".join(s for s in merged if s != "–")


def count(word, N):
    """How many paths of N symbols (blank and letters) read as the word."""
    return sum(collapse(path) == word for path in product(word, repeat=N))

# %% check
with check("2.3.4", "Collapse, and count") as it:
    it.equal("aa–ab", collapse("aa–ab"), "aab")
    it.equal("––", collapse("––"), "")
    it.equal("ab in 4", count("ab", 4), 15)
    it.equal("aa in 4", count("aa", 4), 5,
             hint="Between the two there must be a blank.")
    it.equal("abc in 6", count("abc", 6), math.comb(9, 6))

# %% hint
# `itertools.product(symbols, repeat=N)` gives all paths. Which symbols are needed? The blank and the letters of the word.

# %% remark
# For $L$ different letters the number is $\binom{N + L}{2L}$: a path is fixed by where each letter begins and ends. "aa" has
# fewer, because a blank is forced between the two. A sound with fewer tokens than a word needs cannot say it: then the loss of CTC is
# infinite.

# %% exercise 2.3.5 core Take the microphone away
# A microphone makes some frequencies louder and others softer; here each sample loses a part of the one before. The recorded word is the same, but
# its spectrogram is not: in the logarithm, a constant is added to each band. Write `normalised`: each band of
# a spectrogram gets mean 0 and standard deviation 1 over time.

# %% stub
def normalised(x):
    """x (mels, T) → each band with mean 0 and deviation 1."""
    return ...


# %% solution
def normalised(x):
    """x (mels, T) → each band with mean 0 and deviation 1."""
    middle = x.mean(1, keepdim=True)
    return (x - middle) / x.std(1, keepdim=True)


# %% wrong One mean and one deviation for the whole spectrogram
def normalised(x):
    """x (mels, T) → each band with mean 0 and deviation 1."""
    return (x - x.mean()) / x.std()

# %% wrong Each moment is normalised over its bands
def normalised(x):
    """x (mels, T) → each band with mean 0 and deviation 1."""
    middle = x.mean(0, keepdim=True)
    return (x - middle) / x.std(0, keepdim=True)

# %% wrong The mean is enough
def normalised(x):
    """x (mels, T) → each band with mean 0 and deviation 1."""
    return x - x.mean(1, keepdim=True)

# %% wrong Divide by the largest value, as for loudness
def normalised(x):
    """x (mels, T) → each band with mean 0 and deviation 1."""
    return x / x.abs().amax(1, keepdim=True)


# %% check
def microphone(wave, colour):
    return wave[1:] - colour * wave[:-1]


wave = samples.sentences(8000)[1]["audio"]
one, other = (log_mel(microphone(wave, colour)[None], mels=40, rate=8000)[0][0]
              for colour in (0.0, 0.9))

with check("2.3.5", "Take the microphone away") as it:
    got = normalised(one)
    it.true("a spectrogram", got if got is ... else got.shape == one.shape)
    it.true("each band has mean 0", got.mean(1).abs().max() < 1e-3,
            hint="Time is the second axis.")
    it.true("each band has deviation 1", (got.std(1) - 1).abs().max() < 0.05)
    before = (one - other).square().mean() / one.var()
    after = (got - normalised(other)).square().mean() / got.var()
    it.true("the microphones are nearly alike", after < 0.3 * before,
            hint=f"Difference before {before:.2f}, after {after:.2f}.")

# %% hint
# `x.mean(1, keepdim=True)` has the shape (mels, 1), so it can be subtracted from x.

# %% remark
# The difference is not quite zero: a band has a width, within which the microphone is not constant, and where Whisper's scale cuts off, more than a
# constant changes. And the loudness went away, too: a shout and a whisper now look more alike.

# %% exercise 2.3.6 open How many voices?
# Words can be recognised without training: keep examples, and name the one whose spectrogram is nearest. With examples of
# one voice, other voices are often misunderstood. How many voices must be kept? Give the numbers of up to eight voices
# from `people` (0 to 11). The check asks twelve others, and wants 88 in 100 right.
#
# Then go on by yourself: are eight voices that differ much better than eight that are alike? `people[3].pitch` and `.scale` tell about
# a voice. Which words are confused? What does `normalised` do here, where all have the same microphone?

# %% stub
people = sample_voices(12)
kept = ...  # a list of numbers

# %% solution
people = sample_voices(12)
kept = [0, 1, 2, 3, 4, 5, 6, 7]

# %% wrong One voice is enough: the words are the same
people = sample_voices(12)
kept = [0]

# %% wrong Two voices of about the same size will do
people = sample_voices(12)
kept = sorted(range(12), key=lambda n: people[n].scale)[:2]

# %% wrong All that there are
people = sample_voices(12)
kept = list(range(12))

# %% check
NUMBERS = "zero one two three four five six seven eight nine".split()


def said_by(voice, seed):
    """Ten digits as spectrograms of 32 steps, without silence around."""
    spectra = []
    for i, word in enumerate(NUMBERS):
        wave = speak(word, voice, 8000, 0.001, (seed, i))
        loud = (wave.abs() > 0.04).nonzero()[:, 0]
        x = log_mel(wave[None, loud[0]:loud[-1]], mels=40, rate=8000)[0]
        spectra.append(F.interpolate(x, size=32, mode="linear")[0])
    return torch.stack(spectra)


def share_right(numbers):
    """Share of right answers of twelve other voices."""
    examples = torch.cat([said_by(people[n], 0) for n in numbers])
    asked = torch.cat([said_by(v, 1) for v in sample_voices(24)[12:]])
    far = torch.cdist(asked.flatten(1), examples.flatten(1))
    truth = torch.arange(len(asked)) % 10
    return (far.argmin(1) % 10 == truth).float().mean().item()


with check("2.3.6", "How many voices?") as it:
    it.true("one to eight different numbers from 0 to 11",
            kept if kept is ... else
            1 <= len(set(kept)) == len(kept) <= 8
            and set(kept) <= set(range(12)))
    got = share_right(kept)
    it.true("88 in 100 of the others are right", got >= 0.88,
            hint=f"{got:.2f} now; one voice gives {share_right([0]):.2f}.")

# %% hint
# Try one, two, four and eight voices first.

# %% remark
# Which voices are kept matters as well as how many: try the eight that are most alike in `scale`, and eight that are spread out. Twelve voices of
# one synthesiser are a small test; how the answer would be for people, it does not say.
