"""Reader of tables of pen points: CSV or TSV files with a header and one point per row. Columns are found by name.

Columns. Their order and the case of their names do not matter (see `ALIASES` in `pen_table.py` for all accepted names):

- x, y: position, with y pointing down.
- stroke (or trace, contour, ...): number or name of the stroke. The rows of a stroke are consecutive.
- pen (or pen_down, down, event, ...): state of the pen, see below. In a column pen_up (or lift), 1 and 0 are exchanged.
  If there is a stroke column, a pen column whose values are not states of a pen is not imported.
- drawing (or sample, sketch, ..., id): number or name of the drawing, in a file with several drawings.
- label (or class, category, ...), text (or word, transcript, ...), writer (or user, ...), split: metadata of a drawing.
- All other columns, such as time and tilt, are not imported. Their values are counted as lost.

Drawings. A new drawing begins where the value of the drawing column or of a metadata column changes.

Strokes. A stroke ends where the value of the stroke column changes, and at a row without x and y. If there is no stroke
column, the pen column separates the strokes. If there is no pen column either, the pressure separates the strokes: the
pen is up where the pressure is 0.

Pen. The values are 1 and 0, words (true and false, or down and up), or events (down, move, up, or start, move, end).
For values other than events, there are four conventions:

- `ends`: 1 means that the pen draws a line to the next row. Each stroke ends with a single row with 0, its last point.
- `starts`: 1 means that the pen draws a line from the preceding row. Each stroke starts with a single row with 0, its
  first point.
- `samples`: 1 means that the pen is down at the row. Rows with 0 are movements of the lifted pen; these rows are left
  out and counted as lost.
- `lasts`: 1 marks the last point of each stroke, as in sketch-rnn.

If there is no stroke column, the convention is chosen by the following conditions. The first condition that the whole
file fulfills decides. A row is called single if its neighbors in the same drawing have the other state.

- All rows with 0 are single, and each drawing begins with 1: `ends`.
- All rows with 0 are single, and each drawing begins with 0 and ends with 1: `starts`.
- All rows with 1 are single, and each drawing ends with 1: `lasts`.
- Two strokes of a drawing always have at least two rows with 0 between them. In addition, all drawings end with 1, or
  at least one run of rows with 0 has three rows or more: `samples`.
- There is a time column, and each time interval after a row with 0 is longer than all intervals after rows with 1:
  `ends`.

A file that fulfills none of these conditions is ambiguous, which is an error. Adding a stroke column resolves it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats.format import Format, read_head, single_chunk
from mdnrnn.data.formats.pen_states import (
    PenRows,
    apply_convention,
    are_events,
    find_convention,
    find_convention_in_strokes,
    parse_states,
    pauses_after_up,
    read_events,
)
from mdnrnn.data.formats.pen_table import ALIASES, PenTable, is_pen_table
from mdnrnn.data.formats.streams import describe_bad_lines, single_drawing
from mdnrnn.data.formats.tables import parse_header
from mdnrnn.data.metadata import SPLITS
from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import DataError

_EXPECTED = "numbers for x and y"


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file begins with a header that has x, y, and a column for the stroke, pen or pressure."""
    return is_pen_table(parse_header(head))


def _parse(path: Path) -> DrawingBatch:
    header = parse_header(read_head(path))
    if header is None or not {"x", "y"} <= header.find(ALIASES).keys():
        raise DataError(f"{path}: received no header with the columns x and y; expected one in the first line")
    table = PenTable(path, header)
    repaired = describe_bad_lines(path, table.bad_lines, _EXPECTED)
    if not table.xy:
        return single_drawing(path, [], repaired, _EXPECTED)
    drawing = table.drawings.to_array()
    starts_drawing = np.append(True, drawing[1:] != drawing[:-1])
    if "drawing" in table.columns:
        _check_consecutive(table, "drawing", drawing, starts_drawing)
    rows = _find_strokes(table, starts_drawing)
    drawings = zip(_split_drawings(table, rows, starts_drawing), _records(table, drawing[starts_drawing]), strict=True)
    return DrawingBatch.from_polylines(drawings, (), repaired, _lost_content(table, rows))


def _split_drawings(table: PenTable, rows: PenRows, starts_drawing: np.ndarray) -> list[Drawing]:
    """Return the strokes of each drawing."""
    drawn = np.flatnonzero(rows.is_drawn)
    stroke_number = np.cumsum(rows.starts_stroke)[drawn]
    firsts = np.flatnonzero(np.diff(stroke_number, prepend=-1))
    drawing_number = np.cumsum(starts_drawing)[drawn[firsts]] - 1
    drawings: list[Drawing] = [[] for _ in range(np.count_nonzero(starts_drawing))]
    strokes = np.split(np.frombuffer(table.xy).reshape(-1, 2)[drawn], firsts[1:])
    # Without drawn rows, `np.split` returns one empty array.
    for number, stroke in zip(drawing_number.tolist(), strokes[: len(firsts)], strict=True):
        drawings[number].append(stroke)
    return drawings


def _lost_content(table: PenTable, rows: PenRows) -> list[Remark]:
    """Return remarks on the columns and rows that are not imported."""
    lifted = int(np.count_nonzero(~rows.is_drawn))
    return lost_remarks({**table.lost, "points of the lifted pen": lifted}, str(table.path))


def _find_strokes(table: PenTable, starts_drawing: np.ndarray) -> PenRows:
    """Return which rows are drawn and which rows start a stroke, according to all columns and to rows without x and y.

    Raises:
        DataError: no column separates the strokes, the pen column is ambiguous, or the rows of a stroke are not
            consecutive.
    """
    starts = starts_drawing | np.array(table.after_break, bool)
    is_drawn = np.ones(len(starts), bool)
    if "stroke" in table.columns:
        stroke = table.strokes.to_array()
        names = [name for (name,) in table.strokes.values]
        is_drawn = ~np.isin(stroke, [i for i, name in enumerate(names) if not name or name.startswith("-")])
        starts |= np.append(False, stroke[1:] != stroke[:-1])
        pairs = np.cumsum(starts_drawing) * len(names) + stroke
        _check_consecutive(table, "stroke", pairs[is_drawn], np.append(True, np.diff(pairs[is_drawn]) != 0))
    elif table.pen_role is None and not any(table.after_break):
        raise DataError(
            f"{table.path}: received no column that separates the strokes; expected a column named 'stroke' or 'pen'"
        )
    if table.pen_role is not None:
        pen = _read_pen(table, starts_drawing, starts if "stroke" in table.columns else None)
        if pen is not None:
            is_drawn, starts = is_drawn & pen.is_drawn, starts | pen.starts_stroke
    starts |= np.append(False, ~is_drawn[:-1])
    return PenRows(is_drawn, starts)


def _read_pen(table: PenTable, starts_drawing: np.ndarray, starts_stroke: np.ndarray | None) -> PenRows | None:
    """Return which rows are drawn and which rows start a stroke, according to the pen column.

    If the values are not states of a pen and the table has a stroke column, ignore the pen column and return None.
    Without a stroke column, raise `DataError`.

    Args:
        table: the table, with a pen column.
        starts_drawing: whether a drawing begins at the row, (N,).
        starts_stroke: whether a stroke begins at the row, (N,), according to the stroke column; None: no such column.
    """
    values, code = [value for (value,) in table.pens.values], table.pens.to_array()
    name = table.header.names[table.columns[table.pen_role or ""]]
    states = parse_states(values, true_is_down=table.pen_role != "pen_up")
    if states is None and are_events(values):
        return read_events(values, code, starts_drawing)
    if states is None and starts_stroke is not None:
        table.ignore_pen()
        return None
    if states is None:
        raise DataError(
            f"{table.path}: the column {name} has the values {', '.join(values)[:80]}; expected 1 and 0, or down and "
            "up; if its values are stroke numbers, rename the column to 'stroke'"
        )
    is_down = np.array(states)[code]
    if starts_stroke is not None:
        return apply_convention(is_down, find_convention_in_strokes(is_down, starts_stroke))
    if table.pen_role == "pressure":
        if is_down.all():
            raise DataError(
                f"{table.path}: its {name} is never 0, so the ends of strokes are unknown; add a column named 'stroke' "
                "or 'pen'"
            )
        return apply_convention(is_down, "samples")
    convention = find_convention(is_down, starts_drawing)
    if convention is None and pauses_after_up(is_down, np.array(table.time), starts_drawing):
        convention = "ends"
    if convention is None:
        raise DataError(
            f"{table.path}: the column {name} is ambiguous: rows with the pen up can be the last points of strokes, or "
            "movements of the lifted pen; add a column named 'stroke' that numbers the strokes"
        )
    return apply_convention(is_down, convention)


def _check_consecutive(table: PenTable, role: str, values: np.ndarray, starts: np.ndarray) -> None:
    """Raise `DataError` if rows with equal values are not consecutive.

    Args:
        table: the table, for messages.
        role: role of the column, for messages.
        values: integer that identifies the value of each row, (n,); rows with equal values have equal integers.
        starts: whether the value differs from that of the preceding row, (n,).
    """
    firsts = np.sort(values[starts[: len(values)]])
    if (firsts[1:] == firsts[:-1]).any():
        advice = "add a column drawing if the file has several drawings" if role == "stroke" else "sort the rows"
        raise DataError(
            f"{table.path}: received a {role} whose rows are not consecutive, expected one block of rows; {advice}"
        )


def _records(table: PenTable, drawings: np.ndarray) -> list[Record]:
    """Return the record of each drawing.

    Args:
        table: the table.
        drawings: index of the metadata of each drawing in `table.drawings.values`.
    """
    values = list(table.drawings.values)
    has_labels = any(label for _, label, *_ in values)
    records = []
    for number, index in enumerate(drawings.tolist()):
        drawing, label, text, writer, split = values[index]
        name = drawing or str(number)
        records.append(
            Record(
                str(table.path) if len(drawings) == 1 else f"{table.path}, drawing {name[:40]}",
                # If other drawings have labels, use "": with None, the class would be the name of the folder.
                label=label or ("" if has_labels else None),
                text=text or None,
                split=next((known for known in SPLITS if split.lower().startswith(known[:3])), None),
                writer=writer or None,
            )
        )
    return records


FORMAT = Format("pen points in a table", (".csv", ".tsv"), _recognizes, single_chunk, _parse, default_label="folder")
