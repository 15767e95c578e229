"""Epochs in a DataLoader: the batches of `epoch`, in order, for any number of worker processes."""

import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from mdnrnn.data.batches import Augment, Batches
from mdnrnn.data.epoch_dataset import EpochDataset
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.training_windows import Windows
from tests.data.test_batch import assert_same
from tests.helpers import random_corpus

CORPUS = random_corpus([4 + i % 9 for i in range(60)])
NORMALIZER = Normalizer.from_corpus(CORPUS)
DATA: dict[str, Any] = {
    "sequences": Batches(CORPUS, "train", NORMALIZER, 8, augment=Augment(drop=0.3)),
    "pools": Batches(CORPUS, "train", NORMALIZER, 8, pool=20),
    "windows": Windows(Batches(CORPUS, "train", NORMALIZER, 8), window=5, carry=True),
}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later
@pytest.mark.parametrize("data", DATA.values(), ids=DATA.keys())
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_loader_yields_the_batches_of_the_epoch(data: Any, workers: int) -> None:
    torch.manual_seed(workers)  # the batches do not depend on PyTorch's generator
    for number in (0, 3):
        loaded: list[Any] = list(DataLoader(EpochDataset(data, number), batch_size=None, num_workers=workers))
        expected = list(data.epoch(number))
        assert len(loaded) == len(expected) > 2
        for batch, other in zip(loaded, expected, strict=True):
            assert_same(batch, other)


@pytest.mark.parametrize("data", DATA.values(), ids=DATA.keys())
def test_every_second_batch_of_an_epoch(data: Any) -> None:
    complete, odd = list(data.epoch(2)), list(data.epoch(2, 1, 2))
    assert len(odd) == len(complete) // 2
    for batch, other in zip(odd, complete[1::2], strict=True):
        assert_same(batch, other)


def test_data_set_can_be_sent_to_a_new_process() -> None:
    """As on systems where worker processes do not inherit memory."""
    copy = pickle.loads(pickle.dumps(EpochDataset(DATA["sequences"], 1)))  # noqa: S301
    for batch, other in zip(copy, DATA["sequences"].epoch(1), strict=True):
        assert_same(batch, other)


def test_rank_and_workers_divide_the_data_independently() -> None:
    data = replace(DATA["sequences"], rank=1, world_size=2)
    for batch, other in zip(EpochDataset(data, 0), DATA["sequences"].epoch(0), strict=True):
        assert batch.indices.tolist() == other.indices.tolist()[1::2]
