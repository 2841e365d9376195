"""Looking inside (可解释性): where a model looks, and what it leans on, word by word.

:func:`parts` tells what flows through a model (chapter 2.9).

Two questions that are easily taken for one. *Attention* says where the decoder looked
while it chose a word; *occlusion* says what happens to that word if a place of the
picture is painted over. The first is a look inside, the second an experiment. Chapter
5.2 puts them side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .data.batching import IGNORED
from .heads import GenerationHead
from .tokens import Tokens


class Part(NamedTuple):
    """A part of a model while it ran: its name, its class, what it took and gave.

    ``given`` and ``out`` are shapes by name: of the modality, or of the argument.
    """

    name: str
    kind: str
    parameters: int
    given: dict[str, tuple]
    out: dict[str, tuple]


@torch.no_grad()
def parts(model: nn.Module, batch: dict[str, Tensor]) -> list[Part]:
    """Each encoder, the fusion and the head, in the order in which they ran.

    The model runs once on the batch, so the shapes are those that really flowed. What
    did not run, because its modality is missing, is not in the list.

    Parameters
    ----------
    model : a :class:`mmbook.models.MultimodalModel`.
    batch : as the model takes it.
    """
    names = {f"{name} encoder": part for name, part in model.encoders.items()}
    names |= {"fusion": model.fusion, "head": model.head}
    seen, handles = [], []
    for name, module in names.items():
        if module is not None:
            hook = _noting(name, seen)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
    try:
        with _evaluating(model):
            model(**batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _noting(name: str, seen: list[Part]):
    """A hook that notes a part with its shapes."""

    def hook(module, args, kwargs, out):
        given = {}
        for key, value in [*enumerate(args), *kwargs.items()]:
            given |= _shapes(value, name.split()[0] if key == 0 else str(key))
        count = sum(p.numel() for p in module.parameters())
        out = out[0] if isinstance(out, tuple) else out
        kind = type(module).__name__
        seen.append(Part(name, kind, count, given, _shapes(out, "out")))

    return hook


def _shapes(value, name: str) -> dict[str, tuple]:
    """The shapes of a tensor, of tokens, or of a dictionary of them."""
    if isinstance(value, dict):
        found = [_shapes(each, key) for key, each in value.items()]
        return {key: shape for each in found for key, shape in each.items()}
    if isinstance(value, Tokens):
        value = value.values
    return {name: tuple(value.shape)} if isinstance(value, Tensor) else {}


@torch.no_grad()
def cross_attention(model, batch: dict[str, Tensor], ids: Tensor) -> Tensor:
    """How much each word looked at each token while it was chosen (交叉注意力权重).

    The sentence is read once, as in training; row ``t`` belongs to the step that
    produced ``ids[:, t]``, so the word itself had not been read yet. The weights are
    computed beside the model's fast attention, which is not changed.

    Parameters
    ----------
    model : a :class:`mmbook.models.MultimodalModel` with a generation head.
    batch : as the model takes it; labels are ignored.
    ids : (B, L) token numbers, from :func:`mmbook.generation.generate` or labels.
        Rows behind the end of a sentence mean nothing.

    Returns
    -------
    (B, layers, heads, L, N); each row over the N fused tokens sums to 1.
    """
    head = _looking_head(model)
    _check_ids(ids, batch)
    with _evaluating(model):
        tokens = model.encode(_inputs(batch))
        with _inputs_of([block.cross for block in head.blocks]) as seen:
            head.decode(head.shifted(ids), tokens)
    weights = [layer.weights(*given) for layer, given in seen]
    return torch.stack(weights, dim=1)  # layers of (B, heads, L, N)


def attention_maps(
    weights: Tensor, grid: tuple[int, int], first: int | None = None
) -> Tensor:
    """Mean over layers and heads, laid out as the picture: (B, L, h, w).

    Parameters
    ----------
    weights : (B, layers, heads, L, N). Slice it before to look at one layer or head:
        ``weights[:, -1:]`` is the last layer.
    grid : h, w: the rows and columns of image tokens.
    first : the number of the first image token, if there are others beside them (a
        summary token, words of a question).
    """
    height, width = grid
    if weights.ndim != 5:
        raise ValueError(
            "weights must be (B, layers, heads, L, N), as cross_attention gives them; "
            f"got {tuple(weights.shape)}"
        )
    needed, given = height * width, weights.shape[-1]
    if given < needed + (first or 0) or (first is None and given != needed):
        raise ValueError(
            f"a grid of {height} × {width} has {needed} tokens; the weights have {given}"
            + (f", of which {first} are skipped" if first else "")
            + ": give the grid of the encoder, and first= where the picture's begin"
        )
    begin = first or 0
    mean = weights.mean(dim=(1, 2))[..., begin : begin + needed]
    return mean.unflatten(-1, (height, width))


@torch.no_grad()
def word_scores(model, batch: dict[str, Tensor], ids: Tensor) -> Tensor:
    """The log-probability of each word of a sentence, given the words before: (B, L).

    Zero behind the end of a sentence. The sum of a row is the sentence's own.
    """
    head = _generation_head(model)
    _check_ids(ids, batch)
    with _evaluating(model):
        logits = head.decode(head.shifted(ids), model.encode(_inputs(batch)))
    said = ids.masked_fill(ids == IGNORED, head.pad)[..., None]
    scores = logits.float().log_softmax(-1).gather(-1, said)[..., 0]
    return scores.masked_fill(~_real(ids, head.end), 0.0)


def occlusion(
    model,
    image: Tensor,
    ids: Tensor,
    patch: int = 12,
    stride: int = 4,
    fill: float | None = None,
) -> Tensor:
    """How much each word loses if a place of the picture is painted over (遮挡).

    A square covers one place after the other; what the log-probability of each word
    falls by is measured (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901).

    Parameters
    ----------
    model : reads ``image`` alone, and has a generation head.
    image : (3, H, W), one picture.
    ids : (L,) the words that were said of it.
    patch, stride : side of the square, and the distance of two places, in pixels.
    fill : the grey that covers; None takes the picture's median colour (in a scene: its
        background).

    Returns
    -------
    (L, h, w) in nats, h = H / stride; above zero where the word leaned on that place.
    """
    if image.ndim != 3 or not image.is_floating_point() or ids.ndim != 1:
        raise ValueError(
            "occlusion takes one picture (3, H, W), float in [0, 1], and its words (L,); "
            f"got {tuple(image.shape)} {image.dtype} and {tuple(ids.shape)}"
        )
    height, width = (side // stride for side in image.shape[1:])
    if min(height, width, patch) < 1:
        raise ValueError(
            f"patch and stride must be 1 to {min(image.shape[1:])} pixels, the side of "
            f"the picture; got {patch} and {stride}"
        )
    paint = image.flatten(1).median(1).values if fill is None else torch.tensor(fill)
    before = word_scores(model, {"image": image[None]}, ids[None])
    after = []
    for covered in _covered(image, paint, height, width, patch, stride):
        rows = ids.expand(len(covered), -1)
        after.append(word_scores(model, {"image": covered}, rows))
    return (before - torch.cat(after)).T.unflatten(1, (height, width))


def _covered(image, paint, height, width, patch, stride) -> Iterator[Tensor]:
    """The picture with each place covered, a row of places at a time."""
    for row in range(height):
        batch = image.repeat(width, 1, 1, 1)
        for column in range(width):
            down, across = (_window(n, patch, stride) for n in (row, column))
            batch[column, :, down, across] = paint.to(image)[..., None, None]
        yield batch


def _window(number: int, patch: int, stride: int) -> slice:
    """The pixels covered at a place: ``patch`` of them, around the place's middle."""
    begin = round((number + 0.5) * stride - patch / 2)
    return slice(max(0, begin), begin + patch)


@contextmanager
def _inputs_of(layers: list[nn.Module]):
    """A list that fills with (layer, its inputs) while the layers are called."""
    seen = []

    def remember(layer, args, kwargs):
        names = ("x", "context", "mask")
        given = dict(zip(names, args, strict=False)) | kwargs
        seen.append((layer, [given.get(name) for name in names]))

    handles = [
        layer.register_forward_pre_hook(remember, with_kwargs=True) for layer in layers
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module):
    """Dropout off and batch norm at rest; afterwards each part as it was before."""
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, before in training:
            module.training = before


def _inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


def _real(ids: Tensor, end: int) -> Tensor:
    """Which words belong to the sentence: all up to its end token, (B, L) bool."""
    ends = ids == end
    return (ends.cumsum(1) - ends.long() == 0) & (ids != IGNORED)


def _check_ids(ids: Tensor, batch: dict[str, Tensor]) -> None:
    rows = {
        len(value) for value in _inputs(batch).values() if isinstance(value, Tensor)
    }
    if ids.ndim != 2 or ids.is_floating_point() or not ids.shape[1]:
        raise ValueError(
            f"ids must be token numbers (B, L); got {tuple(ids.shape)} {ids.dtype}"
        )
    if rows and rows != {len(ids)}:
        raise ValueError(
            f"ids and batch must have as many rows; got {len(ids)} sentences for "
            f"{', '.join(map(str, sorted(rows)))} examples"
        )


def _generation_head(model) -> GenerationHead:
    head = getattr(model, "head", None)
    if not isinstance(head, GenerationHead) or not hasattr(model, "encode"):
        raise TypeError(
            "this needs a MultimodalModel with a GenerationHead, which says words; got "
            f"{type(model).__name__} with "
            f"{type(head).__name__ if head is not None else 'no head'}"
        )
    return head


def _looking_head(model) -> GenerationHead:
    head = _generation_head(model)
    if any(block.cross is None for block in head.blocks):
        raise ValueError(
            "this head has no cross-attention: make it with context_width=…, or give a "
            "language model eyes with head.with_context(…)"
        )
    return head
