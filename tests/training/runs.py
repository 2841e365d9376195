"""Short runs of a small captioner, for the tests of training."""

import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from mmbook.data import Collate
from mmbook.encoders import PatchImageEncoder, TextEncoder
from mmbook.fusion import Concatenation
from mmbook.heads import GenerationHead, SharedSpaceHead
from mmbook.models import MultimodalModel, Output
from mmbook.training import TrainingConfig, fit
from mmbook.world import CaptionedScenes, sample_scenes, scene_tokenizer

IGNORED = -100
TOKENIZER = scene_tokenizer()
COLLATE = Collate(TOKENIZER)
DATA = CaptionedScenes(sample_scenes(24, seed=0), style="varied", size=16)
SAME = {"optimizer": "sgd", "learning_rate": 0.1, "steps": 6}  # Adam enlarges rounding
EXACTLY = {"rtol": 0, "atol": 0}


def captioner(dropout=0.0, width=16):
    """A captioner with random weights, always the same."""
    torch.manual_seed(0)
    head = GenerationHead(
        len(TOKENIZER), width, 1, 2, 24, context_width=width, dropout=dropout
    )
    encoder = PatchImageEncoder(width, 1, 2, size=16, patch=8, dropout=dropout)
    return MultimodalModel(
        {"image": encoder}, Concatenation({"image": width}, width), head
    )


def retriever():
    """Pictures and sentences in one space; its loss compares the rows of a batch."""
    torch.manual_seed(0)
    encoders = {
        "image": PatchImageEncoder(16, 1, 2, size=16, patch=8),
        "text": TextEncoder(len(TOKENIZER), 16, 1, 2),
    }
    head = SharedSpaceHead({"image": 16, "text": 16}, 8)
    return MultimodalModel(encoders, None, head)


def pairs(items):
    """Pictures and sentences, without labels."""
    batch = COLLATE(items)
    ids = batch["labels"].clamp(min=0)
    return {"image": batch["image"], "text": ids, "text_mask": ids > 0}


def train(model=None, data=DATA, collate=COLLATE, validate=None, **settings):
    """A short run; gives back the model and the history."""
    model = model or captioner()
    settings = {"steps": 6, "batch_size": 4, "warmup": 0.0} | settings
    return model, fit(model, data, TrainingConfig(**settings), collate, validate)


def assert_same_weights(first, second, **tolerance):
    """Each tensor of one model equals that of the other."""
    first, second = first.state_dict(), second.state_dict()
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            value, second[name], msg=lambda m, n=name: f"{n}: {m}", **tolerance
        )


def assert_same_losses(first, second):
    """Two histories, equal to rounding."""
    torch.testing.assert_close(
        torch.tensor(first["loss"]), torch.tensor(second["loss"])
    )


class Restless(Dataset):
    """Pictures with noise from all three sources, drawn when they are asked for."""

    def __len__(self):
        return len(DATA)

    def __getitem__(self, index):
        item = dict(DATA[index])
        brightness = torch.rand(()) + random.random() + np.random.rand()
        item["image"] = item["image"].float() / 255 * brightness
        return item


def noisy(items):
    """A batch whose labels are hidden at random, as in masked language models."""
    batch = COLLATE(items)
    hidden = torch.rand(batch["labels"].shape) < 0.2
    return batch | {"labels": batch["labels"].masked_fill(hidden, IGNORED)}


def noisy_loss(model):
    """Validation that draws random numbers, too."""
    torch.rand(1)
    return {"loss": model(**COLLATE([DATA[i] for i in range(4)])).loss}


def long_run(folder, **changes):
    """A run with everything random: items, batches, dropout and validation."""
    settings = {"steps": 10, "save_every": 3, "warmup": 0.2, "accumulation": 2}
    settings |= {"data": Restless(), "collate": noisy, "validate_every": 4} | changes
    settings = {k: v for k, v in settings.items() if folder or k != "save_every"}
    return train(captioner(dropout=0.3), validate=noisy_loss, folder=folder, **settings)


class Toy(nn.Module):
    """One weight; ``loss_of(weight, batch)`` is its loss."""

    def __init__(self, loss_of):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.loss_of = loss_of

    def forward(self, **batch):
        return Output(loss=self.loss_of(self.weight, batch))


def numbered(items):
    """Pictures and their numbers."""
    index = torch.tensor([item["index"] for item in items])
    return {"index": index, **COLLATE([{"image": item["image"]} for item in items])}
