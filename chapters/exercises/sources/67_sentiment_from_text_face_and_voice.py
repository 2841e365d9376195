# %% [markdown]
# # Exercises 6.7 Sentiment from text, face and voice
#
# To the chapter: [6.7 Sentiment from text, face and voice](../6-applications/67_sentiment_from_text_face_and_voice.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here trains a model.

# %% shared
from itertools import combinations, permutations, product

import torch

from mmbook.explain import shapley
from mmbook.notebook.exercises import check
from mmbook.samples import sentences
from mmbook.world import sample_people

# %% exercise 6.7.1 warm-up Who speaks ironically?
# Signs of text, face and voice, in this order; `+` is glad, `-` is displeased. Give the mood of each person, and say whether the words are ironic.
#
# - Anna: `+ - -`
# - Bo: `- - +`
# - Cy: `- + +`

# %% stub
moods = {"Anna": ..., "Bo": ..., "Cy": ...}  # "glad" or "displeased"
ironic = {"Anna": ..., "Bo": ..., "Cy": ...}  # True or False

# %% solution
moods = {"Anna": "displeased", "Bo": "displeased", "Cy": "glad"}
ironic = {"Anna": True, "Bo": False, "Cy": True}

# %% wrong The mood is what the words say
moods = {"Anna": "glad", "Bo": "displeased", "Cy": "displeased"}
ironic = {"Anna": False, "Bo": False, "Cy": False}

# %% wrong Whoever has two different signs speaks ironically
moods = {"Anna": "displeased", "Bo": "displeased", "Cy": "glad"}
ironic = {"Anna": True, "Bo": True, "Cy": True}

# %% wrong Irony is only praise that is not meant
moods = {"Anna": "displeased", "Bo": "displeased", "Cy": "glad"}
ironic = {"Anna": True, "Bo": False, "Cy": False}

# %% check
with check("6.7.1", "Who speaks ironically?") as it:
    signs = {"Anna": (1, 0, 0), "Bo": (0, 0, 1), "Cy": (0, 1, 1)}
    for name, each in signs.items():
        glad = sum(each) >= 2
        it.equal(f"the mood of {name}", moods[name],
                 "glad" if glad else "displeased",
                 hint="What do two of the three signs say?")
        it.equal(f"irony of {name}", ironic[name], bool(each[0]) != glad,
                 hint="Is the sign of the words that of the mood?")

# %% hint
# Find the majority first, then compare the first sign with it.

# %% exercise 6.7.2 predict A sign that lies sometimes
# Suppose that the voice is misheard: its sign is turned in one of ten cases, independently of all else. *Before* you compute: how often is the best model right that knows text, face and the misheard voice?

# %% stub
share = ...  # from 0 to 1

# %% solution
share = 0.95

# %% wrong The whole is as reliable as its weakest sign
share = 0.9

# %% wrong Errors of the voice never matter, because two others are right
share = 1.0

# %% wrong It is as if the voice were missing
share = 0.75

# %% check
with check("6.7.2", "A sign that lies sometimes") as it:
    right = 0.0
    for signs in product((0, 1), repeat=3):
        for turned, p in ((0, 0.9), (1, 0.1)):
            heard = signs[2] ^ turned
            right += p / 8 * ((signs[0] + signs[1] + heard >= 2)
                              == (sum(signs) >= 2))
    it.close("the share", share, right, within=1e-3,
             hint="In which cases does the voice decide?")

# %% hint
# If text and face agree, the voice does not matter. If they disagree, the voice decides.

# %% exercise 6.7.3 core The best possible
# `table` maps each combination of signs to its probability and its mood: `{(1, 0, 1): (0.2, 1), …}`. Write `best_possible(table, known)`: the highest accuracy that anybody can reach who knows the signs at
# the places `known`, for example `(0, 2)`.

# %% stub
def best_possible(table, known):
    """The share of right answers of the best model with these signs."""
    return ...

# %% solution
def best_possible(table, known):
    """The share of right answers of the best model with these signs."""
    groups = {}
    for signs, (p, mood) in table.items():
        key = tuple(signs[place] for place in known)
        groups.setdefault(key, [0.0, 0.0])[mood] += p
    return sum(max(each) for each in groups.values())

# %% wrong The majority of the known signs
def best_possible(table, known):
    right = 0.0
    for signs, (p, mood) in table.items():
        seen = [signs[place] for place in known]
        guess = int(2 * sum(seen) >= len(seen)) if seen else 1
        right += p * (guess == mood)
    return right

# %% wrong All combinations are equally likely
def best_possible(table, known):
    groups = {}
    for signs, (_, mood) in table.items():
        key = tuple(signs[place] for place in known)
        groups.setdefault(key, [0.0, 0.0])[mood] += 1 / len(table)
    return sum(max(each) for each in groups.values())

# %% wrong The more frequent mood, whatever the signs
def best_possible(table, known):
    glad = sum(p for p, mood in table.values() if mood)
    return max(glad, 1 - glad)

# %% check
with check("6.7.3", "The best possible") as it:
    even = {s: (1 / 8, int(sum(s) >= 2)) for s in product((0, 1), repeat=3)}
    for known, best in (((), 0.5), ((1,), 0.75), ((0, 2), 0.75),
                        ((0, 1, 2), 1.0)):
        it.close(f"places {known}", best_possible(even, known), best,
                 within=1e-9, hint="Group by what is known.")
    skew = dict(even)
    skew[1, 1, 1], skew[0, 0, 0] = (0.25, 1), (0.0, 0)
    it.close("another distribution, nothing known",
             best_possible(skew, ()), 0.625, within=1e-9,
             hint="Add up probabilities, not combinations.")
    turned = {s: (p, 1 - s[0]) for s, (p, _) in even.items()}
    it.close("a sign that always says the opposite",
             best_possible(turned, (0,)), 1.0, within=1e-9,
             hint="The best model may answer against the sign.")

# %% hint
# For each pattern of known signs, add up the probabilities of both moods and take the larger one.

# %% exercise 6.7.4 core Shapley values by their definition
# Write `by_orders(worth)`: for each player the mean, over all orders in which the players can come, of what it adds when it comes. `worth` maps each subset (a `frozenset`) to a number.

# %% stub
def by_orders(worth):
    """Player → its mean contribution over all orders."""
    return ...

# %% solution
def by_orders(worth):
    """Player → its mean contribution over all orders."""
    players = sorted(frozenset().union(*worth))
    gained = dict.fromkeys(players, 0.0)
    orders = list(permutations(players))
    for order in orders:
        there = frozenset()
        for player in order:
            gained[player] += worth[there | {player}] - worth[there]
            there |= {player}
    return {player: gain / len(orders) for player, gain in gained.items()}

# %% wrong What is lost without it
def by_orders(worth):
    everyone = frozenset().union(*worth)
    return {p: worth[everyone] - worth[everyone - {p}] for p in everyone}

# %% wrong What it reaches alone
def by_orders(worth):
    everyone = frozenset().union(*worth)
    return {p: worth[frozenset({p})] - worth[frozenset()] for p in everyone}

# %% wrong The mean over subsets in place of orders
def by_orders(worth):
    everyone = sorted(frozenset().union(*worth))
    mean = {}
    for p in everyone:
        others = [q for q in everyone if q != p]
        gains = [worth[frozenset(s) | {p}] - worth[frozenset(s)]
                 for n in range(len(others) + 1)
                 for s in combinations(others, n)]
        mean[p] = sum(gains) / len(gains)
    return mean

# %% check
with check("6.7.4", "Shapley values by their definition") as it:
    everyone = ("face", "text", "voice")
    subsets = [frozenset(s) for n in range(4)
               for s in combinations(everyone, n)]
    vote = {s: (50, 75, 75, 100)[len(s)] for s in subsets}
    it.close("the vote: text", by_orders(vote)["text"], 50 / 3, within=1e-6,
             hint="All three are alike, so they share equally.")
    odd = {s: 50 + 20 * ("text" in s) + 7 * ("face" in s)
           + 23 * (len(s) == 3) for s in subsets}
    for player, value in shapley(odd).items():
        it.close(f"another game: {player}", by_orders(odd)[player], value,
                 within=1e-6, hint="Each order counts once.")

# %% hint
# `itertools.permutations(players)` gives the orders.

# %% exercise 6.7.5 core Leave out at random, but not all
# For modality dropout, write `kept(names, p, draw)`: the names that stay if each is left out with probability `p`; if none would stay, draw again. `draw()` gives a random number from 0 to 1.

# %% stub
def kept(names, p, draw):
    """Some of the names, at least one."""
    return ...

# %% solution
def kept(names, p, draw):
    """Some of the names, at least one."""
    while True:
        stay = [name for name in names if draw() >= p]
        if stay:
            return stay

# %% wrong None may stay
def kept(names, p, draw):
    return [name for name in names if draw() >= p]

# %% wrong The first one always stays
def kept(names, p, draw):
    return [names[0]] + [name for name in names[1:] if draw() >= p]

# %% wrong p is the probability to stay
def kept(names, p, draw):
    while True:
        stay = [name for name in names if draw() < p]
        if stay:
            return stay

# %% check
with check("6.7.5", "Leave out at random, but not all") as it:
    torch.manual_seed(0)
    names = ["text", "face", "voice"]
    many = [kept(names, 0.4, lambda: torch.rand(()).item())
            for _ in range(2000)]
    it.true("at least one stays", all(many),
            hint="If none stays, draw again.")
    it.true("each name is sometimes left out",
            all(any(n not in each for each in many) for n in names),
            hint="No name is special.")
    share = sum(map(len, many)) / (3 * len(many))
    truth = 0.6 / (1 - 0.4**3)
    it.close("how often a name stays", share, truth, within=0.03,
             hint="With p = 0.4 a name stays in about 64 of 100 cases.")

# %% hint
# A loop that ends as soon as the list is not empty.

# %% exercise 6.7.6 open The pitch of a real voice
# Measure the pitch of a real recording by autocorrelation: in a vowel the sound repeats after one period of the vocal folds. Write `pitch(frame, rate)` for a short stretch of sound: the frequency in Hz whose period, between 1/400 and 1/70 of a second,
# gives the largest $\sum_t x_t\, x_{t + \text{period}}$.

# %% shared
reader = sentences(16_000)
wave = reader[0]["audio"]
loudest = wave.unfold(0, 1024, 256).square().sum(1).argmax().item() * 256
frame = wave[loudest:loudest + 1024]

# %% stub
def pitch(frame, rate):
    """The frequency at which a stretch of sound repeats itself, in Hz."""
    return ...

# %% solution
def pitch(frame, rate):
    """The frequency at which a stretch of sound repeats itself, in Hz."""
    lags = range(rate // 400, rate // 70 + 1)
    alike = [(frame[:-lag] * frame[lag:]).sum().item() for lag in lags]
    return rate / lags[alike.index(max(alike))]

# %% wrong The loudest frequency is the pitch
def pitch(frame, rate):
    spectrum = torch.fft.rfft(frame).abs()
    return spectrum[1:].argmax().item() * rate / len(frame) + 400

# %% wrong All lags are allowed, the smallest too
def pitch(frame, rate):
    lags = range(1, rate // 70 + 1)
    alike = [(frame[:-lag] * frame[lag:]).sum().item() for lag in lags]
    return rate / lags[alike.index(max(alike))]

# %% wrong The period is given in place of the frequency
def pitch(frame, rate):
    lags = range(rate // 400, rate // 70 + 1)
    alike = [(frame[:-lag] * frame[lag:]).sum().item() for lag in lags]
    return lags[alike.index(max(alike))] / rate

# %% check
with check("6.7.6", "The pitch of a real voice") as it:
    time = torch.arange(1024) / 16_000
    for hertz in (100, 200, 320):
        tone = sum(torch.sin(2 * torch.pi * k * hertz * time) / k
                   for k in range(1, 6))
        it.close(f"a buzz of {hertz} Hz", pitch(tone, 16_000), hertz,
                 within=0.03 * hertz,
                 hint="Look at lags from rate // 400 to rate // 70.")
    heard = pitch(frame, 16_000)
    it.true("the reader's pitch is that of a human voice",
            90 < heard < 320, hint=f"You found {heard:.0f} Hz.")

# %% hint
# For a lag, multiply `frame[:-lag]` with `frame[lag:]` and add up.

# %% remark
# Pitch alone says little about a mood: a high voice may belong to a child. The chapter's glad voices are high *beside their owner's average*, which a listener must know or guess.
