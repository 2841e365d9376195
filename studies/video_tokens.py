"""What does it take to name a motion: order, frames, places?

Clips of one moving object in seven, nine or more frames; the class is one of eight
motions. Three questions are asked.

*Encoders, nine frames.* A frozen image encoder on each frame, then attention along time
with positions or without; tubelets of pixels with joint or divided attention; frame
differences through a small convolutional network. Without positions no model can be
right in more than three of four cases, which the chapter proves.

*Frames.* The frame encoder on 1, 3, 5, 9 and 17 equally spaced frames of the same clips.

*Merged tokens.* The 36 tokens of each frame are merged to 9, 4 or 1 by the mean of
neighbours; one block of attention reads all that are left of the clip.

What is equal: the 2,000 clips of a seed, 32 clips in a batch, the number of steps, the
search over four rates, the head (the mean of all tokens and a small network). What could
reverse the answer, and is tried: three times the steps.
"""

from __future__ import annotations

from functools import cache, lru_cache

import torch
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn

from mmbook.encoders import ConvImageEncoder, TubeletVideoEncoder
from mmbook.heads import ClassificationHead
from mmbook.layers import Block
from mmbook.tokens import Tokens
from mmbook.world import MOTIONS, MovingScenes, sample_moving_scenes

FOLDER = "mmbook/weights/scene-image-encoder"
BAG, FRAMES = "frames, no positions", "frames, then time"
JOINT, DIVIDED = "tubelets, joint", "tubelets, divided"
CHANGES, MERGED = "frame differences", "merged tokens"
ENCODERS = (BAG, FRAMES, JOINT, DIVIDED, CHANGES)
MOMENTS, D, PLACES, CHANNELS = 17, 64, 6, 96
CLIPS, VALIDATED, TESTED, BATCH, POINTS = 2000, 500, 2000, 32, 16
STEPS, LONGER = 640, 1920
GROUND = 0.93  # of the pictures; 0.5 is zero inside the tubelet encoder
OPPOSITE = torch.tensor([1, 0, 3, 2, 5, 4, 6, 7])  # of a clip played backwards
SHUFFLED = [4, 0, 7, 2, 8, 5, 1, 6, 3]


# --------------------------------------------------------------------------- the clips


@cache
def image_encoder() -> ConvImageEncoder:
    return ConvImageEncoder.from_pretrained("mmbook/scene-image-encoder").eval()


@lru_cache(maxsize=10)
def clips(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clips (n, 17, 3, 48, 48) uint8 of one object each, and their motions (n,)."""
    scenes = sample_moving_scenes(count, seed, (1,), "all")
    part = MovingScenes(scenes, frames=MOMENTS, seed=seed, target="motion")
    return part.videos, torch.tensor([item["label"] for item in part])


@lru_cache(maxsize=10)
@torch.no_grad()
def features(count: int, seed: int) -> Tensor:
    """What the frozen encoder says of each frame, (n, 17, 36, 96) in half precision."""
    kept = []
    for some in clips(count, seed)[0].split(50):
        tokens = image_encoder()(some.flatten(0, 1) / 255).values
        kept.append(tokens.unflatten(0, some.shape[:2]).half())
    return torch.cat(kept)


def inputs(run: Run, count: int, seed: int) -> Tensor:
    """What an arm reads: tokens of frames, or pixels; equally spaced frames."""
    apart = (MOMENTS - 1) // max(run["frames"] - 1, 1)
    source = clips(count, seed)[0] if pixels(run.arm) else features(count, seed)
    chosen = source[:, ::apart][:, : run["frames"]]
    if run.arm != MERGED:
        return chosen
    side, wide = run["side"], PLACES // run["side"]
    grid = chosen.unflatten(2, (side, wide, side, wide)).float()
    return grid.mean((3, 5)).flatten(2, 3).half()  # (n, F, side², C)


def pixels(arm: str) -> bool:
    return arm in (JOINT, DIVIDED, CHANGES)


def part_of(count: int, seed: int, kind: str) -> tuple[int, int]:
    """Seeds of the clips: training, validation and test never share one."""
    return count, 10 * seed + {"training": 1, "validation": 2}[kind]


# -------------------------------------------------------------------------- the models


class FramesThenTime(nn.Module):
    """Tokens of frames (B, F, 36, C) → one token a frame → attention along time."""

    def __init__(self, frames: int, positions: bool):
        super().__init__()
        self.width = D
        self.read = nn.Sequential(
            nn.Linear(CHANNELS, 16),
            nn.GELU(),
            nn.Flatten(2),
            nn.Linear(PLACES**2 * 16, D),
        )
        time = 0.02 * torch.randn(frames, D)
        self.time = nn.Parameter(time) if positions else None
        self.block, self.norm = Block(D, 4, 2 * D), nn.LayerNorm(D)

    def forward(self, kept: Tensor) -> Tokens:
        x = self.read[:2](kept).flatten(2)  # (B, F, 36 · 16)
        x = self.read[3](x)
        x = x if self.time is None else x + self.time[: x.shape[1]]
        return Tokens(self.norm(self.block(x)))


class MergedTokens(nn.Module):
    """Merged tokens (B, F, N, C) → attention over all of the clip."""

    def __init__(self, frames: int, places: int):
        super().__init__()
        self.width, self.narrow = D, nn.Linear(CHANNELS, D)
        self.time = nn.Parameter(0.02 * torch.randn(frames, 1, D))
        self.place = nn.Parameter(0.02 * torch.randn(1, places, D))
        self.block, self.norm = Block(D, 4, 2 * D), nn.LayerNorm(D)

    def forward(self, kept: Tensor) -> Tokens:
        x = self.narrow(kept) + self.time + self.place
        return Tokens(self.norm(self.block(x.flatten(1, 2))))


class Changes(nn.Module):
    """Frame differences of the grey value as channels of a convolutional network."""

    def __init__(self, frames: int, channels=(16, 32, D)):
        super().__init__()
        self.width, stages, before = D, [], frames - 1
        for after in channels:
            stages += [
                nn.Conv2d(before, after, 3, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
            before = after
        self.stages = nn.Sequential(*stages)

    def forward(self, video: Tensor) -> Tokens:
        grey = video.mean(2)  # (B, F, H, W)
        return Tokens(self.stages(4 * grey.diff(dim=1)).flatten(2).transpose(1, 2))


class Classifier(nn.Module):
    """An encoder, the mean of its tokens, a small network."""

    def __init__(self, run: Run):
        super().__init__()
        frames = run["frames"]
        if pixels(run.arm) and run.arm != CHANGES:
            attention = "joint" if run.arm == JOINT else "divided"
            self.encoder = TubeletVideoEncoder(
                *(D, 1, 4, frames, 48, 3, 12, attention), hidden=2 * D
            )
        elif run.arm == CHANGES:
            self.encoder = Changes(frames)
        elif run.arm == MERGED:
            self.encoder = MergedTokens(frames, run["side"] ** 2)
        else:
            self.encoder = FramesThenTime(frames, run.arm == FRAMES)
        self.head = ClassificationHead(D, len(MOTIONS), hidden=64)

    def forward(self, x: Tensor, labels: Tensor | None = None):
        x = x.float() if x.is_floating_point() else x / 255 - GROUND + 0.5
        return self.head(self.encoder(x), labels)


@torch.no_grad()
def answers(model: nn.Module, x: Tensor) -> Tensor:
    """The motion that a model names for each clip, (n,)."""
    model.eval()
    return torch.cat([model(some)[0].argmax(-1) for some in x.split(250)])


def per_cent(said: Tensor, true: Tensor) -> float:
    return 100 * (said == true).float().mean().item()


def train(run: Run) -> Trained:
    """One training of an arm, with its curve on validation clips."""
    steps = 48 if run.quick else run["steps"]
    own, held = (
        part_of(count, run.seed, kind)
        for count, kind in ((CLIPS, "training"), (VALIDATED, "validation"))
    )
    x, labels = inputs(run, *own), clips(*own)[1]
    shown, truth = inputs(run, *held), clips(*held)[1]
    torch.manual_seed(run.seed)
    model, dice = Classifier(run), torch.Generator().manual_seed(run.seed)
    optimizer = torch.optim.AdamW(model.parameters(), run["rate"], fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["rate"], steps, pct_start=0.2
    )
    curve = []
    for step in range(1, steps + 1):
        at = torch.randint(len(x), (BATCH,), generator=dice)
        loss = model.train()(x[at], labels[at])[1]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % (steps // POINTS) == 0:
            curve.append((step, per_cent(answers(model, shown), truth)))
    score = curve[-1][1] if loss.isfinite() else None
    return Trained(curve, score, model.state_dict())


# ---------------------------------------------------------------------------- the test


def test_data() -> tuple[int, int]:
    """Another 2,000 clips, the same for all."""
    return TESTED, 7


def test(run: Run, state: dict[str, Tensor], data) -> dict:
    """Accuracy; with nine frames also what order has to do with it."""
    model = Classifier(run)
    model.load_state_dict(state)
    x, truth = inputs(run, *data), clips(*data)[1]
    said = answers(model, x)
    moving, still = truth < 4, truth >= 6
    found = {
        "accuracy": per_cent(said, truth),
        "blinks or stays": per_cent(said[still], truth[still]),
        "direction": per_cent(said[moving], truth[moving]),
        "opposite": per_cent(said[moving], OPPOSITE[truth[moving]]),
    }
    if run["frames"] == 9:
        turned = answers(model, x.flip(1))
        found["backwards, turned round"] = per_cent(turned, OPPOSITE[truth])
        found["backwards, same answer"] = per_cent(turned, said)
        found["shuffled"] = per_cent(answers(model, x[:, SHUFFLED]), truth)
    if run["frames"] == 9 and run.seed == 0 and run.arm in (BAG, FRAMES):
        pairs = truth * len(MOTIONS) + said
        table = pairs.bincount(minlength=len(MOTIONS) ** 2)
        found["confusion"] = table.view(len(MOTIONS), -1).tolist()
    if run.arm == FRAMES and run["frames"] == 9:
        found["every second frame"] = per_cent(answers(model, x[:, ::2]), truth)
    return found


# -------------------------------------------------------------------------- the design


NINE, LONG = {"frames": 9, "steps": STEPS}, {"frames": 9, "steps": LONGER}
MORE = "three times the steps"
RATES = [{"rate": rate} for rate in (1e-3, 3e-3, 1e-2, 3e-2)]
DESIGN = Design(
    question="What does it take to name a motion: order, frames, places?",
    tries=dict.fromkeys((*ENCODERS, MERGED), RATES),
    conditions=[
        Condition("nine frames", NINE, ENCODERS),
        Condition("1 frame", {"frames": 1, "steps": STEPS}, (FRAMES,)),
        Condition("3 frames", {"frames": 3, "steps": STEPS}, (FRAMES,)),
        Condition("5 frames", {"frames": 5, "steps": STEPS}, (FRAMES,)),
        Condition("1 a frame", {**NINE, "side": 1}, (MERGED,)),
        Condition("4 a frame", {**NINE, "side": 2}, (MERGED,)),
        Condition("9 a frame", {**NINE, "side": 3}, (MERGED,)),
        *(
            Condition(
                f"{n} frames, longer",
                {"frames": n, "steps": LONGER},
                (FRAMES,),
                f"{n} frames",
                MORE,
            )
            for n in (3, 5)
        ),
        *(
            Condition(
                f"{side**2} a frame, longer",
                {**LONG, "side": side},
                (MERGED,),
                f"{side**2} a frame",
                MORE,
            )
            for side in (1, 2)
        ),
        Condition("17 frames", {"frames": 17, "steps": STEPS}, (FRAMES,)),
        Condition("nine frames, longer", LONG, ENCODERS[:4], "nine frames", MORE),
    ],
    train=train,
    test_data=test_data,
    test=test,
    tolerance=2.0,
    rests_on=[f"{FOLDER}/{name}" for name in ("config.json", "model.safetensors")],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
