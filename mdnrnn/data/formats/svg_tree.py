"""The elements of an SVG file as a tree, read so that no file takes more time or memory than its size warrants."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from mdnrnn.data.drawings import MOST_POINTS
from mdnrnn.data.formats.bezier import IDENTITY, Matrix, Outline, Pen, draw_path, numbers, read_transform
from mdnrnn.data.formats.format import read_bounded
from mdnrnn.errors import DataError

MOST_BYTES = 32 << 20
MOST_NODES = 1 << 19
"""Elements and attributes."""
MOST_DATA = 4 << 20
"""Characters of path data and points: a second for each million at worst."""
MOST_DEPTH = 256
_LONGEST = 10_000
"""Characters of a name with its namespace, and of an attribute other than d and points."""
_MOST_NAMED = 64 << 20
"""Characters of all names: each stands with its whole namespace, a few letters of the file could be many thousand."""
_MOST_DECLARED = 100
_MOST_ENTITIES, _LONGEST_ENTITY = 64, 256

SHAPES = frozenset({"path", "line", "polyline", "polygon", "rect", "circle", "ellipse"})
GROUPS = frozenset({"svg", "g", "a", "switch"})
DRAWN = SHAPES | GROUPS | {"use"}
_GEOMETRY = {"x", "y", "width", "height", "rx", "ry", "cx", "cy", "r", "x1", "y1", "x2", "y2", "d", "points"}
_READ = {"id", "class", "style", "display", "visibility", "fill", "stroke", "transform", "href"} | _GEOMETRY
_READ |= {"viewBox", "preserveAspectRatio"}
_LENGTH = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Z]*|%)", re.ASCII)
_UNITS = {"": 1, "px": 1, "in": 96, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6, "pt": 4 / 3, "pc": 16}
_UNITS |= {"em": 16, "rem": 16, "ex": 8}
_SVG, _XLINK, _KANJIVG = (
    "{http://www.w3.org/2000/svg}",
    "{http://www.w3.org/1999/xlink}",
    "{http://kanjivg.tagaini.net}",
)


class BadLength(ValueError):
    """An attribute that should be a length is none; its text says which, and what was expected."""


class Element:
    """One element of the document; what is read of it is read once, however often it is used."""

    def __init__(self, tag: str, attributes: Mapping[str, str], where: str) -> None:
        self.tag, self.attributes, self.children = tag, attributes, list[Element]()
        self._where = where

    def look(self, name: str) -> str | None:
        """A property that may stand in an attribute or, and that counts more, in the style."""
        return self._style.get(name) or self.attributes.get(name)

    @cached_property
    def _style(self) -> dict[str, str]:
        pairs = (part.partition(":") for part in self.attributes.get("style", "").split(";"))
        return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs}

    def length(self, name: str, width: float, height: float, default: str = "0") -> float:
        """An attribute in user units, or `BadLength`; percentages are of a viewport of this width and height."""
        text = self.look(name) or default
        text = default if text == "auto" else text
        found = _LENGTH.fullmatch(text.strip()) if len(text) < 100 else None
        if not found or (found[2] != "%" and found[2].lower() not in _UNITS):
            raise BadLength(f"<{self.tag}> has {name} {text[:60]!r}; expected a number with or without a unit")
        if found[2] != "%":
            return float(found[1]) * _UNITS[found[2].lower()]
        across, down = "x" in name or name == "width", "y" in name or name == "height"
        whole = width if across else height if down else math.sqrt((width * width + height * height) / 2)
        return float(found[1]) / 100 * whole

    @cached_property
    def transform(self) -> tuple[Matrix, str]:
        """Its map, and what cannot be understood as one, or ""."""
        text = self.attributes.get("transform", "")
        try:
            return read_transform(text), ""
        except ValueError:
            return IDENTITY, text

    @cached_property
    def view_box(self) -> tuple[float, float, float, float] | None:
        values, whole = numbers(self.attributes.get("viewBox", ""))
        if not whole or len(values) != 4 or not all(map(math.isfinite, values)) or min(values[2:]) <= 0:
            return None
        return values[0], values[1], values[2], values[3]

    @cached_property
    def path(self) -> tuple[Outline, str]:
        """Of a path, polyline or polygon: what it draws, and what stands where its data is wrong, or ""."""
        pen = Pen()
        if self.tag == "path":
            problem = draw_path(pen, self.attributes.get("d", ""), self._where, MOST_POINTS)
            return pen.outline(), problem
        text = self.attributes.get("points", "")
        values, whole = numbers(text)
        for i, (x, y) in enumerate(zip(values[::2], values[1::2], strict=False)):
            (pen.line if i else pen.move)(x, y)
        if self.tag == "polygon" and len(pen):
            pen.close()
        return pen.outline(), "" if whole and len(values) % 2 == 0 else text


class Document:
    """Takes what the XML parser finds: a tree, what is written in it, and its elements by id.

    references: how many characters `&` there are, each of which may stand for the longest entity.
    """

    def __init__(self, where: str, references: int) -> None:
        self.root = Element("", {}, where)
        self.text: str | None = None
        self.ids: dict[str, Element] = {}
        self._where, self._references = where, references
        self._open: list[Element] = []
        self._nodes = self._named = self._data = self._declared = self._entities = 0
        self._title: list[str] | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._nodes += 1 + len(attributes)
        if self._nodes > MOST_NODES or len(self._open) > MOST_DEPTH:
            raise DataError(
                f"{self._where}: over {MOST_NODES} elements and attributes, or {MOST_DEPTH} elements in one another; "
                "no drawing needs so many; save it as plain SVG"
            )
        lengths = [len(name) for name in (tag, *attributes)]
        self._named += sum(lengths)
        if max(lengths) > _LONGEST:
            raise DataError(f"{self._where}: a name of over {_LONGEST} characters; this is no drawing; leave it out")
        if self._named > _MOST_NAMED:
            raise DataError(
                f"{self._where}: names of over {_MOST_NAMED >> 20} MB with their namespaces; save it as plain SVG"
            )
        tag = tag.removeprefix(_SVG)
        element = Element(tag, self._read(tag, attributes), self._where)
        if not self._open:
            self.root = element
        elif tag in DRAWN:
            self._open[-1].children.append(element)
        self._open.append(element)
        if "id" in element.attributes:
            self.ids.setdefault(element.attributes["id"], element)
        self.text = self.text or attributes.get(f"{_KANJIVG}element")
        if tag == "title" and len(self._open) == 2 and element.attributes.get("class") == "text":
            self._title = []

    def _read(self, tag: str, attributes: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in attributes.items() if name in _READ}
        if f"{_XLINK}href" in attributes:
            kept.setdefault("href", attributes[f"{_XLINK}href"])
        if tag not in DRAWN | {"symbol", "title"}:
            kept = {name: value for name, value in kept.items() if name == "id"}
        for name, value in kept.items():
            if name in ("d", "points"):
                self._data += len(value)
            elif len(value) > _LONGEST:
                raise DataError(
                    f"{self._where}: {name} of {len(value)} characters; expected at most {_LONGEST}; "
                    "save it as plain SVG"
                )
        if self._data > MOST_DATA:
            raise DataError(
                f"{self._where}: path data of over {MOST_DATA} characters; no hand drew so much; simplify the drawing"
            )
        return kept

    def end(self, tag: str) -> None:
        self._open.pop()
        if self._title is not None:
            self.text, self._title = self.text or "".join(self._title), None

    def data(self, text: str) -> None:
        if self._title is not None:
            self._title.append(text)

    def declare(self, element: str, name: str, kind: str, default: str | None, required: bool) -> None:
        """An ATTLIST of the DTD. Its defaults stand at every element: a few characters could become gigabytes."""
        self._declared += 1
        if self._declared > _MOST_DECLARED or len(default or "") > _LONGEST // _MOST_DECLARED:
            raise DataError(
                f"{self._where}: its DTD declares over {_MOST_DECLARED} attributes, or long defaults; "
                "save it as plain SVG"
            )

    def entity(self, name: str, parameter: bool, value: str | None, *elsewhere: str | None) -> None:
        """An ENTITY of the DTD: a few short ones without markup, which Illustrator has for namespaces and styles."""
        self._entities += 1
        short = value is not None and len(value) <= _LONGEST_ENTITY and not set(value) & set("&%<")
        if parameter or not short or self._entities > _MOST_ENTITIES:
            raise DataError(
                f"{self._where}: its DTD declares the entity {name[:60]!r}; expected at most {_MOST_ENTITIES}, each a "
                f"text of {_LONGEST_ENTITY} characters without &, % and <; save it as plain SVG"
            )
        if self._references * len(value or "") > MOST_BYTES:
            raise DataError(
                f"{self._where}: the entity {name[:60]!r} of its DTD could stand for over {MOST_BYTES >> 20} MB; "
                "save it as plain SVG"
            )


def read_document(path: Path) -> Document:
    """Of a file whose root is <svg>; anything else is a DataError."""
    data = read_bounded(path, MOST_BYTES)
    document = Document(str(path), data.count(b"&"))
    # The handler of entities is our own: that of defusedxml lets none pass.
    parser = DefusedXMLParser(target=document, forbid_dtd=False, forbid_entities=False, forbid_external=True)
    parser.parser.AttlistDeclHandler, parser.parser.EntityDeclHandler = document.declare, document.entity
    try:
        parser.feed(data)
        parser.close()
    except DataError:
        raise
    except DefusedXmlException as error:
        raise DataError(f"{path}: it refers to another file; save it as plain SVG") from error
    except (ParseError, ValueError, LookupError) as error:  # the latter two of an encoding
        raise DataError(f"{path}: no whole XML ({error}); expected an SVG; save or download it again") from error
    if document.root.tag != "svg":
        raise DataError(f"{path}: its root is <{document.root.tag[:60]}>; expected <svg>; leave it out")
    return document
