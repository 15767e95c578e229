"""Recognize, read and check arrays of performances in the `.npy` and `.npz` files of MicroJam and IMPSY."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import Remark
from mdnrnn.data.formats.arrays import array_names, group_rows, read_records
from mdnrnn.data.metadata import SPLITS
from mdnrnn.errors import DataError

TOUCHES, STREAMS = "raw_perfs", "perfs"
"""Names of the arrays in the files of MicroJam (touch performances) and of IMPSY (streams of control values)."""
_CHUNK_RECORDS, _CHUNK_NUMBERS = 256, 1 << 20
_INSPECTED_RECORDS = 64
_MIN_PLAUSIBLE = 0.95
"""Minimum fraction of rows in the first non-empty record that must be plausible."""


def find_key(path: Path, head: bytes) -> str | None:
    """Return the kind of performances in a file: `TOUCHES`, `STREAMS`, or None for other files.

    For a file with an array named train, valid or test, the result is None. If the file has an array named `raw_perfs`
    or `perfs`, this name is returned. If the file has a single array with a different name or without a name, the rows
    of floats in this array determine the kind:

    - 4 columns, and all values of column 3 are 0 or 1: touches (x, y, dt, moving).
    - 4 columns, and column 3 has other values: a stream (dt, x1, x2, x3).
    - 3 columns, and all values of column 2 are 0 or 1: None, because column 2 is the pen of a drawing.
    - 3 columns, and column 2 has other values: touches (x, y, dt).

    The result is also None if the positions or times in the first non-empty record are not plausible.
    """
    if not head.startswith((b"PK", b"\x93NUMPY")):
        return None
    names = array_names(path)
    if any(split in names for split in SPLITS):
        return None
    for key in (TOUCHES, STREAMS):
        if key in names:
            return key
    if len(names) > 1:
        return None
    widths, is_switch = set(), True
    first = np.zeros((0, 4))
    try:
        for rows in islice(read_records(path, names[0] if names else None), _INSPECTED_RECORDS):
            if rows is None or (rows.size and (rows.ndim != 2 or rows.dtype.kind != "f")):
                return None
            if rows.size:
                first = first if first.size else rows
                widths.add(rows.shape[1])
                is_switch = is_switch and bool(np.isin(rows[:, -1], (0, 1)).all())
    except (DataError, OSError):
        return None
    if widths == {4} and not is_switch:
        return STREAMS if _are_times(first[:, 0]) else None
    may_be_touches = widths == {4} or (widths == {3} and not is_switch)
    return TOUCHES if may_be_touches and _are_touches(first) else None


def _are_times(dt: np.ndarray) -> bool:
    """Return whether values (T,) are plausible times between rows. A few may be negative, after clock adjustments."""
    return bool((dt >= -0.1).mean() >= _MIN_PLAUSIBLE)


def _are_touches(rows: np.ndarray) -> bool:
    """Return whether rows (T, 3 or 4) are plausible as (x, y, dt, ...): most are on the screen and have a short dt."""
    on_screen = ((rows[:, :2] > -0.5) & (rows[:, :2] < 1.6)).all(1)
    return bool(on_screen.mean() >= _MIN_PLAUSIBLE and _are_times(rows[:, 2]) and (rows[:, 2] < 10).mean() >= 0.5)


class ArrayChunk(NamedTuple):
    """Consecutive records of an array."""

    location: str
    """File and array, for messages."""
    first: int
    """Index of the first record."""
    records: list[np.ndarray | None]
    """Records; None for a record that is not an array of numbers."""
    width: int
    """Number of columns of the first non-empty record of the array."""


def read_array_chunks(path: Path, key: str) -> Iterator[ArrayChunk]:
    """Yield the records of the array named `key`, or of the only array in the file, in chunks."""
    names = array_names(path)
    if len(names) > 1 and key not in names:
        raise DataError(f"{path} has arrays {', '.join(names)[:80]}; expected an array named {key}, or a single array")
    member = key if key in names else names[0] if names else None
    location = f"{path}: {member}" if member else str(path)
    width = 0
    for first, group in group_rows(map(_numeric, read_records(path, member)), _CHUNK_RECORDS, _CHUNK_NUMBERS):
        widths = (each.shape[1] for each in group if each is not None and each.ndim == 2 and len(each))
        width = width or next(widths, 0)
        yield ArrayChunk(location, first, group, width)


def _numeric(record: np.ndarray | None) -> np.ndarray | None:
    return record if record is None or record.dtype.kind in "biuf" or not record.size else None


def select_records(
    chunk: ArrayChunk, widths: tuple[int, ...], expected: str, dropped: list[Remark]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the location and the rows of each valid record. The rows are a float64 array (T, width).

    Args:
        chunk: consecutive records.
        widths: valid numbers of columns.
        expected: description of valid rows, for messages.
        dropped: list to which a remark on each invalid record is appended.
    """
    for index, record in enumerate(chunk.records, chunk.first):
        location = f"{chunk.location}[{index}]"
        if record is None:
            dropped.append(Remark("no numbers", f"{location} is ragged or not numeric; expected {expected}"))
        elif not record.size:
            dropped.append(Remark("empty", f"{location} has no rows", malformed=False))
        elif record.ndim != 2 or record.shape[1] not in widths:
            dropped.append(Remark("wrong shape", f"{location} has shape {record.shape}; expected {expected}"))
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                rows = record.astype(np.float64)
            not_finite = np.flatnonzero(~np.isfinite(rows).all(1))
            if len(not_finite):
                detail = f"{location} contains NaN or infinity in row {not_finite[0]}; expected finite numbers"
                dropped.append(Remark("not finite", detail))
            else:
                yield location, rows
