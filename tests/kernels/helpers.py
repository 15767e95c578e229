"""Helpers of the kernel tests."""

import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def largest_error(results: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest norm of a difference, relative to the norm of the expected tensor."""
    pairs = list(zip(results, expected, strict=True))
    assert all(one.shape == other.shape for one, other in pairs)
    return max(float((one.double() - other.double()).norm() / other.double().norm()) for one, other in pairs)
