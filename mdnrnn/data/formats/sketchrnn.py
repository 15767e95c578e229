"""sketch-rnn `.npz` files: object arrays of stroke-3 rows (dx, dy, pen), pickled, some by Python 2.

pen 1 = the last point of a stroke; y points down. The rows are offsets from an implicit origin, the first
stroke's first point, so the start is "down" and the rows are steps as they stand; where row 0 is (0, 0, 0) in
every sequence it is that origin written out, and is dropped.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mdnrnn.data.corpus import SPLITS, Corpus
from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.arrays import members, read_records
from mdnrnn.data.formats.format import Format
from mdnrnn.errors import DataError, InputError
from mdnrnn.events import DOWN
from mdnrnn.files import atomic_file

_RECORDS_A_CHUNK = 1024


class _Chunk(NamedTuple):
    """Records of one split, the first of them number `first`."""

    path: Path
    split: str
    first: int
    records: list[Any]
    origin: bool
    """Whether row 0 is the origin."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Whether `path` is a zip archive with a `train.npy`, `valid.npy` or `test.npy` in it."""
    return head.startswith(b"PK") and any(split in members(path) for split in SPLITS)


def _chunks(path: Path) -> Iterator[_Chunk]:
    there = members(path)
    splits = [split for split in SPLITS if split in there]
    origin = all(_begins_with_origin(record) for split in splits for record in read_records(path, split))
    for split in splits:
        records, first, empty = read_records(path, split), 0, True
        while chunk := list(islice(records, _RECORDS_A_CHUNK)):
            yield _Chunk(path, split, first, chunk, origin)
            first += len(chunk)
            empty &= not any(map(np.size, chunk))
        if empty:
            raise DataError(f"{path}: split {split!r} is empty; expected at least one sequence")


def _begins_with_origin(record: Any) -> bool:
    if not isinstance(record, np.ndarray | list | tuple) or not len(record):  # dropped later, whatever it is
        return True
    return not np.any(record[0])


def _parse(chunk: _Chunk) -> DrawingBatch:
    drops: list[Remark] = []
    numbered = list(_wanted(chunk, drops))
    if not numbered:
        return DrawingBatch.from_polylines([], drops)
    records = [Record(_where(chunk, number), split=chunk.split) for number, _ in numbered]
    lengths = np.array([len(rows) for _, rows in numbered])
    parts = [rows for _, rows in numbered]
    if not chunk.origin:  # it stands for a row of zeros that is not there
        zeros = np.zeros((1, 3), parts[0].dtype)
        parts = [part for rows in parts for part in (zeros, rows)]
        lengths = lengths + 1
    rows = np.concatenate(parts)
    firsts = np.cumsum(lengths) - lengths
    points = _sums(rows[:, :2], firsts)
    lifted = rows[:, 2] == 1
    lifted[firsts + lengths - 1] = True
    strokes = np.diff(np.flatnonzero(lifted) + 1, prepend=0)
    return DrawingBatch(points, strokes, np.add.reduceat(lifted, firsts, dtype=np.int64), records, drops)


def _wanted(chunk: _Chunk, drops: list[Remark]) -> Iterator[tuple[int, np.ndarray]]:
    """Records that are rows of (dx, dy, pen), with their numbers; the others go to `drops`."""
    plain = _all_plain(chunk.records)
    for number, record in enumerate(chunk.records, chunk.first):
        try:
            rows = record if plain else _checked(record, _where(chunk, number))
        except DataError as error:
            drops.append(Remark("no rows of (dx, dy, pen)", str(error)))
            continue
        if len(rows) > chunk.origin:
            yield number, rows
        else:
            reason = "an origin alone" if len(rows) else "empty sequence"
            drops.append(Remark(reason, f"{_where(chunk, number)} has no steps", malformed=False))


def _all_plain(records: list[Any]) -> bool:
    """Whether nothing is wrong with any of them, found out in one go."""
    if not all(
        isinstance(r, np.ndarray) and r.ndim == 2 and r.shape[1] == 3 and r.dtype.kind in "iuf" for r in records
    ):
        return False
    rows = np.concatenate(records)
    return bool(np.isfinite(rows).all() and ((rows[:, 2] == 0) | (rows[:, 2] == 1)).all())


def _sums(offsets: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Places (P, 2), float64: offsets (P, 2) summed up from each of the rows `firsts` on."""
    if offsets.dtype.kind in "iu":  # exact, whatever stands before
        sums = np.cumsum(offsets, axis=0, dtype=np.int64)
        lengths = np.diff(firsts, append=len(offsets))
        return (sums - (sums[firsts] - offsets[firsts]).repeat(lengths, axis=0)).astype(np.float64)
    parts = np.split(offsets.astype(np.float64), firsts[1:])
    return np.concatenate([np.cumsum(part, axis=0) for part in parts])


def _where(chunk: _Chunk, number: int) -> str:
    return f"{chunk.path}: {chunk.split}[{number}]"


def _checked(record: Any, where: str) -> np.ndarray:
    """A record as numbers (T, 3), or one line on what is wrong with it."""
    try:
        rows = np.asarray(record)
        if rows.size == 0:
            return np.zeros((0, 3))
        if rows.dtype.kind not in "biuf":
            rows = rows.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is ragged or holds no numbers; expected rows of (dx, dy, pen)") from error
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise DataError(f"{where} has shape {rows.shape}; expected (T, 3), rows of (dx, dy, pen)")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise DataError(f"{where} holds NaN or infinity in row {row}; expected finite offsets")
    pen = rows[:, 2]
    wrong = (pen != 0) & (pen != 1)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{where} has pen {pen[row]} in row {row}; expected 0 or 1")
    return rows


def write(corpus: Corpus, path: Path) -> None:
    """An `.npz` that sketch-rnn's own tools read: each split an object array of (T, 3) int16, or float32 where the
    coordinates are no integers. Labels and texts are lost: the format has none."""
    if corpus.metadata.start != "down" or corpus.motion.shape[1] != 2:
        raise InputError(
            f"{corpus.metadata.name} holds no drawings that start with the pen down; sketch-rnn knows no other"
        )
    whole = corpus.motion.dtype.kind in "iu" or corpus.metadata.bin_width == 1
    if whole and len(corpus.motion) and max(-int(corpus.motion.min()), int(corpus.motion.max())) >= 2**15:
        raise InputError(
            f"{corpus.metadata.name} has offsets beyond 32767; sketch-rnn's are int16; scale it with --box"
        )
    splits = [split for split, (first, last) in corpus.splits.items() if split in SPLITS and first < last]
    firsts = corpus.offsets[:-1]
    # Where all begin with a step of nothing, it would be read as the origin: the origin stands before it.
    origin = not np.asarray(corpus.motion[firsts]).any() and not np.asarray(corpus.event[firsts]).any()
    arrays = {split: _records(corpus, split, np.int16 if whole else np.float32, origin) for split in splits}
    with atomic_file(path) as file:
        _write(file, arrays)


def _records(corpus: Corpus, split: str, dtype: type[np.generic], origin: bool) -> np.ndarray:
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


def _write(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, records in arrays.items():
            # A fixed date: the same corpus is the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                header = {"descr": "|O", "fortran_order": False, "shape": records.shape}
                np.lib.format.write_array_header_1_0(member, header)
                # What Python 2 and the NumPy of its time can read: they know the function by its older name.
                data = pickle.dumps(records, protocol=2)
                member.write(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1))


FORMAT = Format("sketch-rnn .npz", (".npz",), _recognizes, _chunks, _parse, default_label="file")
