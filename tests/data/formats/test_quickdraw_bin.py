"""Quick, Draw! `.bin` files: the binary layout, complete drawings for every chunk size, and damaged files."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.formats import ndjson, quickdraw_bin
from mdnrnn.data.formats.quickdraw_bin import FORMAT
from mdnrnn.data.importing import pipeline
from mdnrnn.errors import DataError
from tests.data.formats.samples import QUICKDRAW_DRAWINGS, QuickDrawDrawing, pack_quickdraw


def write(folder: Path, data: bytes) -> Path:
    path = folder / "cat.bin"
    path.write_bytes(data)
    return path


def read(path: Path) -> list[QuickDrawDrawing]:
    """Return the key and the strokes of each drawing, without empty strokes."""
    found: list[QuickDrawDrawing] = []
    for chunk in FORMAT.chunks(path):
        drawings = FORMAT.parse(chunk)
        for i, record in enumerate(drawings.records):
            strokes = [list(map(tuple, stroke.tolist())) for stroke in drawings.polylines(i)]
            found.append((int(record.key or ""), strokes))
    return found


byte = st.integers(0, 255)
stroke_lists = st.lists(st.lists(st.tuples(byte, byte), max_size=5), max_size=4)


@settings(max_examples=40)
@given(drawings=st.lists(st.tuples(st.integers(1, 2**64 - 1), stroke_lists), max_size=6), size=st.integers(1, 60))
def test_packed_drawings_are_read_for_every_chunk_size(
    drawings: list[QuickDrawDrawing], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.getbasetemp(), pack_quickdraw(drawings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickdraw_bin, "_CHUNK_BYTES", size)
        found = read(path)
        dropped = [remark for chunk in FORMAT.chunks(path) for remark in FORMAT.parse(chunk).dropped]
    expected = [(key, [stroke for stroke in strokes if stroke]) for key, strokes in drawings]
    assert found == [(key, strokes) for key, strokes in expected if strokes]
    assert [remark.detail for remark in dropped] == [
        f"{path}, drawing {number} has no points" for number, (_, strokes) in enumerate(expected) if not strokes
    ]


def test_class_is_the_file_name(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / f"{name}.bin").write_bytes(pack_quickdraw(QUICKDRAW_DRAWINGS))
    pipeline.import_corpus([tmp_path], tmp_path / "out")
    corpus = pipeline.read(tmp_path / "out")
    assert corpus.metadata.classes == ("cat", "dog")
    assert (corpus.metadata.bin_width, corpus.metadata.start) == (1, "down")
    assert corpus.motion.dtype == np.int16


def test_file_that_is_cut_inside_a_drawing_is_refused(tmp_path: Path) -> None:
    data = pack_quickdraw(QUICKDRAW_DRAWINGS)
    boundary = len(pack_quickdraw(QUICKDRAW_DRAWINGS[:1]))
    for length in range(1, len(data)):
        path = write(tmp_path, data[:length])
        if length == boundary:
            assert len(read(path)) == 1
            continue
        number, start = (0, 0) if length < boundary else (1, boundary)
        with pytest.raises(DataError, match=rf"cat\.bin: drawing {number}, from byte {start} on, is truncated"):
            read(path)


FALSE_COUNTS = {
    "strokes beyond the end": struct.pack("<Q2sbIH", 1, b"DE", 1, 0, 65_535),
    "points beyond the end": struct.pack("<Q2sbIHH", 1, b"DE", 1, 0, 1, 65_535),
    "drawing of 26 MB": struct.pack("<Q2sbIH", 1, b"DE", 1, 0, 65_535)
    + (struct.pack("<H", 65_535) + bytes(2 * 65_535)) * 200,
}


@pytest.mark.parametrize("data", FALSE_COUNTS.values(), ids=FALSE_COUNTS.keys())
def test_false_counts_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match=r"drawing 2, from byte \d+ on, (is truncated|declares over 16 MB)"):
        read(write(tmp_path, pack_quickdraw(QUICKDRAW_DRAWINGS) + data))


def test_file_is_recognized_by_its_extension_and_first_drawing() -> None:
    head = pack_quickdraw(QUICKDRAW_DRAWINGS)
    assert FORMAT.recognizes(Path("x.bin"), head)
    assert not FORMAT.recognizes(Path("x.dat"), head)
    assert not FORMAT.recognizes(Path("x.bin"), head[:16])
    assert not FORMAT.recognizes(Path("x.bin"), bytes(range(64)))


@pytest.mark.shared
def test_real_drawings_equal_the_simplified_lines_with_the_same_keys(shared_data: Path) -> None:
    folder = shared_data / "quickdraw"
    found = dict(read(folder / "simplified_cat_dog_monkey_yoga.bin"))
    assert len(found) == 40
    common = 0
    for path in (folder / "simplified").glob("*.ndjson"):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            if (strokes := found.get(int(record["key_id"]))) is not None:
                assert strokes == [list(zip(*stroke, strict=True)) for stroke in record["drawing"]]
                common += 1
        drawings = next(map(ndjson.FORMAT.parse, ndjson.FORMAT.chunks(path)))
        assert not drawings.dropped
    assert common >= 10
