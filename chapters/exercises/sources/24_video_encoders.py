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

from mmbook import samples
from mmbook.encoders.video import equally_spaced
from mmbook.notebook.exercises import check
from mmbook.world import MOTIONS, MovingScenes, sample_moving_scenes

torch.set_num_threads(1)
NAMES = list(MOTIONS)


def moving(count, seed, frames=9):
    """Clips (B, F, 3, H, W) uint8 of one moving object, and their motions."""
    scenes = sample_moving_scenes(count, seed, (1,), "all")
    part = MovingScenes(scenes, frames=frames, seed=seed, target="motion")
    return part.videos, torch.tensor([item["label"] for item in part])


# %% [markdown]
# The next cell is for the last exercise only. It holds the model of frame differences that the chapter's study trains, and a
# function that trains it.

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
# How many tokens does the clip become? How many values of pixels go into one token? And how many pairs of tokens does one layer compare,
# with joint and with divided attention?

# %% stub
tokens = ...
values = ...
joint_pairs = ...
divided_pairs = ...

# %% solution
T, S = 32 // 4, (112 // 14) ** 2
tokens = T * S
values = 4 * 14 * 14 * 3
joint_pairs = (T * S) ** 2
divided_pairs = T * S * (T + S)

# %% wrong A tubelet is one frame deep
tokens = 32 * 8**2
values = 14 * 14 * 3
joint_pairs = tokens**2
divided_pairs = tokens * (32 + 64)

# %% wrong Divided attention adds the two lengths instead of the sequences
T, S = 8, 64
tokens = T * S
values = 4 * 14 * 14 * 3
joint_pairs = (T * S) ** 2
divided_pairs = T**2 + S**2

# %% wrong Only one colour is read
T, S = 8, 64
tokens = T * S
values = 4 * 14 * 14
joint_pairs = (T * S) ** 2
divided_pairs = T * S * (T + S)

# %% check
with check("2.4.1", "Counting tokens") as it:
    it.equal("tokens of the clip", tokens, 512,
             hint="Moments times places. How many tubelets fit into one side?")
    it.equal("values in a tubelet", values, 2352, hint="Don't forget the colours.")
    it.equal("pairs, joint", joint_pairs, 262_144)
    it.equal("pairs, divided", divided_pairs, 36_864,
             hint="Each token attends to T moments, then to S places.")

# %% hint
# $T = 32 / 4$ moments; $S = (112 / 14)^2$ places.

# %% remark
# Divided attention compares one seventh of the pairs here. With $D = 768$ it would be the more expensive one nevertheless, because
# $T S - T - S = 440$ and $2 D = 1536$.

# %% exercise 2.4.2 predict Six motions
# Leave out growing and shrinking. The remaining six motions (left, right, up, down, blinks, stays) are equally likely.
#
# Predict the best accuracy of
#
# - a model that takes the mean over all nine frames of something that it computes of each frame;
# - *any* model that gets the first, the middle and the last frame, in order.
#
# The first of the two also gets a position vector added to what it computed of each frame, before the mean. What changes?
#
# - `"a"`: nothing
# - `"b"`: it can now tell left from right
# - `"c"`: it can now tell blinking from staying
#
# A colleague trains a video transformer with positions on her own clips. She shuffles the frames of the test clips, and the accuracy stays as it was.
# What follows?
#
# - `"a"`: on these clips her model does not need the order of the frames
# - `"b"`: her model has learned the order so well that it puts the frames right again
# - `"c"`: her model is permutation invariant

# %% stub
guess_bag = ...  # between 0 and 1
guess_three = ...
with_position = ...  # "a", "b" or "c"
shuffled = ...  # "a", "b" or "c"

# %% solution
guess_bag = 4 / 6
guess_three = 5 / 6
with_position = "a"
shuffled = "a"

# %% wrong A position that is added makes the mean know the order
guess_bag = 4 / 6
guess_three = 5 / 6
with_position = "b"
shuffled = "a"

# %% wrong Without order blinking is lost as well
guess_bag = 1 / 6
guess_three = 5 / 6
with_position = "c"
shuffled = "a"

# %% wrong A transformer sorts shuffled frames
guess_bag = 4 / 6
guess_three = 5 / 6
with_position = "a"
shuffled = "b"

# %% wrong Equal accuracy means invariance
guess_bag = 4 / 6
guess_three = 5 / 6
with_position = "a"
shuffled = "c"

# %% check
with check("2.4.2", "Six motions") as it:
    it.prediction("the mean over nine frames", guess_bag, (4 / 2 + 2) / 6)
    it.prediction("three frames in order", guess_three, (4 + 2 / 2) / 6)
    it.choice("with a position", with_position, "a", {
        "a": "The positions add up to one and the same vector for all clips.",
        "b": "The mean of g + e is the mean of g plus the mean of e: a constant.",
        "c": "That it could tell before: some of the frames are empty.",
    })
    it.choice("shuffled frames", shuffled, "a", {
        "a": "Perhaps the court or the stove in a single frame gives the answer.",
        "b": "Nothing in its training asks it to; shuffled clips are new to it.",
        "c": "It has positions, so its features may change; its answers need not.",
    })

# %% hint
# Which motions have the same frames in another order? And which look the same at $0, \tfrac12, 1$?

# %% remark
# The two models fail in different places. The mean loses the four directions and keeps blinking; the three frames keep the directions and
# lose blinking. Which model is the better one depends on the question.

# %% exercise 2.4.3 core Which frames of the film
# A model wants `count` frames of each clip, whatever its length. Write two functions that give their indices.
#
# - `spaced(frames, count)`: the first index is 0, the last is the clip's last, and the others lie between at equal distances, rounded to whole
#   frames. A clip that is too short shows some of its frames more than once.
# - `by_change(video, count)`: equal steps of *change* instead of time. The change between two neighbouring frames is the mean of
#   $|x_{t+1} - x_t|$; added up from the start, it is 0 at the first frame and largest at the last. Divide this range into
#   equal steps and take for each the frame whose sum is nearest.
#
# The second is tried on the real film of the chapter, which is (F, 3, H, W) uint8.

# %% stub
def spaced(frames, count):
    """The indices of ``count`` frames of a clip, equally spaced."""
    return ...


def by_change(video, count):
    """The indices of ``count`` frames of (F, 3, H, W), equal in change."""
    return ...


# %% solution
def spaced(frames, count):
    """The indices of ``count`` frames of a clip, equally spaced."""
    steps = torch.linspace(0, 1, count)
    return (steps * (frames - 1)).round().long().tolist()


def by_change(video, count):
    """The indices of ``count`` frames of (F, 3, H, W), equal in change."""
    change = video.float().diff(dim=0).abs().mean((1, 2, 3))
    reached = torch.cat([torch.zeros(1), change.cumsum(0)])
    wanted = torch.linspace(0, 1, count) * reached[-1]
    return (wanted[:, None] - reached).abs().argmin(1).tolist()


# %% wrong Steps go up to the number of frames
def spaced(frames, count):
    steps = torch.linspace(0, 1, count) * frames
    return steps.round().long().clamp(max=frames - 1).tolist()


def by_change(video, count):
    change = video.float().diff(dim=0).abs().mean((1, 2, 3))
    reached = torch.cat([torch.zeros(1), change.cumsum(0)])
    wanted = torch.linspace(0, 1, count) * reached[-1]
    return (wanted[:, None] - reached).abs().argmin(1).tolist()


# %% wrong Bytes may be subtracted as they are
def spaced(frames, count):
    steps = torch.linspace(0, 1, count)
    return (steps * (frames - 1)).round().long().tolist()


def by_change(video, count):
    change = (video[1:] - video[:-1]).float().mean((1, 2, 3))
    reached = torch.cat([torch.zeros(1), change.cumsum(0)])
    wanted = torch.linspace(0, 1, count) * reached[-1]
    return (wanted[:, None] - reached).abs().argmin(1).tolist()


# %% wrong The frames with the largest change are taken
def spaced(frames, count):
    steps = torch.linspace(0, 1, count)
    return (steps * (frames - 1)).round().long().tolist()


def by_change(video, count):
    change = video.float().diff(dim=0).abs().mean((1, 2, 3))
    return sorted((change.topk(count).indices + 1).tolist())


# %% wrong Rises and falls of brightness cancel
def spaced(frames, count):
    steps = torch.linspace(0, 1, count)
    return (steps * (frames - 1)).round().long().tolist()


def by_change(video, count):
    change = video.float().diff(dim=0).mean((1, 2, 3)).abs()
    reached = torch.cat([torch.zeros(1), change.cumsum(0)])
    wanted = torch.linspace(0, 1, count) * reached[-1]
    return (wanted[:, None] - reached).abs().argmin(1).tolist()


# %% check
with check("2.4.3", "Which frames of the film") as it:
    it.equal("5 of 9", spaced(9, 5), [0, 2, 4, 6, 8])
    it.equal("3 of 100", spaced(100, 3)[::2], [0, 99],
             hint="The last frame has the index frames − 1.")
    it.equal("4 of 2", spaced(2, 4), [0, 0, 1, 1],
             hint="From 0 to 1 in equal steps, times the last index, rounded.")
    same = True
    for frames in range(1, 40):
        clip = torch.arange(float(frames)).view(1, -1, 1, 1, 1)
        clip = clip.expand(1, frames, 3, 2, 2)
        taken = equally_spaced(clip, None, 8)[0, :, 0, 0, 0]
        same = same and taken.tolist() == spaced(frames, 8)
    it.true("the same as the package, for all lengths up to 39", same)
    waits = torch.tensor([0, 0, 0, 0, 0, 90, 60, 90, 200], dtype=torch.uint8)
    waits = waits.view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    it.equal("a clip that waits, then changes", by_change(waits, 3), [0, 6, 8],
             hint="The sums are 0, 0, 0, 0, 0, 90, 120, 150, 260.")
    film, rate = samples.film()
    taken = it.answer(by_change(film, 6))
    it.equal("the ends of the film", [taken[0], taken[-1]], [0, 41])
    total = film.float().diff(dim=0).abs().mean((1, 2, 3)).cumsum(0)
    total = torch.cat([torch.zeros(1), total])
    shares = total[taken].diff() / total[-1]
    it.true("each step of the film has a similar share of the change",
            len(taken) == 6 and shares.min() > 0.15 and shares.max() < 0.25,
            hint="Convert the bytes to float before you subtract.")

# %% hint
# `torch.linspace(0, 1, count)` are equal steps from 0 to 1, and `cumsum` adds up. For the nearest frame, compare all
# wanted sums with all that are reached: `a[:, None] - b`. In uint8, 3 − 5 is 254.

# %% remark
# Equal spacing takes the *whole* clip and gives up on what is fast; neighbouring frames do the opposite. Equal change spends frames where
# something happens: in this film most of them fall into the seconds in which the rabbit climbs out. A shaking camera would
# deceive it, because then everything changes all the time.

# %% exercise 2.4.4 core A third pattern
# Make a pattern of attention that is local in time: a token sees its own frame, all of it, and the *same place* in the frame before and in the
# frame after. Give it as a matrix (T · S, T · S) of bools, tokens moment by moment; a row is a token that attends.
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


# %% wrong Neighbouring frames are attended to as a whole
def local(T, S):
    moment = torch.arange(T * S) // S
    return (moment[:, None] - moment).abs() <= 1


layers_needed = 5


# %% wrong Tokens stand place by place
def local(T, S):
    moment, place = torch.arange(T * S) % T, torch.arange(T * S) // T
    apart = (moment[:, None] - moment).abs()
    return (apart == 0) | ((apart == 1) & (place[:, None] == place))


layers_needed = 5


# %% wrong Only the past is attended to
def local(T, S):
    moment, place = torch.arange(T * S) // S, torch.arange(T * S) % S
    apart = moment[:, None] - moment
    return (apart == 0) | ((apart == 1) & (place[:, None] == place))


layers_needed = 5


# %% wrong One layer suffices, since all frames are in one sequence
def local(T, S):
    moment, place = torch.arange(T * S) // S, torch.arange(T * S) % S
    apart = (moment[:, None] - moment).abs()
    return (apart == 0) | ((apart == 1) & (place[:, None] == place))


layers_needed = 1

# %% check
with check("2.4.4", "A third pattern") as it:
    pattern = local(3, 4)
    it.equal("its shape", pattern if pattern is ... else tuple(pattern.shape), (12, 12))
    it.equal("how many pairs", int(pattern.sum()), 3 * 4 * 4 + 2 * 2 * 4)
    it.true("each token attends to its own frame", all(
        pattern[t * 4:t * 4 + 4, t * 4:t * 4 + 4].all() for t in range(3)))
    it.equal("what token 5 attends to", pattern[5].nonzero().flatten().tolist(),
             [1, 4, 5, 6, 7, 9], hint="It is place 1 of moment 1.")
    it.true("the pattern is symmetric", (pattern == pattern.T).all())
    reach, layers = local(6, 4), 1
    while not reach[20:, :4].any():
        reach, layers = (reach.float() @ local(6, 4).float()) > 0, layers + 1
    it.equal("layers needed for T = 6", layers_needed, layers,
             hint="One layer carries information by one moment.")

# %% hint
# Token $n$ is at moment `n // S` and place `n % S`. Compare all with all: `a[:, None] - a`.

# %% remark
# It costs $T S^2 + 2 (T - 1) S$, which is linear in the length of the clip. The price is depth: information travels one frame per layer. Along time, a
# convolution has the same property.

# %% exercise 2.4.5 core Without learning
# In our world one can *calculate* the motion. Write a function that gets one clip, (F, 3, H, W) float in [0, 1], and says one of the names in
# `NAMES`. It must be right for 95 of 100 clips.
#
# A way: the ground is the most frequent value, about 0.93. Pixels that differ clearly from it belong to the object. How many are there in each
# frame, and where is their centre?

# %% stub
def motion_of(clip):
    """The name of the motion in this clip, by arithmetic."""
    return ...


# %% solution
def motion_of(clip):
    """The name of the motion in this clip, by arithmetic."""
    found = ((clip - clip.median()).abs().amax(1) > 0.15).float()  # (F, H, W)
    mass = found.sum((1, 2))
    if mass.min() < 0.2 * mass.max():
        return "blinks"
    growth = mass[-1] / mass[0]
    if growth > 1.25:
        return "grows"
    if growth < 0.8:
        return "shrinks"
    grid = torch.linspace(0, 1, clip.shape[-1])
    x = (found.sum(1) * grid).sum(1) / mass  # (F,)
    y = (found.sum(2) * grid).sum(1) / mass
    dx, dy = x[-1] - x[0], y[-1] - y[0]
    if max(abs(dx), abs(dy)) < 0.1:
        return "stays"
    if abs(dx) > abs(dy):
        return "moves right" if dx > 0 else "moves left"
    return "moves down" if dy > 0 else "moves up"


# %% wrong The vertical axis of a picture points up
def motion_of(clip):
    """The name of the motion in this clip, by arithmetic."""
    found = ((clip - clip.median()).abs().amax(1) > 0.15).float()  # (F, H, W)
    mass = found.sum((1, 2))
    if mass.min() < 0.2 * mass.max():
        return "blinks"
    growth = mass[-1] / mass[0]
    if growth > 1.25:
        return "grows"
    if growth < 0.8:
        return "shrinks"
    grid = torch.linspace(0, 1, clip.shape[-1])
    x = (found.sum(1) * grid).sum(1) / mass  # (F,)
    y = (found.sum(2) * grid).sum(1) / mass
    dx, dy = x[-1] - x[0], y[-1] - y[0]
    if max(abs(dx), abs(dy)) < 0.1:
        return "stays"
    if abs(dx) > abs(dy):
        return "moves right" if dx > 0 else "moves left"
    return "moves up" if dy > 0 else "moves down"


# %% wrong One frame shows where an object goes
def motion_of(clip):
    """The name of the motion in this clip, by arithmetic."""
    found = ((clip - clip.median()).abs().amax(1) > 0.15).float()  # (F, H, W)
    mass = found.sum((1, 2))
    if mass.min() < 0.2 * mass.max():
        return "blinks"
    growth = mass[-1] / mass[0]
    if growth > 1.25:
        return "grows"
    if growth < 0.8:
        return "shrinks"
    grid = torch.linspace(0, 1, clip.shape[-1])
    x = (found.sum(1) * grid).sum(1) / mass  # (F,)
    y = (found.sum(2) * grid).sum(1) / mass
    middle = len(x) // 2
    dx, dy = 2 * (x[middle] - 0.5), 2 * (y[middle] - 0.5)
    if max(abs(dx), abs(dy)) < 0.1:
        return "stays"
    if abs(dx) > abs(dy):
        return "moves right" if dx > 0 else "moves left"
    return "moves down" if dy > 0 else "moves up"


# %% wrong The middle frame shows whether something blinks
def motion_of(clip):
    """The name of the motion in this clip, by arithmetic."""
    found = ((clip - clip.median()).abs().amax(1) > 0.15).float()  # (F, H, W)
    mass = found.sum((1, 2))
    if mass[len(mass) // 2] < 0.2 * mass.max():
        return "blinks"
    growth = mass[-1] / mass[0]
    if growth > 1.25:
        return "grows"
    if growth < 0.8:
        return "shrinks"
    grid = torch.linspace(0, 1, clip.shape[-1])
    x = (found.sum(1) * grid).sum(1) / mass  # (F,)
    y = (found.sum(2) * grid).sum(1) / mass
    dx, dy = x[-1] - x[0], y[-1] - y[0]
    if max(abs(dx), abs(dy)) < 0.1:
        return "stays"
    if abs(dx) > abs(dy):
        return "moves right" if dx > 0 else "moves left"
    return "moves down" if dy > 0 else "moves up"


# %% wrong The order of the frames does not matter for a change of size
def motion_of(clip):
    """The name of the motion in this clip, by arithmetic."""
    found = ((clip - clip.median()).abs().amax(1) > 0.15).float()  # (F, H, W)
    mass = found.sum((1, 2))
    if mass.min() < 0.2 * mass.max():
        return "blinks"
    growth = mass.max() / mass.min()
    if growth > 1.25:
        return "grows"
    if growth < 0.8:
        return "shrinks"
    grid = torch.linspace(0, 1, clip.shape[-1])
    x = (found.sum(1) * grid).sum(1) / mass  # (F,)
    y = (found.sum(2) * grid).sum(1) / mass
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
# Blinking first: some frames are nearly empty. Then compare the number of pixels at the end with that at the beginning. Then look where the
# centre has gone. `y` grows downwards.

# %% remark
# These lines contain what the networks of the chapter had to find out: that there is one object, that the ground is light and
# still, and that nothing else changes. A second object in the scene would break them. Learning pays where nobody can write such lines.

# %% exercise 2.4.6 open A shaking hand
# The model of frame differences did well in the chapter, with a camera that stands still. Now somebody holds the camera in the hand. Write a function that moves each
# frame of each clip by a whole number of pixels, drawn anew from −2 to 2 for each frame, in height and in width (`torch.roll`
# is good enough: what leaves on one side comes back on the other).
#
# The check trains the model on clips from a still camera, then shows it shaken ones. *How much will be left?*
#
# Then go on by yourself: train on shaken clips, or align the frames first. How can you find out how a frame was
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


# %% wrong A clip is moved as a whole
guess_shaken = 0.9


def shake(videos, generator):
    shaken = videos.clone()
    for clip in shaken:
        move = torch.randint(-2, 3, (2,), generator=generator).tolist()
        clip.copy_(clip.roll(move, (2, 3)))
    return shaken


# %% wrong The first two axes of a frame are height and width
guess_shaken = 0.3


def shake(videos, generator):
    shaken = videos.clone()
    for clip in shaken:
        for frame in clip:
            move = torch.randint(-2, 3, (2,), generator=generator).tolist()
            frame.copy_(frame.roll(move, (0, 1)))
    return shaken


# %% wrong Noise on the pixels is what a shaking camera does
guess_shaken = 0.9


def shake(videos, generator):
    noise = torch.randint(-2, 3, videos.shape, generator=generator)
    return (videos + noise).clamp(0, 255).byte()


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
# The differences of a shaken clip are full of edges that no motion of an object made, and the model has never seen such inputs. This is a change of the
# *distribution*, as models meet it outside their training data. Training on shaken clips is the first step to try: it is data augmentation.
