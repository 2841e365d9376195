"""Small models that a method of fine-tuning can change, and their batches."""

import pytest
import torch
from torch import nn

from mmbook.encoders import ConvImageEncoder, TextEncoder
from mmbook.fusion import fusion
from mmbook.heads import ClassificationHead, GenerationHead
from mmbook.models import MultimodalModel

WIDTH = 16


@pytest.fixture
def captioner():
    """A function that makes a captioner: pictures, and a decoder of two layers."""

    def make(seed: int = 0) -> MultimodalModel:
        torch.manual_seed(seed)
        encoder = ConvImageEncoder(WIDTH, size=16, channels=(8,))
        head = GenerationHead(20, WIDTH, layers=2, heads=2, context_width=WIDTH)
        joined = fusion("concatenation", widths={"image": WIDTH}, width=WIDTH)
        return MultimodalModel({"image": encoder}, joined, head)

    return make


@pytest.fixture
def classifier():
    """A function that makes a classifier of texts, with dropout."""

    def make(seed: int = 0) -> MultimodalModel:
        torch.manual_seed(seed)
        encoder = TextEncoder(20, WIDTH, layers=2, heads=2, dropout=0.1)
        joined = fusion("concatenation", widths={"text": WIDTH}, width=WIDTH)
        return MultimodalModel({"text": encoder}, joined, ClassificationHead(WIDTH, 4))

    return make


@pytest.fixture
def sentences() -> dict:
    """A batch for the classifier; the first text is shorter."""
    rng = torch.Generator().manual_seed(1)
    mask = torch.ones(4, 7, dtype=torch.bool)
    mask[0, 5:] = False
    return {
        "text": torch.randint(3, 20, (4, 7), generator=rng),
        "text_mask": mask,
        "labels": torch.tensor([0, 1, 2, 3]),
    }


@pytest.fixture
def pictures() -> dict:
    """A batch for the captioner."""
    rng = torch.Generator().manual_seed(1)
    return {
        "image": torch.rand(4, 3, 16, 16, generator=rng),
        "labels": torch.randint(3, 20, (4, 6), generator=rng),
    }


@pytest.fixture
def trained_names():
    """A function: the names of the parameters of a model that are trained."""
    return lambda model: {n for n, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def step():
    """A function that takes one step of SGD on all that is trained."""

    def take(model: nn.Module, batch: dict, rate: float = 0.1) -> None:
        model.train()
        model(**batch).loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= rate * parameter.grad
                    parameter.grad = None
        model.eval()

    return take


@pytest.fixture
def disturb():
    """A function that moves all that is trained away from its start."""

    def draw(model: nn.Module) -> nn.Module:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += 0.3 * torch.randn_like(parameter)
        return model

    return draw
