"""Parser for untrusted XML. It limits sizes, depth, names and DTD declarations, and never opens another file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers.expat import ExpatError
from xml.parsers.expat.errors import XML_ERROR_UNBOUND_PREFIX, codes
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from mdnrnn.data.formats.format import read_bounded
from mdnrnn.data.formats.xml_encoding import declare_prefixes, detect_encoding, to_utf8
from mdnrnn.errors import DataError

MAX_MARKS = 1 << 22
"""Maximum number of tags and attributes of a file that is parsed into a tree. This limits memory: an element of the
tree takes about twenty times as many bytes as the shortest tag."""
MAX_DEPTH = 256
"""Maximum number of ancestors of an element."""
MAX_NAME = 10_000
"""Maximum number of characters of a name, including its namespace."""
_MAX_DECLARED_ATTRIBUTES, _MAX_DEFAULT = 100, 100
"""Maximum number of attributes that a DTD declares, and maximum number of characters of a default value. The parser
adds the default values to every element of the declared type. Without limits, a small file could expand to gigabytes.
"""
_MAX_ENTITY = 256
"""Maximum number of characters of the text of an entity."""

_PROLOG = re.compile(r"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>\s*)*", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TAG = re.compile(r"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)[\s/>]")
_UNBOUND_PREFIX = codes[XML_ERROR_UNBOUND_PREFIX]
_INVALID_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Target(Protocol):
    """Receiver of the parser's events."""

    def start(self, tag: str, attrs: dict[str, str], /) -> object:
        """Open an element. The names of the tag and its attributes have the form {namespace}local."""

    def end(self, tag: str, /) -> object:
        """Close an element."""

    def data(self, data: str, /) -> object:
        """Receive text."""


T = TypeVar("T", bound=Target)


@dataclass(frozen=True, kw_only=True)
class XmlLimits:
    """Limits for the XML files of one format."""

    file_bytes: int
    """Maximum size of the file in bytes. It is also the maximum size of the text to which all references to an entity
    could expand."""
    nodes: int
    """Maximum number of elements and attributes, including default attributes from the DTD."""
    name_characters: int
    """Maximum total number of characters of all names. The parser expands a short namespace prefix in each name to the
    namespace, which can have thousands of characters."""
    entities: int = 0
    """Maximum number of entities that the DTD declares. Each entity must be a short text without markup and without
    references to entities."""
    advice: str = "do not trust this file"
    """Advice to the user at the end of the error messages."""


def parse_xml(path: Path, make_target: Callable[[], T], limits: XmlLimits) -> T:
    """Parse an XML file, send its elements and text to a new target, and return the target.

    Raises:
        DataError: the file is not XML, exceeds a limit or refers to another file.
    """
    return _parse(path, _to_utf8(path, read_bounded(path, limits.file_bytes)), make_target, limits)


def parse_xml_tree(path: Path, max_bytes: int) -> Element:
    """Parse an XML file without entity declarations into a tree, and return the root element.

    Args:
        path: the file.
        max_bytes: maximum size of the file.

    Raises:
        DataError: the file is not XML, has more than `max_bytes` bytes or `MAX_MARKS` tags and attributes, exceeds
            another limit, declares entities or refers to another file.
    """
    data = _to_utf8(path, read_bounded(path, max_bytes))
    if (marks := count_marks(data)) > MAX_MARKS:
        raise DataError(f"{path}: received {marks} tags and attributes; expected at most {MAX_MARKS}; split the file")
    limits = XmlLimits(file_bytes=max_bytes, nodes=MAX_MARKS, name_characters=256 << 20)
    return _parse(path, data, TreeBuilder, limits).close()


def _to_utf8(path: Path, data: bytes) -> bytes:
    """Return the content of a file in UTF-8."""
    try:
        return to_utf8(data)
    except (UnicodeDecodeError, LookupError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); save the file as UTF-8") from error


def _parse(path: Path, data: bytes, make_target: Callable[[], T], limits: XmlLimits) -> T:
    try:
        try:
            return _feed(path, data, make_target(), limits)
        except ParseError as error:
            if error.code != _UNBOUND_PREFIX:
                raise
        return _feed(path, declare_prefixes(data), make_target(), limits)
    except DataError:
        raise
    except DefusedXmlException as error:
        raise DataError(f"{path}: received an entity that refers to another file; {limits.advice}") from error
    except (ParseError, ExpatError) as error:
        raise DataError(f"{path}: not XML, or incomplete ({error}); save or download the file again") from error
    except ValueError as error:
        raise DataError(f"{path}: received {error}; {limits.advice}") from error


def _feed(path: Path, data: bytes, target: T, limits: XmlLimits) -> T:
    bounded = _BoundedTarget(str(path), target, limits, data.count(b"&"))
    # `forbid_entities` would reject every entity; `bounded` checks the declarations instead.
    parser = DefusedXMLParser(
        target=bounded, encoding="utf-8", forbid_dtd=False, forbid_entities=False, forbid_external=True
    )
    parser.parser.AttlistDeclHandler, parser.parser.EntityDeclHandler = (
        bounded.declare_attribute,
        bounded.declare_entity,
    )
    parser.feed(data)
    parser.close()
    return target


class _BoundedTarget:
    """Forward the parser's events to a target; raise `DataError` if a limit is exceeded.

    Args:
        references: number of `&` in the file, an upper bound of the number of expanded entities.
    """

    def __init__(self, location: str, target: Target, limits: XmlLimits, references: int) -> None:
        self.data = target.data
        self._location, self._target, self._limits, self._references = location, target, limits, references
        self._depth = self._nodes = self._name_characters = self._declared_attributes = self._entities = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._nodes += 1 + len(attributes)
        lengths = [len(tag), *map(len, attributes)]
        self._name_characters += sum(lengths)
        if (
            self._nodes > self._limits.nodes
            or self._depth > MAX_DEPTH
            or max(lengths) > MAX_NAME
            or self._name_characters > self._limits.name_characters
        ):
            raise self._exceeded(max(lengths))
        self._depth += 1
        self._target.start(tag, attributes)

    def end(self, tag: str) -> None:
        self._depth -= 1
        self._target.end(tag)

    def _exceeded(self, longest_name: int) -> DataError:
        limits = self._limits
        if self._nodes > limits.nodes:
            problem = f"over {limits.nodes} elements and attributes"
        elif self._depth > MAX_DEPTH:
            problem = f"elements nested over {MAX_DEPTH} levels deep"
        elif longest_name > MAX_NAME:
            problem = f"a name of over {MAX_NAME} characters"
        else:
            problem = f"names of over {limits.name_characters >> 20} MB, with their namespaces"
        return DataError(f"{self._location}: received {problem}; {limits.advice}")

    def declare_attribute(self, element: str, name: str, kind: str, default: str | None, required: bool) -> None:
        """Check one attribute that an ATTLIST of the DTD declares."""
        self._declared_attributes += 1
        if self._declared_attributes > _MAX_DECLARED_ATTRIBUTES or len(default or "") > _MAX_DEFAULT:
            raise DataError(
                f"{self._location}: its DTD declares over {_MAX_DECLARED_ATTRIBUTES} attributes, or a default of over "
                f"{_MAX_DEFAULT} characters; {self._limits.advice}"
            )

    def declare_entity(self, name: str, is_parameter: bool, value: str | None, *external: str | None) -> None:
        """Check one ENTITY declaration of the DTD."""
        limits = self._limits
        self._entities += 1
        is_short_text = value is not None and len(value) <= _MAX_ENTITY and not set(value) & set("&%<")
        if is_parameter or not is_short_text or self._entities > limits.entities:
            expected = f"at most {limits.entities}, each a text of {_MAX_ENTITY} characters without &, % and <"
            raise DataError(
                f"{self._location}: its DTD declares the entity {name[:60]!r}; expected "
                f"{expected if limits.entities else 'no entities'}; {limits.advice}"
            )
        if self._references * len(value or "") > limits.file_bytes:
            raise DataError(
                f"{self._location}: the entity {name[:60]!r} of its DTD could expand to over "
                f"{limits.file_bytes >> 20} MB; {limits.advice}"
            )


def count_marks(data: bytes) -> int:
    """Return an upper bound of the number of tags and attributes in XML data."""
    return data.count(b"<") + data.count(b"=")


def root_name(head: bytes) -> str | None:
    """Return the local name of the root element.

    Args:
        head: the first bytes of a file.

    Returns:
        The name, "" if the file is not XML, or None if `head` ends before the root element.
    """
    try:
        text = head.decode(detect_encoding(head[:256]), errors="replace")
    except LookupError:  # the reader will report the encoding
        text = head.decode("latin-1")
    if not text.lstrip().startswith("<"):
        return ""
    prolog = _PROLOG.match(text)
    start = prolog.end() if prolog else 0
    tag = _TAG.match(text, start)
    if not tag and text[start : start + 2] in ("", "<!", "<?"):
        return None
    tag = tag or _TAG.search(_COMMENT.sub("", text))  # search malformed files too, for a better error message
    return tag[1] if tag else ""


def local_name(element: Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def element_id(element: Element) -> str | None:
    """Return the identifier by which other elements refer to an element: its `xml:id` or `id`."""
    return element.get("{http://www.w3.org/XML/1998/namespace}id") or element.get("id")


def find_invalid_character(text: str) -> str | None:
    """Return the first character that XML cannot represent, or None."""
    match = _INVALID_CHARACTER.search(text)
    return match[0] if match else None


def replace_invalid_characters(text: str) -> str:
    """Replace each character that XML cannot represent by a question mark."""
    return _INVALID_CHARACTER.sub("?", text)


def escape_text(text: str) -> str:
    """Escape `text` for the content of an element, so that parsing restores all characters, also carriage returns."""
    return escape(text, {"\r": "&#13;"})
