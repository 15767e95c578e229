"""What is wrong with a mixture's parameters: the argument, what it is, what was expected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor


def check_shapes(logits: Tensor, means: Tensor, log_scales: Tensor, slopes: Tensor | None) -> None:
    """ValueError unless they are (..., K), (..., K, D), what expands to that, and (..., K, D, D)."""
    if logits.ndim < 1 or logits.shape[-1] < 1:
        raise ValueError(f"logits: received shape {tuple(logits.shape)}, expected (..., K) with K of 1 or more")
    if means.ndim < 2 or means.shape[:-1] != logits.shape or means.shape[-1] < 1:
        expected = ", ".join(map(str, (*logits.shape, "D")))
        raise ValueError(
            f"means: received shape {tuple(means.shape)}, expected ({expected}), as logits are, D 1 or more"
        )
    if log_scales.shape != means.shape and not _expands(log_scales.shape, means.shape):
        shape, wanted = tuple(log_scales.shape), tuple(means.shape)
        raise ValueError(f"log_scales: received shape {shape}, expected {wanted}, or 1 in place of K or D")
    if slopes is not None and slopes.shape != (*means.shape, means.shape[-1]):
        expected_shape = (*means.shape, means.shape[-1])
        raise ValueError(f"slopes: received shape {tuple(slopes.shape)}, expected {expected_shape}")


def _expands(shape: torch.Size, target: torch.Size) -> bool:
    return len(shape) == len(target) and all(own in (1, wanted) for own, wanted in zip(shape, target, strict=True))


def check_values(logits: Tensor, means: Tensor, log_scales: Tensor, slopes: Tensor | None) -> None:
    """ValueError where a number is none, or is infinite and may not be."""
    refuse("logits", logits, logits.isnan() | (logits == math.inf), "real numbers or -inf")
    refuse("logits", logits, (logits == -math.inf).all(-1, keepdim=True).expand_as(logits), "one above -inf at least")
    refuse("means", means, ~means.isfinite(), "real numbers")
    refuse("log_scales", log_scales, log_scales.isnan() | (log_scales == math.inf), "real numbers or -inf")
    if slopes is not None:
        refuse("slopes", slopes, ~slopes.isfinite(), "real numbers")


def check_value(value: Tensor, batch: torch.Size, event: torch.Size, numbers: bool) -> None:
    """ValueError unless it is (..., D) with a `...` that the batch shape fits, and, if asked, made of numbers."""
    fits = value.shape[-1:] == event  # else a 1 would be spread over all dimensions
    if fits:
        try:
            torch.broadcast_shapes(value.shape[:-1], batch)
        except RuntimeError:
            fits = False
    if not fits:
        expected = f"(..., {event[0]}) with ... that fits {tuple(batch)}" if batch else f"(..., {event[0]})"
        raise ValueError(f"value: received shape {tuple(value.shape)}, expected {expected}")
    if numbers:
        refuse("value", value, value.isnan(), "real numbers")


def refuse(name: str, tensor: Tensor, wrong: Tensor, expected: str) -> None:
    """ValueError that shows the first of the numbers that are `wrong`, if any is."""
    if bool(wrong.any()):
        index = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(f"{name}: received {float(tensor[index])} at index {index}, expected {expected}")


def positions(dims: int | Sequence[int], size: int) -> list[int]:
    """Dimensions as a list from 0 up; ValueError where one is not there, or is there twice."""
    given = [dims] if isinstance(dims, Integral) else list(dims)  # type: ignore[arg-type]
    if not all(isinstance(dim, Integral) and not isinstance(dim, bool) for dim in given):
        raise ValueError(f"dims: received {given}, expected whole numbers")
    found = [int(dim) + size if dim < 0 else int(dim) for dim in given]
    if not found or len(set(found)) < len(found) or any(not 0 <= dim < size for dim in found):
        raise ValueError(f"dims: received {given}, expected different dimensions from 0 to {size - 1}, one at least")
    return found
