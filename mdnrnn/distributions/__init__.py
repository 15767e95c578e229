"""Distributions over points and steps, usable in anyone's PyTorch code."""

from mdnrnn.distributions.mixture import GaussianMixture
from mdnrnn.distributions.step import DOWN, END, START, UP, Noise, Step, StepDistribution

__all__ = ["DOWN", "END", "START", "UP", "GaussianMixture", "Noise", "Step", "StepDistribution"]
