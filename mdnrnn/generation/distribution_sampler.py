"""Samplers: map the output of a stepper and noise to steps; `FusedSampler` is the sampler of the fast path."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from mdnrnn.distributions import Noise, StepDistribution
from mdnrnn.generation.sampling import Sampling


class StepSampler(Protocol):
    """Interface of `FusedSampler` and `DistributionSampler`."""

    groups: int
    """Number of categorical choices per step, G."""

    def __call__(
        self, output: Any, uniform: Tensor, normal: Tensor, bin_width: Tensor | None, all_positive: bool, /
    ) -> tuple[Tensor, Tensor]:
        """Return motions (B, D) and events (B,), given the output of a stepper and noise."""
        ...


class DistributionSampler:
    """Samples steps from `sampling(distribution)`.

    Args:
        sampling: sampling options.
        component_choices: number of components that are selected per step.
    """

    def __init__(self, sampling: Sampling, component_choices: int) -> None:
        self.sampling, self.component_choices = sampling, component_choices
        self.groups = component_choices + 1

    def __call__(
        self,
        distribution: StepDistribution,
        uniform: Tensor,
        normal: Tensor,
        bin_width: Tensor | None = None,
        all_positive: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return motions (B, D) and events (B,); see `FusedSampler.__call__` for the noise."""
        component = uniform[:, 0, 0] if self.component_choices == 1 else uniform[:, : self.component_choices, 0]
        noise = Noise(component, uniform[:, -1, 0], normal)
        step = self.sampling(distribution).transform(noise, bin_width)
        return step.motion, step.event
