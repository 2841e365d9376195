# %% [markdown]
# # Exercises 2.3 Audio encoders
#
# To the chapter: [2.3 Audio encoders](../2-concepts/23_audio_encoders.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import math
from itertools import product

import torch
from torch.nn import functional as F

from mmbook.encoders.spectrogram import log_mel
from mmbook.notebook.exercises import check
from mmbook.world import Voice, sample_voices, speak

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


# %% check
with check("2.3.1", "Which tone do you hear?") as it:
    it.equal("300 Hz at 8000", heard(300, 8000), 300)
    it.equal("7560 Hz at 8000", heard(7560, 8000), 440)
    for f, R in ((5000, 8000), (17_000, 8000), (23_500, 16_000)):
        n, found = torch.arange(64).double(), heard(f, R)
        same = found is not ... and torch.allclose(
            torch.cos(2 * math.pi * f * n / R),
            torch.cos(2 * math.pi * found * n / R))
        it.true(f"{f} Hz at {R}: the same samples", same and found <= R / 2,
                hint="What does adding R to a frequency change?")

# %% hint
# The samples of $f$ and of $f + R$ are the same, and so are those of $f$ and $R - f$. First bring $f$ below $R$.

# %% remark
# The whole axis of frequencies is folded, like paper, at $R/2$, again and again. That is why aliasing is
# also called folding.

# %% exercise 2.3.2 predict How fine is a picture of sound?
# A spectrogram has windows of 25 ms, one each 10 ms. Two tones sound at the same time. Predict how far apart they must be, in Hz, to
# give two separate peaks: about 10, 80 or 400? Then: what if the windows are ten times as long, 250 ms?

# %% stub
guess_short = ...  # in Hz
guess_long = ...
what_is_lost = ...  # "a": loudness, "b": when it was, "c": the pitch

# %% solution
guess_short = 80
guess_long = 8
what_is_lost = "b"

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

# %% hint
# A window of length $T$ tells frequencies apart that differ by about $2/T$: the window that fades in and out is wider than
# $1/T$.

# %% remark
# Ten times as long, ten times as fine: the product of both is fixed. There is no setting that is good at both.

# %% exercise 2.3.3 core Read the formants
# The average man says "see", "star" and "two". In the middle of the vowel, where is the second formant? Write the function that
# finds it: of a log-mel spectrogram, it looks only at the frames that are louder than the mean, takes the mean over them of each
# band, and gives the band with the largest value between band 14 and band 35 (1000 to 3000 Hz or so).

# %% stub
def second_formant(x):
    """x (mels, T) → the number of a band."""
    loud = ...  # (T,) bool: which frames are louder than the mean
    return ...


# %% solution
def second_formant(x):
    """x (mels, T) → the number of a band."""
    frames = x.mean(0)
    loud = frames > frames.mean()
    return 14 + int(x[:, loud].mean(1)[14:36].argmax())


# %% check
vowels = {}
for word in ("see", "star", "two"):
    wave = speak(word, Voice(), 8000, noise=0.0005)
    vowels[word] = log_mel(wave[None], mels=40, rate=8000)[0][0]

with check("2.3.3", "Read the formants") as it:
    bands = {word: second_formant(x) for word, x in vowels.items()}
    it.true("a band for each", ... if ... in bands.values() else bands)
    it.true("all between 14 and 35",
            all(14 <= band <= 35 for band in bands.values()))
    it.true("'see' is the highest", bands["see"] == max(bands.values()),
            hint="The tongue is at the front: 2290 Hz.")
    it.true("'see' stands at least six bands above 'star'",
            bands["see"] - bands["star"] >= 6,
            hint="Take the mean over the loud frames only.")

# %% hint
# `x.mean(0)` is how loud each frame is. A boolean (T,) picks columns: `x[:, loud]`.

# %% remark
# You have built a recogniser for vowels, with no training. It works for one speaker. A child's "star" stands where a
# man's vowel would be another one: no fixed table of bands serves all.

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
# A microphone makes some frequencies louder and others softer: each sample loses a part of the one before. The word is the same, the
# spectrogram isn't. In the logarithm, what a microphone does is a number added to each band. Write `normalised`: each band of
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


# %% check
def microphone(wave, colour):
    return wave[1:] - colour * wave[:-1]


wave = speak("yellow", Voice(), 8000)
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
# It is not quite zero: where a band holds only noise, and where Whisper's scale cuts off, a microphone changes more than a
# number. And the loudness went away, too: a shout and a whisper now look more alike.

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
# Each doubling of the voices buys less than the one before, and for real voices the last per cent took thousands of speakers. Data about
# *whom* was heard matters more than data about *how long*.
