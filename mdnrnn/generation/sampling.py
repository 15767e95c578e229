"""How steps are drawn: temperatures, bias, and whether what would end goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mdnrnn.errors import InputError

if TYPE_CHECKING:
    from mdnrnn.distributions.step import StepDistribution


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How steps are drawn."""

    temperature: float = 1.0
    """Below 1: closer to the most probable drawing; 0: that one. See GaussianMixture.tempered."""
    scale_temperature: float | None = None
    """The temperature of the scales alone, if another."""
    bias: float = 0.0
    """Graves' probability bias: above 0, neater. See GaussianMixture.biased."""
    endless: bool = False
    """Whether what would end goes on, for as many steps as are asked for."""

    def __post_init__(self) -> None:
        for name in ("temperature", "scale_temperature"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}; expected 0 or more")
        if not math.isfinite(self.bias):
            raise InputError(f"bias is {self.bias}; expected a finite number, 0 for none")

    @property
    def resolved_scale_temperature(self) -> float:
        """The temperature of the scales."""
        return self.temperature if self.scale_temperature is None else self.scale_temperature

    def __call__(self, steps: StepDistribution) -> StepDistribution:
        """The distribution to draw from."""
        steps = steps.endless() if self.endless else steps  # before temperature 0 puts all on END
        if self.bias:
            steps = steps.biased(self.bias)
        if self.temperature != 1 or self.resolved_scale_temperature != 1:
            steps = steps.tempered(self.temperature, self.scale_temperature)
        return steps
