"""Checks of the numbers and of the sampling constraints that `generate` receives."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdnrnn.errors import InputError
from mdnrnn.generation.noise import check_seed


def check_generation_arguments(n: Any, seed: Any, max_steps: int | np.ndarray = 1, batch_size: Any = 1) -> None:
    """Raise `InputError` if the number of sequences, the seed, a maximum number of steps or the batch size is invalid.

    Args:
        n: number of sequences.
        seed: random seed.
        max_steps: maximum number of new steps: one number for all sequences, or an array (n,) with one per sequence.
        batch_size: number of sequences generated at the same time.
    """
    if not isinstance(n, Integral) or n < 0:
        raise InputError(f"n: received {n} sequences, expected a whole number >= 0")
    check_seed(seed)
    limits = np.asarray(max_steps)
    if limits.ndim and limits.shape != (n,):
        raise InputError(f"max_steps: received shape {limits.shape}, expected a number or ({n},)")
    if limits.size and (limits.dtype.kind not in "iu" or limits.min() < 1):
        received = limits.min() if limits.dtype.kind in "iuf" else limits.dtype
        raise InputError(f"max_steps: received {received}, expected a whole number >= 1")
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise InputError(f"batch_size: received {batch_size}, expected a whole number >= 1")


def check_bin_width(name: str, bin_width: Tensor | None, features: int) -> Tensor | None:
    """Return bin widths (D,) as a tensor. None is returned unchanged.

    Raises:
        InputError: the shape or a value is invalid.
    """
    if bin_width is None:
        return None
    bin_width = to_real_tensor(name, bin_width, (features,))
    if bool((bin_width < 0).any()):
        raise InputError(f"{name}: received {float(bin_width.min())}, expected numbers >= 0")
    return bin_width


def check_bounds(bounds: Tensor | None, features: int) -> Tensor | None:
    """Return lower and upper bounds (2, P) as a tensor. None is returned unchanged.

    Raises:
        InputError: the shape or a value is invalid.
    """
    if bounds is None:
        return None
    bounds = to_tensor("bounds", bounds)
    if bounds.ndim != 2 or len(bounds) != 2 or bounds.shape[1] > features:
        raise InputError(f"bounds: received shape {tuple(bounds.shape)}, expected (2, P) with P <= {features}")
    if not bool((bounds[0] <= bounds[1]).all()):
        raise InputError(f"bounds: received {bounds.tolist()}, expected lower bounds that are <= the upper bounds")
    return bounds


def to_tensor(name: str, value: Any) -> Tensor:
    """Return a tensor or an array of real numbers as a tensor.

    Raises:
        InputError: `value` cannot be converted to a tensor, or is complex or boolean.
    """
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name}: received {type(value).__name__}, expected a tensor of numbers") from error
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise InputError(f"{name}: received dtype {tensor.dtype}, expected real numbers")
    return tensor


def to_real_tensor(name: str, value: Any, shape: tuple[int | str, ...]) -> Tensor:
    """Return a tensor or an array of finite numbers as a tensor.

    Args:
        name: name of the argument, for error messages.
        value: the tensor or array.
        shape: expected shape. A string such as "T" means a dimension of any size.

    Raises:
        InputError: the type, the shape or a value is invalid.
    """
    tensor = to_tensor(name, value)
    check_shape(name, tensor, shape)
    if not bool(tensor.isfinite().all()):
        raise InputError(f"{name}: received NaN or infinite values, expected real numbers")
    return tensor


def check_shape(name: str, tensor: Tensor, shape: tuple[int | str, ...]) -> None:
    """Raise `InputError` if a tensor does not have the given shape. A string in the shape matches any size."""
    sizes = zip(tensor.shape, shape, strict=False)
    if tensor.ndim != len(shape) or not all(isinstance(expected, str) or size == expected for size, expected in sizes):
        expected = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise InputError(f"{name}: received shape {tuple(tensor.shape)}, expected ({expected})")
