"""Detection of NaN or infinite losses and gradients, without waiting for the device at every step."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mdnrnn.errors import InputError

_MAX_LISTED = 200
"""Maximum number of examples of a batch that an error message lists."""


class NonFiniteLoss(InputError):
    """The loss or its gradient is NaN or infinite."""


class _Step(NamedTuple):
    number: int
    loss: Tensor
    gradient_norm: Tensor
    indices: Tensor


class LossCheck:
    """Queue of training steps whose loss has not been checked yet.

    Reading a loss waits until the device has computed it. The last `lag` steps therefore remain unchecked, so that the
    device can compute them in the meantime.
    """

    def __init__(self, folder: Path, lag: int) -> None:
        self._folder, self._lag = folder, lag
        self._unchecked: deque[_Step] = deque()

    def add(self, step: int, loss: Tensor, gradient_norm: Tensor, indices: Tensor) -> None:
        """Add a step, and check all unchecked steps except the last `lag`."""
        self._unchecked.append(_Step(step, loss.detach(), gradient_norm, indices))
        self._check(self._lag)

    def check_all(self) -> None:
        """Raise `NonFiniteLoss` if the loss or the gradient of any step is NaN or infinite."""
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
