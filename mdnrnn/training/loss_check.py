"""Detection of NaN or infinite losses and gradients, with a lag that avoids waiting for the device."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence as Items
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mdnrnn.errors import InputError
from mdnrnn.training.config import TrainConfig

_MAX_LISTED = 20
"""Maximum number of example indices in an error message."""
_DIVERGENCE = 10.0
"""Training has diverged if the last loss is this many nats per point higher than the lowest loss so far."""
_LARGE_CLIP = 10.0
"""Value of the option `clip` above which clipping does not prevent divergence."""


class NonFiniteLoss(InputError):
    """The loss or its gradient is NaN or infinite.

    Args:
        message: the message.
        indices: indices of the examples of the batch; empty if the examples are not the cause.
    """

    def __init__(self, message: str, indices: Items[int] = ()) -> None:
        super().__init__(message)
        self.indices = list(indices)


class _Step(NamedTuple):
    number: int
    loss: Tensor
    gradient_norm: Tensor
    indices: Tensor | None


class LossCheck:
    """Delayed check of the losses and gradients of training steps: each step is checked `lag` steps later.

    Reading a loss from the device waits until the loss is computed. Without the lag, this wait would delay every step.

    Args:
        folder: folder of the run, for error messages.
        config: training options, for error messages.
        lag: number of most recent steps that `add` does not check.
    """

    def __init__(self, folder: Path, config: TrainConfig, lag: int) -> None:
        self._folder, self._config, self._lag = folder, config, lag
        self._unchecked: deque[_Step] = deque()
        self._lowest: float | None = None
        self._last = 0.0

    def add(self, step: int, loss: Tensor, gradient_norm: Tensor, indices: Tensor | None) -> None:
        """Add a step, then check all unchecked steps except the last `lag`.

        Args:
            step: number of the step.
            loss: loss of the step.
            gradient_norm: norm of the gradient. Only this value is checked; the caller must ensure that it is NaN or
                infinite whenever the loss is NaN or infinite.
            indices: indices of the examples of the batch, for error messages; None if they are unknown.

        Raises:
            NonFiniteLoss: the gradient norm of a checked step is NaN or infinite.
        """
        self._unchecked.append(_Step(step, loss.detach(), gradient_norm, indices))
        self._check(self._lag)

    def check_all(self) -> None:
        """Check all steps that have not been checked yet.

        Raises:
            NonFiniteLoss: the gradient norm of a step is NaN or infinite.
        """
        self._check(0)

    def _check(self, lag: int) -> None:
        while len(self._unchecked) > lag:
            step = self._unchecked.popleft()
            norm, loss = float(step.gradient_norm), float(step.loss)
            if math.isfinite(norm):
                self._last = loss
                self._lowest = loss if self._lowest is None else min(loss, self._lowest)
                continue
            indices = [] if step.indices is None else step.indices.tolist()
            raise NonFiniteLoss(
                f"the loss is {loss} and the gradient norm is {norm} at step {step.number}{_list_examples(indices)}; "
                f"{self.describe_cause('check these examples' if indices else 'check the data')}; {self._folder} keeps "
                "the last good checkpoint",
                () if self._has_diverged() else indices,
            )

    def _has_diverged(self) -> bool:
        return self._lowest is not None and self._last > self._lowest + _DIVERGENCE

    def describe_cause(self, advice: str) -> str:
        """Return the probable cause of a loss that is NaN or infinite, and what to do.

        Args:
            advice: what to do if the loss had not risen before; a lower learning rate is named as the alternative.
        """
        rate = f"--learning-rate (received {self._config.learning_rate:g})"
        if self._has_diverged():
            clip = f" and --clip (received {self._config.clip:g})" if self._config.clip > _LARGE_CLIP else ""
            rise = f"the loss had risen from {self._lowest:.4g} to {self._last:.4g}"
            return f"training has diverged: {rise}; lower {rate}{clip}"
        return f"{advice}, or lower {rate}"


def _list_examples(indices: list[int]) -> str:
    if not indices:
        return ""
    return ", examples " + ", ".join(map(str, indices[:_MAX_LISTED])) + ("..." if len(indices) > _MAX_LISTED else "")
