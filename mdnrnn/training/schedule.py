"""Learning-rate schedule and validation schedule, as functions of the step and the training time.

The learning rate is the peak rate times a warmup factor times a decay factor. To add a schedule, such as a cosine decay
with restarts, write its factor as a function of the progress beside `cosine_decay` and use it in
`Schedule.learning_rate`. KL annealing depends on the model: see `mdnrnn.models.kl_annealing`.
"""

import math
from dataclasses import dataclass

from mdnrnn.training.config import DEFAULT_MINUTES, TrainConfig


def linear_warmup(step: int, warmup: int) -> float:
    """Return the warmup factor of a step: 1 / (warmup + 1) at step 0, 1 from step `warmup` on."""
    return min(1.0, (step + 1) / (warmup + 1))


def cosine_decay(progress: float, final: float) -> float:
    """Return the decay factor: half a cosine period, from 1 at progress 0 to `final` at progress 1."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Schedule:
    """Training schedule: learning rate and validations over the budget of `config`."""

    config: TrainConfig

    def progress(self, step: int, seconds: float) -> float:
        """Return the fraction of the budget that is used; more than 1 if the budget is exceeded."""
        if self.config.steps is not None:
            return step / self.config.steps
        return seconds / (60 * (self.config.minutes or DEFAULT_MINUTES))

    def learning_rate(self, step: int, seconds: float) -> float:
        """Return the learning rate of the next step, after `step` steps and `seconds` seconds."""
        decay = cosine_decay(min(1.0, self.progress(step, seconds)), self.config.final_rate)
        return self.config.learning_rate * linear_warmup(step, self.config.warmup) * decay

    def validations_due(self, step: int, seconds: float) -> int:
        """Return the number of validations that are due after `step` steps and `seconds` seconds."""
        return int(self.progress(step, seconds) * self.config.validations)
