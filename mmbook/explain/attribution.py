"""What an answer depends on: gradients, integrated gradients, and occlusion.

A *score* here is any function that takes a batch and gives one number for each row, (B,);
for example ``lambda batch: model(**batch).logits[:, 3]``. Rows must not depend on each
other, so the model behind it has to be in eval mode, as ``fit`` leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..models import eval_mode
from ..tokens import IGNORED
from .common import check_ids, generation_head, in_sentence, without_labels

Score = Callable[[dict[str, Tensor]], Tensor]


def gradients(
    score: Score,
    batch: dict[str, Tensor],
    at: str | nn.Module = "image",
    times_input: bool = False,
    noise: float = 0.0,
    samples: int = 1,
    seed: int = 0,
) -> Tensor:
    r"""How fast the score changes with each number of an input (梯度).

    $\partial s / \partial x$ (Simonyan et al. 2013,
    https://arxiv.org/abs/1312.6034), or with ``times_input`` the part
    $x \cdot \partial s / \partial x$ that each number has in a linear score. With
    ``noise`` it is the mean over some noisy copies of the input: SmoothGrad (Smilkov et
    al. 2017, https://arxiv.org/abs/1706.03825). Chapter 3.5.

    Parameters
    ----------
    score : batch → (B,), see the module's text.
    batch : as the score takes it.
    at : the name of a float input; or a module whose output is taken in its place, such
        as the embedding of words, which have no gradient themselves.
    times_input : multiply by the input.
    noise, samples, seed : standard deviation of the noise, number of noisy copies.

    Returns
    -------
    As the input, or as the module's output.
    """
    value, function = _value_and_score(score, batch, at)
    draw = torch.Generator().manual_seed(seed)
    gradient = torch.zeros_like(value)
    for _ in range(samples):
        noisy = value
        if noise:
            noisy = value + noise * torch.randn(value.shape, generator=draw).to(value)
        gradient += _gradient(function, noisy) / samples
    return gradient * value if times_input else gradient


def integrated_gradients(
    score: Score,
    batch: dict[str, Tensor],
    at: str | nn.Module = "image",
    baseline: Tensor | float = 0.0,
    steps: int = 32,
) -> Tensor:
    r"""The mean gradient on the straight path from a baseline, times the way (积分梯度).

    $$(x - x') \odot \frac 1 n \sum_{k=1}^n
    \nabla s\left(x' + \tfrac{k - 1/2}{n} (x - x')\right)$$

    Completeness: the sum over a row is $s(x) - s(x')$, but for an error that falls with
    the square of the number of steps where the score is smooth (Sundararajan et al. 2017,
    https://arxiv.org/abs/1703.01365). Chapter 3.5.

    Parameters
    ----------
    score, batch, at : as in :func:`gradients`.
    baseline : $x'$, what stands for "nothing there": a number, or a tensor that
        broadcasts to the input's shape. What is equal to it gets no share.
    steps : n.

    Returns
    -------
    As the input, or as the module's output.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more; got {steps}")
    value, function = _value_and_score(score, batch, at)
    start = torch.as_tensor(baseline).to(value).expand_as(value)
    gradient = torch.zeros_like(value)
    for step in range(steps):
        share = (step + 0.5) / steps
        gradient += _gradient(function, start + share * (value - start)) / steps
    return gradient * (value - start)


def _value_and_score(
    score: Score, batch: dict[str, Tensor], at: str | nn.Module
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The value of an input or of a module's output, and the score as its function."""
    if isinstance(at, nn.Module):
        return _output(score, batch, at), lambda x: _scored_with(score, batch, at, x)
    value = batch.get(at)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        given = f"{at} {value.dtype}" if isinstance(value, Tensor) else ", ".join(batch)
        raise ValueError(
            f"at must name a float input of the batch; got {at!r}, and the batch has "
            f"{given}. For words give the module that embeds them"
        )
    return value.detach(), lambda x: score(batch | {at: x})


def _output(score: Score, batch: dict[str, Tensor], module: nn.Module) -> Tensor:
    seen = []
    handle = module.register_forward_hook(lambda *call: seen.append(call[-1]))
    try:
        with torch.no_grad():
            score(batch)
    finally:
        handle.remove()
    if len(seen) != 1 or not isinstance(seen[0], Tensor):
        raise ValueError(
            f"the module of at= must run once and give a tensor; {type(module).__name__} "
            f"gave {[type(value).__name__ for value in seen]}"
        )
    return seen[0]


def _scored_with(score: Score, batch: dict[str, Tensor], module, value: Tensor):
    """The score if the module had given this value."""
    handle = module.register_forward_hook(lambda *_: value)
    try:
        return score(batch)
    finally:
        handle.remove()


def _gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of each row's score; zero where the score does not read x."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        scores = one_per_row(function(x), len(x))
    if not scores.requires_grad:
        raise ValueError(
            "the score has no gradient: compute it without torch.no_grad() and .detach()"
        )
    (gradient,) = torch.autograd.grad(scores.sum(), x, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


def one_per_row(scores: Tensor, rows: int) -> Tensor:
    """The scores, if there is one for each row."""
    if scores.shape != (rows,):
        raise ValueError(
            f"a score must give one number for each row, ({rows},); got "
            f"{tuple(scores.shape)}: choose one of them, as in logits[:, 3]"
        )
    return scores


@torch.no_grad()
def occlusion_maps(
    score: Score,
    batch: dict[str, Tensor],
    patch: int = 12,
    stride: int = 4,
    fill: Tensor | float | None = None,
) -> Tensor:
    """How far a score falls if a place of the picture is covered (遮挡).

    As :func:`occlusion`, for any score and many pictures at once; chapter 3.5.

    Parameters
    ----------
    score : batch → (B,).
    batch : with ``image`` (B, 3, H, W).
    patch, stride : side of the square, and the distance of two places, in pixels.
    fill : the colour that covers, a number or (B or 1, 3, 1, 1); None takes each
        picture's median colour (in a scene: its background).

    Returns
    -------
    (B, h, w), h = H / stride; above zero where the score depended on that place.
    """
    image = batch.get("image")
    if image is None or image.ndim != 4 or not image.is_floating_point():
        raise ValueError(
            "occlusion_maps needs a batch with image (B, 3, H, W), float in [0, 1]; got "
            f"{'none' if image is None else (tuple(image.shape), image.dtype)}"
        )
    height, width = _places(image, patch, stride)
    paint = _median(image) if fill is None else torch.as_tensor(fill).to(image)
    before, drops = one_per_row(score(batch), len(image)), []
    for number in range(height * width):
        down, across = (_window(n, patch, stride) for n in divmod(number, width))
        covered = image.clone()
        covered[..., down, across] = paint
        drops.append(before - score(batch | {"image": covered}))
    return torch.stack(drops, 1).unflatten(1, (height, width))


@torch.no_grad()
def word_scores(model, batch: dict[str, Tensor], ids: Tensor) -> Tensor:
    """The log-probability of each word of a sentence, given the words before: (B, L).

    Zero after the end of a sentence. The sum of a row is the sentence's own.
    """
    head = generation_head(model)
    check_ids(ids, batch)
    with eval_mode(model):
        logits = head.decode(head.shifted(ids), model.encode(without_labels(batch)))
    said = ids.masked_fill(ids == IGNORED, head.pad)[..., None]
    scores = logits.float().log_softmax(-1).gather(-1, said)[..., 0]
    return scores.masked_fill(~in_sentence(ids, head.end), 0.0)


def occlusion(
    model,
    image: Tensor,
    ids: Tensor,
    patch: int = 12,
    stride: int = 4,
    fill: float | None = None,
) -> Tensor:
    """How far each word's log-probability falls if a place is covered (遮挡).

    A square covers one place of the picture after the other (Zeiler and Fergus 2014,
    https://arxiv.org/abs/1311.2901). Chapter 5.2.

    Parameters
    ----------
    model : reads ``image`` alone, and has a generation head.
    image : (3, H, W), one picture.
    ids : (L,) the words of its caption.
    patch, stride : side of the square, and the distance of two places, in pixels.
    fill : the grey that covers; None takes the picture's median colour (in a scene: its
        background).

    Returns
    -------
    (L, h, w) in nats, h = H / stride; above zero where the word depended on that place.
    """
    if image.ndim != 3 or not image.is_floating_point() or ids.ndim != 1:
        raise ValueError(
            "occlusion takes one picture (3, H, W), float in [0, 1], and its words (L,); "
            f"got {tuple(image.shape)} {image.dtype} and {tuple(ids.shape)}"
        )
    height, width = _places(image, patch, stride)
    paint = _median(image) if fill is None else torch.tensor(fill)
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
            batch[column, :, down, across] = paint.to(image)
        yield batch


def _places(image: Tensor, patch: int, stride: int) -> tuple[int, int]:
    """How many places there are, from top to bottom and from left to right."""
    height, width = (side // stride for side in image.shape[-2:])
    if min(height, width, patch) < 1:
        raise ValueError(
            f"patch and stride must be 1 to {min(image.shape[-2:])} pixels, the side of "
            f"the picture; got {patch} and {stride}"
        )
    return height, width


def _median(image: Tensor) -> Tensor:
    """The median colour of each picture, (…, 3, 1, 1)."""
    return image.flatten(-2).median(-1).values[..., None, None]


def _window(number: int, patch: int, stride: int) -> slice:
    """The pixels covered at a place: ``patch`` of them, around the place's middle."""
    begin = round((number + 0.5) * stride - patch / 2)
    return slice(max(0, begin), begin + patch)
