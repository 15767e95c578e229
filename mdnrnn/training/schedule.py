"""Schedules of the learning rate and of validations, as functions of the step and the training time.

The learning rate is the product of peak rate, warmup factor and decay factor. To add another decay, such as a cosine
with restarts, write a function of the progress like `cosine_decay` and call it in `Schedule.learning_rate`. The
schedule of KL annealing is in `mdnrnn.models.kl_annealing`.
"""

import math
from dataclasses import dataclass

from mdnrnn.training.config import DEFAULT_MINUTES, TrainConfig


def linear_warmup(step: int, warmup: int) -> float:
    """Return the warmup factor of a step: linear from 1 / (warmup + 1) at step 0 to 1 at step `warmup`, then 1."""
    return min(1.0, (step + 1) / (warmup + 1))


def cosine_decay(progress: float, final: float) -> float:
    """Return the decay factor: half a cosine period, from 1 at progress 0 to `final` at progress 1.

    Args:
        progress: fraction of the training budget that is used, 0 to 1.
        final: factor at the end of training.
    """
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Schedule:
    """Schedule of the learning rate and of validations over the training budget of `config`."""

    config: TrainConfig

    def progress(self, step: int, seconds: float) -> float:
        """Return the fraction of the training budget that is used; more than 1 if the budget is exceeded.

        Args:
            step: number of completed steps.
            seconds: training time in seconds.
        """
        if self.config.steps is not None:
            return step / self.config.steps
        return seconds / (60 * (self.config.minutes or DEFAULT_MINUTES))

    def learning_rate(self, step: int, seconds: float) -> float:
        """Return the learning rate of the next step, after `step` completed steps and `seconds` of training time."""
        decay = cosine_decay(min(1.0, self.progress(step, seconds)), self.config.final_rate)
        return self.config.learning_rate * linear_warmup(step, self.config.warmup) * decay

    def validations_due(self, step: int, seconds: float) -> int:
        """Return the number of validations planned up to `step` completed steps and `seconds` of training time."""
        return int(self.progress(step, seconds) * self.config.validations)
