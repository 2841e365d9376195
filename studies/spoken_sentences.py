"""Two ways to write down what was said: CTC or a decoder with attention?

Sentences such as "a big red circle", spoken by the book's synthesiser, go through the
same encoder: a log-mel spectrogram, two convolutions (a token for 40 ms) and two
transformer blocks. What writes them down is compared:

- CTC: one linear layer, a word or the blank at each token;
- attention decoder: a transformer layer that attends to the tokens and writes word by
  word, as in Whisper.

What is equal: 2,400 sentences by 600 voices, the encoder and its initial weights, steps,
batches, three rates for each arm in each condition. The decoder has more parameters.
Validation and test use voices of their own. There are only 84 sentences in training, all
of which return in the test, said by others; therefore the test also has 12 sentences that
were never said in training, because a colour and a shape never stood together ("a big red
star"). What could reverse the answer, and is tried: few voices (as many sentences by 12
voices, with the settings that were chosen for many); twice the steps. The score is 100
minus the word error rate, so that more is better. The test also adds white noise, which
training never had.
"""

from __future__ import annotations

import functools
import random

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn

from mmbook.data import Collate, add_noise
from mmbook.encoders import AudioEncoder
from mmbook.heads import CTCHead, GenerationHead
from mmbook.metrics import word_error_rate
from mmbook.tokens import IGNORED
from mmbook.world import SpokenScenes, sample_scenes, sample_voices, scene_tokenizer

CTC, DECODER = "CTC", "attention decoder"
RATE, MELS, WIDTH, LONGEST, BATCH, STEPS = 8000, 40, 96, 8, 32, 600
TOKENIZER = scene_tokenizer()
COLLATE = Collate(TOKENIZER)
NOISE = (20, 10, 0)  # decibels below the speech


class Recogniser(nn.Module):
    """The encoder and what writes the words down."""

    def __init__(self, arm: str):
        super().__init__()
        self.encoder = AudioEncoder(WIDTH, 2, 4, MELS, RATE, normalise=True)
        if arm == CTC:
            self.head = CTCHead(WIDTH, len(TOKENIZER), TOKENIZER.pad_token_id)
        else:
            self.head = GenerationHead.for_tokenizer(
                TOKENIZER,
                width=WIDTH,
                layers=1,
                max_length=LONGEST,
                context_width=WIDTH,
            )

    def loss(self, batch: dict, labels: int) -> Tensor:
        """Nats, divided by the labels of the whole batch."""
        tokens = self.encoder(batch["audio"], batch["audio_mask"])
        return self.head(tokens, batch["labels"], labels)[1]

    @torch.no_grad()
    def transcribe(self, batch: dict) -> list[str]:
        """The likeliest symbols: at each token, or one after the other."""
        tokens = self.encoder(batch["audio"], batch["audio_mask"])
        if isinstance(self.head, CTCHead):
            return TOKENIZER.batch_decode(self.head.greedy(tokens))
        ids = torch.full((len(tokens), 1), self.head.start)
        for _ in range(LONGEST - 1):
            best = self.head.decode(ids, tokens)[:, -1:].argmax(-1)
            ids = torch.cat([ids, best], 1)
        ended = (ids == self.head.end).cumsum(1) > 0
        rows = zip(ids, ended, strict=True)
        return TOKENIZER.batch_decode([row[~end][1:].tolist() for row, end in rows])


@functools.cache
def spoken(
    sentences: int, voices: int, split: str = "train", pairs: str = "seen"
) -> SpokenScenes:
    """Sentences about one object; each split has voices of its own."""
    scenes = sample_scenes(sentences, f"spoken {split}", (1,), pairs)
    return SpokenScenes(
        scenes, sample_voices(voices, split), rate=RATE, seed=len(split)
    )


def in_batches(data: SpokenScenes, seed: int):
    """Batches without end, each as two halves: the shorter and the longer sounds.

    Halves of their own need less padding; batches of one length alone would teach worse.
    """
    rng = random.Random(seed)
    while True:
        order = list(range(len(data)))
        rng.shuffle(order)
        for first in range(0, len(order) - BATCH + 1, BATCH):
            part = order[first : first + BATCH]
            part.sort(key=lambda number: len(data.waves[number]))
            halves = part[: BATCH // 2], part[BATCH // 2 :]
            yield [COLLATE([data[i] for i in half]) for half in halves]


def train(run: Run) -> Trained:
    """A linear warm-up over a tenth of the steps, then linearly to zero."""
    steps = 8 if run.quick else run["steps"]
    data = spoken(*((60, 24) if run.quick else run["data"]))
    held = spoken(*((20, 10) if run.quick else (150, 75)), "validation")
    model = Recogniser(run.arm)
    optimiser = torch.optim.AdamW(model.parameters(), run["rate"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: min((k + 1) / (0.1 * steps), 1) * (1 - k / steps)
    )
    curve, batches = [], in_batches(data, run.seed)
    for step in range(1, steps + 1):
        halves = next(batches)
        labels = sum(int((half["labels"] != IGNORED).sum()) for half in halves)
        optimiser.zero_grad()
        for half in halves:
            model.loss(half, labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % max(1, steps // 6) == 0:
            curve.append((step, right(model, held)[0]))
    return Trained(curve, curve[-1][1], model.state_dict())


def right(model: Recogniser, data, decibels: float | None = None) -> tuple:
    """100 minus the word error rate, and the transcripts."""
    model.eval()
    said, noise = [], torch.Generator().manual_seed(0)
    for first in range(0, len(data), 50):
        items = [data[i] for i in range(first, min(first + 50, len(data)))]
        for item in items:
            if decibels is not None:
                item["audio"] = add_noise(item["audio"], decibels, noise)
        said += model.transcribe(COLLATE(items))
    model.train()
    return 100 - 100 * word_error_rate(said, data.captions), said


def test_data() -> tuple[SpokenScenes, SpokenScenes]:
    """300 sentences by 150 new voices, and 120 with pairs of words that are new, too."""
    return spoken(300, 150, "test"), spoken(120, 60, "test", "held-out")


def test(run: Run, state: dict[str, Tensor], both: tuple) -> dict:
    """Words that are right, in quiet, in noise and in new pairs; a few transcripts."""
    data, new = both
    model = Recogniser(run.arm)
    model.load_state_dict(state)
    score, said = right(model, data)
    pairs = list(zip(data.captions, said, strict=True))
    wrong = [list(pair) for pair in pairs if pair[0] != pair[1]]
    found = {"words right": score, "errors": 100 - score}
    found["sentences wrong"] = 100 * len(wrong) / len(pairs)
    for level in NOISE:
        found[f"errors, {level} dB"] = 100 - right(model, data, level)[0]
    score, said = right(model, new)
    found["errors, new pairs"] = 100 - score
    if run.seed == 0:
        pairs = zip(new.captions, said, strict=True)
        found["wrong"] = wrong[:6]
        found["wrong, new pairs"] = [list(p) for p in pairs if p[0] != p[1]][:6]
    return found


MANY = "2,400 sentences, 600 voices"
RATES = [{"rate": rate} for rate in (1e-3, 2e-3, 4e-3)]
DESIGN = Design(
    question="CTC or an attention decoder: how many words are wrong for new voices?",
    tries={CTC: RATES, DECODER: RATES},
    conditions=[
        Condition(MANY, {"data": [2400, 600], "steps": STEPS}),
        Condition(
            "2,400 sentences, 12 voices",
            {"data": [2400, 12], "steps": STEPS},
            like=MANY,
            asks="few voices",
        ),
        Condition(
            "twice the steps",
            {"data": [2400, 600], "steps": 2 * STEPS},
            like=MANY,
            asks="twice the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="words right",
)

if __name__ == "__main__":
    main(DESIGN, __file__)
