"""Monte Carlo estimates of expectations under a Gaussian mixture, with standard errors and gradients.

The gradient is that of the reparameterization x = mean_k + L_k e for a sampled component k, plus a score function term
for the weights: each term of the sample mean is multiplied by w_k / w_k, where the denominator is a constant. This is
unbiased, for higher derivatives as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mdnrnn.distributions.categorical import sample_categorical

if TYPE_CHECKING:
    from mdnrnn.distributions.gaussian_mixture import GaussianMixture

_MAX_ELEMENTS = 2**23
"""Approximate maximum number of elements per intermediate tensor; samples are drawn in chunks."""


class Estimate(NamedTuple):
    """Monte Carlo estimate (`value`) and its standard error."""

    value: Tensor
    standard_error: Tensor


def estimate_mean(
    function: Callable[[Tensor, Tensor], Tensor],
    mixture: GaussianMixture,
    samples: int,
    generator: torch.Generator | None,
) -> Estimate:
    """Return the mean of a function over points of a mixture of batch shape (...), shape (...).

    Args:
        function: function of components, shape (N, ...), and of points that these components have generated, shape
            (N, ..., D). It returns a tensor of shape (N, ...).
        mixture: distribution of the points.
        samples: number of samples, at least 2.
        generator: random number generator.
    """
    if samples < 2:
        raise ValueError(f"samples: received {samples}, expected 2 or more")

    def evaluate(size: int) -> Tensor:
        uniform, normal = mixture._draw_noise((size,), generator)
        component = sample_categorical(mixture.logits.detach(), uniform)
        values = function(component, mixture._transform_component(component, normal))
        selected = log_weights.expand(*component.shape, -1).gather(-1, component.unsqueeze(-1)).squeeze(-1)
        return values * torch.exp(selected - selected.detach())

    log_weights, chunk = mixture.log_weights, max(1, _MAX_ELEMENTS // max(1, mixture.means.numel()))
    terms = torch.cat([evaluate(min(chunk, samples - first)) for first in range(0, samples, chunk)])
    mean = terms.mean(0)
    variance = (terms - mean).detach().square().sum(0) / (samples - 1)
    return Estimate(mean, (variance / samples).sqrt())
