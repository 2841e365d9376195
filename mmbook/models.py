"""The composed model: encoders, a fusion, a head; in the transformers convention."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .saving import Configured
from .tokens import Tokens

_RETURNED = ("logits", "loss", "embeddings")  # by heads; the last one by some


class Output(dict):
    """What a model returns: ``out.loss`` is ``out["loss"]`` is ``out[0]``. Chapter 2.9.

    None is no key. ``embeddings``, {modality: (B, E)}, come from a SharedSpaceHead.
    """

    loss: Tensor | None
    logits: Tensor | None
    embeddings: dict[str, Tensor] | None

    def __init__(self, fields=(), *, loss=None, logits=None, embeddings=None):
        given = {"loss": loss, "logits": logits, "embeddings": embeddings}
        given |= dict(fields)
        super().__init__({k: v for k, v in given.items() if v is not None})

    def __getattr__(self, name: str):
        if name not in Output.__annotations__:
            raise AttributeError(f"an Output has no {name!r}")
        return self.get(name)

    def __getitem__(self, key):
        named = isinstance(key, str)
        return super().__getitem__(key) if named else tuple(self.values())[key]


class MultimodalModel(Configured):
    """Any modality → tokens → fusion → head → loss. Chapter 2.9.

    ``encoders`` go by modality; without a fusion the head gets a dictionary of tokens.
    """

    accepts_loss_kwargs = True  # transformers.Trainer then passes num_items_in_batch

    def __init__(self, encoders: dict[str, nn.Module], fusion, head):
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion, self.head = fusion, head

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [m for m in (self.encoders, self.fusion, self.head) if m is not None]

    def forward(
        self, labels: Tensor | None = None, num_items_in_batch=None, **batch
    ) -> Output:
        """``model(**batch)`` with ``.loss`` and ``.logits``; modalities may be left out.

        Each modality is a tensor, with ``…_mask`` where some is padding. With
        ``num_items_in_batch``, labels of a larger batch, the loss is this part's share.
        """
        tokens, labels = self.encode(batch), _on_my_device(self, labels)
        found = self.head(tokens, labels, num_items_in_batch)
        return Output(zip(_RETURNED, found, strict=False))

    def encode(self, batch: dict[str, Tensor]) -> Any:
        """The batch, from any device, as fused :class:`Tokens` or a dictionary of them."""
        unknown = [n for n in batch if n.removesuffix("_mask") not in self.encoders]
        present = [n for n in self.encoders if batch.get(n) is not None]
        if unknown or not present:
            names = [n if v is not None else f"{n}=None" for n, v in batch.items()]
            known, given = ", ".join(self.encoders), ", ".join(names) or "nothing"
            raise ValueError(f"this model reads {known} (and …_mask); got {given}")
        batch = {name: _on_my_device(self, value) for name, value in batch.items()}
        tokens: dict[str, Tokens] = {}
        for name in present:
            tokens[name] = self.encoders[name](batch[name], batch.get(f"{name}_mask"))
        return tokens if self.fusion is None else self.fusion(tokens)


class LanguageModel(Configured):
    """A generation head alone (语言模型): ``model(labels=…)``. Chapter 3.3."""

    accepts_loss_kwargs = True

    def __init__(self, head):
        super().__init__()
        self.head = head

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.head]

    def forward(self, labels: Tensor, num_items_in_batch=None) -> Output:
        """The logits of each word of the labels, and the mean loss."""
        found = self.head(None, _on_my_device(self, labels), num_items_in_batch)
        return Output(zip(_RETURNED, found, strict=False))


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; afterwards each part as it was before. Chapter 2.2."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def counting(model: nn.Module) -> Iterator[Callable[[], int]]:
    """Count operations; gives how many products of matrices took so far. Chapter 2.5."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode  # slow to import

    # The counter follows every tensor that wants a gradient, so none may; and it does
    # not know some fast kernels of attention, so the plain one is taken.
    learning = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            yield counter.get_total_flops
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def names_that_begin(model: nn.Module, starts: Sequence[str], what: str) -> set[str]:
    """Parameters whose names begin so; a beginning of none is an error. Chapter 3.2."""
    if isinstance(starts, str):
        raise ValueError(f"{what} must be a list of names; got {starts!r}")
    names = [name for name, _ in model.named_parameters()]
    for start in starts:
        if not any(name.startswith(start) for name in names):
            known = ", ".join(sorted({".".join(n.split(".")[:2]) for n in names}))
            found = f"no parameter begins so; they begin with {known}"
            raise ValueError(f"{what} names {start!r}, but {found}")
    return {name for name in names if name.startswith(tuple(starts))}


def _on_my_device(model: nn.Module, value):
    """A tensor on the device of the model; anything else as it is."""
    moves = isinstance(value, Tensor)
    return value.to(next(model.parameters(), value).device) if moves else value
