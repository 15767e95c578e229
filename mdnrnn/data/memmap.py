"""Read ranges of rows of an array without keeping the pages of a large memory-mapped file in memory."""

from __future__ import annotations

import mmap
import os
from typing import Any
from weakref import WeakKeyDictionary, finalize

import numpy as np

LARGE_FILE_BYTES = 1 << 26
"""File size in bytes above which a memory-mapped file is read with `pread`. Access through the mapping would load about
a megabyte around each range."""


_descriptors: WeakKeyDictionary[mmap.mmap, int] = WeakKeyDictionary()
"""Descriptors of the files of mappings that are deleted while they are in use."""


def keep_open(array: np.ndarray | None) -> None:
    """Keep the file of a large memory-mapped array open, so that the array can be read after the file is deleted.

    The file is closed when the last view of the mapping is deleted.
    """
    mapped = find_large_mapping(array)
    if mapped is not None:
        _descriptors[mapped] = _open(array)
        finalize(mapped, os.close, _descriptors[mapped])


def _open(memmap: Any) -> int:
    return os.open(memmap.filename, os.O_RDONLY)


def read_row_ranges(array: np.ndarray, firsts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return rows firsts[i] to firsts[i] + lengths[i] - 1 of `array` (N, ...) for every i, concatenated."""
    mapped = find_large_mapping(array)
    if mapped is None or not array.flags.c_contiguous:
        starts = np.cumsum(lengths) - lengths
        return np.asarray(array[np.arange(lengths.sum()) + (firsts - starts).repeat(lengths)])
    # `pread` reads a drawing in 2 microseconds. Reading a drawing through the mapping and releasing the pages takes 40
    # microseconds.
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    kept = _descriptors.get(mapped)
    descriptor = _open(array) if kept is None else kept
    try:
        start = _file_offset(array, mapped)
        ranges = zip((firsts * row_bytes + start).tolist(), (lengths * row_bytes).tolist(), strict=True)
        data = b"".join([os.pread(descriptor, count, position) for position, count in ranges])
    finally:
        if kept is None:
            os.close(descriptor)
    return np.frombuffer(data, array.dtype).reshape(-1, *array.shape[1:])


def find_large_mapping(array: np.ndarray | None) -> mmap.mmap | None:
    """Return the `mmap` of a memory-mapped array if the mapped file is larger than `LARGE_FILE_BYTES`, else None.

    Also return None if the platform does not support `os.pread`.
    """
    mapped: mmap.mmap | None = getattr(array, "_mmap", None)
    return mapped if mapped is not None and len(mapped) > LARGE_FILE_BYTES and hasattr(os, "pread") else None


def _file_offset(array: Any, mapped: mmap.mmap) -> int:
    """Return the byte offset in the file of the first element of a memmap, or of a view of a memmap."""
    start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    address = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    return int(start + array.__array_interface__["data"][0] - address)
