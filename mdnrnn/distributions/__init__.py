"""Probability distributions over points and over time steps; the only dependency is PyTorch."""

from mdnrnn.distributions.gaussian_mixture import GaussianMixture
from mdnrnn.distributions.kl import kl_estimate
from mdnrnn.distributions.monte_carlo import Estimate
from mdnrnn.distributions.per_dimension import PerDimensionMixture
from mdnrnn.distributions.step import Noise, Step, StepDistribution
from mdnrnn.distributions.univariate import Interval

__all__ = [
    "Estimate", "GaussianMixture", "Interval", "Noise", "PerDimensionMixture", "Step",
    "StepDistribution", "kl_estimate",
]  # fmt: skip
