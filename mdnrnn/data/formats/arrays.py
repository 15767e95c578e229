"""Arrays of sequences in `.npy` and `.npz` files, record by record, without unpickling.

Sequences of different lengths are stored as an array of objects, which NumPy pickles: `pickled.py` reads it.
"""

from __future__ import annotations

import errno
import io
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS
from mdnrnn.data.formats.safe_pickle import MAX_RECORD_BYTES, ObjectArray, exactly
from mdnrnn.errors import DataError

_LARGEST_MEMBER = 16 << 30
_LARGEST_RATIO = 100
"""Strokes do not compress better; a bomb does."""
_LARGEST_TRANSPOSED = 1 << 30
"""Bytes of an array in Fortran order, which has to be read as a whole."""


def entries(path: Path) -> list[str]:
    """Names of all that is in a zip archive; none where `path` is no archive, or one whose directory is damaged."""
    if path.is_dir() or not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return []


def members(path: Path) -> list[str]:
    """Names of the arrays in an `.npz`, without `.npy`; none where it is no zip archive."""
    return [name.removesuffix(".npy") for name in entries(path) if name.endswith(".npy")]


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype of the `.npy` that begins here."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a header that Python 2 wrote
        shape, fortran, dtype = read(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape}")
    return shape, fortran, dtype


def read_records(path: Path, member: str | None = None) -> Iterator[Any]:
    """The sequences of one array: NumPy arrays of numbers, or nested lists of them, as they were saved.

    Args:
        path: an `.npz`, or an `.npy` where there is no `member`.
    """
    where = f"{path}: {member}" if member else str(path)
    with convert_errors(where):
        if member is None:
            with path.open("rb") as file:
                yield from _records(file, where)
            return
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(f"{member}.npy")
            if info.file_size > _LARGEST_MEMBER:
                raise DataError(f"{where} claims {info.file_size} bytes; expected under {_LARGEST_MEMBER}")
            if info.file_size > _LARGEST_RATIO * max(info.compress_size, 1 << 20):
                raise DataError(f"{where} unpacks {info.compress_size} bytes to {info.file_size}; not read")
            with archive.open(info) as file:
                yield from _records(io.BufferedReader(file, 1 << 20), where)


@contextmanager
def convert_errors(where: str) -> Iterator[None]:
    """One line for all the ways in which a damaged archive, header or pickle fails to be read."""
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{where} asks for more memory than there is; it is damaged") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a seek to where an archive's damaged directory points
            raise
        raise DataError(f"{where} is damaged or cut short ({error}); get it again") from error
    except (
        EOFError,
        struct.error,
        zlib.error,
        zipfile.BadZipFile,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        SyntaxError,
        RuntimeError,
        NotImplementedError,
        OverflowError,
        tokenize.TokenError,
    ) as error:
        raise DataError(f"{where} is damaged or cut short ({error}); get it again") from error


def _records(file: Any, where: str) -> Iterator[Any]:
    shape, fortran, dtype = read_npy_header(file)
    if not shape:
        raise DataError(f"{where} holds a single thing; expected an array of sequences")
    if dtype.hasobject:
        yield from ObjectArray(file, where).records(shape)
    elif dtype.kind not in "biuf":
        raise DataError(f"{where} holds {dtype}; expected numbers")
    elif fortran:
        size = math.prod(shape) * dtype.itemsize
        if size > _LARGEST_TRANSPOSED:
            raise DataError(f"{where} has {size >> 20} MB in Fortran order; save it again in C order")
        yield from np.frombuffer(exactly(file, size), dtype).reshape(shape[::-1]).T
    else:
        size = math.prod(shape[1:]) * dtype.itemsize
        if size > MAX_RECORD_BYTES:
            raise DataError(f"{where} has records of shape {shape[1:]}; expected at most {MAX_POINTS} points")
        for _ in range(shape[0]):
            yield np.frombuffer(exactly(file, size), dtype).reshape(shape[1:])
