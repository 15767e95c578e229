"""Tests of the reader of UJI Pen Characters, version 2."""

from pathlib import Path

import pytest

from mdnrnn.data.formats import recognize_format, uji
from tests.data.formats.samples import UJI, parse_bytes, strokes_as_lists


@pytest.mark.parametrize("text", [UJI, UJI.replace("\n", "\r\n"), UJI.replace("\n", "\n\n"), UJI.replace("  ", "")])
def test_characters_have_classes_splits_and_writers(tmp_path: Path, text: str) -> None:
    drawings = parse_bytes(tmp_path / "x.txt", text.encode(), uji.FORMAT)
    assert recognize_format(tmp_path / "x.txt") is uji.FORMAT
    assert strokes_as_lists(drawings) == [[[541, 1001], [540, 987], [530, 977]], [[518, 1227], [-71, 1312]]]
    assert strokes_as_lists(drawings, 1) == [[[7, 8]]]
    records = [(record.label, record.split, record.writer) for record in drawings.records]
    assert records == [(";", "train", "UJI_W03"), ("\u00f1", "test", "UPV_W18")]
    assert not drawings.dropped


def test_other_session_has_no_split(tmp_path: Path) -> None:
    for session in ("mine", "a_b-01"):
        text = UJI.replace("trn_UJI_W03-01", session)
        record = parse_bytes(tmp_path / "x.txt", text.encode(), uji.FORMAT).records[0]
        assert (record.label, record.split, record.writer) == (";", None, None)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("NUMSTROKES 2", "NUMSTROKES 3", "has 2 stroke lines below 'NUMSTROKES 3'"),
        ("POINTS 3", "POINTS 4", "has a stroke 'POINTS 4 # 541 1001 540 987 530 977' with 3 points"),
        ("541 1001", "541", "has a stroke 'POINTS 3 # 541 540 987 530 977'; expected POINTS"),
        ("541", "x", "expected POINTS, a number n, # and 2 n numbers"),
        ("WORD ; trn", "WORD  trn", "begins 'trn_UJI_W03-01'; expected a character, a session"),
        ("  NUMSTROKES 2", "", "has 1 stroke line below"),
    ],
)
def test_malformed_drawing_is_dropped(tmp_path: Path, old: str, new: str, problem: str) -> None:
    drawings = parse_bytes(tmp_path / "x.txt", UJI.replace(old, new, 1).encode(), uji.FORMAT)
    assert [record.label for record in drawings.records] == ["\u00f1"]
    assert [remark.reason for remark in drawings.dropped] == ["malformed drawing"]
    assert problem in drawings.dropped[0].detail


@pytest.mark.parametrize("head", ["WORD a b\nPOINTS 1 # 1 2\n", "NUMSTROKES 1\n", "SWORD a b\nNUMSTROKES 1\n", ""])
def test_other_text_is_not_recognized(head: str) -> None:
    assert not uji.FORMAT.recognizes(Path("x.txt"), head.encode())
