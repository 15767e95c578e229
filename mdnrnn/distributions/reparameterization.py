"""Gradients of points that keep their probability integral transform: implicit reparameterization.

Where u = F(x; parameters) stays, dx = -dF / p with p the density at x; for D dimensions one after the other, each
given those before it (Graves, arXiv:1607.05690; Figurnov, Mohamed and Mnih, arXiv:1805.08498).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mdnrnn.distributions.density import HALF_LOG_TWO_PI
from mdnrnn.distributions.univariate import normal_cdf


def attach(
    point: Tensor,
    log_weights: Tensor,
    means: Tensor,
    log_scales: Tensor,
    slopes: Tensor | None,
    prob: Tensor | None = None,
) -> Tensor:
    """`point`, shape (..., D), as a function of the mixture's parameters and, where D = 1, of its `prob` (...).

    First derivatives alone: the density that divides is taken as a number.
    """
    if not torch.is_grad_enabled():
        return point
    dimensions: list[Tensor] = []
    distances: list[Tensor] = []
    for d in range(point.shape[-1]):
        mean = means[..., d]
        for j, before in enumerate(distances if slopes is not None else ()):
            mean = mean + slopes[..., d, j] * before  # type: ignore[index]
        share = torch.softmax(log_weights, -1)
        here = point[..., d].isfinite()  # quantiles of 0 and 1 are not, and do not move
        z = (torch.where(here, point[..., d], 0.0).unsqueeze(-1) - mean) * torch.exp(-log_scales[..., d])
        moved = (share * normal_cdf(z)).sum(-1)
        moved = moved if prob is None else moved - prob
        density = (share * torch.exp(-0.5 * z.square() - log_scales[..., d] - HALF_LOG_TWO_PI)).sum(-1).detach()
        # Added as a difference that is exactly zero; no density, no derivative.
        change = (moved - moved.detach()) / torch.where(here & (density > 0), density, torch.inf)
        x = point[..., d] - change
        dimensions.append(x)
        distances.append(x.unsqueeze(-1) - means[..., d])
        z = (x.unsqueeze(-1) - mean) * torch.exp(-log_scales[..., d])
        log_weights = log_weights - 0.5 * z.square() - log_scales[..., d]
    return torch.stack(dimensions, -1)
