"""Reader of arrays of strokes: `.npy` files, and `.npz` files whose arrays are not named train, valid or test.

An array is one drawing (T, 3), (T, 4) or (T, 5), a padded array of drawings (N, T, 3 to 5), or an object array of
drawings. `stroke_columns.py` describes the columns. Row 0 is the position of the first point. In the files that
`sketchrnn.py` reads, by contrast, row 0 is the offset of the second point.

All arrays of strokes in an `.npz` are read, and the layout of each is reported. Arrays of other kinds are reported as
lost. An array name that contains a split, such as `x_train`, assigns the drawings of the array to this split. If an
`.npz` has several arrays of strokes, any other array name is the class of the drawings of the array. The default names
arr_0, arr_1, ... are not classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark
from mdnrnn.data.formats.arrays import (
    array_names,
    convert_errors,
    group_rows,
    open_array,
    read_npy_header,
    read_records,
)
from mdnrnn.data.formats.format import Format
from mdnrnn.data.formats.sketchrnn import pack_rows
from mdnrnn.data.formats.stroke_columns import WIDTHS, Columns, choose_columns, part_remarks, to_stroke_3
from mdnrnn.data.metadata import SPLITS
from mdnrnn.errors import DataError

_CHUNK_RECORDS, _CHUNK_NUMBERS = 1024, 1 << 20
_INSPECTED_RECORDS, _INSPECTED_ROWS = 64, 1 << 18
_SPLIT_WORDS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"}
_SPLIT_WORDS |= {"test": "test", "testing": "test"}


class _Array(NamedTuple):
    """An array of strokes in a file."""

    path: Path
    name: str | None
    """Name of the array in an `.npz`; None in an `.npy`."""
    columns: Columns
    is_matrix: bool
    """Whether the array is one drawing (T, W)."""
    label: str | None = None

    @property
    def location(self) -> str:
        return f"{self.path}: {self.name}" if self.name else str(self.path)


class _Chunk(NamedTuple):
    """Consecutive drawings of an array."""

    array: _Array
    first: int
    records: list[np.ndarray | None]
    others: list[str]
    """Names of the arrays of the file that are not strokes. The list is empty in all chunks after the first."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file is an `.npy` with strokes, or an `.npz` with an array of strokes.

    An `.npz` with an array named train, valid or test is not recognized.
    """
    if head.startswith(b"\x93NUMPY"):
        return _inspect(path, None) is not None
    if not head.startswith(b"PK") or path.suffix.lower() != ".npz":
        return False
    names = array_names(path)
    return not any(split in names for split in SPLITS) and any(_inspect(path, name) for name in names)


def _inspect(path: Path, name: str | None) -> _Array | None:
    """Return the description of an array; None if it does not contain strokes."""
    try:
        with convert_errors(str(path)), open_array(path, name) as file:
            shape = read_npy_header(file)[0]
        records = read_records(path, name)
        if len(shape) == 2:
            rows = [_stack(islice(records, _INSPECTED_ROWS))]
        else:
            rows = [rows for rows in islice(records, _INSPECTED_RECORDS) if rows is not None and rows.size]
    except (DataError, OSError, ValueError):
        return None
    widths = {each.shape[1] if each.ndim == 2 else 0 for each in rows}
    if len(widths) != 1 or not widths <= set(WIDTHS) or not all(each.dtype.kind in "biuf" for each in rows):
        return None
    columns = choose_columns(rows)
    return columns and _Array(path, name, columns, len(shape) == 2)


def _chunks(path: Path) -> Iterator[_Chunk]:
    names: list[str | None] = [*array_names(path)] or [None]
    arrays = [array for name in names if (array := _inspect(path, name))]
    if not arrays:
        found = f"arrays {', '.join(map(str, names))[:80]}, but none" if names != [None] else "an array, but not one"
        raise DataError(f"{path}: {found} of strokes; expected rows of {' or '.join(each.value for each in Columns)}")
    others = [name for name in names if name and name not in {array.name for array in arrays}]
    for array in arrays:
        has_classes = len(arrays) > 1 and not re.fullmatch(r"arr_\d+", array.name or "") and not _find_split(array.name)
        for chunk in _read_chunks(array._replace(label=array.name if has_classes else None), others):
            yield chunk
            others = []


def _read_chunks(array: _Array, others: list[str]) -> Iterator[_Chunk]:
    records = read_records(array.path, array.name)
    if array.is_matrix:
        rows = list(islice(records, MAX_POINTS + 1))
        if len(rows) > MAX_POINTS:
            raise DataError(f"{array.location} has over {MAX_POINTS} rows; expected at most {MAX_POINTS} points")
        yield _Chunk(array, 0, [_stack(rows)] if rows else [], others)
        return
    for first, group in group_rows(records, _CHUNK_RECORDS, _CHUNK_NUMBERS):
        yield _Chunk(array, first, group, [] if first else others)


def _stack(rows: Iterable[np.ndarray | None]) -> np.ndarray:
    """Stack rows (W,) to an array (T, W). A row that is not numeric counts as a row of length 0.

    Raises:
        ValueError: there are no rows, or their lengths differ.
    """
    return np.stack([np.zeros(0) if row is None else row for row in rows])


def _parse(chunk: _Chunk) -> DrawingBatch:
    array = chunk.array
    dropped: list[Remark] = []
    drawings, records = [], []
    for index, record in enumerate(chunk.records, chunk.first):
        location = array.location if array.is_matrix else f"{array.location}[{index}]"
        try:
            rows = _to_rows(record, array)
        except ValueError as error:
            dropped.append(Remark("not strokes", f"{location} {error}; expected rows of {array.columns.value}"))
            continue
        if len(rows):
            drawings.append(rows)
            records.append(Record(location, label=array.label, split=_find_split(array.name)))
        else:
            dropped.append(Remark("empty sequence", f"{location} has no points", malformed=False))
    repaired, lost = _report(chunk, len(drawings))
    if not drawings:
        return DrawingBatch.from_polylines([], dropped, repaired, lost)
    batch = pack_rows(drawings, records, dropped)
    batch.repaired.extend(repaired)
    batch.lost.extend(lost)
    return batch


def _to_rows(record: np.ndarray | None, array: _Array) -> np.ndarray:
    if record is not None and not record.size:
        return np.zeros((0, 3))
    if record is None or record.dtype.kind not in "biuf":
        raise ValueError("is ragged or not numeric")
    if record.ndim != 2 or record.shape[1] not in WIDTHS:
        raise ValueError(f"has shape {record.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        record = record if record.dtype.kind in "iu" else record.astype(np.float64)
    return to_stroke_3(record, array.columns, padded=not array.is_matrix)


def _report(chunk: _Chunk, drawings: int) -> tuple[list[Remark], list[Remark]]:
    """Return the remarks on repairs and on lost content. The repair is the layout that was chosen for the array.

    The chosen layout is reported only for the first chunk of an array.

    Args:
        chunk: consecutive drawings of an array.
        drawings: number of drawings of the chunk that are valid.
    """
    array = chunk.array
    lost = part_remarks(array.columns, drawings, array.location)
    if chunk.others:
        detail = f"{array.path}: arrays {', '.join(chunk.others)[:120]} are not strokes"
        lost.append(Remark("array not read", detail, count=len(chunk.others)))
    is_usual = array.name is None and array.columns in (Columns.PEN_LAST, Columns.STROKE_5)
    if chunk.first or is_usual:
        return [], lost
    return [Remark("layout chosen by values", f"{array.location} is read as rows of {array.columns.value}")], lost


def _find_split(name: str | None) -> str | None:
    words = re.split(r"[\W_]+", (name or "").lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


FORMAT = Format("arrays of strokes", (".npy", ".npz"), _recognizes, _chunks, _parse, default_label="file")
