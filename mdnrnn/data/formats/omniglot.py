"""Reader of the strokes of Omniglot: one text file per drawing (https://github.com/brendenlake/omniglot; Lake 2015).

A file begins with the line START. Each further line is a point `x,y,t`, or BREAK at the end of a stroke. Positions are
in pixels of the image (105 x 105). y points up in the file and is negated. The time t, in milliseconds, is not imported
and is counted as lost.

For example, the file strokes_background/Greek/character01/0394_07.txt contains a drawing by the seventh writer of
Greek. The class is Greek/character01, with the alphabet, because each alphabet has a character01. If the folder of a
file is not named characterNN, the class is the name of the folder.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats.format import Format, read_bounded, single_chunk
from mdnrnn.data.strokes import Drawing

_MAX_BYTES = 64 << 20
_START = re.compile(rb"\s*START[ \t]*\r?\n\s*(?:BREAK\b|[-+.\d][^\s,]*,[ \t]*[-+.\d])")
_CHARACTER = re.compile(r"character\d+")
_FILE = re.compile(r"\d+_(\d+)")


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file begins with START and a point."""
    return _START.match(head) is not None


def _parse(path: Path) -> DrawingBatch:
    lines = read_bounded(path, _MAX_BYTES).removeprefix(codecs.BOM_UTF8).split(b"\n", MAX_POINTS)
    try:
        strokes, has_times = _parse_strokes(lines)
    except ValueError as error:
        return DrawingBatch.from_polylines([], [Remark("malformed point", f"{path}{error}")])
    count = sum(map(len, strokes)) if has_times else 0
    lost = lost_remarks({"time values": count}, str(path))
    return DrawingBatch.from_polylines([(strokes, _make_record(path))], lost=lost)


def _parse_strokes(lines: list[bytes]) -> tuple[Drawing, bool]:
    """Return the strokes, and whether any point has a time; raise `ValueError` if a line is malformed."""
    strokes: list[list[tuple[float, ...]]] = [[]]
    has_times = False
    for number, line in enumerate(lines, 1):
        fields = line.strip().split(b",", 3)
        if fields == [b""] or fields == [b"START"]:
            continue
        if fields == [b"BREAK"]:
            strokes.append([])
            continue
        try:
            x, y = float(fields[0]), float(fields[1])
        except (ValueError, IndexError) as error:
            start = line[:40].decode("utf-8", "replace")
            raise ValueError(f", line {number} is {start!r}; expected x,y,t or BREAK") from error
        has_times |= len(fields) > 2
        strokes[-1].append((x, -y))
    return [np.array(stroke) for stroke in strokes if stroke], has_times


def _make_record(path: Path) -> Record:
    folder = path.absolute().parent
    if not _CHARACTER.fullmatch(folder.name):
        return Record(str(path))
    writer = _FILE.fullmatch(path.stem)
    alphabet = folder.parent.name
    return Record(str(path), label=f"{alphabet}/{folder.name}", writer=f"{alphabet}/{writer[1]}" if writer else None)


FORMAT = Format("Omniglot strokes", (".txt",), _recognizes, single_chunk, _parse, default_label="folder")
