"""Meaning of the pen column of a table of points: which rows are points of strokes, and which rows start a stroke."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Convention = Literal["ends", "starts", "samples", "lasts"]
"""Meaning of the states of a pen column:

- ends: the state of the pen between a row and the next row. A row with the pen up is the last point of its stroke.
- starts: the state of the pen between the preceding row and a row. A row with the pen up is the first point of its
  stroke.
- samples: the state of the pen at the row itself. A row with the pen up is not a point of a stroke.
- lasts: a row with the pen down is the last point of its stroke, as in sketch-rnn.
"""

_UP = frozenset(("up", "penup", "pen_up", "pen up", "hover", "air", "released", "u"))
_DOWN = frozenset(("down", "pendown", "pen_down", "pen down", "contact", "touch", "pressed", "d"))
_FALSE, _TRUE = frozenset(("false", "no", "off", "f", "n")), frozenset(("true", "yes", "on", "t", "y"))
START_EVENTS = frozenset(
    ("start", "started", "begin", "began", "down", "pen_down", "press", "pointerdown", "touchstart", "mousedown")
)
_MOVE = frozenset(("move", "moved", "drag", "dragged", "pointermove", "touchmove", "mousemove"))
_END = frozenset(
    ("end", "ended", "stop", "up", "pen_up", "release", "pointerup", "touchend", "mouseup", "cancel", "touchcancel")
)


class PenRows(NamedTuple):
    """Two properties of each of the N rows of a table, (N,) each."""

    is_drawn: np.ndarray
    """Whether the row is a point of a stroke."""
    starts_stroke: np.ndarray
    """Whether a stroke starts at the row. The functions of this module consider only the pen, not the drawings."""


def parse_states(values: list[str], true_is_down: bool = True) -> list[bool] | None:
    """Convert the values of a pen column to booleans, True for pen down; return None if a value is not a state.

    Args:
        values: values in lower case.
        true_is_down: whether 1 and "true" mean pen down; if false, they mean pen up, as in a column pen_up. The words
            "down" and "up" have their own meaning in both cases.
    """
    states = []
    for value in values:
        if value in _UP | _DOWN:
            states.append(value in _DOWN)
        elif (truth := _parse_truth(value)) is not None:
            states.append(truth == true_is_down)
        else:
            return None
    return states


def _parse_truth(value: str) -> bool | None:
    if value in _TRUE | _FALSE:
        return value in _TRUE
    try:
        return {0.0: False, 1.0: True}.get(float(value))
    except ValueError:
        return None


def are_events(values: list[str]) -> bool:
    """Return whether all values of a column are events such as down, move and up, and at least one is a start event.

    Args:
        values: values in lower case.
    """
    return set(values) <= START_EVENTS | _MOVE | _END and bool(START_EVENTS & set(values))


def read_events(values: list[str], code: np.ndarray, starts_drawing: np.ndarray) -> PenRows:
    """Return which rows are drawn and which rows start a stroke, according to a column of events.

    A stroke consists of the rows from a start event to the next end event. Moves outside of strokes are not drawn.

    Args:
        values: the distinct events of the column, in lower case.
        code: index in `values` of the event of each row, (N,).
        starts_drawing: whether a drawing begins at the row, (N,).
    """
    starts = np.isin(code, [i for i, value in enumerate(values) if value in START_EVENTS])
    ends = np.isin(code, [i for i, value in enumerate(values) if value in _END])
    rows = np.arange(len(code))
    last_start = np.maximum.accumulate(np.where(starts, rows, -1))
    # `closing` marks the rows before which a stroke ends: rows after an end event, and first rows of drawings.
    closing = starts_drawing.copy()
    closing[1:] |= ends[:-1]
    last_closing = np.maximum.accumulate(np.where(closing, rows, -1))
    return PenRows(starts | (last_start >= last_closing) & (last_start >= 0), starts)


def find_convention(is_down: np.ndarray, starts_drawing: np.ndarray) -> Convention | None:
    """Return the convention of a pen column in a table without a stroke column, or None if it is ambiguous.

    `pen_csv.py` lists the conditions. The condition on the time is checked by `pauses_after_up`.

    Args:
        is_down: state of the pen at each row, (N,).
        starts_drawing: whether a drawing begins at the row, (N,).
    """
    if is_down.all():
        return "ends"
    ends_drawing = np.append(starts_drawing[1:], True)
    changes = starts_drawing | np.append(True, is_down[1:] != is_down[:-1])
    first_rows = np.flatnonzero(changes)
    lengths = np.diff(first_rows, append=len(is_down))
    is_up_run = ~is_down[first_rows]
    up_lengths = lengths[is_up_run]
    begins_up, ends_up = ~is_down[starts_drawing], ~is_down[ends_drawing]
    if (up_lengths == 1).all() and not begins_up.any():
        return "ends"
    if (up_lengths == 1).all() and begins_up.all() and not ends_up.any():
        return "starts"
    if (lengths[~is_up_run] == 1).all() and not ends_up.any():
        return "lasts"
    last_rows = first_rows + lengths - 1
    is_inner = is_up_run & ~starts_drawing[first_rows] & ~ends_drawing[last_rows]
    has_long_runs = (lengths[is_inner] >= 2).all() and (up_lengths.max() >= 3 or not ends_up.any())
    return "samples" if has_long_runs else None


def pauses_after_up(is_down: np.ndarray, time: np.ndarray, starts_drawing: np.ndarray) -> bool:
    """Return whether each time interval after a pen-up row is longer than all time intervals after pen-down rows.

    If so, the device did not record the lifted pen: each long interval is the time between two strokes, and the pen-up
    row before the interval is the last point of a stroke. Intervals between two drawings are ignored.

    Args:
        is_down: state of the pen at each row, (N,).
        time: time of each row in any unit, (N,); NaN if it is unknown.
        starts_drawing: whether a drawing begins at the row, (N,).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        intervals = np.diff(time)
    after_up, inside = ~is_down[:-1], ~starts_drawing[1:]
    pauses, others = intervals[after_up & inside], intervals[~after_up & inside]
    return bool(len(pauses) and len(others) and pauses.min() > others.max())


def find_convention_in_strokes(is_down: np.ndarray, starts_stroke: np.ndarray) -> Convention:
    """Return the convention of a pen column in a table with a stroke column.

    Args:
        is_down: state of the pen at each row, (N,).
        starts_stroke: whether a stroke begins at the row, (N,).
    """
    ends_stroke = np.append(starts_stroke[1:], True)
    if not (~is_down & ~ends_stroke).any():
        return "ends"
    if not (~is_down & ~starts_stroke).any():
        return "starts"
    return "lasts" if (is_down == ends_stroke).all() else "samples"


def apply_convention(is_down: np.ndarray, convention: Convention) -> PenRows:
    """Return which rows are drawn and which rows start a stroke, according to the states of the pen.

    Args:
        is_down: state of the pen at each row, (N,).
        convention: meaning of the states.
    """
    after_up = np.append(False, ~is_down[:-1])
    if convention == "ends":
        return PenRows(np.ones_like(is_down), after_up)
    if convention == "starts":
        return PenRows(np.ones_like(is_down), ~is_down)
    if convention == "lasts":
        return PenRows(np.ones_like(is_down), np.append(False, is_down[:-1]))
    return PenRows(is_down, after_up)
