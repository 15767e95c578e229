"""Windows of long sequences for truncated backpropagation through time, with or without carried-over state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches, Segments
from mdnrnn.errors import InputError


class Window(NamedTuple):
    """Rows `first` to `last` - 1 of a sequence.

    `continues` is true if the window starts with the carried-over LSTM state, because the previous batch contains the
    preceding window of the sequence (see `Windows`).
    """

    sequence: int
    first: int
    last: int
    continues: bool = False


@dataclass(frozen=True)
class Windows:
    """Training batches of windows: the sequences of one split are cut into windows of at most `window` steps.

    A window contains steps of one sequence only. Without `carry`, the windows are shuffled.

    With `carry`, the LSTM state is carried over between batches. The sequences of an epoch are shuffled, concatenated
    and divided into at most `batch_size` lanes: parts of about equal length. Each batch consists of the next window of
    every lane. `Batch.continues` is true for the windows that continue the sequence of the lane's previous window.
    """

    batches: Batches
    window: int
    carry: bool

    def __post_init__(self) -> None:
        if self.window < 2:
            raise InputError(f"window: received {self.window} steps, expected 2 or more")
        if self.batches.augment is not None and self.batches.augment.drop:
            raise InputError(
                f"augment.drop: received {self.batches.augment.drop}, expected 0 with windows, which need all points"
            )

    def shard(self, rank: int, world_size: int) -> Windows:
        """Return a copy that yields the data of one rank: every `world_size`-th window of each batch.

        With `carry`, a rank thus receives complete lanes.
        """
        return replace(self, batches=self.batches.shard(rank, world_size))

    def epoch(self, number: int, start: int = 0, step: int = 1) -> Iterator[Batch]:
        """Yield every `step`-th batch of epoch `number`, beginning with batch `start`.

        A batch depends only on the seed, the epoch number and its position in the epoch, not on `start` and `step`.
        """
        seed, local_rows = self.batches.seed, self.batches.local_rows
        rng = np.random.default_rng([seed, number])
        order = rng.permutation(self.batches.indices())
        windows = self._lanes(order, rng) if self.carry else self._shuffled(order, rng)
        for position in range(start, len(windows), step):
            *segments, continues = map(np.array, zip(*windows[position], strict=True))
            batch = self.batches.from_segments(Segments(*segments), np.random.default_rng([seed, number, position]))
            local_continues = torch.from_numpy(continues[local_rows(len(continues))])
            yield replace(batch, continues=local_continues) if self.carry else batch

    def _lengths(self, order: np.ndarray) -> np.ndarray:
        return self.batches.corpus.offsets[order + 1] - self.batches.corpus.offsets[order]

    def _shuffled(self, order: np.ndarray, rng: np.random.Generator) -> list[list[Window]]:
        """Return batches of shuffled windows. The length of the first window of each sequence is random."""
        windows = [
            Window(index, *bounds)
            for index, length in zip(order.tolist(), self._lengths(order).tolist(), strict=True)
            for bounds in self._cut(0, length, int(rng.integers(1, self.window + 1)))
        ]
        shuffled = [windows[i] for i in rng.permutation(len(windows))]
        size = self.batches.batch_size
        return [shuffled[i : i + size] for i in range(0, len(shuffled), size)]

    def _lanes(self, order: np.ndarray, rng: np.random.Generator) -> list[list[Window]]:
        """Return the batches for training with `carry`: batch i consists of window i of every lane."""
        ends = np.cumsum(self._lengths(order))
        rows = int(ends[-1])
        count = min(self.batches.batch_size, -(-rows // self.window))
        bounds = [rows * lane // count for lane in range(count + 1)]
        first_length = int(rng.integers(1, self.window + 1))  # windows differ between epochs
        lanes = [self._cut_lane(order, ends, *lane, first_length) for lane in pairwise(bounds)]
        lanes.sort(key=len, reverse=True)  # so that no lane changes its row in the batch when another lane ends
        return [[lane[i] for lane in lanes if i < len(lane)] for i in range(len(lanes[0]))]

    def _cut_lane(self, order: np.ndarray, ends: np.ndarray, first: int, last: int, first_length: int) -> list[Window]:
        """Cut one lane into windows.

        Args:
            order: (M,), indices of the concatenated sequences.
            ends: (M,), row after the last row of each sequence, counted in the concatenated sequences.
            first: first row of the lane.
            last: row after the last row of the lane.
            first_length: maximum length of the first window of the lane.
        """
        found: list[Window] = []
        for i in range(int(np.searchsorted(ends, first, "right")), len(order)):
            begin = int(ends[i - 1]) if i else 0
            if begin >= last:
                break
            bounds = max(first, begin) - begin, min(last, int(ends[i])) - begin
            # The carried-over state is the state after the last step of the padded batch. For a padded window, this is
            # not the state at the end of the window. A window that the next batch continues must therefore not be
            # padded: it has the maximum length, which is `first_length` in the first batch and `window` in the other
            # batches. Only the last window of a sequence or lane may be shorter.
            windows = self._cut(*bounds, self.window if found else first_length)
            found += [Window(int(order[i]), *window, number > 0) for number, window in enumerate(windows)]
        return found

    def _cut(self, first: int, last: int, first_length: int) -> list[tuple[int, int]]:
        """Cut the rows `first` (inclusive) to `last` (exclusive) into windows; return (start, stop) of each window.

        The first window has at most `first_length` rows.
        """
        inner = range(first + first_length, last, self.window)
        return list(pairwise([first, *inner, last]))
