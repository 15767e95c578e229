"""IAM-OnDB: the tree as it is unpacked, lines and whole forms, their transcripts found and counted as they are."""

import time
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.drawings import DrawingBatch, Record
from mdnrnn.data.formats import iam, inkml
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError, InputError
from tests.data.formats.samples import IAM_LINE, parse_bytes, strokes_as_lists

STROKES = [[[1073, 1058], [1072, 1085]], [[1204, 900]]]
TRANSCRIPT = """OCR:

A  MOVE to step Mr. Gaitskell frem
nomlnating any

CSR:

A MOVE to stop Mr. "Gaitskell" from
nominating any more Labour

life Peers &quot; is%%%%%%%%%%%to be made

"""


def tree(folder: Path, strokes: str = "lineStrokes", ascii: str | None = "ascii", line: int = 1) -> Path:
    """One line of a form, and its transcript in a tree beside it."""
    path = folder / strokes / "a01" / "a01-000" / f"a01-000u-{line:02}.xml"
    path.parent.mkdir(parents=True)
    if ascii:
        transcript = folder / ascii / "a01" / "a01-000" / "a01-000u.txt"
        transcript.parent.mkdir(parents=True)
        transcript.write_text(TRANSCRIPT)
    return path


def read_line(path: Path) -> DrawingBatch:
    return parse_bytes(path, IAM_LINE, iam.FORMAT)


def test_a_line_is_a_drawing_with_its_text_under_the_key_of_its_form(tmp_path: Path) -> None:
    drawings = read_line(tree(tmp_path))
    assert strokes_as_lists(drawings) == STROKES
    record = drawings.records[0]
    assert record.text == 'A MOVE to stop Mr. "Gaitskell" from'
    assert (record.key, record.label) == ("a01-000u", None)
    assert not drawings.dropped
    assert not drawings.repaired
    assert iam.FORMAT.default_label is None


def test_only_its_root_tells_the_format(tmp_path: Path) -> None:
    assert iam.FORMAT.recognizes(tmp_path / "x", IAM_LINE[:4096])
    assert not iam.FORMAT.recognizes(tmp_path / "x.xml", b"<!-- <WhiteboardCaptureSession> --><ink>")
    assert not inkml.FORMAT.recognizes(tmp_path / "x.xml", IAM_LINE[:4096])


@pytest.mark.parametrize(
    ("line", "text"),
    [(2, "nominating any more Labour"), (3, "life Peers &quot; is"), (4, "to be made")],
    ids=["the second", "blank lines do not count, nothing is unescaped", "a row of % ends a line"],
)
def test_line_i_of_the_block_is_line_i_of_the_form(tmp_path: Path, line: int, text: str) -> None:
    assert read_line(tree(tmp_path, line=line)).records[0].text == text


@pytest.mark.parametrize("line", [0, 5, 99])
def test_a_line_that_the_transcript_lacks_is_read_without_text_and_told(tmp_path: Path, line: int) -> None:
    drawings = read_line(tree(tmp_path, line=line))
    assert drawings.records[0].text is None
    assert [remark.reason for remark in drawings.repaired] == ["no transcript line"]
    assert "a01-000u.txt has 4 lines below CSR:" in drawings.repaired[0].detail


@pytest.mark.parametrize(
    ("strokes", "ascii"),
    [
        ("lineStrokes-all/lineStrokes", "ascii-all/ascii"),
        ("lineStrokes", "lineStrokes"),
        ("lineStrokes-all/lineStrokes", "ascii"),
        ("lineStrokes", "ascii-all/ascii"),
        ("lineStrokes", "ascii-all"),
        ("mine/strokes", "ascii"),
    ],
    ids=[
        "the archives' own folders",
        "beside the strokes",
        "strokes in a folder of their own",
        "transcripts in a folder of their own",
        "another ending",
        "beside a folder of any name",
    ],
)
def test_transcripts_are_found_where_people_unpack_them(tmp_path: Path, strokes: str, ascii: str) -> None:
    if strokes == ascii:
        path = tree(tmp_path, strokes, None)
        (path.parent / "a01-000u.txt").write_text(TRANSCRIPT)
    else:
        path = tree(tmp_path, strokes, ascii)
    assert read_line(path).records[0].text == 'A MOVE to stop Mr. "Gaitskell" from'


def test_transcripts_are_found_from_inside_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree(tmp_path)
    monkeypatch.chdir(path.parent)
    assert read_line(Path(path.name)).records[0].text == 'A MOVE to stop Mr. "Gaitskell" from'


def test_without_a_transcript_or_a_name_of_the_database_there_is_no_text(tmp_path: Path) -> None:
    drawings = read_line(tree(tmp_path, ascii=None))
    assert drawings.records[0].text is None
    assert [remark.reason for remark in drawings.repaired] == ["no transcript"]
    assert "expected one such as ascii/a01/a01-000/a01-000u.txt beside lineStrokes" in drawings.repaired[0].detail
    drawings = read_line(tmp_path / "mine.xml")
    assert (drawings.records[0].key, drawings.records[0].text) == (None, None)
    assert drawings.repaired[0].detail.startswith(f"{tmp_path}/mine.xml: no transcript")


def test_transcripts_far_above_are_not_taken(tmp_path: Path) -> None:
    assert read_line(tree(tmp_path, "a/b/c/lineStrokes")).records[0].text is None


def test_a_transcript_without_the_block_is_told(tmp_path: Path) -> None:
    path = tree(tmp_path)
    (tmp_path / "ascii/a01/a01-000/a01-000u.txt").write_bytes(b"OCR:\nA MOVE\xff\n")
    drawings = read_line(path)
    assert drawings.records[0].text is None
    assert "has 0 lines" in drawings.repaired[0].detail


def test_a_whole_form_brings_its_text_and_shares_the_key_of_its_lines(tmp_path: Path) -> None:
    text = b"""<General><Form id="a01-000" writerID="10052"/></General><Transcription>
    <Text>  A MOVE to stop Mr. &amp;quot;Gaitskell&amp;quot; from\n\n nominating Dick&amp;apos;s &amp; \xe9
    </Text><TextLine id="a01-000u-01" text="A"/></Transcription><WhiteboardDescription>"""
    path = tmp_path / "original" / "a01" / "a01-000" / "strokesu.xml"
    path.parent.mkdir(parents=True)
    drawings = parse_bytes(path, IAM_LINE.replace(b"<WhiteboardDescription>", text), iam.FORMAT)
    assert strokes_as_lists(drawings) == STROKES
    assert drawings.records[0].text == 'A MOVE to stop Mr. "Gaitskell" from\nnominating Dick\'s & é'
    assert drawings.records[0].key == "a01-000u"


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'x="1073" ', b""), (b'y="1058"', b'y=""'), (b'"1085"', b'"ten"')],
    ids=["no x", "empty", "a word"],
)
def test_a_malformed_point_costs_its_line(tmp_path: Path, old: bytes, new: bytes) -> None:
    drawings = parse_bytes(tmp_path / "x.xml", IAM_LINE.replace(old, new), iam.FORMAT)
    assert len(drawings) == 0
    assert [remark.reason for remark in drawings.dropped] == ["malformed point"]
    assert drawings.dropped[0].detail.startswith(str(tmp_path / "x.xml"))


def test_a_line_without_strokes_is_empty(tmp_path: Path) -> None:
    drawings = parse_bytes(
        tmp_path / "x.xml", b"<WhiteboardCaptureSession><StrokeSet/></WhiteboardCaptureSession>", iam.FORMAT
    )
    assert [remark.reason for remark in drawings.dropped] == ["empty"]


BAD = {
    "cut short": (IAM_LINE[:500], "not XML"),
    "another root": (b"<ink/>", "expected <WhiteboardCaptureSession>"),
    "an entity": (IAM_LINE.replace(b"?>", b'?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', 1), "entities"),
    "too long": (IAM_LINE + b" " * (64 << 20), "over 64 MB"),
    "too many points": (IAM_LINE.replace(b"<Point", b'<Point x="1" y="1"/>' * (1 << 21) + b"<Point", 1), "most"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "complaint"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_told_in_one_line_and_soon(tmp_path: Path, data: bytes, complaint: str) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=complaint):
        parse_bytes(tmp_path / "x.xml", data, iam.FORMAT)
    assert time.monotonic() - started < 5


def test_a_transcript_beyond_measure_is_told(tmp_path: Path) -> None:
    path = tree(tmp_path)
    (tmp_path / "ascii/a01/a01-000/a01-000u.txt").write_bytes(b"CSR:\n" * (1 << 20))
    with pytest.raises(DataError, match=r"a01-000u\.txt: over 1 MB"):
        read_line(path)


def test_forms_are_divided_by_lists(tmp_path: Path) -> None:
    tree(tmp_path)
    for form in ("a01-001u", "a01-002u"):
        other = tmp_path / "lineStrokes" / "a01" / form[:-1] / f"{form}-01.xml"
        other.parent.mkdir(parents=True)
        other.write_bytes(IAM_LINE)
    tree_file = tmp_path / "lineStrokes" / "a01" / "a01-000" / "a01-000u-01.xml"
    tree_file.write_bytes(IAM_LINE)
    (tmp_path / "trainset.txt").write_bytes(b"\xef\xbb\xbfa01-000u\n \n")
    (tmp_path / "testset_v.txt").write_text("a01-002u\r\nb99-999z\r\n")
    lists = f"train={tmp_path}/trainset.txt,valid={tmp_path}/testset_v.txt"
    report = import_corpus([tmp_path / "lineStrokes"], tmp_path / "out", Recipe(format="iam", split=lists))
    assert report.splits == {"train": 1, "valid": 1, "test": 0}
    assert {reason: count for reason, (count, _) in report.dropped.items()} == {"in no list": 1}


@pytest.mark.parametrize(
    ("split", "complaint"),
    [
        ("train=absent.txt", "cannot be read"),
        ("train=both.txt,test=both.txt", "'a01-000u' is listed for train and for test"),
        ("learn=both.txt", "expected train=FILE, valid=FILE or test=FILE"),
        ("valid=empty.txt", "no keys; expected one key per line"),
    ],
)
def test_lists_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, complaint: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("both.txt").write_text("a01-000u")
    Path("empty.txt").touch()
    with pytest.raises(InputError, match=complaint):
        Recipe(split=split.replace("both", str(tmp_path / "both")).replace("empty", str(tmp_path / "empty")))


@pytest.mark.parametrize(
    ("strokes", "expected"),
    [
        ([[[0, 0], [3, 4], [900, 4], [6, 8], [6, 9]], [[500, 0], [501, 0]]],
         [[[0, 0], [3, 4], [6, 8], [6, 9]], [[500, 0], [501, 0]]]),
        ([[[900, 900], [0, 0], [3, 4], [6, 8]]], [[[0, 0], [3, 4], [6, 8]]]),
        ([[[0, 0], [3, 4], [900, 900]]], [[[0, 0], [3, 4]]]),
        ([[[0, 0], [3, 4], [300, 4], [306, 8]], [[1, 1]]], [[[0, 0], [3, 4]], [[300, 4], [306, 8]], [[1, 1]]]),
        ([[[0, 0], [500, 0]]], [[[0, 0]]]),
    ],
    ids=["inside", "first", "last", "a gap", "nothing else"],
)  # fmt: skip
def test_slips_of_the_sensor_go(strokes: list[list[list[int]]], expected: list[list[list[int]]]) -> None:
    """And what stands beside them stays, between two drawings that have none."""
    plain = [np.array([[7, 7], [8, 8]])]
    middle = [np.array(stroke) for stroke in strokes]
    drawings = DrawingBatch.from_polylines(
        [(plain, Record("a")), (middle, Record("b")), (plain, Record("c"))]
    ).split_at_jumps(100)
    assert [[stroke.tolist() for stroke in drawings.polylines(i)] for i in range(3)] == [
        [[[7, 7], [8, 8]]], expected, [[[7, 7], [8, 8]]]
    ]  # fmt: skip
    assert [record.location for record in drawings.records] == ["a", "b", "c"]


def test_lines_without_text_are_left_out_where_asked(tmp_path: Path) -> None:
    tree(tmp_path)
    silent = tmp_path / "lineStrokes" / "a01" / "a01-000" / "a01-000u-09.xml"
    silent.write_bytes(IAM_LINE)
    (tmp_path / "lineStrokes" / "a01" / "a01-000" / "a01-000u-01.xml").write_bytes(IAM_LINE)
    report = import_corpus([tmp_path / "lineStrokes"], tmp_path / "out", Recipe(format="iam", with_text=True))
    assert report.kept == 1
    assert {reason: count for reason, (count, _) in report.dropped.items()} == {"no text": 1}
