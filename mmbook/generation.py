"""Generation (生成): from tokens to words, one word at a time.

Greedy, beam search and sampling share one loop: ask the decoder for the next word, with
a cache, until every sentence has ended. The cache is allocated once; the keys of what
the decoder looks at are computed once. Chapter 5.2 explains both."""

from __future__ import annotations

import torch
from torch import Tensor

from .heads.decoder import Decoder
from .tokens import Tokens

METHODS = ("greedy", "beam", "sample")


def generate(
    model,
    batch: dict[str, Tensor],
    max_new_tokens: int = 32,
    method: str = "greedy",
    beams: int = 4,
    length_penalty: float = 1.0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    use_cache: bool = True,
) -> Tensor:
    """Say a sentence for each row of a batch.

    Parameters
    ----------
    model : a :class:`mmbook.models.MultimodalModel` whose head is a ``Decoder``: one of
        the generation heads.
    batch : as the model takes it; labels are ignored.
    max_new_tokens : the longest sentence, its end token included.
    method : ``"greedy"`` takes the likeliest word each time; ``"beam"`` keeps the
        ``beams`` likeliest beginnings and divides the log-likelihood of an ended sentence
        by length ** ``length_penalty``; ``"sample"`` draws, from logits divided by
        ``temperature``, among the ``top_k`` likeliest words, or among the likeliest ones
        that together have probability ``top_p`` (Holtzman et al. 2020,
        https://arxiv.org/abs/1904.09751).
    seed : of the drawing; None uses PyTorch's own state.
    use_cache : False computes everything anew for each word (to compare).

    Returns
    -------
    (B, L) token numbers with the end token, then padding.
    """
    head = _generation_head(model)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if not 1 <= max_new_tokens <= head.max_length:
        raise ValueError(
            f"max_new_tokens must be 1 to {head.max_length}, the longest sentence the "
            f"decoder has positions for; got {max_new_tokens}"
        )
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            tokens = model.encode(inputs)
            if method == "beam":
                settings = (max_new_tokens, beams, length_penalty, use_cache)
                ids = _beam_search(head, tokens, *settings)
            else:
                choose = _greedy
                if method == "sample":
                    device = tokens.values.device
                    choose = _sampler(temperature, top_k, top_p, seed, device)
                ids = _one_by_one(head, tokens, max_new_tokens, choose, use_cache)
        return ids.clone()  # an ordinary tensor: one may train on what was said
    finally:
        for module, training in modes.items():
            module.training = training


def to_text(ids: Tensor, tokenizer) -> list[str]:
    """Sentences from what :func:`generate` returned, without special tokens."""
    return [
        text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)
    ]


def _one_by_one(head: Decoder, tokens: Tokens, steps, choose, use_cache) -> Tensor:
    """Greedy and sampling: one row of the batch is one sentence."""
    rows = len(tokens)
    ids = torch.full((rows, steps + 1), head.pad, device=tokens.values.device)
    ids[:, 0] = head.start
    cache = head.new_cache(steps) if use_cache else None
    ended = torch.zeros(rows, dtype=torch.bool, device=ids.device)
    lengths = torch.zeros(rows, dtype=torch.long, device=ids.device)
    for step in range(steps):
        word = choose(_next_logits(head, ids[:, : step + 1], tokens, cache))
        ids[:, step + 1] = word.masked_fill(ended, head.pad)
        lengths += ~ended
        ended |= word == head.end
        if _look(step, ids.device) and ended.all():
            break
    return ids[:, 1 : 1 + int(lengths.max())]


def _beam_search(head: Decoder, tokens: Tokens, steps, beams, penalty, use_cache):
    """Keep the likeliest beginnings; (B · beams) rows go through the decoder at once."""
    if beams < 1:
        raise ValueError(f"beams must be 1 or more; got {beams}")
    device, rows = tokens.values.device, len(tokens)
    tokens = Tokens(
        tokens.values.repeat_interleave(beams, 0),
        tokens.mask.repeat_interleave(beams, 0),
    )
    ids = torch.full((rows * beams, steps + 1), head.pad, device=device)
    ids[:, 0] = head.start
    scores = torch.full((rows, beams), float("-inf"), device=device)
    scores[:, 0] = 0.0  # all beams are equal at first: let one of them branch
    best = torch.full((rows,), float("-inf"), device=device)
    result = torch.full((rows, steps), head.pad, device=device)
    lengths = torch.zeros(rows, dtype=torch.long, device=device)
    cache = head.new_cache(steps) if use_cache else None
    base = torch.arange(rows, device=device)[:, None] * beams  # (B, 1)
    for step in range(steps):
        logits = _next_logits(head, ids[:, : step + 1], tokens, cache)
        total = scores[:, :, None] + logits.log_softmax(-1).unflatten(0, (rows, beams))
        size = total.shape[-1]
        top, flat = total.flatten(1).topk(2 * beams)  # (B, 2 beams): enough that go on
        parent, word = flat // size, flat % size
        candidates = torch.cat(
            [ids[(base + parent).flatten(), 1 : step + 1], word.flatten()[:, None]], 1
        ).unflatten(0, (rows, -1))  # (B, 2 beams, step + 1)
        last = step == steps - 1
        ended = (word == head.end) | last
        rated = (top / (step + 1) ** penalty).masked_fill(~ended, float("-inf"))
        kept = (best, result, lengths)
        _keep_best(*kept, rated[:, :beams], candidates[:, :beams])
        top = top.masked_fill(word == head.end, float("-inf"))
        scores, chosen = top.topk(beams)
        order = (base + parent.gather(1, chosen)).flatten()
        ids = ids[order]
        ids[:, step + 1] = word.gather(1, chosen).flatten()
        if cache is not None:
            cache.reorder(order, context=False)  # beams of one row share its context
        if last or (
            _look(step, device) and _settled(best, scores, step, steps, penalty)
        ):
            break
    return result[:, : int(lengths.max())]


def _keep_best(best, result, lengths, rated, candidates) -> None:
    """Where an ended sentence beats the best so far, put it in its place."""
    score, index = rated.max(1)
    better, length = score > best, candidates.shape[-1]
    words = candidates.gather(1, index[:, None, None].expand(-1, 1, length))[:, 0]
    best.copy_(torch.where(better, score, best))
    result[:, :length] = torch.where(better[:, None], words, result[:, :length])
    lengths.masked_fill_(better, length)


def _settled(best, scores, step, steps, penalty) -> bool:
    """Can no open beam end better than the best ended sentence of its row?"""
    longest = steps if penalty > 0 else step + 2
    return bool((best >= scores.max(1).values / longest**penalty).all())


def _next_logits(head, ids: Tensor, tokens: Tokens, cache) -> Tensor:
    """Logits (B, V) of the word behind ``ids``."""
    if cache is None:
        return head.decode(ids, tokens)[:, -1]
    return head.decode(ids[:, -1:], tokens, cache)[:, -1]


def _greedy(logits: Tensor) -> Tensor:
    return logits.argmax(-1)


def _sampler(temperature, top_k, top_p, seed, device):
    """A function that draws a word (B,) from logits (B, V)."""
    if temperature <= 0:
        raise ValueError(
            f"temperature must be above 0; got {temperature}: for 0 use greedy"
        )
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1]; got {top_p}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be 1 or more; got {top_k}")
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)

    def choose(logits: Tensor) -> Tensor:
        logits = restrict(logits / temperature, top_k, top_p)
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]

    return choose


def restrict(
    logits: Tensor, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Logits (B, V) with all but the likeliest words at −∞.

    ``top_k`` keeps that many. ``top_p`` keeps the fewest words whose probabilities reach
    that sum; the likeliest word always stays.
    """
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p is not None and top_p < 1:
        ordered, places = logits.sort(descending=True)
        p = ordered.softmax(-1)
        beyond = p.cumsum(-1) - p >= top_p  # what came before was already enough
        drop = torch.zeros_like(beyond).scatter(-1, places, beyond)
        logits = logits.masked_fill(drop, float("-inf"))
    return logits


def _look(step: int, device: torch.device) -> bool:
    """On a GPU each look waits for the device: look only now and then."""
    return device.type == "cpu" or step % 8 == 7


def _generation_head(model) -> Decoder:
    head = getattr(model, "head", None)
    if not isinstance(head, Decoder):
        raise TypeError(
            "generate needs a model that says words, with a GenerationHead; this one has "
            f"{type(head).__name__ if head is not None else 'no head'}"
        )
    if not hasattr(model, "encode"):
        raise TypeError(
            f"generate needs a model that encodes its batch; {type(model).__name__} has "
            "nothing to look at"
        )
    return head
