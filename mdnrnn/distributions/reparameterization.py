"""Implicit reparameterization: gradients of samples with respect to the parameters of a mixture.

A sample keeps its probability integral transform u = F(x; parameters) while the parameters change, so dx = -dF / p,
where p is the density at x. For D dimensions this holds for each dimension in turn, conditional on the dimensions
before it (Graves, arXiv:1607.05690; Figurnov, Mohamed and Mnih, arXiv:1805.08498).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mdnrnn.distributions.density import HALF_LOG_TWO_PI
from mdnrnn.distributions.univariate import normal_cdf


def attach_gradients(
    point: Tensor,
    log_weights: Tensor,
    means: Tensor,
    log_scales: Tensor,
    slopes: Tensor | None,
    prob: Tensor | None = None,
) -> Tensor:
    """Return `point` as a differentiable function of the parameters; its values do not change.

    Only first derivatives are correct, because the density in the denominator is treated as a constant.

    Args:
        point: samples, shape (..., D).
        log_weights: shape (..., K).
        means: shape (..., K, D).
        log_scales: shape (..., K, D).
        slopes: shape (..., K, D, D); None for diagonal covariances.
        prob: for D = 1, probabilities of which `point` are the quantiles, shape (...); they receive gradients, too.
    """
    if not torch.is_grad_enabled():
        return point
    dimensions: list[Tensor] = []
    distances: list[Tensor] = []
    for d in range(point.shape[-1]):
        mean = means[..., d]
        for j, distance in enumerate(distances if slopes is not None else ()):
            mean = mean + slopes[..., d, j] * distance  # type: ignore[index]
        weights = torch.softmax(log_weights, -1)
        finite = point[..., d].isfinite()  # the quantiles of 0 and 1 are infinite and have no gradient
        z = (torch.where(finite, point[..., d], 0.0).unsqueeze(-1) - mean) * torch.exp(-log_scales[..., d])
        cdf = (weights * normal_cdf(z)).sum(-1)
        cdf = cdf if prob is None else cdf - prob
        density = (weights * torch.exp(-0.5 * z.square() - log_scales[..., d] - HALF_LOG_TWO_PI)).sum(-1).detach()
        # The difference is exactly zero and carries the gradient; where the density is 0, the gradient is 0.
        change = (cdf - cdf.detach()) / torch.where(finite & (density > 0), density, torch.inf)
        x = point[..., d] - change
        dimensions.append(x)
        distances.append(x.unsqueeze(-1) - means[..., d])
        z = (x.unsqueeze(-1) - mean) * torch.exp(-log_scales[..., d])
        log_weights = log_weights - 0.5 * z.square() - log_scales[..., d]
    return torch.stack(dimensions, -1)
