"""tldraw `.tldr`: center lines of the shapes "draw", "highlight" and "line". Each page is a drawing, y pointing down.

A file has a list of records; a snapshot of the editor has an object `store` with the same records. A shape has a
parent, a position and a rotation. The parent is a page, a group or a frame. The position is given in the coordinates of
the parent, and the shape is rotated about its position. A "draw" or "highlight" shape is one stroke of one or more
segments. The points of a segment are a list of {x, y, z}, or little-endian numbers encoded in base64:

- `path`: x, y, z of the first point as float32, then the offset of each point from the preceding one as float16
- `points`: x, y, z of each point as float16

z is the pressure. It is not imported and is counted as lost.

Format: https://tldraw.dev/docs/persistence and the package tlschema of tldraw (TLDrawShape, b64Vecs)
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, lost_remarks
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.json_document import list_objects, read_document, rotate, to_number, to_points
from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import DataError

_VERSION = re.compile(rb'"tldrawFileFormatVersion"\s*:|"com\.tldraw\.')
"""Pattern of the key with the version of a file, or of a name in the schema of a snapshot."""
_STROKES = ("draw", "highlight", "line")
_KNOWN = (*_STROKES, "group", "frame")
_MAX_DEPTH = 64
_FIRST_BYTES, _POINT_BYTES = 12, 6

_Shape = dict[str, Any]


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file is a JSON object and has tldraw's format version or schema, or the extension `.tldr`."""
    return head.lstrip().startswith(b"{") and (_VERSION.search(head) is not None or path.suffix.lower() == ".tldr")


def _parse(path: Path) -> DrawingBatch:
    shapes = [each for each in _list_records(read_document(path), path) if each.get("typeName") == "shape"]
    by_id = {shape["id"]: shape for shape in shapes if isinstance(shape.get("id"), str)}
    pages: dict[str, Drawing] = {}
    lost = Counter(f"{each.get('type')} shapes" for each in shapes if each.get("type") not in _KNOWN)
    for shape in sorted(shapes, key=lambda shape: str(shape.get("index"))):
        if shape.get("type") in _STROKES:
            try:
                points, pressures = _to_stroke(shape)
                page, stroke = _place(points, shape, by_id)
                lost["pressure values"] += pressures
                pages.setdefault(page, []).append(stroke)
            except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
                problem = f"{path}: shape {str(shape.get('id'))[:40]!r}: {str(error)[:120]}"
                raise DataError(f"{problem}; expected segments with points; save the file again") from error
    names = sorted(pages)
    drawings = [
        (pages[page], Record(str(path) if len(names) == 1 else f"{path}, page {number}"))
        for number, page in enumerate(names, 1)
    ]
    return DrawingBatch.from_polylines(drawings, lost=lost_remarks(lost, str(path)))


def _list_records(document: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    snapshot = document.get("document", document)
    store = snapshot.get("store") if isinstance(snapshot, dict) else None
    records = list(store.values()) if isinstance(store, dict) else document.get("records")
    if not isinstance(records, list):
        raise DataError(
            f"{path}: has no list `records`, so it may be a file of tldraw 1; open it in tldraw 2 or newer and save it"
        )
    return list_objects(records)


def _to_stroke(shape: _Shape) -> tuple[np.ndarray, int]:
    """Return the points of a shape (n, 2), relative to its position, and the number of its pressure values."""
    properties = shape["props"]
    if shape["type"] == "line":
        points = properties.get("points", properties.get("handles"))
        return to_points(sorted(points.values(), key=lambda point: str(point.get("index")))), 0
    parts = [np.zeros((0, 2))]
    last, pressures = np.full(2, np.nan), 0
    for segment in properties["segments"]:
        points, count = _to_segment(segment)
        pressures += count
        if len(points):
            # If the first point of a segment repeats the last point of the preceding segments, it is removed.
            parts.append(points[1:] if (points[0] == last).all() else points)
            last = points[-1]
    scale = [to_number(properties.get("scaleX"), 1.0), to_number(properties.get("scaleY"), 1.0)]
    return np.concatenate(parts) * scale, pressures


def _to_segment(segment: _Shape) -> tuple[np.ndarray, int]:
    """Return the points of a segment (n, 2), and the number of its pressure values."""
    if isinstance(segment.get("path"), str):
        data = base64.b64decode(segment["path"], validate=True)
        if len(data) % _POINT_BYTES or len(data) == _POINT_BYTES:
            raise ValueError(f"a path of {len(data)} bytes")
        first = np.frombuffer(data[:_FIRST_BYTES], "<f4").reshape(-1, 3)
        offsets = np.frombuffer(data[_FIRST_BYTES:], "<f2").reshape(-1, 3)
        values = np.cumsum(np.concatenate([first, offsets]).astype(np.float64), axis=0)
        return values[:, :2], len(values)
    if isinstance(segment["points"], str):
        values = np.frombuffer(base64.b64decode(segment["points"], validate=True), "<f2").reshape(-1, 3)
        return values[:, :2].astype(np.float64), len(values)
    return to_points(segment["points"]), sum("z" in point for point in segment["points"])


def _place(points: np.ndarray, shape: _Shape, by_id: dict[str, _Shape]) -> tuple[str, np.ndarray]:
    """Return the page of a shape, and its points relative to the page."""
    with np.errstate(all="ignore"):
        for _ in range(_MAX_DEPTH):
            points = rotate(points, to_number(shape.get("rotation")), np.zeros(2))
            points = points + np.array([to_number(shape.get("x")), to_number(shape.get("y"))])
            parent = shape.get("parentId")
            if not isinstance(parent, str) or parent not in by_id:
                return str(parent), points
            shape = by_id[parent]
    raise ValueError(f"nested over {_MAX_DEPTH} levels deep")


FORMAT = Format("tldraw", (".tldr",), _recognizes, single_chunk, _parse)
