"""Quick, Draw! `.bin`: drawings of 0 to 255, packed without gaps, little-endian, y down.

A drawing is uint64 key, 2 bytes country, int8 recognized, uint32 time, uint16 number of strokes; a stroke is uint16
number of points n, then n bytes x and n bytes y. The class is the file's name: the records do not say it.
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

_HEAD = struct.Struct("<Q2sbIH")
_COUNT = struct.Struct("<H")
_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 16 << 20
"""Of one drawing: 65,535 strokes of 65,535 points can be claimed, by nobody who drew them."""


class _Chunk(NamedTuple):
    """Whole drawings of a file, the first of them number `first`."""

    path: Path
    first: int
    data: bytes
    keys: list[int]
    counts: list[int]
    """Strokes of each drawing."""
    places: list[int]
    """Where the count of each stroke stands in data."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Whether it is called .bin, and its first drawing has a country and a recognition."""
    if path.suffix.lower() != ".bin" or len(head) < _HEAD.size:
        return False
    _, country, recognized, _, _ = _HEAD.unpack_from(head)
    return recognized in (0, 1) and (country.isalpha() or country in (b"\0\0", b"  "))


def _chunks(path: Path) -> Iterator[_Chunk]:
    with path.open("rb") as file:
        data, first, offset = b"", 0, 0
        while True:
            more = file.read(_CHUNK_BYTES)
            data += more
            keys, counts, places, end = _walk(data)
            if keys:
                yield _Chunk(path, first, data[:end], keys, counts, places)
            first += len(keys)
            offset += end
            data = data[end:]
            if not more and data:
                raise DataError(f"{path}: drawing {first}, from byte {offset} on, is cut short; get the file again")
            if len(data) > _MOST_BYTES:
                raise DataError(
                    f"{path}: drawing {first}, from byte {offset} on, claims over {_MOST_BYTES >> 20} MB; it is damaged"
                )
            if not more:
                return


def _walk(data: bytes) -> tuple[list[int], list[int], list[int], int]:
    """Keys and stroke counts of the whole drawings at the start of data, where their strokes stand, where they end."""
    keys: list[int] = []
    counts: list[int] = []
    places: list[int] = []
    end, size, head, count = 0, len(data), _HEAD.unpack_from, _COUNT.unpack_from
    while end + _HEAD.size <= size:
        key, _, _, _, strokes = head(data, end)
        place, whole = end + _HEAD.size, len(places)
        for _ in range(strokes):
            if place + 2 > size:
                break
            places.append(place)
            place += 2 + 2 * count(data, place)[0]
        if len(places) < whole + strokes or place > size:
            del places[whole:]
            break
        keys.append(key)
        counts.append(strokes)
        end = place
    return keys, counts, places, end


def _parse(chunk: _Chunk) -> DrawingBatch:
    data = np.frombuffer(chunk.data, np.uint8)
    places, counts = np.array(chunk.places, np.int64), np.array(chunk.counts, np.int64)
    lengths = data[places] + 256 * data[places + 1].astype(np.int64) if len(places) else places
    x = np.arange(lengths.sum()) + (places + 2 - (np.cumsum(lengths) - lengths)).repeat(lengths)
    points = np.stack([data[x], data[x + lengths.repeat(lengths)]], axis=1).astype(np.float64)
    of_drawing = np.arange(len(counts)).repeat(counts)
    counts = np.bincount(of_drawing[lengths > 0], minlength=len(counts))
    records, drops = [], []
    for number, key in enumerate(chunk.keys):
        where = f"{chunk.path}, drawing {chunk.first + number}"
        if counts[number]:
            records.append(Record(where, str(key)))
        elif not key:  # a gigabyte of zeros is no sixty million drawings
            raise DataError(f"{where} has neither a key nor points; the file is damaged, get it again")
        else:
            drops.append(Remark("empty", f"{where} has no points", malformed=False))
    return DrawingBatch(points, lengths[lengths > 0], counts[counts > 0], records, drops)


FORMAT = Format("Quick, Draw! .bin", (".bin",), _recognizes, _chunks, _parse, default_label="file")
