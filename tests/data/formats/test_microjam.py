"""MicroJam's CSV files and arrays: meaning of the rows, clamped values, recognition, and writing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import microjam
from mdnrnn.data.formats.format import HEAD_BYTES, Format
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import DataError, InputError
from mdnrnn.pen_events import DOWN, END, UP
from tests.data.formats.fuzzing import EXAMPLES
from tests.data.formats.samples import (
    MICROJAM_CSV,
    TOUCH_ROWS,
    object_array,
    parse_chunks,
    performance_formats,
    write_text,
)

STROKES = [[[0.1, 0.2, 0.5], [0.2, 0.4, 0.75]], [[0.9, 0.8, 1.0]]]
"""Points (x, y, time) of `MICROJAM_CSV` and of `TOUCH_ROWS`."""


def save(path: Path, records: list[Any], key: str = "raw_perfs") -> Path:
    """Save performances as an object array."""
    array = object_array(*records)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        np.savez_compressed(path, **{key: array})
    return path


def make_corpus(*sequences: tuple[Any, Any]) -> Corpus:
    metadata = Metadata(name="touches", start="up", units="screen, s")
    train = [Sequence(np.asarray(motion, np.float32), np.asarray(event, np.uint8)) for motion, event in sequences]
    return pack(metadata, {"train": train})


def assert_strokes(drawings: DrawingBatch, index: int, expected: list[list[list[float]]]) -> None:
    found = drawings.polylines(index)
    assert [len(stroke) for stroke in found] == [len(stroke) for stroke in expected]
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-12)


# Reading.


SAME: dict[str, tuple[Format, Callable[[Path], Path]]] = {
    "CSV": (microjam.CSV, lambda folder: write_text(folder / "a.csv", MICROJAM_CSV)),
    "CSV with other columns": (
        microjam.CSV,
        lambda folder: write_text(folder / "a.csv", "id,Moving,y,x,time\n7,0,.2,.1,.5\n7,1,.4,.2,.75\n7,0,.8,.9,1\n"),
    ),
    "CSV without header": (
        microjam.CSV,
        lambda folder: write_text(folder / "a.csv", MICROJAM_CSV.partition("\n")[2]),
    ),
    "CSV with blank lines": (
        microjam.CSV,
        lambda folder: write_text(folder / "a.csv", MICROJAM_CSV.replace("\n", "\r\n\r\n")),
    ),
    "array": (microjam.ARRAYS, lambda folder: save(folder / "a.npz", [TOUCH_ROWS])),
    "array under another key": (microjam.ARRAYS, lambda folder: save(folder / "a.npz", [TOUCH_ROWS], "mine")),
    "npy array": (microjam.ARRAYS, lambda folder: save(folder / "a.npy", [TOUCH_ROWS, TOUCH_ROWS[:1]])),
    "nested lists": (microjam.ARRAYS, lambda folder: save(folder / "a.npz", [TOUCH_ROWS.tolist(), []])),
}


@pytest.mark.parametrize(("form", "make"), SAME.values(), ids=SAME.keys())
def test_moving_0_starts_a_stroke_and_times_are_summed(
    tmp_path: Path, form: Format, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    assert performance_formats(path) == [form.name]
    drawings = parse_chunks(form, path)[0]
    assert_strokes(drawings, 0, STROKES)
    assert not drawings.repaired


def test_without_the_column_moving_a_long_dt_starts_a_stroke(tmp_path: Path) -> None:
    """All rows have dt > 0.1 s, so each is a stroke."""
    path = save(tmp_path / "a.npz", [TOUCH_ROWS[:, :3]])
    assert performance_formats(path) == ["MicroJam arrays"]
    (drawings,) = parse_chunks(microjam.ARRAYS, path)
    assert_strokes(drawings, 0, [[row] for stroke in STROKES for row in stroke])
    assert not drawings.repaired


def test_first_row_starts_a_stroke_even_if_it_moves(tmp_path: Path) -> None:
    (drawings,) = parse_chunks(microjam.ARRAYS, save(tmp_path / "a.npz", [TOUCH_ROWS[1:], TOUCH_ROWS[:1]]))
    assert drawings.stroke_counts.tolist() == [2, 1]
    assert drawings.stroke_lengths.tolist() == [1, 1, 1]


def test_time_restarts_with_each_performance_of_each_chunk(tmp_path: Path) -> None:
    chunks = parse_chunks(microjam.ARRAYS, save(tmp_path / "a.npz", [TOUCH_ROWS] * 600))
    assert [len(drawings) for drawings in chunks] == [256, 256, 88]
    assert_strokes(chunks[0], 1, STROKES)
    assert_strokes(chunks[2], 87, STROKES)
    assert chunks[2].records[87].location.endswith("a.npz: raw_perfs[599]")


def test_steps_are_offsets_and_dt(tmp_path: Path) -> None:
    (drawings,) = parse_chunks(microjam.ARRAYS, save(tmp_path / "a.npz", [TOUCH_ROWS]))
    motion, event, lengths = drawings.to_steps(microjam.ARRAYS.layout.start)
    np.testing.assert_allclose(motion, [[0.1, 0.2, 0.5], [0.1, 0.2, 0.25], [0.7, 0.4, 0.25]])
    assert event.tolist() == [DOWN, UP, END]
    assert lengths.tolist() == [3]


CLAMPED: dict[str, tuple[int, int, float, float, str]] = {
    "dt of 2328 s": (1, 2, 2328.0, 5.0, "dt over 5 s: 2328 in row 1; clamped to 5"),
    "negative dt": (1, 2, -0.05, 1e-4, "dt under 0.0001 s: -0.05 in row 1; clamped to 0.0001"),
    "right of the screen": (2, 0, 1.03, 1.0, "off the screen: 1.03 in row 2; clamped to 1"),
    "above the screen": (2, 1, -0.5, 0.0, "off the screen: -0.5 in row 2; clamped to 0"),
}


@pytest.mark.parametrize(("row", "column", "value", "bound", "detail"), CLAMPED.values(), ids=CLAMPED.keys())
def test_values_out_of_bounds_are_clamped_and_reported(
    tmp_path: Path, row: int, column: int, value: float, bound: float, detail: str
) -> None:
    outside, clamped = TOUCH_ROWS.copy(), TOUCH_ROWS.copy()
    outside[row, column], clamped[row, column] = value, bound
    path = save(tmp_path / "a.npz", [TOUCH_ROWS, outside, TOUCH_ROWS])
    (drawings,) = parse_chunks(microjam.ARRAYS, path)
    (expected,) = parse_chunks(microjam.ARRAYS, save(tmp_path / "b.npz", [TOUCH_ROWS, clamped, TOUCH_ROWS]))
    np.testing.assert_allclose(drawings.points, expected.points)
    assert [remark.detail for remark in drawings.repaired] == [f"{path}: raw_perfs[1]: {detail}"]


def test_each_kind_of_clamped_value_is_reported_once_per_performance(tmp_path: Path) -> None:
    """The dt of a first row is not reported."""
    outside = np.add(TOUCH_ROWS, (1, 0, 9, 0))
    (drawings,) = parse_chunks(microjam.ARRAYS, save(tmp_path / "a.npz", [outside, outside]))
    assert [remark.reason for remark in drawings.repaired] == ["dt over 5 s", "off the screen"] * 2
    assert "9.25 in row 1, and in 1 more row; clamped to 5" in drawings.repaired[0].detail


def with_value(value: float) -> np.ndarray:
    rows = TOUCH_ROWS.copy()
    rows[1, 1] = value
    return rows


DROPPED: dict[str, tuple[Any, str, bool, str]] = {
    "no rows": (np.zeros((0, 4)), "empty", False, "has no rows"),
    "two columns": (TOUCH_ROWS[:, :2], "wrong shape", True, r"has shape \(3, 2\)"),
    "one-dimensional": (TOUCH_ROWS[0], "wrong shape", True, r"has shape \(4,\)"),
    "words": ([["a", "b", "c"]], "no numbers", True, "not numeric"),
    "ragged rows": ([[1, 2, 3], [1, 2]], "no numbers", True, "is ragged"),
    "None": (None, "no numbers", True, "not numeric"),
    "NaN": (with_value(np.nan), "not finite", True, "NaN or infinity in row 1"),
    "infinity": (with_value(-np.inf), "not finite", True, "NaN or infinity in row 1"),
    "moving of 0.5": (np.add(TOUCH_ROWS, (0, 0, 0, 0.5)), "bad moving", True, "moving 0.5 in row 0"),
}


@pytest.mark.parametrize(("record", "reason", "malformed", "detail"), DROPPED.values(), ids=DROPPED.keys())
def test_invalid_record_is_dropped_and_its_neighbors_are_kept(
    tmp_path: Path, record: Any, reason: str, malformed: bool, detail: str
) -> None:
    path = save(tmp_path / "a.npz", [TOUCH_ROWS, record, TOUCH_ROWS[:1]])
    (drawings,) = parse_chunks(microjam.ARRAYS, path)
    assert_strokes(drawings, 0, STROKES)
    assert_strokes(drawings, 1, [[STROKES[0][0]]])
    (remark,) = drawings.dropped
    assert (remark.reason, remark.malformed) == (reason, malformed)
    assert remark.detail.startswith(f"{path}: raw_perfs[1] ")
    assert re.search(detail, remark.detail)


def test_bad_lines_of_a_csv_are_left_out_and_reported(tmp_path: Path) -> None:
    lines = MICROJAM_CSV.replace("0.75, 0.2", "0.6, 0.1\n0.6,0.1,nan,1,1\n0.6,0.1,0.1,1,2\n0.75, 0.2")
    path = write_text(tmp_path / "a.csv", lines)
    drawings = microjam.CSV.parse(path)
    assert_strokes(drawings, 0, STROKES)
    details = [remark.detail for remark in drawings.repaired]
    assert details == [f"{path}, line 3 and 2 more lines: expected time,x,y,z,moving; ignored"]


@pytest.mark.parametrize(
    ("content", "reason", "malformed"),
    [("", "empty", False), ("time,x,y,z,moving\n", "empty", False), ("what,is\nthis,now\n", "no valid line", True)],
    ids=["empty file", "header only", "another text"],
)
def test_csv_without_rows_is_dropped(tmp_path: Path, content: str, reason: str, malformed: bool) -> None:
    drawings = microjam.CSV.parse(write_text(tmp_path / "a.csv", content))
    assert not len(drawings)
    assert [(remark.reason, remark.malformed) for remark in drawings.dropped] == [(reason, malformed)]


# Recognition.


OTHER_CSV = {
    "banknotes": "3.6216,8.6661,-2.8073,-0.44699,0\n4.5459,8.1674,-2.4586,-1.4621,0\n",
    "position off the screen": "0.1,0.2,4.5,38,0\n0.2,0.3,0.4,38,1\n",
    "position off the screen in row 1": "0.1,0.2,0.5,38,0\n0.2,0.3,-40,38,1\n",
    "descending times": "0.5,0.2,0.5,38,0\n0.2,0.3,0.4,38,1\n",
    "negative time": "-0.5,0.2,0.5,38,0\n",
    "no touch-down first": "0.1,0.2,0.5,38,1\n0.2,0.3,0.4,38,0\n",
    "moving of 2": "0.1,0.2,0.5,38,0\n0.2,0.3,0.4,38,2\n",
    "words": "0.1,0.2,0.5,38,0\n0.2,0.3,x,38,1\n",
    "six columns in row 1": "0.1,0.2,0.5,38,0\n0.2,0.3,0.4,38,1,7\n",
    "four columns": "0.1,0.2,0.5,0\n",
    "huge numbers": "1e308,0.2,0.5,38,0\n-1e308,0.3,0.4,38,1\n",
    "blank lines": "\n\n",
}


@pytest.mark.parametrize("content", OTHER_CSV.values(), ids=OTHER_CSV)
def test_csv_of_other_numbers_is_not_recognized(tmp_path: Path, content: str) -> None:
    assert performance_formats(write_text(tmp_path / "a.csv", content)) == []


def test_csv_without_header_may_be_longer_than_the_head(tmp_path: Path) -> None:
    rows = "".join(f"{i / 8},0.5,0.5,38.0,{int(i > 0)}\n" for i in range(HEAD_BYTES // 10))
    path = write_text(tmp_path / "a.csv", rows)
    assert path.stat().st_size > HEAD_BYTES
    assert performance_formats(path) == ["MicroJam CSV"]
    assert performance_formats(write_text(tmp_path / "a.txt", MICROJAM_CSV.partition("\n")[2])) == []


POINTS = np.random.default_rng(0).normal(size=(50, 3))
OTHER_ARRAYS = {
    "normal points": [POINTS],
    "points with z <= 0": [np.abs(POINTS) * (0.3, 0.3, -1)],
    "pixels": [POINTS * 100],
    "pixels with a label": [np.column_stack([np.abs(POINTS) * 100, POINTS[:, 0] > 0])],
    "hours between rows": [np.abs(POINTS) * (0.3, 0.3, 3600)],
    "negative dt in a stream": [np.column_stack([POINTS, POINTS[:, 0]])],
    "empty record and points": [np.zeros((0, 3)), POINTS],
    "NaN": [POINTS * np.nan],
}


@pytest.mark.parametrize("records", OTHER_ARRAYS.values(), ids=OTHER_ARRAYS)
def test_arrays_of_other_numbers_are_recognized_under_a_known_key_only(tmp_path: Path, records: list[Any]) -> None:
    assert performance_formats(save(tmp_path / "a.npz", records, "points")) == []
    assert performance_formats(save(tmp_path / "b.npz", records)) == ["MicroJam arrays"]
    assert performance_formats(save(tmp_path / "c.npz", records, "perfs")) == ["IMPSY arrays"]


def test_a_few_touches_may_be_off_the_screen(tmp_path: Path) -> None:
    rows = np.tile(TOUCH_ROWS, (20, 1))
    rows[7], rows[8] = (-3, 0.5, 2328, 0), (0.5, 2, -3, 1)
    assert performance_formats(save(tmp_path / "a.npz", [rows], "mine")) == ["MicroJam arrays"]


def test_arrays_of_other_formats_are_not_recognized(tmp_path: Path) -> None:
    stroke3 = np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 1.0]])
    assert performance_formats(save(tmp_path / "stroke3.npy", [stroke3])) == []
    assert performance_formats(save(tmp_path / "stroke5.npy", [np.zeros((2, 5))])) == []
    assert performance_formats(save(tmp_path / "sketches.npz", [stroke3], "train")) == ["sketch-rnn .npz"]
    stream = np.add(TOUCH_ROWS, (0, 0, 0, 0.5))
    assert performance_formats(save(tmp_path / "stream.npy", [stream])) == ["IMPSY arrays"]


def test_file_with_two_arrays_needs_a_known_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.zeros((1, 2, 4)), b=np.zeros((1, 2, 4)))
    assert performance_formats(tmp_path / "two.npz") == []
    with pytest.raises(DataError, match="has arrays a, b; expected an array named raw_perfs, or a single array"):
        parse_chunks(microjam.ARRAYS, tmp_path / "two.npz")


# Writing.


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_written_performances_are_restored(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """To 1e-6: sums of float32 offsets may be slightly off the screen and are clamped."""
    path = tmp_path_factory.mktemp("x") / "touches"
    sequences = []
    for length in data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)):
        xy = data.draw(arrays.arrays(np.float32, (length, 2), elements=st.floats(0, 1, width=32)))
        dt = data.draw(arrays.arrays(np.float32, length, elements=st.floats(2**-13, 5, width=32)))
        dt[0] = data.draw(st.floats(0, 5, width=32))
        event = mark_end(data.draw(arrays.arrays(bool, length)))
        offsets = np.diff(xy, axis=0, prepend=np.zeros((1, 2), np.float32))
        sequences.append((np.column_stack([offsets, dt]), event))
    corpus = make_corpus(*sequences)
    microjam.write(corpus, path)
    files = sorted(path.iterdir())
    assert [file.name for file in files] == [f"{i:06}.csv" for i in range(len(corpus))]
    for i, file in enumerate(files):
        assert performance_formats(file) == ["MicroJam CSV"]
        drawings = microjam.CSV.parse(file)
        assert not drawings.repaired
        motion, event, _ = drawings.to_steps("up")
        np.testing.assert_allclose(motion, corpus[i].motion, atol=1e-6)
        assert event.tolist() == corpus[i].event.tolist()


def test_one_performance_is_one_file(tmp_path: Path) -> None:
    corpus = make_corpus(([[0.5, 0.25, 0], [0.25, 0.25, 0.125], [0, 0, 1.5]], [DOWN, UP, END]))
    microjam.write(corpus, tmp_path / "a.csv")
    lines = "time,x,y,z,moving\n0,0.5,0.25,38.0,0\n0.125,0.75,0.5,38.0,1\n1.625,0.75,0.5,38.0,0\n"
    assert (tmp_path / "a.csv").read_text() == lines
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]


def test_folder_is_written_with_its_parents(tmp_path: Path) -> None:
    microjam.write(make_corpus(([[0.5, 0.5, 0.5]], [END])), tmp_path / "new" / "folder")
    assert [path.name for path in (tmp_path / "new").rglob("*")] == ["folder", "000000.csv"]


def test_corpus_that_cannot_be_written_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    tap = ([[0.5, 0.5, 0.5]], [END])
    with pytest.raises(InputError, match=r"a\.csv: received 2 performances, expected 1 for \.csv; omit \.csv"):
        microjam.write(make_corpus(tap, tap), tmp_path / "a.csv")
    with pytest.raises(InputError, match="received 2 features per step and the pen up at the start, expected"):
        microjam.write(make_corpus(([[0.5, 0.5]], [END])), tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(InputError, match=r"cannot write .*full"):
        microjam.write(make_corpus(tap), tmp_path / "full")
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine"]


# Real data.


@pytest.mark.shared
def test_real_performances_are_read_completely(shared_data: Path) -> None:
    path = shared_data / "touch" / "tiny_performances_dev.npz"
    assert performance_formats(path) == ["MicroJam arrays"]
    chunks = parse_chunks(microjam.ARRAYS, path)
    points = np.concatenate([drawings.points for drawings in chunks])
    assert sum(len(drawings) for drawings in chunks) == 1116
    assert len(points) == 179_483
    assert sum(len(drawings.stroke_lengths) for drawings in chunks) == 9_547
    assert not any(drawings.dropped for drawings in chunks)
    assert points[:, :2].min() == 0
    assert points[:, :2].max() == 1
    steps = np.concatenate([drawings.to_steps("up")[0] for drawings in chunks])
    assert steps[:, 2].min() == 0
    assert steps[:, 2].max() == pytest.approx(5)
    reasons = [remark.reason for drawings in chunks for remark in drawings.repaired]
    assert {reason: reasons.count(reason) for reason in reasons} == {
        "off the screen": 144,
        "dt over 5 s": 46,
        "dt under 0.0001 s": 1,
    }


@pytest.mark.shared
def test_real_sketches_are_not_recognized_as_touches(shared_data: Path) -> None:
    for path in (shared_data / "sketchrnn").glob("*.npz"):
        assert performance_formats(path) == ["sketch-rnn .npz"]
