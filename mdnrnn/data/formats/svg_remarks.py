"""Remarks for the import report of an SVG file: repairs, and content that is lost because strokes cannot hold it."""

from __future__ import annotations

from mdnrnn.data.drawings import Remark
from mdnrnn.data.formats.svg_paint import Paint
from mdnrnn.data.formats.svg_tree import LOST_CONTENT, Element
from mdnrnn.data.formats.svg_values import physical_unit
from mdnrnn.errors import quantity

FILLED = "filled elements"
FILLS_ONLY = "fills without strokes"
"""Reason of the remark on a dropped file that has filled elements, but no strokes."""


class SvgRemarks:
    """Collector of remarks. It keeps the first remark of each kind, and counts lost content."""

    def __init__(self, location: str) -> None:
        self.repaired: dict[str, Remark] = {}
        self.colors: set[str] = set()
        """Colors of the strokes."""
        self._lost: dict[str, Remark] = {}
        self._layers = 0
        self._location = location

    def repair(self, reason: str, detail: str) -> None:
        """Note a repair."""
        self.repaired.setdefault(reason, Remark(reason, f"{self._location}: {detail}"))

    def lose(self, kind: str, detail: str, count: int = 1) -> None:
        """Add `count` to the number of lost items of a kind."""
        if count:
            remark = self._lost.get(kind) or Remark(kind, f"{self._location}: {detail}", count=0)
            self._lost[kind] = remark._replace(count=remark.count + count)

    def lost(self) -> list[Remark]:
        """Return one remark per kind of lost content."""
        if self._layers > 1:
            self.lose("layers", "the strokes of all layers form one drawing", self._layers)
        if len(self.colors) > 1:
            self.lose("colors", "the colors of the strokes are ignored", len(self.colors))
        return list(self._lost.values())

    def note_units(self, root: Element) -> None:
        """Count the size of the page as lost if it has a physical unit, such as mm."""
        size = root.get_property("width") or root.get_property("height") or ""
        if physical_unit(size):
            self.lose("physical units", f"the page has a size of {size}; coordinates are in units of the viewBox")

    def note_element(self, element: Element) -> None:
        """Count the layer, the clip path and the mask of a rendered element as lost."""
        self._layers += element.is_layer
        for name, kind in (("clip-path", "clip paths"), ("mask", "masks")):
            if (element.get_property(name) or "none").lower() != "none":
                self.lose(kind, f"the {name} of <{element.tag}> is not applied")

    def is_drawable(self, element: Element, paint: Paint) -> bool:
        """Return whether an element is a visible shape; count any other element as lost."""
        if not paint.is_visible:
            self.lose("hidden elements", f"<{element.tag}> has visibility {paint.visibility[:20]}")
        elif element.tag in LOST_CONTENT:
            self.lose(LOST_CONTENT[element.tag], f"<{element.tag}> has no strokes")
        elif paint.has_stroke or paint.has_fill:
            return True
        elif paint.is_none:
            self.lose("unpainted elements", f"<{element.tag}> has neither fill nor stroke")
        else:
            self.lose("zero-opacity elements", f"<{element.tag}> has a fill or stroke of opacity or width 0")
        return False

    def explain_empty(self) -> Remark:
        """Return a remark that explains why a file has no strokes."""
        if FILLED in self._lost:
            found = f"{quantity(self._lost[FILLED].count, FILLED)} and no strokes"
            advice = "import their outlines with mdnrnn data import --outlines"
            return Remark(FILLS_ONLY, f"{self._location} has {found}; {advice}", malformed=False)
        found = ", ".join(quantity(remark.count, kind) for kind, remark in self._lost.items())
        return Remark("empty", f"{self._location} has no points{found and f', but {found}'}", malformed=False)
