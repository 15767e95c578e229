"""MicroJam: touch performances of up to 5 seconds, as CSV files, one each, and as arrays of many.

A CSV has the header `time,x,y,z,moving`: seconds from the start, the place on a screen of 0 to 1, y down, the size of
the finger's print, which is not learned from, and whether the touch moved. moving 0 is a touch-down, so it marks a
stroke's start; the first row is one in any case. Arrays hold rows (x, y, dt, moving), or (x, y, dt), where a touch
came down if dt is over 0.1 s, as in RoboJam (Martin and Torresen 2018).

Real performances do not keep to that: dt of up to 2328 s, some negative, touches dragged off the screen. As RoboJam
does, dt is clamped to 5 s and x, y to 0 to 1, and each performance in which that was so is told of. One tap is a
performance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import HEAD_BYTES, Format, StepLayout, single_chunk
from mdnrnn.data.formats.impsy import TOUCHES, Chunk, read_array_chunks, find_key, select_records
from mdnrnn.data.formats.streams import bad_lines, clamped, finite, lines, one_drawing, waits
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN
from mdnrnn.files import atomic_path, write_bytes

KIND = StepLayout(start="up", features=("dx", "dy", "dt"), units="screen, s", grid=1 / 1024)
"""About a pixel of the screens that were played on: finer, a place would be told more exactly than it was meant."""
MAX_DT = 5.0
LONGEST_MOVE = 0.1
"""After a wait of more, in seconds, a touch has come down, where nothing else tells."""
PRINT = 38.0
"""The z of every touch that we write, as RoboJam writes it."""
_ROUNDING = 1e-4
"""How far out of bounds a number is no news: places that were summed up from offsets in float32."""
_ROWS_TO_SEE = 64
_COLUMNS = ["time", "x", "y", "z", "moving"]
_USED = ("time", "x", "y", "moving")
_EXPECTED = ",".join(_COLUMNS)


def _touches(
    xy: np.ndarray, dt: np.ndarray, moving: np.ndarray | None, where: str, mends: list[Remark]
) -> list[np.ndarray]:
    """Strokes (n, 3) of (x, y, t) from places (T, 2), dt (T,), and whether each row moved (T,), if that is known."""
    down = dt > LONGEST_MOVE if moving is None else moving == 0
    dt = waits(dt, MAX_DT, where, mends, _ROUNDING)
    xy = clamped(xy, (0, 1), "off the screen", where, mends, _ROUNDING)
    return np.split(np.column_stack([xy, np.cumsum(dt)]), np.flatnonzero(down[1:]) + 1)


def _columns(fields: list[bytes]) -> dict[str, int] | None:
    """Where the columns are, if these fields are a header."""
    names = [field.decode("latin1").strip('"').lower() for field in fields]
    return {name: names.index(name) for name in _USED} if set(_USED) <= set(names) else None


def _row(fields: list[bytes], columns: dict[str, int]) -> tuple[float, ...]:
    row = tuple(finite(fields[columns[name]]) for name in _USED)
    if row[-1] not in (0, 1):
        raise ValueError("it neither moves nor comes down")
    return row


def _recognizes_csv(path: Path, head: bytes) -> bool:
    """Whether its first line is the header, or in a .csv without one the first lines are rows of a performance."""
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _columns([field.strip() for field in begin.partition(b"\n")[0].split(b",")]):
        return True
    if path.suffix.lower() != ".csv":
        return False
    begun = begin.splitlines()[: -1 if len(head) >= HEAD_BYTES else None]  # Where the head ends, a line may be cut.
    rows = [row.split(b",") for row in begun[:_ROWS_TO_SEE] if row.strip()]
    try:
        time, x, y, moving = np.array([_row(row, _default_columns()) for row in rows]).T
    except (ValueError, LookupError):
        return False
    performed = moving[0] == 0 and time[0] >= 0 and (time[1:] >= time[:-1]).all()
    on_screen = min(x.min(), y.min()) >= -1 and max(x.max(), y.max()) <= 2
    return bool(performed and on_screen) and all(len(row) == len(_COLUMNS) for row in rows)


def _default_columns() -> dict[str, int]:
    return {name: _COLUMNS.index(name) for name in _USED}


def _parse_csv(path: Path) -> DrawingBatch:
    rows: list[tuple[float, ...]] = []
    bad: list[int] = []
    columns = None
    for number, fields in lines(path):
        if columns is None:
            columns = _columns(fields)
            if columns:
                continue
            columns = _default_columns()
        try:
            rows.append(_row(fields, columns))
        except (ValueError, LookupError):
            bad.append(number)
    mends = bad_lines(path, bad, _EXPECTED)
    if not rows:
        return one_drawing(path, [], mends, _EXPECTED)
    time, x, y, moving = np.array(rows).T
    with np.errstate(over="ignore"):
        dt = np.diff(time, prepend=0)
    strokes = _touches(np.column_stack([x, y]), dt, moving, str(path), mends)
    return one_drawing(path, strokes, mends, _EXPECTED)


def _recognizes_arrays(path: Path, head: bytes) -> bool:
    """Whether it has an array called `raw_perfs`, or a single one of rows like those of MicroJam."""
    return find_key(path, head) == TOUCHES


def _array_chunks(path: Path) -> Iterator[Chunk]:
    return read_array_chunks(path, TOUCHES)


def _parse_arrays(chunk: Chunk) -> DrawingBatch:
    drops: list[Remark] = []
    mends: list[Remark] = []
    drawings = []
    for where, rows in select_records(chunk, (3, 4), "(T, 3) or (T, 4), rows of (x, y, dt[, moving])", drops):
        moving = rows[:, 3] if rows.shape[1] == 4 else None
        if moving is not None and not np.isin(moving, (0, 1)).all():
            row = int((~np.isin(moving, (0, 1))).argmax())
            drops.append(Remark("bad moving", f"{where} has moving {moving[row]:g} in row {row}; expected 0 or 1"))
            continue
        drawings.append((_touches(rows[:, :2], rows[:, 2], moving, where, mends), Record(where)))
    return DrawingBatch.from_polylines(drawings, drops, mends)


def write(corpus: Corpus, path: Path) -> None:
    """MicroJam's own CSV: a file where `path` ends in .csv and there is one sequence, else a folder of files
    000000.csv and so on, in order, without labels. Numbers have 12 digits: read again, steps are the same to 1e-9 as
    long as they are within bounds; a corpus of them has its places on the grid."""
    if corpus.metadata.start != "up" or corpus.motion.shape[1] != 3:
        raise InputError(
            f"{corpus.metadata.name} holds no touch performances: steps have {corpus.motion.shape[1]} features and start "
            f"{corpus.metadata.start}; expected (dx, dy, dt) and start up; choose another format"
        )
    if path.suffix.lower() == ".csv":
        if len(corpus) != 1:
            raise InputError(
                f"{path}: a .csv is one performance, {corpus.metadata.name} holds {len(corpus)}; name a folder"
            )
        write_bytes(path, _csv(corpus, 0))
        return
    with atomic_path(path) as folder:
        folder.mkdir()
        for i in range(len(corpus)):
            write_bytes(folder / f"{i:06}.csv", _csv(corpus, i))


def _csv(corpus: Corpus, index: int) -> bytes:
    motion, event = corpus[index][:2]
    points = np.cumsum(np.asarray(motion, np.float64), axis=0)
    moving = np.concatenate([[0], np.asarray(event)[:-1] == DOWN])
    rows = [
        f"{t:.12g},{x:.12g},{y:.12g},{PRINT},{m:d}" for (x, y, t), m in zip(points, moving.astype(int), strict=True)
    ]
    return "\n".join([_EXPECTED, *rows, ""]).encode()


CSV = Format("MicroJam CSV", (".csv",), _recognizes_csv, single_chunk, _parse_csv, KIND)
ARRAYS = Format(
    "MicroJam arrays", (".npz", ".npy"), _recognizes_arrays, _array_chunks, _parse_arrays, KIND, default_label="file"
)
