# %% [markdown]
# # Exercises 2.4 Video encoders
#
# To the chapter: [2.4 Video encoders](../2-concepts/24_video_encoders.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import torch
from torch import nn

from mmbook.encoders.video import equally_spaced
from mmbook.notebook.exercises import check
from mmbook.world import MOTIONS, MovingScenes, sample_moving_scenes

torch.set_num_threads(1)
NAMES = list(MOTIONS)


def moving(count, seed, frames=9):
    """Clips (B, F, 3, H, W) uint8 of one moving thing, and the motions' numbers."""
    scenes = sample_moving_scenes(count, seed, (1,), "all")
    part = MovingScenes(scenes, frames=frames, seed=seed, target="motion")
    return part.videos, torch.tensor([item["label"] for item in part])


# %% [markdown]
# The next cell is for the last exercise only. It holds the chapter's model of frame differences, and a function that trains
# it.

# %% shared
from mmbook.fusion import fusion
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel
from mmbook.saving import Configured
from mmbook.tokens import Tokens
from mmbook.training import TrainingConfig, fit


class Differences(Configured):
    """(B, F, 3, H, W): what changes from frame to frame, as channels."""

    def __init__(self, frames=9, channels=(16, 32), width=64):
        super().__init__()
        self.width, stages, before = width, [], frames - 1
        for after in (*channels, width):
            stages += [nn.Conv2d(before, after, 3, 2, 1, bias=False),
                       nn.BatchNorm2d(after), nn.ReLU()]
            before = after
        self.stages = nn.Sequential(*stages)

    def forward(self, video, mask=None):
        grey = video.mean(2)  # (B, F, H, W)
        change = grey[:, 1:] - grey[:, :-1]
        return Tokens(self.stages(4 * change).flatten(2).transpose(1, 2))


def trained(videos, labels, steps=220):
    """The model of frame differences, trained on these clips."""
    torch.manual_seed(0)
    model = MultimodalModel(
        {"video": Differences()},
        fusion("concatenation", widths={"video": 64}, width=64),
        ClassificationHead(64, len(NAMES), hidden=64))
    config = TrainingConfig(steps=steps, batch_size=32, learning_rate=4e-3,
                            compile=False)
    fit(model, range(len(videos)), config, lambda rows: {
        "video": videos[rows] / 255, "labels": labels[rows]})
    return model


@torch.no_grad()
def accuracy(model, videos, labels):
    """Share of the clips whose motion the model names."""
    device = next(model.parameters()).device
    said = model(video=(videos / 255).to(device)).logits.argmax(-1).cpu()
    return (said == labels).float().mean().item()


# %% exercise 2.4.1 warm-up Counting tokens
# A clip has 32 frames of 112 × 112 pixels in three colours. It is cut into tubelets, 4 frames deep and 14 × 14 pixels
# wide.
#
# How many tokens does the clip become? How many numbers go into one token? And how many pairs of tokens does one layer compare, with joint and with
# divided attention?

# %% stub
tokens = ...
numbers = ...
joint_pairs = ...
divided_pairs = ...

# %% solution
T, S = 32 // 4, (112 // 14) ** 2
tokens = T * S
numbers = 4 * 14 * 14 * 3
joint_pairs = (T * S) ** 2
divided_pairs = T * S * (T + S)

# %% check
with check("2.4.1", "Counting tokens") as it:
    it.equal("tokens of the clip", tokens, 512,
             hint="Moments times places. How many tubelets fit into one side?")
    it.equal("numbers in a tubelet", numbers, 2352, hint="Don't forget the colours.")
    it.equal("pairs, joint", joint_pairs, 262_144)
    it.equal("pairs, divided", divided_pairs, 36_864,
             hint="Each token sees its T moments, then its S places.")

# %% hint
# $T = 32 / 4$ moments; $S = (112 / 14)^2$ places.

# %% remark
# Divided attention compares one seventh of the pairs here. With $D = 768$ it would be the more expensive one all the
# same: $T S - T - S = 440$, and $2 D = 1536$.

# %% exercise 2.4.2 predict Six motions
# Leave out growing and shrinking. The remaining six motions (left, right, up, down, blinks, stays) are equally likely.
#
# Predict the best accuracy of
#
# - a model that takes the mean over all nine frames of something that it computes of each frame;
# - *any* model that gets the first, the middle and the last frame, in order.
#
# And: the first of the two also gets a position vector added to what it computed of each frame, before the mean. What changes?
#
# - `"a"`: nothing
# - `"b"`: it can now tell left from right
# - `"c"`: it can now tell blinking from staying

# %% stub
guess_bag = ...  # between 0 and 1
guess_three = ...
with_position = ...  # "a", "b" or "c"

# %% solution
guess_bag = 4 / 6
guess_three = 5 / 6
with_position = "a"

# %% check
with check("2.4.2", "Six motions") as it:
    it.prediction("the mean over nine frames", guess_bag, (4 / 2 + 2) / 6)
    it.prediction("three frames in order", guess_three, (4 + 2 / 2) / 6)
    it.choice("with a position", with_position, "a", {
        "a": "The positions add up to one and the same vector for all clips.",
        "b": "The mean of g + e is the mean of g plus the mean of e: a constant.",
        "c": "That it could tell before: a frame without the thing is in the bag.",
    })

# %% hint
# Which motions have the same bag of frames? And which look the same at $0, \tfrac12, 1$?

# %% remark
# The two models fail in different places. The bag loses the four directions and keeps blinking; the three frames keep the directions and
# lose blinking. No single number says which model is the better one: it hangs on the question.

# %% exercise 2.4.3 core Equally spaced
# A model wants `count` frames of each clip, whatever its length. Write a function that gives the numbers of the frames to take: the first is 0, the
# last is the clip's last, and the others lie between at equal distances, rounded to whole frames. A clip that is too short shows some of its frames
# more than once.

# %% stub
def spaced(frames, count):
    """The numbers of ``count`` frames of a clip, equally spaced."""
    return ...


# %% solution
def spaced(frames, count):
    """The numbers of ``count`` frames of a clip, equally spaced."""
    steps = torch.linspace(0, 1, count)
    return (steps * (frames - 1)).round().long().tolist()


# %% check
with check("2.4.3", "Equally spaced") as it:
    it.equal("5 of 9", spaced(9, 5), [0, 2, 4, 6, 8])
    it.equal("3 of 100", spaced(100, 3)[::2], [0, 99],
             hint="The last frame is number frames − 1.")
    it.equal("4 of 2", spaced(2, 4), [0, 0, 1, 1],
             hint="From 0 to 1 in equal steps, times the last number, rounded.")
    same = True
    for frames in range(1, 40):
        clip = torch.arange(float(frames)).view(1, -1, 1, 1, 1)
        clip = clip.expand(1, frames, 3, 2, 2)
        taken = equally_spaced(clip, None, 8)[0, :, 0, 0, 0]
        same = same and taken.tolist() == spaced(frames, 8)
    it.true("the same as the package, for all lengths up to 39", same)

# %% hint
# `torch.linspace(0, 1, count)` are equal steps from 0 to 1.

# %% remark
# This takes the *whole* clip and gives up on what is fast. The other choice is to take neighbouring frames and give up on the rest
# of the clip. Many programmes do both: several short pieces, spread over the clip, and the mean of what the model says of them.

# %% exercise 2.4.4 core A third pattern
# Make a pattern of attention that is local in time: a token sees its own frame, all of it, and the *same place* in the frame before and in the
# frame after. Give it as a matrix (T · S, T · S) of bools, tokens moment by moment, row = who looks.
#
# Then: how many such layers does it take until the last frame can know something of the first one?

# %% stub
def local(T, S):
    """Own frame, and the same place one moment before and after."""
    return ...


layers_needed = ...  # for T = 6

# %% solution
def local(T, S):
    """Own frame, and the same place one moment before and after."""
    moment, place = torch.arange(T * S) // S, torch.arange(T * S) % S
    apart = (moment[:, None] - moment).abs()
    same_place = place[:, None] == place
    return (apart == 0) | ((apart == 1) & same_place)


layers_needed = 5  # for T = 6

# %% check
with check("2.4.4", "A third pattern") as it:
    pattern = local(3, 4)
    it.equal("its shape", pattern if pattern is ... else tuple(pattern.shape), (12, 12))
    it.equal("how many pairs", int(pattern.sum()), 3 * 4 * 4 + 2 * 2 * 4)
    it.true("each token sees its own frame", all(
        pattern[t * 4:t * 4 + 4, t * 4:t * 4 + 4].all() for t in range(3)))
    it.equal("what token 5 sees", pattern[5].nonzero().flatten().tolist(),
             [1, 4, 5, 6, 7, 9], hint="It is place 1 of moment 1.")
    it.true("who sees is seen", (pattern == pattern.T).all())
    reach, layers = local(6, 4), 1
    while not reach[20:, :4].any():
        reach, layers = (reach.float() @ local(6, 4).float()) > 0, layers + 1
    it.equal("layers needed for T = 6", layers_needed, layers,
             hint="One layer carries news by one moment.")

# %% hint
# Token $n$ is at moment `n // S` and place `n % S`. Compare all with all: `a[:, None] - a`.

# %% remark
# It costs $T S^2 + 2 (T - 1) S$: linear in the length of the clip. The price is depth: news travels one frame a layer. After five layers each
# place of the last frame knows the same place of the first one; only a sixth brings the other places. Along time, this is what a convolution does.

# %% exercise 2.4.5 core Without learning
# In our world one can *calculate* the motion. Write a function that gets one clip, (F, 3, H, W) float in [0, 1], and says one of the names in
# `NAMES`. It must be right for 95 of 100 clips.
#
# A way: the ground is the most frequent value, about 0.93. Where a pixel differs clearly from it, the thing is. How many pixels is it made of in each
# frame, and where is their middle?

# %% stub
def motion_of(clip):
    """The name of the motion in this clip, by arithmetic."""
    return ...


# %% solution
def motion_of(clip):
    """The name of the motion in this clip, by arithmetic."""
    thing = ((clip - clip.median()).abs().amax(1) > 0.15).float()  # (F, H, W)
    mass = thing.sum((1, 2))
    if mass.min() < 0.2 * mass.max():
        return "blinks"
    growth = mass[-1] / mass[0]
    if growth > 1.25:
        return "grows"
    if growth < 0.8:
        return "shrinks"
    grid = torch.linspace(0, 1, clip.shape[-1])
    x = (thing.sum(1) * grid).sum(1) / mass  # (F,)
    y = (thing.sum(2) * grid).sum(1) / mass
    dx, dy = x[-1] - x[0], y[-1] - y[0]
    if max(abs(dx), abs(dy)) < 0.1:
        return "stays"
    if abs(dx) > abs(dy):
        return "moves right" if dx > 0 else "moves left"
    return "moves down" if dy > 0 else "moves up"


# %% check
with check("2.4.5", "Without learning") as it:
    clips, labels = moving(300, seed=5)
    said = [motion_of(clip / 255) for clip in clips]
    if said[0] is ...:
        it.true("it says something", ...)
    it.true("it says names of motions", set(said) <= set(NAMES))
    hits = {name: [] for name in NAMES}
    for word, label in zip(said, labels.tolist()):
        hits[NAMES[label]].append(word == NAMES[label])
    worst = min(hits, key=lambda name: sum(hits[name]) / len(hits[name]))
    right = sum(map(sum, hits.values())) / 300
    it.true("95 of 100 right", right >= 0.95,
            hint=f"{100 * right:.0f} are right; the hardest for you is {worst!r}.")

# %% hint
# Blinking first: in some frames there is nearly nothing. Then the number of pixels at the end against that at the beginning. Then where the
# middle has gone. `y` grows downwards.

# %% remark
# A few lines beat some of the chapter's networks. They know what the networks had to find out: that there is one thing, that the ground is light and
# still, that nothing else changes. Put a second thing into the scene, and all of this falls apart. A learned model is worth its price where nobody can
# write these lines.

# %% exercise 2.4.6 open A shaking hand
# The model of frame differences did well in the chapter, with a camera that stands still. Now a hand holds it. Write a function that moves each
# frame of each clip by a whole number of pixels, drawn anew from −2 to 2 for each frame, in height and in width (`torch.roll`
# is good enough: what leaves on one side comes back on the other).
#
# The check trains the model on clips from a still camera, then shows it shaken ones. *How much will be left?*
#
# Then go on by yourself: train on shaken clips. Give it more steps. Or hold the picture still first: how can you find out how a frame was
# moved? Does the frame encoder of the chapter suffer as much?

# %% stub
guess_shaken = ...  # accuracy on shaken clips


def shake(videos, generator):
    """Clips (B, F, 3, H, W), each frame moved by −2 to 2 pixels."""
    return ...


# %% solution
guess_shaken = 0.3


def shake(videos, generator):
    """Clips (B, F, 3, H, W), each frame moved by −2 to 2 pixels."""
    shaken = videos.clone()
    for clip in shaken:
        for frame in clip:
            move = torch.randint(-2, 3, (2,), generator=generator).tolist()
            frame.copy_(frame.roll(move, (1, 2)))
    return shaken


# %% check
with check("2.4.6", "A shaking hand") as it:
    videos, labels = moving(1000, seed=6)
    new, truth = moving(300, seed=7)
    shaken = shake(new, torch.Generator().manual_seed(0))
    it.true("the shape stays", shaken if shaken is ... else shaken.shape == new.shape)
    moves = []
    for before, after in zip(new[0], shaken[0]):
        found = [(a, b) for a in range(-2, 3) for b in range(-2, 3)
                 if torch.equal(before.roll((a, b), (1, 2)), after)]
        moves += found[:1]
    it.true("each frame is moved by 2 pixels at most", len(moves) == 9,
            hint="Height and width are the last two axes.")
    it.true("not all frames in the same way", len(set(moves)) > 1,
            hint="Draw anew for each frame.")
    model = trained(videos, labels)
    still, moved = (accuracy(model, x, truth) for x in (new, shaken))
    it.true("with a still camera it works", still > 0.85)
    it.prediction("with a shaking hand", guess_shaken, moved)
    it.true("shaking hurts", moved < still - 0.15)

# %% hint
# Two loops, over clips and over frames, are fast enough. `frame.roll((a, b), (1, 2))` moves a frame (3, H, W).

# %% remark
# The differences of a shaken clip are full of edges that no motion made. The model has never seen such a thing, so this is a change of the
# *distribution*, as every model meets it outside. Training on shaken clips is the first thing to try: it is called data augmentation, and it
# is cheaper than a better model.
