"""Attention weights: of a model that runs, through its layers, and replaced."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..heads.generation import GenerationHead
from ..layers.attention import Attention
from ..layers.block import Block
from ..models import eval_mode
from .common import check_ids, generation_head, without_labels


@torch.no_grad()
def cross_attention(model, batch: dict[str, Tensor], ids: Tensor) -> Tensor:
    """How much each word attended to each token while it was chosen (交叉注意力权重).

    The sentence is read once, as in training; row ``t`` belongs to the step that
    produced ``ids[:, t]``, so the word itself had not been read yet. The weights are
    computed beside the model's fast attention, which is not changed.

    Parameters
    ----------
    model : a :class:`mmbook.models.MultimodalModel` with a generation head.
    batch : as the model takes it; labels are ignored.
    ids : (B, L) token numbers, from :func:`mmbook.generation.generate` or labels.
        Rows after the end of a sentence mean nothing.

    Returns
    -------
    (B, layers, heads, L, N); each row over the N fused tokens sums to 1.
    """
    head = generation_head(model)
    layers = _cross_attention_layers(head)
    check_ids(ids, batch)
    with eval_mode(model):
        tokens = model.encode(without_labels(batch))
        with _inputs_of(layers) as seen:
            head.decode(head.shifted(ids), tokens)
    weights = [layer.weights(*arguments) for layer, arguments in seen]
    return torch.stack(weights, dim=1)  # layers of (B, heads, L, N)


def attention_maps(
    weights: Tensor, grid: tuple[int, int], first: int | None = None
) -> Tensor:
    """Mean over layers and heads, laid out as the picture: (B, L, h, w).

    Parameters
    ----------
    weights : (B, layers, heads, L, N). Slice it to see one layer or head:
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
def self_attention(model, batch: dict[str, Tensor], part=None) -> Tensor:
    """How much each token attended to each, in every layer of a part (自注意力权重).

    Parameters
    ----------
    model : a :class:`mmbook.models.MultimodalModel`; it runs once on the batch.
    batch : as the model takes it; labels are ignored.
    part : the module whose layers are meant: the fusion if not given, or an encoder.

    Returns
    -------
    (B, layers, heads, N, N), in the order in which the layers ran. Row i holds how much
    token i took from each token, and sums to 1. Merged attention has the tokens of the
    modalities one after the other.
    """
    part = model.fusion if part is None else part
    blocks = [m for m in part.modules() if isinstance(m, Block)]
    if not blocks:
        raise ValueError(
            f"{type(part).__name__} has no self-attention: give a part= that has layers "
            "of it"
        )
    layers = [block.attention for block in blocks]
    with eval_mode(model), _inputs_of(layers) as seen:
        model(**without_labels(batch))
    weights = [layer.weights(*arguments) for layer, arguments in seen]
    shapes = {tuple(layer.shape) for layer in weights}
    if len(shapes) != 1:
        raise ValueError(
            f"the layers of one part must have as many tokens; got {sorted(shapes)}"
        )
    return torch.stack(weights, dim=1)


def rollout(weights: Tensor, kept: float = 0.5) -> Tensor:
    r"""Attention followed through all layers, with the residual path (注意力展开).

    A layer's output is its input plus what attention adds. So each layer mixes the
    tokens by about $\tilde A = k I + (1 - k) A$ with $k$ = ``kept``, and all of them by
    the product $\tilde A_n \cdots \tilde A_1$ (Abnar and Zuidema 2020,
    https://arxiv.org/abs/2005.00928). Values and feed-forward layers are ignored;
    chapter 3.5 measures how much that costs.

    Parameters
    ----------
    weights : (B, layers, heads, N, N), as :func:`self_attention` gives them.
    kept : the share that a token keeps of itself in each layer.

    Returns
    -------
    (B, N, N): row i says from which input tokens output token i came; it sums to 1.
    """
    if weights.ndim != 5 or weights.shape[-1] != weights.shape[-2]:
        raise ValueError(
            "weights must be (B, layers, heads, N, N), as self_attention gives them; got "
            f"{tuple(weights.shape)}"
        )
    mean = weights.mean(2)  # over heads
    own = torch.eye(mean.shape[-1], device=mean.device)
    mixed = own.expand(len(mean), -1, -1)
    for layer in mean.unbind(1):
        mixed = (kept * own + (1 - kept) * layer) @ mixed
    return mixed


@contextmanager
def replaced_attention(layers: list[Attention], weights: list[Tensor]):
    """Within this context, attention layers mix values with the weights given here.

    Queries and keys no longer matter; values do. Gradients flow into the weights, so
    other weights with the same answer can be searched for (Jain and Wallace 2019,
    https://arxiv.org/abs/1902.10186; chapter 3.5).

    Parameters
    ----------
    layers : of :class:`mmbook.layers.Attention`.
    weights : for each layer (B, heads, N, M), or what broadcasts to that.
    """

    def mixing(given):
        def hook(layer, args, kwargs, _):
            x, context, *_ = _arguments(args, kwargs)
            values = layer.value(x if context is None else context)  # (B, M, D)
            values = values.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            return layer.out((given @ values).transpose(1, 2).flatten(2))

        return hook

    handles = [
        layer.register_forward_hook(mixing(given), with_kwargs=True)
        for layer, given in zip(layers, weights, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _inputs_of(layers: Sequence[nn.Module]):
    """A list that fills with (layer, its inputs) while the layers are called."""
    seen = []

    def remember(layer, args, kwargs):
        seen.append((layer, _arguments(args, kwargs)))

    handles = [
        layer.register_forward_pre_hook(remember, with_kwargs=True) for layer in layers
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _arguments(args: tuple, kwargs: dict) -> list:
    """What an attention was called with: x, context, mask, causal."""
    names = ("x", "context", "mask", "causal")
    given = dict(zip(names, args, strict=False)) | kwargs
    return [given.get(name) for name in names]


def _cross_attention_layers(head: GenerationHead) -> list[Attention]:
    blocks = [m for m in head.modules() if isinstance(m, Block)]
    layers = [block.cross for block in blocks if block.cross is not None]
    if not layers:
        raise ValueError(
            "this head has no cross-attention: make it with context_width=…, or add it "
            "to a language model with head.with_context(…)"
        )
    return layers
