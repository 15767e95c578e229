"""Tests of SVG documents: recognition, invalid files, DTDs, and limits against files that are costly to read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mdnrnn.data import drawings
from mdnrnn.data.drawings import Record
from mdnrnn.data.formats import svg_reader, svg_tree
from mdnrnn.data.formats.bezier import PathBuilder
from mdnrnn.data.formats.svg_reader import FORMAT, parse
from mdnrnn.data.formats.svg_tree import Document
from mdnrnn.errors import DataError
from tests.data.formats.fuzzing import memory_limit
from tests.data.formats.samples import KANJIVG_SVG
from tests.data.formats.svg_helpers import parse_svg, svg_document


def test_file_is_one_drawing(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    result = parse_svg(path, svg_document("<path d='M0 0L1 1'/>"))
    assert list(FORMAT.chunks(path)) == [path]
    assert result.records == [Record(str(path))]


RECOGNIZED: dict[str, tuple[str, bytes, bool]] = {
    "root": ("x.svg", b"<svg xmlns='...'>", True),
    "other extension": ("x.xml", b"<svg>", True),
    "white space": ("x", b" \n<svg/>", True),
    "namespace prefix": ("x", b"<?xml version='1.0'?><svg:svg xmlns:svg='...'>", True),
    "KanjiVG": ("x", KANJIVG_SVG.encode(), True),
    "UTF-16": ("x", "<?xml version='1.0'?><svg>".encode("utf-16"), True),
    "comment longer than the head": ("x.svg", b"<?xml version='1.0'?><!-- " + b"x" * 4000, True),
    "comment longer than the head, other extension": ("x.xml", b"<?xml version='1.0'?><!-- " + b"x" * 4000, False),
    "SVG in HTML": ("x.svg", b"<!DOCTYPE html><html><body><svg>", False),
    "InkML": ("x.svg", b"<ink xmlns='http://www.w3.org/2003/InkML'>", False),
    "SVG in a comment": ("x.svg", b"<!-- <svg> --><ink>", False),
    "longer root name": ("x", b"<svgish>", False),
    "text": ("x.svg", b"1,2,3", False),
    "empty": ("x.svg", b"", False),
}


@pytest.mark.parametrize(("name", "head", "expected"), RECOGNIZED.values(), ids=RECOGNIZED)
def test_format_is_recognized_by_root_element(name: str, head: bytes, expected: bool) -> None:
    assert FORMAT.recognizes(Path(name), head[:4096]) is expected


def test_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        parse(tmp_path / "none.svg")


def with_entities(*values: str) -> str:
    """Return a document that declares entities a0, a1, ... and refers to the last one."""
    declarations = "".join(f"<!ENTITY a{i} '{value}'>" for i, value in enumerate(values))
    body = f"<desc>&a{len(values) - 1};</desc><line x2='1'/>"
    return f"<!DOCTYPE svg [{declarations}]>{svg_document(body)}"


def test_entities_up_to_the_limits_are_accepted(tmp_path: Path) -> None:
    assert len(parse_svg(tmp_path / "x.svg", with_entities(*["x" * 256] * 64))) == 1
    assert len(parse_svg(tmp_path / "x.svg", with_entities("", " ü "))) == 1


INVALID: dict[str, tuple[str | bytes, str]] = {
    "empty": (b"", "not XML, or incomplete"),
    "zeros": (bytes(100), "not XML, or incomplete"),
    "text": ("hello", "not XML, or incomplete"),
    "incomplete": (KANJIVG_SVG[:-20], "not XML, or incomplete"),
    "many undeclared prefixes": (
        f"<svg>{''.join(f'<a{i}:b/>' for i in range(65))}</svg>",
        "received over 64 namespace prefixes; save it as plain SVG",
    ),
    "undeclared prefix in a malformed file": ("<svg><use xlink:href='#a'/><g></svg>", "not XML, or incomplete"),
    "unknown encoding": ("<?xml version='1.0' encoding='klingon'?><svg/>", "decoded .*encoding: klingon"),
    "encoding of bytes": ("<?xml version='1.0' encoding='zlib'?><svg/>", "encoding"),
    "invalid UTF-8": (b"<svg>\xff\xfe\xfd</svg>", "not XML, or incomplete"),
    "HTML": ("<html><svg/></html>", "its root is <html>; expected <svg>"),
    "svg in another namespace": (
        "<svg xmlns='http://example.org'/>",
        "its root is <{http://example.org}svg>; expected <svg>",
    ),
    "use of itself": (svg_document("<use id='a' href='#a'/>"), "refers to itself"),
    "use of its parent": (svg_document("<g id='a'><line x2='1'/><use href='#a'/></g>"), "refers to itself"),
    "uses of each other": (
        svg_document("<defs><use id='a' href='#b'/><use id='b' href='#a'/></defs><use href='#a'/>"),
        "refers to itself",
    ),
    "entity with markup": (with_entities("<line/>"), "declares the entity 'a0'; expected .* save it as plain SVG"),
    "entity of an entity": (with_entities("b", "&a0;"), "declares the entity 'a1'"),
    "entity of an entity, escaped": (with_entities("b", "&#38;a0;"), "declares the entity 'a1'"),
    "entity with a percent sign": (with_entities("100&#37;"), "declares the entity 'a0'"),
    "long entity": (with_entities("x" * 257), "declares the entity 'a0'"),
    "many entities": (with_entities(*["x"] * 65), "declares the entity 'a64'"),
    "long entity name": (f"<!DOCTYPE svg [<!ENTITY {'a' * 999} '&#38;'>]><svg/>", "declares the entity 'aaa"),
    "unparsed entity": (
        "<!DOCTYPE svg [<!NOTATION n SYSTEM 'n'><!ENTITY a SYSTEM 'x' NDATA n>]><svg/>",
        "declares the entity 'a'",
    ),
    "public entity": ("<!DOCTYPE svg [<!ENTITY a PUBLIC 'x' 'y'>]><svg/>", "declares the entity 'a'"),
    "entity of a file": (
        "<!DOCTYPE svg [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg><title class='text'>&a;</title></svg>",
        "declares the entity 'a'",
    ),
    "parameter entity": ("<!DOCTYPE svg [<!ENTITY % a 'b'>%a;]><svg/>", "declares the entity 'a'"),
    "external parameter entity": (
        "<!DOCTYPE svg [<!ENTITY % a SYSTEM 'http://x/y'>%a;]><svg/>",
        "declares the entity 'a'",
    ),
    "undeclared entity": (svg_document("<title>&nbsp;</title>"), "not XML, or incomplete .*entity"),
    "undeclared entity with an external DTD": (
        "<!DOCTYPE svg SYSTEM 'http://x/y'><svg>&nbsp;</svg>",
        "not XML, or incomplete .*entity",
    ),
}


@pytest.mark.parametrize(("content", "message"), INVALID.values(), ids=INVALID)
def test_invalid_file_is_refused_in_one_line(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_svg(tmp_path / "x.svg", content)
    assert str(caught.value).startswith(f"{tmp_path / 'x.svg'}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


SCALE = 32
"""Factor by which the limits, and the files that exceed them, are reduced in the tests below."""
MAX_NODES, MAX_ELEMENTS, MAX_POINTS, MAX_PATH_DATA = (1 << 19) // SCALE, 100_000 // SCALE, (1 << 20) // SCALE, 1 << 17


def test_limits_have_documented_values() -> None:
    limits = svg_tree.LIMITS
    assert (limits.file_bytes, limits.nodes, limits.name_characters) == (32 << 20, MAX_NODES * SCALE, 64 << 20)
    assert (svg_tree.MAX_PATH_DATA, svg_reader.MAX_ELEMENTS) == (MAX_PATH_DATA * SCALE, MAX_ELEMENTS * SCALE)
    assert drawings.MAX_POINTS == MAX_POINTS * SCALE


@dataclass
class Operations:
    """Number of calls of the functions that read a document."""

    elements: int = 0
    visits: int = 0
    segments: int = 0


@contextmanager
def scaled_limits() -> Iterator[Operations]:
    """Divide the limits by `SCALE` and count operations."""
    operations = Operations()

    def count(patch: pytest.MonkeyPatch, owner: Any, method: str, counter: str) -> None:
        function = getattr(owner, method)

        def counted(*arguments: Any) -> Any:
            setattr(operations, counter, getattr(operations, counter) + 1)
            return function(*arguments)

        patch.setattr(owner, method, counted)

    limits = svg_tree.LIMITS
    with pytest.MonkeyPatch.context() as patch:
        scaled = replace(
            limits,
            file_bytes=limits.file_bytes // SCALE,
            nodes=MAX_NODES,
            name_characters=limits.name_characters // SCALE,
        )
        patch.setattr(svg_tree, "LIMITS", scaled)
        patch.setattr(svg_tree, "MAX_PATH_DATA", MAX_PATH_DATA)
        patch.setattr(svg_reader, "MAX_ELEMENTS", MAX_ELEMENTS)
        for module in (svg_tree, svg_reader):
            patch.setattr(module, "MAX_POINTS", MAX_POINTS)
        count(patch, Document, "start", "elements")
        count(patch, svg_reader._Traversal, "_visit", "visits")
        count(patch, PathBuilder, "_append", "segments")
        count(patch, PathBuilder, "line_to", "segments")
        yield operations


def expanding_entities() -> str:
    entities = "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12))
    return f"<!DOCTYPE svg [<!ENTITY a0 'ha'>{entities}]><svg>&a11;</svg>"


def nested_uses(inner: str) -> str:
    levels = "".join(f"<g id='a{i}'>" + f"<use href='#a{i - 1}'/>" * 10 + "</g>" for i in range(1, 12))
    return svg_document(f"<defs><g id='a0'>{inner}</g>{levels}</defs><use href='#a11'/>")


def entity_of_250_characters(old: str, new: str) -> str:
    return with_entities("x" * 250).replace(old, new)


ACCEPTED = ""
COSTLY: dict[str, tuple[Callable[[], str | bytes], str]] = {
    "exponentially expanding entities": (expanding_entities, "declares the entity 'a1'"),
    "entity with many references": (
        lambda: entity_of_250_characters("<desc>", f"<desc>{'&a0;' * (1_000_000 // SCALE)}"),
        "could expand to over 1 MB",
    ),
    "entity with fewer references": (
        lambda: entity_of_250_characters("<desc>", f"<desc>{'&a0;' * (120_000 // SCALE)}"),
        ACCEPTED,
    ),
    "namespace of many entities": (
        lambda: entity_of_250_characters("viewBox", f"xmlns:b='{'&a0;' * 1_000}' viewBox").replace("<line", "<b:g"),
        "a name of over",
    ),
    "attribute default of entities": (
        lambda: entity_of_250_characters("]>", "<!ATTLIST g d CDATA '&a0;'>]>").replace("<desc", "<g/><desc"),
        "its DTD declares",
    ),
    "10^11 uses of a line": (lambda: nested_uses("<line x2='1'/>"), f"draws over {MAX_ELEMENTS} elements"),
    "10^11 uses of an empty group": (lambda: nested_uses(""), f"draws over {MAX_ELEMENTS} elements"),
    "uses of a long path": (
        lambda: svg_document(f"<path id='a' d='M0 0{'h1' * 9999}'/>" + "<use href='#a'/>" * (1000 // SCALE)),
        f"over {MAX_POINTS} points",
    ),
    "uses of a group of other elements": (
        lambda: svg_document(
            f"<g id='a'>{'<m/>' * (100_000 // SCALE)}</g>" + "<use href='#a'/>" * (45_000 // SCALE) + "<use href='#b'/>"
        ),
        ACCEPTED,
    ),
    "uses of a path of white space": (
        lambda: svg_document(
            f"<path id='a' d='{' ' * (1_000_000 // SCALE)}'/>" + "<use href='#a'/>" * (45_000 // SCALE)
        ),
        ACCEPTED,
    ),
    "deep groups": (lambda: svg_document("<g>" * 10_000 + "</g>" * 10_000), "elements nested over 256 levels deep"),
    "deep groups without end tags": (lambda: "<svg>" * 10_000, "elements nested over 256 levels deep"),
    "deep uses": (
        lambda: svg_document(
            "<line id='a0' x2='1'/>" + "".join(f"<use id='a{i}' href='#a{i - 1}'/>" for i in range(1, 999))
        ),
        "elements nested over 256 levels deep",
    ),
    "many elements": (lambda: svg_document("<g/>" * (600_000 // SCALE)), f"over {MAX_NODES} elements and attributes"),
    "many shapes": (lambda: svg_document("<line/>" * (200_000 // SCALE)), f"draws over {MAX_ELEMENTS} elements"),
    "many attributes": (
        lambda: svg_document("<g " + " ".join(f"a{i}='1'" for i in range(550_000 // SCALE)) + "/>"),
        f"over {MAX_NODES} elements and attributes",
    ),
    "path of many numbers": (
        lambda: svg_document(f"<path d='M0 0L{'1 ' * (10_000_000 // SCALE)}'/>"),
        f"path data of over {MAX_PATH_DATA} characters",
    ),
    "path of many segments": (
        lambda: svg_document(f"<path d='M0 0H{'1 ' * (2_000_000 // SCALE)}'/>"),
        f"over {MAX_POINTS} points",
    ),
    "path of many arcs": (
        lambda: svg_document(f"<path d='M0 0a{'1 1 0 111 1 ' * (300_000 // SCALE)}'/>"),
        f"over {MAX_POINTS} points",
    ),
    "path of moves": (lambda: svg_document(f"<path d='{'M0 0' * (400_000 // SCALE)}'/>"), ACCEPTED),
    "path of dots": (lambda: svg_document(f"<path d='{'M0 0z' * (200_000 // SCALE)}'/>"), ACCEPTED),
    "path of one number": (lambda: svg_document(f"<path d='M0 0L{'1' * (4_000_000 // SCALE)} 1'/>"), ACCEPTED),
    "path of letters": (lambda: svg_document(f"<path d='M0 0L1 1L{'e' * (4_000_000 // SCALE)}'/>"), ACCEPTED),
    "many paths": (
        lambda: svg_document(f"<path d='{'M0 0' * (100_000 // SCALE)}'/>" * 50),
        f"path data of over {MAX_PATH_DATA} characters",
    ),
    "polyline of many numbers": (
        lambda: svg_document(f"<polyline points='{'1 ' * (10_000_000 // SCALE)}'/>"),
        f"path data of over {MAX_PATH_DATA} characters",
    ),
    "long transform": (
        lambda: svg_document(f"<g transform='{'scale(1)' * (1_000_000 // SCALE)}'/>"),
        "transform of 250000 characters",
    ),
    "long style": (
        lambda: svg_document(f"<g style='{'a:b;' * (1_000_000 // SCALE)}'/>"),
        "style of 125000 characters",
    ),
    "curves at a small scale": (
        lambda: svg_document(f"<path transform='scale(1e-9)' d='{'M0 0C1e9 1e9 0 1e9 1e9 0' * (90_000 // SCALE)}'/>"),
        f"over {MAX_POINTS} points",
    ),
    "long attribute default": (
        lambda: f"<!DOCTYPE svg [<!ATTLIST g d CDATA '{'x' * 1_000_000}'>]>{svg_document('<g/>' * 10_000)}",
        "its DTD declares",
    ),
    "many namespace declarations in the DTD": (
        lambda: (
            "<!DOCTYPE svg [<!ATTLIST g "
            + " ".join(f"xmlns:a{i} CDATA 'u{i}'" for i in range(20_000))
            + f">]>{svg_document('<g/>' * 10_000)}"
        ),
        "its DTD declares",
    ),
    "long namespace": (lambda: f"<svg xmlns='{'x' * 500_000}'>{'<g/>' * 10_000}</svg>", "a name of over"),
    "long namespace of attributes": (
        lambda: svg_document("<g a:b='1'/>" * 10_000, f"xmlns:a='{'x' * 500_000}'"),
        "a name of over",
    ),
    "many names in a namespace": (
        lambda: svg_document("".join(f"<a:b{i}/>" for i in range(100_000 // SCALE)), f"xmlns:a='{'x' * 9_900}'"),
        "names of over 2 MB",
    ),
    "long id": (lambda: svg_document(f"<line id='{'x' * 500_000}' x2='1'/>"), "id of 500000 characters"),
    "large file": (lambda: b" " * ((1 << 20) + 1), "over 1 MB"),
    "white space": (lambda: svg_document(" " * 1_000_000), ACCEPTED),
    "comment": (lambda: f"<!--{'x' * 1_000_000}--><svg/>", ACCEPTED),
    "deeply nested content model": (
        lambda: f"<!DOCTYPE svg [<!ELEMENT a {'(' * 500_000}b{')' * 500_000}>]><svg/>",
        ACCEPTED,
    ),
}


@pytest.mark.parametrize(("make", "message"), COSTLY.values(), ids=COSTLY)
def test_operations_and_memory_are_bounded(make: Callable[[], str | bytes], message: str, tmp_path: Path) -> None:
    """Each file is either read or refused with the message."""
    content = make()
    with scaled_limits() as operations, memory_limit():
        if message:
            with pytest.raises(DataError, match=message):
                parse_svg(tmp_path / "x.svg", content)
        else:
            parse_svg(tmp_path / "x.svg", content)
    assert operations.elements <= MAX_NODES
    assert operations.visits <= MAX_ELEMENTS
    assert operations.segments <= MAX_POINTS
