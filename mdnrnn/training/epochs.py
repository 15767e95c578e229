"""Training and validation data of any kind: epochs of batches, batches on a device, number of points of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from mdnrnn.data.prefetch import prefetch
from mdnrnn.errors import InputError
from mdnrnn.training import distributed


class Epochs(Protocol):
    """Protocol of training data that are divided into epochs of batches. Training can resume at any batch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Return the batches of epoch `number`, beginning with the batch of index `start`.

        The batches of an epoch and their order must be the same in every call. `fit` iterates over the result in a
        background thread.
        """
        ...


@dataclass(frozen=True)
class RepeatedEpochs:
    """Epochs of an iterable, such as a list or a DataLoader: each iteration is one epoch."""

    batches: Iterable[Any]

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Iterate over the data, without the first `start` batches."""
        return islice(iter(self.batches), start, None)


def to_epochs(data: Any) -> Epochs:
    """Return training data as epochs: the data itself if it has a method `epoch`, else `RepeatedEpochs`."""
    if _has_epochs(data):
        return data
    check_repeatable("train", data)
    return RepeatedEpochs(data)


def _has_epochs(data: Any) -> bool:
    return callable(getattr(data, "epoch", None))


def check_repeatable(name: str, data: Any) -> None:
    """Raise `InputError` if `data` is not iterable, or is an iterator, which can be used only once."""
    is_iterable = hasattr(data, "__iter__") or hasattr(data, "__getitem__")
    if not is_iterable or isinstance(data, Iterator):  # `iter(data)` would start the worker processes of a DataLoader
        raise InputError(
            f"{name}: received {type(data).__name__}, expected batches that can be iterated over repeatedly, such as "
            "mdnrnn.Batches, a DataLoader or a list; pass list(...) of an iterator"
        )


def shard(data: Any) -> Any:
    """Return this rank's part of the data. With one rank, return the data."""
    if distributed.world_size() == 1 or data is None:
        return data
    if not hasattr(data, "shard"):
        raise InputError(
            f"received {type(data).__name__} with {distributed.world_size()} ranks; expected data with a shard method: "
            "Batches, Windows or Points"
        )
    return data.shard(distributed.rank(), distributed.world_size())


def load_batches(data: Any, batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Yield batches on a device.

    Batches of data with a method `epoch` are computed in a background thread. Other data may use PyTorch's random
    generator, for example to shuffle, so their batches are computed when they are needed.

    Args:
        data: the data that the batches belong to.
        batches: the batches.
        device: the device.
    """
    moved = (move(batch, device) for batch in batches)
    return prefetch(moved) if _has_epochs(data) else moved


def move(batch: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on a device.

    A batch with a method `to` moves itself. In tuples, lists and mappings, each item is moved. Other values, such as
    strings, are returned unchanged.
    """
    if isinstance(batch, Tensor):
        if device.type == "mps" and batch.dtype == torch.float64:  # MPS has no float64
            batch = batch.float()
        return batch.to(device, non_blocking=True)
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: move(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(move(value, device) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(move(value, device) for value in batch)
    return batch


def count_points(batch: Any) -> int:
    """Return the number of points of a batch: its weight in the means of the loss.

    It is the attribute `points` or, for a batch without this attribute, the size of the first dimension of the first
    tensor.
    """
    points = getattr(batch, "points", None)
    if points is None:
        tensor = next(_tensors(batch), None)
        points = len(tensor) if tensor is not None and tensor.ndim else 0
    if points < 1:
        raise InputError(
            f"batch: received {type(batch).__name__} without examples, expected a tensor, a tuple, list or dict that "
            "contains a tensor with one or more rows, or an object with an attribute points"
        )
    return int(points)


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, (Mapping, tuple, list)):
        for value in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(value)
