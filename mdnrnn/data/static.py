"""Data without time steps: points, each a pair of input and target, and batches of points for the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.errors import InputError


class Points(NamedTuple):
    """N points, each a pair of input and target."""

    x: Tensor
    """(N, A), inputs."""
    y: Tensor
    """(N, D), targets."""


@dataclass(frozen=True)
class PointBatch:
    """Batch of B points."""

    x: Tensor
    """(B, A), inputs."""
    y: Tensor
    """(B, D), targets."""
    indices: Tensor
    """(B,), indices of the points in the data set."""
    idle: bool = False
    """Whether a batch that several processes share has no point for this process. The batch then contains a placeholder
    point, which has weight 0 in the loss."""

    @property
    def points(self) -> int:
        """Number of points B."""
        return len(self.x)

    def to(self, device: torch.device) -> PointBatch:
        """Return the batch on `device`."""
        x, y, indices = (part.to(device, non_blocking=True) for part in (self.x, self.y, self.indices))
        return PointBatch(x, y, indices, self.idle)


@dataclass(frozen=True)
class PointBatches:
    """Batches of points. `epoch(e)` yields shuffled training batches; iteration yields evaluation batches in order."""

    data: Points
    batch_size: int
    """Maximum number of points per batch."""
    seed: int = 0
    """Random seed of the shuffling."""
    rank: int = 0
    """Rank of this process, 0 to world_size - 1."""
    world_size: int = 1
    """Number of processes that share the batches; see `shard`."""

    def shard(self, rank: int, world_size: int) -> PointBatches:
        """Return a copy that yields the data of one rank.

        In an epoch, each rank takes every `world_size`-th point of each batch. In an evaluation pass, each rank takes
        every `world_size`-th batch.
        """
        return replace(self, rank=rank, world_size=world_size)

    def __post_init__(self) -> None:
        x, y = self.data
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
            raise InputError(f"points: received x {tuple(x.shape)} and y {tuple(y.shape)}, expected (N, A) and (N, D)")
        if self.batch_size < 1:
            raise InputError(f"batch_size: received {self.batch_size}, expected 1 or more")

    def epoch(self, number: int, start: int = 0) -> Iterator[PointBatch]:
        """Yield the batches of epoch `number`, beginning with batch `start`.

        The order of the points depends only on the seed and the epoch number.
        """
        order = torch.arange(len(self.data.x))
        if self.batch_size < len(order):  # with a single batch, the order has no effect
            order = torch.from_numpy(np.random.default_rng([self.seed, number]).permutation(len(order)))
        # All batches have about the same size, because the gradient of a small last batch would be noisy.
        for indices in order.tensor_split(-(-len(order) // self.batch_size))[start:]:
            yield self._batch(indices)

    def __iter__(self) -> Iterator[PointBatch]:
        for indices in torch.arange(len(self.data.x)).split(self.batch_size)[self.rank :: self.world_size]:
            yield PointBatch(self.data.x[indices], self.data.y[indices], indices)

    def _batch(self, indices: Tensor) -> PointBatch:
        idle = self.rank >= len(indices)
        local = indices[:1] if idle else indices[self.rank :: self.world_size]
        return PointBatch(self.data.x[local], self.data.y[local], local, idle)
