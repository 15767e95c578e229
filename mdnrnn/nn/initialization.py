"""Clustering of targets to initialize mixture components, by quantile groups if D = 1 and by k-means otherwise."""

from __future__ import annotations

import torch
from torch import Tensor

from mdnrnn.device import to_float64

_MAX_POINTS = 4096
_ITERATIONS = 20
_CANDIDATES = 8
"""Number of random candidates for each initial center of k-means; the best one is used."""


def cluster_points(points: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cluster points and return the weights (K,), centers (K, D) and standard deviations (K, D) of K clusters.

    Weights and standard deviations are positive. If N > 4096, only 4096 evenly spaced rows of `points` are used. The
    result is deterministic.

    Args:
        points: shape (N, D).
        k: number of clusters K.
    """
    points = to_float64(points.detach())
    if len(points) > _MAX_POINTS:
        points = points[torch.linspace(0, len(points) - 1, _MAX_POINTS, device=points.device).long()]
    assignment = _assign_by_rank(points, k) if points.shape[1] == 1 else _k_means(points, k)
    membership = torch.nn.functional.one_hot(assignment, k).double()
    counts = membership.sum(0)
    centers = _cluster_means(points, membership)
    variances = membership.T @ (points - centers[assignment]).square() / counts.clamp_min(1).unsqueeze(-1)
    # If the variance of a cluster is about 0 (single or repeated points), use the variance of all points / K^2.
    fallback = points.var(0, correction=0).clamp_min(1e-12) / k**2
    weights = (counts + 1) / (len(points) + k)
    return weights, centers, torch.where(variances > 1e-6 * fallback, variances, fallback).sqrt()


def _assign_by_rank(points: Tensor, k: int) -> Tensor:
    """Return the quantile group of each point, from 0 to K - 1; the sizes of the K groups differ by at most 1."""
    rank = points.squeeze(-1).argsort().argsort()
    return rank * k // len(points)


def _k_means(points: Tensor, k: int) -> Tensor:
    """Return the cluster of each point, from 0 to K - 1.

    Uses Lloyd's algorithm on standardized points, initialized by greedy k-means++ (Arthur and Vassilvitskii 2007).
    """
    generator = torch.Generator(points.device).manual_seed(0)
    scaled = points / points.std(0, correction=0).clamp_min(1e-12)
    chosen = [0]
    nearest = (scaled - scaled[0]).square().sum(-1)
    for _ in range(1, k):
        weights = nearest if bool(nearest.any()) else torch.ones_like(nearest)
        candidates = torch.multinomial(weights, _CANDIDATES, replacement=True, generator=generator)
        distances = torch.minimum(nearest.unsqueeze(-1), torch.cdist(scaled, scaled[candidates]).square())
        best = int(distances.sum(0).argmin())
        chosen.append(int(candidates[best]))
        nearest = distances[:, best]
    centers = scaled[chosen]
    for _ in range(_ITERATIONS):
        assignment = torch.cdist(scaled, centers).argmin(-1)
        centers = _cluster_means(scaled, torch.nn.functional.one_hot(assignment, k).double(), centers)
    return assignment


def _cluster_means(points: Tensor, membership: Tensor, default: Tensor | None = None) -> Tensor:
    """Return the mean of each cluster, shape (K, D), from one-hot memberships (N, K).

    For an empty cluster, the result is the cluster's row of `default`, shape (K, D), or the mean of all points if
    `default` is None.
    """
    counts = membership.sum(0).unsqueeze(-1)
    means = membership.T @ points / counts.clamp_min(1)
    return torch.where(counts > 0, means, points.mean(0) if default is None else default)
