"""The composed model: encoders, a fusion, a head; in the transformers convention."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .saving import Configured
from .tokens import Tokens


class Output(dict):
    """What a model returns: ``out.loss`` is ``out["loss"]`` is ``out[0]``.

    It behaves as the outputs of transformers do, without their second of import. What is
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

    Parameters
    ----------
    encoders : by the name of the modality they read, e.g. ``{"image": …}``.
    fusion : from :mod:`mmbook.fusion`; None hands the head the dictionary of tokens.
    head : from :mod:`mmbook.heads`.
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
        """``model(**batch)`` with ``.loss`` and ``.logits``.

        ``batch`` holds a tensor for each modality, and ``…_mask`` where some of it is
        padding. Modalities may be left out. ``num_items_in_batch`` counts the labels of a
        larger batch of which this is a part (``transformers.Trainer`` passes it); the
        loss is then the part's share of its mean.
        """
        tokens, labels = self.encode(batch), _on_my_device(self, labels)
        return _output(*self.head(tokens, labels, num_items_in_batch))

    def encode(self, batch: dict[str, Tensor]) -> Any:
        """Everything before the head: the fused :class:`Tokens`, or a dictionary of them.

        The batch may lie on another device than the model; it is moved.
        """
        unknown = [n for n in batch if n.removesuffix("_mask") not in self.encoders]
        present = [n for n in self.encoders if batch.get(n) is not None]
        if unknown or not present:
            given = [n if v is not None else f"{n}=None" for n, v in batch.items()]
            raise ValueError(
                f"this model reads {', '.join(self.encoders)} (and their …_mask); got "
                f"{', '.join(given) or 'nothing'}"
            )
        batch = {name: _on_my_device(self, value) for name, value in batch.items()}
        tokens: dict[str, Tokens] = {
            name: self.encoders[name](batch[name], batch.get(f"{name}_mask"))
            for name in present
        }
        return tokens if self.fusion is None else self.fusion(tokens)


class LanguageModel(Configured):
    """A generation head on its own (语言模型): ``model(labels=…)``, no other modality."""

    accepts_loss_kwargs = True

    def __init__(self, head):
        super().__init__()
        self.head = head

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.head]

    def forward(self, labels: Tensor, num_items_in_batch=None) -> Output:
        """The logits of each word of the labels, and the mean loss."""
        labels = _on_my_device(self, labels)
        return _output(*self.head(None, labels, num_items_in_batch))


def _output(logits, loss, embeddings=None) -> Output:
    """What a head returned, by name."""
    return Output(loss=loss, logits=logits, embeddings=embeddings)


def _on_my_device(model: nn.Module, value):
    """A tensor on the device of the model; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    return value.to(next(model.parameters(), value).device)
