"""Points of static problems, an input and a target each, and batches of them for the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.errors import InputError


class Points(NamedTuple):
    """N points: inputs x (N, A) and targets y (N, D)."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class PointBatch:
    """Inputs x (B, A), targets y (B, D), and the numbers of the points in their data, indices (B,)."""

    x: Tensor
    y: Tensor
    indices: Tensor
    idle: bool = False
    """Whether it is a stand-in, of a process that has no point in a batch of fewer than there are processes."""

    @property
    def points(self) -> int:
        """B."""
        return len(self.x)

    def to(self, device: torch.device) -> PointBatch:
        """The same batch on `device`."""
        x, y, indices = (part.to(device, non_blocking=True) for part in (self.x, self.y, self.indices))
        return PointBatch(x, y, indices, self.idle)


@dataclass(frozen=True)
class PointBatches:
    """Batches of points: `epoch(e)` to train on, shuffled anew each epoch; iterating for one plain pass."""

    data: Points
    batch_size: int
    seed: int = 0
    rank: int = 0
    """Which process this is of so many, `processes`, that share every batch."""
    processes: int = 1

    def shared(self, rank: int, processes: int) -> PointBatches:
        """This process's share of every batch."""
        return replace(self, rank=rank, processes=processes)

    def __post_init__(self) -> None:
        x, y = self.data
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
            raise InputError(f"points: received x {tuple(x.shape)} and y {tuple(y.shape)}, expected (N, A) and (N, D)")
        if self.batch_size < 1:
            raise InputError(f"batch_size: received {self.batch_size}, expected 1 or more")

    def epoch(self, number: int, start: int = 0) -> Iterator[PointBatch]:
        """The batches of epoch `number`, from batch `start` on; the order comes from (seed, number)."""
        order = torch.arange(len(self.data.x))
        if self.batch_size < len(order):  # a full batch has no order
            order = torch.from_numpy(np.random.default_rng([self.seed, number]).permutation(len(order)))
        # A last batch much smaller than the rest would be a step of noise: all are as even as can be.
        for indices in order.tensor_split(-(-len(order) // self.batch_size))[start:]:
            yield self._batch(indices)

    def __iter__(self) -> Iterator[PointBatch]:
        for indices in torch.arange(len(self.data.x)).split(self.batch_size)[self.rank :: self.processes]:
            yield PointBatch(self.data.x[indices], self.data.y[indices], indices)

    def _batch(self, indices: Tensor) -> PointBatch:
        idle = self.rank >= len(indices)
        own = indices[:1] if idle else indices[self.rank :: self.processes]
        return PointBatch(self.data.x[own], self.data.y[own], own, idle)
