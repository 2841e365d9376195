"""What do two released models do with text? SmolLM2-135M writes, MiniLM compares.

Nothing is trained here. SmolLM2-135M-Instruct (Ben Allal et al. 2025), a decoder, runs as
the book's own ``GPT`` with its weights; all-MiniLM-L6-v2, an encoder that was tuned
contrastively on about a billion pairs of sentences, as the book's ``TextEncoder``.
Everything that a chapter shows of them is kept here: pieces of their tokenizers,
continuations right and wrong, log-likelihoods of minimal pairs, cosines.

Each seed takes another third of the sentences, so an interval is one over sentences.
What could reverse a good result, and is tried: for agreement of subject and verb, a noun
of the other number between them; for similarity, the same words in exchanged roles or
with exchanged colours. The photographs' captions are no fair test of MiniLM, whose
training pairs hold captions of COCO: they show it at work.

    MMBOOK_MODELS=… python studies/language_models.py

needs ``smollm2-135m-instruct`` and ``all-MiniLM-L6-v2`` in that folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from mmbook.samples import photographs
from mmbook.twins import gpt_from_llama, text_encoder_from_bert
from mmbook.world import describe, sample_scenes

SMOL, MINI = "SmolLM2-135M", "MiniLM"
NUMBERS = """
    key keys|dog dogs|picture pictures|car cars|child children|book books|tree trees|
    house houses|woman women|bird birds|letter letters|teacher teachers|boat boats|
    window windows|horse horses|song songs|friend friends|apple apples|machine machines|
    flower flowers|doctor doctors|chair chairs|train trains|story stories
"""
COLOURED = """
    Fresh snow white|Summer grass green|Blood red|Coal black|A ripe lemon yellow|
    The clear sky blue|A carrot orange|Dark chocolate brown|An emerald green|
    A ruby red|A raven black|Milk white|A sunflower yellow|A sapphire blue|
    A pumpkin orange|A grizzly bear brown|Spinach green|Ketchup red|A panther black|
    Salt white|A ripe banana yellow|The deep ocean blue|A basketball orange|Soil brown
"""
ASKED = """
    The capital of France is|Paris;The capital of Japan is|Tokyo;
    The capital of Germany is|Berlin;The capital of Australia is|Canberra;
    The opposite of hot is|cold;The opposite of large is|small;
    Two plus two is|four/4;Seven plus five is|twelve/12;
    The first month of the year is|January;The day after Monday is|Tuesday;
    The largest planet of the solar system is|Jupiter;Water freezes at zero degrees|C;
    The color of a ripe banana is|yellow;The color of grass is|green;
    The color of a polar bear is|white;The color of coal is|black;
    A dog is an animal. A rose is a|flower/plant;A triangle has three sides. A square has|four/4;
    A spider has|eight/8;A bicycle has|two/2;
    A young cat is called a|kitten;A young dog is called a|puppy;
    The author of Hamlet is|Shakespeare;The inventor of the telephone is|Bell
"""
ACTED = """
    dog cat chase|man horse follow|girl boy kiss|woman child watch|bear wolf attack|
    nurse doctor call|teacher student help|bird worm eat|cat mouse catch|
    horse man kick|child dog push|boy girl carry|wolf sheep hunt|king queen love|
    player goalkeeper hit|driver cyclist overtake|mother baby hold|waiter guest serve|
    soldier officer salute|monkey zookeeper bite|robot worker lift|goat farmer pull|
    swan duck pass|singer pianist thank
"""
PAST = {
    "chase": "chased",
    "kiss": "kissed",
    "kick": "kicked",
    "carry": "carried",
    "catch": "caught",
    "eat": "eaten",
    "hit": "hit",
    "overtake": "overtaken",
    "hold": "held",
    "bite": "bitten",
    "love": "loved",
    "serve": "served",
    "salute": "saluted",
}
TEXTS = (
    "The painter repaints the unpainted boats.",
    "A dog catches a red frisbee on the beach.",
    "one can see a large red circle above a little blue star",
    "Donaudampfschifffahrtsgesellschaft",
    "一颗红色的大圆在一颗蓝色的小五角星的上方",
    "def add(a, b):\n    return a + b",
    "31 + 276 = 307",
    "🙂",
)
FOUR = (
    "a big red circle above a small blue star",
    "a little blue star under a large red circle",
    "a big blue circle above a small red star",
    "the painter sold his boat",
)


class Models(NamedTuple):
    """Both, in our own code, with their tokenizers; theirs, to compare."""

    gpt: torch.nn.Module
    pieces: object
    encoder: torch.nn.Module
    words: object
    gaps: dict[str, float]


def train(run: Run) -> Trained:
    """Nothing is trained."""
    return Trained([], 0.0, {})


@torch.no_grad()
def test_data() -> Models:
    """The models, and by how much our outputs differ from those of transformers."""
    smol, mini = (
        Path(os.environ["MMBOOK_MODELS"], name)
        for name in ("smollm2-135m-instruct", "all-MiniLM-L6-v2")
    )
    pieces, words = map(AutoTokenizer.from_pretrained, (smol, mini))
    theirs = AutoModelForCausalLM.from_pretrained(smol, dtype=torch.float32).eval()
    gpt = gpt_from_llama(theirs, start=pieces.convert_tokens_to_ids("<|endoftext|>"))
    ids = pieces(TEXTS[1], return_tensors="pt")["input_ids"]
    gaps = {SMOL: _gap(gpt.decode(ids, None), theirs(ids).logits)}
    theirs = AutoModel.from_pretrained(mini, dtype=torch.float32).eval()
    encoder = text_encoder_from_bert(str(mini))
    batch = words(TEXTS[1], return_tensors="pt")
    found = encoder(batch["input_ids"]).values
    gaps[MINI] = _gap(found, theirs(**batch).last_hidden_state)
    return Models(gpt, pieces, encoder, words, gaps)


def _gap(ours: Tensor, theirs: Tensor) -> float:
    return (ours - theirs).abs().max().item()


@torch.no_grad()
def test(run: Run, state: dict, models: Models) -> dict:
    """Per cent that are right, and what there is to show."""
    return globals()[run["test"]](run, models)


def third(table: str, seed: int, separator: str = "|") -> list[str]:
    """The entries of a table that belong to a seed."""
    entries = [entry.strip() for entry in table.split(separator)]
    return entries[seed::3]


# -------------------------------------------------------------------- SmolLM2 writes


def tokens(run: Run, models: Models) -> dict:
    """Do texts come back from their tokens? The pieces, for a chapter."""
    cut = models.pieces if run.arm == SMOL else models.words
    found = [cut(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    same = sum(cut.decode(ids) == text for ids, text in zip(found, TEXTS, strict=True))
    shown = [[readable(cut, n) for n in ids] for ids in found]
    kept = {"pieces": shown, "texts": list(TEXTS), "vocabulary": len(cut)}
    kept |= {"gap": f"{models.gaps[run.arm]:.0e}"}
    return {"accuracy": 100 * same / len(TEXTS)} | (kept if run.seed == 0 else {})


def readable(cut, token: int) -> str:
    """A token as text; a piece of a character as its bytes, ⟨e9 a2⟩."""
    text = cut.decode([token])
    if "\ufffd" not in text:
        return text
    plain = [n for n in range(256) if chr(n).isprintable() and n not in (32, 160, 173)]
    other = [n for n in range(256) if n not in plain]
    byte = {chr(n): n for n in plain} | {chr(256 + i): n for i, n in enumerate(other)}
    parts = (byte[letter] for letter in cut.convert_ids_to_tokens(token))
    return f"⟨{' '.join(f'{part:02x}' for part in parts)}⟩"


def likelihoods(models: Models, texts: list[str]) -> list[float]:
    """ln p of sentences, all their tokens after the start."""
    found = []
    for text in texts:
        ids = models.pieces(text, return_tensors="pt")["input_ids"]
        _, loss = models.gpt(None, ids)
        found.append(-loss.item() * ids.shape[1])
    return found


def preferred(models: Models, pairs: list[tuple[str, str]]) -> dict:
    """Minimal pairs, the right sentence first: how often is it the likelier one?"""
    one, other = (
        likelihoods(models, list(texts)) for texts in zip(*pairs, strict=True)
    )
    rows = [
        [*pair, round(a, 2), round(b, 2)]
        for pair, a, b in zip(pairs, one, other, strict=True)
    ]
    share = sum(a > b for _, _, a, b in rows) / len(rows)
    wrong = [row for row in rows if row[2] <= row[3]]
    return {"accuracy": 100 * share, "shown": rows[:3], "wrong": wrong[:4]}


def agreement(run: Run, models: Models) -> dict:
    """The keys are old; the keys is old."""
    pairs, between = [], run.condition.values.get("between")
    for entry in third(NUMBERS, run.seed):
        one, many = entry.split()
        for noun, right, wrong in ((one, "is", "are"), (many, "are", "is")):
            other = ("cabinets" if noun == one else "cabinet") if between else ""
            start = f"The {noun} near the {other}" if between else f"The {noun}"
            pairs.append((f"{start} {right} old.", f"{start} {wrong} old."))
    return preferred(models, pairs)


def colours(run: Run, models: Models) -> dict:
    """Fresh snow is white; fresh snow has the colour of the next object in the list."""
    entries = [entry.rsplit(" ", 1) for entry in third(COLOURED, run.seed)]
    pairs = []
    for number, (thing, colour) in enumerate(entries):
        later = entries[number + 1 :] + entries[:number]
        other = next(c for _, c in later if c != colour)
        pairs.append((f"{thing} is {colour}.", f"{thing} is {other}."))
    return preferred(models, pairs)


def facts(run: Run, models: Models) -> dict:
    """The likeliest continuation of twelve tokens: does it begin with the answer?"""
    rows = []
    for entry in third(ASKED, run.seed, ";"):
        prompt, answers = entry.split("|")
        written = go_on(models, prompt, 12)
        said = written.strip().lower()[: 12 + max(map(len, answers.split("/")))]
        right = any(answer.lower() in said for answer in answers.split("/"))
        rows.append([prompt, written, right])
    return {"accuracy": 100 * sum(row[2] for row in rows) / len(rows), "shown": rows}


def go_on(models: Models, prompt: str, count: int) -> str:
    """The likeliest next token, again and again, with a cache."""
    gpt, ids = models.gpt, models.pieces(prompt, return_tensors="pt")["input_ids"]
    cache, read, found = gpt.new_cache(60), ids, []
    for _ in range(count):
        logits = gpt.decode(read, None, cache)
        read = logits[:, -1:].argmax(-1)
        found.append(read.item())
    return models.pieces.decode(found)


# -------------------------------------------------------------------- MiniLM compares


def vectors(models: Models, texts: list[str]) -> Tensor:
    """The mean token of each text, of length 1: (n, 384)."""
    batch = models.words(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"].bool()
    return F.normalize(models.encoder(batch["input_ids"], mask).pooled(), dim=-1)


def closer(models: Models, triples: list[tuple[str, str, str]]) -> dict:
    """A sentence, its paraphrase, another one: how often is the paraphrase nearer?"""
    first, same, other = (vectors(models, list(t)) for t in zip(*triples, strict=True))
    near, far = (first * same).sum(1), (first * other).sum(1)
    values = torch.stack([near, far], 1).tolist()
    rows = [[*t, *v] for t, v in zip(triples, values, strict=True)]
    found = {"accuracy": 100 * (near > far).float().mean().item(), "shown": rows[:3]}
    return found | {"paraphrase": near.mean().item(), "other": far.mean().item()}


def similar(run: Run, models: Models) -> dict:
    """A dog chases a cat; a cat is chased by a dog; another sentence."""
    rows = [entry.split() for entry in third(ACTED, run.seed)]
    said = [f"a {a} {_third_person(v)} a {b}" for a, b, v in rows]
    again = [f"a {b} is {PAST.get(v, f'{v}ed')} by a {a}" for a, b, v in rows]
    other = again[1:] + again[:1]
    if run.condition.values.get("roles"):
        other = [f"a {b} {_third_person(v)} a {a}" for a, b, v in rows]
    found = closer(models, list(zip(said, again, other, strict=True)))
    if run.seed == 0:
        u = vectors(models, list(FOUR))
        found |= {"four": list(FOUR), "cosines": (u @ u[0]).tolist()}
    return found


def _third_person(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ies"
    return verb + ("es" if verb.endswith(("s", "ch", "sh")) else "s")


def scenes(run: Run, models: Models) -> dict:
    """Sentences about a scene of the book; another one with the colours exchanged."""
    triples = []
    for i, scene in enumerate(sample_scenes(60, f"similar {run.seed}", (2,), "all")):
        said, again = (describe(scene, "varied", f"{i} {k}") for k in (0, 1))
        one, other = (thing.colour for thing in scene.things)
        if said != again and one != other:
            swap = {one: other, other: one}
            changed = " ".join(swap.get(word, word) for word in said.split())
            triples.append((said, again, changed))
    return closer(models, triples[:24])


def captions(run: Run, models: Models) -> dict:
    """Of 42 photographs: is the nearest caption one of the same photograph?"""
    told = photographs().references
    asked, found = (
        vectors(models, [c[k % 5] for c in told]) for k in (run.seed, run.seed + 1)
    )
    near = asked @ found.T
    own = near.diagonal().mean().item()
    rest = (near.sum() - near.trace()).item() / (near.numel() - len(near))
    right = near.argmax(1) == torch.arange(len(near))
    return {
        "accuracy": 100 * right.float().mean().item(),
        "paraphrase": own,
        "other": rest,
    }


def condition(name: str, arms=(SMOL,), **values) -> Condition:
    """What is tested, by the name of its function."""
    return Condition(name, values, arms)


AGREES, ALIKE = "agreement", "paraphrase or other sentence"
DESIGN = Design(
    question="What do a released decoder and a released encoder do with text?",
    tries={SMOL: [{}], MINI: [{}]},
    conditions=[
        condition("tokens", (SMOL, MINI), test="tokens"),
        condition(AGREES, test="agreement"),
        condition("colours of things", test="colours"),
        condition("facts", test="facts"),
        condition(ALIKE, (MINI,), test="similar"),
        condition("captions of photographs", (MINI,), test="captions"),
        Condition(
            "agreement, at a distance",
            {"test": "agreement", "between": True},
            (SMOL,),
            like=AGREES,
            asks="a noun of the other number between",
        ),
        Condition(
            "paraphrase or exchanged roles",
            {"test": "similar", "roles": True},
            (MINI,),
            like=ALIKE,
            asks="the same words with exchanged roles",
        ),
        Condition(
            "paraphrase or exchanged colours",
            {"test": "scenes"},
            (MINI,),
            like=ALIKE,
            asks="a scene's sentence with exchanged colours",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    untrained=(SMOL, MINI),
    needs=["MMBOOK_MODELS"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
