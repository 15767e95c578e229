"""Readers of IMPSY logs, and of the arrays that IMPSY converts from logs. Both contain streams of control values.

A log has no header; its lines are `iso-time,source,x1,x2,...`. Rows of the source "interface" were played by a person.
Rows of other sources are left out, such as "rnn", the output of a model. A row of the source "interface" becomes
(dt, x1, x2, ...), where dt is the time in seconds since the preceding row of this source. In the first row, dt is 0;
IMPSY's own `dataset.py` omits this row. Arrays already have rows (dt, x1, x2, ...).

In both kinds of files, dt has no maximum, because pauses are part of a performance (up to 765 s in recordings). After
the first row, a dt below `MIN_DT` (see `streams.py`) is replaced by `MIN_DT`. A dt can even be negative, if the clock
was adjusted.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from math import inf
from pathlib import Path

from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.performance_arrays import STREAMS, ArrayChunk, find_key, read_array_chunks, select_records
from mdnrnn.data.formats.streams import STREAM_LAYOUT, Row, clamp_dt, parse_finite, read_stream

_LINE = re.compile(rb"^[ \t]*\d{4}-\d\d-\d\d[T ][^,\n]*,[ \t]*\w+[ \t]*,[ \t]*[-+.\d]", re.MULTILINE)
_FRACTION = re.compile(r":\d\d\.(\d+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _recognizes_log(path: Path, head: bytes) -> bool:
    """Return whether any line in `head` is a row of a log."""
    return _LINE.search(head) is not None


def _parse_log(path: Path) -> DrawingBatch:
    return read_stream(path, _parse_log_row, "iso-time,source,x1,...")


def _parse_log_row(fields: list[bytes]) -> Row | None:
    time = parse_time(fields[0].decode())
    values = array("d", map(parse_finite, fields[2:]))
    if not values:
        raise ValueError("no values")
    if fields[1].lower() != b"interface":
        return None
    return (time - _EPOCH) // timedelta(microseconds=1), values


def parse_time(text: str) -> datetime:
    """Parse an ISO time. A time without a time zone is read as UTC.

    The time zone does not matter, because only differences of times are used. The fraction of a
    second can have any number of digits, which `fromisoformat` of Python 3.10 does not accept.
    """
    match = _FRACTION.search(text)
    if match:
        text = f"{text[: match.start(1)]}{match[1][:6]:0<6}{text[match.end(1) :]}"
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _recognizes_arrays(path: Path, head: bytes) -> bool:
    """Return whether the file has an array `perfs`, or a single array with rows (dt, x1, x2, x3). See `find_key`."""
    return find_key(path, head) == STREAMS


def _array_chunks(path: Path) -> Iterator[ArrayChunk]:
    return read_array_chunks(path, STREAMS)


def _parse_arrays(chunk: ArrayChunk) -> DrawingBatch:
    dropped: list[Remark] = []
    repaired: list[Remark] = []
    drawings = []
    width = max(chunk.width, 2)
    for location, rows in select_records(chunk, (width,), f"(T, {width}), rows of (dt, x1, ...)", dropped):
        rows[:, 0] = clamp_dt(rows[:, 0], inf, location, repaired)
        drawings.append(([rows], Record(location)))
    return DrawingBatch.from_polylines(drawings, dropped, repaired)


LOG = Format("IMPSY log", (".log",), _recognizes_log, single_chunk, _parse_log, STREAM_LAYOUT)
ARRAYS = Format(
    "IMPSY arrays",
    (".npz", ".npy"),
    _recognizes_arrays,
    _array_chunks,
    _parse_arrays,
    STREAM_LAYOUT,
    default_label="file",
)
