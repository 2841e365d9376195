# %% [markdown]
# # Exercises 6.6 Machine translation with pictures
#
# To the chapter: [6.6 Machine translation with pictures](../6-applications/66_machine_translation_with_pictures.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here trains a model.

# %% shared
import math
from collections import Counter

from mmbook.metrics import bleu
from mmbook.notebook.exercises import check
from mmbook.samples import photographs
from mmbook.world import SENSES, Meant, Utterance, sample_utterances

# %% exercise 6.6.1 warm-up Is a picture needed?
# For each sentence and target language: can somebody who does not see the picture translate it without guessing? `True` or `False`.
#
# - `club`: "the bat is made of wood", to German.
# - `mouse_de`: "there is a grey mouse", to German.
# - `mouse_zh`: "there is a grey mouse", to Chinese.
# - `crane`: "the crane spread its wings", to German.

# %% stub
club = ...
mouse_de = ...
mouse_zh = ...
crane = ...

# %% solution
club = True
mouse_de = True
mouse_zh = False
crane = True

# %% wrong Every word with two senses needs a picture
club = False
mouse_de = False
mouse_zh = False
crane = False

# %% wrong A word is ambiguous for all languages or for none
club = True
mouse_de = False
mouse_zh = False
crane = True

# %% wrong Both senses of mouse have one name everywhere
club = True
mouse_de = True
mouse_zh = True
crane = True

# %% check
with check("6.6.1", "Is a picture needed?") as it:
    it.equal("the wooden bat", club, True,
             hint="What are animals not made of?")
    it.equal("the mouse in German", mouse_de, True,
             hint="Look up both senses of mouse in SENSES.")
    it.equal("the mouse in Chinese", mouse_zh, False,
             hint="Look up both senses of mouse in SENSES.")
    it.equal("the crane with wings", crane, True,
             hint="Which of the two cranes has wings?")

# %% hint
# Ask two questions: do the two senses have different names in the target language, and does the rest of the sentence decide?

# %% exercise 6.6.2 predict BLEU and one wrong noun
# The reference is "ein roter Kran ist links von einem Schlüssel", 8 words. A translation writes "Kranich" in place of "Kran" and is right in all other words. BLEU counts the sequences of one, two, three and four
# words that also stand in the reference, and takes the geometric mean of the four precisions. *Before* you compute: how many of the 8 words, 7 pairs, 6 triples and 5 quadruples are right?

# %% stub
right_sequences = [..., ..., ..., ...]

# %% solution
right_sequences = [7, 5, 3, 2]

# %% wrong One wrong word spoils one sequence of each length
right_sequences = [7, 6, 5, 4]

# %% wrong A wrong word spoils the rest of the sentence
right_sequences = [7, 1, 0, 0]

# %% wrong A sequence of n words is spoilt n times, also at the edge
right_sequences = [7, 5, 3, 1]

# %% check
with check("6.6.2", "BLEU and one wrong noun") as it:
    words = "ein roter Kran ist links von einem Schlüssel".split()
    wrong = ["Kranich" if word == "Kran" else word for word in words]
    for n, guess in enumerate(right_sequences, 1):
        same = sum(wrong[i:i + n] == words[i:i + n]
                   for i in range(len(words) - n + 1))
        it.equal(f"sequences of {n}", guess, same,
                 hint="In how many of them does the noun stand?")
    product = math.prod(right_sequences[i] / (8 - i) for i in range(4))
    it.close("BLEU from your numbers", 100 * product ** 0.25,
             bleu([" ".join(wrong)], [[" ".join(words)]]), within=0.01)

# %% hint
# The noun is the third word. Which sequences of four hold it?

# %% remark
# BLEU is 59 although the sentence speaks of a bird in place of a machine. With "Kran" right and the two articles wrong it would be lower.

# %% exercise 6.6.3 core The right senses
# Write `right_senses(translations, utterances)`: the share of German nouns that are right. `utterance.said` are the objects that a sentence names, and `SENSES[thing.sense][0]` is the German
# noun of an object. A noun is right if it is a word of the translation, and the noun of the *other* sense is not. Leave out objects whose two senses have the same noun. (`utterance.other_sense().said` has the same objects in their other senses.)

# %% stub
def right_senses(translations, utterances):
    """The share of ambiguous nouns that are translated rightly."""
    return ...

# %% solution
def right_senses(translations, utterances):
    """The share of ambiguous nouns that are translated rightly."""
    found = []
    for text, utterance in zip(translations, utterances):
        words = text.split()
        pairs = zip(utterance.said, utterance.other_sense().said)
        for thing, other in pairs:
            true, false = SENSES[thing.sense][0], SENSES[other.sense][0]
            if true != false:
                found.append(true in words and false not in words)
    return sum(found) / len(found)

# %% wrong A noun may be a part of a word
def right_senses(translations, utterances):
    found = []
    for text, utterance in zip(translations, utterances):
        pairs = zip(utterance.said, utterance.other_sense().said)
        for thing, other in pairs:
            true, false = SENSES[thing.sense][0], SENSES[other.sense][0]
            if true != false:
                found.append(true in text and false not in text)
    return sum(found) / len(found)

# %% wrong Who says both is right
def right_senses(translations, utterances):
    found = []
    for text, utterance in zip(translations, utterances):
        pairs = zip(utterance.said, utterance.other_sense().said)
        for thing, other in pairs:
            true, false = SENSES[thing.sense][0], SENSES[other.sense][0]
            if true != false:
                found.append(true in text.split())
    return sum(found) / len(found)

# %% wrong The German mouse counts
def right_senses(translations, utterances):
    found = []
    for text, utterance in zip(translations, utterances):
        words = text.split()
        pairs = zip(utterance.said, utterance.other_sense().said)
        for thing, other in pairs:
            true, false = SENSES[thing.sense][0], SENSES[other.sense][0]
            found.append(true in words and (true == false
                                            or false not in words))
    return sum(found) / len(found)

# %% check
with check("6.6.3", "The right senses") as it:
    crane = Meant("crane, machine", "red", 0.2, 0.5)
    mouse = Meant("mouse, animal", "blue", 0.8, 0.5)
    nail = Meant("nail, metal", "blue", 0.8, 0.5)
    one = Utterance((crane, mouse), "relation")
    two = Utterance((nail, crane), "there is")
    it.close("one of two nouns", right_senses(
        [one.sentence("de"), "da ist ein blauer Fingernagel"], [one, two]),
        0.5, within=1e-6, hint="The mouse does not count.")
    it.close("a hedge", right_senses(
        ["ein Kran oder ein Kranich ist links von einer Maus"], [one]), 0,
        within=1e-6, hint="Who writes both nouns has not chosen.")
    it.close("part of a word", right_senses(
        ["da ist ein blauer Nagelstudio"], [two]), 0, within=1e-6,
        hint="Compare words, not letters.")
    it.close("mouse alone is nobody's merit", right_senses(
        ["eine blaue Maus ist rechts von nichts"], [one]), 0, within=1e-6,
        hint="Leave out what has one noun for both senses.")

# %% hint
# `text.split()` gives the words.

# %% exercise 6.6.4 core The best without a picture
# `counts[word]` tells how often each sense of a word occurred in training. Somebody who translates without a picture can always choose the more frequent sense. Write `best_blind(counts)`:
# the share of right nouns that this reaches on data like the training data, where words are as frequent as in `counts`.

# %% stub
def best_blind(counts):
    """counts: word → {sense: how often}. The share of right nouns."""
    return ...

# %% solution
def best_blind(counts):
    """counts: word → {sense: how often}. The share of right nouns."""
    best = sum(max(each.values()) for each in counts.values())
    return best / sum(sum(each.values()) for each in counts.values())

# %% wrong Always one half
def best_blind(counts):
    return 0.5

# %% wrong All words are equally frequent
def best_blind(counts):
    shares = [max(c.values()) / sum(c.values()) for c in counts.values()]
    return sum(shares) / len(shares)

# %% wrong Choose at random, as often as it occurred
def best_blind(counts):
    total = sum(sum(c.values()) for c in counts.values())
    return sum(n * n / sum(c.values())
               for c in counts.values() for n in c.values()) / total

# %% check
with check("6.6.4", "The best without a picture") as it:
    it.close("two words", best_blind(
        {"bat": {"animal": 90, "club": 10}, "crane": {"bird": 5,
                                                      "machine": 5}}),
        95 / 110, within=1e-6,
        hint="Count right nouns, and divide by all nouns.")
    seen = Counter((t.word, t.sense) for u in sample_utterances(2000, 0)
                   for t in u.said)
    counts = {}
    for (word, sense), n in seen.items():
        counts.setdefault(word, {})[sense] = n
    it.true("in the chapter's world it is near one half",
            0.5 <= best_blind(counts) < 0.56,
            hint="Both senses are equally frequent there.")

# %% hint
# For each word the more frequent sense is right as often as it occurs.

# %% remark
# In real texts one sense is often far more frequent, so a blind translator is often right, and a data set has to be balanced before it can show what a picture adds.

# %% exercise 6.6.5 core Did it follow the picture?
# A model translated the same sentences beside the right pictures (`right`) and beside pictures with the other senses (`turned`). Both are lists of the chosen nouns, `first` and `second` the nouns of the two senses,
# so that `first[i]` is right beside the right picture. Write `followed(right, turned, first, second)`: the share of sentences in which the model chose `first` beside the right picture *and* `second` beside
# the turned one.

# %% stub
def followed(right, turned, first, second):
    """The share of sentences that follow the picture both times."""
    return ...

# %% solution
def followed(right, turned, first, second):
    """The share of sentences that follow the picture both times."""
    both = [a == f and b == s
            for a, b, f, s in zip(right, turned, first, second)]
    return sum(both) / len(both)

# %% wrong The translation changed, so it followed
def followed(right, turned, first, second):
    return sum(a != b for a, b in zip(right, turned)) / len(right)

# %% wrong The mean of the two shares
def followed(right, turned, first, second):
    one = sum(a == f for a, f in zip(right, first))
    two = sum(b == s for b, s in zip(turned, second))
    return (one + two) / (2 * len(right))

# %% wrong The right picture is enough
def followed(right, turned, first, second):
    return sum(a == f for a, f in zip(right, first)) / len(right)

# %% check
with check("6.6.5", "Did it follow the picture?") as it:
    first = ["Kran", "Nagel", "Palme", "Feder"]
    second = ["Kranich", "Fingernagel", "Handfläche", "Quelle"]
    right = ["Kran", "Nagel", "Handfläche", "Feder"]
    turned = ["Kranich", "Nagel", "Handfläche", "Kran"]
    it.close("four sentences", followed(right, turned, first, second), 0.25,
             within=1e-6,
             hint="Only the crane is right both times.")
    it.close("a model that always says the same",
             followed(first, first, first, second), 0, within=1e-6,
             hint="It is right beside the right pictures and blind.")

# %% hint
# Compare sentence by sentence, and demand both.

# %% remark
# A blind model can be right in half of all cases in each of the two lists, and in none of the pairs. This is why contrastive test sets count pairs.

# %% exercise 6.6.6 open A real photograph that decides
# Find in the book's photographs an English word that people use in their captions and that has two translations into a language that you know, of which the photograph shows one. Give the number of the photograph, the
# word, and the two translations, the right one first.

# %% stub
number = ...
word = ...
translations = ...  # (the right one, the other one)

# %% solution
number = 36
word = "mouse"
translations = ("鼠标", "老鼠")

# %% wrong A word that nobody used
number = 36
word = "crane"
translations = ("Kran", "Kranich")

# %% wrong One translation for both senses
number = 36
word = "mouse"
translations = ("Maus", "Maus")

# %% wrong The other way round of numbering: no such photograph
number = 99
word = "mouse"
translations = ("鼠标", "老鼠")

# %% check
with check("6.6.6", "A real photograph that decides") as it:
    captions = photographs().references
    it.true("the photograph exists", 0 <= number < len(captions),
            hint=f"They are numbered 0 to {len(captions) - 1}.")
    said = " ".join(captions[number % len(captions)]).lower()
    used = {w.strip(".,'\"") for w in said.split()}
    it.true("people used the word", word.lower() in used,
            hint="Print photographs().references[number].")
    it.true("two different translations",
            len(set(translations)) == 2 and all(translations),
            hint="If one word serves both senses, no picture is needed.")

# %% hint
# Try glasses, light, board, plant, glass or mouse.
