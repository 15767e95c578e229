"""Quick, Draw! .bin: what the layout says, byte by byte, and whole drawings whatever the chunks."""

import json
import struct
import time
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


def file(folder: Path, data: bytes) -> Path:
    path = folder / "cat.bin"
    path.write_bytes(data)
    return path


def unpacked(path: Path) -> list[QuickDrawDrawing]:
    """Keys and strokes as they are read; empty strokes are gone."""
    found: list[QuickDrawDrawing] = []
    for chunk in FORMAT.chunks(path):
        drawings = FORMAT.parse(chunk)
        for i, record in enumerate(drawings.records):
            found.append((int(record.key or ""), [list(map(tuple, line.tolist())) for line in drawings.polylines(i)]))
    return found


byte = st.integers(0, 255)
stroke_lists = st.lists(st.lists(st.tuples(byte, byte), max_size=5), max_size=4)


@settings(deadline=None)
@given(drawings=st.lists(st.tuples(st.integers(1, 2**64 - 1), stroke_lists), max_size=6), size=st.integers(1, 60))
def test_what_is_packed_is_read_in_pieces_of_any_size(
    drawings: list[QuickDrawDrawing], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = file(tmp_path_factory.getbasetemp(), pack_quickdraw(drawings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickdraw_bin, "_CHUNK_BYTES", size)
        found = unpacked(path)
        empty = [drop for chunk in FORMAT.chunks(path) for drop in FORMAT.parse(chunk).dropped]
    full = [(key, [stroke for stroke in strokes if stroke]) for key, strokes in drawings]
    assert found == [(key, strokes) for key, strokes in full if strokes]
    assert [drop.detail for drop in empty] == [
        f"{path}, drawing {number} has no points" for number, (_, strokes) in enumerate(full) if not strokes
    ]


def test_the_class_is_the_name_of_the_file_where_there_are_several(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / f"{name}.bin").write_bytes(pack_quickdraw(QUICKDRAW_DRAWINGS))
    pipeline.import_corpus([tmp_path], tmp_path / "out")
    corpus = pipeline.read(tmp_path / "out")
    assert corpus.metadata.classes == ("cat", "dog")
    assert (corpus.metadata.bin_width, corpus.metadata.start) == (1, "down")
    assert corpus.motion.dtype == np.int16


def test_a_file_cut_anywhere_but_between_drawings_is_told(tmp_path: Path) -> None:
    whole = pack_quickdraw(QUICKDRAW_DRAWINGS)
    between = len(pack_quickdraw(QUICKDRAW_DRAWINGS[:1]))
    for length in range(1, len(whole)):
        path = file(tmp_path, whole[:length])
        if length == between:
            assert len(unpacked(path)) == 1
            continue
        number, start = (0, 0) if length < between else (1, between)
        with pytest.raises(DataError, match=rf"cat\.bin: drawing {number}, from byte {start} on, is cut short"):
            unpacked(path)


ABSURD = {
    "strokes beyond the end": struct.pack("<Q2sbIH", 1, b"DE", 1, 0, 65_535),
    "points beyond the end": struct.pack("<Q2sbIHH", 1, b"DE", 1, 0, 1, 65_535),
    "strokes without end": struct.pack("<Q2sbIH", 1, b"DE", 1, 0, 65_535)
    + (struct.pack("<H", 65_535) + bytes(2 * 65_535)) * 200,
}


@pytest.mark.parametrize("data", ABSURD.values(), ids=ABSURD.keys())
def test_absurd_counts_are_told_soon(tmp_path: Path, data: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=r"drawing 2, from byte \d+ on, (is cut short|claims over 16 MB)"):
        unpacked(file(tmp_path, pack_quickdraw(QUICKDRAW_DRAWINGS) + data))
    assert time.monotonic() - started < 5


def test_it_is_recognized_by_its_ending_and_its_first_drawing() -> None:
    head = pack_quickdraw(QUICKDRAW_DRAWINGS)
    assert FORMAT.recognizes(Path("x.bin"), head)
    assert not FORMAT.recognizes(Path("x.dat"), head)
    assert not FORMAT.recognizes(Path("x.bin"), head[:16])
    assert not FORMAT.recognizes(Path("x.bin"), bytes(range(64)))


@pytest.mark.shared
def test_real_drawings_are_those_of_the_simplified_lines(shared_data: Path) -> None:
    """The same keys in both layouts are the same drawings."""
    folder = shared_data / "quickdraw"
    found = dict(unpacked(folder / "simplified_cat_dog_monkey_yoga.bin"))
    assert len(found) == 40
    both = 0
    for path in (folder / "simplified").glob("*.ndjson"):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            if (strokes := found.get(int(record["key_id"]))) is not None:
                assert strokes == [list(zip(*stroke, strict=True)) for stroke in record["drawing"]]
                both += 1
        drawings = next(map(ndjson.FORMAT.parse, ndjson.FORMAT.chunks(path)))
        assert not drawings.dropped
    assert both >= 10
