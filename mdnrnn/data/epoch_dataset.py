"""Epochs of batches for `torch.utils.data.DataLoader`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch.utils.data import IterableDataset, get_worker_info

from mdnrnn.data.batch import Batch

if TYPE_CHECKING:
    from mdnrnn.data.batches import Batches
    from mdnrnn.data.training_windows import Windows


class EpochDataset(IterableDataset[Batch]):
    """Batches of one epoch, computed by the worker processes of a DataLoader.

    `DataLoader(EpochDataset(data, number), batch_size=None, num_workers=2)` yields the batches of `data.epoch(number)`
    in the same order, for any number of workers.

    Args:
        data: training data.
        number: number of the epoch; the shuffling and the augmentation depend on it.
    """

    def __init__(self, data: Batches | Windows, number: int) -> None:
        super().__init__()
        self._data, self._number = data, number

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is None:
            return self._data.epoch(self._number)
        # A DataLoader takes one batch from each worker in turn.
        return self._data.epoch(self._number, worker.id, worker.num_workers)
