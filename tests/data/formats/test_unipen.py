"""UNIPEN: components counted as its definition says, segments cut at points, includes that stay in their folders."""

import time
from pathlib import Path

import pytest

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import unipen
from mdnrnn.errors import DataError
from tests.data.formats.samples import NICI_UNIPEN, PENDIGITS_UNIPEN, parse_bytes, strokes_as_lists

ONE = ".COORD X Y\n.PEN_DOWN\n1 2\n3 4\n.PEN_DOWN\n5 6\n7 8\n.PEN_DOWN\n9 10\n11 12\n"


def parse(folder: Path, text: str, name: str = "x.dat") -> DrawingBatch:
    """The drawings of a file with this text."""
    return parse_bytes(folder / name, text.encode(), unipen.FORMAT)


def test_characters_are_cut_at_points_and_pen_ups_are_counted_but_not_drawn(tmp_path: Path) -> None:
    drawings = parse(tmp_path, NICI_UNIPEN)
    assert strokes_as_lists(drawings) == [[[11, -31], [12, -32]]]
    assert strokes_as_lists(drawings, 1) == [[[15, -35], [16, -36]]]
    assert [(record.label, record.text) for record in drawings.records] == [("a", None), ('"', None)]
    assert drawings.records[1].where == f"{tmp_path}/x.dat, segment 1"
    assert not drawings.dropped
    assert not drawings.repaired


def test_words_are_texts(tmp_path: Path) -> None:
    drawings = parse(tmp_path, NICI_UNIPEN.replace(".SEGMENT CHAR ", ".COMMENT "))
    assert strokes_as_lists(drawings) == [[[10, -30], [11, -31], [12, -32]], [[15, -35], [16, -36], [17, -37]]]
    assert (drawings.records[0].label, drawings.records[0].text) == (None, 'ab"c')


def test_pendigits_count_no_empty_pen_up_and_do_without_the_file_that_nobody_has(tmp_path: Path) -> None:
    drawings = parse(tmp_path, PENDIGITS_UNIPEN, "pendigits-orig.tra")
    assert [strokes_as_lists(drawings, i) for i in range(2)] == [[[[0, -1], [2, -3]], [[8, -9]]], [[[5, -5], [6, -6]]]]
    assert [record.label for record in drawings.records] == ["4", "1"]
    assert [remark.reason for remark in drawings.repaired] == ["no include"]


def test_line_ends_of_every_system_are_read(tmp_path: Path) -> None:
    for end in ("\r\n", "\r"):
        assert strokes_as_lists(parse(tmp_path, NICI_UNIPEN.replace("\n", end))) == [[[11, -31], [12, -32]]]


def test_a_file_without_segments_is_one_drawing(tmp_path: Path) -> None:
    drawings = parse(tmp_path, f".VERSION 1.0\n{ONE}.START_SET b\n.PEN_UP\n0 0\n.PEN_DOWN\n-1 -2")
    assert strokes_as_lists(drawings) == [[[1, -2], [3, -4]], [[5, -6], [7, -8]], [[9, -10], [11, -12]], [[-1, 2]]]
    assert drawings.records[0].where == str(tmp_path / "x.dat")


def test_columns_are_found_by_their_names_and_without_names_come_first(tmp_path: Path) -> None:
    assert strokes_as_lists(parse(tmp_path, ".COORD T Y P X\n.PEN_DOWN\n100 2 9 1\n110 4 9 3")) == [[[1, -2], [3, -4]]]
    assert strokes_as_lists(parse(tmp_path, ".VERSION 1.0\n.PEN_DOWN\n1 2 100\n3 4 110\n")) == [[[1, -2], [3, -4]]]


@pytest.mark.parametrize(
    "prose",
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
def test_y_stays_where_the_file_says_that_it_points_down(tmp_path: Path, prose: str) -> None:
    assert strokes_as_lists(parse(tmp_path, f".VERSION 1.0\n{prose}\n{ONE}"))[0] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "prose",
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
def test_other_prose_does_not_turn_the_drawing(tmp_path: Path, prose: str) -> None:
    assert strokes_as_lists(parse(tmp_path, f".VERSION 1.0\n{prose}\n{ONE}"))[0] == [[1, -2], [3, -4]]


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
def test_an_extent_names_components_and_points(tmp_path: Path, extent: str, expected: list[list[list[float]]]) -> None:
    assert strokes_as_lists(parse(tmp_path, f".SEGMENT WORD {extent}\n{ONE}")) == expected


def test_segments_without_extents_have_what_comes_before_the_next(tmp_path: Path) -> None:
    text = (
        '.COORD X Y\n.SEGMENT GLYPH ? ? "a"\n.PEN_DOWN\n1 2\n.PEN_UP\n.SEGMENT GLYPH\n.PEN_DOWN\n3 4\n.PEN_DOWN\n5 6\n'
    )
    drawings = parse(tmp_path, text)
    assert [strokes_as_lists(drawings, i) for i in range(2)] == [[[[1, -2]]], [[[3, -4]], [[5, -6]]]]
    assert [record.label for record in drawings.records] == ["a", None]


def test_components_are_counted_anew_in_each_set(tmp_path: Path) -> None:
    half = '.START_SET\n.SEGMENT LETTER 0 OK "{}"\n.PEN_DOWN\n{} 0\n'
    drawings = parse(tmp_path, ".COORD X Y\n" + half.format("a", 1) + half.format("b", 2))
    assert [strokes_as_lists(drawings, i) for i in range(2)] == [[[[1, 0]]], [[[2, 0]]]]


def test_without_a_hierarchy_the_level_of_most_segments_is_taken(tmp_path: Path) -> None:
    text = '.SEGMENT WORD 0-2 OK "abc"\n' + "".join(f'.SEGMENT CHARACTER {i} OK "{i}"\n' for i in range(3)) + ONE
    assert [record.label for record in parse(tmp_path, text).records] == ["0", "1", "2"]
    strokes = text + "".join(f".SEGMENT STROKE {i % 3}\n" for i in range(5)) + ".HIERARCHY WORD CHARACTER STROKE\n"
    assert [record.label for record in parse(tmp_path, strokes).records] == ["0", "1", "2"]


@pytest.mark.parametrize("extent", ["3", "0-3", "2-1", "0:2", "1:1-1:0", "a", "1-", ",", "0,,1", "-1", "9999999999"])
def test_a_malformed_segment_is_dropped_alone(tmp_path: Path, extent: str) -> None:
    drawings = parse(tmp_path, f'.SEGMENT WORD {extent} OK "a"\n.SEGMENT WORD 1 OK "b"\n{ONE}')
    assert [record.text for record in drawings.records] == ["b"]
    assert [remark.reason for remark in drawings.dropped] == ["malformed segment"]
    assert drawings.dropped[0].detail.startswith(f"{tmp_path}/x.dat, segment 0 has")


def test_a_malformed_component_costs_the_segments_that_have_it(tmp_path: Path) -> None:
    text = '.SEGMENT WORD 0 OK "a"\n.SEGMENT WORD 1-2 OK "b"\n' + ONE.replace("5 6", "5 6 7")
    drawings = parse(tmp_path, text)
    assert [record.text for record in drawings.records] == ["a"]
    assert "segment 1 has component 1, which begins '5 6 7 7 8'; expected rows of 2" in drawings.dropped[0].detail


def collection(folder: Path) -> Path:
    """The top file of a collection as it is distributed: segments here, points in `include`."""
    top, ink = folder / "data" / "1a" / "apa", folder / "include" / "apa" / "data"
    top.mkdir(parents=True)
    ink.mkdir(parents=True)
    (ink / "apa0.dat").write_text(ONE)
    (top / "doc.txt").write_text(".COMMENT nothing\n.INCLUDE more.txt\n")
    (top / "more.txt").write_text(".HIERARCHY CHARACTER\n")
    (top / "x.dat").write_text('.VERSION 1.0\n.INCLUDE doc.txt\n.INCLUDE apa/data/apa0.dat\n.SEGMENT CHARACTER 1 ? "b"')
    return top / "x.dat"


def test_includes_are_found_from_the_file_on_and_in_the_collection(tmp_path: Path) -> None:
    path = collection(tmp_path)
    drawings = unipen.FORMAT.parse(path)
    assert strokes_as_lists(drawings) == [[[5, -6], [7, -8]]]
    assert drawings.records[0].label == "b"
    assert not drawings.repaired
    head = path.read_bytes()
    assert unipen.FORMAT.recognizes(path, head)
    assert not unipen.FORMAT.recognizes(tmp_path / "include" / "apa" / "data" / "apa0.dat", head)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "a/../../secret", "../../../../../etc/passwd", "link"])
def test_an_include_does_not_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(ONE)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=r"leads out of its folder|a link out of its folder"):
        parse(tmp_path / "in", f".INCLUDE {name}\n{ONE}")


def test_a_folder_of_includes_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text(ONE)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "include").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="a link out of its folder"):
        parse(tmp_path / "in", ".INCLUDE secret\n")


def test_an_include_may_go_up_within_its_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.doc").write_text(".INCLUDE ../b.doc\n")
    (tmp_path / "b.doc").write_text(".COORD Y X\n")
    assert strokes_as_lists(parse(tmp_path, ".INCLUDE sub/a.doc\n.PEN_DOWN\n2 1\n")) == [[[1, -2]]]


def test_circles_and_depths_and_numbers_of_includes_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="includes itself"):
        parse(tmp_path, ".INCLUDE x.dat\n")
    (tmp_path / "y.dat").write_text(".INCLUDE x.dat\n")
    with pytest.raises(DataError, match="includes itself"):
        parse(tmp_path, ".INCLUDE y.dat\n")
    for i in range(12):
        (tmp_path / f"{i}.dat").write_text(f".INCLUDE {i + 1}.dat\n" * 2)
    with pytest.raises(DataError, match=r"too many \.INCLUDE, or too deep"):
        parse(tmp_path, ".INCLUDE 0.dat\n")
    (tmp_path / "empty").write_text("")
    with pytest.raises(DataError, match=r"too many \.INCLUDE, or too deep"):
        parse(tmp_path, ".INCLUDE empty\n" * 2000)


@pytest.mark.parametrize("name", ["", "n" * 5000, "a\0b", "é/ü", "sub", "x.dat/y"])
def test_an_include_of_any_other_name_is_done_without(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    drawings = parse(tmp_path, f".INCLUDE {name}\n{ONE}")
    assert len(drawings) == 1
    assert [remark.reason for remark in drawings.repaired] == ["no include"]


BAD = {
    "columns without Y": (".COORD X Z\n", "expected X and Y among its names"),
    "a segment of nothing": (".SEGMENT\n", "expected its type"),
    "too long": (".COMMENT " + "a" * (64 << 20), "over 64 MB"),
    "too long by what it includes": (".COMMENT " + "a" * (40 << 20) + "\n.INCLUDE big\n.INCLUDE big\n", "big: over"),
    "too many components": (".PEN_DOWN\n1 1\n" * ((1 << 20) + 1), "components and segments; split"),
    "the same points over and over": (
        ".COORD X Y\n.SEGMENT WORD " + "0-9999," * 5000 + "0\n" + ".PEN_DOWN\n1 1\n" * 10_000,
        "draw each point over 4 times",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_told_in_one_line_and_soon(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "big").write_text(".COMMENT " + "a" * (20 << 20))
    started = time.monotonic()
    with pytest.raises(DataError, match=complaint):
        parse(tmp_path, text)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        ".SEGMENT " + "\\" * (1 << 22),
        '.SEGMENT A 0 ? "' + "a\\" * (1 << 21),
        ".PEN_DOWN\n" + "1" * (1 << 22),
        ".PEN_DOWN\n" + "1 " * (1 << 22),
        ".PEN_DOWN\n" + "1 1\n" * (1 << 23),
        "." + "A" * (1 << 22) + "a",
        ".COMMENT " + "y " * (1 << 18) + "down",
        ".HIERARCHY " + "a " * (1 << 22),
    ],
    ids=["backslashes", "an open label", "a long number", "a long row", "points", "a keyword", "prose", "levels"],
)
def test_what_nobody_drew_takes_no_more_than_seconds(tmp_path: Path, text: str) -> None:
    started = time.monotonic()
    assert len(parse(tmp_path, text)) <= 1
    assert time.monotonic() - started < 10


HEADS = {
    ".VERSION 1.0\n": True,
    "\n\r\n.COMMENT a\n b\n.COORD X Y\n": True,
    PENDIGITS_UNIPEN: True,
    '.LEXICON "a" "b"\n.COMMENT [A]\n': True,
    ".COMMENT a\n": False,
    '.INCLUDE "macros.asm"\n.ORG $8000\n': False,
    "a .VERSION 1.0\n": False,
    ".version 1.0\n.data\n": False,
    '.\\" .COORD\n': False,
    "1 2\n.PEN_DOWN\n": False,
    "": False,
}


@pytest.mark.parametrize(("head", "is_one"), HEADS.items())
def test_its_keywords_tell_the_format(head: str, is_one: bool) -> None:
    assert unipen.FORMAT.recognizes(Path("x"), head.encode()) is is_one
