"""Time step of a sequence and its distribution: a mixture over the motion and a categorical event distribution."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions.categorical import sample_categorical, temper_logits, truncate_logits
from mdnrnn.distributions.entropy import categorical_entropy
from mdnrnn.distributions.gaussian_mixture import GaussianMixture
from mdnrnn.distributions.mixture_parameters import with_ellipsis
from mdnrnn.distributions.monte_carlo import Estimate
from mdnrnn.distributions.per_dimension import PerDimensionMixture
from mdnrnn.distributions.validation import check_elements, check_logits, find_invalid_events
from mdnrnn.pen_events import DOWN, END


class Step(NamedTuple):
    """One time step of several sequences.

    `motion`: normalized motion features, shape (..., D). `event`: integer events (see `mdnrnn.pen_events`), shape
    (...). `inputs`: additional variables, for example actions, that the prediction of the next step depends on, shape
    (..., A), or None.
    """

    motion: Tensor
    event: Tensor
    inputs: Tensor | None = None


class Noise(NamedTuple):
    """Noise that `StepDistribution.transform` turns into a sample.

    `component`: uniform noise that selects the component, shape (...), or (..., D) for a `PerDimensionMixture`.
    `event`: uniform noise that selects the event, shape (...). `motion`: standard normal noise, shape (..., D). Uniform
    noise is in [0, 1).
    """

    component: Tensor
    event: Tensor
    motion: Tensor


class StepConstraint(constraints.Constraint):
    """Constraint to steps with a motion in the support of `motion` and a whole event from 0 to `events` - 1.

    If `events` is 0, the event is ignored.
    """

    def __init__(self, motion: constraints.Constraint, events: int) -> None:
        self.motion, self.events = motion, events
        super().__init__()

    def check(self, value: Step) -> Tensor:
        """Return whether each step satisfies the constraint, shape (...)."""
        motion = self.motion.check(value.motion)
        return motion & ~find_invalid_events(value.event, self.events) if self.events else motion


class StepDistribution(Distribution):
    """Product of a mixture over the motion and a categorical distribution over the event.

    Values are instances of `Step`, not tensors. The event shape of the distribution is (), the shape of the event of
    one step; the motion of one step has shape `motion.event_shape`, (D,). Therefore `sample(sample_shape)` returns
    motions of shape (*sample_shape, ..., D) and events of shape (*sample_shape, ...), where `...` is the batch shape.

    E is the number of events. An event is the index of its logit. Events 0, 1 and 2 are DOWN, UP and END (see
    `mdnrnn.pen_events`); events from 3 on have the meaning that the caller gives them. If E is 1 or 2, there is no END.
    If E = 0, the event contributes 0 to log probabilities, and every sampled event is DOWN.

    Args:
        motion: mixture of batch shape (...) over points of D features.
        event_logits: unnormalized log probabilities of the events, shape (..., E); -inf is a probability of zero.
        validate_args: whether to check the logits and the events passed to methods. None: use the global setting of
            torch.distributions; see `GaussianMixture`.

    Raises:
        ValueError: if the shape of `event_logits` does not match the batch shape of `motion` or, with `validate_args`,
            if a logit is invalid.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"event_logits": constraints.real_vector}
    has_rsample = False

    def __init__(
        self,
        motion: GaussianMixture | PerDimensionMixture,
        event_logits: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if event_logits.shape[:-1] != motion.batch_shape:
            expected = ", ".join(map(str, (*motion.batch_shape, "E")))
            raise ValueError(
                f"event_logits: received shape {tuple(event_logits.shape)}, expected ({expected}): the batch shape of "
                "the mixture and E events"
            )
        self.motion = motion
        self.event_logits = event_logits.to(motion.logits.dtype)
        super().__init__(motion.batch_shape, validate_args=False)
        if type(self)._validate_args if validate_args is None else validate_args:
            self._validate_args = True
            if self.event_logits.shape[-1]:
                check_logits("event_logits", self.event_logits)

    def __repr__(self) -> str:
        events = self.event_logits.shape[-1]
        return f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, E={events}, motion={self.motion!r})"

    @property
    def support(self) -> StepConstraint:
        """Constraint that all steps in the support satisfy."""
        return StepConstraint(self.motion.support, self.event_logits.shape[-1])

    @property
    def event_probs(self) -> Tensor:
        """Probabilities of the events, shape (..., E)."""
        return torch.softmax(self.event_logits, -1)

    @property
    def mean(self) -> Step:  # type: ignore[override]
        """Step with the mean of the motion, shape (..., D). Events have no mean: `event` is NaN, shape (...)."""
        return Step(self.motion.mean, self._undefined_event())

    @property
    def variance(self) -> Step:  # type: ignore[override]
        """Step with the variance of each motion feature, shape (..., D), and NaN as `event`, shape (...)."""
        return Step(self.motion.variance, self._undefined_event())

    @property
    def stddev(self) -> Step:  # type: ignore[override]
        """Step with the standard deviation of each motion feature, shape (..., D), and NaN as `event`, shape (...)."""
        return Step(self.motion.stddev, self._undefined_event())

    @property
    def mode(self) -> Step:  # type: ignore[override]
        """Most probable step: the mode of the motion, shape (..., D), and the most probable event, shape (...)."""
        if not self.event_logits.shape[-1]:
            return Step(self.motion.mode, torch.full(self.batch_shape, DOWN, device=self.event_logits.device))
        return Step(self.motion.mode, self.event_logits.argmax(-1))

    def _undefined_event(self) -> Tensor:
        return self.event_logits.new_full(self.batch_shape, math.nan)

    def event_log_prob(self, event: Tensor) -> Tensor:
        """Return the log probability of integer events, shape (...)."""
        shape, count = torch.broadcast_shapes(event.shape, self.batch_shape), self.event_logits.shape[-1]
        if not count:
            return self.event_logits.new_zeros(shape)
        if self._validate_args:
            check_elements("event", event, find_invalid_events(event, count), f"a whole number from 0 to {count - 1}")
        log_probs = torch.log_softmax(self.event_logits, -1)
        if event.shape != self.batch_shape:
            log_probs, event = log_probs.expand(*shape, -1), event.expand(shape)
        return log_probs.gather(-1, event.long().unsqueeze(-1)).squeeze(-1)

    def pen_log_prob(self, event: Tensor) -> Tensor:
        """Return the log probability of the pen state (down or lifted) that `event` implies, shape (...).

        The pen is down for the event DOWN and lifted for UP and END.

        Raises:
            ValueError: if E > 3, because the further events have no pen state.
        """
        if self.event_logits.shape[-1] > END + 1:
            raise ValueError(
                f"event_logits: received E = {self.event_logits.shape[-1]} events, expected at most {END + 1}: only "
                "DOWN, UP and END have a pen state"
            )
        if not self.event_logits.shape[-1]:
            return self.event_logits.new_zeros(torch.broadcast_shapes(event.shape, self.batch_shape))
        log_probs = torch.log_softmax(self.event_logits, -1)
        lifted = torch.logsumexp(log_probs[..., 1:], -1)
        return torch.where(event == DOWN, log_probs[..., DOWN], lifted)

    def log_prob(self, value: Step) -> Tensor:  # type: ignore[override]
        """Return the log density of the motion plus the log probability of the event, shape (...)."""
        return self.motion.log_prob(value.motion) + self.event_log_prob(value.event)

    def discretized_log_prob(self, value: Step, bin_width: Tensor) -> Tensor:
        """Return the log probability of the bin of the motion plus the log probability of the event, shape (...).

        `bin_width` has shape (D,) or (..., D); see `GaussianMixture.discretized_log_prob`.
        """
        return self.motion.discretized_log_prob(value.motion, bin_width) + self.event_log_prob(value.event)

    def nll(self, value: Step, bin_width: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the negative log-likelihoods of the motion and of the event in nats, shape (...) each.

        If `bin_width` is None, the likelihood of a motion is the density at the motion. Otherwise, the likelihood is
        the probability of the bin centered at the motion. `bin_width` has shape (D,) or (..., D).
        """
        motion = (
            self.motion.log_prob(value.motion)
            if bin_width is None
            else self.motion.discretized_log_prob(value.motion, bin_width)
        )
        return -motion, -self.event_log_prob(value.event)

    def entropy(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the entropy of the motion plus the entropy of the event in nats, shape (...).

        The entropy of the event is exact; for that of the motion, see `GaussianMixture.entropy`.
        """
        return self.entropy_estimate(samples, generator=generator).value

    def entropy_estimate(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Estimate:
        """Return an estimate of the entropy and its standard error; see `GaussianMixture.entropy_estimate`."""
        value, error = self.motion.entropy_estimate(samples, generator=generator)
        return Estimate(value + categorical_entropy(torch.log_softmax(self.event_logits, -1)), error)

    def transform(self, noise: Noise, bin_width: Tensor | None = None) -> Step:
        """Transform noise into a sample.

        The motion is rounded to multiples of `bin_width`, shape (D,). Features with bin width 0 are not rounded. If
        `bin_width` is None, no feature is rounded.
        """
        event = torch.full(noise.event.shape, DOWN, device=noise.event.device)
        if self.event_logits.shape[-1]:
            event = sample_categorical(self.event_logits, noise.event)
        component = noise.component
        if isinstance(self.motion, PerDimensionMixture) and component.ndim == event.ndim:  # D = 1
            component = component.unsqueeze(-1)
        return Step(self.motion.transform(component, noise.motion, bin_width), event)

    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Step:
        """Draw steps: motion of shape (*sample_shape, ..., D) and event of shape (*sample_shape, ...)."""
        shape, like = self._extended_shape(torch.Size(sample_shape)), self.event_logits
        component_shape = shape + self.motion.event_shape if isinstance(self.motion, PerDimensionMixture) else shape
        component, event = (
            torch.rand(size, generator=generator, dtype=like.dtype, device=like.device)
            for size in (component_shape, shape)
        )
        normal = torch.randn(shape + self.motion.event_shape, generator=generator, dtype=like.dtype, device=like.device)
        with torch.no_grad():
            step = self.transform(Noise(component, event, normal))
        return step._replace(motion=step.motion.detach())

    def tempered(
        self, temperature: float, scale_temperature: float | None = None, event_temperature: float | None = None
    ) -> StepDistribution:
        """Return a new distribution with a tempered mixture and with event logits divided by `event_temperature`.

        By default, `event_temperature` is `temperature`. See `GaussianMixture.tempered` for the other arguments.
        """
        motion, logits = self.motion.tempered(temperature, scale_temperature), self.event_logits
        event_temperature = temperature if event_temperature is None else event_temperature
        return self._with_parts(motion, temper_logits(logits, event_temperature) if logits.shape[-1] else logits)

    def biased(self, bias: float) -> StepDistribution:
        """Return a new distribution with a biased mixture; see `GaussianMixture.biased`.

        The event distribution does not change, as in Graves (arXiv:1308.0850, section 5.4).
        """
        return self._with_parts(self.motion.biased(bias), self.event_logits)

    def truncated(
        self,
        top_k: int | None = None,
        top_p: float | None = None,
        event_top_k: int | None = None,
        event_top_p: float | None = None,
    ) -> StepDistribution:
        """Return a new distribution of the components of largest weight and of the most probable events.

        See `categorical.truncate_logits` for `top_k` and `top_p`. None keeps all components or events.
        """
        motion, logits = self.motion, self.event_logits
        if top_k is not None or top_p is not None:
            motion = motion.truncated(top_k, top_p)
        if logits.shape[-1]:
            logits = truncate_logits(logits, event_top_k, event_top_p)
        return self._with_parts(motion, logits)

    def endless(self) -> StepDistribution:
        """Return a new distribution in which END has probability 0 and the remaining events are renormalized."""
        logits = self.event_logits
        never = torch.full_like(logits[..., END : END + 1], -torch.inf)
        return self._with_parts(self.motion, torch.cat([logits[..., :END], never, logits[..., END + 1 :]], -1))

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Any = None) -> StepDistribution:
        """Return the distribution expanded to a larger batch shape."""
        return self._with_parts(self.motion.expand(batch_shape), self.event_logits.expand(*batch_shape, -1))

    def __getitem__(self, index: Any) -> StepDistribution:
        """Return the distributions at `index`, any index that is valid for a tensor of the batch shape."""
        return self._with_parts(self.motion[index], self.event_logits[(*with_ellipsis(index), slice(None))])

    def to(self, target: torch.device | torch.dtype | str) -> StepDistribution:
        """Return the distribution on another device or in another precision (float32 or wider)."""
        return self._with_parts(self.motion.to(target), self.event_logits.to(target))

    def _with_parts(self, motion: GaussianMixture | PerDimensionMixture, event_logits: Tensor) -> StepDistribution:
        """Return a step distribution that checks events if and only if `self` does."""
        new = StepDistribution(motion, event_logits, validate_args=False)
        new._validate_args = self._validate_args
        return new
