"""Tests of batches of points: coverage, reproducibility, resumption, sharding and errors."""

import pytest
import torch

from mdnrnn.data.static import PointBatches, Points
from mdnrnn.errors import InputError

DATA = Points(torch.arange(103.0).unsqueeze(1), -torch.arange(103.0).unsqueeze(1))


def test_epoch_holds_every_point_once_with_its_target() -> None:
    batches = list(PointBatches(DATA, 10).epoch(3))
    x = torch.cat([batch.x for batch in batches]).flatten()
    assert not torch.equal(x, DATA.x.flatten())
    assert torch.equal(x.sort().values, DATA.x.flatten())
    assert all(torch.equal(batch.y, -batch.x) for batch in batches)
    assert all(torch.equal(DATA.x[batch.indices], batch.x) for batch in batches)
    assert {batch.points for batch in batches} == {9, 10}


def test_order_depends_on_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [i for batch in PointBatches(DATA, 10, seed).epoch(epoch) for i in batch.indices.tolist()]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_epoch_resumes_at_any_batch() -> None:
    batches = PointBatches(DATA, 10)
    complete, resumed = list(batches.epoch(2)), list(batches.epoch(2, start=4))
    assert [batch.indices.tolist() for batch in resumed] == [batch.indices.tolist() for batch in complete[4:]]


def test_full_batch_and_evaluation_pass_are_in_order() -> None:
    (full,) = PointBatches(DATA, 1000).epoch(5)
    assert torch.equal(full.x, DATA.x)
    assert torch.equal(torch.cat([batch.x for batch in PointBatches(DATA, 7)]), DATA.x)


def test_ranks_share_each_batch_and_idle_ranks_hold_a_placeholder() -> None:
    batches = PointBatches(Points(DATA.x[:5], DATA.y[:5]), 3)
    for number, batch in enumerate(batches.epoch(0)):
        shards = [list(batches.shard(rank, 4).epoch(0))[number] for rank in range(4)]
        assert [shard.idle for shard in shards] == [rank >= batch.points for rank in range(4)]
        indices = [i for shard in shards if not shard.idle for i in shard.indices.tolist()]
        assert sorted(indices) == sorted(batch.indices.tolist())
        assert all(shard.points == 1 for shard in shards if shard.idle)


@pytest.mark.parametrize(
    ("x", "y", "size", "message"),
    [
        ((3,), (3, 1), 2, r"points: received x \(3,\) and y \(3, 1\), expected \(N, A\) and \(N, D\)"),
        ((3, 1), (4, 1), 2, r"x \(3, 1\) and y \(4, 1\)"),
        ((0, 1), (0, 1), 2, r"x \(0, 1\)"),
        ((3, 1), (3, 1), 0, r"batch_size: received 0, expected 1 or more"),
    ],
    ids=["flat-input", "unequal-lengths", "no-points", "empty-batch"],
)
def test_invalid_points_and_batch_sizes_raise(x: tuple[int, ...], y: tuple[int, ...], size: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PointBatches(Points(torch.zeros(x), torch.zeros(y)), size)
