"""Characters with medians: y is turned down, the character is the text, outlines are reported as lost."""

import json
from pathlib import Path

import pytest

from mdnrnn.data import formats
from mdnrnn.data.formats import ndjson
from mdnrnn.data.formats.medians import FORMAT
from mdnrnn.data.importing import pipeline
from tests.data.formats.samples import MEDIANS


def test_medians_are_strokes_and_the_character_is_the_text(tmp_path: Path) -> None:
    (tmp_path / "graphics.txt").write_bytes(MEDIANS)
    assert formats.recognize_format(tmp_path / "graphics.txt") is FORMAT
    (chunk,) = FORMAT.chunks(tmp_path / "graphics.txt")
    drawings = FORMAT.parse(chunk)
    assert drawings.polylines(0)[0].tolist() == [[1, 0], [3, 1024]]
    assert [stroke.tolist() for stroke in drawings.polylines(1)] == [[[5, 894], [7, 891.5]], [[0, 900]]]
    assert [record.text for record in drawings.records] == ["丿", "乙"]
    assert [(remark.reason, remark.count) for remark in drawings.lost] == [("stroke outlines", 3)]


@pytest.mark.parametrize(("name", "text"), [("我.json", "我"), ("data.json", None)])
def test_name_of_a_file_with_one_character_is_its_text(name: str, text: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps({"strokes": ["M 0 0"], "medians": [[[1, 2], [3, 4]]]}))
    corpus = pipeline.read(tmp_path / name)
    assert (corpus[0].text, corpus.label) == (text, None)


BAD = {
    "{": "not JSON",
    "[" * 100_000: "not JSON",
    "3": "no medians",
    '{"medians": 3}': "no medians",
    '{"medians": [[1, 2]]}': "no medians",
    '{"medians": [["a", "b"]]}': "no medians",
}


@pytest.mark.parametrize(("bad", "reason"), BAD.items(), ids=lambda text: text[:20])
def test_bad_line_is_dropped_with_its_number(bad: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(MEDIANS.decode() + bad)
    (chunk,) = FORMAT.chunks(tmp_path / "x.txt")
    drawings = FORMAT.parse(chunk)
    assert len(drawings) == 2
    assert drawings.dropped[0].reason == reason
    assert drawings.dropped[0].detail.startswith(f"{tmp_path / 'x.txt'}, line 3: ")


def test_line_over_the_maximum_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "MAX_LINE_BYTES", 200)
    (tmp_path / "x.txt").write_bytes(MEDIANS + b'{"medians": [' + b" " * 200 + b"]}")
    (chunk,) = FORMAT.chunks(tmp_path / "x.txt")
    assert [remark.reason for remark in FORMAT.parse(chunk).dropped] == ["line too long"]
