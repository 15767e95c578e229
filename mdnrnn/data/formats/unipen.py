"""Reader of UNIPEN 1.0: text files of statements that begin with a dot and a keyword at the start of a line.

Drawings. A drawing is a .SEGMENT of the finest level that has labels. The finest level is the last level with labels in
.HIERARCHY or, if .HIERARCHY contains no level with labels, the level with the most labeled segments. If no segment has
a label, the finest of all levels is used. The label of the segment is the class of the drawing if the segments of the
level are single characters; otherwise it is the text of the drawing. A file without segments is one drawing.

Components. The .PEN_DOWN and .PEN_UP statements that have points are the components. They are numbered together, from 0
at the start of the file and again from 0 after each .START_SET (unipen.def, Guyon 1994). Only .PEN_DOWN components are
strokes. A segment has ranges of components: `1:40-3,5,6:0-6:12` is component 1 from point 40, all of components 2, 3
and 5, and points 0 to 12 of component 6. Points are numbered from 0. A range includes its last point and may extend
past the end of the component. A segment without ranges has all components between its statement and the next segment
of the same level.

Direction of y. Y points up in nearly all collections, as .H_LINE implies, and is negated. Y is not negated if a
.COMMENT, .DATA_INFO, .PAD or .SETUP of the file says that y points, grows or increases down, or that the origin is at
the top left. The words "pen down" are ignored.

Includes. A file named by .INCLUDE is searched relative to the including file, and in folders named `include` in the
folder of the top file or in its parents, where the collections store their points. A file outside of the folder of the
top file and of these folders `include` is an error. A missing file is ignored, because Pendigits refers to a file that
was never published. Files in a folder `include` are read only through .INCLUDE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.unipen_file import ComponentSet, Segment, UnipenFile
from mdnrnn.data.strokes import Drawing, Polyline
from mdnrnn.errors import DataError

_MAX_REPETITION = 4
"""Maximum average number of segments that contain a point. Segments of one level normally do not overlap."""
_CHARACTER_LEVELS = ("CHARACTER", "CHAR", "LETTER", "DIGIT", "GLYPH", "SYMBOL", "GESTURE", "KEY")
_FIRST_STATEMENT = re.compile(rb"\s*\.[A-Z][A-Z_]*\s")
_UNIPEN_STATEMENT = re.compile(
    rb"^\.(VERSION|DATA_SOURCE|HIERARCHY|COORD|SEGMENT|PEN_DOWN|LEXICON|START_SET)\s", re.MULTILINE
)
_RANGE = re.compile(r"(\d{1,9})(?::(\d{1,9}))?(?:-(\d{1,9})(?::(\d{1,9}))?)?")

_Piece = tuple[Polyline, bool]
"""Consecutive points of one component, and whether the pen is down."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether `head` has a statement that is specific to UNIPEN, and `path` is not in a folder `include`."""
    return "include" not in path.parts[:-1] and bool(_FIRST_STATEMENT.match(head) and _UNIPEN_STATEMENT.search(head))


def _parse(path: Path) -> DrawingBatch:
    file = UnipenFile(path)
    file.read()
    level = file.finest_level()
    points_left = _MAX_REPETITION * sum(len(component.points) for part in file.sets for component in part.components)
    drawings: list[tuple[Drawing, Record]] = []
    dropped: list[Remark] = []
    for number, (segment, pieces) in enumerate(_all_segments(file, level)):
        location = str(path) if level is None else f"{path}, segment {number}"
        strokes = []
        try:
            for points, is_pen_down in pieces:
                points_left -= len(points)
                if points_left < 0:
                    raise DataError(
                        f"{path}: its segments contain each point over {_MAX_REPETITION} times on average; "
                        "the file is damaged"
                    )
                if is_pen_down:
                    strokes.append(points if file.y_points_down else points * (1, -1))
        except _SegmentError as error:
            dropped.append(Remark("malformed segment", f"{location} {error}"))
            continue
        is_character = segment.level.upper() in _CHARACTER_LEVELS
        label = segment.label or None
        record = Record(location, label=label) if is_character else Record(location, text=label)
        drawings.append((strokes, record))
    return DrawingBatch.from_polylines(drawings, dropped, file.repaired)


class _SegmentError(Exception):
    """A segment is malformed."""


def _all_segments(file: UnipenFile, level: str | None) -> Iterator[tuple[Segment, Iterator[_Piece]]]:
    """Yield each segment of a level with its pieces. If `level` is None, yield one segment with all components."""
    if level is None:
        components = [component for part in file.sets for component in part.components]
        yield Segment("", None, None, 0), _range_pieces(ComponentSet(components, []), 0, 0, len(components) - 1, None)
        return
    for part in file.sets:
        segments = [segment for segment in part.segments if segment.level == level]
        ends = [segment.first_component for segment in segments[1:]] + [len(part.components)]
        for segment, end in zip(segments, ends, strict=False):
            if segment.extent is None:
                yield segment, _range_pieces(part, segment.first_component, 0, end - 1, None)
            else:
                yield segment, _extent_pieces(part, segment.extent)


def _extent_pieces(part: ComponentSet, extent: str) -> Iterator[_Piece]:
    for text in extent.split(","):
        match = _RANGE.fullmatch(text)
        if not match or int(match[3] or match[1]) < int(match[1]):
            raise _SegmentError(f"has the components {extent[:40]!r}; expected a list such as 1:40-3,5")
        first, begin, last, end = match.groups()
        yield from _range_pieces(
            part, int(first), int(begin or 0), int(last or first), None if end is None else int(end)
        )


def _range_pieces(part: ComponentSet, first: int, begin: int, last: int, end: int | None) -> Iterator[_Piece]:
    """Yield the pieces of a range of components.

    Args:
        part: components with a common numbering.
        first: number of the first component.
        begin: number of the first point in the first component.
        last: number of the last component.
        end: number of the last point in the last component; None: all points.
    """
    if last >= len(part.components):
        raise _SegmentError(f"has components {first} to {last}; expected numbers from 0 to {len(part.components) - 1}")
    for number in range(first, last + 1):
        points, is_pen_down, error = part.components[number]
        if error:
            raise _SegmentError(f"has component {number}, which {error}")
        stop = len(points) if end is None or number < last else end + 1
        selected = points[begin if number == first else 0 : stop]
        if not len(selected):
            raise _SegmentError(f"has no points of component {number} from {begin} to {stop - 1}; it has {len(points)}")
        yield selected, is_pen_down


FORMAT = Format("UNIPEN", (".dat", ".unp", ".unipen"), _recognizes, single_chunk, _parse, default_label="folder")
