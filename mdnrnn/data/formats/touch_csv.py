"""Reader of touch performances in tables: CSV or TSV files with a header and one touch point per row.

`microjam.py` reads the CSV files of MicroJam. This module reads tables with other columns, for example
`time,device,x,y,pressure`, or the touch logs of MetaTone (`time,device_id,x_pos,y_pos,velocity`; Martin 2014). Columns
are found by name and can have any order (see `_ALIASES` for all accepted names):

- time: number, or date in ISO 8601. The header can state the unit, as in `time_ms` or `time (ms)`. Without a unit,
  times are in milliseconds in two cases: if all times are above 1e11 (milliseconds since 1970), or if all times are
  integers whose median increase from row to row is more than 1. In all other cases, times are in seconds. A performance
  whose first time is not in the range of 0 to 5 s is shifted in time, so that it begins at 0.
- x, y: position on the screen, 0 to 1, with y pointing down. If any coordinate in the file is below -1 or above 2, the
  coordinates are pixels. In this case, all coordinates are divided by the largest one, and the division is reported.
- device (or player, ...), performance (or session, ...): all rows with the same pair of values are one performance.
  The rows of a performance need not be consecutive.
- moving: 0 for a touch-down, which begins a touch; 1 for a further point, as in MicroJam.
- event, touch (or finger, ...), velocity: used if there is no column moving. The first of these columns that the table
  has determines where a touch begins: at an event such as down, start or began, where the value of touch changes, or
  where the velocity is 0 (as in MetaTone).
- All other columns are not imported. Their values are counted as lost.

If no row of a performance is marked as the beginning of a touch, a touch begins where more than 0.1 s have passed since
the preceding row, as in RoboJam. Times and positions are clamped as in `microjam.py`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from math import isnan
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats import microjam
from mdnrnn.data.formats.format import Format, read_head, single_chunk
from mdnrnn.data.formats.impsy import parse_time
from mdnrnn.data.formats.pen_states import START_EVENTS, parse_states
from mdnrnn.data.formats.streams import describe_bad_lines, single_drawing
from mdnrnn.data.formats.tables import Header, parse_header, parse_number, read_rows
from mdnrnn.errors import DataError

_ALIASES = {
    "time": ("time", "t", "timestamp", "time_s", "time_ms", "time_us", "seconds", "ms", "timestamp_ms", "t_ms",
             "elapsed", "datetime", "date_time"),
    "x": ("x", "x_pos", "pos_x", "xpos", "x_position", "position_x", "touch_x", "x_coord", "x_px"),
    "y": ("y", "y_pos", "pos_y", "ypos", "y_position", "position_y", "touch_y", "y_coord", "y_px"),
    "moving": ("moving", "is_moving"),
    "event": ("event", "event_type", "phase", "action", "touch_event", "touch_type"),
    "touch": ("touch", "touch_id", "finger", "finger_id", "pointer", "pointer_id"),
    "velocity": ("velocity",),
    "device": ("device", "device_id", "device_name", "player", "performer"),
    "performance": ("performance", "performance_id", "session", "session_id", "recording", "take", "perf"),
}  # fmt: skip
_TOUCH_ROLES = {"moving", "touch", "device", "performance"}
"""Roles of columns that only tables of touches have."""
_EXPECTED = "time,x,y"
_MAX_PERFORMANCES = 1 << 16
_SECONDS = {"ms": 1e-3, "millis": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "s": 1.0, "sec": 1.0, "seconds": 1.0}
"""Seconds per unit of time."""
_EPOCH_MILLISECONDS = 1e11
_PIXELS = (-1.0, 2.0)
"""Range of the coordinates in recordings that are relative to the screen size. Coordinates out of range are pixels."""


class _Performance:
    """Rows of one performance."""

    def __init__(self) -> None:
        self.rows = array("d")
        """Time, x and y of the first row, then of the second row, and so on."""
        self.touch_down = array("b")
        """Whether the row is a touch-down."""
        self.last_touch: str | None = None
        """Identifier of the touch of the last row."""
        self.has_dates = False
        """Whether a time is a date; then the times are in seconds."""

    def append(self, row: tuple[float, float, float], touch_down: bool) -> None:
        """Add a row (time, x, y)."""
        self.rows.extend(row)
        self.touch_down.append(touch_down)

    def to_array(self) -> np.ndarray:
        """Return the rows (time, x, y), (T, 3)."""
        return np.array(self.rows).reshape(-1, 3)


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file begins with the header of a table of touches. MicroJam's own header is excluded."""
    header = parse_header(head)
    return header is not None and is_touch_table(header)


def is_touch_table(header: Header) -> bool:
    """Return whether a table has time, x, y, and a column that only tables of touches have.

    Tables of pen strokes and CSV files of MicroJam are excluded.
    """
    roles = header.find(_ALIASES).keys()
    is_microjam = set(header.names) <= set(microjam.COLUMNS) and header.delimiter == ","
    is_pen = any(name.startswith(("stroke", "pen")) for name in header.names)
    return {"time", "x", "y"} <= roles and bool(roles & _TOUCH_ROLES) and not is_pen and not is_microjam


def _parse(path: Path) -> DrawingBatch:
    header = parse_header(read_head(path))
    columns = {} if header is None else header.find(_ALIASES)
    if header is None or not {"time", "x", "y"} <= columns.keys():
        raise DataError(f"{path}: received no header with the columns time, x and y; expected one in the first line")
    performances: dict[tuple[str, str], _Performance] = {}
    lost: Counter[str] = Counter()
    bad: list[int] = []
    unused = header.find_unused(columns.values())
    for number, fields in read_rows(path, header):
        if not fields:
            continue
        try:
            _append_row(performances, fields, header, columns)
        except (ValueError, LookupError, OverflowError):
            bad.append(number)
            continue
        lost.update(kind for i, kind in unused if i < len(fields) and fields[i])
        if len(performances) > _MAX_PERFORMANCES:
            raise DataError(f"{path}: received over {_MAX_PERFORMANCES} performances; split the file")
    repaired = describe_bad_lines(path, bad, _EXPECTED)
    if not performances:
        return single_drawing(path, [], repaired, _EXPECTED)
    return _to_batch(path, header, columns, performances, repaired, lost)


def _append_row(
    performances: dict[tuple[str, str], _Performance], fields: list[str], header: Header, columns: dict[str, int]
) -> None:
    """Add a row to its performance; raise `ValueError` or `LookupError` if the row cannot be read."""
    text = {role: fields[column] for role, column in columns.items()}
    x, y = (parse_number(text[axis], header) for axis in "xy")
    time, is_date = _parse_number_or_date(text["time"], header)
    row = (time, x, y)
    if any(map(isnan, row)):
        raise ValueError("a number is missing")
    names = text.get("device", ""), text.get("performance", "")
    performance = performances.get(names) or _Performance()
    touch_down = False
    if "moving" in text:
        states = parse_states([text["moving"].lower()])
        if states is None:
            raise ValueError(f"moving is {text['moving']}; expected 0 or 1")
        touch_down = not states[0]
    elif "event" in text:
        touch_down = text["event"].lower() in START_EVENTS
    elif "touch" in text:
        touch_down = text["touch"] != performance.last_touch
        performance.last_touch = text["touch"]
    elif "velocity" in text:
        touch_down = parse_number(text["velocity"], header) == 0
    performances[names] = performance
    performance.has_dates |= is_date
    performance.append(row, touch_down)


def _parse_number_or_date(text: str, header: Header) -> tuple[float, bool]:
    """Return a number and False or, for a date in ISO 8601, the seconds since 1970 and True."""
    try:
        return parse_number(text, header), False
    except ValueError:
        return parse_time(text).timestamp(), True


def _to_batch(
    path: Path,
    header: Header,
    columns: dict[str, int],
    performances: dict[tuple[str, str], _Performance],
    repaired: list[Remark],
    lost: Counter[str],
) -> DrawingBatch:
    rows = [performance.to_array() for performance in performances.values()]
    has_dates = any(performance.has_dates for performance in performances.values())
    unit = 1.0 if has_dates else _seconds_per_unit(header, columns["time"], rows)
    scale = _find_scale(path, rows, repaired)
    drawings = []
    for (names, performance), values in zip(performances.items(), rows, strict=True):
        location = str(path) if len(rows) == 1 else f"{path}, performance {' '.join(filter(None, names))[:40]}"
        time = values[:, 0] * unit
        with np.errstate(over="ignore"):
            dt = np.diff(time, prepend=0 if 0 <= time[0] <= microjam.MAX_DT else time[0])
        touch_down = np.array(performance.touch_down, bool)
        moving = ~touch_down if touch_down.any() else None
        drawings.append(
            (microjam.touch_strokes(values[:, 1:] / scale, dt, moving, location, repaired), Record(location))
        )
    return DrawingBatch.from_polylines(drawings, (), repaired, lost_remarks(lost, str(path)))


def _seconds_per_unit(header: Header, column: int, rows: list[np.ndarray]) -> float:
    """Return the unit of the times in seconds. If the header does not state the unit, it is derived from the times."""
    unit = header.units[column] or header.names[column].rpartition("_")[2]
    if unit in _SECONDS:
        return _SECONDS[unit]
    times = np.concatenate([values[:, 0] for values in rows])
    with np.errstate(over="ignore"):
        increases = np.concatenate([np.diff(values[:, 0]) for values in rows])
    increases = increases[increases > 0]
    are_integers = (times == np.rint(times)).all()
    is_long = times.min() > _EPOCH_MILLISECONDS or (are_integers and len(increases) > 0 and np.median(increases) > 1)
    return 1e-3 if is_long else 1.0


def _find_scale(path: Path, rows: list[np.ndarray], repaired: list[Remark]) -> float:
    """Return the divisor of the positions: the largest coordinate if positions are in pixels, else 1.

    If positions are in pixels, a remark is appended to `repaired`.
    """
    low, high = min(float(values[:, 1:].min()) for values in rows), max(float(values[:, 1:].max()) for values in rows)
    if low >= _PIXELS[0] and high <= _PIXELS[1]:
        return 1.0
    scale = max(high, 1.0)
    repaired.append(
        Remark("positions in pixels", f"{path}: positions up to {high:g}, expected 0 to 1; divided by {scale:g}")
    )
    return scale


FORMAT = Format("touch performances in a table", (".csv", ".tsv"), _recognizes, single_chunk, _parse, microjam.LAYOUT)
