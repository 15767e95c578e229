"""Quick, Draw! `.ndjson`: one JSON object a line, its drawing as strokes [xs, ys] or [xs, ys, ts], y down.

The simplified files hold integers of 0 to 255, the raw ones pixels of any range with the time of each point in
milliseconds, which is left aside. The class is the record's own `word`, whatever the file is called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format, check_drawing_corpus
from mdnrnn.files import atomic_file

CHUNK_BYTES = 1 << 20
LONGEST_LINE = 32 << 20
_OBJECT = re.compile(rb"^\s*\{", re.MULTILINE)


class _Chunk(NamedTuple):
    """Whole lines of a file, the first of them number `first`, counted from 1; a line that is too long is None."""

    name: str
    first: int
    lines: list[bytes | None]


def _recognizes(path: Path, head: bytes) -> bool:
    """Whether it begins with a JSON object that has a drawing in it, or is called so and has a line like JSON."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    if path.suffix.lower() == ".ndjson":
        return _OBJECT.search(head) is not None
    return _OBJECT.match(head) is not None and b'"drawing"' in head


def _chunks(path: Path) -> Iterator[_Chunk]:
    with path.open("rb") as file:
        yield from read_chunks(file, str(path))


def read_chunks(file: BinaryIO, name: str) -> Iterator[_Chunk]:
    """The lines of an open file, which may be a pipe."""
    number, lines, size = 1, [], 0
    for line in _lines(file):
        lines.append(line)
        size += len(line or b"")
        if size >= CHUNK_BYTES:
            yield _Chunk(name, number, lines)
            number, lines, size = number + len(lines), [], 0
    if lines:
        yield _Chunk(name, number, lines)


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            yield None
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
        else:
            yield line


def _parse(chunk: _Chunk) -> DrawingBatch:
    points, strokes, counts, records, drops = [], [], [], [], []
    for number, line in enumerate(chunk.lines, chunk.first):
        if line is not None and not line.strip():
            continue
        where = f"{chunk.name}, line {number}"
        try:
            fields = _fields(line)
            xy, lengths = _drawing(fields["drawing"])
        except _Wrong as error:
            drops.append(Remark(error.reason, f"{where}: {error}"))
            continue
        if not lengths:
            drops.append(Remark("empty", f"{where} has no points", malformed=False))
            continue
        points.append(xy)
        strokes += lengths
        counts.append(len(lengths))
        key, word, text, split = (_string(fields.get(name)) for name in ("key_id", "word", "text", "split"))
        records.append(Record(where, key, word, text, split))
    if not points:
        return DrawingBatch.from_polylines([], drops)
    flat = np.concatenate(points, axis=1).T
    return DrawingBatch(np.ascontiguousarray(flat), np.array(strokes), np.array(counts), records, drops)


class _Wrong(Exception):
    """What is wrong with a line, and under which reason it is counted."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(f"{found}; expected a JSON object with a drawing of strokes [xs, ys]")
        self.reason = reason


def _fields(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise _Wrong("line too long", f"over {LONGEST_LINE >> 20} MB")
    try:
        fields = json.loads(line)
    except RecursionError as error:
        raise _Wrong("not JSON", "nested too deep") from error
    except ValueError as error:  # of JSON, of UTF-8, of numbers with thousands of digits
        raise _Wrong("not JSON", str(error)) from error
    if not isinstance(fields, dict) or "drawing" not in fields:
        raise _Wrong("no drawing", "there is no drawing in it")
    return fields


def _drawing(strokes: Any) -> tuple[np.ndarray, list[int]]:
    """The points of all strokes, (2, n), and how many each has, those without a point left out."""
    try:
        xs = [x for stroke in strokes for x in stroke[0]]
        ys = [y for stroke in strokes for y in stroke[1]]
        lengths = [len(stroke[0]) for stroke in strokes]
        if lengths != [len(stroke[1]) for stroke in strokes]:
            raise _Wrong("ragged", "a stroke has unlike numbers of xs and ys")
        points = np.array((xs, ys))
        if points.ndim != 2 or (points.size and points.dtype.kind not in "iuf"):
            raise TypeError
    except (TypeError, ValueError, LookupError, OverflowError, RecursionError) as error:
        raise _Wrong("not strokes", "its drawing is no list of strokes") from error
    return points.astype(np.float64), [length for length in lengths if length]


def _string(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def write(corpus: Corpus, path: Path) -> None:
    """All sequences of a corpus of drawings in the simplified layout, each moved so that its least x and y are 0;
    beside the fields of Quick, Draw! stand `split`, and `text` where there is one."""
    check_drawing_corpus(corpus)
    with atomic_file(path) as file:
        file.writelines(f"{json.dumps(to_json_object(corpus, i))}\n".encode() for i in range(len(corpus)))


def to_json_object(corpus: Corpus, index: int) -> dict[str, Any]:
    """Drawing `index` as the object that stands in one line."""
    strokes = corpus.drawing(index)
    corner = np.concatenate(strokes).min(0)
    sequence, splits = corpus[index], corpus.splits.items()
    return {
        "key_id": str(index),
        "word": "" if sequence.label is None else corpus.metadata.classes[sequence.label],
        "recognized": True,
        "split": next((name for name, (first, last) in splits if first <= index < last), ""),
        **({} if sequence.text is None else {"text": sequence.text}),
        "drawing": [[_numbers(axis) for axis in (stroke - corner).T] for stroke in strokes],
    }


def _numbers(values: np.ndarray) -> list[int] | list[float]:
    whole = np.rint(values)
    return whole.astype(int).tolist() if np.array_equal(whole, values) else values.tolist()


FORMAT = Format("Quick, Draw! .ndjson", (".ndjson", ".jsonl"), _recognizes, _chunks, _parse, default_label="file")
