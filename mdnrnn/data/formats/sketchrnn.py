"""Reader of sketch-rnn `.npz` files. Each split is an object array with one array of rows per drawing.

The arrays are pickled, in some files by Python 2. A row is (dx, dy, pen): dx and dy are the offset from the preceding
point, with y pointing down, and pen = 1 marks the last point of a stroke. The first point of a drawing has no row: it
is the origin, and row 0 is the offset of the second point. There is one exception: if row 0 of every drawing in a file
is (0, 0, 0), row 0 is the first point. Rows with 4 or 5 columns are converted as described in `stroke_columns.py`.
All drawings of a split that have 4 or 5 columns have the same layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.arrays import array_names, group_rows, read_records
from mdnrnn.data.formats.format import Format
from mdnrnn.data.formats.stroke_columns import WIDTHS, Columns, choose_columns, fits_any, part_remarks, to_stroke_3
from mdnrnn.data.metadata import SPLITS
from mdnrnn.errors import DataError

_CHUNK_RECORDS, _CHUNK_NUMBERS = 1024, 1 << 22
_MAX_BUFFERED_NUMBERS = 1 << 26
"""Maximum number of values of a split that are kept in memory while row 0 of its records is checked. A larger split is
read twice."""
_OTHER_COLUMN = {Columns.STROKE_5: [2], Columns.DOWN_UP: [2], Columns.PART: [3]}
"""Columns besides the offset and the ends of strokes, by layout: a switch that is 1 while the pen is down, or parts."""


class _Chunk(NamedTuple):
    """Consecutive records of one split."""

    name: str
    """File and split, for messages."""
    split: str
    first: int
    """Index of the first record."""
    records: list[np.ndarray | None]
    columns: Columns
    origin: bool
    """Whether row 0 of each record is the origin instead of a step."""

    def location(self, index: int) -> str:
        return f"{self.name}[{index}]"


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether `path` is a zip archive with a member `train.npy`, `valid.npy` or `test.npy`."""
    return head.startswith(b"PK") and any(split in array_names(path) for split in SPLITS)


def _chunks(path: Path) -> Iterator[_Chunk]:
    names = array_names(path)
    splits = [split for split in SPLITS if split in names]
    origin = True
    begun: dict[str, tuple[Columns, Iterator[np.ndarray | None]]] = {}
    for split in splits:
        columns, records = _open_split(path, split)
        origin, records = _begin_reading(path, split, columns, records)
        begun[split] = columns, records
        if not origin:
            break
    for split in splits:
        columns, records = begun.pop(split) if split in begun else _open_split(path, split)
        empty = True
        for first, group in group_rows(records, _CHUNK_RECORDS, _CHUNK_NUMBERS):
            yield _Chunk(f"{path}: {split}", split, first, group, columns, origin)
            empty &= not any(map(_size, group))
        if empty:
            raise DataError(f"{path}: split {split!r} is empty; expected at least one sequence")


def _open_split(path: Path, split: str) -> tuple[Columns, Iterator[np.ndarray | None]]:
    """Return the layout of a split, and an iterator over its records.

    If the first drawing has 4 or 5 columns, all drawings of the split decide, because the first ones could also fit
    another layout. Invalid drawings are ignored.
    """
    records, head = read_records(path, split), []
    for record in records:
        head.append(record)
        if _size(record) and record is not None:
            break
    shape = head[-1].shape if head and head[-1] is not None else ()
    columns = None
    if len(shape) == 2 and shape[1] in WIDTHS[1:]:
        drawings = (rows for rows in read_records(path, split) if rows is not None and rows.shape[1:] == shape[1:])
        columns = choose_columns(filter(fits_any, drawings))
    return columns or Columns.PEN_LAST, chain(head, records)


def _begin_reading(
    path: Path, split: str, columns: Columns, records: Iterator[np.ndarray | None]
) -> tuple[bool, Iterator[np.ndarray | None]]:
    """Return whether all records of a split begin with the origin, and an iterator over all records.

    The check stops at the first record that does not begin with the origin.
    """
    buffered, numbers = [], 0
    for record in records:
        buffered.append(record)
        if not _begins_with_origin(record, columns):
            return False, chain(buffered, records)
        numbers += _size(record)
        if numbers > _MAX_BUFFERED_NUMBERS:
            origin = all(_begins_with_origin(record, columns) for record in records)
            return origin, read_records(path, split)
    return True, iter(buffered)


def _begins_with_origin(record: np.ndarray | None, columns: Columns) -> bool:
    """Return whether row 0 has the offset (0, 0) and ends no stroke.

    For a record without rows, return True, because it is dropped later.
    """
    if record is None or not record.size or not record.ndim:
        return True
    item = record.item
    if record.shape[1:] == (3,):
        return not (item(0) or item(1) or item(2))
    row = record[0]
    if record.ndim == 2 and record.shape[1] in WIDTHS[1:]:
        row = np.delete(row, _OTHER_COLUMN.get(columns, []))
    return not row.any()


def _size(record: np.ndarray | None) -> int:
    return 1 if record is None else record.size


def _parse(chunk: _Chunk) -> DrawingBatch:
    dropped: list[Remark] = []
    indices, arrays = _select_valid(chunk, dropped)
    if not indices:
        return DrawingBatch.from_polylines([], dropped)
    if not chunk.origin:  # prepend the implicit origin to each drawing
        origin = np.zeros((1, 3), arrays[0].dtype)
        arrays = [np.concatenate([origin, rows]) for rows in arrays]
    records = [Record(chunk.location(index), split=chunk.split) for index in indices]
    lost = part_remarks(chunk.columns, len(arrays), chunk.name)
    return replace(pack_rows(arrays, records, dropped), lost=lost)


def pack_rows(arrays: list[np.ndarray], records: list[Record], dropped: list[Remark]) -> DrawingBatch:
    """Pack drawings into a batch.

    Args:
        arrays: rows (dx, dy, pen) of each drawing, (T, 3) with T >= 1. Row 0 is the position of the first point.
        records: metadata of each drawing.
        dropped: remarks on the records that were dropped.
    """
    lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
    rows = np.concatenate(arrays)
    first_rows = np.cumsum(lengths) - lengths
    points = _cumulative_sums(rows[:, :2], first_rows)
    pen_up = rows[:, 2] == 1
    pen_up[first_rows + lengths - 1] = True
    stroke_lengths = np.diff(np.flatnonzero(pen_up) + 1, prepend=0)
    stroke_counts = np.add.reduceat(pen_up, first_rows, dtype=np.int64)
    return DrawingBatch(points, stroke_lengths, stroke_counts, records, dropped)


def _select_valid(chunk: _Chunk, dropped: list[Remark]) -> tuple[list[int], list[np.ndarray]]:
    """Return the indices and the rows of the valid records that have steps.

    For each record that is not returned, a remark is appended to `dropped`.
    """
    indices, arrays = [], []
    if (valid := _all_valid(chunk.records)) and min(map(len, valid)) > chunk.origin:
        return list(range(chunk.first, chunk.first + len(valid))), valid
    for index, record in enumerate(chunk.records, chunk.first):
        location = chunk.location(index)
        try:
            array = _to_rows(record, chunk.columns, location)
        except DataError as error:
            dropped.append(Remark("no rows of (dx, dy, pen)", str(error)))
            continue
        if len(array) > chunk.origin:
            indices.append(index)
            arrays.append(array)
        else:
            reason = "an origin alone" if len(array) else "empty sequence"
            dropped.append(Remark(reason, f"{location} has no steps", malformed=False))
    return indices, arrays


def _all_valid(records: list[np.ndarray | None]) -> list[np.ndarray]:
    """Return the records if all of them are valid arrays (T, 3), else []."""
    arrays = [record for record in records if record is not None and record.shape[1:] == (3,)]
    if len(arrays) < len(records) or not {array.dtype.kind for array in arrays} <= set("iuf"):
        return []
    rows = np.concatenate(arrays)
    pen = rows[:, 2]
    valid = ((pen == 0) | (pen == 1)).all() and (rows.dtype.kind != "f" or np.isfinite(rows).all())
    return arrays if valid else []


def _to_rows(record: np.ndarray | None, columns: Columns, location: str) -> np.ndarray:
    """Return a record as rows (dx, dy, pen), (T, 3); raise `DataError` if its rows are not valid.

    Args:
        record: the record; None if it is not an array.
        columns: layout of the split, for records with 4 or 5 columns.
        location: file, split and index, for messages.
    """
    if record is not None and not record.size:
        return np.zeros((0, 3))
    rows = record
    if rows is not None and rows.dtype.kind not in "biuf":
        with suppress(TypeError, ValueError, OverflowError):
            rows = rows.astype(np.float64)
    if rows is None or rows.dtype.kind not in "biuf":
        raise DataError(f"{location} is ragged or not numeric; expected rows of (dx, dy, pen)")
    if rows.ndim == 2 and rows.shape[1] in WIDTHS[1:] and columns is not Columns.PEN_LAST:
        try:
            return to_stroke_3(rows, columns, padded=False)
        except ValueError as error:
            raise DataError(f"{location} {error}; expected rows of {columns.value}") from error
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise DataError(f"{location} has shape {rows.shape}; expected (T, 3), rows of (dx, dy, pen)")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise DataError(f"{location} contains NaN or infinity in row {row}; expected finite offsets")
    pen = rows[:, 2]
    invalid = (pen != 0) & (pen != 1)
    if invalid.any():
        row = int(invalid.argmax())
        raise DataError(f"{location} has pen {pen[row]} in row {row}; expected 0 or 1")
    return rows


def _cumulative_sums(offsets: np.ndarray, first_rows: np.ndarray) -> np.ndarray:
    """Return positions (N, 2), float64: cumulative sums of offsets (N, 2) that restart at each row in `first_rows`."""
    if offsets.dtype.kind in "iu":
        # Integer sums are exact. Convert first, because `np.cumsum` with the argument `dtype` is several times slower.
        offsets = offsets.astype(np.int64)
        sums = np.cumsum(offsets, axis=0)
        lengths = np.diff(first_rows, append=len(offsets))
        sums -= (sums[first_rows] - offsets[first_rows]).repeat(lengths, axis=0)
        return sums.astype(np.float64)
    parts = np.split(offsets.astype(np.float64), first_rows[1:])
    return np.concatenate([np.cumsum(part, axis=0) for part in parts])


FORMAT = Format("sketch-rnn .npz", (".npz",), _recognizes, _chunks, _parse, default_label="file")
