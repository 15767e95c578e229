"""Callbacks of the training loop: the base class `Callback`, the state that callbacks receive, and `ProgressBar`.

Example of a callback, which stores the weights after every validation:

    class KeepWeights(Callback):
        def on_validation(self, state: TrainingState) -> None:
            torch.save(state.model.state_dict(), state.folder / f"step-{state.step}.pt")

    mdnrnn.train("stroke", "doodles", "run", callbacks=[KeepWeights()])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mdnrnn.training.config import DEFAULT_MINUTES, TrainConfig
from mdnrnn.training.progress import Progress


@dataclass(frozen=True)
class TrainingState:
    """State of the training loop, passed to callbacks."""

    step: int
    """Number of completed training steps."""
    epoch: int
    """Index of the current epoch."""
    points: int
    """Number of points trained on, summed over all ranks; repeated points count again."""
    seconds: float
    """Training time in seconds, including validation and the time before an interruption."""
    learning_rate: float
    """Learning rate of the last step; of the first parameter group if the optimizer has several groups."""
    loss: Tensor | None
    """Loss of the last training step on this rank, a scalar on the training device; None before the first step.
    `float(state.loss)` waits for the device."""
    terms: Mapping[str, Tensor]
    """Terms of the loss of the last training step by name, scalars like `loss`."""
    metrics: Mapping[str, float]
    """Values to log, by name. In `on_step` after every 20th step: "lr" is the learning rate; "train_loss" and
    "train_<term>" are the means of the loss and of each of its terms over the last 20 steps. In `on_validation`:
    "valid_loss" and "valid_<term>" are the means on the validation data. Otherwise empty."""
    best: float
    """Lowest validation loss so far; infinite before the first validation."""
    model: nn.Module
    optimizer: torch.optim.Optimizer
    folder: Path
    """Folder of the checkpoints."""

    @property
    def minutes(self) -> float:
        """Training time in minutes."""
        return self.seconds / 60


class Callback:
    """Base class of callbacks. Its methods do nothing; a subclass overrides the methods that it needs.

    `mdnrnn.fit` calls the methods. In distributed training it calls them on rank 0 only.
    """

    def on_step(self, state: TrainingState) -> None:
        """Called after every training step."""

    def on_validation(self, state: TrainingState) -> None:
        """Called after every validation. The model is in training mode."""

    def on_end(self, state: TrainingState) -> None:
        """Called once when training is finished, is interrupted by a signal, or fails with an exception."""


class ProgressBar(Callback):
    """Progress bar on stderr. It shows completed steps or, if the budget is a training time, elapsed seconds."""

    def __init__(self, config: TrainConfig, progress: Progress) -> None:
        self._counts_steps = config.steps is not None
        options: dict[str, Any] = {"dynamic_ncols": True, "mininterval": 1.0}
        if self._counts_steps:
            self._bar = tqdm(total=config.steps, initial=progress.step, unit="step", **options)
        else:
            total = 60 * (config.minutes or DEFAULT_MINUTES)
            bar_format = "{l_bar}{bar}| {n:.0f}/{total} s{postfix}"
            self._bar = tqdm(total=total, initial=progress.seconds, bar_format=bar_format, **options)

    def on_step(self, state: TrainingState) -> None:
        """Advance the bar; after every 20th step, show the training loss and the speed in points per second."""
        if "train_loss" in state.metrics:
            speed = state.points / max(state.seconds, 1e-9)
            self._bar.set_postfix_str(f"loss {state.metrics['train_loss']:.3f}, {speed:,.0f} points/s", refresh=False)
        self._bar.n = state.step if self._counts_steps else min(state.seconds, self._bar.total)
        self._bar.update(0)

    def on_end(self, state: TrainingState) -> None:
        """Close the bar."""
        self._bar.close()
