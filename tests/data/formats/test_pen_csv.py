"""Tests of the reader of tables of pen points: columns, conventions of the pen, drawings and invalid files."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import pen_csv, pen_table, recognize_format, touch_csv
from mdnrnn.errors import DataError
from tests.data.formats.samples import PEN_CSV, PEN_STROKE_CSV, parse_bytes, strokes_as_lists

STROKES = [[[1, 5], [1, 9], [6, 9]], [[2, 2], [3, 3]]]
"""Strokes of the samples."""


def parse(folder: Path, text: str | bytes) -> DrawingBatch:
    """Write a table to a file, check that it is recognized, and parse it."""
    data = text.encode() if isinstance(text, str) else text
    drawings = parse_bytes(folder / "x.csv", data, pen_csv.FORMAT)
    assert recognize_format(folder / "x.csv") is pen_csv.FORMAT
    return drawings


def table(pen: str) -> str:
    """Return a table with one row per character of `pen`; x is the number of the row, blanks separate drawings."""
    rows = [(i, number, state) for i, part in enumerate(pen.split()) for number, state in enumerate(part)]
    return "drawing,x,y,pen\n" + "".join(f"{i},{number},0,{state}\n" for i, number, state in rows)


def test_strokes_are_found_by_the_pen_or_by_the_stroke(tmp_path: Path) -> None:
    for text, lost in ((PEN_CSV, ["time"]), (PEN_STROKE_CSV, ["t", "pressure"])):
        drawings = parse(tmp_path, text)
        assert strokes_as_lists(drawings) == STROKES
        assert drawings.records[0].location == str(tmp_path / "x.csv")
        names = [f"{'time' if name == 't' else name} values" for name in lost]
        assert [(remark.reason, remark.count) for remark in drawings.lost] == [(name, 5) for name in names]


VARIANTS: dict[str, Callable[[str], str | bytes]] = {
    "semicolons": lambda text: text.replace(",", ";"),
    "semicolons as Excel writes them": lambda text: "\ufeffsep=;\r\n" + text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "decimal commas": lambda text: text.replace("9", "9.0").replace(",", ";").replace(".", ","),
    "byte order mark": lambda text: "\ufeff" + text,
    "UTF-16": lambda text: text.encode("utf-16"),
    "quotes": lambda text: "".join(
        ",".join(f'"{field}"' for field in line.split(",")) + "\r\n" for line in text.splitlines()
    ),
    "blanks": lambda text: text.replace(",", " , "),
    "capitals and units": lambda text: text.replace("x,y", "X (px),Y [mm]").replace("pen", "Pen Down"),
    "other names": lambda text: (
        text.replace("x,y", "pos_x,pos_y").replace("stroke,", "strokeId,").replace("pen", "isDown")
    ),
    "comments": lambda text: "# recorded today\n" + text.replace("\n", "\n# a comment\n", 1),
    "Latin-1": lambda text: text.replace("time", "zeit_\u00fc").encode("latin-1"),
}


@pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS)
def test_spelling_of_the_table_does_not_matter(tmp_path: Path, make: Callable[[str], str | bytes]) -> None:
    for text in (PEN_CSV, PEN_STROKE_CSV):
        assert strokes_as_lists(parse(tmp_path, make(text))) == STROKES


CONVENTIONS = {
    "last point of a stroke has 0": ("1110110", [4, 3], 0),
    "last stroke is not closed": ("111011", [4, 2], 0),
    "first point of a stroke has 0": ("0110111", [3, 4], 0),
    "movements of the lifted pen": ("1110001100", [3, 2], 5),
    "movements before and between strokes": ("0001100111", [2, 3], 5),
    "last point of a stroke has 1": ("0001001", [4, 3], 0),
    "pen always down": ("1111", [4], 0),
    "drawings": ("110 1110 11", [3, 4, 2], 0),
    "a drawing without points": ("1110001 000", [3, 1], 6),
}


@pytest.mark.parametrize(("pen", "lengths", "lifted"), CONVENTIONS.values(), ids=CONVENTIONS)
def test_convention_of_the_pen_is_recognized(tmp_path: Path, pen: str, lengths: list[int], lifted: int) -> None:
    drawings = parse(tmp_path, table(pen))
    assert drawings.stroke_lengths.tolist() == lengths
    counts = {remark.reason: remark.count for remark in drawings.lost}
    assert counts.get("points of the lifted pen", 0) == lifted
    is_empty = pen.split()[-1] == "000"
    assert [remark.reason for remark in drawings.dropped] == ["empty"] * is_empty


@pytest.mark.parametrize("pen", ["1100110", "110100", "01010", "1110110 01101", "11100"])
def test_ambiguous_pen_is_refused_unless_strokes_are_numbered(tmp_path: Path, pen: str) -> None:
    with pytest.raises(DataError, match=r"the column pen is ambiguous.*add a column named 'stroke'"):
        parse(tmp_path, table(pen))


def test_pauses_resolve_the_meaning_of_the_pen(tmp_path: Path) -> None:
    states, times = "1100110", [0, 8, 16, 500, 900, 908, 916]
    rows = [f"{i},0,{state}," for i, state in enumerate(states)]
    with_pauses = "x,y,pen,t\n" + "".join(f"{row}{time}\n" for row, time in zip(rows, times, strict=True))
    assert parse(tmp_path, with_pauses).stroke_lengths.tolist() == [3, 1, 3]
    for uniform in (
        "x,y,pen,t\n" + "".join(f"{row}{i}\n" for i, row in enumerate(rows)),
        with_pauses.replace("500", ""),
    ):
        with pytest.raises(DataError, match="the column pen is ambiguous"):
            parse(tmp_path, uniform)


def test_stroke_numbers_resolve_the_meaning_of_the_pen(tmp_path: Path) -> None:
    ends = "stroke,x,y,pen\n0,1,1,1\n0,2,2,0\n1,3,3,0\n2,4,4,1\n2,5,5,0\n"
    assert parse(tmp_path, ends).stroke_lengths.tolist() == [2, 1, 2]
    hovering = "stroke,x,y,pen\n0,1,1,1\n0,2,2,1\n0,3,3,0\n0,3,3,0\n1,3,3,0\n1,4,4,1\n1,5,5,1\n"
    drawings = parse(tmp_path, hovering)
    assert strokes_as_lists(drawings) == [[[1, 1], [2, 2]], [[4, 4], [5, 5]]]
    lasts = "stroke,x,y,pen\n0,1,1,0\n0,2,2,0\n0,3,3,1\n1,3,3,0\n1,4,4,1\n"
    assert parse(tmp_path, lasts).stroke_lengths.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("column", "states"),
    [
        ("pen", ["down", "down", "up", "Down", "UP"]),
        ("pen_down", ["true", "true", "false", "True", "False"]),
        ("pen_up", ["0", "0", "1", "0", "1"]),
        ("pen_up", ["down", "down", "up", "down", "up"]),
        ("pen_up", ["false", "false", "true", "false", "true"]),
        ("event", ["start", "move", "end", "start", "end"]),
        ("eventType", ["pointerdown", "pointermove", "pointerup", "pointerdown", "pointermove"]),
        ("action", ["down", "move", "up", "down", "up"]),
    ],
)
def test_words_and_events_are_states_of_the_pen(tmp_path: Path, column: str, states: list[str]) -> None:
    points = [point for stroke in STROKES for point in stroke]
    rows = [f"{x},{y},{state}" for (x, y), state in zip(points, states, strict=True)]
    assert strokes_as_lists(parse(tmp_path, f"x,y,{column}\n" + "\n".join(rows))) == STROKES


def test_moves_outside_of_strokes_are_not_drawn(tmp_path: Path) -> None:
    drawings = parse(tmp_path, "x,y,event\n0,0,move\n1,1,down\n2,2,move\n3,3,up\n4,4,move\n5,5,down\n6,6,up\n7,7,up\n")
    assert strokes_as_lists(drawings) == [[[1, 1], [2, 2], [3, 3]], [[5, 5], [6, 6]]]
    assert [(remark.reason, remark.count) for remark in drawings.lost] == [("points of the lifted pen", 3)]


def test_pen_is_up_where_the_pressure_is_0(tmp_path: Path) -> None:
    text = "x,y,pressure\n1,1,.5\n2,2,.5\n3,3,0\n4,4,0.25\n"
    assert strokes_as_lists(parse(tmp_path, text)) == [[[1, 1], [2, 2]], [[4, 4]]]
    with pytest.raises(DataError, match="its pressure is never 0, so the ends of strokes are unknown; add a column"):
        parse(tmp_path, text.replace("3,0", "3,1"))


def test_rows_without_position_separate_strokes(tmp_path: Path) -> None:
    text = "x,y,pen\n1,1,1\n2,2,1\n\n3,3,1\nnan,NaN,\n4,4,1\n\n"
    assert strokes_as_lists(parse(tmp_path, text)) == [[[1, 1], [2, 2]], [[3, 3]], [[4, 4]]]


def test_strokes_with_negative_or_without_number_are_not_drawn(tmp_path: Path) -> None:
    drawings = parse(tmp_path, "stroke,x,y\n0,1,1\n-1,2,2\n1,3,3\n,4,4\n2,5,5\n")
    assert strokes_as_lists(drawings) == [[[1, 1]], [[3, 3]], [[5, 5]]]
    assert drawings.lost[0].count == 2


def test_drawings_have_labels_texts_writers_and_splits(tmp_path: Path) -> None:
    text = (
        "sample,stroke,x,y,class,transcript,user,subset\n"
        "a,0,1,1,cat,,ann,training\na,1,2,2,cat,,ann,training\nb,0,3,3,,it,bob,test\n"
    )
    drawings = parse(tmp_path, text)
    assert drawings.stroke_counts.tolist() == [2, 1]
    records = [(record.label, record.text, record.writer, record.split) for record in drawings.records]
    assert records == [("cat", None, "ann", "train"), ("", "it", "bob", "test")]
    assert drawings.records[1].location == f"{tmp_path / 'x.csv'}, drawing b"


def test_drawing_begins_where_the_label_changes(tmp_path: Path) -> None:
    drawings = parse(tmp_path, "label,x,y,stroke\na,1,1,0\na,2,2,1\nb,3,3,0\na,4,4,0\n")
    assert [record.label for record in drawings.records] == ["a", "b", "a"]
    assert drawings.stroke_counts.tolist() == [2, 1, 1]


def test_column_that_numbers_the_rows_is_no_drawing(tmp_path: Path) -> None:
    drawings = parse(tmp_path, "id,x,y,stroke\n0,1,1,0\n1,2,2,0\n2,3,3,1\n")
    assert strokes_as_lists(drawings) == [[[1, 1], [2, 2]], [[3, 3]]]
    assert not drawings.lost


def test_rows_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    drawings = parse(tmp_path, "x,y,pen\n1,1,1\noops,2,1\n3\n4,,1\n1e999,0,1\n5,5,0\n")
    assert strokes_as_lists(drawings) == [[[1, 1], [5, 5]]]
    assert [remark.detail for remark in drawings.repaired] == [
        f"{tmp_path / 'x.csv'}, line 3 and 3 more lines: expected numbers for x and y; ignored"
    ]
    assert [remark.reason for remark in parse(tmp_path, "x,y,pen\na,b,c\n").dropped] == ["no valid line"]
    assert [remark.reason for remark in parse(tmp_path, "x,y,pen\n").dropped] == ["empty"]


@pytest.mark.parametrize("label", ["#", "#1", "sep=;"])
def test_row_with_all_columns_is_no_comment(tmp_path: Path, label: str) -> None:
    """The label of a drawing can begin like a comment."""
    text = f"# made today\nlabel,x,y,stroke\n{label},1,2,0\n# a comment\n# a, comment\n{label},3,4,0\n+,5,6,0\n"
    drawings = parse(tmp_path, text)
    assert [(record.label, len(drawings.polylines(i)[0])) for i, record in enumerate(drawings.records)] == [
        (label, 2),
        ("+", 1),
    ]
    assert not drawings.repaired


@pytest.mark.parametrize("count", [3, 16, 17, 200])
@pytest.mark.parametrize("column", ["pen", "event", "tip"])
def test_pen_column_of_other_values_is_ignored_if_strokes_are_numbered(tmp_path: Path, column: str, count: int) -> None:
    """The values are counted as lost, except the empty one in row 1."""
    values = [f"v{number}" if number != 1 else "" for number in range(count)]
    rows = [f"{number % 7},{number},{number // 2},{value}\n" for number, value in enumerate(values)]
    drawings = parse(tmp_path, f"x,y,stroke,{column}\n" + "".join(rows))
    assert drawings.stroke_lengths.tolist() == [2] * (count // 2) + [1] * (count % 2)
    assert [(remark.reason, remark.count) for remark in drawings.lost] == [(f"{column} values", count - 1)]


def test_unused_columns_have_the_same_kinds_as_in_tables_of_touches(tmp_path: Path) -> None:
    """Columns that number the rows are not lost content."""
    unused, values = "index,p,Zoom Factor,seq", "0,20,1.5,7"
    (tmp_path / "pen.csv").write_text(f"x,y,stroke,{unused}\n1,2,0,{values}\n")
    (tmp_path / "touch.csv").write_text(f"x,y,time,touch,{unused}\n1,2,0,0,{values}\n")
    pen, touch = (
        form.parse(tmp_path / name) for form, name in ((pen_csv.FORMAT, "pen.csv"), (touch_csv.FORMAT, "touch.csv"))
    )
    assert {remark.reason: remark.count for remark in pen.lost} == {"pressure values": 1, "zoom_factor values": 1}
    assert [(each.reason, each.count) for each in touch.lost] == [(each.reason, each.count) for each in pen.lost]


INVALID = {
    "values of the pen": ("x,y,pen\n1,1,0\n2,2,1\n3,3,2\n", "the column pen has the values 0, 1, 2; expected 1 and 0"),
    "many values of the pen": ("x,y,pen\n" + "".join(f"1,1,{i}\n" for i in range(99)), "over 16 values of the pen"),
    "interleaved strokes": (
        "x,y,stroke\n1,1,0\n2,2,1\n3,3,0\n",
        "a stroke whose rows are not consecutive, expected one block of rows; add",
    ),
    "interleaved drawings": ("x,y,pen,id\n1,1,1,a\n1,1,1,a\n2,2,1,b\n3,3,1,a\n", "a drawing whose rows are not"),
    "long line": ("x,y,pen\n1,1," + "1" * 20_000, "line 2: over 16384 characters"),
    "open quote": ('x,y,pen\n1,1,"1\n' + "1,1,1\n" * 40_000, "not a row of a table"),
    "large file": ("x,y,pen\n" + " " * (65 << 20), "over 64 MB"),
}


@pytest.mark.parametrize(("text", "message"), INVALID.values(), ids=INVALID)
def test_invalid_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse(tmp_path, text)


def test_number_of_drawings_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pen_table, "_MAX_DRAWINGS", 3)
    rows = "".join(f"{i},1,1,1\n{i},1,1,0\n" for i in range(4))
    with pytest.raises(DataError, match="over 3 drawings; expected at most 3; split the file"):
        parse(tmp_path, "drawing,x,y,pen\n" + rows)


def test_memory_is_bounded(tmp_path: Path) -> None:
    tracemalloc.start()
    drawings = parse(tmp_path, "x,y,pen\n" + "1,1,1\n" * 40_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(drawings.points) == 40_000
    assert peak < 32 << 20


@pytest.mark.parametrize(
    "head",
    ["x,y,label\n1,1,a\n", "x,y,t\n1,1,0\n", "1,2,3\n", "", "x;y\n", "pen,time\n", "<svg>\n", '{"x":1,"pen":2}\n'],
)
def test_other_text_is_not_recognized(head: str) -> None:
    assert not pen_csv.FORMAT.recognizes(Path("x.csv"), head.encode())
