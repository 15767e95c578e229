"""Read the columns of a table of pen points. The columns are found by name (see `pen_csv.py`)."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import chain, islice
from math import isnan, nan
from pathlib import Path

import numpy as np

from mdnrnn.data.formats.tables import Header, parse_number, read_rows
from mdnrnn.errors import DataError

# Names such as state, type and path are left out, because in other tables with x and y they have other meanings.
ALIASES = {
    "x": ("x", "x_pos", "pos_x", "xpos", "x_position", "position_x", "x_coord", "x_coordinate", "coord_x", "point_x",
          "pen_x", "x_px", "px", "page_x", "client_x", "offset_x", "screen_x"),
    "y": ("y", "y_pos", "pos_y", "ypos", "y_position", "position_y", "y_coord", "y_coordinate", "coord_y", "point_y",
          "pen_y", "y_px", "py", "page_y", "client_y", "offset_y", "screen_y"),
    "stroke": ("stroke", "stroke_id", "strokeid", "stroke_index", "stroke_number", "stroke_no", "stroke_num",
               "stroke_idx", "strokes", "trace", "trace_id", "path_id", "contour", "contour_id", "polyline",
               "segment_id"),
    "pen": ("pen", "pen_down", "pendown", "pen_state", "penstate", "pen_status", "penstatus", "is_down", "isdown",
            "is_pen_down", "down", "contact", "touching", "tip", "tip_down", "button", "button_status",
            "event", "event_type", "action", "phase"),
    "pen_up": ("pen_up", "penup", "is_up", "isup", "is_pen_up", "lift", "end_of_stroke", "eos", "stroke_end"),
    "pressure": ("pressure", "force", "p"),
    "time": ("time", "t", "timestamp", "ts", "time_ms", "timestamp_ms", "t_ms", "time_s"),
    "drawing": ("drawing", "drawing_id", "sample", "sample_id", "sketch", "sketch_id", "character_id", "symbol_id",
                "glyph_id", "gesture_id", "instance", "instance_id", "example", "example_id", "sequence", "sequence_id",
                "file", "filename", "file_name", "image_id", "trial", "trial_id", "key", "key_id", "id"),
    "label": ("label", "class", "class_name", "category", "symbol", "character", "char", "letter", "digit", "gesture",
              "glyph", "shape"),
    "text": ("text", "word", "transcript", "transcription", "truth", "sentence", "phrase"),
    "writer": ("writer", "writer_id", "user", "user_id", "subject", "subject_id", "participant", "participant_id",
               "author"),
    "split": ("split", "subset", "partition"),
}  # fmt: skip
METADATA = ("drawing", "label", "text", "writer", "split")
_PEN_ROLES = ("pen", "pen_up", "pressure")
_INSPECTED_ROWS = 64
_MAX_DRAWINGS, _MAX_STROKES, _MAX_PEN_VALUES = 1 << 18, 1 << 20, 16


def is_pen_table(header: Header | None) -> bool:
    """Return whether a table has x and y, and a column that separates strokes."""
    columns = header.find(ALIASES) if header else {}
    return {"x", "y"} <= columns.keys() and not columns.keys().isdisjoint(("stroke", *_PEN_ROLES))


class _Codes:
    """Integer codes of the values of one or several columns, numbered in the order of first appearance."""

    def __init__(self, path: Path, plural: str, limit: int) -> None:
        self.numbers = array("i")
        self.values: dict[tuple[str, ...], int] = {}
        self._path, self._plural, self._limit = path, plural, limit

    def append(self, *value: str) -> None:
        """Add the value of a row, one string per column; raise `DataError` if there are too many different values."""
        self.numbers.append(self.values.setdefault(value, len(self.values)))
        if len(self.values) > self._limit:
            raise DataError(
                f"{self._path}: received over {self._limit} {self._plural}; expected at most {self._limit}; split the "
                "file"
            )

    def to_array(self) -> np.ndarray:
        """Return the number of the value of each row, (N,)."""
        return np.array(self.numbers, np.int32)


class PenTable:
    """The N rows of a file that are points, stored by column."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header, self.columns = path, header, header.find(ALIASES)
        self.xy = array("d")
        self.time = array("d")
        """Time of each row, in the unit of the file; NaN if it is unknown."""
        self.after_break = array("b")
        """Whether the row directly follows a row without x and y."""
        self.drawings = _Codes(path, "drawings", _MAX_DRAWINGS)
        self.strokes = _Codes(path, "strokes", _MAX_STROKES)
        self.pens = _Codes(path, "values of the pen", _MAX_PEN_VALUES)
        self.lost: Counter[str] = Counter()
        """Number of values that are not imported, by kind."""
        self.bad_lines: list[int] = []
        rows = read_rows(path, header)
        first_rows = list(islice(rows, _INSPECTED_ROWS))
        self._select_columns([fields for _, fields in first_rows if fields])
        self._is_after_break = False
        for number, fields in chain(first_rows, rows):
            try:
                self._append(fields)
            except DataError:
                raise
            except (ValueError, LookupError):
                self.bad_lines.append(number)

    def _select_columns(self, first_rows: list[list[str]]) -> None:
        """Choose the columns to read.

        Columns that number the rows are ignored. The pressure is read only if there is no stroke column and no pen
        column.
        """
        columns = self.columns
        drawing = columns.get("drawing", -1)
        values = [fields[drawing] for fields in first_rows if 0 <= drawing < len(fields)]
        numbers_rows = len(values) > 1 and len(set(values)) == len(values)
        if numbers_rows:
            del columns["drawing"]
        self.pen_role = next((role for role in _PEN_ROLES if role in columns), None)
        if self.pen_role == "pressure" and "stroke" in columns:
            self.pen_role = None
        self._xy_columns = columns["x"], columns["y"]
        self._stroke_column, self._pen_column = columns.get("stroke"), columns.get(self.pen_role or "")
        self._time_column = columns.get("time")
        self._metadata_columns = [columns.get(role) for role in METADATA]
        used = [*self._xy_columns, self._stroke_column, self._pen_column, *self._metadata_columns]
        self._unused = self.header.find_unused([*used, drawing] if numbers_rows else used)

    def _append(self, fields: list[str]) -> None:
        x, y = (parse_number(fields[column], self.header) for column in self._xy_columns) if fields else (nan, nan)
        if isnan(x) and isnan(y):
            self._is_after_break = True
            return
        if isnan(x) or isnan(y):
            raise ValueError("x or y is missing")
        pen = fields[self._pen_column].lower() if self._pen_column is not None else ""
        if self.pen_role == "pressure":
            pen = "1" if parse_number(pen, self.header) > 0 else "0"
        metadata = ["" if column is None else fields[column] for column in self._metadata_columns]
        stroke = fields[self._stroke_column] if self._stroke_column is not None else ""
        self.drawings.append(*metadata)
        self.strokes.append(stroke)
        self.xy.extend((x, y))
        self.time.append(self._parse_time(fields))
        self.after_break.append(self._is_after_break)
        self._is_after_break = False
        for column, kind in self._unused:
            if column < len(fields) and fields[column]:
                self.lost[kind] += 1
        if self._pen_column is not None:
            self._append_pen(pen)

    def _append_pen(self, pen: str) -> None:
        """Add the value of the pen column; ignore the column if it has too many values and there are stroke numbers."""
        try:
            self.pens.append(pen)
        except DataError:
            if self._stroke_column is None:
                raise
            self.ignore_pen()

    def ignore_pen(self) -> None:
        """Ignore the pen column, because its values are not states of a pen, and count its values as lost."""
        column = self.columns[self.pen_role or ""]
        kind = self.header.kind(column)
        filled = [number for (value,), number in self.pens.values.items() if value]
        self.lost[kind] += int(np.isin(self.pens.to_array(), filled).sum())
        self._unused.append((column, kind))
        self.pen_role = self._pen_column = None

    def _parse_time(self, fields: list[str]) -> float:
        try:
            return nan if self._time_column is None else parse_number(fields[self._time_column], self.header)
        except (ValueError, LookupError):
            return nan
