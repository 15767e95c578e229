"""Element tree of an SVG file: the elements and attributes that affect the drawing. The size of the tree is limited."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mdnrnn.data.drawings import MAX_POINTS
from mdnrnn.data.formats.bezier import BezierPath, PathBuilder
from mdnrnn.data.formats.svg_css import PROPERTIES, StyleSheet, parse_declarations
from mdnrnn.data.formats.svg_path import parse_path
from mdnrnn.data.formats.svg_values import IDENTITY, Matrix, parse_length, parse_numbers, parse_transform
from mdnrnn.data.formats.xml import XmlLimits, parse_xml
from mdnrnn.errors import DataError

_ADVICE = "save it as plain SVG"
LIMITS = XmlLimits(file_bytes=32 << 20, nodes=1 << 19, name_characters=64 << 20, entities=64, advice=_ADVICE)
"""Limits of SVG files. Entities are allowed because Adobe Illustrator declares them for namespaces and styles."""
MAX_PATH_DATA = 4 << 20
"""Maximum total characters of all attributes `d` and `points` of a file. Parsing a million numbers takes up to two
seconds and 200 MB of memory."""
MAX_ATTRIBUTE = 10_000
"""Maximum characters of an attribute other than `d` and `points`."""

SHAPES = frozenset({"path", "line", "polyline", "polygon", "rect", "circle", "ellipse"})
GROUPS = frozenset({"svg", "g", "a", "switch"})
LOST_CONTENT = {"text": "text elements", "image": "image elements", "foreignObject": "foreign objects"}
"""Rendered elements without strokes: tag -> kind of lost content."""
_LEAVES = SHAPES | LOST_CONTENT.keys() | {"use"}
RENDERED = GROUPS | _LEAVES
_GEOMETRY = {"x", "y", "width", "height", "rx", "ry", "cx", "cy", "r", "x1", "y1", "x2", "y2", "d", "points"}
_ATTRIBUTES = {"id", "class", "style", "transform", "href", "viewBox", "preserveAspectRatio"} | PROPERTIES | _GEOMETRY
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_KANJIVG_ELEMENT = "{http://kanjivg.tagaini.net}element"
_INKSCAPE_GROUPMODE = "{http://www.inkscape.org/namespaces/inkscape}groupmode"


class InvalidLengthError(ValueError):
    """An attribute is not a length. The message states the attribute and what was expected."""


class Element:
    """One element of the document. Parsed values are cached, because `<use>` can refer to an element many times."""

    def __init__(self, tag: str, attributes: Mapping[str, str], location: str, style_sheet: StyleSheet) -> None:
        self.tag, self.attributes, self.children = tag, attributes, list[Element]()
        self.drawn = int(tag in _LEAVES)
        """Number of rendered elements that are not groups, among this element and its descendants."""
        self._location, self._style_sheet = location, style_sheet
        self._style: dict[str, str] | None = None  # computed when all style sheets have been read

    def get_property(self, name: str) -> str | None:
        """Return the property `name`, or None if it is not set.

        The attribute `style` has the highest priority, then style sheets, then the attribute called `name`. A value
        with !important in a style sheet overrides a value without !important in `style`.
        """
        if self._style is None:
            self._style = self._cascade()
        return self._style.get(name) or self.attributes.get(name)

    @property
    def is_layer(self) -> bool:
        """Whether the element is a layer of Inkscape."""
        return self.attributes.get("groupmode") == "layer"

    def _cascade(self) -> dict[str, str]:
        """Return the properties that are set by style sheets and by the attribute `style`."""
        if "style" not in self.attributes and self._style_sheet.is_empty:
            return {}
        get = self.attributes.get
        inline = parse_declarations(get("style", ""))
        for name, declaration in self._style_sheet.declarations(self.tag, get("id", ""), get("class", "")).items():
            if name not in inline or declaration.is_important > inline[name].is_important:
                inline[name] = declaration
        return {name: declaration.value for name, declaration in inline.items()}

    def length(self, name: str, width: float, height: float, default: str = "0") -> float:
        """Return a length property in user units.

        Args:
            name: name of the property.
            width, height: size of the viewport. Percentages refer to this size.
            default: value that replaces "auto" or a missing property.

        Raises:
            InvalidLengthError: the property is not a length.
        """
        text = self.get_property(name) or default
        text = default if text == "auto" else text
        horizontal, vertical = "x" in name or name == "width", "y" in name or name == "height"
        full = width if horizontal else height if vertical else math.sqrt((width * width + height * height) / 2)
        length = parse_length(text, full)
        if length is None:
            raise InvalidLengthError(f"<{self.tag}> has {name} {text[:60]!r}; expected a number with or without a unit")
        return length

    @cached_property
    def transform(self) -> tuple[Matrix, str]:
        """Affine map of the attribute `transform`, and an error text.

        The error text is "" if the attribute is valid or missing. If the attribute is invalid, the map is the identity,
        and the error text is the text of the attribute.
        """
        text = self.attributes.get("transform", "")
        try:
            return parse_transform(text), ""
        except ValueError:
            return IDENTITY, text

    @cached_property
    def view_box(self) -> tuple[float, float, float, float] | None:
        """Left, top, width and height of the viewBox, or None if there is no valid viewBox."""
        values, complete = parse_numbers(self.attributes.get("viewBox", ""))
        if not complete or len(values) != 4 or not all(map(math.isfinite, values)) or min(values[2:]) <= 0:
            return None
        return values[0], values[1], values[2], values[3]

    @cached_property
    def path(self) -> tuple[BezierPath, str]:
        """Cached result of `parse_path`, for an element that is rendered through <use> elements."""
        return self.parse_path()

    def parse_path(self) -> tuple[BezierPath, str]:
        """Return the path of a <path>, <polyline> or <polygon> up to the first error, and an error text.

        The error text is "" if there is no error. Otherwise it is the invalid command of a <path>, or the attribute
        `points` of a <polyline> or <polygon>.
        """
        builder = PathBuilder()
        if self.tag == "path":
            error = parse_path(builder, self.attributes.get("d", ""), self._location, MAX_POINTS)
            return builder.build(), error
        text = self.attributes.get("points", "")
        values, complete = parse_numbers(text)
        for i, (x, y) in enumerate(zip(values[::2], values[1::2], strict=False)):
            (builder.line_to if i else builder.move_to)(x, y)
        if self.tag == "polygon" and len(builder):
            builder.close()
        path = builder.build()._replace(keeps_points=self.tag == "polyline")
        return path, "" if complete and len(values) % 2 == 0 else text


class Document:
    """Root element, elements by id, and text of the drawing. The methods receive the events of the XML parser."""

    def __init__(self, location: str) -> None:
        self.style_sheet = StyleSheet(location)
        self.root = Element("", {}, location, self.style_sheet)
        self.text: str | None = None
        self.elements_by_id: dict[str, Element] = {}
        self._location = location
        self._open_elements: list[Element] = []
        self._path_data = 0
        self._title: list[str] | None = None
        """Parts of the text of the drawing, while its title element is open; else None."""
        self._style: tuple[list[str], dict[str, str]] | None = None
        """Parts of a style sheet and the attributes of its element, while the element is open; else None."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Open an element. Rendered elements are added to the tree."""
        tag = tag.removeprefix(_SVG)
        element = Element(tag, self._select_attributes(tag, attributes), self._location, self.style_sheet)
        if not self._open_elements:
            self.root = element
        elif tag in RENDERED:
            self._open_elements[-1].children.append(element)
        self._open_elements.append(element)
        if "id" in element.attributes:
            self.elements_by_id.setdefault(element.attributes["id"], element)
        self.text = self.text or attributes.get(_KANJIVG_ELEMENT)
        if tag == "title" and len(self._open_elements) == 2 and element.attributes.get("class") == "text":
            self._title = []
        elif tag == "style":
            self._style = [], attributes

    def _select_attributes(self, tag: str, attributes: dict[str, str]) -> dict[str, str]:
        selected = {name: value for name, value in attributes.items() if name in _ATTRIBUTES}
        if _XLINK_HREF in attributes:
            selected.setdefault("href", attributes[_XLINK_HREF])
        if _INKSCAPE_GROUPMODE in attributes:
            selected["groupmode"] = attributes[_INKSCAPE_GROUPMODE]
        if tag not in RENDERED | {"symbol", "title"}:
            selected = {name: value for name, value in selected.items() if name == "id"}
        for name, value in selected.items():
            if name in ("d", "points"):
                self._path_data += len(value)
            elif len(value) > MAX_ATTRIBUTE:
                raise DataError(
                    f"{self._location}: received {name} of {len(value)} characters; expected at most {MAX_ATTRIBUTE}; "
                    f"{_ADVICE}"
                )
        if self._path_data > MAX_PATH_DATA:
            raise DataError(
                f"{self._location}: received path data of over {MAX_PATH_DATA} characters; simplify the drawing"
            )
        return selected

    def end(self, tag: str) -> None:
        """Close the innermost open element."""
        element = self._open_elements.pop()
        if self._open_elements and element.tag in RENDERED:
            self._open_elements[-1].drawn += element.drawn
        if self._style is not None and element.tag == "style":
            (parts, attributes), self._style = self._style, None
            self.style_sheet.add("".join(parts), attributes.get("media", ""), attributes.get("type", ""))
        if self._title is not None:
            self.text, self._title = self.text or "".join(self._title), None

    def data(self, text: str) -> None:
        """Receive text between tags; only the text of the drawing and of style sheets is kept."""
        if self._title is not None:
            self._title.append(text)
        elif self._style is not None:
            self._style[0].append(text)


def read_document(path: Path) -> Document:
    """Return the document of an SVG file.

    Raises:
        DataError: the file is not XML, its root is not <svg>, or it exceeds a limit.
    """
    document = parse_xml(path, lambda: Document(str(path)), LIMITS)
    if document.root.tag != "svg":
        raise DataError(f"{path}: its root is <{document.root.tag[:60]}>; expected <svg>; remove it from the import")
    return document
