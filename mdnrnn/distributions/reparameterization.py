"""Implicit reparameterization: gradients of samples with respect to the parameters of a mixture.

Let F be the cumulative distribution function and p the density. If the parameters change, a sample x changes such that
F(x; parameters) remains constant. Therefore dx = -dF / p(x), where dF is the change of F at fixed x. In D dimensions,
this formula is applied to one dimension after the other, with F and p conditional on the preceding dimensions (Graves,
arXiv:1607.05690; Figurnov, Mohamed and Mnih, arXiv:1805.08498).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mdnrnn.distributions.density import HALF_LOG_TWO_PI
from mdnrnn.distributions.function_transforms import is_transformed
from mdnrnn.distributions.univariate import normal_cdf


def attach_gradients(
    point: Tensor,
    log_weights: Tensor,
    means: Tensor,
    log_scales: Tensor,
    slopes: Tensor | None,
    prob: Tensor | None = None,
) -> Tensor:
    """Return a tensor that has the values of `point` and is differentiable with respect to the parameters.

    The parameters are mixture weights, means and scales. The gradients are computed by implicit reparameterization; see
    the module docstring. Only first derivatives are correct, because the density at `point` is treated as a constant.

    Args:
        point: samples or quantiles, shape (..., D).
        log_weights: shape (..., K).
        means: shape (..., K, D).
        log_scales: shape (..., K, D).
        slopes: regression coefficients of each dimension on the earlier ones, shape (..., K, D, D); None for diagonal
            covariances.
        prob: probabilities of the quantiles, shape (...), if `point` contains quantiles (D must be 1). The result is
            then also differentiable with respect to `prob`. None if `point` contains samples.
    """
    point = point.detach()
    if not torch.is_grad_enabled() and not is_transformed():  # `torch.no_grad` does not stop forward-mode derivatives
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
        # The value of `change` is 0. Its gradient is dF / p(x), or 0 if the density is 0 or x is infinite.
        change = (cdf - cdf.detach()) / torch.where(finite & (density > 0), density, torch.inf)
        x = point[..., d] - change
        dimensions.append(x)
        distances.append(x.unsqueeze(-1) - means[..., d])
        z = (x.unsqueeze(-1) - mean) * torch.exp(-log_scales[..., d])
        log_weights = log_weights - 0.5 * z.square() - log_scales[..., d]
    return torch.stack(dimensions, -1)
