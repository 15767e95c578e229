"""Tests of the IAM-OnDB reader: strokes, transcripts in the folders of the database, whole forms, and invalid files."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import iam, inkml
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError
from tests.data.formats.samples import IAM_LINE, parse_bytes, strokes_as_lists

STROKES = [[[1073, 1058], [1072, 1085]], [[1204, 900]]]
FIRST_LINE = 'A MOVE to stop Mr. "Gaitskell" from'
TRANSCRIPT = f"""OCR:

A  MOVE to step Mr. Gaitskell frem
nomlnating any

CSR:

{FIRST_LINE}
nominating any more Labour

life Peers &quot; is%%%%%%%%%%%to be made

"""


def make_line(
    folder: Path, strokes_folder: str = "lineStrokes", transcript_folder: str | None = "ascii", line: int = 1
) -> Path:
    """Return the path of a line of form a01-000u, and write its transcript, if it has one."""
    path = folder / strokes_folder / "a01" / "a01-000" / f"a01-000u-{line:02}.xml"
    path.parent.mkdir(parents=True)
    if transcript_folder:
        transcript = folder / transcript_folder / "a01" / "a01-000" / "a01-000u.txt"
        transcript.parent.mkdir(parents=True)
        transcript.write_text(TRANSCRIPT)
    return path


def parse_line(path: Path) -> DrawingBatch:
    """Write the sample line to `path` and parse it."""
    return parse_bytes(path, IAM_LINE, iam.FORMAT)


def test_line_is_a_drawing_with_its_text_and_the_key_of_its_form(tmp_path: Path) -> None:
    drawings = parse_line(make_line(tmp_path))
    assert strokes_as_lists(drawings) == STROKES
    record = drawings.records[0]
    assert record.text == FIRST_LINE
    assert (record.key, record.label) == ("a01-000u", None)
    assert not drawings.dropped
    assert not drawings.repaired
    assert iam.FORMAT.default_label is None


def test_format_is_recognized_by_root_element(tmp_path: Path) -> None:
    assert iam.FORMAT.recognizes(tmp_path / "x", IAM_LINE[:4096])
    assert not iam.FORMAT.recognizes(tmp_path / "x.xml", b"<!-- <WhiteboardCaptureSession> --><ink>")
    assert not inkml.FORMAT.recognizes(tmp_path / "x.xml", IAM_LINE[:4096])


@pytest.mark.parametrize(
    ("line", "text"),
    [(2, "nominating any more Labour"), (3, "life Peers &quot; is"), (4, "to be made")],
    ids=["second line", "line after a blank line, not unescaped", "line after a row of %"],
)
def test_text_is_the_line_of_the_transcript(tmp_path: Path, line: int, text: str) -> None:
    assert parse_line(make_line(tmp_path, line=line)).records[0].text == text


@pytest.mark.parametrize("line", [0, 5, 99])
def test_line_missing_from_the_transcript_has_no_text(tmp_path: Path, line: int) -> None:
    drawings = parse_line(make_line(tmp_path, line=line))
    assert drawings.records[0].text is None
    assert [remark.reason for remark in drawings.repaired] == ["no transcript line"]
    assert "a01-000u.txt has 4 lines below CSR:" in drawings.repaired[0].detail


FOLDERS = {
    "folders of the archives": ("lineStrokes-all/lineStrokes", "ascii-all/ascii"),
    "beside the strokes": ("lineStrokes", "lineStrokes"),
    "strokes one folder deeper": ("lineStrokes-all/lineStrokes", "ascii"),
    "transcripts one folder deeper": ("lineStrokes", "ascii-all/ascii"),
    "ascii-all": ("lineStrokes", "ascii-all"),
    "strokes in a folder of another name": ("mine/strokes", "ascii"),
}


@pytest.mark.parametrize(("strokes_folder", "transcript_folder"), FOLDERS.values(), ids=FOLDERS)
def test_transcript_is_found_in_usual_folders(tmp_path: Path, strokes_folder: str, transcript_folder: str) -> None:
    if strokes_folder == transcript_folder:
        path = make_line(tmp_path, strokes_folder, None)
        (path.parent / "a01-000u.txt").write_text(TRANSCRIPT)
    else:
        path = make_line(tmp_path, strokes_folder, transcript_folder)
    assert parse_line(path).records[0].text == FIRST_LINE


ARCHIVES = {
    "same archive": ("data.zip", "data", "lineStrokes", "ascii"),
    "folders of the archives": ("data.zip", "data", "lineStrokes-all/lineStrokes", "ascii-all/ascii"),
    "beside the strokes": ("data.zip", "data", "mine", "mine"),
    "transcripts one folder deeper": ("data.zip", "data", "lineStrokes", "ascii-all/ascii"),
    "strokes only": ("lineStrokes.zip", "lineStrokes", "", "../ascii"),
    "folder around the archive": ("lineStrokes/data.zip", "lineStrokes/data", "lineStrokes", "ascii"),
}


@pytest.mark.parametrize(("archive", "unpacked", "strokes", "transcripts"), ARCHIVES.values(), ids=ARCHIVES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_transcript_is_found_as_if_the_archive_were_unpacked(
    archive: str, unpacked: str, strokes: str, transcripts: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """A transcript inside the archive is found in it; a folder beside the archive is found beside it."""
    line, text = "a01/a01-000/a01-000u-01.xml", "a01/a01-000/a01-000u.txt"
    line += ".gz" if pack is gzip.compress else ""
    (tmp_path / "packed" / archive).parent.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "packed" / archive, "w") as file:
        file.writestr(f"{strokes}/{line}".lstrip("/"), pack(IAM_LINE))
        if not transcripts.startswith(".."):
            file.writestr(f"{transcripts}/{text}", TRANSCRIPT)
    outside = tmp_path / "packed" / unpacked / transcripts / text
    if transcripts.startswith(".."):
        outside.parent.mkdir(parents=True)
        outside.write_text(TRANSCRIPT)
    import_corpus(tmp_path / "packed" / archive, tmp_path / "out")
    assert pipeline.read(tmp_path / "out")[0].text == FIRST_LINE


def test_transcript_missing_in_an_archive_is_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("lineStrokes/a01/a01-000/a01-000u-01.xml", IAM_LINE)
    report = import_corpus(tmp_path / "x.zip", tmp_path / "out")
    assert report.repaired["no transcript"][0] == 1


def test_transcript_is_found_from_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_line(tmp_path)
    monkeypatch.chdir(path.parent)
    assert parse_line(Path(path.name)).records[0].text == FIRST_LINE


def test_file_without_transcript_has_no_text(tmp_path: Path) -> None:
    drawings = parse_line(make_line(tmp_path, transcript_folder=None))
    assert drawings.records[0].text is None
    assert [remark.reason for remark in drawings.repaired] == ["no transcript"]
    assert "or in ascii/a01/a01-000/a01-000u.txt beside lineStrokes" in drawings.repaired[0].detail


def test_file_with_another_name_has_neither_key_nor_text(tmp_path: Path) -> None:
    drawings = parse_line(tmp_path / "mine.xml")
    assert (drawings.records[0].key, drawings.records[0].text) == (None, None)
    assert drawings.repaired[0].detail.startswith(f"{tmp_path / 'mine.xml'}: received no transcript")


def test_transcript_above_the_searched_parents_is_ignored(tmp_path: Path) -> None:
    assert parse_line(make_line(tmp_path, "a/b/c/lineStrokes")).records[0].text is None


def test_transcript_without_block_has_no_lines(tmp_path: Path) -> None:
    path = make_line(tmp_path)
    (tmp_path / "ascii/a01/a01-000/a01-000u.txt").write_bytes(b"OCR:\nA MOVE\xff\n")
    drawings = parse_line(path)
    assert drawings.records[0].text is None
    assert "has 0 lines" in drawings.repaired[0].detail


def test_whole_form_contains_its_text_and_has_the_key_of_its_lines(tmp_path: Path) -> None:
    text = b"""<General><Form id="a01-000" writerID="10052"/></General><Transcription>
    <Text>  A MOVE to stop Mr. &amp;quot;Gaitskell&amp;quot; from\n\n nominating Dick&amp;apos;s &amp; \xe9
    </Text><TextLine id="a01-000u-01" text="A"/></Transcription><WhiteboardDescription>"""
    path = tmp_path / "original" / "a01" / "a01-000" / "strokesu.xml"
    path.parent.mkdir(parents=True)
    drawings = parse_bytes(path, IAM_LINE.replace(b"<WhiteboardDescription>", text), iam.FORMAT)
    assert strokes_as_lists(drawings) == STROKES
    assert drawings.records[0].text == f"{FIRST_LINE}\nnominating Dick's & é"
    assert drawings.records[0].key == "a01-000u"


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'x="1073" ', b""), (b'y="1058"', b'y=""'), (b'"1085"', b'"ten"')],
    ids=["no x", "empty y", "word"],
)
def test_malformed_point_drops_the_drawing(tmp_path: Path, old: bytes, new: bytes) -> None:
    drawings = parse_bytes(tmp_path / "x.xml", IAM_LINE.replace(old, new), iam.FORMAT)
    assert len(drawings) == 0
    assert [remark.reason for remark in drawings.dropped] == ["malformed point"]
    assert drawings.dropped[0].detail.startswith(str(tmp_path / "x.xml"))


def test_file_without_strokes_is_an_empty_drawing(tmp_path: Path) -> None:
    data = b"<WhiteboardCaptureSession><StrokeSet/></WhiteboardCaptureSession>"
    drawings = parse_bytes(tmp_path / "x.xml", data, iam.FORMAT)
    assert [remark.reason for remark in drawings.dropped] == ["empty"]


INVALID: dict[str, tuple[Callable[[], bytes], str]] = {
    "incomplete": (lambda: IAM_LINE[:500], "not XML"),
    "other root": (lambda: b"<ink/>", "expected <WhiteboardCaptureSession>"),
    "entity": (
        lambda: IAM_LINE.replace(b"?>", b'?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', 1),
        "declares the entity",
    ),
    "large file": (lambda: IAM_LINE + b" " * (64 << 20), "over 64 MB"),
    "many points": (lambda: IAM_LINE.replace(b"<Point", b'<Point x="1" y="1"/>' * (1 << 21) + b"<Point", 1), "at most"),
}


@pytest.mark.parametrize(("make", "message"), INVALID.values(), ids=INVALID)
def test_invalid_file_is_refused(tmp_path: Path, make: Callable[[], bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_bytes(tmp_path / "x.xml", make(), iam.FORMAT)


def test_large_transcript_is_refused(tmp_path: Path) -> None:
    path = make_line(tmp_path)
    (tmp_path / "ascii/a01/a01-000/a01-000u.txt").write_bytes(b"CSR:\n" * (1 << 20))
    with pytest.raises(DataError, match=r"a01-000u\.txt: over 1 MB"):
        parse_line(path)


def test_forms_are_assigned_to_splits_by_lists(tmp_path: Path) -> None:
    make_line(tmp_path).write_bytes(IAM_LINE)
    for form in ("a01-001u", "a01-002u"):
        other = tmp_path / "lineStrokes" / "a01" / form[:-1] / f"{form}-01.xml"
        other.parent.mkdir(parents=True)
        other.write_bytes(IAM_LINE)
    (tmp_path / "trainset.txt").write_bytes(b"\xef\xbb\xbfa01-000u\n \n")
    (tmp_path / "testset_v.txt").write_text("a01-002u\r\nb99-999z\r\n")
    lists = f"train={tmp_path / 'trainset.txt'},valid={tmp_path / 'testset_v.txt'}"
    report = import_corpus([tmp_path / "lineStrokes"], tmp_path / "out", Recipe(format="iam", split=lists))
    assert report.splits == {"train": 1, "valid": 1, "test": 0}
    assert {reason: count for reason, (count, _) in report.dropped.items()} == {"in no list": 1}


def test_lines_without_text_are_dropped_with_option_with_text(tmp_path: Path) -> None:
    path = make_line(tmp_path)
    path.write_bytes(IAM_LINE)
    path.with_name("a01-000u-09.xml").write_bytes(IAM_LINE)
    report = import_corpus([tmp_path / "lineStrokes"], tmp_path / "out", Recipe(format="iam", with_text=True))
    assert report.kept == 1
    assert {reason: count for reason, (count, _) in report.dropped.items()} == {"no text": 1}
