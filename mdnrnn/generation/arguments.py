"""Checks of the arguments of `generate`."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mdnrnn.errors import InputError


def check_generation_arguments(n: int, seed: int, max_steps: int | np.ndarray = 1) -> None:
    """Raise `InputError` if the number of sequences, the seed or a maximum number of steps is invalid.

    Args:
        n: number of sequences.
        seed: random seed.
        max_steps: maximum number of new steps, a number or shape (n,).
    """
    if n < 0:
        raise InputError(f"n: received {n} sequences, expected a whole number >= 0")
    if seed < 0:
        raise InputError(f"seed: received {seed}, expected a whole number >= 0")
    if np.ndim(max_steps) and np.shape(max_steps) != (n,):
        raise InputError(f"max_steps: received shape {np.shape(max_steps)}, expected a number or ({n},)")
    smallest = np.min(max_steps, initial=1)
    if smallest < 1:
        raise InputError(f"max_steps: received {smallest}, expected a whole number >= 1")


def check_label(label: Tensor | None, classes: int) -> None:
    """Raise `InputError` if an integer label is not a class index.

    Args:
        label: class indices (n,); or weights of blends (n, classes), which `LabelEmbedding` checks; or None.
        classes: number of classes of the model.
    """
    if label is None or label.is_floating_point() or not classes:
        return
    if not ((label >= 0) & (label < classes)).all():
        raise InputError(f"label: received {label.min()} to {label.max()}, expected 0 to {classes - 1}")
