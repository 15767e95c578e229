"""Tests of the reader of Omniglot's strokes."""

from pathlib import Path

import pytest

from mdnrnn.data.formats import omniglot, recognize_format
from tests.data.formats.samples import OMNIGLOT, parse_bytes, strokes_as_lists
from tests.data.importing.helpers import import_files, write_text


def test_strokes_end_at_breaks_and_y_is_negated(tmp_path: Path) -> None:
    for text in (OMNIGLOT, OMNIGLOT.replace("\n", "\r\n"), OMNIGLOT.removesuffix("BREAK\n"), "\ufeff" + OMNIGLOT):
        drawings = parse_bytes(tmp_path / "x.txt", text.encode(), omniglot.FORMAT)
        assert recognize_format(tmp_path / "x.txt") is omniglot.FORMAT
        assert strokes_as_lists(drawings) == [[[17, 33], [18.5, 34]], [[90, 10]]]
        assert [(remark.reason, remark.count) for remark in drawings.lost] == [("time values", 3)]


def test_class_is_the_alphabet_and_the_character(tmp_path: Path) -> None:
    for alphabet, number in (("Greek", 394), ("Latin", 700)):
        write_text(tmp_path / "strokes" / alphabet / "character01" / f"{number:04}_07.txt", OMNIGLOT)
    corpus, report = import_files(tmp_path / "strokes")
    assert corpus.metadata.classes == ("Greek/character01", "Latin/character01")
    assert corpus.writer is not None
    assert len(set(corpus.writer.tolist())) == 2
    assert report.lost["time values"][0] == 6


def test_class_is_the_folder_if_it_has_another_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_text(tmp_path / "mine" / name / "1.txt", OMNIGLOT)
    assert import_files(tmp_path / "mine")[0].metadata.classes == ("a", "b")


@pytest.mark.parametrize("line", ["17", "x,1,2", "1;2;3", "STOP", "1,,2"])
def test_malformed_line_drops_the_drawing(tmp_path: Path, line: str) -> None:
    drawings = parse_bytes(tmp_path / "x.txt", f"START\n1,2,3\n{line}\nBREAK\n".encode(), omniglot.FORMAT)
    assert not len(drawings)
    assert [remark.detail for remark in drawings.dropped] == [
        f"{tmp_path / 'x.txt'}, line 3 is {line!r}; expected x,y,t or BREAK"
    ]


@pytest.mark.parametrize(
    "head", ["START\nhello\n", "START 1,2,3\n", "1,2,3\nBREAK\n", "START\n", "", "RESTART\n1,2,3\n"]
)
def test_other_text_is_not_recognized(head: str) -> None:
    assert not omniglot.FORMAT.recognizes(Path("x.txt"), head.encode())
