"""Interface of samplers, and the sampler of the general generation path (see `mdnrnn.generation.fast_path`).

A sampler computes sampled time steps from the output of a stepper and from noise. `FusedSampler` is the sampler of the
fast path.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from mdnrnn.distributions import Noise, StepDistribution
from mdnrnn.generation.sampling import Sampling


class StepSampler(Protocol):
    """Interface of `FusedSampler` and `DistributionSampler`."""

    groups: int
    """Number of uniform random numbers per sequence and step, G: one per selected component, then one for the event.

    Without events, `FusedSampler` does not need the last number.
    """

    def __call__(
        self, output: Any, uniform: Tensor, normal: Tensor, bin_width: Tensor | None, all_positive: bool, /
    ) -> tuple[Tensor, Tensor]:
        """Return motions (B, D) and events (B,), given the output of a stepper and noise.

        See `FusedSampler.__call__` for the noise and the bin widths.
        """
        ...


class DistributionSampler:
    """Sampler of the general path: samples steps from `sampling(distribution)`.

    Args:
        sampling: sampling options.
        component_choices: number of components that are selected per step: D for per-dimension mixtures, otherwise 1.
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
        """Return motions (B, D) and events (B,), given step distributions of batch shape (B,).

        See `FusedSampler.__call__` for the noise and the bin widths.
        """
        component = uniform[:, 0, 0] if self.component_choices == 1 else uniform[:, : self.component_choices, 0]
        noise = Noise(component, uniform[:, -1, 0], normal)
        step = self.sampling(distribution).transform(noise, bin_width)
        return step.motion, step.event
