"""Reader of SVG files: one drawing per file, one stroke per subpath of its paths and shapes, y down.

Coordinates are in units of the outermost viewBox; the scale from the viewBox to the width and height of the page is
ignored. An element that is filled but not stroked is read as its outline. If it is a rectangle that covers the page, it
is a background and is left out. Clips, masks, style sheets and CSS transforms are not applied.

The text of a drawing is the attribute `kvg:element` of the outermost group, as in KanjiVG, or the content of
`<title class="text">`, as written by `svg_writer.py`. Other titles are ignored, because most programs write the file
name there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark
from mdnrnn.data.formats.bezier import BezierPath
from mdnrnn.data.formats.flattening import flatten
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.svg_path import too_many_points
from mdnrnn.data.formats.svg_shapes import covers_page, shape_outline
from mdnrnn.data.formats.svg_tree import GROUPS, RENDERED, Element, InvalidLengthError, read_document
from mdnrnn.data.formats.svg_values import IDENTITY, Matrix, multiply, translation
from mdnrnn.data.formats.xml import MAX_DEPTH, root_name
from mdnrnn.errors import DataError

MAX_ELEMENTS = 100_000
"""Maximum number of rendered elements; an element is counted again for each <use> that refers to it."""
_ALIGNMENT = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}


def recognizes(path: Path, head: bytes) -> bool:
    """Return whether the root element is <svg>; if `head` ends before the root element, the extension decides."""
    root = root_name(head)
    return root == "svg" or (root is None and path.suffix.lower() == ".svg")


def parse(path: Path) -> DrawingBatch:
    """Return the drawing of one file. Invalid paths, transforms and lengths are repaired and reported.

    Raises:
        DataError: the file is not SVG or exceeds a limit.
    """
    document = read_document(path)
    traversal = _Traversal(str(path), document.elements_by_id)
    traversal.run(document.root)
    record, repaired = Record(str(path), text=document.text), list(traversal.repaired.values())
    if not traversal.paths:
        return DrawingBatch.from_polylines([([], record)], repaired=repaired)
    polylines = flatten(traversal.paths, MAX_POINTS)  # `drop_invalid` later drops a drawing with infinite points
    if polylines is None:
        raise too_many_points(str(path), MAX_POINTS)
    points, lengths = polylines
    return DrawingBatch(points, lengths, np.array([len(lengths)]), [record], repaired=repaired)


class _Context(NamedTuple):
    """Properties that an element inherits from its ancestors."""

    width: float
    """Width of the viewport in user units, to which percentages refer."""
    height: float
    matrix: Matrix = IDENTITY
    fill: str = "black"
    stroke: str = "none"
    visibility: str = "visible"
    depth: int = 0
    uses: tuple[Element, ...] = ()
    """The <use> elements through which the element is rendered, outermost first."""

    def enter(self, element: Element) -> _Context:
        """Return this context, updated with the properties of `element`."""
        return self._replace(
            matrix=multiply(self.matrix, element.transform[0]),
            fill=_inherit(element.get_property("fill"), self.fill),
            stroke=_inherit(element.get_property("stroke"), self.stroke),
            visibility=_inherit(element.get_property("visibility"), self.visibility),
            depth=self.depth + 1,
        )

    @property
    def is_visible(self) -> bool:
        return self.visibility == "visible" and (self.fill, self.stroke) != ("none", "none")

    def length(self, element: Element, name: str, default: str = "0") -> float:
        """Return a length property of an element in user units."""
        return element.length(name, self.width, self.height, default)


def _inherit(value: str | None, inherited: str) -> str:
    return inherited if value is None or value == "inherit" else value


class _Traversal:
    """Depth-first traversal of the rendered elements, without recursion; it collects their paths."""

    def __init__(self, location: str, elements_by_id: Mapping[str, Element]) -> None:
        self.paths: list[BezierPath] = []
        self.repaired: dict[str, Remark] = {}  # the first remark of each reason
        self._location, self._elements_by_id = location, elements_by_id
        # Elements to visit, each with the context of its parent and the element that defines its size: <use> or itself.
        self._stack: list[tuple[Element, _Context, Element]] = []
        self._elements = self._segments = 0
        self._page = np.zeros((2, 2))  # upper left and lower right corner

    def run(self, root: Element) -> None:
        """Collect the paths of all elements inside the root element."""
        if root.get_property("display") == "none":
            return
        x, y, width, height = root.view_box or (0.0, 0.0, *self._viewport_size(root, root, _Context(100, 100)))
        self._page = np.array([(x, y), (x + width, y + height)])
        self._push(root.children, self._enter(root, _Context(width, height)))
        while self._stack:
            element, outer, sized_by = self._stack.pop()
            if element.get_property("display") == "none":
                continue
            try:
                self._visit(element, self._enter(element, outer), sized_by)
            except InvalidLengthError as error:
                self._report("length not understood", f"{error}; ignored")

    def _enter(self, element: Element, outer: _Context) -> _Context:
        error = element.transform[1]
        if error:
            expected = "expected matrix, translate, scale, rotate, skewX or skewY"
            self._report(
                "transform not understood", f"<{element.tag}> has transform {error[:60]!r}; {expected}; ignored"
            )
        return outer.enter(element)

    def _visit(self, element: Element, context: _Context, sized_by: Element) -> None:
        if element.tag == "use":
            self._visit_use(element, context)
        elif element.tag in ("svg", "symbol"):
            self._visit_viewport(element, context, sized_by)
        elif element.tag in GROUPS:
            self._push(element.children, context)
        elif context.is_visible:
            self._visit_shape(element, context)

    def _push(self, elements: list[Element], context: _Context, use: Element | None = None) -> None:
        self._elements += len(elements)
        if self._elements > MAX_ELEMENTS or context.depth > MAX_DEPTH:
            raise DataError(
                f"{self._location}: draws over {MAX_ELEMENTS} elements, or elements nested over {MAX_DEPTH} levels "
                "deep; simplify the drawing"
            )
        self._stack += [(child, context, use or child) for child in reversed(elements)]

    def _visit_use(self, use: Element, context: _Context) -> None:
        name = (use.attributes.get("href") or "").strip()
        target = self._elements_by_id.get(name[1:]) if name.startswith("#") else None
        if use in context.uses:
            raise DataError(f"{self._location}: <use> of {name[:60]!r} refers to itself; remove the cycle")
        if target is None or target.tag not in RENDERED | {"symbol"}:
            self._report("invalid use", f"<use> of {name[:60]!r}, which is not a shape or group in this file; ignored")
            return
        matrix = multiply(context.matrix, translation(context.length(use, "x"), context.length(use, "y")))
        self._push([target], context._replace(matrix=matrix, uses=(*context.uses, use)), use)

    def _visit_viewport(self, element: Element, context: _Context, sized_by: Element) -> None:
        """Visit an inner <svg> or a <symbol>.

        Args:
            element: the <svg> or <symbol>.
            context: properties of the element.
            sized_by: the <use> whose width and height override those of the element, or the element itself.
        """
        width, height = self._viewport_size(element, sized_by, context)
        if width <= 0 or height <= 0:
            return
        matrix = multiply(context.matrix, translation(context.length(element, "x"), context.length(element, "y")))
        if element.view_box:
            matrix = multiply(matrix, _view_box_matrix(element, element.view_box, width, height))
            width, height = element.view_box[2:]
        self._push(element.children, context._replace(matrix=matrix, width=width, height=height))

    def _viewport_size(self, element: Element, sized_by: Element, context: _Context) -> tuple[float, float]:
        """Return the size of a viewport; the outer viewport replaces a missing or invalid width or height."""
        size = {"width": context.width, "height": context.height}
        for name in size:
            try:
                size[name] = context.length(sized_by if sized_by.get_property(name) else element, name, "100%")
            except InvalidLengthError as error:
                self._report("length not understood", f"{error}; ignored")
        return size["width"], size["height"]

    def _visit_shape(self, element: Element, context: _Context) -> None:
        error = ""
        if element.tag in ("path", "polyline", "polygon"):
            path, error = element.path
        else:
            path = shape_outline(element, context.length)
        if error:
            self._report("path truncated", f"a <{element.tag}> is invalid at {error[:40]!r}; the rest is ignored")
        self._segments += len(path.segments)
        if self._segments > MAX_POINTS:
            raise too_many_points(self._location, MAX_POINTS)
        if not len(path.segments):
            return
        with np.errstate(all="ignore"):
            path = path.transform(context.matrix)
            is_background = context.stroke == "none" and covers_page(path, self._page)
        if is_background:
            self._report("background", f"a <{element.tag}> without a stroke fills the whole page; ignored")
        else:
            self.paths.append(path)

    def _report(self, reason: str, detail: str) -> None:
        self.repaired.setdefault(reason, Remark(reason, f"{self._location}: {detail}"))


def _view_box_matrix(
    element: Element, view_box: tuple[float, float, float, float], width: float, height: float
) -> Matrix:
    """Return the map from a viewBox to the viewport (0, 0, width, height), according to preserveAspectRatio."""
    words = (element.get_property("preserveAspectRatio") or "").split() or ["xMidYMid"]
    scale_x, scale_y = width / view_box[2], height / view_box[3]
    if words[0] != "none":
        scale_x = scale_y = max(scale_x, scale_y) if "slice" in words else min(scale_x, scale_y)
    left = (width - scale_x * view_box[2]) * _ALIGNMENT.get(words[0][1:4], 0.5)
    top = (height - scale_y * view_box[3]) * _ALIGNMENT.get(words[0][5:8], 0.5)
    return scale_x, 0.0, 0.0, scale_y, left - scale_x * view_box[0], top - scale_y * view_box[1]


FORMAT = Format("SVG", (".svg",), recognizes, single_chunk, parse)
