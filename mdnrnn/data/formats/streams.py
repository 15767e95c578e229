"""Lightpad: a controller's log with the header `time,ip,message` and lines `34.217415, 127.0.0.1, /block 29 88 4`.

Its rows (dt, x, y, z) are a stream: dt is the time in seconds since the row before, 0 in the first; x, y and the
pressure z are 0 to 127. A pressure of 0 does not mark the end of a touch, nor does every touch end with one, so there
are no strokes. What reads such a log line by line stands here too, for IMPSY's and MicroJam's.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from math import inf, isfinite
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format, StepLayout, read_bounded, single_chunk
from mdnrnn.errors import DataError

STREAM = StepLayout(start="up", features=("dt",), units="s, controls")
MIN_DT = 1e-4
"""Seconds: what rows have between them that came at once, or of which the later came first; real ones have more."""
BAD_LINE = "bad line"
"""The reason of remarks on lines that cannot be read."""
_LARGEST_FILE, _LONGEST_LINE = 64 << 20, 1 << 14
_HEADER = [b"time", b"ip", b"message"]
_START = re.compile(rb"\s*(time\s*,\s*ip\s*,\s*message\s*$|[\d.]+\s*,\s*[\d.]+\s*,\s*/block\s)", re.MULTILINE)

Row = tuple[int, "array[float]"]
"""Time in microseconds, and values."""


def lines(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The lines of a text with commas, numbered from 1, as fields; blank ones and comments (#) are left out."""
    data = read_bounded(path, _LARGEST_FILE).removeprefix(b"\xef\xbb\xbf")
    for number, line in enumerate(BytesIO(data), 1):
        if number > MAX_POINTS:
            raise DataError(f"{path} has over {MAX_POINTS} lines; no performance is so long; split the file")
        line = line.strip()
        if len(line) > _LONGEST_LINE:
            yield number, []
        elif line and not line.startswith(b"#"):
            yield number, [field.strip() for field in line.split(b",")]


def finite(field: bytes) -> float:
    """The number that a field holds; ValueError where it is none."""
    number = float(field)
    if not isfinite(number):
        raise ValueError(f"{number} is not finite")
    return number


def bad_lines(path: Path, numbers: list[int], expected: str) -> list[Remark]:
    """One remark on all lines of a file that cannot be read; none where there are none."""
    if not numbers:
        return []
    more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
    return [Remark(BAD_LINE, f"{path}, line {numbers[0]}{more}: expected {expected}; left out")]


def one_drawing(path: Path, strokes: list[np.ndarray], mends: list[Remark], expected: str) -> DrawingBatch:
    """What a file holds: one drawing; or none, which is its own fault where it had lines but no good one."""
    if not strokes and mends:
        return DrawingBatch.from_polylines(
            [], [Remark("no good line", f"{path} has no good line; expected {expected}")]
        )
    return DrawingBatch.from_polylines([(strokes, Record(str(path)))], (), mends)


def read_stream(path: Path, read_row: Callable[[list[bytes]], Row | None], expected: str) -> DrawingBatch:
    """A log as one drawing of rows (dt, x1, ...).

    Args:
        read_row: what the fields of a line say; None where it is not wanted, ValueError where it is wrong. Rows with
            another number of values than most have are wrong too.
    """
    rows: list[tuple[int, Row]] = []
    bad: list[int] = []
    for number, fields in lines(path):
        try:
            row = read_row(fields)
        except (ValueError, LookupError, OverflowError):
            bad.append(number)
            continue
        if row is not None:
            rows.append((number, row))
    widths = Counter(len(values) for _, (_, values) in rows)
    width = max(widths, key=widths.__getitem__, default=0)
    bad = sorted(bad + [number for number, (_, values) in rows if len(values) != width])
    mends = bad_lines(path, bad, expected)
    kept = [row for _, row in rows if len(row[1]) == width]
    if not kept:
        return one_drawing(path, [], mends, expected)
    times = np.array([time for time, _ in kept], np.int64)
    values = np.frombuffer(b"".join(values.tobytes() for _, values in kept)).reshape(-1, width)
    dt = waits(np.diff(times, prepend=times[:1]) / 1e6, inf, str(path), mends)
    return one_drawing(path, [np.column_stack([dt, values])], mends, expected)


def waits(dt: np.ndarray, longest: float, where: str, mends: list[Remark], slack: float = 0) -> np.ndarray:
    """Times (T,) since the row before, in seconds: above 0, as their logarithms are learned, but in the first row."""
    first, dt = np.clip(dt[:1], 0, longest), np.concatenate([np.full(len(dt[:1]), MIN_DT), dt[1:]])
    dt = clamped(dt, (MIN_DT, np.inf), f"dt under {MIN_DT:g} s", where, mends, slack)
    dt = clamped(dt, (0, longest), f"dt over {longest:g} s", where, mends, slack)
    return np.concatenate([first, dt[1:]])


def clamped(
    values: np.ndarray, limits: tuple[float, float], reason: str, where: str, mends: list[Remark], slack: float = 0
) -> np.ndarray:
    """Values (T,) or (T, n) within limits; a remark where one was out of them by more than `slack`, for rounding."""
    low, high = limits
    wrong = np.argwhere((values < low - slack) | (values > high + slack))
    if len(wrong):
        place, rows = tuple(wrong[0]), len(np.unique(wrong[:, 0]))
        more = f", and {rows - 1} more rows" if rows > 1 else ""
        bound = low if values[place] < low else high
        mends.append(
            Remark(reason, f"{where}: {reason}: {values[place]:.6g} in row {place[0]}{more}; clamped to {bound:g}")
        )
    return np.clip(values, low, high)


def _recognizes(path: Path, head: bytes) -> bool:
    """Whether it begins with the header or, without one, like a line."""
    return _START.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def _row(fields: list[bytes]) -> Row | None:
    if fields == _HEADER:
        return None
    time, _, message = fields
    address, *values = message.split()
    if address != b"/block" or len(values) != 3 or not abs(seconds := float(time)) < 1e9:
        raise ValueError("no position and pressure")
    return round(seconds * 1e6), array("d", map(finite, values))


def _parse(path: Path) -> DrawingBatch:
    return read_stream(path, _row, "time, ip, /block x y z")


FORMAT = Format("Lightpad log", (".txt", ".log", ".csv"), _recognizes, single_chunk, _parse, STREAM)
