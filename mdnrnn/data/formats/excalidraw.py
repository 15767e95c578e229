"""Reader of Excalidraw files. It reads the center lines of freehand strokes, lines and arrows, y down.

An `.excalidraw` file contains a scene, which is one drawing. An `.excalidrawlib` file contains a library; each item of
the library is one drawing. An element of a drawing has a position (x, y), points relative to this position, and an
angle in radians. The points are rotated by this angle about the center of their bounding box. Rounded lines are read as
polylines.

Format: https://docs.excalidraw.com/docs/codebase/json-schema
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.json_document import list_objects, read_document, rotate, to_number, to_points
from mdnrnn.data.strokes import Drawing

_TYPE = re.compile(rb'"type"\s*:\s*"excalidraw')
_STROKES = ("freedraw", "line", "arrow")


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file is a JSON object with a type that begins with "excalidraw"."""
    return head.lstrip().startswith(b"{") and _TYPE.search(head) is not None


def _parse(path: Path) -> DrawingBatch:
    drawings: list[tuple[Drawing, Record]] = []
    dropped: list[Remark] = []
    lost: Counter[str] = Counter()
    for location, elements in _list_scenes(read_document(path), str(path)):
        visible = [element for element in elements if element.get("isDeleted") is not True]
        lost.update(f"{element.get('type')} elements" for element in visible if element.get("type") not in _STROKES)
        try:
            strokes = [_to_stroke(element) for element in visible if element.get("type") in _STROKES]
        except (ValueError, OverflowError) as error:
            dropped.append(Remark("malformed element", f"{location}: {error}; expected points [x, y]"))
            continue
        lost["pressure values"] += sum(len(element["pressures"]) for element in visible if _has_pressure(element))
        drawings.append((strokes, Record(location)))
    return DrawingBatch.from_polylines(drawings, dropped, lost=lost_remarks(lost, str(path)))


def _list_scenes(document: dict[str, Any], location: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield a pair (location, elements) for a scene, or one pair for each item of a library."""
    items = document.get("libraryItems", document.get("library"))
    if not isinstance(items, list):
        yield location, list_objects(document.get("elements"))
        return
    for number, item in enumerate(items, 1):
        yield f"{location}, item {number}", list_objects(item.get("elements") if isinstance(item, dict) else item)


def _has_pressure(element: dict[str, Any]) -> bool:
    return element.get("type") in _STROKES and isinstance(element.get("pressures"), list)


def _to_stroke(element: dict[str, Any]) -> np.ndarray:
    rows = element.get("points")
    if not isinstance(rows, list):
        raise ValueError("an element has no points")
    points = to_points(rows) + np.array([to_number(element.get("x")), to_number(element.get("y"))])
    if not len(points):
        return points
    with np.errstate(all="ignore"):
        return rotate(points, to_number(element.get("angle")), (points.min(0) + points.max(0)) / 2)


FORMAT = Format("Excalidraw", (".excalidraw", ".excalidrawlib"), _recognizes, single_chunk, _parse)
