"""Read text logs with one row of comma-separated values per line, and clamp the times and values of performances."""

from __future__ import annotations

import codecs
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from math import inf, isfinite
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import StepLayout, read_bounded
from mdnrnn.data.strokes import Polyline
from mdnrnn.errors import DataError, quantity

STREAM_LAYOUT = StepLayout(start="up", features=("dt",), units="s, controls")
MIN_DT = 1e-4
"""Minimum time between rows, in seconds. Smaller times, including zero and negative times, are replaced by it."""
BAD_LINE = "bad line"
"""`Remark.reason` for lines that cannot be read."""
_MAX_FILE_BYTES, _MAX_LINE_BYTES = 64 << 20, 1 << 14
MAX_LINES = 1 << 22

Row = tuple[int, "array[float]"]
"""Time in microseconds, and values."""


def read_fields(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the line number (from 1) and the comma-separated fields of each line; skip blank lines and comments (#).

    For a line of more than 16 KiB, the list of fields is empty.
    """
    data = read_bounded(path, _MAX_FILE_BYTES).removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(BytesIO(data), 1):
        if number > MAX_LINES:
            raise DataError(f"{path} has over {MAX_LINES} lines; expected at most {MAX_LINES}; split the file")
        line = line.strip()
        if len(line) > _MAX_LINE_BYTES:
            yield number, []
        elif line and not line.startswith(b"#"):
            yield number, [field.strip() for field in line.split(b",")]


def parse_finite(field: bytes) -> float:
    """Return the number in a field; raise `ValueError` if it is not a finite number."""
    number = float(field)
    if not isfinite(number):
        raise ValueError(f"{number} is not finite")
    return number


def describe_bad_lines(path: Path, numbers: list[int], expected: str) -> list[Remark]:
    """Return a list with one remark on all unreadable lines of a file; [] if there are no unreadable lines."""
    if not numbers:
        return []
    more = f" and {quantity(len(numbers) - 1, 'more lines')}" if len(numbers) > 1 else ""
    return [Remark(BAD_LINE, f"{path}, line {numbers[0]}{more}: expected {expected}; ignored")]


def single_drawing(path: Path, strokes: list[Polyline], repaired: list[Remark], expected: str) -> DrawingBatch:
    """Return a batch with the only drawing of a file. If no line could be read, return a batch with only a remark.

    Args:
        path: the file.
        strokes: strokes of the drawing, from the lines that could be read.
        repaired: remarks on repairs, including those on lines that could not be read.
        expected: description of a valid line, for messages.
    """
    if not strokes and repaired:
        return DrawingBatch.from_polylines(
            [], [Remark("no valid line", f"{path} has no valid line; expected {expected}")]
        )
    return DrawingBatch.from_polylines([(strokes, Record(str(path)))], (), repaired)


def read_stream(path: Path, parse_row: Callable[[list[bytes]], Row | None], expected: str) -> DrawingBatch:
    """Read a log as one drawing with a single stroke, whose points are the rows (dt, x1, x2, ...).

    Rows whose number of values is not the most common one are left out and reported. Short times are clamped.

    Args:
        path: a text log.
        parse_row: function that converts the fields of a line to a row, or to None if the line is not part of the
            stream. It raises `ValueError` or `LookupError` if the line cannot be read.
        expected: description of a valid line, for messages.
    """
    # Flat arrays, because millions of tuples would take hundreds of megabytes.
    numbers, times, widths, values, bad = array("q"), array("q"), array("q"), array("d"), array("q")
    for number, fields in read_fields(path):
        try:
            row = parse_row(fields)
        except (ValueError, LookupError, OverflowError):
            bad.append(number)
            continue
        if row is not None:
            numbers.append(number)
            times.append(row[0])
            widths.append(len(row[1]))
            values.extend(row[1])
    counts = Counter(widths)
    width = max(counts, key=counts.__getitem__, default=0)
    is_valid = np.array(widths) == width
    bad.extend(np.array(numbers)[~is_valid].tolist())
    repaired = describe_bad_lines(path, sorted(bad), expected)
    if not is_valid.any():
        return single_drawing(path, [], repaired, expected)
    microseconds, valid_values = np.array(times)[is_valid], np.array(values)[is_valid.repeat(widths)]
    dt = clamp_dt(np.diff(microseconds, prepend=microseconds[:1]) / 1e6, inf, str(path), repaired)
    return single_drawing(path, [np.column_stack([dt, valid_values.reshape(-1, width)])], repaired, expected)


def clamp_dt(dt: np.ndarray, max_dt: float, location: str, repaired: list[Remark], tolerance: float = 0) -> np.ndarray:
    """Clamp `dt` (T,), the times since the preceding row in seconds, to the range [`MIN_DT`, `max_dt`].

    `MIN_DT` is positive because models are trained on the logarithms of times. The first element of `dt` is an
    exception: it is clamped to the range [0, `max_dt`]. `clamp` describes the other arguments.
    """
    first = np.clip(dt[:1], 0, max_dt)
    dt = np.concatenate([np.full(len(dt[:1]), MIN_DT), dt[1:]])
    dt = clamp(dt, (MIN_DT, np.inf), f"dt under {MIN_DT:g} s", location, repaired, tolerance)
    dt = clamp(dt, (0, max_dt), f"dt over {max_dt:g} s", location, repaired, tolerance)
    return np.concatenate([first, dt[1:]])


def clamp(
    values: np.ndarray,
    bounds: tuple[float, float],
    reason: str,
    location: str,
    repaired: list[Remark],
    tolerance: float = 0,
) -> np.ndarray:
    """Clamp values, (T,) or (T, n).

    Args:
        values: numbers to clamp.
        bounds: minimum and maximum.
        reason: reason of the remark, see `Remark.reason`.
        location: file and record, for messages.
        repaired: list to which a remark is appended if any value exceeds the bounds by more than `tolerance`.
        tolerance: rounding error of the values. Values that exceed the bounds by less are clamped without a remark.
    """
    low, high = bounds
    outside = np.argwhere((values < low - tolerance) | (values > high + tolerance))
    if len(outside):
        index, rows = tuple(outside[0]), len(np.unique(outside[:, 0]))
        more = f", and in {quantity(rows - 1, 'more rows')}" if rows > 1 else ""
        bound = low if values[index] < low else high
        repaired.append(
            Remark(reason, f"{location}: {reason}: {values[index]:.6g} in row {index[0]}{more}; clamped to {bound:g}")
        )
    return np.clip(values, low, high)
