"""Read sequences from untrusted `.npy` and `.npz` files, with limits on all sizes.

NumPy stores sequences of different lengths as a pickled object array. `safe_pickle.py` reads such arrays safely.
"""

from __future__ import annotations

import errno
import math
import pickle
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS
from mdnrnn.data.formats.decompression import check_directory_size, check_size, open_zip
from mdnrnn.data.formats.safe_pickle import MAX_RECORD_BYTES, read_object_array
from mdnrnn.errors import DataError

_MAX_FORTRAN_BYTES = 1 << 30
"""Maximum bytes of an array in Fortran order. Such an array has to be read as a whole."""


def archive_names(path: Path) -> list[str]:
    """Return the names of all members of a zip archive; [] for other files and for damaged archives."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    try:
        check_directory_size(path)
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return []


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in an `.npz` file, without the extension `.npy`; [] for other files."""
    return [name.removesuffix(".npy") for name in archive_names(path) if name.endswith(".npy")]


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the `.npy` header at the current file position.

    Returns:
        The shape, whether the array is in Fortran order, and the dtype.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # issued for headers written by Python 2
        shape, fortran, dtype = read(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape}")
    return shape, fortran, dtype


def read_records(path: Path, member: str | None = None) -> Iterator[np.ndarray | None]:
    """Yield the sequences that an array contains along its first axis.

    In an object array, a sequence that is not a rectangular array of numbers is yielded as None. Numeric arrays in C
    order are read one sequence at a time, other arrays as a whole.

    Args:
        path: an `.npz` file, or an `.npy` file if `member` is None.
        member: name of the array in the `.npz` file, without the extension `.npy`.

    Raises:
        DataError: the array is damaged, is not an array of sequences of numbers, exceeds a limit, or declares more data
            than the file contains.
    """
    location = f"{path}: {member}" if member else str(path)
    with convert_errors(location), open_array(path, member) as file:
        yield from _read_array(file, location)


def group_rows(
    records: Iterable[np.ndarray | None], max_records: int, max_numbers: int
) -> Iterator[tuple[int, list[np.ndarray | None]]]:
    """Split the records of an array into groups, each yielded with the index of its first record.

    Args:
        records: rows of each record; None for a record that is not an array of numbers, which counts as one number.
        max_records: maximum number of records per group.
        max_numbers: number of values above which a group ends.
    """
    first, numbers = 0, 0
    group: list[np.ndarray | None] = []
    for record in records:
        group.append(record)
        numbers += 1 if record is None else record.size
        if len(group) == max_records or numbers > max_numbers:
            yield first, group
            first, group, numbers = first + len(group), [], 0
    if group:
        yield first, group


@contextmanager
def open_array(path: Path, member: str | None = None) -> Iterator[IO[bytes]]:
    """Open an `.npy` file or a member of an `.npz` file for reading. `read_records` describes the arguments.

    The `.npz` file stays open, see `open_zip`.

    Raises:
        DataError: the size or the compression ratio of the array exceeds a limit, or the archive is damaged.
    """
    if member is None:
        with path.open("rb") as file:
            yield file
        return
    location = f"{path}: {member}"
    archive = open_zip(path)
    info = archive.file.getinfo(f"{member}.npy")
    check_size(location, info.compress_size, info.file_size)
    with archive.open(info, location) as file:
        yield file


@contextmanager
def convert_errors(location: str) -> Iterator[None]:
    """Context manager that raises `DataError` in place of any exception that a damaged archive or array can cause.

    Args:
        location: file and array, for the error message.
    """
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(
            f"{location} declares more data than fit in memory; it is damaged, download or save it again"
        ) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: a damaged archive contains an invalid offset
            raise
        raise DataError(f"{location} is damaged or truncated ({error}); download or save it again") from error
    except (
        EOFError,
        struct.error,
        zlib.error,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        tokenize.TokenError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        SyntaxError,
        RuntimeError,
        NotImplementedError,
        OverflowError,
    ) as error:
        raise DataError(f"{location} is damaged or truncated ({error}); download or save it again") from error


def _read_array(file: Any, location: str) -> Iterator[np.ndarray | None]:
    shape, fortran, dtype = read_npy_header(file)
    if not shape:
        raise DataError(f"{location} is a single value; expected an array of sequences")
    if dtype.hasobject:
        yield from read_object_array(file, shape, location)
        return
    if dtype.kind not in "biuf":
        raise DataError(f"{location} has type {dtype}; expected numbers")
    size = math.prod(shape[1:]) * dtype.itemsize
    if not size and shape[0]:
        raise DataError(f"{location} has shape {shape}; expected sequences that are not empty")
    if fortran:
        size *= shape[0]
        if size > _MAX_FORTRAN_BYTES:
            raise DataError(
                f"{location} has {size >> 20} MB in Fortran order; expected at most {_MAX_FORTRAN_BYTES >> 20} MB; "
                "save it in C order"
            )
        yield from np.frombuffer(_read_exactly(file, size), dtype).reshape(shape[::-1]).T
        return
    if size > MAX_RECORD_BYTES:
        raise DataError(
            f"{location} has sequences of shape {shape[1:]}; expected at most {MAX_POINTS} points; split them"
        )
    for _ in range(shape[0]):
        yield np.frombuffer(_read_exactly(file, size), dtype).reshape(shape[1:])


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError("unexpected end of the data")
    return data
