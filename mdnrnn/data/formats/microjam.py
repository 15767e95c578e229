"""MicroJam touch performances of up to 5 seconds: one CSV file per performance, or arrays of many performances.

A CSV file has the header `time,x,y,z,moving`:

- time: seconds since the start.
- x, y: position on the screen, 0 to 1, y down.
- z: size of the finger's contact area; ignored.
- moving: 0 for a touch-down, which starts a stroke; 1 for a further point of the touch. The first row always starts a
  stroke.

Arrays have rows (x, y, dt, moving) or (x, y, dt), where dt is the time in seconds since the preceding row. In arrays
without the column `moving`, a dt over 0.1 s marks a touch-down, as in RoboJam (Martin and Torresen 2018).

Recordings contain outliers: dt can be negative or up to 2328 s, and positions can be off the screen. As in RoboJam, dt
is clamped to at most 5 s, and x and y are clamped to the range 0 to 1. After the first row, a dt below `MIN_DT` (see
`streams.py`) is replaced by `MIN_DT`. Performances with clamped values are reported. A performance can consist of a
single tap.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import HEAD_BYTES, Format, StepLayout, single_chunk
from mdnrnn.data.formats.performance_arrays import TOUCHES, ArrayChunk, find_key, read_array_chunks, select_records
from mdnrnn.data.formats.streams import clamp, clamp_dt, describe_bad_lines, parse_finite, read_fields, single_drawing
from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import InputError, quantity
from mdnrnn.files.atomic import atomic_path, make_folder, write_bytes
from mdnrnn.pen_events import DOWN

LAYOUT = StepLayout(start="up", features=("dx", "dy", "dt"), units="screen, s", grid=1 / 1024)
"""The grid spacing is about one pixel of the screens on which the performances were recorded."""
MAX_DT = 5.0
"""Maximum time between rows, in seconds."""
MAX_MOVE_DT = 0.1
"""Maximum time between consecutive rows of one touch, in seconds, for arrays without the column `moving`."""
_CONTACT_SIZE = 38.0
"""Value of the column z in written files, as in RoboJam."""
_TOLERANCE = 1e-4
"""Values that exceed a bound by at most this tolerance are clamped without a remark. Positions and times that are
computed from float32 offsets have rounding errors of this size."""
_INSPECTED_ROWS = 64
COLUMNS = ["time", "x", "y", "z", "moving"]
_USED_COLUMNS = ("time", "x", "y", "moving")
_EXPECTED = ",".join(COLUMNS)


def touch_strokes(
    xy: np.ndarray, dt: np.ndarray, moving: np.ndarray | None, location: str, repaired: list[Remark]
) -> Drawing:
    """Return the strokes of a performance; each stroke is an array (n, 3) of points (x, y, time).

    Args:
        xy: positions, (T, 2).
        dt: times since the preceding row, in seconds, (T,).
        moving: column `moving`, (T,); None if the file does not have this column.
        location: file and record, for messages.
        repaired: list to which remarks on clamped values are appended.
    """
    touch_down = dt > MAX_MOVE_DT if moving is None else moving == 0
    dt = clamp_dt(dt, MAX_DT, location, repaired, _TOLERANCE)
    xy = clamp(xy, (0, 1), "off the screen", location, repaired, _TOLERANCE)
    return np.split(np.column_stack([xy, np.cumsum(dt)]), np.flatnonzero(touch_down[1:]) + 1)


def _find_columns(fields: list[bytes]) -> dict[str, int] | None:
    """Return the index of each used column if the fields are a header; None if they are not."""
    names = [field.decode("latin1").strip('"').lower() for field in fields]
    return {name: names.index(name) for name in _USED_COLUMNS} if set(_USED_COLUMNS) <= set(names) else None


def _default_columns() -> dict[str, int]:
    return {name: COLUMNS.index(name) for name in _USED_COLUMNS}


def _parse_row(fields: list[bytes], columns: dict[str, int]) -> tuple[float, ...]:
    row = tuple(parse_finite(fields[columns[name]]) for name in _USED_COLUMNS)
    if row[-1] not in (0, 1):
        raise ValueError(f"moving is {row[-1]}; expected 0 or 1")
    return row


def _recognizes_csv(path: Path, head: bytes) -> bool:
    """Return whether the file has the header, or is a `.csv` without header that begins with rows of a performance."""
    text = head.lstrip()
    if _find_columns([field.strip() for field in text.partition(b"\n")[0].split(b",")]):
        return True
    if path.suffix.lower() != ".csv":
        return False
    lines = text.splitlines()[: -1 if len(head) >= HEAD_BYTES else None]  # the last line may be incomplete
    rows = [line.split(b",") for line in lines[:_INSPECTED_ROWS] if line.strip()]
    try:
        time, x, y, moving = np.array([_parse_row(row, _default_columns()) for row in rows]).T
    except (ValueError, LookupError):
        return False
    is_performance = moving[0] == 0 and time[0] >= 0 and (time[1:] >= time[:-1]).all()
    on_screen = min(x.min(), y.min()) >= -1 and max(x.max(), y.max()) <= 2
    return bool(is_performance and on_screen) and all(len(row) == len(COLUMNS) for row in rows)


def _parse_csv(path: Path) -> DrawingBatch:
    rows: list[tuple[float, ...]] = []
    bad: list[int] = []
    columns = None
    for number, fields in read_fields(path):
        if columns is None:
            columns = _find_columns(fields)
            if columns:
                continue
            columns = _default_columns()
        try:
            rows.append(_parse_row(fields, columns))
        except (ValueError, LookupError):
            bad.append(number)
    repaired = describe_bad_lines(path, bad, _EXPECTED)
    if not rows:
        return single_drawing(path, [], repaired, _EXPECTED)
    time, x, y, moving = np.array(rows).T
    with np.errstate(over="ignore"):
        dt = np.diff(time, prepend=0)
    strokes = touch_strokes(np.column_stack([x, y]), dt, moving, str(path), repaired)
    return single_drawing(path, strokes, repaired, _EXPECTED)


def _recognizes_arrays(path: Path, head: bytes) -> bool:
    """Return whether the file has an array `raw_perfs`, or a single array with rows (x, y, dt[, moving])."""
    return find_key(path, head) == TOUCHES


def _array_chunks(path: Path) -> Iterator[ArrayChunk]:
    return read_array_chunks(path, TOUCHES)


def _parse_arrays(chunk: ArrayChunk) -> DrawingBatch:
    dropped: list[Remark] = []
    repaired: list[Remark] = []
    drawings = []
    for location, rows in select_records(chunk, (3, 4), "(T, 3) or (T, 4), rows of (x, y, dt[, moving])", dropped):
        moving = rows[:, 3] if rows.shape[1] == 4 else None
        if moving is not None and not np.isin(moving, (0, 1)).all():
            row = int((~np.isin(moving, (0, 1))).argmax())
            dropped.append(Remark("bad moving", f"{location} has moving {moving[row]:g} in row {row}; expected 0 or 1"))
            continue
        strokes = touch_strokes(rows[:, :2], rows[:, 2], moving, location, repaired)
        drawings.append((strokes, Record(location)))
    return DrawingBatch.from_polylines(drawings, dropped, repaired)


def write(corpus: Corpus, path: Path) -> None:
    """Write touch performances as MicroJam CSV files.

    If `path` ends in `.csv`, the only sequence of the corpus is written to this file. Otherwise `path` is a new folder
    with one file per sequence, named 000000.csv, 000001.csv, ... in the order of the sequences. Labels are lost.
    Numbers have 12 significant digits. If all values are within the bounds of the reader, the reader restores steps
    with errors of at most 1e-9, and positions on the grid exactly.

    Raises:
        InputError: the corpus does not consist of touch performances, or `path` ends in `.csv` and the number of
            sequences is not 1.
    """
    name = corpus.metadata.name
    if corpus.metadata.start != "up" or corpus.motion.shape[1] != 3:
        raise InputError(
            f"{name}: received {quantity(corpus.motion.shape[1], 'features')} per step and the pen "
            f"{corpus.metadata.start} at the start, expected touch performances (features dx, dy, dt; pen up at the "
            "start); choose another format"
        )
    if path.suffix.lower() == ".csv":
        if len(corpus) != 1:
            raise InputError(
                f"{path}: received {len(corpus)} performances, expected 1 for .csv; omit .csv to write a folder"
            )
        write_bytes(path, _to_csv(corpus, 0))
        return
    make_folder(path.parent)
    with atomic_path(path) as folder:
        folder.mkdir()
        for i in range(len(corpus)):
            (folder / f"{i:06}.csv").write_bytes(_to_csv(corpus, i))


def _to_csv(corpus: Corpus, index: int) -> bytes:
    motion, event = corpus[index][:2]
    points = np.cumsum(np.asarray(motion, np.float64), axis=0)
    moving = np.concatenate([[0], np.asarray(event)[:-1] == DOWN]).astype(int)
    rows = [f"{t:.12g},{x:.12g},{y:.12g},{_CONTACT_SIZE},{m}" for (x, y, t), m in zip(points, moving, strict=True)]
    return "\n".join([_EXPECTED, *rows, ""]).encode()


CSV = Format("MicroJam CSV", (".csv",), _recognizes_csv, single_chunk, _parse_csv, LAYOUT)
ARRAYS = Format(
    "MicroJam arrays",
    (".npz", ".npy"),
    _recognizes_arrays,
    _array_chunks,
    _parse_arrays,
    LAYOUT,
    default_label="file",
)
