"""What does a released speech model write down? Whisper tiny.en, as it is.

Nothing is trained. Whisper tiny.en (Radford et al. 2022, 38 million parameters) hears

- 32 sentences that one woman reads (LJ Speech), also with white noise 10 dB below the
  speech and as loud as the speech;
- 60 spoken digits of six men (Free Spoken Digit Dataset): one by one; one by one after a
  second of silence; and the ten digits of a man in a row, with pauses of a fifth of a
  second, from zero to nine and in three random orders;
- 30 sentences about scenes, spoken by the book's synthesiser in 30 voices.

Before words are counted, capital letters and signs are removed and numbers are written
as words (1815 as a year; among digits, digit by digit). Each condition is asked in three disjoint thirds, which the runner calls seeds.
The decoder is greedy. Of one sentence the attention of the decoder to the tokens of the
encoder is stored, the mean over the heads of its last two layers.

    MMBOOK_DATA=… MMBOOK_MODELS=… python studies/whisper.py

needs ``ljspeech32`` in the first folder and ``whisper-tiny.en`` in the second.
"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path
from typing import NamedTuple

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from transformers import (
    AutoTokenizer,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from mmbook import samples
from mmbook.data import add_noise
from mmbook.data.recordings import read_wave
from mmbook.metrics import edit_distance
from mmbook.pretrained import PretrainedAudioEncoder
from mmbook.world import describe, sample_scenes, sample_voices, speak

WHISPER, MODEL, RATE, LONGEST = "Whisper tiny.en", "whisper-tiny.en", 16_000, 60
DIGITS = "zero one two three four five six seven eight nine".split()
TEENS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
NUMBERS = [*DIGITS, *TEENS.split()]
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
WITHOUT_TIMES = 50362  # the token "<|notimestamps|>"
SHOWN = "LJ001-0125"  # the sentence of which the attention is stored


class Heard(NamedTuple):
    """The model with what goes before and after it."""

    model: torch.nn.Module
    pieces: object
    spectrogram: object
    gap: float


def train(run: Run) -> Trained:
    """Nothing is trained."""
    return Trained([], 0.0, {})


@torch.no_grad()
def test_data() -> Heard:
    """The model, and by how much our spectrogram and its encoder differ from theirs."""
    folder = Path(os.environ["MMBOOK_MODELS"], MODEL)
    model = WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    pieces = AutoTokenizer.from_pretrained(folder)
    spectrogram = WhisperFeatureExtractor.from_pretrained(folder)
    ours = PretrainedAudioEncoder.from_pretrained(folder).eval()
    wave = samples.sentences(RATE)[0]["audio"]
    heard = spectrogram(wave.numpy(), sampling_rate=RATE, return_tensors="pt")
    theirs = model.model.encoder(heard["input_features"]).last_hidden_state
    gap = (ours(wave[None]).values - theirs).abs().max().item()
    return Heard(model, pieces, spectrogram, gap)


@torch.no_grad()
def write_down(heard: Heard, wave: Tensor) -> tuple[str, list[int], Tensor]:
    """The likeliest token, again and again: the text, its tokens, those of the encoder."""
    model, given = heard.model, heard.model.generation_config
    x = heard.spectrogram(wave.numpy(), sampling_rate=RATE, return_tensors="pt")
    tokens = model.model.encoder(x["input_features"])

    never = list(given.begin_suppress_tokens or [])
    ids, cache, read = start(model), None, torch.tensor([start(model)])
    for number in range(LONGEST):
        out = model(
            encoder_outputs=tokens, decoder_input_ids=read, past_key_values=cache
        )
        logits, cache = out.logits[0, -1], out.past_key_values
        if number == 0:
            logits[never] = -torch.inf
        best = int(logits.argmax())
        if best == model.config.eos_token_id:
            break
        ids.append(best)
        read = torch.tensor([[best]])
    text = heard.pieces.decode(ids, skip_special_tokens=True).strip()
    return text, ids, tokens


def start(model) -> list[int]:
    """Start of a transcript, and: without time stamps."""
    return [model.config.decoder_start_token_id, WITHOUT_TIMES]


def counted(text: str) -> list[str]:
    """Words without signs and capitals; numbers as words, 1815 as a year."""
    text = re.sub(r"\[.*?\]|>>", " ", text.lower().replace("-", " "))
    text = re.sub(r"[0-9]+", lambda found: f" {spelled(found[0])} ", text)
    return re.sub(r"[^a-z' ]", "", text).split()


def spelled(number: str) -> str:
    """A number of up to two digits, or of four as two of two; others digit by digit."""
    if len(number) == 4:
        return f"{spelled(number[:2])} {spelled(number[2:])}"
    value = int(number)
    if len(number) > 2 or value < 20:
        parts = number if len(number) > 2 else [value]
        return " ".join(NUMBERS[int(part)] for part in parts)
    return (
        f"{TENS[value // 10 - 2]} {NUMBERS[value % 10] if value % 10 else ''}".strip()
    )


# ------------------------------------------------------------------------- what it hears


def sentences(run: Run) -> list[tuple[str, Tensor, str]]:
    """Read sentences: their name, the sound, what was said."""
    folder = Path(os.environ["MMBOOK_DATA"], "ljspeech32")
    lines = (folder / "metadata.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|") for line in lines]
    found = [
        (name, read_wave(folder / "wavs16k" / f"{name}.wav", RATE), said)
        for name, _, said in rows
    ]
    if (level := run.condition.values.get("noise")) is not None:
        noise = torch.Generator().manual_seed(0)
        found = [(name, add_noise(x, level, noise), said) for name, x, said in found]
    return found[run.seed :: 3]


def digits(run: Run) -> list[tuple[str, Tensor, str]]:
    """Digits of two of the six men, made equally loud: one by one or in rows."""
    data, given = samples.digits(RATE), run.condition.values
    items = [data[number] for number in range(len(data))]
    men = sorted({item["speaker"] for item in items})[run.seed :: 3]
    found, rng = [], random.Random(run.seed)
    for man in men:
        own = sorted(
            (i for i in items if i["speaker"] == man), key=lambda i: i["label"]
        )
        waves = [0.5 * item["audio"] / item["audio"].abs().max() for item in own]
        if "rows" not in given:
            before = torch.zeros(int(given.get("silence", 0) * RATE))
            found += [
                (man, torch.cat([before, wave]), DIGITS[item["label"]])
                for wave, item in zip(waves, own, strict=True)
            ]
        pause = torch.zeros(RATE // 5)
        for _ in range(given.get("rows", 0)):
            order = list(range(10))
            if given["shuffled"]:
                rng.shuffle(order)
            row = torch.cat([part for k in order for part in (pause, waves[k])])
            found.append((man, row, " ".join(DIGITS[k] for k in order)))
    return found


def scenes(run: Run) -> list[tuple[str, Tensor, str]]:
    """Synthetic sentences, each by a voice of its own."""
    voices = sample_voices(30, "test")
    said = [describe(scene) for scene in sample_scenes(30, "whisper", (1, 1, 2))]
    pairs = list(zip(said, voices, strict=True))[run.seed :: 3]
    return [(voice.name, speak(text, voice, RATE), text) for text, voice in pairs]


def test(run: Run, state: dict, heard: Heard) -> dict:
    """Words that are right and wrong; the transcripts, right and wrong."""
    rows, changes, total = [], 0, 0
    for name, wave, said in globals()[run["heard"]](run):
        text, *_ = write_down(heard, wave)
        heard_digits = run["heard"] == "digits"  # then 12 is one two, not twelve
        written = re.sub(r"([0-9])", r"\1 ", text) if heard_digits else text
        wrong = edit_distance(counted(written), counted(said))
        changes, total = changes + wrong, total + len(counted(said))
        rows.append([name, said, text, wrong])
    found = {
        "words right": 100 - 100 * changes / total,
        "errors": 100 * changes / total,
    }
    found |= {"words": total, "right": sum(not row[3] for row in rows), "of": len(rows)}
    found["shown"] = rows if run["heard"] != "digits" else rows[:30]
    if run["heard"] == "sentences" and "noise" not in run.condition.values:
        found["gap of the encoders"] = f"{heard.gap:.0e}"
        found["attention"] = [
            attended(heard, r) for r in sentences(run) if r[0] == SHOWN
        ]
    return found


@torch.no_grad()
def attended(heard: Heard, item: tuple[str, Tensor, str]) -> dict:
    """For each piece of a transcript, how much it attends to each tenth of a second."""
    name, wave, _ = item
    _, ids, tokens = write_down(heard, wave)
    out = heard.model(
        encoder_outputs=tokens,
        decoder_input_ids=torch.tensor([ids]),
        output_attentions=True,
    )
    layers = torch.stack(out.cross_attentions[-2:])  # (2, 1, heads, L, N)
    mean = layers.mean((0, 1, 2))[1:-1]  # what is read when a piece is written
    tenths = -(-len(wave) // (RATE // 10))
    bins = mean[:, : 5 * tenths].unflatten(1, (tenths, 5)).sum(2)
    words = [heard.pieces.decode([number]) for number in ids[2:]]
    weights = [[round(value, 3) for value in row] for row in bins.tolist()]
    return {"name": name, "pieces": words, "weights": weights}


READ = "read sentences"
DESIGN = Design(
    question="What does Whisper tiny.en write down, and where does it attend?",
    tries={WHISPER: [{}]},
    conditions=[
        Condition(READ, {"heard": "sentences"}),
        Condition("digits, one by one", {"heard": "digits"}),
        Condition("digits, after 1 s of silence", {"heard": "digits", "silence": 1}),
        Condition(
            "digits, in a row from zero to nine",
            {"heard": "digits", "rows": 1, "shuffled": False},
        ),
        Condition(
            "digits, in a row, random order",
            {"heard": "digits", "rows": 3, "shuffled": True},
        ),
        Condition("the book's voices", {"heard": "scenes"}),
        Condition(
            "read sentences, noise of 10 dB",
            {"heard": "sentences", "noise": 10},
            like=READ,
            asks="noise 10 dB below the speech",
        ),
        Condition(
            "read sentences, noise of 0 dB",
            {"heard": "sentences", "noise": 0},
            like=READ,
            asks="noise as loud as the speech",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="words right",
    untrained=(WHISPER,),
    needs=["MMBOOK_DATA", "MMBOOK_MODELS"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
