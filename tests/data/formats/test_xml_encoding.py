"""Tests of encodings of XML files, and of namespace prefixes that a file uses undeclared."""

from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from mdnrnn.data.formats.format import read_head
from mdnrnn.data.formats.svg_reader import FORMAT
from mdnrnn.data.formats.xml import root_name
from mdnrnn.data.formats.xml_encoding import declare_prefixes, detect_encoding, to_utf8
from mdnrnn.errors import DataError
from tests.data.formats.svg_helpers import parse_svg, svg_document

DOCUMENT = svg_document("<title class='text'>仂</title><line x2='1'/>")
ENCODED = {
    "iso-8859-1": "é", "latin1": "é", "windows-1252": "€", "cp1252": "“", "koi8-r": "ж", "windows-1251": "ж",
    "shift_jis": "漢ソ", "Shift-JIS": "漢", "cp932": "①", "euc-jp": "漢", "iso-2022-jp": "漢", "gb18030": "汉🦊",
    "gbk": "汉", "GB2312": "汉", "big5": "漢", "euc-kr": "한", "utf8": "仂", "UTF-8": "仂", "iso-8859-15": "€",
    "macintosh": "é", "tis-620": "ก",
}  # fmt: skip


@pytest.mark.parametrize(("encoding", "text"), ENCODED.items(), ids=ENCODED)
def test_declared_encoding_is_decoded(encoding: str, text: str, tmp_path: Path) -> None:
    body = svg_document(f"<title class='text'>{text}</title><line x2='1'/>")
    data = f"<?xml version='1.0' encoding='{encoding}' ?>\n{body}".encode(encoding)
    assert FORMAT.recognizes(Path("x"), data)
    assert parse_svg(tmp_path / "x.svg", data).records[0].text == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig"])
@pytest.mark.parametrize("declared", ["", "utf-16", "utf-8"])
def test_unicode_encoding_is_that_of_the_bytes(encoding: str, declared: str, tmp_path: Path) -> None:
    declaration = f"<?xml version='1.0' encoding='{declared}'?>" if declared else ""
    data = (declaration + DOCUMENT).encode(encoding)
    assert parse_svg(tmp_path / "x.svg", data).records[0].text == "仂"
    assert root_name(read_head(tmp_path / "x.svg")) == "svg"


def test_file_in_utf_8_that_declares_utf_16_is_read(tmp_path: Path) -> None:
    content = f"<?xml version='1.0' encoding='utf-16'?>{DOCUMENT}"
    assert parse_svg(tmp_path / "x.svg", content).records[0].text == "仂"


UNSAFE = (
    "rot13", "zip", "zlib", "base64", "hex", "bz2", "uu", "quopri", "idna", "punycode", "unicode_escape",
    "raw_unicode_escape", "undefined", "utf-7", "mbcs", "klingon", "aliases", "os", "..", "a.b", "cp0",
)  # fmt: skip


@pytest.mark.parametrize("encoding", UNSAFE)
def test_encoding_that_is_no_character_set_is_refused(encoding: str, tmp_path: Path) -> None:
    if encoding != "..":  # not a name: ignored, so that the file is read as UTF-8
        with pytest.raises(DataError, match=r"cannot be decoded \(unknown encoding: .*; save the file as UTF-8"):
            parse_svg(tmp_path / "x.svg", f"<?xml version='1.0' encoding='{encoding}'?><svg/>")
    assert root_name(f"<?xml version='1.0' encoding='{encoding}'?><svg/>".encode()) == "svg"


@pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "cp1252", "euc-jp"])
def test_bytes_that_are_invalid_in_the_encoding_are_refused(encoding: str, tmp_path: Path) -> None:
    data = f"<?xml version='1.0' encoding='{encoding}'?><svg><title>".encode() + b"\x81\xff</title></svg>"
    with pytest.raises(DataError, match=r"cannot be decoded \(.*can't decode byte.*; save the file as UTF-8"):
        parse_svg(tmp_path / "x.svg", data)


def test_detected_encodings() -> None:
    assert detect_encoding(b"<svg/>") == "utf_8"
    assert detect_encoding(b"<?xml version='1.0' encoding=\"Latin-1\"?>") == "latin_1"
    assert detect_encoding(b"<svg encoding='zlib'/>") == "utf_8"
    assert to_utf8("<a>é</a>".encode("utf-16")) == "<a>é</a>".encode()


@pytest.mark.parametrize("mark", ["", "\ufeff", "<!-- é --><!DOCTYPE svg [<!ENTITY e 'f'>]>"])
def test_undeclared_prefixes_are_tolerated(mark: str, tmp_path: Path) -> None:
    content = (
        f"{mark}<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9' inkscape:version='1'><sodipodi:namedview/>"
        "<g kvg:element='仂' inkscape:groupmode='layer'><line id='a' x2='1' stroke='red'/></g>"
        "<g inkscape:groupmode='layer' é:x='1'><use xlink:href='#a'/></g></svg>"
    )
    drawings = parse_svg(tmp_path / "x.svg", content)
    assert drawings.records[0].text == "仂"
    assert drawings.stroke_counts.tolist() == [2]
    assert [(remark.reason, remark.count) for remark in drawings.lost] == [("layers", 2)]
    assert not drawings.repaired


def test_undeclared_prefix_of_the_root_is_tolerated(tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", "<svg:svg viewBox='0 0 9 9'><svg:line x2='1'/></svg:svg>")
    assert drawings.stroke_counts.tolist() == [1]


def test_declared_prefixes_are_not_changed() -> None:
    data = b"<a xmlns:b='c'><b:d e:f='1'/><g xmlns:e='h' e:i='2'/></a>"
    root = fromstring(declare_prefixes(data))
    assert [child.tag for child in root] == ["{c}d", "g"]
    assert [list(child.attrib) for child in root] == [["{e}f"], ["{h}i"]]
