"""Reader of UNIPEN 1.0: text files of statements that begin with a dot and a keyword at the start of a line.

Drawings. Each .SEGMENT statement has a level, such as WORD or CHARACTER. The drawings are the segments of one level:
the finest level with labels. .HIERARCHY lists the levels from coarse to fine, and the finest level with labels is the
last level in this list that has a labeled segment. If the list contains no such level, the level with the most labeled
segments is used. If the file has no labels, the same rules apply to the levels of all segments. The label of a segment
is the class of the drawing if the level consists of single characters; otherwise the label is the text of the drawing.
A file without segments is one drawing. A file can contain several sets, each of which begins with .START_SET. A set
without segments of the finest level uses its own finest level. A set without any segments is one drawing without a
label. Upper and lower case of keywords and levels do not matter.

Components. A component is a .PEN_DOWN or .PEN_UP statement with points. All components, with the pen down or up, are
numbered in one sequence. The sequence starts from 0 at the start of the file, and again after each .START_SET
(unipen.def, Guyon 1994). Only .PEN_DOWN components are strokes. A segment has ranges of components: for example,
`1:40-3,5,6:0-6:12` is component 1 from point 40, all of components 2, 3 and 5, and points 0 to 12 of component 6.
Points are numbered from 0. A range includes its last point and may extend past the end of the component. A segment
without ranges has all components between its statement and the next .SEGMENT of the same level. Strokes that no segment
contains are counted as lost.

Direction of y. In nearly all collections, y points up, as .H_LINE implies, and is therefore negated. There are two
exceptions. y is not negated if a .COMMENT, .DATA_INFO, .PAD or .SETUP of the file says that y points, grows or
increases down, or that the origin is at the top left; the words "pen down" do not count. y is also not negated in the
files of UJI Pen Characters, version 1 (UJIpenchars-w01, ...; Llorens et al. 2008), in which y points down.

Includes. The file that is imported is the top file. A file named by .INCLUDE is searched in the folder of the including
file, and then in all folders named `include` that are in the folder of the top file or in a parent of this folder.
Collections store their points in such folders. A backslash in a name is read as a slash. A name that does not exist is
searched again, ignoring upper and lower case. It is an error if the file is neither in the folder of the top file nor
in one of the `include` folders. A missing file is ignored, because Pendigits refers to a file that was never published.
Included files are not searched in archives.
Files in a folder `include` are not imported as top files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.unipen_file import ComponentSet, Segment, UnipenFile
from mdnrnn.data.strokes import Drawing, Polyline
from mdnrnn.errors import DataError

_MAX_REPETITION = 4
"""Maximum average number of segments that contain a point. Segments of one level normally do not overlap."""
_CHARACTER_LEVELS = ("CHARACTER", "CHAR", "LETTER", "DIGIT", "GLYPH", "SYMBOL", "GESTURE", "KEY")
_Y_DOWN_NAMES = ("ujipenchars",)
"""Beginnings of the names of files in which y points down although no statement says so."""
_FIRST_STATEMENT = re.compile(rb"\s*\.[A-Z][A-Z_]*\s", re.IGNORECASE)
_UNIPEN_STATEMENT = re.compile(
    rb"^\.(VERSION|DATA_SOURCE|HIERARCHY|COORD|SEGMENT|PEN_DOWN|LEXICON|START_SET)\s", re.MULTILINE
)
_LOWER_CASE_STATEMENT = re.compile(
    rb"^\.(?:pen_down|pen_up|start_set|data_source|coord)\s", re.MULTILINE | re.IGNORECASE
)
"""Statements that are specific to UNIPEN even in lower case. Lower-case `.version` and `.segment` are excluded, because
assembler files contain them, too."""
_RANGE = re.compile(r"(\d{1,9})(?::(\d{1,9}))?(?:-(\d{1,9})(?::(\d{1,9}))?)?")

_Piece = tuple[Polyline, bool]
"""Consecutive points of one component, and whether the pen is down."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether `head` has a statement that is specific to UNIPEN, and `path` is not in a folder `include`."""
    return not any(part.lower() == "include" for part in path.parts[:-1]) and is_unipen(head)


def is_unipen(head: bytes) -> bool:
    """Return whether the first bytes of a file begin with a statement and contain a statement specific to UNIPEN."""
    is_specific = _UNIPEN_STATEMENT.search(head) or _LOWER_CASE_STATEMENT.search(head)
    return bool(_FIRST_STATEMENT.match(head) and is_specific)


def _parse(path: Path) -> DrawingBatch:
    file = UnipenFile(path)
    file.read()
    y_points_down = file.y_points_down or path.name.lower().startswith(_Y_DOWN_NAMES)
    points_left = _MAX_REPETITION * sum(len(component.points) for part in file.sets for component in part.components)
    drawings: list[tuple[Drawing, Record]] = []
    dropped: list[Remark] = []
    level = file.finest_level()
    for number, (segment, pieces) in enumerate(_all_segments(file)):
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
                    strokes.append(points if y_points_down else points * (1, -1))
        except _SegmentError as error:
            dropped.append(Remark("malformed segment", f"{location} {error}"))
            continue
        # A set without segments has the label "", no class. With None, the class would be the name of the folder.
        is_character = (segment.level or level) in _CHARACTER_LEVELS
        label = segment.label or (None if segment.level or not is_character else "")
        record = Record(location, label=label) if is_character else Record(location, text=label)
        drawings.append((strokes, record))
    outside = sum(_count_outside(part, level) for part, level in _sets_with_levels(file) if level is not None)
    lost = lost_remarks({**file.lost, "strokes outside segments": outside}, str(path))
    return DrawingBatch.from_polylines(drawings, dropped, file.repaired, lost)


def _count_outside(part: ComponentSet, level: str) -> int:
    """Return the number of pen-down components that have points and that no segment of `level` contains."""
    # Number of segments that begin at each component, minus the number of segments that end before this component.
    changes = np.zeros(len(part.components) + 1, np.int64)
    for segment, end in _segments_of_level(part, level):
        ranges = [(segment.first_component, end)]
        if segment.extent is not None:
            matches = filter(None, map(_RANGE.fullmatch, segment.extent.split(",")))
            ranges = [(int(match[1]), int(match[3] or match[1]) + 1) for match in matches]
        for first, stop in ranges:
            changes[min(first, len(part.components))] += 1
            changes[min(stop, len(part.components))] -= 1
    covered = np.cumsum(changes)[:-1] > 0
    strokes = [component.is_pen_down and len(component.points) > 0 for component in part.components]
    return int(np.count_nonzero(np.array(strokes, bool) & ~covered))


class _SegmentError(Exception):
    """A segment is malformed."""


def _sets_with_levels(file: UnipenFile) -> Iterator[tuple[ComponentSet, str | None]]:
    """Yield each set with the level of its drawings; the level is None for a set without segments.

    The level is the finest level of the file. For a set without segments of this level, the level is the finest level
    of the set.
    """
    level = file.finest_level()
    for part in file.sets:
        has_level = any(segment.level == level for segment in part.segments)
        yield part, level if has_level else part.finest_level(file.hierarchy)


def _all_segments(file: UnipenFile) -> Iterator[tuple[Segment, Iterator[_Piece]]]:
    """Yield each segment that is a drawing, with its pieces (see `_Piece`).

    A set without segments is one segment without a label. If no set has segments, the whole file is one segment.
    """
    sets = list(_sets_with_levels(file))
    if all(level is None for _, level in sets):
        sets = [(ComponentSet([component for part, _ in sets for component in part.components], []), None)]
    for part, level in sets:
        if level is None and (part.components or len(sets) == 1):
            yield Segment("", None, None, 0), _range_pieces(part, 0, 0, len(part.components) - 1, None)
        elif level is not None:
            yield from _level_pieces(part, level)


def _level_pieces(part: ComponentSet, level: str) -> Iterator[tuple[Segment, Iterator[_Piece]]]:
    for segment, end in _segments_of_level(part, level):
        if segment.extent is None:
            yield segment, _range_pieces(part, segment.first_component, 0, end - 1, None)
        else:
            yield segment, _extent_pieces(part, segment)


def _segments_of_level(part: ComponentSet, level: str) -> Iterator[tuple[Segment, int]]:
    """Yield each segment of a level, with the number of the first component of the next segment of this level.

    For the last segment, this number is the number of components.
    """
    segments = [segment for segment in part.segments if segment.level == level]
    ends = [segment.first_component for segment in segments[1:]] + [len(part.components)]
    yield from zip(segments, ends, strict=True)


def _extent_pieces(part: ComponentSet, segment: Segment) -> Iterator[_Piece]:
    extent = segment.extent or ""
    for text in extent.split(","):
        match = _RANGE.fullmatch(text)
        if not match or int(match[3] or match[1]) < int(match[1]):
            found = "in an included file" if segment.is_included else repr(extent[:40])
            raise _SegmentError(f"has the components {found}; expected a list such as 1:40-3,5")
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
        count = len(part.components)
        expected = f"expected numbers from 0 to {count - 1}" if count else "the set has none"
        raise _SegmentError(f"has components {first} to {last}; {expected}")
    for number in range(first, last + 1):
        component = part.components[number]
        points = component.points
        if component.error:
            raise _SegmentError(f"has component {number}, which {component.error}")
        stop = len(points) if end is None or number < last else end + 1
        selected = points[begin if number == first else 0 : stop]
        if not len(selected):
            start = begin if number == first else 0
            raise _SegmentError(
                f"selects no point of component {number}: received the range {start} to {stop - 1}, but its "
                f"{len(points)} points are numbered from 0"
            )
        yield selected, component.is_pen_down


FORMAT = Format("UNIPEN", (".dat", ".unp", ".unipen"), _recognizes, single_chunk, _parse, default_label="folder")
