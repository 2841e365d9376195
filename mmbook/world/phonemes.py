"""Words as sounds: a lexicon, and how the mouth is shaped for each phoneme (音素)."""

from __future__ import annotations

from typing import NamedTuple

# How each word sounds, in the phonemes of ARPAbet. Add a word here and it can be said.
LEXICON = {
    "circle": "S ER K AX L",
    "square": "S K W EH R",
    "triangle": "T R AY AE NG G AX L",
    "star": "S T AA R",
    "cross": "K R AO S",
    "ring": "R IH NG",
    "red": "R EH D",
    "orange": "AO R IH N JH",
    "yellow": "Y EH L OW",
    "green": "G R IY N",
    "cyan": "S AY AE N",
    "blue": "B L UW",
    "purple": "P ER P AX L",
    "black": "B L AE K",
    "big": "B IH G",
    "large": "L AA R JH",
    "small": "S M AO L",
    "little": "L IH D AX L",
    "thing": "TH IH NG",
    "a": "AX",
    "an": "AE N",
    "and": "AE N D",
    "it": "IH T",
    "there": "DH EH R",
    "is": "IH Z",
    "the": "DH AX",
    "picture": "P IH K CH ER",
    "shows": "SH OW Z",
    "one": "W AH N",
    "can": "K AE N",
    "see": "S IY",
    "left": "L EH F T",
    "right": "R AY T",
    "of": "AH V",
    "to": "T UW",
    "above": "AX B AH V",
    "over": "OW V ER",
    "below": "B IH L OW",
    "under": "AH N D ER",
    "moves": "M UW V Z",
    "up": "AH P",
    "down": "D AW N",
    "grows": "G R OW Z",
    "shrinks": "SH R IH NG K S",
    "blinks": "B L IH NG K S",
    "stays": "S T EY Z",
    "zero": "Z IH R OW",
    "two": "T UW",
    "three": "TH R IY",
    "four": "F AO R",
    "five": "F AY V",
    "six": "S IH K S",
    "seven": "S EH V AX N",
    "eight": "EY T",
    "nine": "N AY N",
}
_WEAK = {"a", "an", "and", "can", "is", "it", "of", "the", "to"}  # said in passing


class _Piece(NamedTuple):
    """A stretch of a phoneme in which nothing changes."""

    seconds: float
    formants: tuple[float, float, float]  # of an average man, in Hz
    buzz: float = 0.0  # of the vocal folds
    breath: float = 0.0  # noise at the vocal folds, which the formants colour
    hiss: float = 0.0  # noise at a narrow place, which has a colour of its own
    colour: str = "F"
    own: float = 1.0  # of its own target; the rest is that of the vowel beside it


_VOWELS: dict[
    str, tuple
] = {  # seconds, formants; a diphthong glides from one target to another
    "IY": (0.14, (270, 2290, 3010)),
    "IH": (0.10, (390, 1990, 2550)),
    "EH": (0.12, (560, 1800, 2500)),
    "AE": (0.17, (700, 1650, 2450)),
    "AA": (0.16, (730, 1090, 2440)),
    "AO": (0.16, (570, 840, 2410)),
    "UW": (0.14, (300, 870, 2240)),
    "AH": (0.12, (660, 1200, 2450)),
    "AX": (0.07, (500, 1400, 2400)),
    "ER": (0.14, (490, 1350, 1690)),
    "AY": (0.20, (730, 1250, 2440), (360, 2080, 2600)),
    "AW": (0.19, (740, 1300, 2480), (420, 900, 2300)),
    "EY": (0.17, (480, 1950, 2550), (300, 2250, 2850)),
    "OW": (0.17, (540, 1000, 2400), (360, 820, 2300)),
}
_CONSONANTS: dict[
    str, tuple
] = {  # seconds, formants, buzz, breath, hiss, its colour, own
    "W": (0.07, (290, 610, 2150), 0.6, 0.0, 0.0, "F", 0.9),
    "Y": (0.07, (260, 2070, 3020), 0.6, 0.0, 0.0, "F", 0.9),
    "R": (0.08, (310, 1060, 1380), 0.6, 0.0, 0.0, "F", 0.9),
    "L": (0.07, (310, 1050, 2880), 0.6, 0.0, 0.0, "F", 0.8),
    "M": (0.08, (250, 1270, 2130), 0.6, 0.0, 0.0, "F", 0.6),
    "N": (0.08, (250, 1600, 2600), 0.6, 0.0, 0.0, "F", 0.7),
    "NG": (0.09, (250, 2200, 2700), 0.6, 0.0, 0.0, "F", 0.7),
    "F": (0.11, (340, 1100, 2080), 0.0, 0.0, 0.06, "F", 0.6),
    "TH": (0.10, (320, 1290, 2540), 0.0, 0.0, 0.05, "TH", 0.6),
    "S": (0.13, (320, 1390, 2530), 0.0, 0.0, 0.30, "S", 0.7),
    "SH": (0.13, (300, 1840, 2750), 0.0, 0.0, 0.35, "SH", 0.7),
    "V": (0.06, (220, 1100, 2080), 0.4, 0.0, 0.03, "F", 0.6),
    "DH": (0.05, (270, 1290, 2540), 0.4, 0.0, 0.02, "TH", 0.6),
    "Z": (0.09, (240, 1390, 2530), 0.3, 0.0, 0.18, "S", 0.7),
}
_STOPS: dict[
    str, tuple
] = {  # formants, buzz while closed, hiss of the burst, its colour, own
    "P": ((300, 900, 2150), 0.0, 0.32, "P", 0.4),
    "T": ((300, 1700, 2600), 0.0, 0.52, "T", 0.5),
    "K": ((300, 1990, 2600), 0.0, 0.52, "K", 0.4),
    "B": ((200, 900, 2150), 0.15, 0.20, "P", 0.4),
    "D": ((200, 1700, 2600), 0.15, 0.32, "T", 0.5),
    "G": ((200, 1990, 2600), 0.15, 0.32, "K", 0.4),
    "CH": ((300, 1800, 2820), 0.0, 0.45, "SH", 0.6),
    "JH": ((260, 1800, 2820), 0.15, 0.32, "SH", 0.6),
}
_COLOURS = {  # of a hiss: its middle and its width, in Hz
    "F": (4000, 5000),
    "TH": (6000, 3000),
    "S": (6200, 1500),
    "SH": (3000, 900),
    "P": (800, 900),
    "T": (4200, 1500),
    "K": (1900, 700),
}
_HIGHER = (3500, 4500)  # the fourth and fifth formant stay where they are
_BANDWIDTHS = (60, 80, 120, 160, 200)


def _sounds() -> dict[str, list[_Piece]]:
    """The pieces of each phoneme."""
    sounds = {name: [_Piece(*row)] for name, row in _CONSONANTS.items()}
    for name, (seconds, *targets) in _VOWELS.items():
        each = seconds / len(targets)
        sounds[name] = [_Piece(each, target, buzz=1.0) for target in targets]
    for name, (formants, buzz, hiss, *rest) in _STOPS.items():
        burst = 0.06 if name in ("CH", "JH") else 0.015
        sounds[name] = [
            _Piece(0.06, formants, buzz, 0.0, 0.0, *rest),  # closed
            _Piece(burst, formants, buzz, 0.0, hiss, *rest),
        ]
        if name in ("P", "T", "K"):
            sounds[name] += [_Piece(0.035, formants, 0.0, 0.25, 0.0, *rest)]
    return sounds


_SOUNDS = _sounds()


def phonemes(sentence: str) -> list[list[str]]:
    """The phonemes of each word: "a star" → [["AX"], ["S", "T", "AA", "R"]].

    Raises
    ------
    ValueError
        If there is no word, or one that the lexicon does not have.
    """
    said = [LEXICON[word].split() for word in _words(sentence)]
    unknown = sorted({sound for word in said for sound in word} - _SOUNDS.keys())
    if unknown:
        raise ValueError(
            f"the lexicon uses {', '.join(unknown)} in {sentence!r}; the phonemes are "
            f"{', '.join(sorted(_SOUNDS))}"
        )
    return said


def _words(sentence: str) -> list[str]:
    """The words without signs and capitals, all of them in the lexicon."""
    words = [word.strip(".,;:!?\"'").lower() for word in sentence.split()]
    words = [word for word in words if word]
    if not words:
        raise ValueError(f"a sentence must have at least one word; got {sentence!r}")
    for word in words:
        if word not in LEXICON:
            raise ValueError(
                f"cannot say {word!r} in {sentence!r}: it is not in the lexicon; add "
                'its phonemes, as in mmbook.world.LEXICON["star"] = "S T AA R"'
            )
    return words
