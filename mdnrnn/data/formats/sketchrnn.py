"""sketch-rnn `.npz` files: object arrays of stroke-3 rows (dx, dy, pen), pickled, some by Python 2.

pen 1 = the last point of a stroke; y points down. The rows are offsets from an implicit origin, the first
stroke's first point, so the start is "down" and the rows are steps as they stand; where row 0 is (0, 0, 0) in
every sequence it is that origin written out, and is dropped.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mdnrnn.data.corpus import SPLITS, Corpus, Facts, Sequence, finished, pack
from mdnrnn.errors import InputError

_LARGEST_MEMBER = 4 << 30
_LARGEST_RATIO = 100
"""Strokes do not compress better; a bomb does."""


def recognises(path: Path) -> bool:
    """Whether `path` is a zip archive with a `train.npy`, `valid.npy` or `test.npy` in it."""
    if path.is_dir() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(f"{split}.npy" in archive.namelist() for split in SPLITS)


def read(path: Path) -> Corpus:
    """Read all the splits that are there. Empty sequences are left out and counted."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        records = {split: _read_member(path, archive, split) for split in SPLITS if f"{split}.npy" in names}
    rows = {
        split: [_checked(record, f"{path}: {split}[{i}]") for i, record in enumerate(members)]
        for split, members in records.items()
    }
    empty = sum(len(record) == 0 for members in rows.values() for record in members)
    skipped = {"empty sequence": empty} if empty else {}
    rows = {split: [record for record in members if len(record)] for split, members in rows.items()}
    for split, members in rows.items():
        if not members:
            raise InputError(f"{path}: split {split!r} is empty; expected at least one sequence")
    if all(not record[0].any() for members in rows.values() for record in members):
        alone = sum(len(record) == 1 for members in rows.values() for record in members)
        rows = {split: [record[1:] for record in members if len(record) > 1] for split, members in rows.items()}
        skipped |= {"an origin alone": alone} if alone else {}
    whole = all((record == np.rint(record)).all() for members in rows.values() for record in members)
    facts = Facts(name=path.stem, start="down", quantum=1.0 if whole else None, source=path.name)
    dtype = _smallest_dtype(rows) if whole else np.float32
    return pack(facts, {split: list(_sequences(members, dtype)) for split, members in rows.items()}, skipped)


def _sequences(records: list[np.ndarray], dtype: Any) -> Iterator[Sequence]:
    for record in records:
        yield Sequence(record[:, :2].astype(dtype), finished(record[:, 2]))


def _smallest_dtype(rows: dict[str, list[np.ndarray]]) -> Any:
    largest = max(float(np.abs(record).max()) for members in rows.values() for record in members)
    return np.int16 if largest < 2**15 else np.int32


def _checked(record: Any, where: str) -> np.ndarray:
    """A record as numbers (T, 3), or one line on what is wrong with it."""
    try:
        rows = np.asarray(record)
        if rows.size == 0:
            return np.zeros((0, 3), np.int16)
        if rows.dtype.kind not in "biuf":
            rows = rows.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} is ragged or holds no numbers; expected rows of (dx, dy, pen)") from error
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise InputError(f"{where} has shape {rows.shape}; expected (T, 3), rows of (dx, dy, pen)")
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise InputError(f"{where} holds NaN or infinity in row {row}; expected finite offsets")
    if not np.isin(rows[:, 2], (0, 1)).all():
        row = int(np.flatnonzero(~np.isin(rows[:, 2], (0, 1)))[0])
        raise InputError(f"{where} has pen {rows[row, 2]} in row {row}; expected 0 or 1")
    if np.abs(rows).max() >= 2**31:
        raise InputError(f"{where} has an offset of {np.abs(rows).max():g}; expected less than 2^31")
    return rows


def _read_member(path: Path, archive: zipfile.ZipFile, split: str) -> list[Any]:
    info = archive.getinfo(f"{split}.npy")
    if info.file_size > _LARGEST_MEMBER:
        raise InputError(f"{path}: {info.filename} claims {info.file_size} bytes; expected under {_LARGEST_MEMBER}")
    if info.file_size > _LARGEST_RATIO * max(info.compress_size, 1 << 20):
        raise InputError(f"{path}: {info.filename} unpacks {info.compress_size} bytes to {info.file_size}; not read")
    try:
        data = io.BytesIO(archive.read(info))
        version = np.lib.format.read_magic(data)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        dtype = read_header(data)[2]
        if dtype.hasobject:
            array = _ArrayUnpickler(data, f"{path}: {info.filename}").load()
        else:
            data.seek(0)
            array = np.lib.format.read_array(data, allow_pickle=False)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: {info.filename} asks for more memory than there is; it is damaged") from error
    except Exception as error:  # a damaged pickle or archive can fail in any way; none of it is ours
        raise InputError(f"{path}: {info.filename} is damaged or cut short ({error}); get it again") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise InputError(f"{path}: {info.filename} holds a {type(array).__name__}; expected an array of sequences")
    return list(array)


class _NdarrayMarker:
    """Stands for numpy.ndarray inside a pickle: an argument of `_reconstruct`, nothing to be made by itself."""

    def __new__(cls) -> Any:
        raise pickle.UnpicklingError("numpy.ndarray is called")


class _Array(np.ndarray):
    """What a pickled array becomes; its state must bring the data that its shape claims."""

    def __setstate__(self, state: Any, /) -> None:
        _, shape, dtype, _, data = state
        if len(data) != math.prod(shape) * (1 if isinstance(data, list) else dtype.itemsize):
            raise pickle.UnpicklingError(f"an array of shape {shape} with data of another size")
        super().__setstate__(state)


def _reconstruct(kind: type, shape: object, code: object) -> np.ndarray:
    """What numpy's pickles call; the true shape and data follow in the array's state."""
    if kind is not _NdarrayMarker:
        raise pickle.UnpicklingError("an array of another type than numpy.ndarray")
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _bytes_of(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the pickle protocol of Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How it writes none."""
    return b""


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _NdarrayMarker,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _bytes_of,
    ("__builtin__", "bytes"): _no_bytes,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits the reconstruction of NumPy arrays and nothing else."""

    def __init__(self, data: io.BytesIO, where: str) -> None:
        super().__init__(data, encoding="latin1")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise InputError(
                f"{self._where}: its pickle calls {module}.{name}; only NumPy arrays are read; do not trust this file"
            )
        return _ADMITTED[module, name]
