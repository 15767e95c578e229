"""Clusters: equal parts on a line, the groups that are there in the plane, sound where there is little to find."""

import math

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from mdnrnn.nn.initialization import cluster_points


def grouped(centers: Tensor, scale: float, each: int, seed: int = 0) -> Tensor:
    """Points around centers (K, D), shuffled."""
    generator = torch.Generator().manual_seed(seed)
    points = centers.repeat_interleave(each, 0)
    points = points + scale * torch.randn(points.shape, generator=generator)
    return points[torch.randperm(len(points), generator=generator)]


PLANES = {
    "four on a square": torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    "twelve on a circle": torch.tensor([[math.cos(i * math.pi / 6), math.sin(i * math.pi / 6)] for i in range(12)]),
    "three along a diagonal": torch.tensor([[0.0, 0.0], [5.0, 5.0], [20.0, 20.0]]),
    "of a thousandth and a thousand": torch.tensor([[0.0, 0.0], [1e-3, 0.0], [0.0, 1e3], [1e-3, 1e3]]),
    "five in space": torch.tensor([[1.0, 0, 0], [0, 1, 0], [3, 3, 4], [0, 3, 3], [0, 0, 3]]),
}


@pytest.mark.parametrize("centers", PLANES.values(), ids=PLANES.keys())
def test_well_separated_groups_are_all_found(centers: Tensor) -> None:
    """Twenty sets of points; scales of 2% of the spread in each dimension, 100 points each.

    Centres within 5 standard errors of a mean: 20 x 24 numbers at most, false failure below 3e-4 a case.
    """
    spread = centers.std(0, correction=0)
    for seed in range(20):
        points = grouped(centers / spread, 0.02, 100, seed) * spread
        shares, found, _ = cluster_points(points, len(centers))
        nearest = torch.cdist(found.float() / spread, centers / spread).argmin(-1)
        assert sorted(nearest.tolist()) == list(range(len(centers)))
        assert (((found.float() - centers[nearest]) / spread).abs() < 5 * 0.02 / 10).all()
        torch.testing.assert_close(shares, torch.full_like(shares, 1 / len(centers)))


@pytest.mark.parametrize("centers", PLANES.values(), ids=PLANES.keys())
def test_groups_are_as_wide_as_their_points_lie(centers: Tensor) -> None:
    """Standard deviations of 100 points each within 40%, 5.6 of their standard errors: false failure below 1e-6."""
    spread = centers.std(0, correction=0)
    _, _, spreads = cluster_points(grouped(centers / spread, 0.02, 100) * spread, len(centers))
    assert ((spreads.float() / spread / 0.02 - 1).abs() < 0.4).all()


@pytest.mark.parametrize("seed", range(5))
def test_where_there_are_no_groups_centres_are_about_as_near_to_points_as_scipys_best(seed: int) -> None:
    """Mean square distance to the nearest of 8 centers, points of one normal: within a tenth of the best of 10 runs."""
    points = torch.randn(500, 2, generator=torch.Generator().manual_seed(seed)).double()
    points = points / points.std(0, correction=0)

    def spread(centers: Tensor) -> float:
        return float(torch.cdist(points, centers).amin(-1).square().mean())

    starts = (points[torch.randperm(500)[:8]].numpy() for _ in range(10))
    best = min(spread(torch.from_numpy(kmeans2(points.numpy(), start, 50, minit="matrix")[0])) for start in starts)
    assert spread(cluster_points(points, 8)[1]) < 1.1 * best


def test_shares_are_those_of_the_groups() -> None:
    """One point more in each, so that none is without: (n_k + 1) / (N + K)."""
    centers = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = torch.cat([grouped(center.unsqueeze(0), 0.1, n) for center, n in zip(centers, (10, 30, 60), strict=True)])
    shares, found, _ = cluster_points(points, 3)
    order = [int((found.float() - center).norm(dim=-1).argmin()) for center in centers]
    torch.testing.assert_close(shares[order], torch.tensor([11, 31, 61], dtype=torch.float64) / 103)


def equal_parts(points: Tensor, k: int) -> list[np.ndarray]:
    n, ordered = len(points), np.sort(points[:, 0].double().numpy())
    return [ordered[math.ceil(i * n / k) : math.ceil((i + 1) * n / k)] for i in range(k)]


@pytest.mark.parametrize("k", [1, 2, 5, 16])
@pytest.mark.parametrize("n", [16, 101, 1000])
def test_on_a_line_clusters_are_the_equal_parts_of_the_order(n: int, k: int) -> None:
    points = torch.randn(n, 1, generator=torch.Generator().manual_seed(n)).exp()
    shares, centers, _ = cluster_points(points, k)
    parts = equal_parts(points, k)
    np.testing.assert_allclose(centers[:, 0].numpy(), [part.mean() for part in parts], rtol=1e-12)
    np.testing.assert_allclose(shares.numpy(), [(len(part) + 1) / (n + k) for part in parts], rtol=1e-12)


def test_on_a_line_clusters_are_as_wide_as_their_points_lie() -> None:
    points = torch.randn(101, 1, generator=torch.Generator().manual_seed(0)).exp()
    expected = [part.std() for part in equal_parts(points, 5)]
    np.testing.assert_allclose(cluster_points(points, 5)[2][:, 0].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 3])
def test_the_same_points_give_the_same_clusters_whatever_the_seed(d: int) -> None:
    points = torch.randn(500, d, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first = cluster_points(points, 6)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = cluster_points(points, 6)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("d", [1, 2])
def test_a_million_points_are_clustered_by_thousands_of_them(d: int) -> None:
    """At even distances, the first and the last with them; means within 5 standard errors of a few thousand points."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(1_000_000, d, generator=generator) + 100 * (torch.arange(1_000_000) % 2).unsqueeze(-1)
    shares, centers, _ = cluster_points(points, 2)
    expected = torch.tensor([[0.0], [100.0]]).double().expand(2, d)
    assert (centers.sort(0).values - expected).abs().max() < 5 / math.sqrt(1500)
    assert (shares - 0.5).abs().max() < 0.05


HARD = {
    "one point on a line": (torch.tensor([[2.0]]), 3),
    "one point in the plane": (torch.tensor([[2.0, -1.0]]), 3),
    "fewer points than cluster_points on a line": (torch.tensor([[1.0], [2.0], [4.0]]), 8),
    "fewer points than cluster_points in the plane": (torch.tensor([[1.0, 0.0], [2.0, 5.0]]), 8),
    "all alike on a line": (torch.full((50, 1), 7.0), 4),
    "all alike in the plane": (torch.full((50, 2), 7.0), 4),
    "all on a line in the plane": (torch.stack([torch.arange(50.0), torch.zeros(50)], -1), 4),
    "two places": (torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(25, 1), 4),
    "very large": (torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 1e12, 4),
    "very small": (torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 1e-12, 4),
    "whole numbers": (torch.arange(40).view(20, 2), 4),
}


@pytest.mark.parametrize(("points", "k"), HARD.values(), ids=HARD.keys())
def test_where_there_is_little_to_find_clusters_are_sound(points: Tensor, k: int) -> None:
    shares, centers, spreads = cluster_points(points, k)
    assert shares.shape == (k,)
    assert centers.shape == spreads.shape == (k, points.shape[1])
    assert float(shares.sum()) == pytest.approx(1)
    assert (shares > 0).all()
    assert spreads.isfinite().all()
    assert (spreads > 0).all()
    low, high = points.double().amin(0), points.double().amax(0)
    rounding = 1e-12 * points.double().abs().max()
    assert ((centers >= low - rounding) & (centers <= high + rounding)).all()


def test_points_fewer_than_clusters_are_each_a_centre() -> None:
    points = torch.tensor([[1.0, 0.0], [2.0, 5.0], [-3.0, 1.0]])
    _, centers, _ = cluster_points(points, 5)
    assert all(float((centers.float() - point).norm(dim=-1).min()) < 1e-6 for point in points)
