"""Helpers of the kernels tests."""

import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def furthest(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest of the differences' norms, in units of what was expected."""
    pairs = list(zip(found, expected, strict=True))
    assert all(one.shape == other.shape for one, other in pairs)
    return max(float((one.double() - other.double()).norm() / other.double().norm()) for one, other in pairs)
