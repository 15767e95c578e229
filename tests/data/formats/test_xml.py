"""Tests of the XML parser for untrusted files: names of root elements, and limits of DTDs, names and depth."""

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from mdnrnn.data.formats import xml
from mdnrnn.data.formats.xml import (
    XmlLimits,
    escape_text,
    find_invalid_character,
    parse_xml,
    parse_xml_tree,
    replace_invalid_characters,
    root_name,
)
from mdnrnn.errors import DataError

HEADS: dict[str, tuple[bytes, str | None]] = {
    "element": (b"<ink>", "ink"),
    "empty element": (b"<ink/>", "ink"),
    "namespace prefix": (b"<i:ink xmlns:i='x'>", "ink"),
    "declaration, comment and DTD": (
        b"<?xml version='1.0'?>\n<!-- <a> --><!DOCTYPE b [<!ELEMENT c ANY>]>\n<ink>",
        "ink",
    ),
    "UTF-16 with byte order mark": ("<ink>".encode("utf-16"), "ink"),
    "UTF-16 without byte order mark": ("<ink>".encode("utf-16-le"), "ink"),
    "malformed declaration": (b"<?xml version='1.0'\n<ink>", None),
    "malformed prolog": (b"<?xml?> x <ink>", "ink"),
    "unclosed comment": (b"<!-- <ink>", None),
    "declaration only": (b"<?xml version='1.0'?>", None),
    "text before the element": (b"x<ink>", ""),
    "text": (b"1,2,3", ""),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize(("head", "expected"), HEADS.values(), ids=HEADS)
def test_root_name(head: bytes, expected: str | None) -> None:
    assert root_name(head) == expected


@pytest.mark.parametrize("text", ["a < b & c ]]>", "two\nlines\r\n\ttab", "é 仂 🦊"])
def test_escaped_text_is_parsed_unchanged(text: str) -> None:
    assert fromstring(f"<a>{escape_text(text)}</a>").text == text


def test_invalid_characters_are_found_and_replaced() -> None:
    assert find_invalid_character("é\t\n仂🦊") is None
    assert find_invalid_character("ab\0c\uffff") == "\0"
    assert replace_invalid_characters("a\0b\ud800c\uffff") == "a?b?c?"


def test_tree_has_text_and_default_attributes(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("<!DOCTYPE a [<!ATTLIST b c CDATA 'd'>]><a><b>é</b></a>", encoding="utf-8")
    (child,) = parse_xml_tree(tmp_path / "x", 1000)
    assert (child.text, child.attrib) == ("é", {"c": "d"})


class Recorder:
    """Target that records its events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.events.append(f"<{tag}>")

    def end(self, tag: str) -> None:
        self.events.append(f"</{tag}>")

    def data(self, text: str) -> None:
        self.events.append(text)


def test_target_receives_events_in_order(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("<!DOCTYPE a [<!ENTITY e 'text'>]><a><b/>&e;</a>")
    recorder = parse_xml(tmp_path / "x", Recorder, XmlLimits(file_bytes=1000, nodes=2, name_characters=2, entities=1))
    assert recorder.events == ["<a>", "<b>", "</b>", "text", "</a>"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<a><b/><c/></a>", "over 2 elements and attributes"),
        ("<a b='1' c='2'/>", "over 2 elements and attributes"),
        ("<!DOCTYPE a [<!ATTLIST a b CDATA '1' c CDATA '2'>]><a/>", "over 2 elements and attributes"),
    ],
    ids=["elements", "attributes", "default attributes"],
)
def test_number_of_nodes_is_limited(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(DataError, match=f"{message}; get help$"):
        parse_xml(
            tmp_path / "x",
            Recorder,
            XmlLimits(file_bytes=1000, nodes=2, name_characters=1000, advice="get help"),
        )


REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "deep elements": (lambda: "<a>" * 258 + "</a>" * 258, "elements nested over 256 levels deep"),
    "long namespace": (lambda: f"<a xmlns='{'x' * 10_000}'/>", "a name of over 10000 characters"),
    "many names in a namespace": (lambda: f"<a xmlns='{'x' * 9_900}'>{'<a/>' * 30_000}</a>", "names of over 256 MB"),
    "many declared attributes": (
        lambda: f"<!DOCTYPE a [<!ATTLIST a {' '.join(f'b{i} CDATA #IMPLIED' for i in range(101))}>]><a/>",
        "declares over 100 attributes",
    ),
    "long default": (lambda: f"<!DOCTYPE a [<!ATTLIST a b CDATA '{'x' * 101}'>]><a/>", "a default of over 100"),
    "entity": (lambda: "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "declares the entity 'b'; expected no entities"),
    "many elements": (lambda: f"<a>{'<a/>' * 5_000}</a>", "received 5002 tags and attributes; expected at most 5000"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_tree_beyond_a_limit_is_refused(
    make: Callable[[], str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "tags" in message:
        monkeypatch.setattr(xml, "MAX_MARKS", 5000)
    (tmp_path / "x").write_text(make())
    with pytest.raises(DataError, match=message):
        parse_xml_tree(tmp_path / "x", 1 << 20)


def test_tree_within_the_limits_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("<a>" * 257 + "</a>" * 257)
    assert sum(1 for _ in parse_xml_tree(tmp_path / "x", 1 << 20).iter()) == 257
