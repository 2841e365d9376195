"""Sentences about scenes, and the way back: from a sentence to its facts (语言).

What a grammar says can be parsed again, so "is this caption true of this scene" has an
exact answer, whoever wrote the caption, and so has "do these two sentences in two
languages say the same". English stands in ``english``, Chinese and German in
``languages``; this is the door to all three.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from ..data.tokenizer import SPECIAL_TOKENS
from . import english
from .facts import Facts
from .languages import GRAMMARS
from .scenes import MOTIONS, Scene

LANGUAGES = ("en", *GRAMMARS)
STYLES = ("canonical", "varied", "partial")
_CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")  # and its marks


def describe(
    scene: Scene, style: str = "canonical", seed: int = 0, language: str = "en"
) -> str:
    """Say what a scene of one or two things shows.

    Parameters
    ----------
    style : ``"canonical"`` says everything in one fixed way, the left or upper thing
        first: "a big red circle above a small blue star". ``"varied"`` says everything
        in one of several ways. ``"partial"`` leaves things or attributes out, as the
        alternative texts of the web do; what it says is true.
    seed : of the choices in the two latter styles.
    language : ``"en"``, ``"zh"`` (Chinese) or ``"de"`` (German).
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}; got {style!r}")
    _check_language(language)
    _check_number(scene)
    rng = random.Random(f"{style} {seed}")
    if language in GRAMMARS:
        return GRAMMARS[language].say(scene, style, rng)
    if style == "canonical":
        return english.canonical(scene)
    return english.varied(scene, rng, partial=style == "partial")


def describe_motion(scene: Scene) -> str:
    """Say how one or two things move, in English, the left or upper thing first.

    "a big red circle moves left and a small blue star blinks"

    Raises
    ------
    ValueError
        If a thing has no motion.
    """
    _check_number(scene)
    if any(thing.motion is None for thing in scene.things):
        raise ValueError(
            "each thing must have a motion; got None: sample_moving_scenes gives them one"
        )
    return english.moving(scene)


def parse(text: str, language: str = "en") -> Facts:
    """Turn a sentence of the grammar back into its facts.

    Raises
    ------
    ValueError
        If the sentence is not one of the grammar; says at which word, or at which name
        of a thing.
    """
    _check_language(language)
    if language in GRAMMARS:
        return GRAMMARS[language].parse(text)
    return english.Parser(text).sentence()


def is_true(text: str, scene: Scene, language: str = "en") -> bool:
    """Is all that the sentence says true of the scene? False if it says nothing clear."""
    facts = _facts_or_none(text, language)
    return facts is not None and facts.true_of(scene)


def is_complete(
    text: str, scene: Scene, language: str = "en", motion: bool = False
) -> bool:
    """Is the sentence true, and does it leave nothing out?

    ``motion`` asks how each thing moves instead of how the two lie to each other.
    """
    facts = _facts_or_none(text, language)
    return facts is not None and facts.complete_for(scene, motion)


def vocabulary(language: str = "en") -> list[str]:
    """Every word that the grammar of a language can say of a picture, sorted."""
    _check_language(language)
    if language in GRAMMARS:
        return GRAMMARS[language].words
    return english.words()


def motion_words() -> list[str]:
    """The words of the motions that pictures do not need.

    ``scene_tokenizer(motion_words())`` reads both, and keeps the numbers of the others.
    """
    words = dict.fromkeys(word for motion in MOTIONS for word in motion.split())
    return [word for word in words if word not in vocabulary()]


def scene_tokenizer(
    extra_words: Iterable[str] = (), language: str = "en", mask: bool = False
):
    """A fast tokenizer of transformers with one token per word of the grammar.

    Chinese is written without spaces: there the longest known word is taken each time
    (最长匹配). Capital letters make no difference in English; in the others they do,
    because German nouns have them.

    Parameters
    ----------
    extra_words : are put behind the grammar's own (answers of a question task, say).
    language : one of ``LANGUAGES``, or ``"all"``: one vocabulary for translation (翻译),
        in which the English words have the numbers that they have alone, and "[en]",
        "[zh]", "[de]" stand at the end, to tell a model what to write.
    mask : put a "[mask]" behind all others, to hide words behind it (掩码).
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if isinstance(extra_words, str):
        raise ValueError(f"extra_words must be a list of words; got {extra_words!r}")
    words = [*SPECIAL_TOKENS.values(), *_words(language)]
    extra = (word.lower() if language == "en" else word for word in extra_words)
    special = SPECIAL_TOKENS | ({"mask_token": "[mask]"} if mask else {})
    words = list(dict.fromkeys([*words, *extra, *special.values()]))
    ids = {word: index for index, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL_TOKENS["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if language == "en":
        core.normalizer = normalizers.Lowercase()
    if language in ("zh", "all"):
        _write_without_spaces(core, [word for word in words if _CHINESE.match(word)])
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)


def _write_without_spaces(core, words: list[str]) -> None:
    """Let a tokenizer cut Chinese into these words, and join them without spaces."""
    from tokenizers import Regex, decoders, pre_tokenizers

    longest_first = "|".join(sorted(words, key=len, reverse=True))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [core.pre_tokenizer, pre_tokenizers.Split(Regex(longest_first), "isolated")]
    )
    character = _CHINESE.pattern
    between = Regex(f"(?<={character}) (?={character})")
    core.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),  # a space between words
            decoders.Fuse(),
            decoders.Replace(between, ""),  # but not between Chinese ones
        ]
    )


def _words(language: str) -> list[str]:
    _check_language(language, *LANGUAGES, "all")
    if language != "all":
        return vocabulary(language)
    each = [word for name in LANGUAGES for word in vocabulary(name)]
    return [*each, *(f"[{name}]" for name in LANGUAGES)]


def _check_language(language: str, *known: str) -> None:
    known = known or LANGUAGES
    if language not in known:
        raise ValueError(
            f"language must be one of {', '.join(known)}; got {language!r}"
        )


def _check_number(scene: Scene) -> None:
    if not 1 <= len(scene.things) <= 2:
        raise ValueError(
            f"scenes of one or two things can be described; got {len(scene.things)}"
        )


def _facts_or_none(text: str, language: str) -> Facts | None:
    _check_language(language)
    try:
        return parse(text, language)
    except ValueError:
        return None
