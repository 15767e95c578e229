"""Reader of Lightpad logs. The header is `time,ip,message`; an example of a row is `34.2, 127.0.0.1, /block 29 88 4`.

A log is read as a stream of rows (dt, x, y, z). dt is the time in seconds since the preceding row, or 0 in the first
row. The position (x, y) and the pressure z range from 0 to 127. Rows are not divided into strokes, because a pressure
of 0 does not reliably mark the end of a touch.
"""

from __future__ import annotations

import re
from array import array
from pathlib import Path

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.streams import STREAM_LAYOUT, Row, parse_finite, read_stream

_HEADER = [b"time", b"ip", b"message"]
_FIRST_LINE = re.compile(rb"\s*(time\s*,\s*ip\s*,\s*message\s*$|[\d.]+\s*,\s*[\d.]+\s*,\s*/block\s)", re.MULTILINE)


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file begins with the header or with a line of the log."""
    return _FIRST_LINE.match(head) is not None


def _parse_row(fields: list[bytes]) -> Row | None:
    if fields == _HEADER:
        return None
    time, _, message = fields
    address, *values = message.split()
    if address != b"/block" or len(values) != 3 or not abs(seconds := float(time)) < 1e9:
        raise ValueError("no position and pressure")
    return round(seconds * 1e6), array("d", map(parse_finite, values))


def _parse(path: Path) -> DrawingBatch:
    return read_stream(path, _parse_row, "time, ip, /block x y z")


FORMAT = Format("Lightpad log", (".txt", ".log", ".csv"), _recognizes, single_chunk, _parse, STREAM_LAYOUT)
