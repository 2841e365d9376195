"""Out of Python: ``torch.export`` and ONNX, with the same outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..models import MultimodalModel
from ..tokens import Tokens

BATCH = "batch"  # the axis whose length stays open


class Seeing(nn.Module):
    """The half of a captioner that runs once: image (B, 3, H, W) → tokens (B, N, D)."""

    def __init__(self, model: MultimodalModel):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """All of its tokens are real, so no mask."""
        return self.model.encode({"image": image}).values


class NextWord(nn.Module):
    """The half that runs for each word: ids (B, L), tokens (B, N, D) → logits (B, L, V).

    L is fixed, since a graph has one shape: fill up with any token. What stands behind a
    word changes nothing before it (causal), so ``logits[:, t]`` follow ``ids[:, : t + 1]``.
    """

    def __init__(self, model: MultimodalModel):
        super().__init__()
        self.head = model.head

    def forward(self, ids: Tensor, tokens: Tensor) -> Tensor:
        """One decoding step, without a cache."""
        return self.head.decode(ids, Tokens(tokens))


class Scores(nn.Module):
    """A whole classifier of one modality: its input → logits (B, classes)."""

    def __init__(self, model: MultimodalModel):
        super().__init__()
        self.model, (self.name,) = model, model.encoders

    def forward(self, values: Tensor) -> Tensor:
        """The logits alone: a graph returns tensors, and no ``Output``."""
        return self.model(**{self.name: values}).logits


def exported(module: nn.Module, *inputs: Tensor) -> torch.export.ExportedProgram:
    """One of these modules as a graph for any batch size (计算图导出). Chapter 5.5."""
    return torch.export.export(module.eval(), inputs, dynamic_shapes=_open(inputs))


def to_onnx(module: nn.Module, file: str | Path, *inputs: Tensor) -> Path:
    """Write the graph as ONNX, which other runtimes read. Chapter 5.5."""
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError('this needs: pip install "mmbook[export]"') from error
    settings: dict[str, Any] = {
        "dynamo": True,
        "external_data": False,
        "verbose": False,
    }
    settings |= {"dynamic_shapes": _open(inputs), "output_names": ["out"]}
    torch.onnx.export(module.eval(), inputs, str(file), **settings)
    return Path(file)


def run_onnx(file: str | Path, *inputs: Tensor) -> Tensor:
    """What ONNX Runtime makes of these inputs. Chapter 5.5."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError('this needs: pip install "mmbook[export]"') from error
    session = onnxruntime.InferenceSession(
        str(file), providers=["CPUExecutionProvider"]
    )
    names = [given.name for given in session.get_inputs()]
    given = dict(zip(names, (x.numpy() for x in inputs), strict=True))
    return torch.from_numpy(session.run(None, given)[0])


def _open(inputs: tuple[Tensor, ...]) -> tuple[dict, ...]:
    batch = torch.export.Dim(BATCH, min=1, max=1024)
    return tuple({0: batch} for _ in inputs)
