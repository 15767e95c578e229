"""Clusters: equal quantile groups if D = 1, separated groups found by k-means otherwise, and degenerate points."""

import math

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from mdnrnn.nn.initialization import cluster_points


def make_groups(centers: Tensor, scale: float, n: int, seed: int = 0) -> Tensor:
    """Return n normal points around each of the centers (K, D), shuffled."""
    generator = torch.Generator().manual_seed(seed)
    points = centers.repeat_interleave(n, 0)
    points = points + scale * torch.randn(points.shape, generator=generator)
    return points[torch.randperm(len(points), generator=generator)]


CENTERS = {
    "square": torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    "circle": torch.tensor([[math.cos(i * math.pi / 6), math.sin(i * math.pi / 6)] for i in range(12)]),
    "diagonal": torch.tensor([[0.0, 0.0], [5.0, 5.0], [20.0, 20.0]]),
    "different units": torch.tensor([[0.0, 0.0], [1e-3, 0.0], [0.0, 1e3], [1e-3, 1e3]]),
    "three dimensions": torch.tensor([[1.0, 0, 0], [0, 1, 0], [3, 3, 4], [0, 3, 3], [0, 0, 3]]),
}


@pytest.mark.parametrize("centers", CENTERS.values(), ids=CENTERS.keys())
def test_all_separated_groups_are_found(centers: Tensor) -> None:
    """Twenty sets of groups with 100 points each and scales of 2% of the spread of the centers.

    At most 20 x 24 means within 5 standard errors: false-failure probability below 3e-4 per case.
    """
    spread = centers.std(0, correction=0)
    for seed in range(20):
        points = make_groups(centers / spread, 0.02, 100, seed) * spread
        weights, means, _ = cluster_points(points, len(centers))
        nearest = torch.cdist(means.float() / spread, centers / spread).argmin(-1)
        assert sorted(nearest.tolist()) == list(range(len(centers)))
        assert (((means.float() - centers[nearest]) / spread).abs() < 5 * 0.02 / 10).all()
        torch.testing.assert_close(weights, torch.full_like(weights, 1 / len(centers)))


@pytest.mark.parametrize("centers", CENTERS.values(), ids=CENTERS.keys())
def test_standard_deviations_are_those_of_the_groups(centers: Tensor) -> None:
    """Standard deviations of 100 points within 40%, 5.6 standard errors: false-failure probability below 1e-6."""
    spread = centers.std(0, correction=0)
    _, _, deviations = cluster_points(make_groups(centers / spread, 0.02, 100) * spread, len(centers))
    assert ((deviations.float() / spread / 0.02 - 1).abs() < 0.4).all()


@pytest.mark.parametrize("seed", range(5))
def test_k_means_of_ungrouped_points_is_close_to_the_best_of_scipy(seed: int) -> None:
    """Mean squared distance of normal points to the nearest of 8 centers, within 10% of the best of 10 runs."""
    points = torch.randn(500, 2, generator=torch.Generator().manual_seed(seed)).double()
    points = points / points.std(0, correction=0)

    def mean_squared_distance(centers: Tensor) -> float:
        return float(torch.cdist(points, centers).amin(-1).square().mean())

    starts = (points[torch.randperm(500)[:8]].numpy() for _ in range(10))
    runs = (kmeans2(points.numpy(), start, 50, minit="matrix")[0] for start in starts)
    best = min(mean_squared_distance(torch.from_numpy(centers)) for centers in runs)
    assert mean_squared_distance(cluster_points(points, 8)[1]) < 1.1 * best


def test_weights_are_smoothed_shares_of_the_groups() -> None:
    """(n_k + 1) / (N + K), so that no weight is zero."""
    centers = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    groups = [make_groups(center.unsqueeze(0), 0.1, n) for center, n in zip(centers, (10, 30, 60), strict=True)]
    weights, means, _ = cluster_points(torch.cat(groups), 3)
    order = [int((means.float() - center).norm(dim=-1).argmin()) for center in centers]
    torch.testing.assert_close(weights[order], torch.tensor([11, 31, 61], dtype=torch.float64) / 103)


def split_by_rank(points: Tensor, k: int) -> list[np.ndarray]:
    n, ordered = len(points), np.sort(points[:, 0].double().numpy())
    return [ordered[math.ceil(i * n / k) : math.ceil((i + 1) * n / k)] for i in range(k)]


@pytest.mark.parametrize("k", [1, 2, 5, 16])
@pytest.mark.parametrize("n", [16, 101, 1000])
def test_clusters_in_one_dimension_are_equal_quantile_groups(n: int, k: int) -> None:
    points = torch.randn(n, 1, generator=torch.Generator().manual_seed(n)).exp()
    weights, centers, _ = cluster_points(points, k)
    groups = split_by_rank(points, k)
    np.testing.assert_allclose(centers[:, 0].numpy(), [group.mean() for group in groups], rtol=1e-12)
    np.testing.assert_allclose(weights.numpy(), [(len(group) + 1) / (n + k) for group in groups], rtol=1e-12)


def test_standard_deviations_in_one_dimension_are_those_of_quantile_groups() -> None:
    points = torch.randn(101, 1, generator=torch.Generator().manual_seed(0)).exp()
    expected = [group.std() for group in split_by_rank(points, 5)]
    np.testing.assert_allclose(cluster_points(points, 5)[2][:, 0].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 3])
def test_clusters_do_not_depend_on_the_global_random_state_or_change_it(d: int) -> None:
    points = torch.randn(500, d, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first = cluster_points(points, 6)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = cluster_points(points, 6)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("d", [1, 2])
def test_large_sets_are_subsampled_evenly(d: int) -> None:
    """A million points: means within 5 standard errors of the means of 1500 points."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(1_000_000, d, generator=generator) + 100 * (torch.arange(1_000_000) % 2).unsqueeze(-1)
    weights, centers, _ = cluster_points(points, 2)
    expected = torch.tensor([[0.0], [100.0]]).double().expand(2, d)
    assert (centers.sort(0).values - expected).abs().max() < 5 / math.sqrt(1500)
    assert (weights - 0.5).abs().max() < 0.05


DEGENERATE = {
    "one point, 1-D": (torch.tensor([[2.0]]), 3),
    "one point, 2-D": (torch.tensor([[2.0, -1.0]]), 3),
    "fewer points than clusters, 1-D": (torch.tensor([[1.0], [2.0], [4.0]]), 8),
    "fewer points than clusters, 2-D": (torch.tensor([[1.0, 0.0], [2.0, 5.0]]), 8),
    "equal points, 1-D": (torch.full((50, 1), 7.0), 4),
    "equal points, 2-D": (torch.full((50, 2), 7.0), 4),
    "collinear points": (torch.stack([torch.arange(50.0), torch.zeros(50)], -1), 4),
    "two distinct points": (torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(25, 1), 4),
    "very large": (torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 1e12, 4),
    "very small": (torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 1e-12, 4),
    "integers": (torch.arange(40).view(20, 2), 4),
}


@pytest.mark.parametrize(("points", "k"), DEGENERATE.values(), ids=DEGENERATE.keys())
def test_clusters_of_degenerate_points_are_valid(points: Tensor, k: int) -> None:
    """Weights are positive and sum to 1, deviations positive and finite, centers within the range of the points."""
    weights, centers, deviations = cluster_points(points, k)
    assert weights.shape == (k,)
    assert centers.shape == deviations.shape == (k, points.shape[1])
    assert float(weights.sum()) == pytest.approx(1)
    assert (weights > 0).all()
    assert deviations.isfinite().all()
    assert (deviations > 0).all()
    low, high = points.double().amin(0), points.double().amax(0)
    rounding = 1e-12 * points.double().abs().max()
    assert ((centers >= low - rounding) & (centers <= high + rounding)).all()


def test_with_fewer_points_than_clusters_every_point_is_a_center() -> None:
    points = torch.tensor([[1.0, 0.0], [2.0, 5.0], [-3.0, 1.0]])
    _, centers, _ = cluster_points(points, 5)
    assert all(float((centers.float() - point).norm(dim=-1).min()) < 1e-6 for point in points)
