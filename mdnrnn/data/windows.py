"""Long sequences learned in windows: each from nothing, or from the state that the window before it left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from mdnrnn.data.batches import Batch, Batches, Segments
from mdnrnn.errors import InputError


class Window(NamedTuple):
    """Rows of a sequence, from `first` up to, not with, `last`; whether it goes on from the window before."""

    sequence: int
    first: int
    last: int
    continues: bool = False


@dataclass(frozen=True)
class Windows:
    """The training batches of one split, its sequences cut into windows of at most `window` steps.

    With `carry` (truncated backpropagation) the sequences of an epoch, shuffled and laid end to end, are divided into
    as many lanes as a batch has rows; batch after batch goes along the lanes, and `continues` says which windows follow
    the one before: not those that begin a sequence, or a lane. Without it windows come in any order.
    """

    whole: Batches
    window: int
    carry: bool

    def __post_init__(self) -> None:
        if self.window < 2:
            raise InputError(f"a window of {self.window} steps was asked for; expected 2 or more")

    def shared(self, rank: int, processes: int) -> Windows:
        """This process's share of every batch: every so many-th row, or lane."""
        return replace(self, whole=self.whole.shared(rank, processes))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number`, from batch `start` on: all that is random comes from (seed, epoch, batch)."""
        seed = self.whole.seed
        rng = np.random.default_rng([seed, number])
        order = rng.permutation(self.whole.indices())
        batches = self._along_lanes(order, rng) if self.carry else self._shuffled(order, rng)
        for position in range(start, len(batches)):
            *pieces, continues = map(np.array, zip(*batches[position], strict=True))
            batch = self.whole.from_segments(Segments(*pieces), np.random.default_rng([seed, number, position]))
            follows = torch.from_numpy(
                continues[self.whole.rank :: self.whole.processes] if not batch.idle else continues[:1]
            )
            yield replace(batch, continues=follows) if self.carry else batch

    def _lengths(self, order: np.ndarray) -> np.ndarray:
        return self.whole.corpus.offsets[order + 1] - self.whole.corpus.offsets[order]

    def _shuffled(self, order: np.ndarray, rng: np.random.Generator) -> list[list[Window]]:
        """Windows of all sequences in any order; where the first of a sequence ends is drawn."""
        windows = [
            Window(index, *bounds)
            for index, length in zip(order.tolist(), self._lengths(order).tolist(), strict=True)
            for bounds in self._cut(0, length, int(rng.integers(1, self.window + 1)))
        ]
        shuffled = [windows[i] for i in rng.permutation(len(windows))]
        size = self.whole.batch_size
        return [shuffled[i : i + size] for i in range(0, len(shuffled), size)]

    def _along_lanes(self, order: np.ndarray, rng: np.random.Generator) -> list[list[Window]]:
        ends = np.cumsum(self._lengths(order))
        rows = int(ends[-1])
        lanes = min(self.whole.batch_size, -(-rows // self.window))
        bounds = [rows * lane // lanes for lane in range(lanes + 1)]
        first = int(rng.integers(1, self.window + 1))  # other windows in every epoch
        cut = [self._lane(order, ends, *lane, first) for lane in pairwise(bounds)]
        cut.sort(key=len, reverse=True)  # so that lanes which are over leave the batch from its end
        return [[lane[i] for lane in cut if i < len(lane)] for i in range(len(cut[0]))]

    def _lane(self, order: np.ndarray, ends: np.ndarray, first: int, last: int, head: int) -> list[Window]:
        """The windows of rows `first` to `last` of the sequences end to end, and whether each goes on."""
        found: list[Window] = []
        for i in range(int(np.searchsorted(ends, first, "right")), len(order)):
            begin = int(ends[i - 1]) if i else 0
            if begin >= last:
                break
            within = max(first, begin) - begin, min(last, int(ends[i])) - begin
            # A state is that after a batch's longest windows: what goes on has to be one of them. So all are whole but
            # the last of a sequence and, in all lanes alike, the first.
            windows = self._cut(*within, self.window if found else head)
            found += [Window(int(order[i]), *bounds, number > 0) for number, bounds in enumerate(windows)]
        return found

    def _cut(self, first: int, last: int, head: int) -> list[tuple[int, int]]:
        """Bounds of the windows of rows `first` to `last`, the first of at most `head` rows."""
        inner = range(first + head, last, self.window)
        return list(pairwise([first, *inner, last]))
