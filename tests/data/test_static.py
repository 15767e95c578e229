"""Batches of points: each point once an epoch, the same order for the same seed, resumable anywhere."""

import pytest
import torch

from mdnrnn.data.static import PointBatches, Points
from mdnrnn.errors import InputError

DATA = Points(torch.arange(103.0).unsqueeze(1), -torch.arange(103.0).unsqueeze(1))


def test_an_epoch_holds_every_point_once_with_its_target() -> None:
    batches = list(PointBatches(DATA, 10).epoch(3))
    x = torch.cat([batch.x for batch in batches]).flatten()
    assert not torch.equal(x, DATA.x.flatten())
    assert torch.equal(x.sort().values, DATA.x.flatten())
    assert all(torch.equal(batch.y, -batch.x) for batch in batches)
    assert all(torch.equal(DATA.x[batch.indices], batch.x) for batch in batches)
    assert {batch.points for batch in batches} == {9, 10}


def test_the_order_comes_from_the_seed_and_the_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [i for batch in PointBatches(DATA, 10, seed).epoch(epoch) for i in batch.indices.tolist()]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_an_epoch_goes_on_in_the_middle_as_it_would_have() -> None:
    batches = PointBatches(DATA, 10)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start=4))
    assert [batch.indices.tolist() for batch in rest] == [batch.indices.tolist() for batch in whole[4:]]


def test_a_full_batch_and_a_plain_pass_are_in_order() -> None:
    (full,) = PointBatches(DATA, 1000).epoch(5)
    assert torch.equal(full.x, DATA.x)
    assert torch.equal(torch.cat([batch.x for batch in PointBatches(DATA, 7)]), DATA.x)


@pytest.mark.parametrize(
    ("x", "y", "size", "complaint"),
    [
        ((3,), (3, 1), 2, r"points: received x \(3,\) and y \(3, 1\), expected \(N, A\) and \(N, D\)"),
        ((3, 1), (4, 1), 2, r"x \(3, 1\) and y \(4, 1\)"),
        ((0, 1), (0, 1), 2, r"x \(0, 1\)"),
        ((3, 1), (3, 1), 0, r"batch_size: received 0, expected 1 or more"),
    ],
    ids=["a flat input", "lengths that differ", "no points", "an empty batch"],
)
def test_what_cannot_be_batched_is_refused(x: tuple[int, ...], y: tuple[int, ...], size: int, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        PointBatches(Points(torch.zeros(x), torch.zeros(y)), size)
