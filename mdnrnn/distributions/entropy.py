"""Entropy of Gaussian mixtures.

The entropy of a mixture is the joint entropy of point and component minus the entropy of the component given the point,

    H(x) = sum_k w_k (H_k - log w_k) - E[H(r(x))],    H_k = sum_d log s_kd + D (1 + log(2 pi)) / 2,

with weights w, component entropies H_k and responsibilities r. Only the last term is estimated by Monte Carlo. It is
between 0 and log K, and 0 for a single component and for components that do not overlap; the estimate is exact for
these mixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mdnrnn.distributions.density import HALF_LOG_TWO_PI, sum_features
from mdnrnn.distributions.monte_carlo import Estimate, estimate_mean

if TYPE_CHECKING:
    from mdnrnn.distributions.gaussian_mixture import GaussianMixture


def estimate_entropy(mixture: GaussianMixture, samples: int, generator: torch.Generator | None) -> Estimate:
    """Return an estimate of the differential entropy in nats, shape (...).

    Args:
        mixture: batch shape (...).
        samples: number of samples, at least 2.
        generator: random number generator.
    """
    log_weights = mixture.log_weights
    joint = (log_weights.exp() * component_entropy(mixture.log_scales)).sum(-1) + categorical_entropy(log_weights)
    if log_weights.shape[-1] == 1:
        return Estimate(joint, torch.zeros_like(joint))

    def conditional_entropy(component: Tensor, point: Tensor) -> Tensor:
        return categorical_entropy(mixture._log_posterior(point))

    conditional, error = estimate_mean(conditional_entropy, mixture, samples, generator)
    return Estimate(joint - conditional, error)


def component_entropy(log_scales: Tensor) -> Tensor:
    """Return the entropy of normal distributions in nats, shape (...), given log scales, shape (..., D)."""
    return sum_features(log_scales) + log_scales.shape[-1] * (0.5 + HALF_LOG_TWO_PI)


def categorical_entropy(log_weights: Tensor) -> Tensor:
    """Return the entropy in nats, shape (...), of normalized log weights, shape (..., K), which can be -inf."""
    return -(log_weights.exp() * log_weights.clamp_min(torch.finfo(log_weights.dtype).min)).sum(-1)
