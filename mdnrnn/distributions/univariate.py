"""Quantiles and the continuous ranked probability score of univariate normal mixtures."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mdnrnn.device import to_float64
from mdnrnn.distributions.function_transforms import opaque

_ROOT_TWO_PI = math.sqrt(2 * math.pi)
_MAX_ITERATIONS = 200


class Interval(NamedTuple):
    """The interval from `low` to `high`."""

    low: Tensor
    high: Tensor


def normal_cdf(z: Tensor) -> Tensor:
    """Return the standard normal CDF; unlike `torch.special.ndtr`, the result is accurate far into both tails."""
    return 0.5 * torch.erfc(z * -math.sqrt(0.5))


def quantile(prob: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Return quantiles of univariate normal mixtures, shape (...), in float64 and without gradient.

    Args:
        prob: probabilities of the quantiles, shape (...).
        log_weights: logs of the component weights, shape (..., K).
        means: component means, shape (..., K).
        scales: standard deviations of the components, shape (..., K).
    """
    prob, weights, means, scales = (to_float64(t.detach()) for t in (prob, log_weights.exp(), means, scales))
    shape = torch.broadcast_shapes(prob.shape, means.shape[:-1])
    components = (tensor.expand(*shape, tensor.shape[-1]) for tensor in (weights, means, scales))
    # The loop of `_solve_quantile` cannot reach infinite quantiles.
    inside = (prob > 0) & (prob < 1)
    median_or_nan = torch.where(prob.isnan(), prob, 0.5)
    quantiles = _solve_quantile(torch.where(inside, prob, median_or_nan).expand(shape), *components)
    return torch.where(prob == 0, -math.inf, torch.where(prob == 1, math.inf, quantiles))


@opaque("solve_quantile", lambda prob, weights, means, scales: torch.empty_like(prob))
def _solve_quantile(prob: Tensor, weights: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Return quantiles, shape (...), given probabilities in (0, 1), shape (...), and components, shape (..., K).

    Uses Newton's method within an interval that contains the quantile. If a Newton step is longer than half of the
    preceding step or leaves the interval, the interval is bisected instead. The initial interval is the range from the
    smallest to the largest quantile of the components. A quantile does not change after its iteration has converged.
    """
    component_quantiles = means + scales * torch.special.ndtri(prob).unsqueeze(-1)
    low, high = component_quantiles.amin(-1), component_quantiles.amax(-1)
    x, step = (weights * component_quantiles).sum(-1).clamp(low, high), high - low
    tolerance, moving = 1e-10 * scales.amin(-1), torch.ones_like(prob, dtype=torch.bool)
    for _ in range(_MAX_ITERATIONS):
        z = (x.unsqueeze(-1) - means) / scales
        excess = (weights * normal_cdf(z)).sum(-1) - prob
        density = (weights / scales * torch.exp(-0.5 * z.square())).sum(-1) / _ROOT_TWO_PI
        low, high = torch.where(excess <= 0, x, low), torch.where(excess >= 0, x, high)
        newton = excess / density
        accepted = (newton.abs() <= 0.5 * step.abs()) & (x - newton >= low) & (x - newton <= high)
        step = torch.where(accepted, newton, x - 0.5 * (low + high))
        x = torch.where(moving, x - step, x)
        moving = moving & (step.abs() > tolerance + 4e-16 * x.abs())
        if not bool(moving.any()):
            break
    return x


def crps(value: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Return the continuous ranked probability score of `value` under a univariate normal mixture, shape (...).

    The score has the unit of `value`. With weights w, means m and standard deviations s, the score of a value y is

        sum_k w_k A(y - m_k, s_k) - 1/2 sum_jk w_j w_k A(m_j - m_k, sqrt(s_j^2 + s_k^2)),

    where A(d, s) is the mean of |d + s e| for a standard normal e (Grimit, Gneiting, Berrocal and Johnson, Q. J. R.
    Meteorol. Soc. 132, 2006).

    Args:
        value: shape (...).
        log_weights: logs of the component weights, shape (..., K).
        means: component means, shape (..., K).
        scales: standard deviations of the components, shape (..., K).
    """
    weights = log_weights.exp()
    to_value = (weights * _mean_absolute(value.unsqueeze(-1) - means, scales)).sum(-1)
    between = _mean_absolute(
        means.unsqueeze(-1) - means.unsqueeze(-2), torch.hypot(scales[..., None], scales[..., None, :])
    )
    return to_value - 0.5 * (weights.unsqueeze(-1) * weights.unsqueeze(-2) * between).sum((-2, -1))


def _mean_absolute(distance: Tensor, scale: Tensor) -> Tensor:
    """Return the mean of |distance + scale e| for a standard normal e."""
    z = distance / scale
    return distance * torch.erf(z * math.sqrt(0.5)) + scale * (2 / _ROOT_TWO_PI) * torch.exp(-0.5 * z.square())
