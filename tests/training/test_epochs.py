"""Training data of any kind: epochs of iterables, batches on a device, number of points."""

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from mdnrnn.data.static import PointBatches, Points
from mdnrnn.errors import InputError
from mdnrnn.training.epochs import check_repeatable, count_points, load_batches, move, to_epochs
from tests.helpers import make_batches, random_corpus

Pair = namedtuple("Pair", ["x", "y"])
META = torch.device("meta")
DATA = Points(torch.arange(10.0).unsqueeze(1), torch.zeros(10, 1))


def test_data_with_epochs_are_returned_unchanged() -> None:
    for data in (PointBatches(DATA, 3), make_batches(random_corpus([3, 4]))):
        assert to_epochs(data) is data


def test_iterable_is_one_epoch_per_iteration_without_the_first_batches() -> None:
    epochs = to_epochs(["a", "b", "c"])
    for number in (0, 1, 7):
        assert list(epochs.epoch(number)) == ["a", "b", "c"]
        assert list(epochs.epoch(number, 2)) == ["c"]
        assert list(epochs.epoch(number, 3)) == []
    loader = to_epochs(DataLoader(TensorDataset(torch.arange(6)), batch_size=4))
    assert [batch[0].tolist() for batch in loader.epoch(0)] == [[0, 1, 2, 3], [4, 5]]


@pytest.mark.parametrize(
    "data", [iter([1]), (i for i in range(3)), 5, None], ids=["iterator", "generator", "int", "None"]
)
def test_data_that_can_be_used_only_once_are_an_error(data: Any) -> None:
    with pytest.raises(
        InputError, match=rf"valid: received {type(data).__name__}, expected batches that can be iterat"
    ):
        check_repeatable("valid", data)


def test_tensors_are_moved_in_nested_batches() -> None:
    x, y = torch.ones(2, 3), torch.zeros(2)
    assert move(x, META).device == META
    moved = move({"pair": Pair(x, [y]), "names": ("a", None), "n": 3}, META)
    assert isinstance(moved["pair"], Pair)
    assert isinstance(moved["pair"].y, list)
    assert moved["pair"].x.device == moved["pair"].y[0].device == META
    assert moved["names"] == ("a", None)
    assert moved["n"] == 3

    class Own:
        def to(self, device: torch.device) -> str:
            return f"on {device}"

    assert move([Own()], META) == ["on meta"]


def test_batches_are_loaded_on_the_device_in_order() -> None:
    tuples = [(torch.tensor([i]),) for i in range(5)]
    loaded = list(load_batches(tuples, tuples, META))
    assert [batch[0].device for batch in loaded] == [META] * 5
    points = PointBatches(DATA, 3)
    batches = list(load_batches(points, points, torch.device("cpu")))
    assert [batch.indices.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


BATCH = make_batches(random_corpus([3, 4, 5])).batch(np.array([0, 2]))
COUNTS: dict[str, tuple[Any, int]] = {
    "batch of sequences": (BATCH, 8),
    "tensor": (torch.zeros(4, 2), 4),
    "tuple": ((torch.zeros(5, 2), torch.zeros(3)), 5),
    "dict with names first": ({"names": ["a"], "x": torch.zeros(6)}, 6),
    "nested": ([{"x": (torch.zeros(7),)}], 7),
}


@pytest.mark.parametrize(("batch", "expected"), COUNTS.values(), ids=COUNTS.keys())
def test_points_are_the_attribute_or_the_rows_of_the_first_tensor(batch: Any, expected: int) -> None:
    assert count_points(batch) == expected


@pytest.mark.parametrize("batch", [(), {"a": "b"}, torch.zeros(0, 3), torch.zeros(()), np.zeros((3, 2)), object()])
def test_batch_without_examples_is_an_error(batch: Any) -> None:
    with pytest.raises(InputError, match="without examples, expected a tensor, a tuple, list or dict"):
        count_points(batch)
