"""Speech: every word can be said, and what is heard is what was asked for."""

import numpy as np
import pytest
import torch

from mmbook.data import Collate
from mmbook.world import (
    LEXICON,
    CaptionedScenes,
    SpokenScenes,
    Voice,
    is_complete,
    motion_words,
    phonemes,
    sample_scenes,
    sample_voice,
    sample_voices,
    scene_tokenizer,
    speak,
    speech,
    vocabulary,
)

DIGITS = "zero one two three four five six seven eight nine".split()
DEEP = Voice(pitch=90, breath=0.0, melody=0.0)


def clean(sentence, voice=DEEP, rate=16_000, seed=0):
    return speak(sentence, voice, rate, 0.0, seed).numpy()


def loudness(wave, rate=16_000):
    """Root mean square of each 10 ms."""
    step = rate // 100
    parts = wave[: len(wave) // step * step].reshape(-1, step)
    return np.sqrt((parts**2).mean(1))


def loudest(wave, seconds=0.04, rate=16_000):
    """The middle of the loudest vowel."""
    power = np.convolve(wave**2, np.ones(int(seconds * rate)), "valid")
    start = power.argmax()
    return wave[start : start + int(seconds * rate)]


def formants(part, rate=16_000, order=18):
    """The resonances of a stretch of sound, by linear prediction (线性预测), in Hz."""
    part = np.append(part[0], part[1:] - 0.95 * part[:-1]) * np.hamming(len(part))
    lags = np.correlate(part, part, "full")[len(part) - 1 :]
    table = lags[np.abs(np.subtract.outer(np.arange(order), np.arange(order)))]
    weights = np.linalg.solve(table, lags[1 : order + 1])
    roots = np.roots(np.append(1, -weights))
    roots = roots[(roots.imag > 0) & (np.abs(roots) > 0.9)]  # sharp resonances
    return np.sort(np.angle(roots)) * rate / (2 * np.pi)


def pitch_of(part, rate=16_000):
    lags = np.correlate(part, part, "full")[len(part) - 1 :]
    first = rate // 400
    return rate / (first + lags[first : rate // 60].argmax())


# ------------------------------------------------------------------ words


def test_every_word_of_the_book_can_be_said():
    words = [*vocabulary(), *motion_words(), *DIGITS]
    assert not set(words) - set(LEXICON)
    assert all(phonemes(" ".join(LEXICON)))
    sounds = {tuple(sound) for sound in phonemes(" ".join(words))}
    assert len(sounds) == len(set(words)) - 1  # only "to" and "two" sound the same


def test_signs_and_capitals_make_no_difference():
    assert phonemes("A star, above it.") == phonemes("a star above it")
    assert phonemes("a star") == [["AX"], ["S", "T", "AA", "R"]]


def test_what_cannot_be_said_is_named(monkeypatch):
    with pytest.raises(ValueError, match=r"cannot say 'cat' in 'a red cat'.*LEXICON"):
        speak("a red cat")
    for empty in ("", " . "):
        with pytest.raises(ValueError, match="at least one word"):
            speak(empty)
    monkeypatch.setitem(LEXICON, "cat", "K AE TT")
    with pytest.raises(ValueError, match=r"uses TT in 'a cat'; the phonemes are AA, "):
        speak("a cat")
    monkeypatch.setitem(LEXICON, "cat", "K AE T")
    assert len(speak("a cat")) > len(speak("a"))
    monkeypatch.setitem(LEXICON, "sh", "SH")  # a word without a vowel
    assert speak("sh").isfinite().all()


# ------------------------------------------------------------------ sound


def test_a_sentence_is_a_waveform_of_plausible_length():
    wave = speak("a big red circle above a small blue star")
    assert wave.ndim == 1 and wave.dtype == torch.float32
    assert 2.0 < len(wave) / 16_000 < 5.0  # nine words
    assert wave.abs().max() <= 1 and wave.isfinite().all()
    assert abs(clean("a big red circle")).max() == pytest.approx(0.7, abs=1e-6)


def test_the_same_seed_says_the_same():
    first, again, other = (speak("a red star", DEEP, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert len(first) != len(other) or not torch.equal(first, other)


def test_words_stand_apart_and_silence_stands_at_both_ends():
    level = loudness(clean("one one one one"))
    silent = level < 0.05 * level.max()
    assert silent[:4].all() and silent[-4:].all()
    starts = np.flatnonzero(silent[:-1] & ~silent[1:])
    assert len(starts) == 4


def test_noise_is_as_loud_as_asked_for():
    silence = speak("one", DEEP, noise=0.05)[:800]
    assert 0.04 < silence.std() < 0.06
    assert speak("one", DEEP, noise=0.0)[:800].std() < 1e-3
    assert speak("one", DEEP, noise=2.0).abs().max() == 1


@pytest.mark.parametrize(
    "word, first, second",
    [("see", 270, 2290), ("two", 300, 870), ("star", 730, 1090), ("red", 560, 1800)],
)
def test_vowels_have_their_formants(word, first, second):
    found = formants(loudest(clean(word)))
    assert found[0] == pytest.approx(first, rel=0.25)
    assert found[1] == pytest.approx(second, rel=0.25)


def test_a_shorter_tract_has_higher_formants():
    long, short = (
        formants(loudest(clean("star", Voice(pitch=90, scale=s, melody=0, breath=0))))
        for s in (0.9, 1.25)
    )
    assert short[1] / long[1] == pytest.approx(1.25 / 0.9, rel=0.1)


@pytest.mark.parametrize("pitch", [80, 120, 220])
def test_the_folds_vibrate_at_the_pitch(pitch):
    voice = Voice(pitch=pitch, melody=0.0, breath=0.0)
    assert pitch_of(loudest(clean("star", voice), 0.06)) == pytest.approx(
        pitch, rel=0.12
    )


def test_melody_falls():
    voice = Voice(pitch=120, melody=0.5, breath=0.0)
    wave = clean("star star star star star", voice)
    fifth = len(wave) // 5
    first, last = pitch_of(loudest(wave[:fifth])), pitch_of(loudest(wave[-fifth:]))
    assert first / last > 1.25


def test_s_hisses_high_and_its_vowel_does_not():
    wave = clean("see")
    level = loudness(wave)
    begin = np.flatnonzero(level > 0.01 * level.max())[0] * 160 + 160
    hiss, vowel = wave[begin : begin + 800], loudest(wave)

    def high(part):
        power = np.abs(np.fft.rfft(part)) ** 2
        return power[len(power) // 2 :].sum() / power.sum()  # above 4 kHz

    assert high(hiss) > 0.7 and high(vowel) < 0.05


def test_a_breathy_voice_has_noise_between_its_harmonics():
    def roughness(breath):
        part = loudest(clean("star", Voice(pitch=100, melody=0, breath=breath)), 0.08)
        lags = np.correlate(part, part, "full")[len(part) - 1 :]
        return 1 - lags[100:200].max() / lags[0]

    assert roughness(1.0) > roughness(0.0) + 0.02


def test_pace_and_stress():
    slow, fast = (len(clean("a red star", Voice(pace=p))) for p in (0.8, 1.25))
    assert 1.3 < slow / fast < 1.6
    spare, full = (len(clean(word)) for word in ("to", "two"))
    assert spare < 0.95 * full  # the same phonemes, but in passing


def test_consonants_borrow_from_the_vowel_behind_them(monkeypatch):
    monkeypatch.setitem(LEXICON, "tea", "T IY")

    def second_formant(word):
        rng = np.random.default_rng(0)
        pieces = speech._pieces(word, DEEP, rng)
        return speech._targets(pieces)[1, 1]  # of the closure of the t

    assert second_formant("tea") > second_formant("two") + 400


def test_the_telephone_says_the_same_in_half_the_samples():
    wide, narrow = (clean("a red circle", rate=rate) for rate in (16_000, 8_000))
    assert abs(len(wide) - 2 * len(narrow)) <= 2
    levels = loudness(wide), loudness(narrow, 8_000)
    count = min(map(len, levels))
    assert np.corrcoef(levels[0][:count], levels[1][:count])[0, 1] > 0.9
    found = formants(loudest(narrow, rate=8_000), 8_000, order=10)
    assert abs(found[0] - formants(loudest(wide))[0]) < 150


@pytest.mark.parametrize("rate", [4_000, 16_050, 96_000])
def test_rates_that_are_none(rate):
    with pytest.raises(ValueError, match=f"8,000 to 48,000 .* got {rate}"):
        speak("a star", rate=rate)


# ------------------------------------------------------------------ voices


def test_voices_are_drawn_by_seed_and_have_names():
    assert sample_voice(3) == sample_voice(3) != sample_voice(4)
    assert sample_voice(3).name == "voice 3"
    assert len({voice.scale for voice in sample_voices(50)}) == 50


def test_short_tracts_go_with_high_pitch():
    voices = sample_voices(200)
    pitch, scale = (
        np.array([getattr(v, n) for v in voices]) for n in ("pitch", "scale")
    )
    assert np.corrcoef(np.log(pitch), np.log(scale))[0, 1] > 0.8
    assert pitch.min() < 100 and pitch.max() > 200


def test_no_voice_is_in_two_splits():
    names = [
        {voice.name for voice in sample_voices(300, split)}
        for split in ("train", "validation", "test")
    ]
    assert len(set.union(*names)) == 900
    assert [v.name for v in sample_voices(2)] == ["voice 0", "voice 1"]
    with pytest.raises(ValueError, match="one of train, validation, test; got 'dev'"):
        sample_voices(2, "dev")
    for count in (0, 10_001):
        with pytest.raises(ValueError, match=f"1 to 10,000 voices; asked for {count}"):
            sample_voices(count)


def test_an_accent_changes_the_sound_but_not_the_timing():
    plain, accented = (clean("a star", Voice(accent=a)) for a in (0, 7))
    assert len(plain) == len(accented) and np.abs(plain - accented).max() > 0.01


def test_voices_beyond_what_people_have_are_named():
    with pytest.raises(ValueError, match="pitch of a voice must be from 50 to 500"):
        Voice(pitch=20)
    with pytest.raises(ValueError, match=r"pace of a voice .* got 0"):
        Voice(pace=0)


# ------------------------------------------------------------------ spoken scenes


def test_items_hold_speech_and_a_true_caption():
    scenes, voices = sample_scenes(4, 0), sample_voices(2, "test")
    data = SpokenScenes(scenes, voices, "varied", rate=8_000, noise=0.01, seed=5)
    assert len(data) == 4 and data.scenes == scenes and data.rate == 8_000
    assert set(data.speakers) <= set(voices)
    item = data[2]
    assert item.keys() == {"audio", "caption", "index"} and item["index"] == 2
    assert is_complete(item["caption"], scenes[2])
    said = speak(item["caption"], data.speakers[2], 8_000, 0.01, (5, 2))
    assert item["audio"].dtype == torch.float32
    torch.testing.assert_close(item["audio"], said, rtol=0, atol=1 / 32767)
    assert data.references[2] == [item["caption"]]


def test_the_same_seed_makes_the_same_set():
    scenes = sample_scenes(3, 0)
    first, again = (SpokenScenes(scenes, rate=8_000, seed=1) for _ in range(2))
    other = SpokenScenes(scenes, rate=8_000, seed=2)
    assert all(torch.equal(first[k]["audio"], again[k]["audio"]) for k in range(3))
    assert first.speakers == again.speakers
    same = [len(first[k]["audio"]) == len(other[k]["audio"]) for k in range(3)]
    assert not all(same)


def test_pictures_of_what_is_spoken():
    scenes = sample_scenes(3, 0)
    data = SpokenScenes(scenes, rate=8_000, size=24, seed=3)
    assert data[1]["image"].shape == (3, 24, 24)
    assert torch.equal(data.images, CaptionedScenes(scenes, size=24, seed=3).images)


def test_items_make_a_batch():
    data = SpokenScenes(sample_scenes(3, 0), rate=8_000, size=16)
    batch = Collate(scene_tokenizer())([data[k] for k in range(3)])
    assert batch.keys() == {"image", "audio", "audio_mask", "labels"}
    assert batch["audio_mask"].sum(1).tolist() == [len(wave) for wave in data.waves]


def test_empty_sets_are_named():
    with pytest.raises(ValueError, match="no scenes"):
        SpokenScenes([])
    with pytest.raises(ValueError, match="no voices"):
        SpokenScenes(sample_scenes(1, 0), [])
