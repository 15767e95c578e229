"""Reader of JSON files of drawings.

A file contains one record, several records one after another, or an array of records. `json_records.py` describes the
records. An array of strokes, as written by signature_pad, is one drawing.

The JSON text may extend over any number of lines. It is split into records before it is parsed, so that memory use does
not depend on the size of the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from mdnrnn.data.formats.format import Format, read_bounded
from mdnrnn.data.formats.json_records import (
    LABEL_KEYS,
    MAX_RECORD_BYTES,
    STROKES_IN_JSON,
    RecordChunk,
    group_records,
    load_json,
    parse_records,
)
from mdnrnn.data.formats.json_strokes import StrokesError, is_stroke
from mdnrnn.errors import DataError

CHUNK_BYTES = BLOCK_BYTES = 1 << 20
_MAX_STROKE_BYTES = 1 << 20
_SPACE = b" \t\r\n"
_NESTED_LISTS = re.compile(rb"\[\s*\[\s*\[")
# A string, an unfinished string at the end of the data, or a bracket.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("|\\?\Z)|[\[\]{}]', re.DOTALL)


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file begins with three nested lists, or with an object or array that has a key of strokes."""
    head = head.lstrip(_SPACE)
    if not head.startswith((b"[", b"{")):
        return False
    return _NESTED_LISTS.match(head) is not None or STROKES_IN_JSON.search(head) is not None


def _chunks(path: Path) -> Iterator[RecordChunk]:
    name = f"{path}, drawing"
    with path.open("rb") as file:
        is_array = file.read(BLOCK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip(_SPACE).startswith(b"[")
    with path.open("rb") as file:
        records = split_records(file, str(path))
        first = next(records, b"")
        if first == b"":
            raise DataError(f"{path}: JSON without objects and lists; expected drawings with strokes")
        if not (is_array and _is_stroke(first)):
            yield from group_records(chain([first], records), name, CHUNK_BYTES)
            return
    yield RecordChunk(name, 1, [read_bounded(path, MAX_RECORD_BYTES).removeprefix(codecs.BOM_UTF8)])


def _is_stroke(record: bytes | None) -> bool:
    """Return whether the first item of an array is a stroke or a point. If it is, the array is one drawing."""
    if record is None or len(record) > _MAX_STROKE_BYTES:
        return False
    try:
        item = load_json(record)
    except StrokesError:
        return False
    return is_stroke(item) and not (isinstance(item, dict) and any(key in item for key in LABEL_KEYS))


def split_records(file: BinaryIO, location: str) -> Iterator[bytes | None]:
    """Split a file into records, each yielded as JSON text.

    If the file contains an array, its items are the records. Otherwise the records are the objects in the file, one
    after another. A record of more than `MAX_RECORD_BYTES` is yielded as None. If the file ends inside a record or
    inside the array, the last yielded record is not valid JSON.

    Args:
        file: file opened in binary mode.
        location: name of the file, for messages.

    Raises:
        DataError: a string has more than `MAX_RECORD_BYTES`.
    """
    data = file.read(BLOCK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip(_SPACE)
    # base: number of brackets around a record. depth: number of open brackets.
    base, depth, scanned = int(data.startswith(b"[")), 0, 0
    start, is_too_long = None, False
    while True:
        for match in _TOKEN.finditer(data, scanned):
            if match[1] not in (None, b'"'):  # the string may continue in the next block
                scanned = match.start()
                break
            if match[0] in (b"[", b"{"):
                start = match.start() if depth == base else start
                depth += 1
            elif match[1] is None:
                depth -= 1
                if depth <= base:
                    if start is not None:
                        yield None if is_too_long else data[start : match.end()]
                    start, is_too_long = None, False
                    base = depth = max(depth, 0)
        else:
            scanned = len(data)
        is_too_long |= start is not None and scanned - start > MAX_RECORD_BYTES
        first = scanned if start is None or is_too_long else start
        data, scanned, start = data[first:], scanned - first, None if start is None else 0
        if len(data) > MAX_RECORD_BYTES + BLOCK_BYTES:
            raise DataError(f"{location}: a JSON string of over {MAX_RECORD_BYTES >> 20} MB; expected drawings")
        block = file.read(BLOCK_BYTES)
        if not block:
            break
        data += block
    if start is not None:
        yield None if is_too_long else data
    elif depth:
        yield b"["  # the array is not closed


FORMAT = Format("JSON", (".json",), _recognizes, _chunks, parse_records, default_label="file")
