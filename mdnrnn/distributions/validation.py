"""Argument checks for mixtures. Error messages contain the argument's name, the received value and valid values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from mdnrnn.distributions.function_transforms import is_transformed


def check_shapes(logits: Tensor, means: Tensor, log_scales: Tensor, slopes: Tensor | None) -> None:
    """Raise `ValueError` if the shapes of a mixture's parameters do not match.

    Args:
        logits: expected shape (..., K).
        means: expected shape (..., K, D).
        log_scales: expected shape (..., K, D), or with 1 in place of K or D.
        slopes: expected shape (..., K, D, D).
    """
    if logits.ndim < 1 or logits.shape[-1] < 1:
        raise ValueError(f"logits: received shape {tuple(logits.shape)}, expected (..., K) with K >= 1")
    if means.ndim < 2 or means.shape[:-1] != logits.shape or means.shape[-1] < 1:
        expected = ", ".join(map(str, (*logits.shape, "D")))
        raise ValueError(
            f"means: received shape {tuple(means.shape)}, expected ({expected}): the shape of logits followed by D >= 1"
        )
    if log_scales.shape != means.shape and not _is_expandable(log_scales.shape, means.shape):
        received, target = tuple(log_scales.shape), tuple(means.shape)
        raise ValueError(f"log_scales: received shape {received}, expected {target}, or 1 in place of K or D")
    if slopes is not None and slopes.shape != (*means.shape, means.shape[-1]):
        expected_shape = (*means.shape, means.shape[-1])
        raise ValueError(f"slopes: received shape {tuple(slopes.shape)}, expected {expected_shape}")


def _is_expandable(shape: torch.Size, target: torch.Size) -> bool:
    return len(shape) == len(target) and all(size in (1, other) for size, other in zip(shape, target, strict=True))


def check_values(logits: Tensor, means: Tensor, log_scales: Tensor, slopes: Tensor | None) -> None:
    """Raise `ValueError` if a parameter is NaN or infinite.

    Exceptions: log scales can be -inf, and logits can be -inf if at least one logit of the same mixture is finite.
    """
    check_logits("logits", logits)
    check_elements("means", means, ~means.isfinite(), "real numbers")
    check_elements("log_scales", log_scales, log_scales.isnan() | (log_scales == math.inf), "real numbers or -inf")
    if slopes is not None:
        check_elements("slopes", slopes, ~slopes.isfinite(), "real numbers")


def check_logits(name: str, logits: Tensor) -> None:
    """Raise `ValueError` if a logit is NaN or inf, or if all logits of a distribution, shape (..., K), are -inf."""
    check_elements(name, logits, logits.isnan() | (logits == math.inf), "real numbers or -inf")
    impossible = (logits == -math.inf).all(-1, keepdim=True).expand_as(logits)
    check_elements(name, logits, impossible, "at least one above -inf")


def find_invalid_events(event: Tensor, count: int) -> Tensor:
    """Return a mask of the events that are not whole numbers from 0 to `count` - 1."""
    return (event < 0) | (event >= count) | (event != event.long())


def check_value(value: Tensor, batch_shape: torch.Size, event_shape: torch.Size, check_nan: bool) -> None:
    """Raise `ValueError` if `value` is not of shape (..., D), where `...` broadcasts with the batch shape.

    If `check_nan`, also raise `ValueError` if an element is NaN.
    """
    valid = value.shape[-1:] == event_shape  # the last dimension must be D: a size of 1 is not broadcast
    if valid:
        try:
            torch.broadcast_shapes(value.shape[:-1], batch_shape)
        except RuntimeError:
            valid = False
    if not valid:
        expected = f"(..., {event_shape[0]})"
        if batch_shape:
            expected += f" that broadcasts with batch shape {tuple(batch_shape)}"
        raise ValueError(f"value: received shape {tuple(value.shape)}, expected {expected}")
    if check_nan:
        check_elements("value", value, value.isnan(), "real numbers")


def check_elements(name: str, tensor: Tensor, invalid: Tensor, expected: str) -> None:
    """Raise `ValueError` if an element of the mask `invalid` is true.

    The message contains `name`, the first invalid element of `tensor` and `expected`, which describes valid values.
    Under function transforms, nothing is checked, because their control flow cannot depend on the data.
    """
    if not is_transformed() and bool(invalid.any()):
        index = tuple(invalid.nonzero()[0].tolist())
        raise ValueError(f"{name}: received {float(tensor[index])} at index {index}, expected {expected}")


def normalize_dims(dims: int | Sequence[int], size: int) -> list[int]:
    """Return dimensions as a list of indices from 0 to size - 1; negative dimensions count from the end.

    Raises `ValueError` if a dimension is out of range, repeated or not an integer, or if `dims` is empty.
    """
    received = [dims] if isinstance(dims, Integral) else list(dims)  # type: ignore[arg-type]
    if not all(isinstance(dim, Integral) and not isinstance(dim, bool) for dim in received):
        raise ValueError(f"dims: received {received}, expected integers")
    indices = [int(dim) + size if dim < 0 else int(dim) for dim in received]
    if not indices or len(set(indices)) < len(indices) or any(not 0 <= dim < size for dim in indices):
        raise ValueError(f"dims: received {received}, expected one or more different dimensions from 0 to {size - 1}")
    return indices
