"""Quick, Draw! `.ndjson`: one JSON object per line.

The field `drawing` is a list of strokes [xs, ys] or [xs, ys, ts], y down. The field `word` is the class. Simplified
files have integer coordinates of 0 to 255. Raw files have pixel coordinates of any range, and the time ts of each point
in milliseconds, which is ignored.
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
MAX_LINE_BYTES = 32 << 20
_OBJECT = re.compile(rb"^\s*\{", re.MULTILINE)


class _Chunk(NamedTuple):
    """Consecutive lines of a file."""

    name: str
    """Name of the file, for messages."""
    first: int
    """Number of the first line, from 1."""
    lines: list[bytes | None]
    """Lines; None for a line of more than `MAX_LINE_BYTES`."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file begins with a JSON object that has a drawing, or is an `.ndjson` with any JSON object."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    if path.suffix.lower() == ".ndjson":
        return _OBJECT.search(head) is not None
    return _OBJECT.match(head) is not None and b'"drawing"' in head


def _chunks(path: Path) -> Iterator[_Chunk]:
    with path.open("rb") as file:
        yield from read_chunks(file, str(path))


def read_chunks(file: BinaryIO, name: str) -> Iterator[_Chunk]:
    """Yield the lines of an open file, which may be a pipe, in chunks of about `CHUNK_BYTES`.

    Args:
        file: file opened in binary mode.
        name: name of the file, for messages.
    """
    number, lines, size = 1, [], 0
    for line in _read_lines(file):
        lines.append(line)
        size += len(line or b"")
        if size >= CHUNK_BYTES:
            yield _Chunk(name, number, lines)
            number, lines, size = number + len(lines), [], 0
    if lines:
        yield _Chunk(name, number, lines)


def _read_lines(file: BinaryIO) -> Iterator[bytes | None]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            yield None
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
        else:
            yield line


def _parse(chunk: _Chunk) -> DrawingBatch:
    points, stroke_lengths, stroke_counts, records, dropped = [], [], [], [], []
    for number, line in enumerate(chunk.lines, chunk.first):
        if line is not None and not line.strip():
            continue
        location = f"{chunk.name}, line {number}"
        try:
            fields = _parse_fields(line)
            xy, lengths = _parse_drawing(fields["drawing"])
        except _LineError as error:
            dropped.append(Remark(error.reason, f"{location}: {error}"))
            continue
        if not lengths:
            dropped.append(Remark("empty", f"{location} has no points", malformed=False))
            continue
        points.append(xy)
        stroke_lengths += lengths
        stroke_counts.append(len(lengths))
        key, word, text, split = (_to_text(fields.get(name)) for name in ("key_id", "word", "text", "split"))
        records.append(Record(location, key, word, text, split))
    if not points:
        return DrawingBatch.from_polylines([], dropped)
    all_points = np.ascontiguousarray(np.concatenate(points, axis=1).T)
    return DrawingBatch(all_points, np.array(stroke_lengths), np.array(stroke_counts), records, dropped)


class _LineError(Exception):
    """A line that cannot be read."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(f"{problem}; expected a JSON object with a drawing of strokes [xs, ys]")
        self.reason = reason
        """Reason of the remark on the line."""


def _parse_fields(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise _LineError("line too long", f"over {MAX_LINE_BYTES >> 20} MB")
    try:
        fields = json.loads(line)
    except RecursionError as error:
        raise _LineError("not JSON", "nested too deep") from error
    except ValueError as error:  # invalid JSON, invalid UTF-8, or an integer with thousands of digits
        raise _LineError("not JSON", str(error)) from error
    if not isinstance(fields, dict) or "drawing" not in fields:
        raise _LineError("no drawing", "there is no drawing in it")
    return fields


def _parse_drawing(strokes: Any) -> tuple[np.ndarray, list[int]]:
    """Return the points of all strokes, (2, n), and the number of points of each stroke that is not empty."""
    try:
        xs = [x for stroke in strokes for x in stroke[0]]
        ys = [y for stroke in strokes for y in stroke[1]]
        lengths = [len(stroke[0]) for stroke in strokes]
        if lengths != [len(stroke[1]) for stroke in strokes]:
            raise _LineError("ragged", "a stroke has different numbers of xs and ys")
        if not {*map(type, xs), *map(type, ys)} <= {int, float, bool}:
            raise TypeError  # NumPy would give each of many short texts the memory of the longest one
        points = np.array((xs, ys))
        if points.ndim != 2 or (points.size and points.dtype.kind not in "iuf"):
            raise TypeError
    except (TypeError, ValueError, LookupError, OverflowError, RecursionError) as error:
        raise _LineError("not strokes", "its drawing is not a list of strokes") from error
    return points.astype(np.float64), [length for length in lengths if length]


def _to_text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def write(corpus: Corpus, path: Path) -> None:
    """Write all drawings of a corpus in the layout of simplified files.

    Each drawing is translated so that its minimum x and y are 0. Two fields are not part of the Quick, Draw! format:
    `split`, and `text`, which is written only if the drawing has a text.

    Raises:
        InputError: the corpus does not consist of drawings.
    """
    check_drawing_corpus(corpus)
    with atomic_file(path) as file:
        file.writelines(f"{json.dumps(to_json_object(corpus, i))}\n".encode() for i in range(len(corpus)))


def to_json_object(corpus: Corpus, index: int) -> dict[str, Any]:
    """Return the JSON object of drawing `index`."""
    strokes = corpus.drawing(index)
    corner = np.concatenate(strokes).min(0)
    sequence, splits = corpus[index], corpus.splits.items()
    return {
        "key_id": str(index),
        "word": "" if sequence.label is None else corpus.metadata.classes[sequence.label],
        "recognized": True,
        "split": next((name for name, (first, last) in splits if first <= index < last), ""),
        **({} if sequence.text is None else {"text": sequence.text}),
        "drawing": [[_to_numbers(axis) for axis in (stroke - corner).T] for stroke in strokes],
    }


def _to_numbers(values: np.ndarray) -> list[int] | list[float]:
    integers = np.rint(values)
    return integers.astype(int).tolist() if np.array_equal(integers, values) else values.tolist()


FORMAT = Format("Quick, Draw! .ndjson", (".ndjson", ".jsonl"), _recognizes, _chunks, _parse, default_label="file")
