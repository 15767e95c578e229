"""Time step of a sequence and its distribution: a mixture over the motion and a categorical event distribution."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions.categorical import sample_categorical, temper_logits, truncate_logits
from mdnrnn.distributions.gaussian_mixture import GaussianMixture
from mdnrnn.distributions.per_dimension import PerDimensionMixture
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


class StepDistribution(Distribution):
    """Product of a mixture over the motion and a categorical distribution over the event.

    E is the number of events. If E = 0, the event contributes 0 to log probabilities, and every sampled event is DOWN.

    Args:
        motion: mixture of batch shape (...) over points of D features.
        event_logits: unnormalized log probabilities of the events, shape (..., E).

    Raises:
        ValueError: if the shape of `event_logits` does not match the batch shape of `motion`.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, motion: GaussianMixture | PerDimensionMixture, event_logits: Tensor) -> None:
        if event_logits.shape[:-1] != motion.batch_shape:
            expected = ", ".join(map(str, (*motion.batch_shape, "E")))
            raise ValueError(
                f"event_logits: received shape {tuple(event_logits.shape)}, expected ({expected}): the batch shape of "
                "the mixture and E events"
            )
        self.motion = motion
        self.event_logits = event_logits.to(motion.logits.dtype)
        super().__init__(motion.batch_shape, validate_args=False)

    def event_log_prob(self, event: Tensor) -> Tensor:
        """Return the log probability of integer events, shape (...)."""
        if not self.event_logits.shape[-1]:
            return self.event_logits.new_zeros(event.shape)
        return torch.log_softmax(self.event_logits, -1).gather(-1, event.long().unsqueeze(-1)).squeeze(-1)

    def pen_log_prob(self, event: Tensor) -> Tensor:
        """Return the log probability of the pen state (down or lifted) that `event` implies, shape (...).

        The pen is down for the event DOWN and lifted for UP and END.
        """
        if not self.event_logits.shape[-1]:
            return self.event_logits.new_zeros(event.shape)
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

    @property
    def mean(self) -> Step:  # type: ignore[override]
        """Step with the mean as `motion`, shape (..., D), and the event probabilities as `event`, shape (..., E)."""
        return Step(self.motion.mean, torch.softmax(self.event_logits, -1))

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

    @torch.no_grad()
    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Step:
        """Draw steps: motion of shape (*sample_shape, ..., D) and event of shape (*sample_shape, ...)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        like = self.event_logits
        component_shape = shape + self.motion.event_shape if isinstance(self.motion, PerDimensionMixture) else shape
        component, event, normal = (
            torch.empty(size, device=like.device, dtype=like.dtype)
            for size in (component_shape, shape, shape + self.motion.event_shape)
        )
        noise = Noise(
            component.uniform_(generator=generator),
            event.uniform_(generator=generator),
            normal.normal_(generator=generator),
        )
        return self.transform(noise)

    def tempered(
        self, temperature: float, scale_temperature: float | None = None, event_temperature: float | None = None
    ) -> StepDistribution:
        """Return a new distribution with a tempered mixture and with event logits divided by `event_temperature`.

        By default, `event_temperature` is `temperature`. See `GaussianMixture.tempered` for the other arguments.
        """
        motion, logits = self.motion.tempered(temperature, scale_temperature), self.event_logits
        event_temperature = temperature if event_temperature is None else event_temperature
        return StepDistribution(motion, temper_logits(logits, event_temperature) if logits.shape[-1] else logits)

    def biased(self, bias: float) -> StepDistribution:
        """Return a new distribution with a biased mixture; see `GaussianMixture.biased`.

        The event distribution does not change, as in Graves (arXiv:1308.0850, section 5.4).
        """
        return StepDistribution(self.motion.biased(bias), self.event_logits)

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
        return StepDistribution(motion, logits)

    def endless(self) -> StepDistribution:
        """Return a new distribution in which END has probability 0 and the remaining events are renormalized."""
        logits = self.event_logits
        if logits.shape[-1]:
            logits = torch.cat([logits[..., :END], torch.full_like(logits[..., END:], -torch.inf)], -1)
        return StepDistribution(self.motion, logits)
