"""Column layouts of arrays of strokes, and their conversion to rows (dx, dy, pen).

dx and dy are the offset from the preceding point, with y pointing down. The other columns, except part, are switches:
all their values are 0 or 1. The layout is chosen by the values of all drawings of an array:

- (dx, dy, pen), called stroke-3 by Ha and Eck, A Neural Representation of Sketch Drawings (2017): pen = 1 marks the
  last point of a stroke.
- (pen, dx, dy): the same with pen as the first column, as in data for Graves' handwriting synthesis (2013).
- (dx, dy, p1, p2, p3), called stroke-5: exactly one of p1 (the pen stays down), p2 (last point of a stroke) and p3 (end
  of the drawing) is 1. The first row with p3 = 1 ends the drawing. This row is a point only if its offset is not
  (0, 0). All rows after it are padding.
- (dx, dy, pen, end): pen as in stroke-3; end = 1 ends the drawing, as p3 = 1 does in stroke-5. All offsets after this
  row are (0, 0).
- (dx, dy, down, up): exactly one of down and up is 1; up has the meaning of pen in stroke-3.
- (dx, dy, pen, part): pen as in stroke-3; part is the number of the semantic part to which the point belongs, as in the
  SPG data of Li et al., Universal Sketch Perceptual Grouping (2018). The part is not imported.

Absolute coordinates cannot be distinguished from offsets and are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import numpy as np

from mdnrnn.data.drawings import Remark, lost_remarks

WIDTHS = (3, 4, 5)


class Columns(Enum):
    """Meaning of the columns of an array of strokes."""

    PEN_LAST = "(dx, dy, pen)"
    PEN_FIRST = "(pen, dx, dy)"
    STROKE_5 = "(dx, dy, p1, p2, p3)"
    END = "(dx, dy, pen, end)"
    DOWN_UP = "(dx, dy, down, up)"
    PART = "(dx, dy, pen, part)"


_BY_WIDTH = {
    3: (Columns.PEN_LAST, Columns.PEN_FIRST),
    4: (Columns.DOWN_UP, Columns.END, Columns.PART),
    5: (Columns.STROKE_5,),
}
_OFFSETS = {Columns.PEN_FIRST: slice(1, 3)}
_LIFTS = {
    Columns.PEN_FIRST: slice(0, 1),
    Columns.STROKE_5: slice(3, 5),
    Columns.END: slice(2, 4),
    Columns.DOWN_UP: slice(3, 4),
}
"""Columns of the switches that end a stroke, by layout. For other layouts, this is column 2."""


def choose_columns(drawings: Iterable[np.ndarray]) -> Columns | None:
    """Return the first layout that fits all drawings of an array; None if there is none.

    A layout also does not fit if all its offsets are 0 or 1, or if no row of any drawing ends a stroke, because such
    values are common in data other than strokes.

    Args:
        drawings: rows of numbers of each drawing, (n, W) with the same W of 3, 4 or 5. Rows with NaN or infinity are
            ignored.
    """
    has_offsets: dict[Columns, bool] = {}
    has_lifts: dict[Columns, bool] = {}
    for number, rows in enumerate(drawings):
        rows = rows[np.isfinite(rows).all(1)] if rows.dtype.kind == "f" else rows
        for columns in tuple(has_lifts) if number else _BY_WIDTH[rows.shape[1]]:
            if not _fits(rows, columns):
                has_lifts.pop(columns, None)
                continue
            offsets, lifts = rows[:, _OFFSETS.get(columns, slice(0, 2))], rows[:, _LIFTS.get(columns, slice(2, 3))]
            has_offsets[columns] = has_offsets.get(columns, False) or not _are_switches(offsets)
            has_lifts[columns] = has_lifts.get(columns, False) or bool(lifts.any())
    return next((columns for columns, found in has_lifts.items() if found and has_offsets[columns]), None)


def fits_any(rows: np.ndarray) -> bool:
    """Return whether the rows of a drawing, (n, 3), (n, 4) or (n, 5), fit any layout."""
    return rows.dtype.kind in "biuf" and any(_fits(rows, columns) for columns in _BY_WIDTH[rows.shape[1]])


def part_remarks(columns: Columns, drawings: int, location: str) -> list[Remark]:
    """Return a remark on the lost part numbers of drawings; [] if the layout has no part numbers.

    Args:
        columns: layout of the drawings.
        drawings: number of drawings.
        location: file and array, for messages.
    """
    return lost_remarks({"drawings with part numbers": drawings if columns is Columns.PART else 0}, location)


def to_stroke_3(rows: np.ndarray, columns: Columns, padded: bool) -> np.ndarray:
    """Convert rows to (dx, dy, pen), (T, 3), without padding.

    Args:
        rows: (n, 3), (n, 4) or (n, 5).
        columns: layout of the rows.
        padded: whether rows of zeros or NaN at the end are padding. Stroke-5 ignores this argument and uses p3.

    Raises:
        ValueError: the rows do not fit the layout.
    """
    if padded and columns is not Columns.STROKE_5:
        used = np.flatnonzero(np.nan_to_num(rows).any(1))
        rows = rows[: used[-1] + 1 if len(used) else 0]
    if columns not in _BY_WIDTH[rows.shape[1]] or not _fits(rows, columns):
        raise ValueError("has other values")
    if columns in (Columns.END, Columns.STROKE_5):
        rows = _cut_at_end(rows)
    pen = {Columns.PEN_FIRST: [1, 2, 0], Columns.DOWN_UP: [0, 1, 3], Columns.STROKE_5: [0, 1, 3]}
    return rows[:, pen.get(columns, [0, 1, 2])]


def _fits(rows: np.ndarray, columns: Columns) -> bool:
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        return False
    if columns is Columns.PEN_LAST:
        return _are_switches(rows[:, 2])
    if columns is Columns.PEN_FIRST:
        return _are_switches(rows[:, 0])
    if columns is Columns.PART:
        parts = rows[:, 3]
        return _are_switches(rows[:, 2]) and bool((parts >= 0).all() and (parts == np.rint(parts)).all())
    if columns is Columns.END and rows[:, 3].any() and rows[rows[:, 3].argmax() + 1 :, :2].any():
        return False
    is_one_hot = columns in (Columns.STROKE_5, Columns.DOWN_UP)
    return _are_switches(rows[:, 2:]) and (not is_one_hot or bool((rows[:, 2:].sum(1) == 1).all()))


def _are_switches(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _cut_at_end(rows: np.ndarray) -> np.ndarray:
    """Return the rows before the first row whose last column is 1, and this row if its offset is not (0, 0)."""
    ends = np.flatnonzero(rows[:, -1] == 1)
    if not len(ends):
        return rows
    return rows[: ends[0] + bool(rows[ends[0], :2].any())]
