# %% [markdown]
# # Exercises 2.6 Multimodal convolution and Transformer-XL
#
# To the chapter: [2.6 Multimodal convolution and
# Transformer-XL](../2-concepts/26_convolution_and_transformer_xl.ipynb).
#
# Replace each `...` and run the cell. The cell below it says at once what is right. Nothing here
# takes longer than a few seconds.

# %% shared
import torch
from torch import nn
from torch.nn import functional as F

from mmbook import samples
from mmbook.encoders.spectrogram import log_mel
from mmbook.fusion import (
    MultimodalConvolution,
    TransformerXL,
    transformer_xl,
)
from mmbook.notebook.exercises import check
from mmbook.tokens import Tokens

torch.set_num_threads(1)
torch.manual_seed(0)
voice = samples.sentences()[1]["audio"]  # a recorded sentence
mel = log_mel(voice[None], mels=8)[0].mT.double()  # (1, T, 8), 10 ms each


def in_segments(model, x, S):
    """Read x (B, N, 8) in segments of S tokens, with the memory."""
    memory, out = None, []
    for part in x.split(S, dim=1):
        fused, memory = model.stream({"audio": Tokens(part)}, memory)
        out.append(fused.values)
    return torch.cat(out, 1)


@torch.no_grad()
def measured_reach(layers, S, M, length=40):
    """How many frames before the last segment does that segment depend on?"""
    model = TransformerXL({"audio": 8}, 16, layers, memory=M).double()
    x = mel[:, :length]
    bumps = torch.eye(length - S, length)[..., None].double()
    rows = torch.cat([x, x + bumps])  # row 0 as it is, row 1 + j: frame j
    last = in_segments(model, rows, S)[:, -S:].flatten(1)
    moved = (last[1:] - last[0]).abs().amax(1) > 1e-12
    return length - S - int(moved.int().argmax()) if moved.any() else 0


# %% exercise 2.6.1 warm-up Layers for a sentence
# A multimodal convolution reads a sentence of $L$ words with windows of $k$ words. How many layers does it need, at
# least, so that *every* word can see *every* other one? Write the function for both kinds of window: with the word in
# the middle, and causal (there: so that the last word sees the first).
#
# *Guess first: 40 words, windows of 5?*

# %% stub
def layers_needed(L, k, causal=False):
    """The fewest layers after which the whole sentence is seen; k > 1."""
    return ...


# %% solution
def layers_needed(L, k, causal=False):
    """The fewest layers after which the whole sentence is seen; k > 1."""
    a_layer = k - 1 if causal else (k - 1) // 2
    return -(-(L - 1) // a_layer)  # rounded up


# %% wrong Each layer sees k new words
def layers_needed(L, k, causal=False):
    return -(-L // k)


# %% wrong It is enough if the word in the middle sees all
def layers_needed(L, k, causal=False):
    a_layer = k - 1 if causal else (k - 1) // 2
    return -(-(L - 1) // 2 // a_layer)


# %% wrong A causal window reaches no further back than one with the word in the middle
def layers_needed(L, k, causal=False):
    return -(-(L - 1) // ((k - 1) // 2))


# %% wrong A part of a layer is no layer
def layers_needed(L, k, causal=False):
    return (L - 1) // (k - 1 if causal else (k - 1) // 2)


# %% check
def sees_all(L, k, layers, causal):
    model = MultimodalConvolution({"text": 4}, 8, layers, k, causal).double()
    x = torch.randn(1, L, 4).double().requires_grad_()
    model({"text": Tokens(x)}).values[0, -1].pow(3).sum().backward()
    return bool((x.grad[0, 0] != 0).any())


with check("2.6.1", "Layers for a sentence") as it:
    it.equal("40 words, windows of 5", layers_needed(40, 5), 20,
             hint="From the first word to the last it is L - 1 steps.")
    it.equal("40 words, causal windows of 5", layers_needed(40, 5, True), 10)
    for L, k, causal in ((12, 3, False), (12, 7, False), (12, 4, True)):
        n = layers_needed(L, k, causal)
        it.true(f"L = {L}, k = {k}: {n} layers are enough",
                sees_all(L, k, n, causal))
        it.true("and one less is not", n == 1 or
                not sees_all(L, k, n - 1, causal))

# %% hint
# How many words further does one layer see? Divide the longest way by it, and round up. In Python `-(-a // b)` rounds up.

# %% remark
# Twenty layers for forty words. An attention layer needs one. This is the trade: a convolution pays with layers for what
# it saves in each of them.

# %% exercise 2.6.2 predict A memory that is shorter than a segment
# In the chapter the memory held whole segments. Now a recorded sentence is read in segments of $S = 8$ frames of 10 ms, with a
# memory of $M = 2$ frames only. How far back does the last segment reach with 1, 2 and 3 layers? Write down three guesses; any is
# accepted, and the check measures. Then write the rule for $0 < M \le S$.
#
# *A picture helps: which frames does the first frame of a segment see? In which segment do these lie, and what do
# they see themselves?*

# %% stub
guesses = [..., ..., ...]  # for 1, 2, 3 layers, with S = 8 and M = 2


def reach(layers, S, M):
    """The rule, for 0 < M <= S."""
    return ...


# %% solution
guesses = [2, 10, 18]  # for 1, 2, 3 layers, with S = 8 and M = 2


def reach(layers, S, M):
    """The rule, for 0 < M <= S."""
    return (layers - 1) * S + M


# %% wrong The law of whole segments holds for every memory
guesses = [2, 4, 6]


def reach(layers, S, M):
    return layers * M


# %% wrong Each layer adds a segment and a memory
guesses = [10, 20, 30]


def reach(layers, S, M):
    return layers * (S + M)


# %% wrong Each layer reaches one segment back, however long the memory is
guesses = [8, 16, 24]


def reach(layers, S, M):
    return layers * S


# %% wrong A memory that is shorter than a segment cannot pass anything on
guesses = [2, 2, 2]


def reach(layers, S, M):
    return M if M < S else layers * M


# %% check
with check("2.6.2", "A memory that is shorter than a segment") as it:
    for layers, guess in zip((1, 2, 3), guesses):
        it.prediction(f"{layers} layers", guess, measured_reach(layers, 8, 2))
    for layers, S, M in ((1, 4, 3), (2, 4, 1), (3, 4, 4), (3, 5, 2)):
        it.equal(f"layers {layers}, S = {S}, M = {M}", reach(layers, S, M),
                 measured_reach(layers, S, M),
                 hint="A state in memory has seen its own segment's start.")

# %% hint
# The states in a memory of two are those of the last two frames of the segment before. These have seen their whole segment
# so far, and the memory before *it*.

# %% remark
# Layers times memory would have said 2, 4, 6. A short memory reaches further than that, because a state at the end of
# a segment has seen the whole segment. But the path is narrow: everything from before must pass through two
# vectors.

# %% exercise 2.6.3 core The shift by index
# Relative attention computes its scores by distance and needs them by key; `shift` moves them with a trick. Do the same the plain way. `scores` is $(N, K)$; column $c$ belongs to the
# distance $K - 1 - c$. Return `by_key`, $(N, K)$, where entry $(i, j)$ is the score of query $i$ for the distance
# to key $j$. The queries are the last $N$ of the $K$ tokens. Entries of the future must be zero.

# %% stub
def by_key(scores):
    """Scores by distance (N, K) → by key (N, K), zero in the future."""
    N, K = scores.shape
    distance = ...  # (N, K): how far key j is before query i
    return ...


# %% solution
def by_key(scores):
    """Scores by distance (N, K) → by key (N, K), zero in the future."""
    N, K = scores.shape
    i, j = torch.arange(N)[:, None], torch.arange(K)[None]
    distance = (K - N + i) - j  # query i is token K - N + i
    column = (K - 1 - distance).clamp(max=K - 1)
    return scores.gather(1, column).masked_fill(distance < 0, 0)


# %% wrong Query i is token i, as if there were no memory
def by_key(scores):
    N, K = scores.shape
    distance = torch.arange(N)[:, None] - torch.arange(K)[None]
    column = (K - 1 - distance).clamp(max=K - 1)
    return scores.gather(1, column).masked_fill(distance < 0, 0)


# %% wrong Of the padded numbers the last row is dropped, not the first
def by_key(scores):
    N, K = scores.shape
    padded = F.pad(scores, (1, 0)).reshape(K + 1, N)
    return padded[:-1].reshape(N, K).tril(K - N)


# %% wrong Column c belongs to distance c
def by_key(scores):
    N, K = scores.shape
    i, j = torch.arange(N)[:, None], torch.arange(K)[None]
    distance = (K - N + i) - j
    return scores.gather(1, distance.clamp(min=0)).masked_fill(distance < 0, 0)


# %% wrong It is enough to hide the future
def by_key(scores):
    N, K = scores.shape
    return scores.tril(K - N)


# %% check
with check("2.6.3", "The shift by index") as it:
    for N, K in ((1, 1), (3, 3), (1, 4), (3, 7)):
        scores = torch.randn(N, K)
        got = by_key(scores)
        it.true(f"N = {N}, K = {K}: the right shape",
                got if got is ... else got.shape == (N, K))
        it.true("equal to shift, zero in the future", torch.equal(
            got, transformer_xl.shift(scores).tril(K - N)),
            hint="Which token of the K is query i?")

# %% hint
# Query $i$ is token $K - N + i$, so key $j$ has the distance $K - N + i - j$. This distance is in column
# $K - 1 - \text{distance}$ of its row: `scores.gather(1, column)`.

# %% remark
# The trick of `shift` puts a column of zeros in front, reads the same numbers in rows of another length and drops the *first* row; it copies memory
# once and needs no table of indices. If the *last* row is dropped instead, every shape is right and the model trains, but each query gets the scores of the query
# before it. Only a comparison of values, such as this one, finds the mistake.

# %% exercise 2.6.4 core Segments in one pass
# Reading in segments with a memory is the same as *one* long pass in which each token may attend to fewer tokens. To
# which? Write `allowed(N, S, M)`, an $(N, N)$ boolean matrix: may token $i$ attend to token $j$? The check uses it in place of the
# model's mask and compares with the segments, for three layers and twelve frames of a recorded sentence.

# %% stub
def allowed(N, S, M):
    """Row i, column j: may token i attend to token j?"""
    return ...


# %% solution
def allowed(N, S, M):
    """Row i, column j: may token i attend to token j?"""
    i, j = torch.arange(N)[:, None], torch.arange(N)[None]
    start = i // S * S  # of the segment of i
    return (j <= i) & (j >= start - M)


# %% wrong The memory slides along with each token
def allowed(N, S, M):
    i, j = torch.arange(N)[:, None], torch.arange(N)[None]
    return (j <= i) & (j >= i - M)


# %% wrong The memory holds whole segments
def allowed(N, S, M):
    i, j = torch.arange(N)[:, None], torch.arange(N)[None]
    return (j <= i) & (j // S >= i // S - -(-M // S))


# %% wrong In one pass each token attends to its whole past
def allowed(N, S, M):
    return torch.ones(N, N).tril().bool()


# %% wrong A token attends to its whole segment
def allowed(N, S, M):
    i, j = torch.arange(N)[:, None], torch.arange(N)[None]
    start = i // S * S
    return (j < start + S) & (j >= start - M)


# %% check
@torch.no_grad()
def in_one_pass(model, x, mask):
    original = transformer_xl.may_look_back
    transformer_xl.may_look_back = lambda *_: mask[None, None]
    try:
        return model({"audio": Tokens(x)}).values
    finally:
        transformer_xl.may_look_back = original


with check("2.6.4", "Segments in one pass") as it:
    x = mel[:, 100:112]
    for S, M in ((4, 4), (4, 0), (3, 6), (4, 2)):
        model = TransformerXL({"audio": 8}, 16, 3, memory=M).double()
        mask = allowed(12, S, M)
        it.true(f"S = {S}, M = {M}: no token looks ahead",
                mask if mask is ... else not mask.triu(1).any())
        gap = in_one_pass(model, x, mask) - in_segments(model, x, S)
        it.true("equal to segments, to 12 digits",
                gap.abs().max().item() < 1e-12,
                hint="All tokens of a segment have the same first key.")

# %% hint
# Token $i$ lies in the segment that starts at `i // S * S`. The memory holds the $M$ tokens before this start, for all tokens
# of the segment alike.

# %% remark
# The outputs are equal in every layer. The gradients are not: in one pass the gradient flows through everything that may be
# attended to, and the stop gradient is gone. The price is that all states must be stored until the backward pass.

# %% exercise 2.6.5 open A window that knows where
# The multimodal convolution sees the other modality as one mean vector. It knows *what* was in a film, not
# *when*. Frames and words of a film are aligned, so one can do better: put into the window of words $i - r, \dots, i + r$ the
# *frames* $i - r, \dots, i + r$, instead of the mean of all.
#
# Write such a layer. Words and frames come as `(B, N, D)`, one frame for each word. Then think further: could it answer
# "colour?" in the film of the chapter if the question follows "look!" at once? How
# many layers must it have to answer six moments later? What has to be done if there are three words for a frame?

# %% stub
class AlignedWindow(nn.Module):
    """A gated window over words and, at the same places, frames."""

    def __init__(self, D, k=3):
        super().__init__()
        self.convolution = nn.Conv1d(..., ..., k, padding=k // 2)

    def forward(self, words, frames):
        """(B, N, D) and (B, N, D) → (B, N, D)"""
        return ...


# %% solution
class AlignedWindow(nn.Module):
    """A gated window over words and, at the same places, frames."""

    def __init__(self, D, k=3):
        super().__init__()
        self.convolution = nn.Conv1d(2 * D, 2 * D, k, padding=k // 2)

    def forward(self, words, frames):
        """(B, N, D) and (B, N, D) → (B, N, D)"""
        both = torch.cat([words, frames], -1)  # (B, N, 2D): more channels
        seen = self.convolution(both.mT).mT  # (B, N, 2D): a and g
        return words + F.glu(seen, -1)


# %% wrong Each window gets the mean of all frames
class AlignedWindow(nn.Module):
    def __init__(self, D, k=3):
        super().__init__()
        self.convolution = nn.Conv1d(2 * D, 2 * D, k, padding=k // 2)

    def forward(self, words, frames):
        mean = frames.mean(1, keepdim=True).expand_as(words)
        seen = self.convolution(torch.cat([words, mean], -1).mT).mT
        return words + F.glu(seen, -1)


# %% wrong A sum of words and frames is enough
class AlignedWindow(nn.Module):
    def __init__(self, D, k=3):
        super().__init__()
        self.convolution = nn.Conv1d(2 * D, D, k, padding=k // 2)

    def forward(self, words, frames):
        both = torch.cat([words, frames], -1)
        return words + self.convolution(both.mT).mT


# %% wrong A window holds only the frame of its own place
class AlignedWindow(nn.Module):
    def __init__(self, D, k=3):
        super().__init__()
        self.convolution = nn.Conv1d(D, 2 * D, k, padding=k // 2)
        self.others = nn.Linear(D, 2 * D)

    def forward(self, words, frames):
        seen = self.convolution(words.mT).mT + self.others(frames)
        return words + F.glu(seen, -1)


# %% check
with check("2.6.5", "A window that knows where") as it:
    try:
        layer = AlignedWindow(8, k=3)
    except TypeError:
        it.true("the layer can be made", ...)
    words, frames = (torch.randn(2, 9, 8, requires_grad=True) for _ in "ab")
    out = layer(words, frames)
    it.true("a token for each word", out if out is ... else
            out.shape == words.shape)
    out[:, 4].pow(2).sum().backward()
    for name, x in (("words", words), ("frames", frames)):
        seen = (x.grad[0] != 0).any(-1).int().tolist()
        it.equal(f"{name} that token 4 depends on", seen,
                 [0, 0, 0, 1, 1, 1, 0, 0, 0])
    quiet = layer(words, torch.zeros_like(frames)) - layer(words, frames)
    doubled = (layer(words, torch.zeros_like(frames))
               - layer(words, 2 * frames))
    it.true("gated: twice the frame is not twice the effect",
            not torch.allclose(doubled, 2 * quiet, atol=1e-4),
            hint="Make twice D channels, and let F.glu close the gate.")

# %% hint
# "More channels": put words and frames behind each other in the last axis before the convolution, which then goes from $2D$ to
# $2D$ channels. `nn.Conv1d` wants the channels in the middle: `x.mT` turns $(B, N, D)$ into $(B, D, N)$.

# %% remark
# This is the older sense of "multimodal convolution": modalities as channels of one signal, as with the three colours of a
# picture, or a picture and a map of depths. It needs an alignment. Where there is one, it is cheap and exact; between a picture and a
# sentence there is none, and that is the reason for the mean vector, and for attention. In the film of the chapter a window must reach "look!": one layer of $k = 3$ reaches one moment back, and six
# layers reach six. If three words go with a frame, repeat the frame for each of them.

# %% exercise 2.6.6 core The positions of a real model
# Qwen2-VL gives each token three positions: time, height and width. Words count on, with three equal positions. All tokens of a picture have the same time, the
# first number that is free; their height counts the rows and their width the columns, both from that same number on. The words behind the picture go on with the
# number after the largest one in it. Return the positions, $(3, N)$, of `before` words, a picture of `rows` × `columns` tokens, and
# `after` words. The check compares with the code of `transformers`.

# %% stub
def positions(before, rows, columns, after):
    """Time, height and width of all tokens, (3, N)."""
    return ...


# %% solution
def positions(before, rows, columns, after):
    """Time, height and width of all tokens, (3, N)."""
    height = torch.arange(rows).repeat_interleave(columns)
    width = torch.arange(columns).repeat(rows)
    picture = torch.stack([torch.zeros_like(height), height, width])
    end = before + max(rows, columns)
    first, last = torch.arange(before), end + torch.arange(after)
    return torch.cat([first.expand(3, -1), before + picture,
                      last.expand(3, -1)], 1)


# %% wrong The words behind a picture count its tokens
def positions(before, rows, columns, after):
    height = torch.arange(rows).repeat_interleave(columns)
    width = torch.arange(columns).repeat(rows)
    picture = torch.stack([torch.zeros_like(height), height, width])
    last = before + rows * columns + torch.arange(after)
    return torch.cat([torch.arange(before).expand(3, -1), before + picture,
                      last.expand(3, -1)], 1)


# %% wrong Rows and columns count from zero in each picture
def positions(before, rows, columns, after):
    height = torch.arange(rows).repeat_interleave(columns)
    width = torch.arange(columns).repeat(rows)
    picture = torch.stack([torch.full_like(height, before), height, width])
    last = before + max(rows, columns) + torch.arange(after)
    return torch.cat([torch.arange(before).expand(3, -1), picture,
                      last.expand(3, -1)], 1)


# %% wrong Each token of a picture has a time of its own
def positions(before, rows, columns, after):
    height = torch.arange(rows).repeat_interleave(columns)
    width = torch.arange(columns).repeat(rows)
    time = torch.arange(rows * columns)
    picture = before + torch.stack([time, height, width])
    last = before + rows * columns + torch.arange(after)
    return torch.cat([torch.arange(before).expand(3, -1), picture,
                      last.expand(3, -1)], 1)


# %% wrong Width counts the rows
def positions(before, rows, columns, after):
    width = torch.arange(rows).repeat_interleave(columns)
    height = torch.arange(columns).repeat(rows)
    picture = torch.stack([torch.zeros_like(height), height, width])
    last = before + max(rows, columns) + torch.arange(after)
    return torch.cat([torch.arange(before).expand(3, -1), before + picture,
                      last.expand(3, -1)], 1)


# %% check
def of_qwen(before, rows, columns, after):
    """What transformers computes; the vision encoder merges 2 × 2 patches."""
    from inspect import signature

    from transformers import Qwen2VLConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

    config = Qwen2VLConfig(
        text_config={"hidden_size": 8, "num_hidden_layers": 1,
                     "num_attention_heads": 1, "num_key_value_heads": 1},
        vision_config={"depth": 1, "embed_dim": 8, "num_heads": 1})
    with torch.device("meta"):  # its code without its parameters
        model = Qwen2VLModel(config)
    inside = [config.image_token_id] * (rows * columns)
    ids = torch.tensor([[7] * (before - 1) + [config.vision_start_token_id]
                        + inside + [7] * after])
    given = {"image_grid_thw": torch.tensor([[1, 2 * rows, 2 * columns]]),
             "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in signature(model.get_rope_index).parameters:
        given["mm_token_type_ids"] = (ids == inside[0]).int()
    return model.get_rope_index(ids, **given)[0][:, 0]


with check("2.6.6", "The positions of a real model") as it:
    for shape in ((1, 1, 1, 1), (2, 2, 3, 2), (4, 5, 2, 3), (3, 7, 7, 1)):
        got = positions(*shape)
        it.true("{} words, {} × {} tokens, {} words".format(*shape),
                got if got is ... else torch.equal(got, of_qwen(*shape)),
                hint="Where does the picture begin, and where do the "
                     "words go on?")

# %% hint
# Make heights and widths of the picture's tokens from zero on, with `repeat_interleave` and `repeat`; add `before` to all three rows. A picture of
# $r \times c$ tokens takes as many numbers as its longer side.

# %% remark
# A photograph of 49 tokens costs only seven positions. So positions grow more slowly than the number of tokens, and words on both sides of a picture stay near each other.
