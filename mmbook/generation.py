"""Generation (生成): from tokens to words, one word at a time. Chapter 5.2."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from .heads.decoder import Decoder
from .models import eval_mode
from .tokens import IGNORED, Tokens


def generate(
    model: nn.Module,
    batch: dict[str, Tensor],
    max_new_tokens: int | None = None,
    method: str = "greedy",
    beams: int = 4,
    length_penalty: float = 1.0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    use_cache: bool = True,
    num_return_sequences: int = 1,
    min_new_tokens: int = 0,
    repetition_penalty: float = 1.0,
) -> Tensor:
    """Write n sentences for each row of a batch, labels ignored: (B · n, L). Chapter 5.2.

    Of ``max_new_tokens`` at most, the end included, then padding. ``"greedy"`` takes
    the likeliest word; ``"beam"`` keeps the ``beams`` likeliest beginnings and divides
    an ended sentence's log-likelihood by length ** ``length_penalty``; ``"sample"``
    draws by ``seed`` (None: PyTorch's own state), from logits / ``temperature``, among
    the ``top_k`` likeliest words, or the likeliest of probability ``top_p`` together
    (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751). n is
    ``num_return_sequences``. At least ``min_new_tokens`` words come before the end.
    ``repetition_penalty`` makes earlier words less likely (Keskar et al. 2019,
    https://arxiv.org/abs/1909.05858).
    """
    head, several = _generation_head(model), num_return_sequences
    steps = head.max_length if max_new_tokens is None else max_new_tokens
    rule = f"max_new_tokens must be 1 to {head.max_length}, this decoder's longest"
    _require(1 <= steps <= head.max_length, rule, steps)
    most = {"greedy": 1, "beam": beams, "sample": several}
    _require(method in most, f"method must be one of {', '.join(most)}", method)
    _require(beams > 0, "beams must be 1 or more", beams)
    rule = f"num_return_sequences must be 1 to {most[method]} for {method}"
    _require(0 < several <= most[method], rule, several)
    with torch.inference_mode(), eval_mode(model):
        tokens = _encoded(model, batch, beams if method == "beam" else several)
        rules = min_new_tokens, repetition_penalty
        writer = _Writer(head, tokens, steps, use_cache, *rules)
        if method == "beam":
            ids = _beam_search(writer, beams, length_penalty, several)
        else:
            choose: Callable = partial(torch.argmax, dim=-1)
            if method == "sample":
                choose = _sampler(temperature, top_k, top_p, seed, tokens.mask.device)
            ids = _one_by_one(writer, choose)
    return writer.checked(ids[:, 1:]).clone()  # ordinary tensors: one may train on them


def log_likelihood(model: nn.Module, batch: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Σ log p of sentences by :func:`generate`, end included: (B · n,). Chapter 4.3."""
    head = _generation_head(model)
    rows = next(len(value) for value in batch.values() if value is not None)
    real = _real(ids, head.end)
    with torch.inference_mode(), eval_mode(model):
        tokens = _encoded(model, batch, len(ids) // rows)
        logits, _ = head(tokens, ids.masked_fill(~real, IGNORED))
        picked = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return picked.masked_fill(~real, 0).sum(1)


def to_text(ids: Tensor, tokenizer) -> list[str]:
    """Sentences that :func:`generate` wrote, without special tokens. Chapter 5.2."""
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text.strip() for text in texts]


class _Writer:
    """A decoder, what it looks at, what it wrote, and the rules for the next word."""

    def __init__(self, head: Decoder, tokens: Tokens, steps, use_cache, least, penalty):
        _require(0 <= least < steps, f"min_new_tokens must be 0 to {steps - 1}", least)
        _require(penalty > 0, "repetition_penalty must be above 0", penalty)
        self.head, self.tokens, self.steps = head, tokens, steps
        self.least, self.penalty = least, penalty
        self.cache = head.new_cache(steps) if use_cache else None
        size, device = (len(tokens), steps + 1), tokens.mask.device
        self.ids = torch.full(size, head.pad, device=device)
        self.ids[:, 0] = head.start
        self.checksum = torch.zeros((), device=device)  # NaN if any logit was

    def scores(self, step: int, logarithms: bool = False) -> Tensor:
        """Logits, or log-probabilities, of the next word, after the rules: (rows, V)."""
        said = self.ids[:, : step + 1]
        read = said if self.cache is None else said[:, -1:]
        scores = self.head.decode(read, self.tokens, self.cache)[:, -1]
        self.checksum = self.checksum + scores.sum(dtype=torch.float32)
        if logarithms:
            scores = scores.log_softmax(-1)
        if self.penalty != 1:
            x = scores.gather(1, said)
            x = torch.where(x > 0, x / self.penalty, x * self.penalty)
            scores = scores.scatter(1, said, x)
        if step < self.least:
            scores[:, self.head.end] = -torch.inf
        return scores

    def follow(self, rows: Tensor, words: Tensor, step: int) -> None:
        """Go on with these rows of the batch, and these words behind them."""
        self.ids = self.ids[rows]
        self.ids[:, step + 1] = words
        if self.cache is not None:
            self.cache.reorder(rows, context=False)  # beams of one row share it

    def checked(self, ids: Tensor) -> Tensor:
        """The sentences (rows, L), no wider than the longest, if the logits are sound."""
        if self.checksum.isnan():
            raise FloatingPointError("logits are NaN: look at the decoder's weights")
        return ids[:, : int(_real(ids, self.head.end).sum(1).max())]


def _one_by_one(writer: _Writer, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Greedy and sampling: one row of the batch is one sentence."""
    head, ids = writer.head, writer.ids
    ended = torch.zeros_like(ids[:, 0], dtype=torch.bool)
    for step in range(writer.steps):
        word = choose(writer.scores(step))
        ids[:, step + 1] = word.masked_fill(ended, head.pad)
        ended |= word == head.end
        if _look(step, ids.device) and ended.all():
            break
    return ids


def _beam_search(writer: _Writer, beams: int, penalty: float, several: int) -> Tensor:
    """Keep the likeliest beginnings; (B · beams) rows go through the decoder at once."""
    steps, end, device = writer.steps, writer.head.end, writer.ids.device
    base = torch.arange(0, len(writer.ids), beams, device=device)[:, None]  # (B, 1)
    scores = writer.checksum.new_full((len(base), beams), -torch.inf)
    scores[:, 0] = 0.0  # all beams are equal at first: let one of them branch
    best = scores.new_full((len(base), several), -torch.inf)  # of ended sentences
    found = writer.ids.new_full((len(base), several, steps + 1), writer.head.pad)
    for step in range(steps):
        new = writer.scores(step, logarithms=True).unflatten(0, (-1, beams))
        total = scores[:, :, None] + new  # (B, beams, V)
        top, flat = total.flatten(1).topk(2 * beams)  # enough that go on
        parent, word = base + flat // new.shape[-1], flat % new.shape[-1]
        goes_on = (word != end) & (step < steps - 1)
        rated = (top / (step + 1) ** penalty).masked_fill(goes_on, -torch.inf)
        words = writer.ids[parent[:, :beams]]  # (B, beams, steps + 1)
        words[..., step + 1] = word[:, :beams]
        best, index = torch.cat([best, rated[:, :beams]], 1).topk(several)
        index = index[..., None].expand(-1, -1, steps + 1)
        found = torch.cat([found, words], 1).gather(1, index)
        scores, chosen = top.masked_fill(word == end, -torch.inf).topk(beams)
        order = parent.gather(1, chosen).flatten()
        writer.follow(order, word.gather(1, chosen).flatten(), step)
        could_be = scores / (steps if penalty > 0 else step + 2) ** penalty
        if _look(step, device) and (best[:, -1:] >= could_be).all():
            break
    return found.flatten(0, 1)


def _sampler(temperature, top_k, top_p, seed, device) -> Callable[[Tensor], Tensor]:
    """A function that draws a word (B,) from logits (B, V)."""
    _require(temperature > 0, "temperature must be above 0 (greedy is 0)", temperature)
    _require(top_p is None or 0 < top_p <= 1, "top_p must be in (0, 1]", top_p)
    _require(top_k is None or top_k > 0, "top_k must be 1 or more", top_k)
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)

    def choose(logits: Tensor) -> Tensor:
        p = restrict(logits / temperature, top_k, top_p).softmax(-1)
        p = p.nan_to_num(1.0)  # a GPU's draw from NaN can't be caught; the sum tells
        return torch.multinomial(p, 1, generator=generator)[:, 0]

    return choose


def restrict(
    logits: Tensor, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Logits of the ``top_k`` likeliest or ``top_p`` together, else −∞. Chapter 5.2."""
    if top_k is not None and top_k < logits.shape[-1]:
        kept = logits.topk(top_k).indices
        drop = torch.ones_like(logits, dtype=torch.bool).scatter(-1, kept, False)
        logits = logits.masked_fill(drop, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, places = logits.sort(descending=True)
        p = ordered.softmax(-1)
        beyond = p.cumsum(-1) - p > top_p - 1e-6  # what came before was already enough
        beyond[:, 0] = False
        drop = torch.zeros_like(beyond).scatter(-1, places, beyond)
        logits = logits.masked_fill(drop, -torch.inf)
    return logits


def _real(ids: Tensor, end: int) -> Tensor:
    """What stands up to the first end token, it included: (B, L) bool."""
    ends = ids == end
    return ends.cumsum(1) - ends.long() == 0


def _look(step: int, device: torch.device) -> bool:
    """On a GPU each look waits for the device: look only now and then."""
    return device.type == "cpu" or step % 8 == 7


def _encoded(model, batch: dict[str, Tensor], times: int) -> Tokens:
    """The tokens that the decoder looks at, each row so many times."""
    tokens = model.encode({n: value for n, value in batch.items() if n != "labels"})
    parts = (tokens.values, tokens.mask)
    return Tokens(*(x.repeat_interleave(times, 0) for x in parts))


def _generation_head(model: nn.Module) -> Decoder:
    head = getattr(model, "head", None)
    if not isinstance(head, Decoder) or not hasattr(model, "encode"):
        own = type(head).__name__ if head else "no head"
        rule = "generate needs a model that encodes a batch, with a generation head"
        raise TypeError(f"{rule}; got a {type(model).__name__} with {own}")
    return head


def _require(right: bool, rule: str, given: object) -> None:
    if not right:
        raise ValueError(f"{rule}; got {given!r}")
