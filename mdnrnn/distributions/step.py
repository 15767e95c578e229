"""A step of a sequence and its distribution: a mixture over the motion times a categorical over the event."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions.categorical import sample_categorical, temper_logits
from mdnrnn.distributions.gaussian_mixture import GaussianMixture
from mdnrnn.distributions.per_dimension import PerDimensionMixture
from mdnrnn.events import DOWN, END


class Step(NamedTuple):
    """One step of many sequences: motion (..., D), normalized; event (...), integers; inputs (..., A) or None.

    `inputs` are what is known beside this step when the next is predicted (an action, say).
    """

    motion: Tensor
    event: Tensor
    inputs: Tensor | None = None


class Noise(NamedTuple):
    """What makes a sample out of a distribution: component and event (...) uniform, motion (..., D) normal; of
    dimensions with components of their own, component (..., D)."""

    component: Tensor
    event: Tensor
    motion: Tensor


class StepDistribution(Distribution):
    """The product of `motion`, a mixture over (..., D), and a categorical of `event_logits`, shape (..., E).

    With E = 0 there are no events: nothing is scored, and all that are drawn are DOWN, sequences that go on.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, motion: GaussianMixture | PerDimensionMixture, event_logits: Tensor) -> None:
        if event_logits.shape[:-1] != motion.batch_shape:
            raise ValueError(
                f"a step received event logits {tuple(event_logits.shape)} beside a mixture of batch shape "
                f"{tuple(motion.batch_shape)}; expected (*batch shape, E)"
            )
        self.motion = motion
        self.event_logits = event_logits.to(motion.logits.dtype)
        super().__init__(motion.batch_shape, validate_args=False)

    def event_log_prob(self, event: Tensor) -> Tensor:
        """Log probability of the events, integers of shape (...)."""
        if not self.event_logits.shape[-1]:
            return self.event_logits.new_zeros(event.shape)
        return torch.log_softmax(self.event_logits, -1).gather(-1, event.long().unsqueeze(-1)).squeeze(-1)

    def pen_log_prob(self, event: Tensor) -> Tensor:
        """Log probability that the line goes on after this step, or that it does not, as `event` (...) has it."""
        if not self.event_logits.shape[-1]:
            return self.event_logits.new_zeros(event.shape)
        logs = torch.log_softmax(self.event_logits, -1)
        off = torch.logsumexp(logs[..., 1:], -1)
        return torch.where(event == DOWN, logs[..., DOWN], off)

    def log_prob(self, value: Step) -> Tensor:  # type: ignore[override]
        """Log density of the motion plus log probability of the event, shape (...)."""
        return self.motion.log_prob(value.motion) + self.event_log_prob(value.event)

    def discretized_log_prob(self, value: Step, width: Tensor) -> Tensor:
        """Log probability of the motion's bin_width and of the event, shape (...); `width` as in the mixture's."""
        return self.motion.discretized_log_prob(value.motion, width) + self.event_log_prob(value.event)

    def nll(self, value: Step, width: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Nats of the motion and of the event, each (...): of its density, or with a `width` of its bin_width."""
        motion = (
            self.motion.log_prob(value.motion)
            if width is None
            else self.motion.discretized_log_prob(value.motion, width)
        )
        return -motion, -self.event_log_prob(value.event)

    @property
    def mean(self) -> Step:  # type: ignore[override]
        """Expected motion (..., D); in place of an event, the probabilities of all, (..., E)."""
        return Step(self.motion.mean, torch.softmax(self.event_logits, -1))

    def transform(self, noise: Noise, bin_width: Tensor | None = None) -> Step:
        """Turn noise into a sample; with `bin_width`, widths (D,), its motion is a point of that grid."""
        event = torch.full(noise.event.shape, DOWN, device=noise.event.device)
        if self.event_logits.shape[-1]:
            event = sample_categorical(self.event_logits, noise.event)
        component = noise.component
        if isinstance(self.motion, PerDimensionMixture) and component.ndim == event.ndim:  # one dimension alone
            component = component.unsqueeze(-1)
        return Step(self.motion.transform(component, noise.motion, bin_width), event)

    @torch.no_grad()
    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Step:
        """Draw steps: motion (*sample_shape, ..., D) and event (*sample_shape, ...)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        like = self.event_logits
        own = shape + self.motion.event_shape if isinstance(self.motion, PerDimensionMixture) else shape
        component, event, normal = (
            torch.empty(size, device=like.device, dtype=like.dtype)
            for size in (own, shape, shape + self.motion.event_shape)
        )
        noise = Noise(
            component.uniform_(generator=generator),
            event.uniform_(generator=generator),
            normal.normal_(generator=generator),
        )
        return self.transform(noise)

    def tempered(self, temperature: float, scale_temperature: float | None = None) -> StepDistribution:
        """A new distribution: the mixture tempered, and the event logits divided by the temperature alike."""
        motion, logits = self.motion.tempered(temperature, scale_temperature), self.event_logits
        return StepDistribution(motion, temper_logits(logits, temperature) if logits.shape[-1] else logits)

    def biased(self, bias: float) -> StepDistribution:
        """A new distribution with the mixture biased; the event is left as it is, as in Graves."""
        return StepDistribution(self.motion.biased(bias), self.event_logits)

    def endless(self) -> StepDistribution:
        """A new distribution without END: what has ended goes on, in the other events' shares."""
        logits = self.event_logits
        if logits.shape[-1]:
            logits = torch.cat([logits[..., :END], torch.full_like(logits[..., END:], -torch.inf)], -1)
        return StepDistribution(self.motion, logits)
