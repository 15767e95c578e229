"""MicroJam's touch performances: what the rows mean, what is clamped and counted, and writing them back."""

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
from mdnrnn.data.formats import impsy, lightpad, microjam, sketchrnn
from mdnrnn.data.formats.format import HEAD_BYTES, Format
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import DataError, InputError
from mdnrnn.events import DOWN, END, UP
from tests.data.formats.fuzzing import EXAMPLES
from tests.data.formats.samples import MICROJAM_CSV, TOUCH_ROWS

ALL = (microjam.CSV, microjam.ARRAYS, impsy.LOG, impsy.ARRAYS, lightpad.FORMAT, sketchrnn.FORMAT)
STROKES = [[[0.1, 0.2, 0.5], [0.2, 0.4, 0.75]], [[0.9, 0.8, 1.0]]]


def save(path: Path, records: list[Any], key: str = "raw_perfs") -> Path:
    """Performances as their makers save them, an object array."""
    array: Any = np.empty(len(records), dtype=object)
    array[:] = records
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        np.savez_compressed(path, **{key: array})
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def read(form: Format, path: Path) -> list[DrawingBatch]:
    return [form.parse(chunk) for chunk in form.chunks(path)]


def claims(path: Path) -> list[str]:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return [form.name for form in ALL if form.recognizes(path, head)]


def corpus_of(*sequences: tuple[Any, Any]) -> Corpus:
    metadata = Metadata(name="touches", start="up", units="screen, s")
    made = [Sequence(np.asarray(motion, np.float32), np.asarray(event, np.uint8)) for motion, event in sequences]
    return pack(metadata, {"train": made})


def assert_strokes(drawings: DrawingBatch, index: int, expected: list[list[list[float]]]) -> None:
    found = drawings.polylines(index)
    assert [len(stroke) for stroke in found] == [len(stroke) for stroke in expected]
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-12)


SAME: dict[str, tuple[Format, Callable[[Path], Path]]] = {
    "a CSV": (microjam.CSV, lambda at: text(at / "a.csv", MICROJAM_CSV)),
    "a CSV with other columns": (
        microjam.CSV,
        lambda at: text(at / "a.csv", "id,Moving,y,x,time\n7,0,.2,.1,.5\n7,1,.4,.2,.75\n7,0,.8,.9,1\n"),
    ),
    "a CSV without a header": (microjam.CSV, lambda at: text(at / "a.csv", MICROJAM_CSV.partition("\n")[2])),
    "a CSV with blank lines": (microjam.CSV, lambda at: text(at / "a.csv", MICROJAM_CSV.replace("\n", "\r\n\r\n"))),
    "an array": (microjam.ARRAYS, lambda at: save(at / "a.npz", [TOUCH_ROWS])),
    "an array under another key": (microjam.ARRAYS, lambda at: save(at / "a.npz", [TOUCH_ROWS], "mine")),
    "an array without a key": (microjam.ARRAYS, lambda at: save(at / "a.npy", [TOUCH_ROWS, TOUCH_ROWS[:1]])),
    "an array of nested lists": (microjam.ARRAYS, lambda at: save(at / "a.npz", [TOUCH_ROWS.tolist(), []])),
    "an array where moving follows from dt": (microjam.ARRAYS, lambda at: save(at / "a.npz", [TOUCH_ROWS[:, :3]])),
}


@pytest.mark.parametrize("case", SAME)
def test_a_touch_that_does_not_move_starts_a_stroke_and_time_is_summed_up(tmp_path: Path, case: str) -> None:
    form, make = SAME[case]
    path = make(tmp_path)
    expected = [[[*row] for row in stroke] for stroke in STROKES]
    if "follows" in case:  # 0.25 s is a wait
        expected = [[row] for stroke in STROKES for row in stroke]
    assert claims(path) == [form.name]
    drawings = read(form, path)[0]
    assert_strokes(drawings, 0, expected)
    assert not drawings.repaired


def test_the_first_row_starts_a_stroke_even_if_it_moves(tmp_path: Path) -> None:
    (drawings,) = read(microjam.ARRAYS, save(tmp_path / "a.npz", [TOUCH_ROWS[1:], TOUCH_ROWS[:1]]))
    assert drawings.stroke_counts.tolist() == [2, 1]
    assert drawings.stroke_lengths.tolist() == [1, 1, 1]


def test_time_starts_anew_with_each_performance_also_in_the_next_chunk(tmp_path: Path) -> None:
    chunks = read(microjam.ARRAYS, save(tmp_path / "a.npz", [TOUCH_ROWS] * 600))
    assert [len(drawings) for drawings in chunks] == [256, 256, 88]
    assert_strokes(chunks[0], 1, STROKES)
    assert_strokes(chunks[2], 87, STROKES)
    assert chunks[2].records[87].location.endswith("a.npz: raw_perfs[599]")


def test_steps_are_offsets_with_dt(tmp_path: Path) -> None:
    (drawings,) = read(microjam.ARRAYS, save(tmp_path / "a.npz", [TOUCH_ROWS]))
    motion, event, lengths = drawings.to_steps(microjam.ARRAYS.layout.start)
    np.testing.assert_allclose(motion, [[0.1, 0.2, 0.5], [0.1, 0.2, 0.25], [0.7, 0.4, 0.25]])
    assert event.tolist() == [DOWN, UP, END]
    assert lengths.tolist() == [3]


CLAMPED: dict[str, tuple[int, int, float, float, str]] = {
    "a wait of 2328 s": (1, 2, 2328.0, 5.0, "dt over 5 s: 2328 in row 1; clamped to 5"),
    "a time before the last": (1, 2, -0.05, 1e-4, "dt under 0.0001 s: -0.05 in row 1; clamped to 0.0001"),
    "a touch off the right": (2, 0, 1.03, 1.0, "off the screen: 1.03 in row 2; clamped to 1"),
    "a touch above the screen": (2, 1, -0.5, 0.0, "off the screen: -0.5 in row 2; clamped to 0"),
}


@pytest.mark.parametrize(("row", "column", "value", "bound", "detail"), CLAMPED.values(), ids=CLAMPED.keys())
def test_what_is_out_of_bounds_is_clamped_and_told(
    tmp_path: Path, row: int, column: int, value: float, bound: float, detail: str
) -> None:
    bad, mended = TOUCH_ROWS.copy(), TOUCH_ROWS.copy()
    bad[row, column], mended[row, column] = value, bound
    (drawings,) = read(microjam.ARRAYS, save(tmp_path / "a.npz", [TOUCH_ROWS, bad, TOUCH_ROWS]))
    (expected,) = read(microjam.ARRAYS, save(tmp_path / "b.npz", [TOUCH_ROWS, mended, TOUCH_ROWS]))
    np.testing.assert_allclose(drawings.points, expected.points)
    assert [mend.detail for mend in drawings.repaired] == [f"{tmp_path}/a.npz: raw_perfs[1]: {detail}"]


def test_a_performance_is_told_once_for_each_kind(tmp_path: Path) -> None:
    bad = np.add(TOUCH_ROWS, (1, 0, 9, 0))
    (drawings,) = read(microjam.ARRAYS, save(tmp_path / "a.npz", [bad, bad]))
    assert [mend.reason for mend in drawings.repaired] == ["dt over 5 s", "off the screen"] * 2
    assert (
        "9.25 in row 1, and 1 more rows; clamped to 5" in drawings.repaired[0].detail
    )  # the first row waits for nothing


def with_value(value: float) -> np.ndarray:
    rows = TOUCH_ROWS.copy()
    rows[1, 1] = value
    return rows


DROPPED: dict[str, tuple[Any, str, bool, str]] = {
    "no rows": (np.zeros((0, 4)), "empty", False, "has no rows"),
    "two columns": (TOUCH_ROWS[:, :2], "wrong shape", True, r"has shape \(3, 2\)"),
    "one row alone": (TOUCH_ROWS[0], "wrong shape", True, r"has shape \(4,\)"),
    "words": ([["a", "b", "c"]], "no numbers", True, "holds no numbers"),
    "ragged rows": ([[1, 2, 3], [1, 2]], "no numbers", True, "is ragged"),
    "nothing": (None, "no numbers", True, "holds no numbers"),
    "NaN": (with_value(np.nan), "not finite", True, "NaN or infinity in row 1"),
    "infinity": (with_value(-np.inf), "not finite", True, "NaN or infinity in row 1"),
    "moving by half": (np.add(TOUCH_ROWS, (0, 0, 0, 0.5)), "bad moving", True, "moving 0.5 in row 0"),
}


@pytest.mark.parametrize(("record", "reason", "malformed", "detail"), DROPPED.values(), ids=DROPPED.keys())
def test_what_is_no_performance_is_left_out_and_its_neighbours_are_whole(
    tmp_path: Path, record: Any, reason: str, malformed: bool, detail: str
) -> None:
    (drawings,) = read(microjam.ARRAYS, save(tmp_path / "a.npz", [TOUCH_ROWS, record, TOUCH_ROWS[:1]]))
    assert_strokes(drawings, 0, STROKES)
    assert_strokes(drawings, 1, [[STROKES[0][0]]])
    ((found, told, fault),) = drawings.dropped
    assert (found, fault) == (reason, malformed)
    assert told.startswith(f"{tmp_path}/a.npz: raw_perfs[1] ")
    assert re.search(detail, told)


def test_bad_lines_of_a_csv_are_left_out_and_told(tmp_path: Path) -> None:
    lines = MICROJAM_CSV.replace("0.75, 0.2", "0.6, 0.1\n0.6,0.1,nan,1,1\n0.6,0.1,0.1,1,2\n0.75, 0.2")
    drawings = microjam.CSV.parse(text(tmp_path / "a.csv", lines))
    assert_strokes(drawings, 0, STROKES)
    assert [m.detail for m in drawings.repaired] == [
        f"{tmp_path}/a.csv, line 3 and 2 more: expected time,x,y,z,moving; left out"
    ]


@pytest.mark.parametrize(
    ("content", "reason", "malformed"),
    [("", "empty", False), ("time,x,y,z,moving\n", "empty", False), ("what,is\nthis,now\n", "no good line", True)],
)
def test_a_csv_without_a_touch_is_left_out(tmp_path: Path, content: str, reason: str, malformed: bool) -> None:
    drawings = microjam.CSV.parse(text(tmp_path / "a.csv", content))
    assert not len(drawings)
    assert [(drop.reason, drop.malformed) for drop in drawings.dropped] == [(reason, malformed)]


NO_TOUCHES = {
    "banknotes": "3.6216,8.6661,-2.8073,-0.44699,0\n4.5459,8.1674,-2.4586,-1.4621,0\n",
    "places beyond the screen": "0.1,0.2,4.5,38,0\n0.2,0.3,0.4,38,1\n",
    "places beyond it later": "0.1,0.2,0.5,38,0\n0.2,0.3,-40,38,1\n",
    "times that fall": "0.5,0.2,0.5,38,0\n0.2,0.3,0.4,38,1\n",
    "a time before the start": "-0.5,0.2,0.5,38,0\n",
    "no touch-down first": "0.1,0.2,0.5,38,1\n0.2,0.3,0.4,38,0\n",
    "another last column": "0.1,0.2,0.5,38,0\n0.2,0.3,0.4,38,2\n",
    "words": "0.1,0.2,0.5,38,0\n0.2,0.3,x,38,1\n",
    "another width later": "0.1,0.2,0.5,38,0\n0.2,0.3,0.4,38,1,7\n",
    "four columns": "0.1,0.2,0.5,0\n",
    "numbers beyond measure": "1e308,0.2,0.5,38,0\n-1e308,0.3,0.4,38,1\n",
    "blank lines": "\n\n",
}


@pytest.mark.parametrize("content", NO_TOUCHES.values(), ids=NO_TOUCHES)
def test_a_csv_of_other_numbers_is_not_claimed(tmp_path: Path, content: str) -> None:
    assert claims(text(tmp_path / "a.csv", content)) == []


def test_a_csv_without_a_header_may_be_longer_than_the_head(tmp_path: Path) -> None:
    rows = "".join(f"{i / 8},0.5,0.5,38.0,{int(i > 0)}\n" for i in range(HEAD_BYTES // 10))
    path = text(tmp_path / "a.csv", rows)
    assert path.stat().st_size > HEAD_BYTES
    assert claims(path) == ["MicroJam CSV"]
    assert claims(text(tmp_path / "a.txt", MICROJAM_CSV.partition("\n")[2])) == []


CLOUD = np.random.default_rng(0).normal(size=(50, 3))
OTHER_ARRAYS = {
    "a cloud of points": [CLOUD],
    "a flat cloud of points": [np.abs(CLOUD) * (0.3, 0.3, -1)],
    "points in pixels": [CLOUD * 100],
    "points in pixels with a label": [np.column_stack([np.abs(CLOUD) * 100, CLOUD[:, 0] > 0])],
    "hours between rows": [np.abs(CLOUD) * (0.3, 0.3, 3600)],
    "rows of four that go back in time": [np.column_stack([CLOUD, CLOUD[:, 0]])],
    "nothing, then a cloud": [np.zeros((0, 3)), CLOUD],
    "NaN": [CLOUD * np.nan],
}


@pytest.mark.parametrize("records", OTHER_ARRAYS.values(), ids=OTHER_ARRAYS)
def test_arrays_of_other_numbers_are_claimed_under_the_known_key_alone(tmp_path: Path, records: list[Any]) -> None:
    assert claims(save(tmp_path / "a.npz", records, "points")) == []
    assert claims(save(tmp_path / "b.npz", records)) == ["MicroJam arrays"]
    assert claims(save(tmp_path / "c.npz", records, "perfs")) == ["IMPSY arrays"]


def test_a_few_touches_may_be_off_the_screen(tmp_path: Path) -> None:
    rows = np.tile(TOUCH_ROWS, (20, 1))
    rows[7], rows[8] = (-3, 0.5, 2328, 0), (0.5, 2, -3, 1)
    assert claims(save(tmp_path / "a.npz", [rows], "mine")) == ["MicroJam arrays"]


def test_arrays_that_are_no_touches_are_not_claimed(tmp_path: Path) -> None:
    pen = np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 1.0]])
    assert claims(save(tmp_path / "stroke3.npy", [pen])) == []
    assert claims(save(tmp_path / "stroke5.npy", [np.zeros((2, 5))])) == []
    assert claims(save(tmp_path / "sketches.npz", [pen], "train")) == ["sketch-rnn .npz"]
    assert claims(save(tmp_path / "stream.npy", [np.add(TOUCH_ROWS, (0, 0, 0, 0.5))])) == ["IMPSY arrays"]
    np.savez(tmp_path / "two.npz", a=np.zeros((1, 2, 4)), b=np.zeros((1, 2, 4)))
    assert claims(tmp_path / "two.npz") == []
    with pytest.raises(DataError, match="has arrays a, b; expected one called raw_perfs, or a single one"):
        read(microjam.ARRAYS, tmp_path / "two.npz")


# Writing.


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("x") / "touches"
    sequences = []
    for length in data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)):
        unit = st.floats(0, 1, width=32)
        xy = data.draw(arrays.arrays(np.float32, (length, 2), elements=unit))
        dt = data.draw(arrays.arrays(np.float32, length, elements=st.floats(2**-13, 5, width=32)))
        dt[0] = data.draw(st.floats(0, 5, width=32))
        lifted = data.draw(arrays.arrays(bool, length))
        offsets = np.diff(xy, axis=0, prepend=np.zeros((1, 2), np.float32))
        sequences.append((np.column_stack([offsets, dt]), mark_end(lifted)))
    corpus = corpus_of(*sequences)
    microjam.write(corpus, path)
    files = sorted(path.iterdir())
    assert [file.name for file in files] == [f"{i:06}.csv" for i in range(len(corpus))]
    for i, file in enumerate(files):
        assert claims(file) == ["MicroJam CSV"]
        drawings = microjam.CSV.parse(file)
        assert not drawings.repaired
        motion, event, _ = drawings.to_steps("up")
        # Not to the last digit: sums of float32 offsets may lie a hair off the screen, and are put back on it.
        np.testing.assert_allclose(motion, corpus[i].motion, atol=1e-6)
        assert event.tolist() == corpus[i].event.tolist()


def test_one_performance_is_one_file_as_microjam_has_it(tmp_path: Path) -> None:
    corpus = corpus_of(([[0.5, 0.25, 0], [0.25, 0.25, 0.125], [0, 0, 1.5]], [DOWN, UP, END]))
    microjam.write(corpus, tmp_path / "a.csv")
    lines = "time,x,y,z,moving\n0,0.5,0.25,38.0,0\n0.125,0.75,0.5,38.0,1\n1.625,0.75,0.5,38.0,0\n"
    assert (tmp_path / "a.csv").read_text() == lines
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]


def test_what_cannot_be_written_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    step = ([[0.5, 0.5, 0.5]], [END])
    with pytest.raises(InputError, match=r"a\.csv: a \.csv is one performance, touches holds 2; name a folder"):
        microjam.write(corpus_of(step, step), tmp_path / "a.csv")
    with pytest.raises(InputError, match="steps have 2 features and start up; expected"):
        microjam.write(corpus_of(([[0.5, 0.5]], [END])), tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(InputError, match=r"cannot write .*full"):
        microjam.write(corpus_of(step), tmp_path / "full")
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine"]


# Real data.


@pytest.mark.shared
def test_the_real_performances(shared_data: Path) -> None:
    path = shared_data / "touch" / "tiny_performances_dev.npz"
    assert claims(path) == ["MicroJam arrays"]
    chunks = read(microjam.ARRAYS, path)
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
    reasons = [mend.reason for drawings in chunks for mend in drawings.repaired]
    assert {reason: reasons.count(reason) for reason in reasons} == {
        "off the screen": 144,
        "dt over 5 s": 46,
        "dt under 0.0001 s": 1,
    }


@pytest.mark.shared
def test_sketches_are_not_taken_for_touches(shared_data: Path) -> None:
    for path in (shared_data / "sketchrnn").glob("*.npz"):
        assert claims(path) == ["sketch-rnn .npz"]
