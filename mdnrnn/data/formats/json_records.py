"""Parse drawings from records, each a JSON text.

A record is an object with the strokes, class, identifier, text and split of a drawing. The fields `drawing`, `word`
and `key_id` occur in Quick, Draw! files. Other common names of the fields for strokes, class and text are accepted,
too. A record can also be a list of strokes, a list of drawings, or an object with lists of drawings.
`json_strokes.py` describes the layouts of strokes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats.json_strokes import (
    MAX_COLUMNS,
    STROKE_KEYS,
    Layout,
    StrokesError,
    count_numbers,
    find_drawing,
    find_layout,
    is_stroke,
    parse_strokes,
    to_array,
)

MAX_RECORD_BYTES = 32 << 20
_MAX_INSPECTED_BYTES = 1 << 16
_OTHER_VALUES = "values besides x and y"
"""Reason of the remark on lost values of points, such as times and pressures."""
LABEL_KEYS = ("word", "label", "class", "category", "class_name", "className", "category_name", "object", "concept")
"""Keys of the class of a drawing, in order of preference."""
TEXT_KEYS = ("text", "transcript", "transcription")
STROKES_IN_JSON = re.compile(
    rb'"(?:drawing|strokes)"\s*:|"(?:%b)"\s*:\s*(?:\[\s*)+[\[{-]|"x"\s*:\s*\[' % "|".join(STROKE_KEYS).encode()
)
"""Pattern of JSON that probably contains strokes.

It matches the keys `drawing` and `strokes`, another key of strokes before a list whose first item is a list, an object
or a negative number, and the key `x` before a list.
"""
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:]', re.DOTALL)


class RecordChunk(NamedTuple):
    """Consecutive records of a file."""

    name: str
    """Name of the file and unit of the records, for example "cat.ndjson, line". Messages append the record number."""
    first: int
    """Number of the first record, from 1."""
    records: list[bytes | None]
    """Serialized records; None for a record of more than `MAX_RECORD_BYTES`."""
    layout: Layout | None = None
    """Layout to use for drawings whose shape fits both layouts; None if unknown."""


def group_records(records: Iterator[bytes | None], name: str, chunk_bytes: int) -> Iterator[RecordChunk]:
    """Group records into chunks. The records of the first chunk determine `RecordChunk.layout` of all chunks.

    Args:
        records: serialized records.
        name: name of the file and unit of the records, for messages.
        chunk_bytes: minimum size of each chunk except the last, in bytes.
    """
    first, size, layout = 1, 0, None
    group: list[bytes | None] = []
    for record in records:
        group.append(record)
        size += len(record or b"")
        if size >= chunk_bytes:
            layout = layout if first > 1 else _choose_layout(group)
            yield RecordChunk(name, first, group, layout)
            first, group, size = first + len(group), [], 0
    if group:
        yield RecordChunk(name, first, group, layout if first > 1 else _choose_layout(group))


def top_level_keys(data: bytes) -> list[str]:
    """Return the top-level keys of the object with which a JSON text begins.

    Args:
        data: beginning of the JSON text. If it ends inside the object, only the keys before this end are returned.
    """
    keys, depth, last = [], 0, b""
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
            if depth <= 0:
                break
        elif token == b":" and depth == 1:
            keys.append(last[1:-1].decode(errors="replace"))
        last = token
    return keys


def parse_records(chunk: RecordChunk) -> DrawingBatch:
    """Return the drawings of a chunk. Records without a drawing are dropped and reported."""
    points, stroke_lengths, stroke_counts, records, dropped = [], [], [], [], []
    other_values = 0
    for number, data in enumerate(chunk.records, chunk.first):
        if data is not None and not data.strip():
            continue
        location = f"{chunk.name} {number}"
        try:
            drawings = _unpack(load_json(data), location)
        except StrokesError as error:
            dropped.append(_to_remark(error, location))
            continue
        for place, fields in drawings:
            try:
                xy, lengths, others = _parse_drawing(find_drawing(fields), chunk.layout)
            except StrokesError as error:
                dropped.append(_to_remark(error, place))
                continue
            if not lengths:
                dropped.append(Remark("empty", f"{place} has no points", malformed=False))
                continue
            points.append(xy)
            stroke_lengths += lengths
            stroke_counts.append(len(lengths))
            records.append(_to_record(fields, place))
            other_values += others
    if not points:
        return DrawingBatch.from_polylines([], dropped)
    all_points = np.ascontiguousarray(np.concatenate(points, axis=1).T)
    counts = np.array(stroke_counts)
    lost = lost_remarks({_OTHER_VALUES: other_values}, f"{records[0].location} and others")
    return DrawingBatch(all_points, np.array(stroke_lengths), counts, records, dropped, lost=lost)


def _to_remark(error: StrokesError, location: str) -> Remark:
    return Remark(error.reason, f"{location}: {error}; expected a JSON object with a drawing of strokes [xs, ys]")


def _choose_layout(records: Iterable[bytes | None]) -> Layout | None:
    """Return the layout of the first drawing whose shape fits only one layout; None if no drawing has such a shape.

    Large records are skipped, because parsing them twice would take long.
    """
    for data in records:
        if data is not None and len(data) > _MAX_INSPECTED_BYTES:
            continue
        try:
            for _, fields in _unpack(load_json(data), ""):
                drawing = find_drawing(fields)
                layout = find_layout([stroke for stroke in drawing if isinstance(stroke, list)])
                if layout:
                    return layout
        except (StrokesError, TypeError, ValueError, LookupError, AttributeError):
            continue
    return None


def load_json(data: bytes | None) -> Any:
    """Parse a record; raise `StrokesError` if the record is not JSON, or if it is None because it was too long."""
    if data is None:
        raise StrokesError("line too long", f"over {MAX_RECORD_BYTES >> 20} MB")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise StrokesError("not JSON", "nested too deep") from error
    except ValueError as error:  # invalid JSON, invalid UTF-8, or an integer with thousands of digits
        raise StrokesError("not JSON", str(error)) from error


def _unpack(value: Any, location: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the drawings of a record, each as a pair (location, fields).

    A record is one drawing, or contains lists of drawings. A class or split beside such a list is added to each drawing
    that does not have the same field.
    """
    if isinstance(value, dict) and "drawing" in value:
        return [(location, value)]
    if isinstance(value, list) and value and isinstance(value[0], (list, dict)):
        value = {"drawings" if _are_drawings(value) else "drawing": value}
    if not isinstance(value, dict):
        raise StrokesError("no drawing", f"received {_describe(value)} instead of an object")
    lists = {key: each for key, each in value.items() if _are_drawings(each)}
    shared = {key: value[key] for key in (*LABEL_KEYS, "split") if isinstance(value.get(key), str)}
    drawings = [
        (f"{location}, {key[:60]} {number}", _with_shared(fields, shared) if isinstance(fields, dict) else {})
        for key, each in lists.items()
        for number, fields in enumerate(each, 1)
    ]
    return drawings or [(location, value)]


def _with_shared(fields: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Add the class and the split of all drawings to the fields of one drawing; its own ones have precedence."""
    has_label = any(key in fields for key in LABEL_KEYS)
    return {**{key: value for key, value in shared.items() if key == "split" or not has_label}, **fields}


def _are_drawings(value: Any) -> bool:
    """Return whether a value is a list whose first item is a drawing: an object that has strokes and is no stroke."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict) or is_stroke(value[0]):
        return False
    try:
        return isinstance(find_drawing(value[0]), list) and value[0] is not find_drawing(value[0])
    except StrokesError:
        return False


def _describe(value: Any) -> str:
    names = {str: "a text", bool: "a truth value", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "null")


def _parse_drawing(strokes: Any, layout: Layout | None) -> tuple[np.ndarray, list[int], int]:
    """Parse the strokes of a drawing.

    Returns:
        Points of all strokes, (2, n), number of points of each non-empty stroke, and number of lost values (times,
        pressures and others).
    """
    fast = None if layout == "points" else _parse_channels(strokes)
    if fast:
        return fast
    polylines = [stroke for stroke in parse_strokes(strokes, layout) if len(stroke)]
    points = np.concatenate(polylines).T if polylines else np.zeros((2, 0))
    return points, list(map(len, polylines)), max(0, count_numbers(strokes) - points.size)


def _parse_channels(strokes: Any) -> tuple[np.ndarray, list[int], int] | None:
    """Parse a drawing in the layout of channels; return None if the drawing may have another layout.

    This is a fast path for the layout of Quick, Draw! files. The result is that of `_parse_drawing`.
    """
    try:
        lengths = [len(stroke[0]) for stroke in strokes]
        channels = {len(stroke) for stroke in strokes}
        may_be_points = len(channels) > 1 or (channels != {2} and max(lengths, default=0) <= MAX_COLUMNS)
        if may_be_points or lengths != [len(stroke[1]) for stroke in strokes]:
            return None
        xs, ys = [x for stroke in strokes for x in stroke[0]], [y for stroke in strokes for y in stroke[1]]
        points = to_array([xs, ys])
    except (TypeError, ValueError, LookupError, OverflowError, RecursionError):
        return None
    others = (
        0 if channels == {2} else sum(len(row) for stroke in strokes for row in stroke[2:] if isinstance(row, list))
    )
    return points, [length for length in lengths if length], others


def _to_record(fields: dict[str, Any], location: str) -> Record:
    key, split = _to_text(fields.get("key_id")), _to_text(fields.get("split"))
    return Record(location, key, _find_text(fields, LABEL_KEYS), _find_text(fields, TEXT_KEYS), split)


def _find_text(fields: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        if key in fields and (text := _to_text(fields[key])) is not None:
            return text
    return None


def _to_text(value: Any) -> str | None:
    return None if value in (None, "") or isinstance(value, (list, dict)) else str(value)
