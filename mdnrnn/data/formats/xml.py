"""XML from files that nobody vouches for: no entities, nothing fetched, a bounded tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from mdnrnn.data.formats.format import read_bounded
from mdnrnn.errors import DataError

MOST_MARKS = 1 << 22
"""Tags and attributes: the tree takes some twenty times the memory of the shortest tag."""
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_TAG = re.compile(rb"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)[\s/>]")


def parse_xml(path: Path, most_bytes: int) -> Element:
    """The root of an XML file of at most `most_bytes`. A DTD may stand in it; entities may not."""
    data = read_bounded(path, most_bytes)
    if (marks := marks_of(data)) > MOST_MARKS:
        raise DataError(f"{path}: {marks} tags and attributes; expected at most {MOST_MARKS}; split the file")
    try:
        return fromstring(data, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise DataError(f"{path}: declares or fetches entities, which are not read; do not trust this file") from error
    except ParseError as error:
        raise DataError(f"{path}: not XML, or damaged ({error}); get the file again") from error
    except (ValueError, LookupError) as error:
        raise DataError(f"{path}: its encoding is not read ({error}); expected UTF-8; save it so") from error


def marks_of(data: bytes) -> int:
    """How many tags and attributes there are at most."""
    return data.count(b"<") + data.count(b"=")


def root_name(head: bytes) -> str:
    """The name of the first element in the first bytes of a file, without its namespace; "" where there is none."""
    tag = _TAG.search(_COMMENT.sub(b"", head.replace(b"\0", b"")))
    return tag[1].decode("ascii", "replace") if tag else ""


def name_of(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def identity(element: Element) -> str | None:
    """What others refer to an element by: its `id` or `xml:id`."""
    return element.get("{http://www.w3.org/XML/1998/namespace}id") or element.get("id")


def near(element: Element) -> Iterator[Element]:
    """Children and grandchildren, in the order of the file."""
    for child in element:
        yield child
        yield from child
