"""Looking inside a model (可解释性): where it looks, and what it could not do without."""

from __future__ import annotations

import torch
from torch import Tensor

from .data.batching import IGNORED


@torch.no_grad()
def cross_attention(model, batch: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Where each word of a sentence looks.

    The sentence is read once by the model's generation head; the attention weights of
    each cross-attention are computed from what it was given. Row ``t`` belongs to the
    moment at which word ``ids[:, t]`` was chosen. Used in chapter 5.2.

    Parameters
    ----------
    model : a :class:`mmbook.models.MultimodalModel` with a generation head.
    batch : as the model takes it, without labels; B rows.
    ids : (B, L) token numbers that were generated for it.

    Returns
    -------
    (B, layers, heads, L, N) weights; over the N tokens they add up to 1.
    """
    layers = [block.cross for block in getattr(model.head, "blocks", [])]
    if not layers or None in layers:
        raise ValueError("the model's head has no cross-attention to look into")
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    seen: list[Tensor] = []

    def look(attention, args, kwargs):
        seen.append(attention.weights(*args[:2], mask=args[2] if args[2:] else None))

    hooks = [
        layer.register_forward_pre_hook(look, with_kwargs=True) for layer in layers
    ]
    training = model.training
    try:
        model.eval()
        tokens = model.encode(inputs)
        labels = ids.masked_fill(ids == model.head.pad, IGNORED)
        model.head.decode(model.head.shifted(labels), tokens)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return torch.stack(seen, dim=1)


def attention_maps(weights: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean over layers and heads, laid out as a picture: (B, L, h, w).

    Parameters
    ----------
    weights : (B, layers, heads, L, N) of :func:`cross_attention`.
    grid : h, w of the encoder's map, h · w = N.
    """
    if grid[0] * grid[1] != weights.shape[-1]:
        raise ValueError(
            f"{weights.shape[-1]} tokens do not fill a grid of {grid[0]} × {grid[1]}"
        )
    return weights.mean((1, 2)).unflatten(-1, grid)


@torch.no_grad()
def occlusion(
    model,
    image: Tensor,
    ids: Tensor,
    patch: int = 8,
    stride: int = 4,
    fill: float = 0.93,
) -> Tensor:
    """What each word could not do without: cover a patch, and see what becomes unlikely.

    Parameters
    ----------
    image : (3, H, W), one picture.
    ids : (L,) the words that were said of it.
    patch, stride : side of the covered square, and how far it moves, in pixels.
    fill : the grey that covers.

    Returns
    -------
    (L, h, w): how much the log-probability of each word falls, for each place.
    """
    if image.ndim != 3 or ids.ndim != 1:
        raise ValueError(
            "occlusion takes one picture (3, H, W) and its words (L,); got "
            f"{tuple(image.shape)} and {tuple(ids.shape)}"
        )
    tops = range(0, image.shape[1] - patch + 1, stride)
    lefts = range(0, image.shape[2] - patch + 1, stride)
    covered = image.repeat(len(tops) * len(lefts) + 1, 1, 1, 1)
    for number, (top, left) in enumerate((t, s) for t in tops for s in lefts):
        covered[number + 1, :, top : top + patch, left : left + patch] = fill
    labels = ids.expand(len(covered), -1)
    training = model.training
    model.eval()
    logits = model(image=covered, labels=labels).logits
    model.train(training)
    said = logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]  # (1 + h w, L)
    return (said[0] - said[1:]).T.unflatten(1, (len(tops), len(lefts)))
