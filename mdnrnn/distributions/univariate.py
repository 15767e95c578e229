"""Mixtures of normals on a line: quantiles and the continuous ranked probability score."""

import math

import torch
from torch import Tensor

_ROOT_TWO_PI = math.sqrt(2 * math.pi)
_MOST_STEPS = 200


def normal_cdf(z: Tensor) -> Tensor:
    """The standard normal's distribution function, exact far into both tails, where torch.special.ndtr loses it."""
    return 0.5 * torch.erfc(z * -math.sqrt(0.5))


def quantile(prob: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Where the distribution function reaches `prob` (...), in float64; the mixture's parameters are (..., K).

    Newton's method inside a bracket that bisection narrows wherever Newton does not halve its step. A mixture's
    quantile lies between the least and the greatest of its components', so the bracket is there from the start.
    """
    inside = (prob > 0) & (prob < 1)
    prob = torch.where(inside, prob, torch.where(prob.isnan(), prob, 0.5)).double()
    weights, means, scales = log_weights.double().exp(), means.double(), scales.double()
    ends = means + scales * torch.special.ndtri(prob).unsqueeze(-1)
    low, high = ends.amin(-1), ends.amax(-1)
    x, step = (weights * ends).sum(-1).clamp(low, high), high - low
    tolerance = 1e-10 * scales.amin(-1)
    for _ in range(_MOST_STEPS):
        z = (x.unsqueeze(-1) - means) / scales
        excess = (weights * normal_cdf(z)).sum(-1) - prob
        density = (weights / scales * torch.exp(-0.5 * z.square())).sum(-1) / _ROOT_TWO_PI
        low, high = torch.where(excess <= 0, x, low), torch.where(excess >= 0, x, high)
        newton = excess / density
        good = (newton.abs() <= 0.5 * step.abs()) & (x - newton >= low) & (x - newton <= high)
        step = torch.where(good, newton, x - 0.5 * (low + high))
        x = x - step
        if not bool((step.abs() > tolerance + 4e-16 * x.abs()).any()):
            break
    return x


def crps(value: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Continuous ranked probability score of `value` (...), in its units; the parameters are (..., K).

    sum_k w_k A(y - m_k, s_k) - 1/2 sum_jk w_j w_k A(m_j - m_k, sqrt(s_j^2 + s_k^2)), where A(d, s) is the mean of
    |d + s e|: Grimit, Gneiting, Berrocal and Johnson, Q. J. R. Meteorol. Soc. 132 (2006).
    """
    weights = log_weights.exp()
    to_value = (weights * _mean_distance(value.unsqueeze(-1) - means, scales)).sum(-1)
    between = _mean_distance(
        means.unsqueeze(-1) - means.unsqueeze(-2), torch.hypot(scales[..., None], scales[..., None, :])
    )
    return to_value - 0.5 * (weights.unsqueeze(-1) * weights.unsqueeze(-2) * between).sum((-2, -1))


def _mean_distance(distance: Tensor, scale: Tensor) -> Tensor:
    z = distance / scale
    return distance * torch.erf(z * math.sqrt(0.5)) + scale * (2 / _ROOT_TWO_PI) * torch.exp(-0.5 * z.square())
