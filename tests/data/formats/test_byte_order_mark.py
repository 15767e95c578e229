"""A byte order mark of UTF-8 changes neither the format that is recognized nor the drawings of a text file."""

import codecs
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.formats import FORMATS, describe_unknown, recognize_format
from mdnrnn.data.formats.format import HEAD_BYTES, decode_text, read_head
from tests.data.formats.samples import (
    EXCALIDRAW,
    IAM_LINE,
    IMPSY_LOG,
    INKML,
    KANJIVG_SVG,
    LIGHTPAD_LOG,
    MEDIANS,
    MICROJAM_CSV,
    NICI_UNIPEN,
    OMNIGLOT,
    PEN_CSV,
    TLDRAW,
    TOUCH_CSV,
    UJI,
    XOURNAL,
    ndjson_line,
    parse_chunks,
)

TEXTS: dict[str, tuple[str, str | bytes]] = {
    "ndjson": ("x.ndjson", ndjson_line(1)),
    "json": ("x.json", '[{"drawing": [[[1, 2], [3, 4]]]}]'),
    "excalidraw": ("x.excalidraw", EXCALIDRAW),
    "tldraw": ("x.tldr", TLDRAW),
    "medians": ("x.txt", MEDIANS),
    "svg": ("x.svg", KANJIVG_SVG.replace('<?xml version="1.0" encoding="UTF-8"?>\n', "")),
    "inkml": ("x.inkml", INKML),
    "iam": ("x.xml", IAM_LINE.replace(b"ISO-8859-1", b"UTF-8")),
    "unipen": ("x.dat", NICI_UNIPEN),
    "uji": ("x.txt", UJI.replace("//", "WORD a b\nNUMSTROKES 1\nPOINTS 1 # 1 2\n//", 1)),
    "omniglot": ("x.txt", OMNIGLOT),
    "xournal": ("x.xopp", XOURNAL),
    "touch-csv": ("x.csv", TOUCH_CSV),
    "microjam": ("x.csv", MICROJAM_CSV),
    "impsy": ("x.log", IMPSY_LOG),
    "lightpad": ("x.txt", LIGHTPAD_LOG),
    "pen-csv": ("x.csv", PEN_CSV),
}


@pytest.mark.parametrize("name", TEXTS)
def test_file_with_the_mark_is_recognized_and_read_like_one_without(name: str, tmp_path: Path) -> None:
    file_name, text = TEXTS[name]
    data = text if isinstance(text, bytes) else text.encode()
    found = []
    for folder, mark in ((tmp_path / "a", b""), (tmp_path / "b", codecs.BOM_UTF8)):
        folder.mkdir()
        (folder / file_name).write_bytes(mark + data)
        assert recognize_format(folder / file_name) is FORMATS[name]
        found.append(parse_chunks(FORMATS[name], folder / file_name))
    (plain,), (marked,) = found
    np.testing.assert_array_equal(plain.points, marked.points)
    assert plain.stroke_lengths.tolist() == marked.stroke_lengths.tolist()
    assert [record.label for record in plain.records] == [record.label for record in marked.records]
    assert len(plain.dropped) == len(marked.dropped)


def test_first_statement_of_unipen_is_read_after_the_mark(tmp_path: Path) -> None:
    """Without .COORD, the columns would be X and Y."""
    text = ".COORD Y X\n.PEN_DOWN\n1 2\n3 4\n"
    (tmp_path / "x.dat").write_text(text, encoding="utf-8-sig")
    (drawings,) = parse_chunks(FORMATS["unipen"], tmp_path / "x.dat")
    assert drawings.points.tolist() == [[2, -1], [4, -3]]


def test_table_in_a_long_file_is_recognized_after_the_mark(tmp_path: Path) -> None:
    """The head has the same length, so that MicroJam's reader knows that its last line may be incomplete."""
    rows = "".join(f"{number / 1000:.4f},0.125,0.250,38.0000,{number > 0:d}\n" for number in range(4000))
    (tmp_path / "x.csv").write_text(rows, encoding="utf-8-sig")
    assert len(read_head(tmp_path / "x.csv")) == HEAD_BYTES
    assert recognize_format(tmp_path / "x.csv") is FORMATS["microjam"]


def test_unknown_file_is_described_without_the_mark(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text('[{"a": 1}]', encoding="utf-8-sig")
    assert describe_unknown(tmp_path / "x.txt").kind == "JSON"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        ("\ufeffé".encode(), "é"),
        (b"\xe9", "é"),
        (codecs.BOM_UTF8 + b"\xe9", "é"),
        (b"", ""),
    ],
)
def test_text_is_decoded_as_utf_8_or_latin_1(data: bytes, text: str) -> None:
    assert decode_text(data) == text
