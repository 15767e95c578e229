"""Probability distributions over points and over time steps; the only dependency is PyTorch."""

from mdnrnn.distributions.gaussian_mixture import Estimate, GaussianMixture, Interval
from mdnrnn.distributions.per_dimension import PerDimensionMixture
from mdnrnn.distributions.step import Noise, Step, StepDistribution

__all__ = [
    "Estimate", "GaussianMixture", "Interval", "Noise", "PerDimensionMixture", "Step",
    "StepDistribution",
]  # fmt: skip
