"""Reader of SVG files: one drawing per file, one stroke per subpath of its paths and shapes, with y pointing down.

Coordinates are in units of the outermost viewBox. The scale from the viewBox to the width and height of the page is
applied only if it changes the aspect ratio of the drawing, which requires preserveAspectRatio="none".

An element with a visible stroke is read as strokes, even if it is filled, too. An element with only a fill is an area.
The outlines of areas are read only if `parse` is called with `outlines`. If the file sets neither fill nor stroke for
an element, the element is an area if all its subpaths are closed; otherwise the element is read as strokes. An area
that is a rectangle and covers the page is a background and is never read. `svg_css.py` states which rules of style
sheets are applied. Clips, masks and CSS transforms are not applied.

The text of a drawing is the attribute `kvg:element` of the outermost group, as in KanjiVG, or the content of
`<title class="text">`, as written by `svg_writer.py`. Other titles are ignored, because most programs write the file
name there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record
from mdnrnn.data.formats.bezier import BezierPath
from mdnrnn.data.formats.flattening import flatten
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.svg_paint import Paint, is_zero, normalize_color
from mdnrnn.data.formats.svg_path import too_many_points
from mdnrnn.data.formats.svg_remarks import FILLED, SvgRemarks
from mdnrnn.data.formats.svg_shapes import are_closed, covers_page, shape_outline
from mdnrnn.data.formats.svg_tree import GROUPS, RENDERED, Element, InvalidLengthError, read_document
from mdnrnn.data.formats.svg_values import IDENTITY, Matrix, multiply, translation
from mdnrnn.data.formats.svg_viewport import page_matrix, view_box_matrix
from mdnrnn.data.formats.xml import MAX_DEPTH, root_name
from mdnrnn.errors import DataError

MAX_ELEMENTS = 100_000
"""Maximum number of rendered elements; an element is counted again for each <use> that refers to it."""


def recognizes(path: Path, head: bytes) -> bool:
    """Return whether the root element is <svg>; if `head` ends before the root element, the extension decides."""
    root = root_name(head)
    return root == "svg" or (root is None and path.suffix.lower() == ".svg")


def parse(path: Path, outlines: bool = False) -> DrawingBatch:
    """Return the drawing of one file. Invalid paths, transforms and lengths are repaired and reported.

    Args:
        outlines: whether the outlines of filled areas are read as strokes, too.

    Raises:
        DataError: the file is not SVG or exceeds a limit.
    """
    document = read_document(path)
    traversal = _Traversal(str(path), document.elements_by_id, outlines)
    traversal.run(document.root)
    remarks = traversal.remarks
    remarks.lose("style rules", "selectors with combinators, and @rules, are not applied", document.style_sheet.ignored)
    record, repaired, lost = Record(str(path), text=document.text), list(remarks.repaired.values()), remarks.lost()
    if not traversal.paths:
        return DrawingBatch.from_polylines([], [remarks.explain_empty()], repaired, lost)
    polylines = flatten(traversal.paths, MAX_POINTS)  # `drop_invalid` later drops a drawing with infinite points
    if polylines is None:
        raise too_many_points(str(path), MAX_POINTS)
    points, lengths = polylines
    return DrawingBatch(points, lengths, np.array([len(lengths)]), [record], repaired=repaired, lost=lost)


def parse_outlines(path: Path) -> DrawingBatch:
    """Return the drawing of one file, with the outlines of its filled areas."""
    return parse(path, outlines=True)


class _Context(NamedTuple):
    """Properties that an element inherits from its ancestors."""

    width: float
    """Width of the viewport in user units. Percentages refer to the width and height of the viewport."""
    height: float
    matrix: Matrix = IDENTITY
    paint: Paint = Paint()
    depth: int = 0
    uses: tuple[Element, ...] = ()
    """The <use> elements through which the element is rendered, outermost first."""

    def enter(self, element: Element) -> _Context:
        """Return this context, updated with the properties of `element`."""
        return self._replace(
            matrix=multiply(self.matrix, element.transform[0]),
            paint=self.paint.enter(element),
            depth=self.depth + 1,
        )

    def length(self, element: Element, name: str, default: str = "0") -> float:
        """Return a length property of an element in user units."""
        return element.length(name, self.width, self.height, default)


class _Traversal:
    """Depth-first traversal, without recursion, that collects the paths of the rendered elements."""

    def __init__(self, location: str, elements_by_id: Mapping[str, Element], outlines: bool) -> None:
        self.paths: list[BezierPath] = []
        self._without_paint: list[int] = []  # indices of the paths for which the file sets neither fill nor stroke
        self.remarks = SvgRemarks(location)
        self._location, self._elements_by_id, self._outlines = location, elements_by_id, outlines
        # Elements to visit. For each: the element, the context of its parent, and the element whose width and height
        # apply, which is a <use> or the element itself.
        self._stack: list[tuple[Element, _Context, Element]] = []
        self._elements = self._segments = 0
        self._page = np.zeros((2, 2))  # upper left and lower right corner

    def run(self, root: Element) -> None:
        """Collect the paths of all elements inside the root element."""
        if self._is_hidden(root):
            return
        self.remarks.note_units(root)
        x, y, width, height = root.view_box or (0.0, 0.0, *self._viewport_size(root, root, _Context(100, 100)))
        matrix = page_matrix(root)
        a, _, _, d, e, f = matrix
        self._page = np.array([(x, y), (x + width, y + height)]) * (a, d) + (e, f)
        self._push(root.children, self._enter(root, _Context(width, height, matrix)))
        while self._stack:
            element, outer, sized_by = self._stack.pop()
            if self._is_hidden(element):
                continue
            try:
                self._visit(element, self._enter(element, outer), sized_by)
            except InvalidLengthError as error:
                self.remarks.repair("length not understood", f"{error}; ignored")
        with np.errstate(all="ignore"):
            self._remove_areas()

    def _is_hidden(self, element: Element) -> bool:
        """Return whether an element is hidden together with its descendants; count hidden elements as lost."""
        if (element.get_property("display") or "").lower() == "none":
            self.remarks.lose("hidden elements", f"<{element.tag}> has display none", element.drawn)
            return True
        if is_zero(element.get_property("opacity") or ""):
            self.remarks.lose("zero-opacity elements", f"<{element.tag}> has opacity 0", element.drawn)
            return True
        return False

    def _enter(self, element: Element, outer: _Context) -> _Context:
        error = element.transform[1]
        if error:
            expected = "expected matrix, translate, scale, rotate, skewX or skewY"
            self.remarks.repair(
                "transform not understood", f"<{element.tag}> has transform {error[:60]!r}; {expected}; ignored"
            )
        self.remarks.note_element(element)
        return outer.enter(element)

    def _visit(self, element: Element, context: _Context, sized_by: Element) -> None:
        if element.tag == "use":
            self._visit_use(element, context)
        elif element.tag in ("svg", "symbol"):
            self._visit_viewport(element, context, sized_by)
        elif element.tag in GROUPS:
            self._push(element.children, context)
        elif self.remarks.is_drawable(element, context.paint):
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
            self.remarks.repair(
                "invalid use", f"<use> of {name[:60]!r}, which is not a shape or group in this file; ignored"
            )
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
            matrix = multiply(matrix, view_box_matrix(element, element.view_box, width, height))
            width, height = element.view_box[2:]
        self._push(element.children, context._replace(matrix=matrix, width=width, height=height))

    def _viewport_size(self, element: Element, sized_by: Element, context: _Context) -> tuple[float, float]:
        """Return the width and height of a viewport. A missing or invalid value is that of the outer viewport."""
        size = {"width": context.width, "height": context.height}
        for name in size:
            try:
                size[name] = context.length(sized_by if sized_by.get_property(name) else element, name, "100%")
            except InvalidLengthError as error:
                self.remarks.repair("length not understood", f"{error}; ignored")
        return size["width"], size["height"]

    def _visit_shape(self, element: Element, context: _Context) -> None:
        error = ""
        if element.tag in ("path", "polyline", "polygon"):
            path, error = element.path if context.uses else element.parse_path()
        else:
            path = shape_outline(element, context.length)
        if error:
            detail = f"a <{element.tag}> is invalid at {error[:40]!r}; the rest is ignored"
            self.remarks.repair("path truncated", detail)
        self._segments += len(path.segments)
        if self._segments > MAX_POINTS:
            raise too_many_points(self._location, MAX_POINTS)
        if len(path.segments):
            with np.errstate(all="ignore"):
                self._add_path(path.transform(context.matrix), element.tag, context.paint)

    def _add_path(self, path: BezierPath, tag: str, paint: Paint) -> None:
        """Add the path of an element. Backgrounds are ignored, and areas that are not read are counted as lost."""
        if paint.has_stroke:
            self.remarks.colors.add(normalize_color(paint.stroke))
        elif covers_page(path, self._page):
            self.remarks.repair("background", f"a <{tag}> without a stroke fills the whole page; ignored")
            return
        elif not self._outlines and paint.is_declared:
            self.remarks.lose(FILLED, f"<{tag}> has a fill and no stroke; --outlines imports its outline")
            return
        elif not self._outlines:
            self._without_paint.append(len(self.paths))
        self.paths.append(path)

    def _remove_areas(self) -> None:
        """Remove the areas among the paths for which the file sets neither fill nor stroke, and count them as lost.

        These areas are the paths whose subpaths are all closed. Renderers fill such paths with black.
        """
        if self._without_paint:
            closed = are_closed([self.paths[i] for i in self._without_paint])
            areas = set(np.array(self._without_paint)[closed].tolist())
            self.paths = [path for i, path in enumerate(self.paths) if i not in areas]
            detail = "an element is closed and has no stroke; --outlines imports its outline"
            self.remarks.lose(FILLED, detail, len(areas))


FORMAT = Format("SVG", (".svg",), recognizes, single_chunk, parse, parse_outlines=parse_outlines)
