"""Helpers for the JSON documents of drawing programs: bounded reading, and access to untrusted values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mdnrnn.data.formats.format import read_bounded
from mdnrnn.data.formats.json_strokes import to_array
from mdnrnn.errors import DataError

_MAX_BYTES = 32 << 20


def read_document(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file contains; raise `DataError` if it contains no object or has over 32 MB."""
    data = read_bounded(path, _MAX_BYTES)
    try:
        document = json.loads(data)
    except RecursionError as error:
        raise DataError(f"{path}: its JSON is nested too deep; save it again") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({str(error)[:120]}); save it again") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: its JSON is not an object; expected a document of a drawing program")
    return document


def list_objects(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects in a list; [] if the value is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def to_number(value: Any, default: float = 0.0) -> float:
    """Convert a JSON value to a float; return `default` if the value is None (missing or null).

    Raises:
        ValueError: the value is not a number.
    """
    if value is None:
        return default
    if not isinstance(value, int | float):
        raise ValueError(f"{str(value)[:40]!r} is not a number")
    return float(value)


def to_points(rows: list[Any]) -> np.ndarray:
    """Convert points [x, y, ...] or {"x": x, "y": y} to an array (n, 2).

    Raises:
        ValueError: a point has neither of these forms.
    """
    try:
        points = to_array([row[:2] if isinstance(row, list) else [row["x"], row["y"]] for row in rows])
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise ValueError("a point is not [x, y]") from error
    if len(points) and points.shape[1:] != (2,):
        raise ValueError("a point is not [x, y]")
    return points.reshape(-1, 2)


def rotate(points: np.ndarray, angle: float, center: np.ndarray) -> np.ndarray:
    """Rotate points (n, 2) by an angle in radians about a center, clockwise on a page with y down."""
    sine, cosine = np.sin(angle), np.cos(angle)
    return (points - center) @ np.array([[cosine, sine], [-sine, cosine]]) + center
