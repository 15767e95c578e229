"""How far a training is through its budget, and what the learning rate is there."""

import math
from dataclasses import dataclass

from mdnrnn.training.config import DEFAULT_MINUTES, TrainConfig


@dataclass(frozen=True)
class Schedule:
    """Pure functions of the steps done and the seconds spent."""

    config: TrainConfig

    def progress(self, step: int, seconds: float) -> float:
        """From 0 to 1, and beyond when the budget is spent."""
        if self.config.steps is not None:
            return step / self.config.steps
        return seconds / (60 * (self.config.minutes or DEFAULT_MINUTES))

    def learning_rate(self, step: int, seconds: float) -> float:
        """A linear rise over the warm-up's steps, then half a cosine down to the final rate."""
        progress = min(1.0, self.progress(step, seconds))
        fall = self.config.final_rate + (1 - self.config.final_rate) * 0.5 * (1 + math.cos(math.pi * progress))
        return self.config.learning_rate * min(1.0, (step + 1) / (self.config.warmup + 1)) * fall

    def validations_due(self, step: int, seconds: float) -> int:
        """How many validations should have been made by now."""
        return int(self.progress(step, seconds) * self.config.validations)
