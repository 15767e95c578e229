"""Sampling options: temperatures, bias and endless generation; this module does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mdnrnn.errors import InputError

if TYPE_CHECKING:
    from mdnrnn.distributions.step import StepDistribution


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling options. Calling an instance converts a model's step distribution to the distribution to sample from."""

    temperature: float = 1.0
    """Sampling temperature. Lower values give more probable sequences; 0 always selects the most probable component and
    event. The formula is in the documentation of GaussianMixture.tempered."""
    scale_temperature: float | None = None
    """Sampling temperature of the scales of the components; by default equal to temperature."""
    bias: float = 0.0
    """Graves' probability bias; values above 0 give neater drawings. The formula is in the documentation of
    GaussianMixture.biased."""
    endless: bool = False
    """Whether to exclude the END event. All sequences then have the maximum number of steps. Handwriting models are an
    exception: they still stop at the end of the text."""

    def __post_init__(self) -> None:
        for name in ("temperature", "scale_temperature"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name}: received {value}, expected a number >= 0")
        if not -1 < self.bias < math.inf:
            raise InputError(f"bias: received {self.bias}, expected a finite number above -1; 0 for no bias")

    @property
    def resolved_scale_temperature(self) -> float:
        """`scale_temperature`; if `scale_temperature` is None, `temperature`."""
        return self.temperature if self.scale_temperature is None else self.scale_temperature

    def __call__(self, steps: StepDistribution) -> StepDistribution:
        """Return the distribution to sample from.

        A subclass may override this method, for example to restrict sampling to the k components with the largest
        weights.
        """
        steps = steps.endless() if self.endless else steps  # before tempering: temperature 0 could select END
        if self.bias:
            steps = steps.biased(self.bias)
        if self.temperature != 1 or self.resolved_scale_temperature != 1:
            steps = steps.tempered(self.temperature, self.scale_temperature)
        return steps
