"""Reader of UJI Pen Characters, version 2: one text file with many drawings of characters.

Format (https://archive.ics.uci.edu/dataset/177; Llorens et al. 2008): lines that begin with // are comments. A drawing
is

    WORD ; trn_UJI_W03-01
      NUMSTROKES 2
      POINTS 3 # 541 1001 540 987 530 977
      POINTS 2 # 518 1227 471 1312

`WORD` gives the character, which is the class of the drawing, and the session. The session consists of the split (trn
or tst), the site and number of the writer, and the number of the repetition. `POINTS` gives the number of points of a
stroke, then x and y of each point, with y pointing down. A millimeter is 100 units at the site UJI and 152 units at the
site UPV; positions are not converted.

Version 1 (files UJIpenchars-w01, ...) is in UNIPEN format, see `unipen.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format, decode_text, read_bounded, single_chunk
from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import quantity

_MAX_BYTES = 64 << 20
_BEGINNING = re.compile(rb"^[ \t]*WORD[ \t]+\S+[^\n]*\n\s*NUMSTROKES[ \t]+\d", re.MULTILINE)
_WORD = re.compile(r"^[ \t]*WORD(?=[ \t])", re.MULTILINE)
_SESSION = re.compile(r"(trn|tst)_(\w+?_W\d+)-\d+")
_SPLITS = {"trn": "train", "tst": "test"}


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether a line WORD in `head` is followed by a line NUMSTROKES."""
    return b"NUMSTROKES" in head and _BEGINNING.search(head) is not None


def _parse(path: Path) -> DrawingBatch:
    text = decode_text(read_bounded(path, _MAX_BYTES))
    drawings: list[tuple[Drawing, Record]] = []
    dropped: list[Remark] = []
    for number, block in enumerate(_blocks(text)):
        location = f"{path}, drawing {number}"
        try:
            drawings.append(_parse_block(block, location))
        except ValueError as error:
            dropped.append(Remark("malformed drawing", f"{location} {error}"))
    return DrawingBatch.from_polylines(drawings, dropped)


def _blocks(text: str) -> Iterator[str]:
    """Yield the text of each drawing: the text between its keyword WORD and the next keyword WORD."""
    bounds = [*_WORD.finditer(text), None]
    for match, following in pairwise(bounds):
        if match:
            yield text[match.end() : following.start() if following else len(text)]


def _parse_block(block: str, location: str) -> tuple[Drawing, Record]:
    """Return the strokes and the record of a drawing; raise `ValueError` if it is malformed."""
    lines = [line.strip() for line in block.splitlines()]
    header, *rest = [line for line in lines if line and not line.startswith("//")] or [""]
    label, session = names if len(names := header.split()) == 2 else ("", "")
    if not label or not rest:
        raise ValueError(f"begins {header[:40]!r}; expected a character, a session, and NUMSTROKES")
    keyword, _, count = rest[0].partition(" ")
    if keyword != "NUMSTROKES" or count.strip() != str(len(rest) - 1):
        raise ValueError(
            f"has {quantity(len(rest) - 1, 'stroke lines')} below {rest[0][:40]!r}; expected NUMSTROKES, followed by "
            "the number of stroke lines"
        )
    known = _SESSION.fullmatch(session)
    record = Record(
        location, label=label, split=_SPLITS[known[1]] if known else None, writer=known[2] if known else None
    )
    return [_parse_stroke(line) for line in rest[1:]], record


def _parse_stroke(line: str) -> np.ndarray:
    """Return the points of a stroke, (n, 2); raise `ValueError` if the line is malformed."""
    if len(line) > 16 * MAX_POINTS:
        raise ValueError(f"has a stroke of over {MAX_POINTS} points; split it")
    start, _, values = line.partition("#")
    expected = "expected POINTS, a number n, # and 2 n numbers"
    keyword, *count = start.split()
    try:
        points = np.array(values.split(), np.float64).reshape(-1, 2)
    except ValueError as error:
        raise ValueError(f"has a stroke {line[:40]!r}; {expected}") from error
    if keyword != "POINTS" or count != [str(len(points))]:
        raise ValueError(f"has a stroke {line[:40]!r} with {len(points)} points; {expected}")
    return points


FORMAT = Format("UJI Pen Characters", (".txt",), _recognizes, single_chunk, _parse, default_label=None)
