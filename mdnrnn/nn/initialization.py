"""Clusters of targets, for the components of a mixture to start from: quantiles on a line, k-means elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_POINTS = 4096
_ROUNDS = 20
_CANDIDATES = 8
"""Points that are tried as the next center."""


def cluster_points(points: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shares (K,), centers (K, D) and standard deviations (K, D), all positive, of K cluster_points of points (N, D).

    Thousands of points are taken at even distances; the same points give the same cluster_points.
    """
    points = points.detach().double()
    if len(points) > _MOST_POINTS:
        points = points[torch.linspace(0, len(points) - 1, _MOST_POINTS, device=points.device).long()]
    belongs = _quantiles(points, k) if points.shape[1] == 1 else _k_means(points, k)
    member = torch.nn.functional.one_hot(belongs, k).double()
    counts = member.sum(0)
    centers = _means(points, member)
    variances = member.T @ (points - centers[belongs]).square() / counts.clamp_min(1).unsqueeze(-1)
    # Where a cluster has no width of its own, one point or many in one place, it takes that of all points over K.
    given = points.var(0, correction=0).clamp_min(1e-12) / k**2
    shares = (counts + 1) / (len(points) + k)
    return shares, centers, torch.where(variances > 1e-6 * given, variances, given).sqrt()


def _quantiles(points: Tensor, k: int) -> Tensor:
    """Which of K equal parts of the order each point is in."""
    rank = points.squeeze(-1).argsort().argsort()
    return rank * k // len(points)


def _k_means(points: Tensor, k: int) -> Tensor:
    """The nearest of K centers for each point: Lloyd's rounds from a spread start (Arthur and Vassilvitskii 2007)."""
    generator = torch.Generator(points.device).manual_seed(0)
    scaled = points / points.std(0, correction=0).clamp_min(1e-12)
    chosen = [0]
    nearest = (scaled - scaled[0]).square().sum(-1)
    for _ in range(1, k):
        odds = nearest if bool(nearest.any()) else torch.ones_like(nearest)
        tried = torch.multinomial(odds, _CANDIDATES, replacement=True, generator=generator)
        left = torch.minimum(nearest.unsqueeze(-1), torch.cdist(scaled, scaled[tried]).square())
        best = int(left.sum(0).argmin())
        chosen.append(int(tried[best]))
        nearest = left[:, best]
    centers = scaled[chosen]
    for _ in range(_ROUNDS):
        belongs = torch.cdist(scaled, centers).argmin(-1)
        centers = _means(scaled, torch.nn.functional.one_hot(belongs, k).double(), centers)
    return belongs


def _means(points: Tensor, member: Tensor, empty: Tensor | None = None) -> Tensor:
    """Mean of each cluster's points, member (N, K); where there are none `empty`, or the mean of all."""
    counts = member.sum(0).unsqueeze(-1)
    means = member.T @ points / counts.clamp_min(1)
    return torch.where(counts > 0, means, points.mean(0) if empty is None else empty)
