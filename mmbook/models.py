"""The composed model: encoders, a fusion, a head; in the transformers convention."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from transformers.utils import ModelOutput

from .saving import Configured
from .tokens import Tokens


@dataclass
class Output(ModelOutput):
    """What a model returns. ``loss`` is None if the batch had no labels."""

    loss: Tensor | None = None
    logits: Tensor | None = None


class MultimodalModel(Configured):
    """Any modality → tokens → fusion → head → loss.

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

    def forward(
        self, labels: Tensor | None = None, num_items_in_batch=None, **batch
    ) -> Output:
        """``model(**batch)`` with ``.loss`` and ``.logits``.

        ``batch`` holds a tensor for each modality, and ``…_mask`` where some of it is
        padding. Modalities may be left out. ``num_items_in_batch`` is the number of
        labels of a larger batch of which this is a part (``transformers.Trainer`` passes
        it); the loss is then the part's share of the larger batch's mean.
        """
        tokens, labels = self.encode(batch), _beside(self, labels)
        logits, loss = self.head(tokens, labels, num_items_in_batch)
        return Output(loss=loss, logits=logits)

    def encode(self, batch: dict[str, Tensor]) -> Tokens:
        """The fused tokens of a batch: everything before the head.

        The batch may lie on another device than the model; it is moved.
        """
        unknown = [
            name for name in batch if name.removesuffix("_mask") not in self.encoders
        ]
        present = [name for name in self.encoders if batch.get(name) is not None]
        if unknown or not present:
            given = [n if v is not None else f"{n}=None" for n, v in batch.items()]
            raise ValueError(
                f"this model reads {', '.join(self.encoders)} (and their …_mask); got "
                f"{', '.join(given) or 'nothing'}"
            )
        tokens = {
            name: self.encoders[name](
                _beside(self, batch[name]), _beside(self, batch.get(f"{name}_mask"))
            )
            for name in present
        }
        return tokens if self.fusion is None else self.fusion(tokens)


def _beside(model: nn.Module, value):
    """A tensor on the device of the model; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    first = next(model.parameters(), value)
    return value.to(first.device)


class LanguageModel(Configured):
    """A generation head on its own (语言模型): ``model(labels=…)``, no other modality."""

    accepts_loss_kwargs = True

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, labels: Tensor, num_items_in_batch=None) -> Output:
        """The logits of each word of the labels, and the mean loss."""
        labels = _beside(self, labels)
        logits, loss = self.head(None, labels, num_items_in_batch)
        return Output(loss=loss, logits=logits)
