"""Checks and conversions of the arguments of `Corpus.from_arrays`."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mdnrnn.data.metadata import SPLITS
from mdnrnn.errors import InputError
from mdnrnn.pen_events import DOWN, END, UP


def check_count(name: str, values: Iterable[Any], count: int) -> list[Any]:
    """Convert the values to a list; raise `InputError` if their number is not `count`."""
    values = list(values)
    if len(values) != count:
        raise InputError(f"{name}: received {len(values)}, expected {count}, one per sequence")
    return values


def check_strings(name: str, values: Iterable[str], count: int) -> list[str]:
    """Convert the values to a list; raise `InputError` if a value is not a string or their number is not `count`."""
    values = check_count(name, values, count)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise InputError(f"{name}[{i}]: received {value!r}, expected a string")
    return [str(value) for value in values]


def check_lengths(lengths: ArrayLike, count: int) -> list[int]:
    """Convert lengths to a list; raise `InputError` if they are not `count` integers of 1 or more."""
    array = np.asarray(lengths)
    if array.shape != (count,) or array.dtype.kind not in "iu" or (array < 1).any():
        raise InputError(
            f"lengths: received {array.dtype} of shape {array.shape}, expected {count} integers >= 1, one per sequence"
        )
    return array.tolist()


def unpad(name: str, values: Iterable[ArrayLike], lengths: list[int]) -> list[np.ndarray]:
    """Return the real steps of padded arrays: the first lengths[i] rows of array i.

    Raises:
        InputError: the number of arrays differs from that of the lengths, or an array has too few rows.
    """
    arrays = [np.asarray(value) for value in check_count(name, values, len(lengths))]
    for i, (array, length) in enumerate(zip(arrays, lengths, strict=True)):
        if array.ndim == 0 or len(array) < length:
            raise InputError(
                f"{name}[{i}]: received shape {array.shape}, expected {length} or more steps: lengths[{i}]"
            )
    return [array[:length] for array, length in zip(arrays, lengths, strict=True)]


def check_matrices(name: str, values: Iterable[ArrayLike], motions: list[np.ndarray] | None = None) -> list[np.ndarray]:
    """Convert the values to arrays; raise `InputError` if a value is not a numeric array (T, width) with T >= 1.

    All arrays must have the same width. If `motions` is given, array i must have as many rows as motions[i].
    """
    arrays = [np.asarray(value) for value in values]
    if motions is not None:
        check_count(name, arrays, len(motions))
    for i, array in enumerate(arrays):
        rows = "T" if motions is None else len(motions[i])
        width = arrays[0].shape[1] if i and arrays[0].ndim == 2 else "D"
        if array.ndim != 2 or not array.size or rows not in ("T", len(array)) or width not in ("D", array.shape[1]):
            raise InputError(f"{name}[{i}]: received shape {array.shape}, expected ({rows}, {width}) of size 1 or more")
        if array.dtype.kind not in "iuf":
            raise InputError(f"{name}[{i}]: received dtype {array.dtype}, expected integers or floats")
    return arrays


def check_context(context: ArrayLike, count: int) -> np.ndarray:
    """Convert context vectors to an array (M, C); raise `InputError` if the shape or the dtype is invalid."""
    vectors = np.asarray(context)
    if vectors.ndim != 2 or len(vectors) != count or not vectors.size:
        raise InputError(f"context: received shape {vectors.shape}, expected ({count}, C) with C >= 1")
    if vectors.dtype.kind not in "iuf":
        raise InputError(f"context: received dtype {vectors.dtype}, expected integers or floats")
    return vectors


def check_events(events: Iterable[ArrayLike], motions: list[np.ndarray], name: str = "events") -> list[np.ndarray]:
    """Convert the events of each sequence to an integer array (T,); Boolean events become DOWN (False) or UP (True)."""
    arrays = [np.asarray(event) for event in events]
    check_count(name, arrays, len(motions))
    for i, (event, motion) in enumerate(zip(arrays, motions, strict=True)):
        if event.shape != (len(motion),):
            raise InputError(
                f"{name}[{i}]: received shape {event.shape}, expected ({len(motion)},): one event per row of the motion"
            )
        if event.dtype.kind not in "iub":
            raise InputError(f"{name}[{i}]: received dtype {event.dtype}, expected integers or booleans")
        unknown = np.setdiff1d(event, (DOWN, UP, END))
        if len(unknown):
            raise InputError(f"{name}[{i}]: received {unknown[0]}, expected DOWN (0), UP (1) or END (2)")
    return [np.where(event, UP, DOWN) if event.dtype.kind == "b" else event for event in arrays]


def divide_into_splits(count: int, splits: SequenceOf[float] | SequenceOf[str], seed: int) -> dict[str, list[int]]:
    """Divide `count` sequences into splits; return the sequence indices of each split.

    Args:
        count: number of sequences M.
        splits: M split names, one per sequence, or the shares of train, valid and test for a random division. In a
            random division, valid and test receive at least one sequence each if their share is above 0. If no sequence
            would remain for train, all sequences are assigned to train.
        seed: random seed of the division.
    """
    values: list[Any] = list(splits)
    if values and all(isinstance(value, str) for value in values):
        names = check_count("splits", values, count)
        unknown = set(names) - set(SPLITS)
        if unknown:
            raise InputError(f"splits: received {', '.join(sorted(unknown))}, expected {', '.join(SPLITS)}")
        return {split: [i for i, name in enumerate(names) if name == split] for split in SPLITS}
    is_numeric = all(isinstance(value, (int, float)) for value in values)
    shares = np.array(values if is_numeric else [], dtype=np.float64)
    if shares.shape != (len(SPLITS),) or shares.min() < 0 or shares[0] == 0 or not abs(shares.sum() - 1) < 1e-6:
        raise InputError(f"splits: received {values}, expected shares of {', '.join(SPLITS)} with the sum 1")
    held_out = [max(1, round(float(share) * count)) if share else 0 for share in shares[1:]]
    if sum(held_out) >= count:
        held_out = [0, 0]
    order = np.random.default_rng(seed).permutation(count)
    bounds = np.cumsum([count - sum(held_out), *held_out])[:-1]
    return {split: sorted(part.tolist()) for split, part in zip(SPLITS, np.split(order, bounds), strict=True)}
