"""UNIPEN 1.0: pen strokes as text, in which lines that start with a dot and a keyword say what follows.

A drawing is a .SEGMENT of the finest level that has labels: the last one in .HIERARCHY, or else that of the most
segments. What it says is the drawing's label where the level is one of single characters, else its text. A file
without segments is one drawing. Components are the .PEN_DOWN and .PEN_UP that have points, numbered together from 0
in each file and each .START_SET, as the definition has it (unipen.def, Guyon 1994); only those of .PEN_DOWN are
drawn. `1:40-3,5,6:0-6:12` is component 1 from point 40 on, all of 2, 3 and 5, and points 0 to 12 of component 6;
points are numbered from 0, a range contains its last point, and may end beyond the end. A segment that names no
components has all that come before the next segment.

Y grows upwards and is turned, as nearly all collections have it and .H_LINE implies; where a .COMMENT, .DATA_INFO,
.PAD or .SETUP of the file says that y grows, points, increases, ... down, or that the origin is at the top left, it
stays. A pen that is down says nothing of y.

.INCLUDE is looked for from the including file on, and in folders called `include` beside the file that is read or
beside a folder above it, where the collections keep their points. It never leads out of these folders, and what is
not there is done without: Pendigits names a file that nobody has. Files in `include` are not read by themselves.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format, read_bounded, single_chunk
from mdnrnn.data.strokes import Polyline
from mdnrnn.errors import DataError

_MOST_BYTES = 64 << 20
"""Of a file and all that it includes."""
_MOST_COMPONENT = 16 << 20
"""Characters of one component: a million points."""
_MOST_PROSE = 1 << 16
"""Characters of one statement that are searched for where y points."""
_MOST_PARTS = 1 << 18
"""Components, and segments."""
_DEEPEST, _MOST_INCLUDES, _FOLDERS_ABOVE = 8, 1000, 4
_OFTEN = 4
"""How often a point may be drawn on average: segments of one level hardly overlap."""
_CHARACTERS = ("CHARACTER", "CHAR", "LETTER", "DIGIT", "GLYPH", "SYMBOL", "GESTURE", "KEY")
_PROSE = (".COMMENT", ".DATA_INFO", ".PAD", ".SETUP")
_STATEMENT = re.compile(r"^\.[A-Z][A-Z_]*(?=\s|\Z)", re.MULTILINE)
_FIRST = re.compile(rb"\s*\.[A-Z][A-Z_]*\s")
_TELLING = re.compile(rb"^\.(VERSION|DATA_SOURCE|HIERARCHY|COORD|SEGMENT|PEN_DOWN|LEXICON|START_SET)\s", re.MULTILINE)
_Y_DOWN = re.compile(
    r"\by(?:[\s:=,()-]{1,8}(?:axis|axes|coordinates?|values?|direction|is|are|it|goes|go|going|runs?|running|points?"
    r"|pointing|grows?|growing|increas(?:es?|ing)|directed|oriented|measured|positive|the|from|top|to|zero|0)){0,8}"
    r"[\s:=,()-]{1,8}down(?:wards?)?\b(?![-/]|\s*(?:pen|sampl|scal|stroke))"
    r"|\borigin(?:[\s:=,()-]{1,8}(?:is|are|was|lies|located|at|in|on|the|of|coordinates?|axes|system|tablet|screen"
    r"|digitizer|page|paper|window|display|its|corner|0)){0,8}[\s:=,()-]{1,8}(?:(?:upper|top)[\s-]?left|left[\s-]top)\b"
    r"|\b(?:upper|top)[\s-]?left(?:\s(?:hand|corner|is|as|the|of|tablet|screen|page)){0,6}\sorigin\b",
    re.IGNORECASE,
)
"""A statement on the axis: between `y` and `down` no other words than those that make one."""
_SEGMENT = re.compile(r'\s*([^\s"]+)(?:\s+([^\s"]+))?(?:\s+([^\s"]+))?\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)")?', re.DOTALL)
_RANGE = re.compile(r"(\d{1,9})(?::(\d{1,9}))?(?:-(\d{1,9})(?::(\d{1,9}))?)?")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _recognizes(path: Path, head: bytes) -> bool:
    """Whether it begins with a keyword, and one that only UNIPEN has stands at the start of a line."""
    return "include" not in path.parts[:-1] and bool(_FIRST.match(head) and _TELLING.search(head))


class _Component(NamedTuple):
    points: Polyline
    drawn: bool
    fault: str = ""
    """Why it has no points, where it should have."""


class _Segment(NamedTuple):
    level: str
    extent: str | None
    """Which components, as written; None: those from `first` to the next segment."""
    label: str | None
    first: int
    """How many components stood before it."""


class _Set(NamedTuple):
    """What is numbered together."""

    components: list[_Component]
    segments: list[_Segment]


@dataclass
class _Ink:
    """All that a file and those that it includes say, gathered statement by statement."""

    path: Path
    sets: list[_Set] = field(default_factory=lambda: [_Set([], [])])
    hierarchy: list[str] = field(default_factory=list)
    coordinates: list[str] = field(default_factory=list)
    y_down: bool = False
    mends: list[Remark] = field(default_factory=list)
    bytes_left: int = _MOST_BYTES
    includes: int = 0
    parts: int = 0

    def read(self, path: Path, open_files: tuple[Path, ...]) -> None:
        """Take in a file; those that are being read are open, the outermost first."""
        data = read_bounded(path, self.bytes_left)
        self.bytes_left -= len(data)
        text = _decoded(data)
        keyword, start = "", 0
        for statement in _STATEMENT.finditer(text):
            self._take(keyword, text[start : statement.start()], open_files)
            keyword, start = statement[0], statement.end()
        self._take(keyword, text[start:], open_files)

    def _take(self, keyword: str, body: str, open_files: tuple[Path, ...]) -> None:
        if keyword in (".PEN_DOWN", ".PEN_UP"):
            if body.strip():
                self._count()
                self.sets[-1].components.append(self._component(body, keyword == ".PEN_DOWN"))
        elif keyword == ".SEGMENT":
            self._count()
            parts = _SEGMENT.match(body)
            if not parts:
                raise DataError(f"{self.path}: a .SEGMENT is {body[:40].strip()!r}; expected its type, as WORD, first")
            label = None if parts[4] is None else _ESCAPED.sub(_unescaped, parts[4])
            extent = None if parts[2] in (None, "?") else parts[2]
            self.sets[-1].segments.append(_Segment(parts[1], extent, label, len(self.sets[-1].components)))
        elif keyword == ".START_SET":
            if self.sets[-1].components:
                self.sets.append(_Set([], []))
        elif keyword == ".COORD":
            self.coordinates = body[:4096].upper().split()
            if "X" not in self.coordinates or "Y" not in self.coordinates:
                raise DataError(f"{self.path}: .COORD is {body.strip()[:80]!r}; expected X and Y among its names")
        elif keyword == ".HIERARCHY":
            self.hierarchy = body[:4096].split()
        elif keyword == ".INCLUDE":
            self._include(body.strip().partition("\n")[0], open_files)
        elif keyword in _PROSE:
            self.y_down |= _Y_DOWN.search(body[:_MOST_PROSE]) is not None

    def _count(self) -> None:
        self.parts += 1
        if self.parts > _MOST_PARTS:
            raise DataError(f"{self.path}: over {_MOST_PARTS} components and segments; split the file")

    def _component(self, body: str, drawn: bool) -> _Component:
        """Its points (n, 2), y as it stands."""
        none = np.zeros((0, 2))
        if len(body) > _MOST_COMPONENT:
            return _Component(none, drawn, f"has over {MAX_POINTS} points; no hand drew it")
        names = self.coordinates or ["X", "Y", *body.strip().partition("\n")[0].split()[2:]]
        try:
            rows = np.array(body.split(), np.float64).reshape(-1, len(names))
        except ValueError:
            start = " ".join(body[:200].split())[:40]
            return _Component(none, drawn, f"begins {start!r}; expected rows of {len(names)} numbers")
        return _Component(rows[:, [names.index("X"), names.index("Y")]], drawn)

    def _include(self, name: str, open_files: tuple[Path, ...]) -> None:
        self.includes += 1
        if len(open_files) > _DEEPEST or self.includes > _MOST_INCLUDES:
            expected = f"expected at most {_MOST_INCLUDES}, {_DEEPEST} deep"
            raise DataError(f"{self.path}: too many .INCLUDE, or too deep in each other; {expected}")
        folders = _include_folders(open_files[0])
        bounds = [(open_files[-1].parent, folders), *((folder, [folder]) for folder in folders)]
        named = [(Path(os.path.normpath(start / name)), bound) for start, bound in bounds]
        places = [place for place, bound in named if _inside(place, bound)]
        if os.path.isabs(name) or not places:
            raise DataError(f"{self.path}: .INCLUDE {name[:80]!r} leads out of its folder; do not trust this file")
        try:
            found = next((place for place in places if place.is_file()), None)
            found = found and found.resolve()
        except (OSError, ValueError):  # a name too long, or with a zero byte
            found = None
        if found is None:
            self.mends.append(
                Remark("no include", f"{self.path}: .INCLUDE {name[:80]!r} is not there; read without it")
            )
            return
        if not _inside(found, folders):
            raise DataError(f"{self.path}: .INCLUDE {name[:80]!r} is a link out of its folder; do not trust this file")
        if found in open_files:
            raise DataError(f"{self.path}: .INCLUDE {name[:80]!r} includes itself; take it out")
        try:
            self.read(found, (*open_files, found))
        except OSError as error:
            raise DataError(f"{found}: cannot be read ({error.strerror}); {self.path} includes it") from error

    def level(self) -> str | None:
        """The finest level of segments that have labels, or of all if none has."""
        segments = [segment for part in self.sets for segment in part.segments]
        levels = Counter(segment.level for segment in segments if segment.label) or Counter(s.level for s in segments)
        declared = [level for level in self.hierarchy if level in levels]
        return declared[-1] if declared else levels.most_common(1)[0][0] if levels else None


def _decoded(data: bytes) -> str:
    """As UTF-8, or where it is none as Latin-1; the definition knows ASCII alone."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unescaped(escape: re.Match[str]) -> str:
    return {"t": "\t", "n": "\n"}.get(escape[1], escape[1])


def _include_folders(top: Path) -> list[Path]:
    """Where included files may lie: beside the file that is read, and in `include` beside it or further up."""
    return [top.parent, *(folder / "include" for folder in (top.parent, *top.parent.parents)[: _FOLDERS_ABOVE + 1])]


def _inside(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _parse(path: Path) -> DrawingBatch:
    ink = _Ink(path)
    ink.read(path, (path.resolve(),))
    level = ink.level()
    budget = _OFTEN * sum(len(component.points) for part in ink.sets for component in part.components)
    drawings: list[tuple[list[Polyline], Record]] = []
    drops: list[Remark] = []
    number = 0
    # Without segments the file is one drawing, whatever sets it is in.
    whole = [_Set([component for part in ink.sets for component in part.components], [])]
    for part in ink.sets if level else whole:
        for segment, pieces in _cut(part, level):
            where = str(path) if level is None else f"{path}, segment {number}"
            number += 1
            try:
                strokes = []
                for points, drawn in pieces:
                    budget -= len(points)
                    if budget < 0:
                        raise DataError(f"{path}: its segments draw each point over {_OFTEN} times; it is damaged")
                    if drawn:
                        strokes.append(points if ink.y_down else points * (1, -1))
            except _Fault as error:
                drops.append(Remark("malformed segment", f"{where} {error}"))
                continue
            single = segment.level.upper() in _CHARACTERS
            said = segment.label or None
            drawings.append((strokes, Record(where, label=said if single else None, text=None if single else said)))
    return DrawingBatch.from_polylines(drawings, drops, ink.mends)


class _Fault(Exception):
    """What is wrong with one segment."""


def _cut(part: _Set, level: str | None) -> Iterator[tuple[_Segment, Iterator[tuple[Polyline, bool]]]]:
    """The segments of a level, each with its points and whether they are drawn; all points where there is no level."""
    everything = _Segment("", None, None, 0)
    chosen = [segment for segment in part.segments if segment.level == level] if level else [everything]
    ends = [segment.first for segment in chosen[1:]] + [len(part.components)]
    for segment, end in zip(chosen, ends, strict=True):
        if segment.extent is None:
            yield segment, _pieces(part, segment.first, 0, end - 1, None)
        else:
            yield segment, _extent(part, segment.extent)


def _extent(part: _Set, extent: str) -> Iterator[tuple[Polyline, bool]]:
    for piece in extent.split(","):
        found = _RANGE.fullmatch(piece)
        if not found or int(found[3] or found[1]) < int(found[1]):
            raise _Fault(f"has the components {extent[:40]!r}; expected a list like 1:40-3,5")
        first, begin, last, end = found.groups()
        yield from _pieces(part, int(first), int(begin or 0), int(last or first), None if end is None else int(end))


def _pieces(part: _Set, first: int, begin: int, last: int, end: int | None) -> Iterator[tuple[Polyline, bool]]:
    """Components `first` to `last`, from point `begin` of the first to point `end` of the last, None: its last."""
    if last >= len(part.components):
        raise _Fault(f"has components {first} to {last}; expected them among 0 to {len(part.components) - 1}")
    for number in range(first, last + 1):
        points, drawn, fault = part.components[number]
        if fault:
            raise _Fault(f"has component {number}, which {fault}")
        until = len(points) if end is None or number < last else end + 1
        kept = points[begin if number == first else 0 : until]
        if not len(kept):
            raise _Fault(f"has no points of component {number} from {begin} to {until - 1}; it has {len(points)}")
        yield kept, drawn


FORMAT = Format("UNIPEN", (".dat", ".unp", ".unipen"), _recognizes, single_chunk, _parse, default_label="folder")
