"""Small models, and batches for them."""

import pytest
import torch

from mmbook.encoders import ConvImageEncoder, TextEncoder
from mmbook.fusion import Concatenation, MergedAttention
from mmbook.heads import ClassificationHead, GenerationHead
from mmbook.models import MultimodalModel

END, PAD = 2, 0


@pytest.fixture
def captioner():
    """Makes a model that captions pictures with twenty words."""

    def make(norm_first=True, dropout=0.0, encoder=None):
        torch.manual_seed(0)
        head = GenerationHead(
            20,
            width=16,
            layers=2,
            heads=4,
            max_length=10,
            context_width=16,
            norm_first=norm_first,
            dropout=dropout,
        )
        encoder = encoder or ConvImageEncoder(16, size=48, channels=(8, 8))
        fusion = Concatenation({"image": 16}, 16)
        return MultimodalModel({"image": encoder}, fusion, head)

    return make


@pytest.fixture
def reader():
    """Makes a model that takes a picture and words, and has five classes."""

    def make(layers=2, dropout=0.0):
        torch.manual_seed(1)
        image = ConvImageEncoder(16, size=48, channels=(8, 8))
        encoders = {"image": image, "text": TextEncoder(20, 16, layers=1)}
        widths = {"image": 16, "text": 16}
        fusion = MergedAttention(widths, 16, layers=layers, dropout=dropout)
        head = ClassificationHead(16, 5, hidden=8)
        return MultimodalModel(encoders, fusion, head).eval()

    return make


@pytest.fixture
def score_of():
    """The score of an answer, as a function of a batch."""
    return lambda model, answer=2: lambda batch: model(**batch).logits[:, answer]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return {"image": torch.rand(3, 3, 48, 48, generator=generator)}


@pytest.fixture
def ids():
    return torch.tensor([[5, 7, 9, END], [4, 4, END, PAD], [6, END, PAD, PAD]])


@pytest.fixture
def asked(batch):
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    return batch | {"text": torch.arange(12).view(3, 4), "text_mask": mask}
