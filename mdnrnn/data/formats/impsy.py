"""IMPSY: streams of control values, as the logs that it writes and as the arrays that it makes of them.

A log has no header; its lines are `iso-time,source,x1,x2,...`. The rows of source "interface" are what a person
played; "rnn" is what a model answered, and is not learned from. Each becomes (dt, x1, x2, ...): dt is the time in
seconds since the interface row before, 0 in the first, which IMPSY's own `dataset.py` leaves out. The arrays hold
such rows already, dt first. A wait belongs to how someone plays (765 s occurs), so dt stays as it was measured; where
it is 0 or negative, since a clock was set back, it becomes the shortest that there is.

Also what tells arrays of touches and arrays of streams apart, and reads both.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdnrnn.data.corpus import SPLITS
from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.arrays import members, read_records
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.streams import STREAM, Row, finite, read_stream, waits
from mdnrnn.errors import DataError

TOUCHES, STREAMS = "raw_perfs", "perfs"
"""The keys under which MicroJam and IMPSY save their arrays."""
_RECORDS_A_CHUNK, _NUMBERS_A_CHUNK = 256, 1 << 20
_RECORDS_TO_SEE, _NEARLY_ALL = 64, 0.95
_LINE = re.compile(rb"^[ \t]*\d{4}-\d\d-\d\d[T ][^,\n]*,[ \t]*\w+[ \t]*,[ \t]*[-+.\d]", re.MULTILINE)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def find_key(path: Path, head: bytes) -> str | None:
    """Whether a file holds TOUCHES or STREAMS: by the key, else by what the rows of its only array look like.

    Rows of four floats whose last is always 0 or 1 are touches (x, y, dt, moving), other rows of four a stream; rows
    of three are touches (x, y, dt), or neither where the last is always 0 or 1: that is a pen. Where the numbers of
    the first record are no touches on a screen, or no times, it is neither.
    """
    if not head.startswith((b"PK", b"\x93NUMPY")):
        return None
    names = members(path)
    if any(split in names for split in SPLITS):
        return None
    for key in (TOUCHES, STREAMS):
        if key in names:
            return key
    if len(names) > 1:
        return None
    widths, switch = set(), True
    first = np.zeros((0, 4))
    try:
        for record in islice(read_records(path, names[0] if names else None), _RECORDS_TO_SEE):
            rows = _numbers(record)
            if rows is None or (rows.size and (rows.ndim != 2 or rows.dtype.kind != "f")):
                return None
            if rows.size:
                first = first if first.size else rows
                widths.add(rows.shape[1])
                switch = switch and bool(np.isin(rows[:, -1], (0, 1)).all())
    except (DataError, OSError):
        return None
    if widths == {4} and not switch:
        return STREAMS if _waits(first[:, 0]) else None
    touches = widths == {4} or (widths == {3} and not switch)
    return TOUCHES if touches and _like_touches(first) else None


def _waits(dt: np.ndarray) -> bool:
    """Whether numbers (T,) can be times between rows; a clock may have been set back once."""
    return bool((dt >= -0.1).mean() >= _NEARLY_ALL)


def _like_touches(rows: np.ndarray) -> bool:
    """Whether rows (T, 3 or 4) can be (x, y, dt, ...); some touches are dragged off the screen, some waits long."""
    on_screen = ((rows[:, :2] > -0.5) & (rows[:, :2] < 1.6)).all(1)
    return bool(on_screen.mean() >= _NEARLY_ALL and _waits(rows[:, 2]) and (rows[:, 2] < 10).mean() >= 0.5)


class Chunk(NamedTuple):
    """Records of one array, the first of them number `first`; None stands for one that is no array of numbers."""

    where: str
    first: int
    records: list[np.ndarray | None]
    width: int
    """How many columns the first record of the array has."""


def read_array_chunks(path: Path, key: str) -> Iterator[Chunk]:
    """The records under `key`, or of the only array there is."""
    names = members(path)
    if len(names) > 1 and key not in names:
        raise DataError(f"{path} has arrays {', '.join(names)[:80]}; expected one called {key}, or a single one")
    member = key if key in names else names[0] if names else None
    where = f"{path}: {member}" if member else str(path)
    records: list[np.ndarray | None] = []
    first = size = width = 0
    for record in map(_numbers, read_records(path, member)):
        records.append(record)
        if record is not None:
            size += record.size
            width = width or (record.shape[1] if record.ndim == 2 and len(record) else 0)
        if len(records) == _RECORDS_A_CHUNK or size > _NUMBERS_A_CHUNK:
            yield Chunk(where, first, records, width)
            first, records, size = first + len(records), [], 0
    if records:
        yield Chunk(where, first, records, width)


def _numbers(record: Any) -> np.ndarray | None:
    with suppress(TypeError, ValueError, OverflowError, RecursionError):
        rows = np.asarray(record)
        if rows.dtype.kind in "biuf" or not rows.size:
            return rows
    return None


def select_records(
    chunk: Chunk, widths: tuple[int, ...], expected: str, drops: list[Remark]
) -> Iterator[tuple[str, np.ndarray]]:
    """Places and rows (T, width), float64, of the records that have them; the others go to `drops`."""
    for number, record in enumerate(chunk.records, chunk.first):
        where = f"{chunk.where}[{number}]"
        if record is None:
            drops.append(Remark("no numbers", f"{where} is ragged or holds no numbers; expected {expected}"))
        elif not record.size:
            drops.append(Remark("empty", f"{where} has no rows", malformed=False))
        elif record.ndim != 2 or record.shape[1] not in widths:
            drops.append(Remark("wrong shape", f"{where} has shape {record.shape}; expected {expected}"))
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                rows = record.astype(np.float64)
            bad = np.flatnonzero(~np.isfinite(rows).all(1))
            if len(bad):
                detail = f"{where} holds NaN or infinity in row {bad[0]}; expected finite numbers"
                drops.append(Remark("not finite", detail))
            else:
                yield where, rows


def _recognizes_log(path: Path, head: bytes) -> bool:
    """Whether some line of its first ones is a row of a log."""
    return _LINE.search(head.removeprefix(b"\xef\xbb\xbf")) is not None


def _parse_log(path: Path) -> DrawingBatch:
    return read_stream(path, _log_row, "iso-time,source,x1,...")


def _log_row(fields: list[bytes]) -> Row | None:
    moment = datetime.fromisoformat(fields[0].decode().replace("Z", "+00:00"))
    values = array("d", map(finite, fields[2:]))
    if not values:
        raise ValueError("no values")
    if fields[1].lower() != b"interface":
        return None
    # Written without a zone, all are in the same.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return (moment - _EPOCH) // timedelta(microseconds=1), values


def _recognizes_arrays(path: Path, head: bytes) -> bool:
    """Whether it has an array called `perfs`, or a single one of rows like those of IMPSY."""
    return find_key(path, head) == STREAMS


def _array_chunks(path: Path) -> Iterator[Chunk]:
    return read_array_chunks(path, STREAMS)


def _parse_arrays(chunk: Chunk) -> DrawingBatch:
    drops: list[Remark] = []
    mends: list[Remark] = []
    drawings = []
    width = max(chunk.width, 2)
    for where, rows in select_records(chunk, (width,), f"(T, {width}), rows of (dt, x1, ...)", drops):
        rows[:, 0] = waits(rows[:, 0], inf, where, mends)
        drawings.append(([rows], Record(where)))
    return DrawingBatch.from_polylines(drawings, drops, mends)


LOG = Format("IMPSY log", (".log",), _recognizes_log, single_chunk, _parse_log, STREAM)
ARRAYS = Format(
    "IMPSY arrays", (".npz", ".npy"), _recognizes_arrays, _array_chunks, _parse_arrays, STREAM, default_label="file"
)
