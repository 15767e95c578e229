"""Random inputs and states of LSTMs with 3 input features, and the relative error of a tensor."""

import torch
from torch import Tensor

from mdnrnn.nn.lstm import LSTMState

HIDDEN = 7


def random_state(layers: int, batch: int, hidden: int = HIDDEN) -> LSTMState:
    return LSTMState(*torch.randn(2, layers, batch, hidden, dtype=torch.float64))


def random_inputs(steps: int, batch: int) -> Tensor:
    return torch.randn(steps, batch, 3, dtype=torch.float64)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference, divided by the norm of the expected tensor."""
    return float((actual - expected).detach().norm() / expected.detach().norm())
