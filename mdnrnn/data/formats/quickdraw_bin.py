"""Quick, Draw! `.bin`: drawings with coordinates of 0 to 255, with y pointing down. Drawings are stored without gaps.

All numbers are little-endian. A drawing consists of the key (uint64), the country (2 bytes), the flag `recognized`
(int8), the time (uint32), the number of strokes (uint16), and the strokes. A stroke consists of the number of points n
(uint16), n bytes of x and n bytes of y. The file contains no classes; the default class is the name of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format
from mdnrnn.errors import DataError

_DRAWING_HEADER = struct.Struct("<Q2sbIH")
_POINT_COUNT = struct.Struct("<H")
_CHUNK_BYTES = 1 << 20
_MAX_DRAWING_BYTES = 16 << 20
"""Maximum bytes of a drawing. A damaged file can declare 65,535 strokes of 65,535 points."""


class _Chunk(NamedTuple):
    """Consecutive drawings of a file."""

    path: Path
    first: int
    """Index of the first drawing."""
    data: bytes
    keys: list[int]
    stroke_counts: list[int]
    """Number of strokes of each drawing."""
    stroke_starts: list[int]
    """Offset of each stroke in `data`, in bytes."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file is a `.bin` whose first drawing has a valid country code and flag `recognized`."""
    if path.suffix.lower() != ".bin" or len(head) < _DRAWING_HEADER.size:
        return False
    _, country, recognized, _, _ = _DRAWING_HEADER.unpack_from(head)
    return recognized in (0, 1) and (country.isalpha() or country in (b"\0\0", b"  "))


def _chunks(path: Path) -> Iterator[_Chunk]:
    with path.open("rb") as file:
        data, first, offset = b"", 0, 0
        while True:
            block = file.read(_CHUNK_BYTES)
            data += block
            keys, stroke_counts, stroke_starts, end = _find_drawings(data)
            if keys:
                yield _Chunk(path, first, data[:end], keys, stroke_counts, stroke_starts)
            first += len(keys)
            offset += end
            data = data[end:]
            if not block and data:
                raise DataError(
                    f"{path}: drawing {first}, from byte {offset} on, is truncated; download the file again"
                )
            if len(data) > _MAX_DRAWING_BYTES:
                raise DataError(
                    f"{path}: drawing {first}, from byte {offset} on, declares over {_MAX_DRAWING_BYTES >> 20} MB; "
                    "it is damaged"
                )
            if not block:
                return


def _find_drawings(data: bytes) -> tuple[list[int], list[int], list[int], int]:
    """Find the complete drawings in `data`.

    Returns:
        The keys and stroke counts of the drawings, the byte offsets of all their strokes, and the byte offset of the
        end of the last complete drawing.
    """
    keys: list[int] = []
    stroke_counts: list[int] = []
    stroke_starts: list[int] = []
    end, size, read_header, read_count = 0, len(data), _DRAWING_HEADER.unpack_from, _POINT_COUNT.unpack_from
    while end + _DRAWING_HEADER.size <= size:
        key, _, _, _, strokes = read_header(data, end)
        position, complete = end + _DRAWING_HEADER.size, len(stroke_starts)
        for _ in range(strokes):
            if position + 2 > size:
                break
            stroke_starts.append(position)
            position += 2 + 2 * read_count(data, position)[0]
        if len(stroke_starts) < complete + strokes or position > size:
            del stroke_starts[complete:]
            break
        keys.append(key)
        stroke_counts.append(strokes)
        end = position
    return keys, stroke_counts, stroke_starts, end


def _parse(chunk: _Chunk) -> DrawingBatch:
    data = np.frombuffer(chunk.data, np.uint8)
    starts, counts = np.array(chunk.stroke_starts, np.int64), np.array(chunk.stroke_counts, np.int64)
    lengths = data[starts] + 256 * data[starts + 1].astype(np.int64) if len(starts) else starts
    x = np.arange(lengths.sum()) + (starts + 2 - (np.cumsum(lengths) - lengths)).repeat(lengths)
    points = np.stack([data[x], data[x + lengths.repeat(lengths)]], axis=1).astype(np.float64)
    drawing_index = np.arange(len(counts)).repeat(counts)
    counts = np.bincount(drawing_index[lengths > 0], minlength=len(counts))
    records, dropped = [], []
    for number, key in enumerate(chunk.keys):
        location = f"{chunk.path}, drawing {chunk.first + number}"
        if counts[number]:
            records.append(Record(location, str(key)))
        elif not key:  # a key of 0 and no strokes: the file is damaged and contains zero bytes
            raise DataError(f"{location} has neither a key nor points; the file is damaged, download it again")
        else:
            dropped.append(Remark("empty", f"{location} has no points", malformed=False))
    return DrawingBatch(points, lengths[lengths > 0], counts[counts > 0], records, dropped)


FORMAT = Format("Quick, Draw! .bin", (".bin",), _recognizes, _chunks, _parse, default_label="file")
