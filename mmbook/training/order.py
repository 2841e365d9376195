"""Which examples make which batch, and what they draw: by seed and place alone."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate

from .config import TrainingConfig


class ShuffledStream(Sampler):
    """The indices of batches, all full: shuffled epochs, behind each other, for ever."""

    def __init__(self, length: int, config: TrainingConfig, rank=0, processes=1):
        if length < 1:
            raise ValueError("no data to train on: the dataset is empty")
        self.length, self.config = length, config
        self.rank, self.processes = rank, processes
        self.epoch, self.order = -1, np.empty(0, dtype=int)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.config.steps):
            for part in self.parts(step):
                yield [index for _, index in part]

    def parts(self, step: int) -> Iterator[list[tuple[int, int]]]:
        """The batches of a step: of each example its epoch and its index."""
        size, parts = self.config.batch_size, self.config.accumulation
        for part in range(step * parts, (step + 1) * parts):
            first = (part * self.processes + self.rank) * size
            yield [self._example(place) for place in range(first, first + size)]

    def _example(self, place: int) -> tuple[int, int]:
        epoch, place = divmod(place, self.length)
        if epoch != self.epoch:
            rng = np.random.default_rng((self.config.seed, epoch))
            self.epoch, self.order = epoch, rng.permutation(self.length)
        return epoch, int(self.order[place])


class Batches(Dataset):
    """The batches of each step; an item draws by seed, epoch and index alone."""

    def __init__(self, data, collate: Callable | None, stream: ShuffledStream):
        self.data, self.collate, self.stream = data, collate or default_collate, stream

    def __getitem__(self, step: int) -> list[dict]:
        return [self.prepare(part) for part in self.stream.parts(step)]

    def sample(self) -> dict:
        """A batch of at most eight items, from all over the data."""
        places = np.linspace(0, len(self.data) - 1, min(8, len(self.data)))
        return self.prepare([(0, int(place)) for place in places])

    def prepare(self, examples: list[tuple[int, int]]) -> dict:
        items, seed = [], self.stream.config.seed
        for epoch, index in examples:
            seed_by(seed, epoch, index)
            items.append(self.data[index])
            if items[-1] is None:
                raise ValueError(f"item {index} of the data is None, not an example")
        seed_by(seed, "batch", *examples[0])
        batch = self.collate(items)
        if hasattr(batch, "items") and any(torch.is_tensor(v) for v in batch.values()):
            return batch
        given = f"{type(batch).__name__} {batch!r:.99}"
        raise TypeError(f"a batch must be a dict of tensors, by name; got {given}")


def to_device(batch: dict, device: torch.device) -> dict:
    """The batch on the device; the copy runs beside the computation. Chapter 1.1."""
    tensors = {name: x for name, x in batch.items() if isinstance(x, Tensor)}
    return {**batch, **{n: x.to(device, non_blocking=True) for n, x in tensors.items()}}


def seed_by(*numbers: int | str) -> int:
    """Seed ``random``, NumPy and PyTorch (on the CPU) by a hash of some numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "little")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    return seed


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Afterwards random numbers go on as if none had been drawn inside."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
