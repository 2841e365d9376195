"""What does it buy to compare words with places, or to read the pair again?

Three ways to search pictures by a sentence, all on the frozen tokens of the package's
image encoder and with a text encoder that is trained:

- one vector for each picture and each sentence, compared by the cosine (as CLIP);
- late interaction: a vector for each place and each word; a word counts with the place
  that fits it best, and the sentence with the mean of its words (ColBERT, FILIP);
- re-ranking: one vector, and a matcher in which the words look at the places; it is
  trained on the hardest wrong pairs of the batch (ALBEF) and reads the best ten again.

The collection is made hard on purpose: each scene of two objects stands in it beside a
twin in which the two colours have changed places, so that both sentences have the same
words. A second collection has no twins. In training a batch consists of 32 scenes and
their twins, or (a condition) of 64 scenes drawn at random, which hardly ever meet their
twins.

What is equal: the scenes and the batches of a seed, the block before the image tokens are
compared, the number of steps, five rates for each arm, and 300 scenes that choose. What
could reverse the answer, and is tried: three times the steps, with both kinds of batches.
The three do not cost the same time: the chapter counts that. No sentence of the test was
in training.
"""

from __future__ import annotations

import random
from functools import cache

import torch
from runner import Condition, Design, Run, Trained, main
from scene_space import CHANGES, COLLATE, different, fits, looked_at, some
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.encoders import TextEncoder
from mmbook.layers import Block
from mmbook.losses import hard_negatives
from mmbook.metrics import retrieval
from mmbook.world import Scene, describe

VECTOR, LATE, RERANKED = "one vector", "late interaction", "re-ranked"
STEPS, BATCH, WIDTH, EMBEDDING, VALIDATIONS = 300, 64, 96, 64, 6
DEPTHS = (1, 2, 5, 10, 20, 50)
MAIN, LONGER = "batches with twins", "batches with twins, three times the steps"
DEPTH = 10  # how many the matcher reads


class Search(nn.Module):
    """An image side and a text side, compared in one of the three ways."""

    def __init__(self, arm: str):
        super().__init__()
        self.arm = arm
        self.place = nn.Parameter(0.02 * torch.randn(36, WIDTH))
        self.block, self.norm = Block(WIDTH, heads=4), nn.LayerNorm(WIDTH)
        self.reader = TextEncoder(len(COLLATE.tokenizer), WIDTH, layers=1)
        self.image, self.text = (nn.Linear(WIDTH, EMBEDDING) for _ in range(2))
        self.log_scale = nn.Parameter(torch.tensor(2.66))  # 1 / 0.07, as in CLIP
        if arm == RERANKED:
            self.matcher = Block(WIDTH, heads=4, context_width=WIDTH)
            self.fits = nn.Linear(WIDTH, 1)

    def see(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Frozen tokens (B, 36, 96) → vectors (B, 1 or 36, E), tokens (B, 36, 96)."""
        x = self.norm(self.block(x + self.place))
        vectors = x if self.arm == LATE else x.mean(1, keepdim=True)
        return F.normalize(self.image(vectors), dim=-1), x

    def read(self, texts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Sentences → vectors (B, 1 or L, E), tokens (B, L, 96), their mask (B, L)."""
        batch = COLLATE([{"text": t} for t in texts])
        tokens = self.reader(batch["text"], batch["text_mask"])
        x = tokens.values if self.arm == LATE else tokens.pooled()[:, None]
        return F.normalize(self.text(x), dim=-1), tokens.values, batch["text_mask"]

    def scores(self, w: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        """How well each sentence fits each picture, (sentences, pictures)."""
        if self.arm != LATE:
            return w[:, 0] @ z[:, 0].T
        best = torch.einsum("qle,pne->qpln", w, z).amax(-1)  # for each word
        return (best * mask[:, None]).sum(-1) / mask.sum(1)[:, None]

    def match(self, words: Tensor, mask: Tensor, places: Tensor) -> Tensor:
        """A logit for each pair: does this sentence belong to this picture? (B,)"""
        x = self.matcher(words, mask, context=places)
        return self.fits((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))[:, 0]

    def loss(self, tokens: Tensor, texts: list[str]) -> Tensor:
        """InfoNCE both ways; the re-ranked arm also learns to match."""
        (z, places), (w, words, mask) = self.see(tokens), self.read(texts)
        scores, truth = self.scores(w, mask, z), torch.arange(len(z))
        scaled = self.log_scale.clamp(max=4.6052).exp() * scores
        loss = (F.cross_entropy(scaled, truth) + F.cross_entropy(scaled.T, truth)) / 2
        if self.arm != RERANKED:
            return loss
        same = torch.tensor([[a == b for a in texts] for b in texts])
        picture = hard_negatives(scaled.detach(), same)  # for each sentence
        sentence = hard_negatives(scaled.detach().T, same)  # for each picture
        all_words, all_masks = (torch.cat([x, x, x[sentence]]) for x in (words, mask))
        logits = self.match(
            all_words, all_masks, torch.cat([places, places[picture], places])
        )
        right = torch.zeros(len(logits)).index_fill(0, truth, 1.0)
        return loss + F.binary_cross_entropy_with_logits(logits, right)


# ------------------------------------------------------------------------- the collection


def twins(count: int, seed: int, known: frozenset[str] = frozenset()) -> list[Scene]:
    """Scenes of two objects, each followed by its twin; no sentence twice or known."""
    name, said, kept = "colours swapped", set(known), []
    for scene in some(12 * count, seed):
        if not fits(scene, name):
            continue
        pair = scene, CHANGES[name](scene)
        if not said & {describe(x) for x in pair}:
            said |= {describe(x) for x in pair}
            kept += pair
        if len(kept) == count:
            return kept
    raise ValueError(f"only {len(kept)} of {count} scenes have a twin")


@torch.no_grad()
def ranked(search: Search, tokens: Tensor, scenes: list[Scene]) -> dict:
    """A sentence searches the pictures: shares in per cent."""
    search.eval()
    (z, places), (w, words, mask) = (
        search.see(tokens),
        search.read([describe(scene) for scene in scenes]),
    )
    scores = search.scores(w, mask, z)
    rows, found = retrieval(scores), {}
    order, truth = scores.argsort(1, descending=True), torch.arange(len(scores))
    for depth in DEPTHS:
        there = (order[:, :depth] == truth[:, None]).any(1).float()
        found[f"among the first {depth}"] = 100 * there.mean().item()
    if search.arm == RERANKED:
        logits = torch.stack(
            [
                search.match(words, mask, places[order[:, k]])
                for k in range(max(DEPTHS))
            ],
            1,
        )
        for depth in DEPTHS:
            best = order.gather(1, logits[:, :depth].argmax(1, keepdim=True))[:, 0]
            found[f"re-ranked {depth}"] = 100 * (best == truth).float().mean().item()
    first = 100 * rows["R@1"]
    return {"R@1": found.get(f"re-ranked {DEPTH}", first)} | found


# ------------------------------------------------------------------------------ the study


@cache
def training_data() -> tuple:
    """Scenes to learn from and to choose with: tokens, scenes."""
    known = twins(2000, 1)
    held = twins(300, 98, frozenset(map(describe, known)))
    return (looked_at(known, 1), known), (looked_at(held, 6), held)


def batch_of(run: Run, rng: random.Random, count: int) -> list[int]:
    """Rows of a batch: 32 scenes and their twins, or 64 at random."""
    if not run["twins"]:
        return rng.sample(range(count), BATCH)
    first = rng.sample(range(0, count, 2), BATCH // 2)
    return [row for n in first for row in (n, n + 1)]


def train(run: Run) -> Trained:
    """One way to search."""
    (tokens, scenes), held = training_data()
    texts = [describe(scene) for scene in scenes]
    rng, search = random.Random(run.seed), Search(run.arm)
    steps = 12 if run.quick else run["steps"]
    optimizer = torch.optim.AdamW(search.parameters(), run["rate"], weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["rate"], steps, pct_start=0.1, cycle_momentum=False
    )
    curve = [(0, ranked(search, *held)["R@1"])]
    for step in range(1, steps + 1):
        rows = batch_of(run, rng, len(scenes))
        optimizer.zero_grad()
        search.train()
        search.loss(tokens[rows], [texts[r] for r in rows]).backward()
        optimizer.step()
        schedule.step()
        if step % (steps // VALIDATIONS) == 0:
            curve.append((step, ranked(search, *held)["R@1"]))
    return Trained(curve, curve[-1][1], search.state_dict())


def test_data() -> dict:
    """500 new scenes, half of them twins of the others; 500 without twins."""
    known = frozenset(map(describe, training_data()[0][1]))
    hard = twins(500, 97, known)
    plain = [x for x in different(1000, 99) if describe(x) not in known][:500]
    return {"twins": (looked_at(hard, 8), hard), "plain": (looked_at(plain, 7), plain)}


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """A sentence searches 500 pictures; per cent."""
    search = Search(run.arm)
    search.load_state_dict(state)
    result = ranked(search, *data["twins"])
    plain = ranked(search, *data["plain"])
    return result | {f"without twins, {name}": x for name, x in plain.items()}


DESIGN = Design(
    question="What does it buy to compare words with places, or to read a pair again?",
    tries={
        arm: [{"rate": rate} for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)]
        for arm in (VECTOR, LATE, RERANKED)
    },
    conditions=[
        Condition(MAIN, {"twins": True, "steps": STEPS}),
        Condition(
            LONGER,
            {"twins": True, "steps": 3 * STEPS},
            like=MAIN,
            asks="three times the steps",
        ),
        Condition(
            "batches at random",
            {"twins": False, "steps": STEPS},
            like=MAIN,
            asks="batches in which hardly any scene meets its twin",
        ),
        Condition(
            "batches at random, three times the steps",
            {"twins": False, "steps": 3 * STEPS},
            like=MAIN,
            asks="the same, with three times the steps",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    metric="R@1",
    rests_on=["mmbook/weights/scene-image-encoder/model.safetensors"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
