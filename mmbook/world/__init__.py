"""The world of scenes (场景): pictures, clips, speech, and sentences in three languages."""

from .ambiguous import (
    SENSES,
    AmbiguousPictures,
    Meant,
    Utterance,
    ambiguous_words,
    render_utterances,
    sample_utterances,
    sense_accuracy,
)
from .datasets import CaptionedScenes, Matching, MovingScenes, SpokenScenes
from .facts import OPPOSITE, Description, Facts, in_order
from .icons import ICONS, icon
from .judging import attribute_accuracy
from .language import (
    LANGUAGES,
    STYLES,
    describe,
    describe_motion,
    is_complete,
    is_true,
    motion_words,
    parse,
    scene_tokenizer,
    vocabulary,
)
from .moods import (
    MODALITIES,
    Moods,
    Person,
    best_accuracy,
    draw_face,
    hear,
    mood_words,
    sample_people,
)
from .phonemes import LEXICON, phonemes
from .render import render, render_video
from .scenes import (
    COLOURS,
    HELD_OUT,
    MOTIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    Moment,
    Scene,
    Thing,
    sample_moving_scenes,
    sample_scenes,
)
from .speech import speak
from .voices import Voice, sample_voice, sample_voices
