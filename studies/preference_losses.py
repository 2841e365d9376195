"""Four ways from imitation to right captions, with a judge that makes no mistakes.

The task of chapter 4.5. Pictures of 24 × 24 pixels with one object; the frozen image
encoder that chapter 2.7 pre-trained by captioning; a decoder that has imitated 1,024
captions, half of which name a wrong colour. A caption is right if it is true and
complete. From each imitator (one for each seed) four arms go on:

right captions: cross-entropy on captions of its own that were right.
DPO: pairs of a right and a wrong caption of its own, β = 0.1.
DPO + likelihood: the same, plus the cross-entropy of the right one per token.
GRPO: groups of eight captions of the present policy.

What is equal: 5,120 captions are written and judged in 40 steps, before the training for
the first three arms (eight for each of 640 pictures; pictures with right and wrong
captions give a pair), during the training for GRPO (eight for each of 16 pictures a
step). The first three see 64 pairs or captions a step. Six rates are tried for each arm;
400 validation pictures choose.

What could reverse the answer, and is tried: three times the steps, with the rates chosen
for one. GRPO then writes three times as many captions, the others see theirs again.
"""

from __future__ import annotations

import copy
import functools
import random

import torch
from runner import Condition, Design, Run, Trained, main
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder
from mmbook.heads import GenerationHead
from mmbook.losses import dpo, grpo
from mmbook.saving import find_folder
from mmbook.tokens import Tokens
from mmbook.world import COLOURS, describe, is_complete, render, sample_scenes
from mmbook.world import scene_tokenizer as tokenizer_of_scenes

RIGHT, PAIRS, BOTH, GROUPS = "right captions", "DPO", "DPO + likelihood", "GRPO"
ARMS = (RIGHT, PAIRS, BOTH, GROUPS)
SIDE, WIDTH, LENGTH, GROUP, BETA = 24, 64, 5, 8, 0.1
TOKENIZER = tokenizer_of_scenes()
END = TOKENIZER.eos_token_id
SPLITS = {"learn": (1024, 0), "held": (400, 31), "test": (1000, 52)}


def corner(centre: float, radius: float, rng: random.Random) -> int:
    """A corner of the window such that the whole object is inside."""
    low, high = centre + radius - SIDE, centre - radius
    return round(rng.uniform(max(0, low), min(high, SIDE)))


@functools.cache
def pictures(split: str) -> tuple[Tensor, list]:
    """Tokens (n, 9, D) of the frozen encoder, and the scenes."""
    count, seed = SPLITS[split]
    scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
    found, rng = [], random.Random(seed)
    for scene, large in zip(scenes, render(scenes, 48, seed=seed), strict=True):
        item = scene.things[0]
        x, y = (corner(48 * c, 48 * item.radius, rng) for c in (item.x, item.y))
        found.append(large[:, y : y + SIDE, x : x + SIDE])
    folder = find_folder("mmbook/pretext-models", needs="model.safetensors")
    stored, prefix = load_file(folder / "model.safetensors"), "captioning.encoder."
    encoder = ConvImageEncoder(WIDTH, SIDE, channels=(16, 32))
    encoder.load_state_dict(
        {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
    )
    with torch.no_grad():
        return encoder(torch.stack(found)).values, scenes


def careless(scene, rng: random.Random) -> str:
    """A caption; in one of two a wrong colour."""
    words = describe(scene).split()
    if rng.random() < 0.5:
        words[2] = rng.choice([name for name in COLOURS if name != words[2]])
    return " ".join(words)


@functools.cache
def imitator(seed: int, quick: bool) -> GenerationHead:
    """The reference: 300 steps on careless captions."""
    values, scenes = pictures("learn")
    rng = random.Random(seed)
    heard = TOKENIZER([careless(scene, rng) for scene in scenes])["input_ids"]
    ids = F.pad(torch.tensor(heard), (0, 1), value=END)
    with torch.enable_grad(), torch.random.fork_rng():  # also when a test asks
        torch.manual_seed(seed)
        policy = blank()
        optimizer = torch.optim.AdamW(policy.parameters(), 3e-3)
        for _ in range(60 if quick else 300):
            rows = torch.randint(len(ids), (64,))
            loss = policy(Tokens(values[rows]), ids[rows])[1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return policy.eval()


def blank() -> GenerationHead:
    """A decoder that has learned nothing."""
    return GenerationHead.for_tokenizer(
        TOKENIZER, width=WIDTH, layers=1, heads=4, max_length=8, context_width=WIDTH
    )


@torch.no_grad()
def write(policy, values: Tensor, greedy: bool = False) -> Tensor:
    """A caption (n, L) for each picture, sampled or the likeliest words."""
    said = torch.full((len(values), 1), TOKENIZER.bos_token_id)
    for _ in range(LENGTH):
        p = policy.decode(said, Tokens(values))[:, -1].softmax(-1)
        word = p.argmax(-1, True) if greedy else torch.multinomial(p, 1)
        said = torch.cat([said, word], 1)
    return said[:, 1:]


def log_p(policy, values: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
    """log p of each token (n, L), and which tokens are real."""
    logits, _ = policy(Tokens(values), said)
    ended = (said == END).cumsum(1) - (said == END).long()
    return logits.log_softmax(-1).gather(-1, said[..., None])[..., 0], ended == 0


@functools.cache
def judged(text: str, scene) -> float:
    return float(is_complete(text, scene))


def reward(said: Tensor, scenes: list) -> Tensor:
    """1 for a caption that is true and complete, else 0: (n,)."""
    cut = said.masked_fill((said == END).cumsum(1) > 0, END)
    texts = TOKENIZER.batch_decode(cut, skip_special_tokens=True)
    return torch.tensor(
        [judged(*pair) for pair in zip(texts, scenes, strict=True)], dtype=torch.float
    )


@functools.cache
def collect(seed: int, quick: bool, split: str, count: int) -> tuple[Tensor, Tensor]:
    """Tokens (n, 9, D) and pairs (n, 2, L) by an imitator, the right caption first."""
    values, scenes = pictures(split)
    with torch.random.fork_rng():
        torch.manual_seed(1000 + seed)
        policy = imitator(seed, quick)
        said = write(policy, values[:count].repeat_interleave(GROUP, 0))
    each = [scene for scene in scenes[:count] for _ in range(GROUP)]
    judgement = reward(said, each).view(count, GROUP)
    mixed = judgement.mean(1).remainder(1).nonzero()[:, 0]
    both = torch.stack([judgement.argmax(1), judgement.argmin(1)], 1)[mixed]
    return values[mixed], said.view(count, GROUP, LENGTH)[mixed[:, None], both]


def of_pairs(policy, values: Tensor, pairs: Tensor) -> Tensor:
    """log p of whole captions, (n, 2)."""
    own, real = log_p(policy, values.repeat_interleave(2, 0), pairs.flatten(0, 1))
    return (own * real).sum(1).view(-1, 2)


def offline(run: Run):
    """A function that gives the loss of a policy on 64 pairs."""
    values, pairs = collect(run.seed, run.quick, "learn", 640)
    with torch.no_grad():
        before = of_pairs(imitator(run.seed, run.quick), values, pairs)

    def loss(policy) -> Tensor:
        rows = torch.randint(len(pairs), (64,))
        if run.arm == RIGHT:
            return -of_pairs(policy, values[rows], pairs[rows])[:, 0].mean() / LENGTH
        now = of_pairs(policy, values[rows], pairs[rows])
        total = dpo(now, before[rows], BETA)
        return total - now[:, 0].mean() / LENGTH if run.arm == BOTH else total

    return loss


def online(policy) -> Tensor:
    """The loss of GRPO on groups for 16 pictures."""
    values, scenes = pictures("learn")
    rows = torch.randint(len(values), (16,)).repeat_interleave(GROUP)
    said = write(policy, values[rows])
    judgement = reward(said, [scenes[row] for row in rows]).view(16, GROUP)
    own, real = (x.view(16, GROUP, LENGTH) for x in log_p(policy, values[rows], said))
    return grpo(own, own, judgement, real)


def share(policy, split: str, greedy: bool = False) -> float:
    """Per cent of right captions."""
    values, scenes = pictures(split)
    return 100 * reward(write(policy, values, greedy), scenes).mean().item()


def train(run: Run) -> Trained:
    """From the imitator of this seed on, by one of four losses."""
    reference = imitator(run.seed, run.quick)
    torch.manual_seed(run.seed)
    loss_of = online if run.arm == GROUPS else offline(run)
    policy, curve = copy.deepcopy(reference), []
    optimizer = torch.optim.AdamW(policy.parameters(), run["rate"])
    steps = 8 if run.quick else run["steps"]
    for step in range(1, steps + 1):
        loss = loss_of(policy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, steps // 4) == 0:
            curve.append((step, share(policy, "held")))
    return Trained(curve, curve[-1][1], policy.state_dict())


def test_data() -> None:
    """The test pictures are made on first use, here."""
    pictures("test")


@torch.no_grad()
def test(run: Run, state: dict, data: None) -> dict:
    """Right captions, and how far the policy has gone from the reference."""
    reference, policy = imitator(run.seed, run.quick), blank().eval()
    policy.load_state_dict(state)
    values, _ = pictures("test")
    said = write(policy, values)
    (own, real), (base, _) = (log_p(p, values, said) for p in (policy, reference))
    pairs = collect(run.seed, run.quick, "test", 250)
    moved = (of_pairs(policy, *pairs) - of_pairs(reference, *pairs)).mean(0)
    return {
        "accuracy": share(policy, "test"),
        "greedy": share(policy, "test", greedy=True),
        "imitation": share(reference, "test"),
        "kl": ((own - base) * real).sum(1).mean().item(),
        "chosen": moved[0].item(),
        "rejected": moved[1].item(),
    }


RATES = [{"rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3)]
DESIGN = Design(
    question="How many captions are right after four ways to learn from judged captions?",
    tries={arm: [{"rate": 3e-5}, *RATES, {"rate": 1e-2}] for arm in ARMS},
    conditions=[
        Condition("40 steps", {"steps": 40}),
        Condition(
            "120 steps", {"steps": 120}, like="40 steps", asks="three times the steps"
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
    seeds=(0, 1, 2, 3, 4),
    tolerance=2.0,
    rests_on=("mmbook/weights/pretext-models/model.safetensors",),
)

if __name__ == "__main__":
    main(DESIGN, __file__)
