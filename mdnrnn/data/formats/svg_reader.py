"""SVG: one drawing a file, a stroke for each subpath of its paths and shapes, y down.

Raw units are those of the outermost viewBox; what scales that to a width and height is left out. What is filled and
has no stroke counts as its outline, unless it is a rectangle over the whole page: that is a background. Clips, masks,
style sheets and CSS transforms are not applied. What is written in a drawing is `kvg:element` of its outermost group,
as in KanjiVG, or `<title class="text">`, as `svg_writer.py` has it: the titles of other programs name the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark
from mdnrnn.data.formats.bezier import IDENTITY, Matrix, Outline, Pen, evaluate, longer_side, multiply, pieces
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.svg_tree import DRAWN, GROUPS, MOST_DEPTH, BadLength, Element, read_document
from mdnrnn.errors import DataError

FINENESS = 500
"""A curve is off by at most the longer side of the drawing's box over this."""
MOST_ELEMENTS = 100_000
"""Drawn ones; one that is used twice counts twice."""

_PROLOGUE = re.compile(r"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>\s*)*", re.DOTALL)
_ROOT = re.compile(r"<(?:[\w.-]+:)?svg[\s/>]")
_ALIGNED = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}


def recognizes(path: Path, head: bytes) -> bool:
    """Whether the root is `<svg`; where it lies beyond the head of an XML file, the ending decides."""
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if wide else "utf-8", errors="replace").lstrip("\ufeff")
    rest = _PROLOGUE.sub("", text, count=1)
    if _ROOT.match(rest):
        return True
    return path.suffix.lower() == ".svg" and text.lstrip()[:1] == "<" and (not rest or rest[:2] in ("<!", "<?"))


def parse(path: Path) -> DrawingBatch:
    """The drawing of one file; what is wrong in a path, a transform, a length is mended, and a remark says so."""
    document = read_document(path)
    walk = _Walk(str(path), document.ids)
    walk.run(document.root)
    record, mends = Record(str(path), text=document.text), list(walk.mends.values())
    if not walk.outlines:
        return DrawingBatch.from_polylines([([], record)], repaired=mends)
    points, strokes = _flatten(walk.outlines, str(path))
    return DrawingBatch(points, strokes, np.array([len(strokes)]), [record], repaired=mends)


def _flatten(outlines: list[Outline], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, 2) of all subpaths, and how many each has, (S,); one whose points are all the same is a dot."""
    curves = np.concatenate([outline.curves for outline in outlines])
    starts = np.cumsum([0, *(len(outline.curves) for outline in outlines)])[:-1]
    moves = np.concatenate([outline.moves + start for outline, start in zip(outlines, starts, strict=True)])
    # What is beyond all measure becomes NaN or infinity, which `Drawings.checked` drops.
    with np.errstate(all="ignore"):
        counts = pieces(curves, longer_side(curves) / FINENESS)
        if counts.sum() > MAX_POINTS:
            raise _too_many_points(where)
        points = evaluate(curves, counts)
    strokes = np.add.reduceat(counts, moves)
    firsts = np.cumsum(strokes) - strokes
    same = (points == points[firsts].repeat(strokes, axis=0)).all(1)
    dots = np.logical_and.reduceat(same, firsts)
    keep = ~dots.repeat(strokes)
    keep[firsts] = True
    return points[keep], np.where(dots, 1, strokes)


def _too_many_points(where: str) -> DataError:
    return DataError(f"{where}: over {MAX_POINTS} points; no hand drew so many; simplify the drawing")


class _State(NamedTuple):
    """What an element has from those around it."""

    width: float
    height: float
    """Of the viewport, which percentages are of."""
    matrix: Matrix = IDENTITY
    fill: str = "black"
    stroke: str = "none"
    visibility: str = "visible"
    depth: int = 0
    uses: tuple[Element, ...] = ()

    def inside(self, element: Element) -> _State:
        """The same with what the element itself says."""
        return self._replace(
            matrix=multiply(self.matrix, element.transform[0]),
            fill=_own(element.look("fill"), self.fill),
            stroke=_own(element.look("stroke"), self.stroke),
            visibility=_own(element.look("visibility"), self.visibility),
            depth=self.depth + 1,
        )

    @property
    def drawn(self) -> bool:
        return self.visibility == "visible" and (self.fill, self.stroke) != ("none", "none")

    def length(self, element: Element, name: str, default: str = "0") -> float:
        """An attribute of an element in user units."""
        return element.length(name, self.width, self.height, default)


def _own(value: str | None, inherited: str) -> str:
    return inherited if value is None or value == "inherit" else value


class _Walk:
    """Through the elements in the order of the document, with a stack of its own."""

    def __init__(self, where: str, ids: Mapping[str, Element]) -> None:
        self.outlines: list[Outline] = []
        self.mends: dict[str, Remark] = {}
        self._where, self._ids = where, ids
        self._stack: list[tuple[Element, _State, Element]] = []
        self._seen = self._curves = 0
        self._page = np.zeros((2, 2))
        """Its upper left and its lower right corner."""

    def run(self, root: Element) -> None:
        if root.look("display") == "none":
            return
        # With a viewBox the size of the root, whatever it says, does not matter.
        x, y, width, height = root.view_box or (0.0, 0.0, *self._size(root, root, _State(100, 100)))
        self._page = np.array([(x, y), (x + width, y + height)])
        self._push(root.children, self._inside(root, _State(width, height)))
        while self._stack:
            element, outer, sized_by = self._stack.pop()
            if element.look("display") == "none":
                continue
            try:
                self._visit(element, self._inside(element, outer), sized_by)
            except BadLength as error:
                self._mend("length not understood", f"{error}; left out")

    def _inside(self, element: Element, outer: _State) -> _State:
        problem = element.transform[1]
        if problem:
            expected = "expected matrix, translate, scale, rotate, skewX or skewY"
            self._mend(
                "transform not understood", f"<{element.tag}> has transform {problem[:60]!r}; {expected}; ignored"
            )
        return outer.inside(element)

    def _visit(self, element: Element, state: _State, sized_by: Element) -> None:
        if element.tag == "use":
            self._use(element, state)
        elif element.tag in ("svg", "symbol"):
            self._nest(element, state, sized_by)
        elif element.tag in GROUPS:
            self._push(element.children, state)
        elif state.drawn:
            self._draw(element, state)

    def _push(self, elements: list[Element], state: _State, use: Element | None = None) -> None:
        self._seen += len(elements)
        if self._seen > MOST_ELEMENTS or state.depth > MOST_DEPTH:
            raise DataError(
                f"{self._where}: draws over {MOST_ELEMENTS} elements, or {MOST_DEPTH} in one another; "
                "no hand drew so many; simplify the drawing"
            )
        self._stack += [(child, state, use or child) for child in reversed(elements)]

    def _use(self, use: Element, state: _State) -> None:
        name = (use.attributes.get("href") or "").strip()
        target = self._ids.get(name[1:]) if name.startswith("#") else None
        if use in state.uses:
            raise DataError(f"{self._where}: <use> of {name[:60]!r} uses itself; expected no circle; save it anew")
        if target is None or target.tag not in DRAWN | {"symbol"}:
            self._mend("use of nothing", f"<use> of {name[:60]!r}, which is no shape or group in this file; left out")
            return
        matrix = multiply(state.matrix, (1, 0, 0, 1, state.length(use, "x"), state.length(use, "y")))
        self._push([target], state._replace(matrix=matrix, uses=(*state.uses, use)), use)

    def _nest(self, element: Element, state: _State, sized_by: Element) -> None:
        """A viewport in the drawing: an inner <svg>, or a <symbol>, of the size that its <use> says, if it does."""
        width, height = self._size(element, sized_by, state)
        if width <= 0 or height <= 0:
            return
        matrix = multiply(state.matrix, (1, 0, 0, 1, state.length(element, "x"), state.length(element, "y")))
        if element.view_box:
            matrix = multiply(matrix, _fit(element, element.view_box, width, height))
            width, height = element.view_box[2:]
        self._push(element.children, state._replace(matrix=matrix, width=width, height=height))

    def _size(self, element: Element, sized_by: Element, state: _State) -> tuple[float, float]:
        """Of a viewport; all of that around it where nothing is said, or nothing that is understood."""
        size = {"width": state.width, "height": state.height}
        for name in size:
            try:
                size[name] = state.length(sized_by if sized_by.look(name) else element, name, "100%")
            except BadLength as error:
                self._mend("length not understood", f"{error}; ignored")
        return size["width"], size["height"]

    def _draw(self, element: Element, state: _State) -> None:
        problem = ""
        if element.tag in ("path", "polyline", "polygon"):
            outline, problem = element.path
        else:
            pen = Pen()
            _SHAPE_OF[element.tag](pen, element, state)
            outline = pen.outline()
        if problem:
            self._mend("path cut short", f"a <{element.tag}> goes wrong at {problem[:40]!r}; drawn up to there")
        self._curves += len(outline.curves)
        if self._curves > MAX_POINTS:
            raise _too_many_points(self._where)
        if not len(outline.curves):
            return
        with np.errstate(all="ignore"):
            outline = outline.moved(state.matrix)
            background = state.stroke == "none" and _covers(outline, self._page)
        if background:
            self._mend("background", f"a <{element.tag}> without a stroke fills the whole page; left out")
        else:
            self.outlines.append(outline)

    def _mend(self, reason: str, detail: str) -> None:
        self.mends.setdefault(reason, Remark(reason, f"{self._where}: {detail}"))


def _covers(outline: Outline, page: np.ndarray) -> bool:
    """Whether it is an upright rectangle over the page, [[left, top], [right, bottom]], to a hundredth of its size."""
    curves, slack = outline.curves, np.ptp(page, axis=0) / 100
    straight = (curves[:, 0] == curves[:, 1]).all() and (curves[:, 2] == curves[:, 3]).all()
    # The last side need not be drawn for what is filled.
    if len(outline.moves) != 1 or len(curves) not in (4, 5) or not straight:
        return False
    corners = curves[:, 3]
    least, most = corners.min(0), corners.max(0)
    far = np.abs(corners - most) < slack
    near = np.abs(corners - least) < slack
    upright = (far != near).all() and (far[1:] == far[:-1]).any(1).all()
    covered = (least <= page[0] + slack).all() and (most >= page[1] - slack).all()
    return bool(upright and covered and len(np.unique(far, axis=0)) == 4)


def _fit(element: Element, box: tuple[float, float, float, float], width: float, height: float) -> Matrix:
    """What maps a viewBox to (0, 0, width, height)."""
    words = (element.look("preserveAspectRatio") or "").split() or ["xMidYMid"]
    across, down = width / box[2], height / box[3]
    if words[0] != "none":
        across = down = max(across, down) if "slice" in words else min(across, down)
    left = (width - across * box[2]) * _ALIGNED.get(words[0][1:4], 0.5)
    top = (height - down * box[3]) * _ALIGNED.get(words[0][5:8], 0.5)
    return across, 0.0, 0.0, down, left - across * box[0], top - down * box[1]


def _line(pen: Pen, element: Element, state: _State) -> None:
    pen.move(state.length(element, "x1"), state.length(element, "y1"))
    pen.line(state.length(element, "x2"), state.length(element, "y2"))


def _rect(pen: Pen, element: Element, state: _State) -> None:
    """From its upper left corner to the right and around, as SVG has it."""
    x, y, width, height = (state.length(element, name) for name in ("x", "y", "width", "height"))
    if width <= 0 or height <= 0:
        return
    rx, ry = _radii(element, state)
    rx, ry = min(rx, width / 2), min(ry, height / 2)
    if not rx or not ry:
        rx = ry = 0.0
    right, bottom = x + width, y + height
    pen.move(x + rx, y)
    for side, corner in (
        ((right - rx, y), (right, y + ry)),
        ((right, bottom - ry), (right - rx, bottom)),
        ((x + rx, bottom), (x, bottom - ry)),
        ((x, y + ry), (x + rx, y)),
    ):
        if side != (pen.x, pen.y):
            pen.line(*side)
        if rx:
            pen.arc(rx, ry, 0, 0, 1, *corner)
    pen.close()


def _ellipse(pen: Pen, element: Element, state: _State) -> None:
    """From its right end clockwise, as SVG has it."""
    cx, cy = state.length(element, "cx"), state.length(element, "cy")
    rx, ry = _radii(element, state) if element.tag == "ellipse" else [state.length(element, "r")] * 2
    if rx <= 0 or ry <= 0:
        return
    pen.move(cx + rx, cy)
    for x, y in ((cx, cy + ry), (cx - rx, cy), (cx, cy - ry), (cx + rx, cy)):
        pen.arc(rx, ry, 0, 0, 1, x, y)
    pen.close()


def _radii(element: Element, state: _State) -> list[float]:
    """rx and ry; one that is not given, or auto, is as the other."""
    given = {name: state.length(element, name) for name in ("rx", "ry") if element.look(name) not in (None, "auto")}
    given = {name: radius for name, radius in given.items() if radius >= 0}
    rx = given.get("rx", given.get("ry", 0.0))
    return [rx, given.get("ry", rx)]


_SHAPE_OF = {"line": _line, "rect": _rect, "circle": _ellipse, "ellipse": _ellipse}


FORMAT = Format("SVG", (".svg",), recognizes, single_chunk, parse)
