"""Which examples make which batch: an order that can be taken up anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from .config import TrainingConfig


class ShuffledStream(Sampler):
    """Which examples make which batch: shuffled epochs, behind each other, for ever.

    The order is a function of the seed and the step alone, so a run can be taken up at
    any step, and several processes share each batch without talking. Every batch is
    full; the last one of an epoch is filled up from the next.
    """

    def __init__(
        self, length: int, config: TrainingConfig, start=0, rank=0, processes=1
    ):
        if length < 1:
            raise ValueError("no data to train on: the dataset is empty")
        self.length, self.config = length, config
        self.start, self.rank, self.processes = start, rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        size, parts = self.config.batch_size, self.config.accumulation
        together = size * parts * self.processes
        epoch, order = None, []
        for step in range(self.start, self.config.steps):
            for part in range(parts):
                first = step * together + (part * self.processes + self.rank) * size
                batch = []
                for place in range(first, first + size):
                    if place // self.length != epoch:
                        epoch = place // self.length
                        order = self._order(epoch)
                    batch.append(order[place % self.length])
                yield batch

    def _order(self, epoch: int) -> list[int]:
        rng = np.random.default_rng((self.config.seed, epoch))
        return rng.permutation(self.length).tolist()
