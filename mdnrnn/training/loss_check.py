"""Detection of NaN or infinite losses and gradients, with a lag that avoids waiting for the device."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mdnrnn.errors import InputError

_MAX_LISTED = 200
"""Maximum number of example indices in an error message."""


class NonFiniteLoss(InputError):
    """The loss or its gradient is NaN or infinite."""


class _Step(NamedTuple):
    number: int
    loss: Tensor
    gradient_norm: Tensor
    indices: Tensor


class LossCheck:
    """Delayed check of the losses and gradients of training steps: each step is checked `lag` steps later.

    Reading a loss from the device waits until the loss is computed. Without the lag, this wait would delay every step.

    Args:
        folder: folder of the run, for error messages.
        lag: number of most recent steps that `add` does not check.
    """

    def __init__(self, folder: Path, lag: int) -> None:
        self._folder, self._lag = folder, lag
        self._unchecked: deque[_Step] = deque()

    def add(self, step: int, loss: Tensor, gradient_norm: Tensor, indices: Tensor) -> None:
        """Add a step, then check all unchecked steps except the last `lag`.

        Args:
            step: number of the step.
            loss: loss of the step.
            gradient_norm: norm of the gradient. Only this value is checked; the caller must ensure that it is NaN or
                infinite whenever the loss is NaN or infinite.
            indices: indices of the examples of the batch, for error messages.

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
            norm = float(step.gradient_norm)
            if not math.isfinite(norm):
                indices = ", ".join(map(str, step.indices[:_MAX_LISTED].tolist()))
                more = "..." if len(step.indices) > _MAX_LISTED else ""
                raise NonFiniteLoss(
                    f"the loss is {float(step.loss)} and the gradient norm {norm} at step {step.number}, "
                    f"examples {indices}{more}; check these examples, or lower --learning-rate; "
                    f"{self._folder} keeps the last good checkpoint"
                )
