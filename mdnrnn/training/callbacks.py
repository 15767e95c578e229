"""Callbacks of the training loop: the base class `Callback`, and `ProgressBar`.

Example of a callback, a logger for TensorBoard:

    class TensorBoardLogger(Callback):
        def __init__(self, folder: Path) -> None:
            self.writer = SummaryWriter(folder)

        def on_log(self, progress: Progress, metrics: Mapping[str, float]) -> None:
            for name, value in metrics.items():
                self.writer.add_scalar(name, value, progress.step)

    mdnrnn.train("stroke", "doodles", "run", callbacks=[TensorBoardLogger(Path("run/tensorboard"))])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from mdnrnn.training.config import DEFAULT_MINUTES, TrainConfig
from mdnrnn.training.progress import Progress


class Callback:
    """Base class of callbacks. Its methods do nothing; a subclass overrides the methods that it needs.

    `mdnrnn.fit` calls the methods. In distributed training it calls them on rank 0 only.
    """

    def on_step(self, progress: Progress) -> None:
        """Called after every training step, before `on_log`."""

    def on_log(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """Called with training metrics after every 20th step, and with validation metrics after every validation.

        Args:
            progress: training progress.
            metrics: values by name. Training metrics: "lr" is the learning rate; "train_loss" and "train_<term>" are
                the means of the loss and of each of its terms over the steps since the last training metrics.
                Validation metrics: "valid_loss" and "valid_<term>" are the means on the validation data.
        """

    def on_validation(self, progress: Progress) -> None:
        """Called after every validation, after `on_log`."""

    def on_end(self) -> None:
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

    def on_step(self, progress: Progress) -> None:
        """Advance the bar."""
        self._bar.n = progress.step if self._counts_steps else min(progress.seconds, self._bar.total)
        self._bar.update(0)

    def on_log(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """Show the training loss and the training speed in points per second."""
        if "train_loss" in metrics:
            speed = progress.points / max(progress.seconds, 1e-9)
            self._bar.set_postfix_str(f"loss {metrics['train_loss']:.3f}, {speed:,.0f} points/s", refresh=False)

    def on_end(self) -> None:
        """Close the bar."""
        self._bar.close()
