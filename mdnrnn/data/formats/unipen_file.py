"""Parser of a UNIPEN file and of the files that it includes: components, segments and direction of y."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, Remark
from mdnrnn.data.formats.archives import ArchivePath
from mdnrnn.data.formats.format import decode_text, read_bounded
from mdnrnn.data.formats.ink_channels import channel_kind
from mdnrnn.data.strokes import Polyline
from mdnrnn.errors import DataError

_MAX_BYTES = 64 << 20
"""Maximum size of a file together with all files that it includes."""
_MAX_COMPONENT = 16 << 20
"""Maximum characters of one component, enough for a million points."""
_MAX_DESCRIPTION = 1 << 16
"""Number of characters at the start of a statement that are searched for the direction of y."""
MAX_PARTS = 1 << 18
"""Maximum total number of components and segments of a file."""
_MAX_INCLUDE_DEPTH, _MAX_INCLUDES = 8, 1000
_MAX_PARENTS = 24
"""Number of levels above the folder of the top file at which a folder `include` is searched."""
_MAX_ENTRIES = 100_000
"""Maximum number of entries that are read from a folder, to search a name regardless of case."""
_DESCRIPTIONS = (".COMMENT", ".DATA_INFO", ".PAD", ".SETUP")
_STATEMENT = re.compile(r"^\.[A-Z][A-Z_]*(?=\s|\Z)", re.MULTILINE | re.IGNORECASE)
_Y_DOWN = re.compile(
    r"\by(?:[\s:=,()-]{1,8}(?:axis|axes|coordinates?|values?|direction|is|are|it|goes|go|going|runs?|running|points?"
    r"|pointing|grows?|growing|increas(?:es?|ing)|directed|oriented|measured|positive|the|from|top|to|zero|0)){0,8}"
    r"[\s:=,()-]{1,8}down(?:wards?)?\b(?![-/]|\s*(?:pen|sampl|scal|stroke))"
    r"|\borigin(?:[\s:=,()-]{1,8}(?:is|are|was|lies|located|at|in|on|the|of|coordinates?|axes|system|tablet|screen"
    r"|digitizer|page|paper|window|display|its|corner|0)){0,8}[\s:=,()-]{1,8}(?:(?:upper|top)[\s-]?left|left[\s-]top)\b"
    r"|\b(?:upper|top)[\s-]?left(?:\s(?:hand|corner|is|as|the|of|tablet|screen|page)){0,6}\sorigin\b",
    re.IGNORECASE,
)
"""A phrase that says that y points down or that the origin is at the top left.

Between "y" and "down", and between "origin" and "top left", only words that describe axes are accepted.
"""
_SEGMENT = re.compile(r'\s*([^\s"]+)(?:\s+([^\s"]+))?(?:\s+([^\s"]+))?\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)")?', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Component(NamedTuple):
    """Points of one .PEN_DOWN or .PEN_UP statement."""

    points: Polyline
    """Points (n, 2). y is not negated: it has the direction that it has in the file."""
    is_pen_down: bool
    error: str = ""
    """Reason why the points cannot be read; "" if they can be read."""


class Segment(NamedTuple):
    """One .SEGMENT statement."""

    level: str
    extent: str | None
    """Text of the ranges of components. None: the segment has all components from `first_component` to the next segment
    of the same level."""
    label: str | None
    first_component: int
    """Number of the first component after the statement."""
    is_included: bool = False
    """Whether the statement is in an included file."""


class ComponentSet(NamedTuple):
    """Pen strokes (.PEN_DOWN, .PEN_UP) of one set, numbered from 0, and the segments that refer to these numbers.

    A set is the part of a file from one .START_SET to the next, or the whole file.
    """

    components: list[Component]
    segments: list[Segment]

    def finest_level(self, hierarchy: list[str]) -> str | None:
        """Return the finest level of the segments with labels; None if there are no segments.

        If no segment has a label, return the finest level of all segments.

        Args:
            hierarchy: levels in .HIERARCHY, from coarse to fine. If it contains none of the levels, the most frequent
                level is the finest.
        """
        levels = Counter(segment.level for segment in self.segments if segment.label)
        levels = levels or Counter(segment.level for segment in self.segments)
        declared = [level for level in hierarchy if level in levels]
        return declared[-1] if declared else levels.most_common(1)[0][0] if levels else None


@dataclass
class UnipenFile:
    """Contents of a file and of its included files, in order of their statements. Call `read` to fill the fields."""

    path: Path
    sets: list[ComponentSet] = field(default_factory=lambda: [ComponentSet([], [])])
    hierarchy: list[str] = field(default_factory=list)
    coordinates: list[str] = field(default_factory=list)
    y_points_down: bool = False
    """Whether a statement says that y points down or that the origin is at the top left."""
    repaired: list[Remark] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    """Number of values of the strokes other than X and Y, by kind."""
    _is_included: bool = False
    """Whether the current statement is in an included file."""
    _bytes_left: int = _MAX_BYTES
    _includes: int = 0
    _parts: int = 0
    _folders: list[Path] = field(default_factory=list)
    """Allowed folders of included files, see `_include_folders`."""
    _existing_folders: list[Path] = field(default_factory=list)
    _has_sets: bool = False
    """Whether a .START_SET has been read."""

    def read(self) -> None:
        """Read the file.

        Raises:
            DataError: the file is malformed, exceeds a limit, or includes itself or a file outside the allowed folders.
        """
        top = self.path.resolve()
        self._folders = _include_folders(top)
        self._existing_folders = [folder for folder in self._folders if folder.is_dir()]
        self._read(self.path, (top,))

    def finest_level(self) -> str | None:
        """Return the finest level of the whole file (see `ComponentSet.finest_level`); None if it has no segments."""
        every = ComponentSet([], [segment for part in self.sets for segment in part.segments])
        return every.finest_level(self.hierarchy)

    def _read(self, path: Path, open_files: tuple[Path, ...]) -> None:
        """Read a file; `open_files` is the chain of inclusions from the top file to this file."""
        data = read_bounded(path, self._bytes_left)
        self._bytes_left -= len(data)
        self._is_included = len(open_files) > 1
        text = decode_text(data)  # the specification allows only ASCII
        keyword, start = "", 0
        for statement in _STATEMENT.finditer(text):
            self._add_statement(keyword, text[start : statement.start()], open_files)
            keyword, start = statement[0].upper(), statement.end()
        self._add_statement(keyword, text[start:], open_files)

    def _add_statement(self, keyword: str, body: str, open_files: tuple[Path, ...]) -> None:
        if keyword in (".PEN_DOWN", ".PEN_UP"):
            if body.strip():
                self._count_part()
                self.sets[-1].components.append(self._parse_component(body, keyword == ".PEN_DOWN"))
        elif keyword == ".SEGMENT":
            self._count_part()
            self.sets[-1].segments.append(self._parse_segment(body))
        elif keyword == ".START_SET":
            # Segments before the first .START_SET belong to the first set.
            if self.sets[-1].components or (self._has_sets and self.sets[-1].segments):
                self.sets.append(ComponentSet([], []))
            self._has_sets = True
        elif keyword == ".COORD":
            self.coordinates = body[:4096].upper().split()
            if "X" not in self.coordinates or "Y" not in self.coordinates:
                raise DataError(f"{self.path}: .COORD is {self._quote(body, 80)}; expected X and Y among its names")
        elif keyword == ".HIERARCHY":
            self.hierarchy = body[:4096].upper().split()
        elif keyword == ".INCLUDE":
            self._include(body.strip().partition("\n")[0], open_files)
        elif keyword in _DESCRIPTIONS:
            self.y_points_down |= _Y_DOWN.search(body[:_MAX_DESCRIPTION]) is not None

    def _quote(self, text: str, length: int) -> str:
        """Return the start of a text, for a message. For an included file, which may be private, hide the text."""
        return "in an included file" if self._is_included else repr(" ".join(text[: 5 * length].split())[:length])

    def _count_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise DataError(f"{self.path}: over {MAX_PARTS} components and segments; split the file")

    def _parse_segment(self, body: str) -> Segment:
        match = _SEGMENT.match(body)
        if not match:
            raise DataError(f"{self.path}: .SEGMENT is {self._quote(body, 40)}; expected a type such as WORD first")
        level, extent, _, label = match.groups()
        if label is not None:
            label = _ESCAPE.sub(lambda escape: {"t": "\t", "n": "\n"}.get(escape[1], escape[1]), label)
        extent = None if extent == "?" else extent
        return Segment(level.upper(), extent, label, len(self.sets[-1].components), self._is_included)

    def _parse_component(self, body: str, is_pen_down: bool) -> Component:
        empty = np.zeros((0, 2))
        if len(body) > _MAX_COMPONENT:
            return Component(empty, is_pen_down, f"has over {MAX_POINTS} points; split it")
        names = self.coordinates or ["X", "Y", *body.strip().partition("\n")[0].split()[2:]]
        try:
            rows = np.array(body.split(), np.float64).reshape(-1, len(names))
        except ValueError:
            expected = f"expected rows of {len(names)} numbers"
            return Component(empty, is_pen_down, f"begins {self._quote(body, 40)}; {expected}")
        if is_pen_down:
            for name in names:
                if name not in ("X", "Y"):
                    self.lost[channel_kind(name)] += len(rows)
        return Component(rows[:, [names.index("X"), names.index("Y")]], is_pen_down)

    def _include(self, name: str, open_files: tuple[Path, ...]) -> None:
        self._includes += 1
        if len(open_files) > _MAX_INCLUDE_DEPTH or self._includes > _MAX_INCLUDES:
            expected = f"expected at most {_MAX_INCLUDES}, nested at most {_MAX_INCLUDE_DEPTH} deep"
            raise DataError(f"{self.path}: too many or too deeply nested .INCLUDE statements; {expected}")
        found = self._find_include(name, open_files)
        if found is None:
            advice = "does not exist; ignored"
            if isinstance(self.path, ArchivePath):
                advice = "is not searched in an archive; unpack the archive"
            self.repaired.append(Remark("no include", f"{self.path}: .INCLUDE {self._quote(name, 80)} {advice}"))
            return
        if found in open_files:
            raise DataError(f"{self.path}: .INCLUDE {self._quote(name, 80)} includes itself; remove it")
        try:
            self._read(found, (*open_files, found))
        except OSError as error:
            raise DataError(f"{found}: cannot be read ({error.strerror}); {self.path} includes it") from error
        self._is_included = len(open_files) > 1

    def _find_include(self, name: str, open_files: tuple[Path, ...]) -> Path | None:
        """Return the path of an included file, or None if it does not exist.

        Raises:
            DataError: the name or a symbolic link leads out of the allowed folders.
        """
        folders, existing = self._folders, self._existing_folders
        # The collections come from several operating systems: names can have backslashes and quotes, and can differ
        # from the actual names in upper and lower case.
        relative = name.strip().strip('"').replace("\\", "/")
        # The folder of the including file is searched first. A name relative to this folder may lead to any allowed
        # folder. A name relative to another allowed folder must stay in that folder.
        searches = [
            (open_files[-1].parent / relative, folders),
            *((folder / relative, [folder]) for folder in existing),
        ]
        first, _, rest = relative.removeprefix("./").partition("/")
        if first.lower() == "include":  # the name is relative to the folder that contains the folder `include`
            searches += [(folder / rest, [folder]) for folder in existing[1:]]
        candidates = [(Path(os.path.normpath(path)), allowed) for path, allowed in searches]
        paths = [path for path, allowed in candidates if _is_inside(path, allowed)]
        if os.path.isabs(relative) or not paths:
            problem = f".INCLUDE {self._quote(name, 80)} points outside its folder"
            raise DataError(f"{self.path}: {problem}; do not trust this file")
        try:
            found = next((path for path in paths if path.is_file()), None)
            found = found or next(filter(None, (_match_case(path, folders) for path in paths)), None)
            found = found and found.resolve()
        except (OSError, ValueError):  # the name is too long or contains a zero byte
            return None
        if found is not None and not _is_inside(found, folders):
            problem = f".INCLUDE {self._quote(name, 80)} is a link to a path outside its folder"
            raise DataError(f"{self.path}: {problem}; do not trust this file")
        return found


def _match_case(path: Path, folders: list[Path]) -> Path | None:
    """Find a file by its path, ignoring upper and lower case below the allowed folders; return None if not found."""
    found = max((folder for folder in folders if path.is_relative_to(folder)), key=lambda folder: len(folder.parts))
    for name in path.relative_to(found).parts:
        if not found.is_dir():
            return None
        actual = _list_names(found, found.stat().st_mtime_ns).get(name.casefold())
        if actual is None:
            return None
        found /= actual
    return found if found.is_file() else None


@lru_cache(maxsize=32)
def _list_names(folder: Path, modified: int) -> dict[str, str]:
    """Return a dictionary from the case-folded names in a folder to the names; {} if the folder cannot be read.

    Args:
        folder: folder to list.
        modified: time of the last modification of the folder, so that a changed folder is read again.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name.casefold(): entry.name for entry in islice(entries, _MAX_ENTRIES)}
    except OSError:
        return {}


def _include_folders(top: Path) -> list[Path]:
    """Return the folders of included files: the folder of the top file, and `include` in it and in its parents."""
    parents = (top.parent, *top.parent.parents)[: _MAX_PARENTS + 1]
    return [top.parent, *(folder / name for folder in parents for name in ("include", "INCLUDE", "Include"))]


def _is_inside(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
