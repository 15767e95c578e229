"""Find the strokes of a drawing in parsed JSON, and convert the usual layouts of strokes to arrays of points.

A drawing is a list of strokes. A stroke has one of these layouts, y down:

- channels [xs, ys] or [xs, ys, ts, ...], as in Quick, Draw! files
- points [[x, y], ...] or [[x, y, t, ...], ...]
- an object of channels {"x": xs, "y": ys}
- points as objects [{"x": x, "y": y}, ...]
- an object that contains points under a key such as `points`, as in the files of signature_pad and react-canvas-draw;
  in such an object, the points may also be a flat list [x, y, x, y, ...]

A list of points that is not inside a list of strokes is a drawing of one stroke. An object {"x": [xs, ...], "y":
[ys, ...]} is a drawing whose strokes each have one list xs and one list ys.

Strokes of channels and of points are both lists of rows of numbers; their shape decides which layout is used. In a
drawing of channels, all strokes have the same number of rows, and the rows of a stroke have the same length. In a
drawing of points, all rows of all strokes have the same length. A shape that fits both layouts is read as points, with
one exception: all strokes have two rows, or all have three rows and the third rows can be the times of Quick, Draw!
files, which start at 0 and do not decrease. These drawings are read in the layout of the other drawings of the file, or
as channels if that layout is unknown. For example, strokes of two points with two numbers each have such a shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Literal

import numpy as np

from mdnrnn.data.strokes import Drawing

Layout = Literal["channels", "points"]
DRAWING_KEYS = (
    "drawing",
    "strokes",
    "lines",
    "paths",
    "polylines",
    "curves",
    "traces",
    "ink",
    "sketch",
    "image",
    "data",
)
"""Keys of the strokes of a drawing, in order of preference."""
POINT_KEYS = ("points", "path", "paths", "coordinates", "coords", "data", "stroke", "line", "trace")
"""Keys of the points of a stroke, in order of preference."""
STROKE_KEYS = (*DRAWING_KEYS, *(key for key in POINT_KEYS if key not in DRAWING_KEYS))
MAX_COLUMNS = 6
"""Maximum number of values per point: x, y, time, pressure and two angles."""
_MAX_CHANNELS = 8
_MAX_DEPTH = 4
"""Maximum nesting of objects around the strokes."""


class StrokesError(Exception):
    """JSON that cannot be read as a drawing."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason
        """Category of the remark on the record."""


def find_drawing(fields: dict[str, Any]) -> Any:
    """Return the strokes in the JSON object of a drawing.

    They are the value of the first key of `STROKE_KEYS` that the object has. If it has none of them, but the keys x and
    y, the object itself is returned.

    Raises:
        StrokesError: the object has none of these keys.
    """
    if "drawing" in fields:
        return fields["drawing"]
    for key in STROKE_KEYS:
        if isinstance(fields.get(key), (list, dict)):
            return fields[key]
    if "x" in fields and "y" in fields:
        return fields
    keys = f"the keys {', '.join(map(repr, list(fields)[:8]))}" if fields else "no keys"
    raise StrokesError("no drawing", f"received an object without a drawing, but with {keys}"[:200])


def is_stroke(item: Any) -> bool:
    """Return whether an item of a JSON array is a stroke or a point, and not a drawing with strokes."""
    if isinstance(item, dict):
        if _is_point(item):
            return True
        value = next((item[key] for key in (*POINT_KEYS, "x") if isinstance(item.get(key), list)), None)
        return value is not None and nesting(value) <= (1 if value is item.get("x") else 2)
    return isinstance(item, list) and nesting(item) <= 2


def nesting(value: Any) -> int:
    """Return the number of nested lists around the first number or object in a value. At most 5 lists are counted.

    An object counts as one more list, because it can be a point: [[1, 2]] and [{"x": 1, "y": 2}] both have nesting 2.
    If a list contains neither a number nor a non-empty object, return 3.
    """
    depth = 0
    while isinstance(value, list) and depth < 5:
        depth += 1
        value = next((item for item in value if item not in ([], {})), None)
    return 3 if value is None else depth + isinstance(value, dict)


def parse_strokes(value: Any, layout: Layout | None = None) -> Drawing:
    """Convert a drawing to a list of strokes, each an array of points (n, 2).

    Args:
        value: strokes in one of the layouts at the top of this file.
        layout: layout of the other drawings of the file; None if unknown.

    Raises:
        StrokesError: the value has none of the layouts.
    """
    try:
        strokes = _list_strokes(value)
        rows = [stroke for stroke in strokes if _is_table(stroke)]
        default: Layout = "points" if strokes and strokes[0] is value else layout or "channels"
        chosen = find_layout(rows) or default
        if layout == "channels" and rows and all(len(stroke) == 1 for stroke in rows):
            raise StrokesError("not strokes", "its strokes have xs, but no ys")
        return [_to_points(stroke, chosen) for stroke in strokes]
    except (TypeError, ValueError, LookupError, OverflowError, RecursionError, AttributeError) as error:
        raise StrokesError("not strokes", "its drawing is not a list of strokes") from error


def count_numbers(value: Any) -> int:
    """Count the numbers of all points of a drawing: x and y, and times, pressures and other values.

    Args:
        value: strokes that `parse_strokes` accepts.
    """
    count = 0
    for stroke in _list_strokes(value):
        rows = stroke
        if isinstance(stroke, dict):
            points = next((stroke[key] for key in POINT_KEYS if isinstance(stroke.get(key), list)), None)
            rows = [row for row in stroke.values() if isinstance(row, list)] if points is None else points
        for row in rows:
            values = row.values() if isinstance(row, dict) else row if isinstance(row, list) else [row]
            count += sum(isinstance(each, int | float) for each in values)
    return count


def find_layout(strokes: list[Any]) -> Layout | None:
    """Return the layout of strokes that are lists of rows, according to their shape; None if the shape does not decide.

    The rules are at the top of this file.
    """
    strokes = [stroke for stroke in strokes if stroke]
    if not strokes:
        return None
    counts = {len(stroke) for stroke in strokes}
    widths = [{len(row) for row in stroke} for stroke in strokes]
    columns = set().union(*widths)
    are_points = len(columns) == 1 and 2 <= min(columns) <= MAX_COLUMNS
    are_channels = len(counts) == 1 and 2 <= min(counts) <= _MAX_CHANNELS and all(len(width) == 1 for width in widths)
    if (
        are_points
        and are_channels
        and (counts == {2} or (counts == {3} and _are_times(stroke[2] for stroke in strokes)))
    ):
        return None
    return "points" if are_points else "channels"


def _are_times(rows: Iterable[list[float]]) -> bool:
    """Return whether the third rows of all strokes can be times: they start at 0 and do not decrease."""
    times = list(chain.from_iterable(rows))
    return times[0] == 0 and times == sorted(times)


def _list_strokes(value: Any, depth: int = 0) -> list[Any]:
    """Return the strokes of a drawing, each a list or an object."""
    if isinstance(value, dict):
        if depth == _MAX_DEPTH:
            raise ValueError("nested too deep")
        inner = next((value[key] for key in STROKE_KEYS if isinstance(value.get(key), (list, dict))), None)
        if inner is not None:
            return [value] if is_stroke(value) else _list_strokes(inner, depth + 1)
        if value["x"] and isinstance(value["x"][0], list):
            return [{"x": xs, "y": ys} for xs, ys in zip(value["x"], value["y"], strict=True)]
        return [value]
    if not isinstance(value, list):
        raise TypeError("not a list")
    is_single = any(value) and nesting(value) == 2 and not any(map(_is_stroke_object, value))
    return [value] if is_single else value


def _is_stroke_object(item: Any) -> bool:
    return isinstance(item, dict) and not _is_point(item)


def _is_point(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("x"), int | float) and isinstance(item.get("y"), int | float)


def _is_table(stroke: Any) -> bool:
    return isinstance(stroke, list) and all(isinstance(row, list) for row in stroke)


def _to_points(stroke: Any, layout: Layout) -> np.ndarray:
    """Convert a stroke to points (n, 2)."""
    if isinstance(stroke, dict):
        points = next((stroke[key] for key in POINT_KEYS if isinstance(stroke.get(key), list)), None)
        if points is None:
            return to_array([stroke["x"], stroke["y"]]).T
        if points and not isinstance(points[0], (list, dict)):  # a flat list x, y, x, y, ...
            return to_array(points).reshape(-1, 2)
        return _to_points(points, find_layout([points] if _is_table(points) else []) or "points")
    if not isinstance(stroke, list):
        raise TypeError("not a list")
    if not stroke:
        return np.zeros((0, 2))
    if isinstance(stroke[0], dict):
        return to_array([[point["x"], point["y"]] for point in stroke])
    if layout == "points":
        return to_array([[row[0], row[1]] for row in stroke])
    if len(stroke[0]) != len(stroke[1]):
        raise StrokesError("ragged", "a stroke has different numbers of xs and ys")
    return to_array([stroke[0], stroke[1]]).T


def to_array(numbers: list[Any]) -> np.ndarray:
    """Convert a list of numbers, or a list of lists of numbers, to a float64 array.

    Raises:
        TypeError: a value is not a number, or the numbers do not fit in 64 bits.
        ValueError: the inner lists have different lengths.
    """
    rows = numbers if numbers and isinstance(numbers[0], list) else [numbers]
    if not set(map(type, chain.from_iterable(rows))) <= {int, float, bool}:
        raise TypeError("not numbers")  # NumPy would store every text with the length of the longest text
    array = np.array(numbers)
    if (array.size and array.dtype.kind not in "iuf") or array.ndim > 2:
        raise TypeError("not numbers")
    return array.astype(np.float64)
