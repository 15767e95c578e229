"""Tests of the UNIPEN reader: components, segments, direction of y, included files, and invalid or costly files."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mdnrnn.data.drawings import DrawingBatch, Remark
from mdnrnn.data.formats import unipen, unipen_file
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.errors import DataError
from tests.data.formats.fuzzing import memory_limit
from tests.data.formats.samples import NICI_UNIPEN, PENDIGITS_UNIPEN, parse_bytes, strokes_as_lists

COMPONENTS = ".COORD X Y\n.PEN_DOWN\n1 2\n3 4\n.PEN_DOWN\n5 6\n7 8\n.PEN_DOWN\n9 10\n11 12\n"
"""Three components of two points."""


def parse(folder: Path, text: str, name: str = "x.dat") -> DrawingBatch:
    """Write `text` to a file and parse it."""
    return parse_bytes(folder / name, text.encode(), unipen.FORMAT)


def test_character_segments_are_cut_at_points(tmp_path: Path) -> None:
    drawings = parse(tmp_path, NICI_UNIPEN)
    assert strokes_as_lists(drawings) == [[[11, -31], [12, -32]]]
    assert strokes_as_lists(drawings, 1) == [[[15, -35], [16, -36]]]
    assert [(record.label, record.text) for record in drawings.records] == [("a", None), ('"', None)]
    assert drawings.records[1].location == f"{tmp_path / 'x.dat'}, segment 1"
    assert not drawings.dropped
    assert not drawings.repaired


def test_word_segments_are_texts(tmp_path: Path) -> None:
    drawings = parse(tmp_path, NICI_UNIPEN.replace(".SEGMENT CHAR ", ".COMMENT "))
    assert strokes_as_lists(drawings) == [[[10, -30], [11, -31], [12, -32]], [[15, -35], [16, -36], [17, -37]]]
    assert (drawings.records[0].label, drawings.records[0].text) == (None, 'ab"c')


def test_empty_components_are_not_counted_and_missing_include_is_ignored(tmp_path: Path) -> None:
    drawings = parse(tmp_path, PENDIGITS_UNIPEN, "pendigits-orig.tra")
    assert [strokes_as_lists(drawings, i) for i in range(2)] == [[[[0, -1], [2, -3]], [[8, -9]]], [[[5, -5], [6, -6]]]]
    assert [record.label for record in drawings.records] == ["4", "1"]
    assert [remark.reason for remark in drawings.repaired] == ["no include"]


def test_line_ends_of_all_systems_are_read(tmp_path: Path) -> None:
    for end in ("\r\n", "\r"):
        assert strokes_as_lists(parse(tmp_path, NICI_UNIPEN.replace("\n", end))) == [[[11, -31], [12, -32]]]


def test_file_without_segments_is_one_drawing(tmp_path: Path) -> None:
    drawings = parse(tmp_path, f".VERSION 1.0\n{COMPONENTS}.START_SET b\n.PEN_UP\n0 0\n.PEN_DOWN\n-1 -2")
    assert strokes_as_lists(drawings) == [[[1, -2], [3, -4]], [[5, -6], [7, -8]], [[9, -10], [11, -12]], [[-1, 2]]]
    assert drawings.records[0].location == str(tmp_path / "x.dat")


def test_columns_are_found_by_name_or_are_the_first_two(tmp_path: Path) -> None:
    assert strokes_as_lists(parse(tmp_path, ".COORD T Y P X\n.PEN_DOWN\n100 2 9 1\n110 4 9 3")) == [[[1, -2], [3, -4]]]
    assert strokes_as_lists(parse(tmp_path, ".VERSION 1.0\n.PEN_DOWN\n1 2 100\n3 4 110\n")) == [[[1, -2], [3, -4]]]


@pytest.mark.parametrize(
    "description",
    [
        ".COMMENT Y grows downwards",
        ".PAD Wacom\n  the y axis points down\n",
        ".SETUP X right, y increasing downward.",
        ".SETUP x right, Y DOWN",
        ".SETUP y coordinates increase from the top\n  down",
        ".PAD The origin (0,0) is at the upper left corner of the tablet",
        ".PAD top-left corner is the origin",
    ],
)
def test_y_is_not_negated_if_a_description_says_that_it_points_down(tmp_path: Path, description: str) -> None:
    assert strokes_as_lists(parse(tmp_path, f".VERSION 1.0\n{description}\n{COMPONENTS}"))[0] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "description",
    [
        ".COMMENT why not\n   count down\n",
        ".SETUP Tablet PC. X and Y sampled when pen is down.",
        ".DATA_INFO X Y coordinates, pen up and pen down",
        ".DATA_INFO X, Y (pen down)",
        ".DATA_INFO X and Y, down-sampled to 50 Hz",
        ".SETUP y grows upwards, not down",
        ".PAD the origin is at the lower left; top left: 0 200",
    ],
)
def test_y_is_negated_with_other_descriptions(tmp_path: Path, description: str) -> None:
    assert strokes_as_lists(parse(tmp_path, f".VERSION 1.0\n{description}\n{COMPONENTS}"))[0] == [[1, -2], [3, -4]]


EXTENTS = {
    "1": [[[5, -6], [7, -8]]],
    "0-1": [[[1, -2], [3, -4]], [[5, -6], [7, -8]]],
    "2,0": [[[9, -10], [11, -12]], [[1, -2], [3, -4]]],
    "0:1-1:0,2": [[[3, -4]], [[5, -6]], [[9, -10], [11, -12]]],
    "1:1-1:1": [[[7, -8]]],
    "1:1": [[[7, -8]]],
    "1-2:0": [[[5, -6], [7, -8]], [[9, -10]]],
    "2:0-2:9": [[[9, -10], [11, -12]]],
    "?": [[[1, -2], [3, -4]], [[5, -6], [7, -8]], [[9, -10], [11, -12]]],
    "": [[[1, -2], [3, -4]], [[5, -6], [7, -8]], [[9, -10], [11, -12]]],
}


@pytest.mark.parametrize(("extent", "expected"), EXTENTS.items())
def test_extent_selects_components_and_points(tmp_path: Path, extent: str, expected: list[list[list[float]]]) -> None:
    assert strokes_as_lists(parse(tmp_path, f".SEGMENT WORD {extent}\n{COMPONENTS}")) == expected


def test_segment_without_extent_has_all_components_before_the_next_segment(tmp_path: Path) -> None:
    text = (
        '.COORD X Y\n.SEGMENT GLYPH ? ? "a"\n.PEN_DOWN\n1 2\n.PEN_UP\n.SEGMENT GLYPH\n.PEN_DOWN\n3 4\n.PEN_DOWN\n5 6\n'
    )
    drawings = parse(tmp_path, text)
    assert [strokes_as_lists(drawings, i) for i in range(2)] == [[[[1, -2]]], [[[3, -4]], [[5, -6]]]]
    assert [record.label for record in drawings.records] == ["a", None]


def test_components_are_numbered_from_0_in_each_set(tmp_path: Path) -> None:
    half = '.START_SET\n.SEGMENT LETTER 0 OK "{}"\n.PEN_DOWN\n{} 0\n'
    drawings = parse(tmp_path, ".COORD X Y\n" + half.format("a", 1) + half.format("b", 2))
    assert [strokes_as_lists(drawings, i) for i in range(2)] == [[[[1, 0]]], [[[2, 0]]]]


def test_set_without_segments_is_a_drawing_without_label(tmp_path: Path) -> None:
    text = '.COORD X Y\n.START_SET a\n.SEGMENT LETTER 0 OK "a"\n.PEN_DOWN\n1 0\n.START_SET b\n.PEN_DOWN\n2 0\n3 0\n'
    drawings = parse(tmp_path, text)
    assert [strokes_as_lists(drawings, i) for i in range(len(drawings))] == [[[[1, 0]]], [[[2, 0], [3, 0]]]]
    assert [record.label for record in drawings.records] == ["a", ""]
    assert not drawings.lost


def test_set_with_segments_of_another_level_uses_its_own_level(tmp_path: Path) -> None:
    text = (
        '.SEGMENT LETTER 0 OK "a"\n.SEGMENT LETTER 1 OK "b"\n.PEN_DOWN\n1 0\n.PEN_DOWN\n2 0\n'
        '.START_SET b\n.SEGMENT WORD 0 OK "it"\n.PEN_DOWN\n3 0\n'
    )
    drawings = parse(tmp_path, text)
    assert [(record.label, record.text) for record in drawings.records] == [("a", None), ("b", None), (None, "it")]
    assert strokes_as_lists(drawings, 2) == [[[3, 0]]]


def test_empty_sets_have_no_drawings(tmp_path: Path) -> None:
    text = (
        '.START_SET a\n.START_SET b\n.SEGMENT LETTER 0 OK "b"\n.START_SET c\n'
        '.SEGMENT LETTER 0 OK "c"\n.PEN_DOWN\n1 0\n.START_SET d\n'
    )
    drawings = parse(tmp_path, text)
    assert [record.label for record in drawings.records] == ["c"]
    assert [remark.detail for remark in drawings.dropped] == [
        f"{tmp_path / 'x.dat'}, segment 0 has components 0 to 0; the set has none"
    ]


def test_strokes_outside_segments_are_counted_as_lost(tmp_path: Path) -> None:
    drawings = parse(tmp_path, f'.SEGMENT LETTER 1 OK "a"\n{COMPONENTS}.PEN_UP\n0 0\n')
    path = tmp_path / "x.dat"
    expected = Remark("strokes outside segments", f"{path}: 2 strokes outside segments", count=2)
    assert drawings.lost == [expected]
    assert not parse(tmp_path, f'.SEGMENT LETTER 0-2 OK "a"\n{COMPONENTS}').lost


def test_keywords_and_levels_are_found_in_any_case(tmp_path: Path) -> None:
    text = '.version 1.0\n.coord X Y\n.hierarchy Word Letter\n.segment letter 0 OK "a"\n.pen_down\n1 2\n'
    assert unipen.FORMAT.recognizes(tmp_path / "x.dat", text.encode())
    drawings = parse(tmp_path, text)
    assert strokes_as_lists(drawings) == [[[1, -2]]]
    assert drawings.records[0].label == "a"


def test_y_is_not_negated_in_files_of_uji_pen_characters(tmp_path: Path) -> None:
    text = '.LEXICON "a"\n.SEGMENT CHARACTER 0 ? "a"\n.PEN_DOWN\n1 2\n3 4\n.PEN_UP\n.DT 100\n'
    assert strokes_as_lists(parse(tmp_path, text, "UJIpenchars-w01")) == [[[1, 2], [3, 4]]]


def test_without_hierarchy_the_level_with_most_segments_is_used(tmp_path: Path) -> None:
    text = '.SEGMENT WORD 0-2 OK "abc"\n' + "".join(f'.SEGMENT CHARACTER {i} OK "{i}"\n' for i in range(3)) + COMPONENTS
    assert [record.label for record in parse(tmp_path, text).records] == ["0", "1", "2"]
    with_stroke_level = (
        text + "".join(f".SEGMENT STROKE {i % 3}\n" for i in range(5)) + ".HIERARCHY WORD CHARACTER STROKE\n"
    )
    assert [record.label for record in parse(tmp_path, with_stroke_level).records] == ["0", "1", "2"]


@pytest.mark.parametrize("extent", ["3", "0-3", "2-1", "0:2", "1:1-1:0", "a", "1-", ",", "0,,1", "-1", "9999999999"])
def test_malformed_segment_is_dropped(tmp_path: Path, extent: str) -> None:
    drawings = parse(tmp_path, f'.SEGMENT WORD {extent} OK "a"\n.SEGMENT WORD 1 OK "b"\n{COMPONENTS}')
    assert [record.text for record in drawings.records] == ["b"]
    assert [remark.reason for remark in drawings.dropped] == ["malformed segment"]
    assert drawings.dropped[0].detail.startswith(f"{tmp_path / 'x.dat'}, segment 0 ")


def test_segments_with_a_malformed_component_are_dropped(tmp_path: Path) -> None:
    text = '.SEGMENT WORD 0 OK "a"\n.SEGMENT WORD 1-2 OK "b"\n' + COMPONENTS.replace("5 6", "5 6 7")
    drawings = parse(tmp_path, text)
    assert [record.text for record in drawings.records] == ["a"]
    assert "segment 1 has component 1, which begins '5 6 7 7 8'; expected rows of 2" in drawings.dropped[0].detail


def write_collection(folder: Path) -> Path:
    """Write a collection with points in the folder `include`, as distributed, and return its top file."""
    top, ink = folder / "data" / "1a" / "apa", folder / "include" / "apa" / "data"
    top.mkdir(parents=True)
    ink.mkdir(parents=True)
    (ink / "apa0.dat").write_text(COMPONENTS)
    (top / "doc.txt").write_text(".COMMENT nothing\n.INCLUDE more.txt\n")
    (top / "more.txt").write_text(".HIERARCHY CHARACTER\n")
    (top / "x.dat").write_text('.VERSION 1.0\n.INCLUDE doc.txt\n.INCLUDE apa/data/apa0.dat\n.SEGMENT CHARACTER 1 ? "b"')
    return top / "x.dat"


def test_includes_are_found_beside_the_file_and_in_the_collection(tmp_path: Path) -> None:
    path = write_collection(tmp_path)
    drawings = unipen.FORMAT.parse(path)
    assert strokes_as_lists(drawings) == [[[5, -6], [7, -8]]]
    assert drawings.records[0].label == "b"
    assert not drawings.repaired
    head = path.read_bytes()
    assert unipen.FORMAT.recognizes(path, head)
    assert not unipen.FORMAT.recognizes(tmp_path / "include" / "apa" / "data" / "apa0.dat", head)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "a/../../secret", "../../../../../etc/passwd", "link"])
def test_include_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(COMPONENTS)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=r"points outside its folder|a link to a path outside its folder"):
        parse(tmp_path / "in", f".INCLUDE {name}\n{COMPONENTS}")


def test_include_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text(COMPONENTS)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "include").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="a link to a path outside its folder"):
        parse(tmp_path / "in", ".INCLUDE secret\n")


@pytest.mark.parametrize(
    "name",
    ["a/ink.dat", "./a/ink.dat", "a\\ink.dat", "A/Ink.DAT", '"a/ink.dat"', "include/a/ink.dat", "Include\\A\\INK.dat"],
)
def test_include_is_found_above_a_deep_file_by_any_spelling(tmp_path: Path, name: str) -> None:
    top, ink = tmp_path / "data" / "6" / "aaa" / "word" / "w1" / "x" / "y", tmp_path / "include" / "a"
    top.mkdir(parents=True)
    ink.mkdir(parents=True)
    (ink / "ink.dat").write_text(COMPONENTS)
    drawings = parse(top, f'.VERSION 1.0\n.INCLUDE {name}\n.SEGMENT WORD 0-1 ? "it"')
    assert strokes_as_lists(drawings) == [[[1, -2], [3, -4]], [[5, -6], [7, -8]]]
    assert not drawings.repaired


def test_backslashes_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text(COMPONENTS)
    with pytest.raises(DataError, match="points outside its folder"):
        parse(tmp_path / "in", ".INCLUDE ..\\secret\n")


def test_include_can_lead_to_a_parent_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.doc").write_text(".INCLUDE ../b.doc\n")
    (tmp_path / "b.doc").write_text(".COORD Y X\n")
    assert strokes_as_lists(parse(tmp_path, ".INCLUDE sub/a.doc\n.PEN_DOWN\n2 1\n")) == [[[1, -2]]]


def test_cyclic_deep_and_many_includes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="includes itself"):
        parse(tmp_path, ".INCLUDE x.dat\n")
    (tmp_path / "y.dat").write_text(".INCLUDE x.dat\n")
    with pytest.raises(DataError, match="includes itself"):
        parse(tmp_path, ".INCLUDE y.dat\n")
    for i in range(12):
        (tmp_path / f"{i}.dat").write_text(f".INCLUDE {i + 1}.dat\n" * 2)
    with pytest.raises(DataError, match=r"too many or too deeply nested \.INCLUDE statements"):
        parse(tmp_path, ".INCLUDE 0.dat\n")
    (tmp_path / "empty").write_text("")
    with pytest.raises(DataError, match=r"too many or too deeply nested \.INCLUDE statements"):
        parse(tmp_path, ".INCLUDE empty\n" * 2000)


@pytest.mark.parametrize("name", ["", "n" * 5000, "a\0b", "é/ü", "sub", "x.dat/y"])
def test_missing_or_invalid_include_is_ignored(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    drawings = parse(tmp_path, f".INCLUDE {name}\n{COMPONENTS}")
    assert len(drawings) == 1
    assert [remark.reason for remark in drawings.repaired] == ["no include"]


def test_missing_include_in_an_archive_advises_to_unpack_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("data/x.dat", f".INCLUDE y.doc\n{COMPONENTS}")
        archive.writestr("include/y.doc", ".COORD X Y\n")
    report = import_corpus(tmp_path / "x.zip", tmp_path / "out")
    location = tmp_path / "x.zip" / "data" / "x.dat"
    expected = f"{location}: .INCLUDE 'y.doc' is not searched in an archive; unpack the archive"
    assert report.repaired["no include"] == (1, expected)


INVALID: dict[str, tuple[Callable[[], str], str]] = {
    "columns without Y": (lambda: ".COORD X Z\n", "expected X and Y among its names"),
    "segment without type": (lambda: ".SEGMENT\n", "expected a type such as WORD first"),
    "large file": (lambda: ".COMMENT " + "a" * (64 << 20), "over 64 MB"),
    "large includes": (lambda: ".COMMENT " + "a" * (40 << 20) + "\n.INCLUDE big\n.INCLUDE big\n", "big: over"),
    "points in many segments": (
        lambda: ".COORD X Y\n.SEGMENT WORD " + "0-9999," * 5000 + "0\n" + ".PEN_DOWN\n1 1\n" * 10_000,
        "contain each point over 4 times",
    ),
}


@pytest.mark.parametrize(("make", "message"), INVALID.values(), ids=INVALID)
def test_invalid_file_is_refused(tmp_path: Path, make: Callable[[], str], message: str) -> None:
    if message.startswith("big"):
        (tmp_path / "big").write_text(".COMMENT " + "a" * (20 << 20))
    with pytest.raises(DataError, match=message):
        parse(tmp_path, make())


def test_number_of_components_and_segments_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unipen_file.MAX_PARTS == 1 << 18
    monkeypatch.setattr(unipen_file, "MAX_PARTS", 20)
    text = ".SEGMENT WORD 0\n" * 10 + ".PEN_DOWN\n1 1\n" * 10
    assert len(parse(tmp_path, text)) == 10
    with pytest.raises(DataError, match="over 20 components and segments; split"):
        parse(tmp_path, text + ".PEN_DOWN\n1 1\n")


COSTLY: dict[str, Callable[[], str]] = {
    "backslashes": lambda: ".SEGMENT " + "\\" * (1 << 20),
    "unclosed label": lambda: '.SEGMENT A 0 ? "' + "a\\" * (1 << 19),
    "long number": lambda: ".PEN_DOWN\n" + "1" * (1 << 22),
    "long row": lambda: ".PEN_DOWN\n" + "1 " * (1 << 20),
    "long component": lambda: ".PEN_DOWN\n" + "1 1\n" * ((1 << 22) + 1),
    "long keyword": lambda: "." + "A" * (1 << 22) + "a",
    "long description": lambda: ".COMMENT " + "y " * (1 << 18) + "down",
    "many levels": lambda: ".HIERARCHY " + "a " * (1 << 20),
}


@pytest.mark.parametrize("make", COSTLY.values(), ids=COSTLY)
def test_long_statement_needs_bounded_memory(tmp_path: Path, make: Callable[[], str]) -> None:
    text = make()
    with memory_limit():
        assert len(parse(tmp_path, text)) <= 1


HEADS: dict[str, tuple[str, bool]] = {
    "version": (".VERSION 1.0\n", True),
    "comment first": ("\n\r\n.COMMENT a\n b\n.COORD X Y\n", True),
    "Pendigits": (PENDIGITS_UNIPEN, True),
    "lexicon": ('.LEXICON "a" "b"\n.COMMENT [A]\n', True),
    "comment only": (".COMMENT a\n", False),
    "assembler": ('.INCLUDE "macros.asm"\n.ORG $8000\n', False),
    "keyword inside a line": ("a .VERSION 1.0\n", False),
    "lower case": (".version 1.0\n.data\n", False),
    "manual page": ('.\\" .COORD\n', False),
    "numbers first": ("1 2\n.PEN_DOWN\n", False),
    "empty": ("", False),
}


@pytest.mark.parametrize(("head", "expected"), HEADS.values(), ids=HEADS)
def test_format_is_recognized_by_its_keywords(head: str, expected: bool) -> None:
    assert unipen.FORMAT.recognizes(Path("x"), head.encode()) is expected


def test_values_of_other_channels_are_counted(tmp_path: Path) -> None:
    points = ".PEN_DOWN\n1 2 3 4 5\n6 7 8 9 10\n.PEN_UP\n1 2 3 4 5\n"
    lost = parse(tmp_path, f".COORD T X Y P THETA\n{points}").lost
    assert [(remark.reason, remark.count) for remark in lost] == [
        ("time values", 2),
        ("pressure values", 2),
        ("tilt values", 2),
    ]
    assert not parse(tmp_path, f".COORD X Y\n{COMPONENTS}").lost


SECRET = "secret 5up3r"
PRIVATE = {
    "coordinates": f".COORD {SECRET}\n.PEN_DOWN\n1 2\n",
    "segment": f'.SEGMENT "{SECRET}"\n',
    "extent": f".COORD X Y\n.SEGMENT WORD {SECRET.replace(' ', '')} OK\n.PEN_DOWN\n1 2\n",
    "component": f".COORD X Y\n.SEGMENT WORD 0\n.PEN_DOWN\n{SECRET}\n",
    "missing include": f".COORD X Y\n.INCLUDE {SECRET}\n.PEN_DOWN\n1 2\n",
    "outer include": f".INCLUDE /{SECRET}\n",
}


@pytest.mark.parametrize("content", PRIVATE.values(), ids=PRIVATE)
def test_messages_do_not_quote_an_included_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "private").write_text(content)
    messages = []
    for text in (content, ".VERSION 1.0\n.INCLUDE private\n"):
        try:
            drawings = parse(tmp_path, text)
            messages.append(" ".join(remark.detail for remark in [*drawings.dropped, *drawings.repaired]))
        except DataError as error:
            messages.append(str(error))
    quoted, hidden = messages
    assert "5up3r" in quoted
    assert "5up3r" not in hidden
    assert "in an included file" in hidden


def test_message_after_an_include_quotes_the_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text(".COMMENT\n")
    with pytest.raises(DataError, match=r"\.COORD is 'A B'"):
        parse(tmp_path, ".VERSION 1.0\n.INCLUDE other\n.COORD A B\n")
