"""Tests of the reader of Xournal++ documents."""

import gzip
from pathlib import Path

import pytest

from mdnrnn.data.formats import xournal
from mdnrnn.data.importing import pipeline
from mdnrnn.errors import DataError
from tests.data.formats.fuzzing import memory_limit
from tests.data.formats.samples import XOURNAL, parse_bytes, strokes_as_lists
from tests.data.importing.helpers import import_files


def test_each_page_is_a_drawing_of_pen_strokes(tmp_path: Path) -> None:
    drawings = parse_bytes(tmp_path / "x.xopp", XOURNAL.encode(), xournal.FORMAT)
    assert strokes_as_lists(drawings) == [[[10, 50], [10, 90], [60, 90]], [[5, 55], [35, 20]]]
    assert strokes_as_lists(drawings, 1) == [[[1, 2], [3, 4]]]
    assert [record.location for record in drawings.records] == [f"{tmp_path / 'x.xopp'}, page {i}" for i in (1, 3)]
    assert [remark.detail for remark in drawings.dropped] == [f"{tmp_path / 'x.xopp'}, page 2 has no points"]
    assert {remark.reason: remark.count for remark in drawings.lost} == {
        "pressure values": 2,
        "strokes of the highlighter": 1,
        "text elements": 1,
        "background pictures": 1,
        "images": 1,
    }


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_document_is_imported(tmp_path: Path, pack: type[bytes]) -> None:
    (tmp_path / "x.xopp").write_bytes(pack(XOURNAL.encode()))
    corpus, report = import_files(tmp_path / "x.xopp")
    assert len(corpus) == 2
    assert report.dropped["empty"][0] == 1
    assert len(pipeline.read(tmp_path / "x.xopp")) == 2


@pytest.mark.parametrize("text", ["1 2 3", "1 x", "1,2 3,4"])
def test_page_with_a_malformed_stroke_is_dropped(tmp_path: Path, text: str) -> None:
    data = XOURNAL.replace("5 55 35 20", text).encode()
    drawings = parse_bytes(tmp_path / "x.xopp", data, xournal.FORMAT)
    assert len(drawings) == 1
    assert f"page 1 has a stroke 1 that begins {text!r}; expected pairs" in drawings.dropped[0].detail


def test_damaged_or_large_file_is_refused(tmp_path: Path) -> None:
    path, packed = tmp_path / "x.xopp", gzip.compress(XOURNAL.encode())
    for data in (packed[:-20], packed[:-8] + bytes(8), gzip.compress(XOURNAL.encode() + b" " * (65 << 20), 1)):
        path.write_bytes(data)
        with memory_limit(), pytest.raises(DataError, match=r"damaged or truncated|over 64 MB"):
            pipeline.read(path)
    with pytest.raises(DataError, match="its root is <svg>; expected <xournal>"):
        parse_bytes(tmp_path / "x.xopp", b"<svg/>", xournal.FORMAT)
