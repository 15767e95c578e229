"""Sampling options; this module does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

from mdnrnn.errors import InputError

if TYPE_CHECKING:
    from mdnrnn.distributions.step import StepDistribution


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling options. Calling an instance converts a model's step distribution to the distribution to sample from.

    The options apply in this order: END is excluded (`endless`), then the bias, the temperatures, top-k and top-p.
    `generate` applies the remaining options to the sampled events: the stroke limits, the model's own stopping rule
    (`SequenceModel.finished`), and `stop`.
    """

    temperature: float = 1.0
    """Sampling temperature. Lower values give more probable sequences; 0 always selects the most probable component and
    event. The formula is in the documentation of GaussianMixture.tempered."""
    scale_temperature: float | None = None
    """Sampling temperature of the scales of the components; by default equal to temperature."""
    event_temperature: float | None = None
    """Sampling temperature of the events; by default equal to temperature."""
    bias: float = 0.0
    """Graves' probability bias; values above 0 give neater drawings. The formula is in the documentation of
    GaussianMixture.biased."""
    top_k: int | None = None
    """Number of mixture components to sample from: those of largest weight. By default all components."""
    top_p: float | None = None
    """Sample only from the components of largest weight whose total weight is at least top_p, above 0 and at most 1. By
    default all components."""
    event_top_k: int | None = None
    """Number of events to sample from: the most probable ones. By default all events."""
    event_top_p: float | None = None
    """Sample only from the most probable events whose total probability is at least event_top_p, above 0 and at most 1.
    By default all events."""
    endless: bool = False
    """Whether to exclude the END event. All sequences then have the maximum number of steps, unless max_strokes or a
    stopping rule ends them. Handwriting models still stop at the end of the text."""
    min_strokes: int | None = None
    """Minimum number of strokes of a drawing or line of text: the event END of an earlier stroke is replaced by UP, and
    the drawing goes on. The maximum number of steps and the end of the text still apply."""
    max_strokes: int | None = None
    """Maximum number of strokes of a drawing or line of text: it ends when this stroke ends."""
    stop: Callable[[Any], Any] | None = None
    """Stopping rule: a function of the steps so far that returns a mask of the sequences to end; only in Python. See
    `mdnrnn.generation.stopping.StoppingRule`."""

    def __post_init__(self) -> None:
        self._check(("temperature", "scale_temperature", "event_temperature"), _is_temperature, "a number >= 0")
        self._check(("top_k", "event_top_k", "min_strokes", "max_strokes"), _is_count, "a whole number >= 1")
        self._check(("top_p", "event_top_p"), lambda p: 0 < p <= 1, "a number above 0 and at most 1")
        self._check(("stop",), callable, "a function of the steps so far")
        if not -1 < self.bias < math.inf:
            raise InputError(f"bias: received {self.bias}, expected a finite number above -1; 0 for no bias")
        low, high = self.min_strokes, self.max_strokes
        if low is not None and high is not None and low > high:
            raise InputError(f"min_strokes: received {low}, expected at most max_strokes, which is {high}")

    def _check(self, names: tuple[str, ...], is_valid: Callable[[Any], bool], expected: str) -> None:
        """Raise `InputError` if one of these options is neither None nor valid."""
        for name in names:
            value = getattr(self, name)
            if value is not None and not is_valid(value):
                raise InputError(f"{name}: received {value}, expected {expected}")

    @property
    def resolved_scale_temperature(self) -> float:
        """`scale_temperature`; if `scale_temperature` is None, `temperature`."""
        return self.temperature if self.scale_temperature is None else self.scale_temperature

    @property
    def resolved_event_temperature(self) -> float:
        """`event_temperature`; if `event_temperature` is None, `temperature`."""
        return self.temperature if self.event_temperature is None else self.event_temperature

    @property
    def truncates(self) -> bool:
        """Whether improbable components or events are excluded."""
        options = (self.top_k, self.top_p, self.event_top_k, self.event_top_p)
        return any(option is not None for option in options)

    def __call__(self, steps: StepDistribution) -> StepDistribution:
        """Return the distribution to sample from.

        A subclass may override this method, for example to exclude components that point out of a frame.
        """
        steps = steps.endless() if self.endless else steps  # before tempering: temperature 0 could select END
        if self.bias:
            steps = steps.biased(self.bias)
        if (self.temperature, self.resolved_scale_temperature, self.resolved_event_temperature) != (1, 1, 1):
            steps = steps.tempered(self.temperature, self.scale_temperature, self.event_temperature)
        if self.truncates:
            steps = steps.truncated(self.top_k, self.top_p, self.event_top_k, self.event_top_p)
        return steps

    def with_prefix_strokes(self, strokes: int) -> Sampling:
        """Return the options with stroke limits that do not count the strokes of a prefix.

        Args:
            strokes: number of strokes of the prefix, which is added to both limits.
        """
        low, high = self.min_strokes, self.max_strokes
        return replace(
            self,
            min_strokes=None if low is None else low + strokes,
            max_strokes=None if high is None else high + strokes,
        )


def _is_temperature(value: Any) -> bool:
    return math.isfinite(value) and value >= 0


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and int(value) >= 1
