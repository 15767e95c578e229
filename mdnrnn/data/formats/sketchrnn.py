"""Reader and writer of sketch-rnn `.npz` files. Each split is an object array with one array of rows per drawing.

The arrays are pickled, in some files by Python 2. A row is (dx, dy, pen): dx and dy are the offset from the preceding
point, with y pointing down, and pen = 1 marks the last point of a stroke. The first point of a drawing has no row: it
is the origin, and row 0 is the offset of the second point. There is one exception: if row 0 of every drawing in a file
is (0, 0, 0), row 0 is the first point. Rows with 4 or 5 columns are converted as described in `stroke_columns.py`.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.arrays import array_names, read_records
from mdnrnn.data.formats.format import Format
from mdnrnn.data.formats.stroke_columns import Columns, choose_columns, to_stroke_3
from mdnrnn.data.metadata import SPLITS
from mdnrnn.errors import DataError, InputError
from mdnrnn.files.atomic import atomic_file
from mdnrnn.pen_events import DOWN

_CHUNK_RECORDS, _CHUNK_NUMBERS = 1024, 1 << 22
_MAX_BUFFERED_NUMBERS = 1 << 26
"""Maximum number of values of a split that are kept in memory while row 0 of its records is checked. A larger split is
read twice."""


class _Chunk(NamedTuple):
    """Consecutive records of one split."""

    name: str
    """File and split, for messages."""
    split: str
    first: int
    """Index of the first record."""
    records: list[np.ndarray | None]
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
    origin, buffered = True, {}
    for split in splits:
        origin, buffered[split] = _begin_reading(path, split)
        if not origin:
            break
    for split in splits:
        records = buffered.pop(split, None) or read_records(path, split)
        first, empty = 0, True
        for chunk in _group(records):
            yield _Chunk(f"{path}: {split}", split, first, chunk, origin)
            first += len(chunk)
            empty &= not any(map(_size, chunk))
        if empty:
            raise DataError(f"{path}: split {split!r} is empty; expected at least one sequence")


def _begin_reading(path: Path, split: str) -> tuple[bool, Iterator[np.ndarray | None]]:
    """Return whether all records of a split begin with the origin, and an iterator over all records.

    The check stops at the first record that does not begin with the origin.
    """
    records, buffered, numbers = read_records(path, split), [], 0
    for record in records:
        buffered.append(record)
        if not _begins_with_origin(record):
            return False, chain(buffered, records)
        numbers += _size(record)
        if numbers > _MAX_BUFFERED_NUMBERS:
            return all(map(_begins_with_origin, records)), read_records(path, split)
    return True, iter(buffered)


def _begins_with_origin(record: np.ndarray | None) -> bool:
    """Return whether row 0 is (0, 0, 0). For a record without rows, return True, because it is dropped later."""
    if record is None or not record.size or not record.ndim:
        return True
    item = record.item
    if record.shape[1:] == (3,):
        return not (item(0) or item(1) or item(2))
    has_down = record.shape[1:] in ((4,), (5,)) and choose_columns(record) in (Columns.STROKE_5, Columns.DOWN_UP)
    return not (np.delete(record[0], 2) if has_down else record[0]).any()  # column 2 is 1 while the pen stays down


def _size(record: np.ndarray | None) -> int:
    return 1 if record is None else record.size


def _group(records: Iterable[np.ndarray | None]) -> Iterator[list[np.ndarray | None]]:
    """Split records into lists of at most `_CHUNK_RECORDS` records and about `_CHUNK_NUMBERS` numbers."""
    group: list[np.ndarray | None] = []
    numbers = 0
    for record in records:
        group.append(record)
        numbers += _size(record)
        if len(group) == _CHUNK_RECORDS or numbers > _CHUNK_NUMBERS:
            yield group
            group, numbers = [], 0
    if group:
        yield group


def _parse(chunk: _Chunk) -> DrawingBatch:
    dropped: list[Remark] = []
    indices, arrays = _select_valid(chunk, dropped)
    if not indices:
        return DrawingBatch.from_polylines([], dropped)
    if not chunk.origin:  # prepend the implicit origin to each drawing
        origin = np.zeros((1, 3), arrays[0].dtype)
        arrays = [np.concatenate([origin, rows]) for rows in arrays]
    records = [Record(chunk.location(index), split=chunk.split) for index in indices]
    return pack_rows(arrays, records, dropped)


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
            array = _to_rows(record, location)
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


def _to_rows(record: np.ndarray | None, location: str) -> np.ndarray:
    """Return a record as an array (T, 3); raise `DataError` if its rows are not valid (dx, dy, pen)."""
    if record is not None and not record.size:
        return np.zeros((0, 3))
    rows = record
    if rows is not None and rows.dtype.kind not in "biuf":
        with suppress(TypeError, ValueError, OverflowError):
            rows = rows.astype(np.float64)
    if rows is None or rows.dtype.kind not in "biuf":
        raise DataError(f"{location} is ragged or not numeric; expected rows of (dx, dy, pen)")
    if rows.ndim == 2 and rows.shape[1] in (4, 5) and (columns := choose_columns(rows)):
        return to_stroke_3(rows, columns, padded=False)
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


def write(corpus: Corpus, path: Path) -> None:
    """Write an `.npz` file for the original sketch-rnn tools.

    Each split is an object array that contains one array (T, 3) per drawing. The arrays (T, 3) are int16, or float32 if
    the coordinates are not integers. Labels and texts are lost, because the format has none.

    Raises:
        InputError: the corpus does not consist of drawings that start with the pen down, or integer offsets exceed the
            range of int16.
    """
    name = corpus.metadata.name
    if corpus.metadata.start != "down" or corpus.motion.shape[1] != 2:
        raise InputError(f"{name} is not a corpus of drawings that start with the pen down; choose another format")
    integers = corpus.motion.dtype.kind in "iu" or corpus.metadata.bin_width == 1
    if integers and len(corpus.motion) and max(-int(corpus.motion.min()), int(corpus.motion.max())) >= 2**15:
        raise InputError(
            f"{name} has offsets over 32767, the int16 maximum of this format; import the drawings with --box"
        )
    splits = [split for split, (first, last) in corpus.splits.items() if split in SPLITS and first < last]
    firsts = corpus.offsets[:-1]
    # If every sequence begins with a zero step, the reader would mistake this step for the origin. In this case, write
    # the origin as an additional row 0.
    origin = not np.asarray(corpus.motion[firsts]).any() and not np.asarray(corpus.event[firsts]).any()
    dtype = np.int16 if integers else np.float32
    arrays = {split: _object_array(corpus, split, dtype, origin) for split in splits}
    with atomic_file(path) as file:
        _write_archive(file, arrays)


def _object_array(corpus: Corpus, split: str, dtype: type[np.generic], origin: bool) -> np.ndarray:
    first, last = corpus.splits[split]
    records = np.empty(last - first, dtype=object)
    for i in range(first, last):
        motion, event = corpus[i][:2]
        rows = np.zeros((origin + len(event), 3), dtype)
        rows[origin:, :2] = np.rint(motion) if np.issubdtype(dtype, np.integer) else motion
        rows[origin:, 2] = event != DOWN
        rows[-1, 2] = 1
        records[i - first] = rows
    return records


def _write_archive(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, records in arrays.items():
            # ZipInfo sets a fixed date, so that equal corpora give identical files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                header = {"descr": "|O", "fortran_order": False, "shape": records.shape}
                np.lib.format.write_array_header_1_0(member, header)
                # Protocol 2 is the latest one of Python 2. The older module name `numpy.core` is for NumPy 1.
                data = pickle.dumps(records, protocol=2)
                member.write(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1))


FORMAT = Format("sketch-rnn .npz", (".npz",), _recognizes, _chunks, _parse, default_label="file")
