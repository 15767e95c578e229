"""IMPSY's and the Lightpad's streams: dt first, played rows only, waits as they were measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch
from mdnrnn.data.formats import impsy, lightpad, microjam, sketchrnn
from mdnrnn.data.formats.format import HEAD_BYTES, Format
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError
from tests.data.formats.samples import CONTROL_ROWS, IMPSY_LOG, LIGHTPAD_LOG, object_array

ALL = (microjam.CSV, microjam.ARRAYS, impsy.LOG, impsy.ARRAYS, lightpad.FORMAT, sketchrnn.FORMAT)
LOG_ROWS = np.array([[0, 0.25, 0.5], [0.5, 0.5, 0.75], [765, 1, 0]])
PAD_ROWS = np.array([[0, 29, 88, 4], [0.019394, 29, 30, 1], [8.811069, 0, 127, 0]])


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def save(path: Path, *records: Any, key: str = "perfs") -> Path:
    np.savez_compressed(path, **{key: object_array(*records)})
    return path


def read(form: Format, path: Path) -> list[DrawingBatch]:
    return [form.parse(chunk) for chunk in form.chunks(path)]


def claims(path: Path) -> list[str]:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return [form.name for form in ALL if form.recognizes(path, head)]


def test_the_rows_of_the_interface_are_a_stream_with_the_time_between_them(tmp_path: Path) -> None:
    path = text(tmp_path / "2019-3d-mdrnn.log", IMPSY_LOG)
    assert claims(path) == ["IMPSY log"]
    drawings = impsy.LOG.parse(path)
    np.testing.assert_allclose(drawings.points, LOG_ROWS)
    assert (drawings.stroke_lengths.tolist(), drawings.stroke_counts.tolist()) == ([3], [1])
    assert not drawings.repaired
    assert impsy.LOG.layout.is_stream


SAME_LOG: dict[str, Callable[[str], str]] = {
    "blank lines": lambda log: log.replace("\n", "\n\n"),
    "lines of Windows": lambda log: "\ufeff" + log.replace("\n", "\r\n"),
    "comments": lambda log: "# a session\n" + log,
    "spaces": lambda log: log.replace(",", ", "),
    "a zone": lambda log: log.replace("9979,", "9979+02:00,"),
    "Greenwich": lambda log: log.replace("9979,", "9979Z,"),
    "no last newline": lambda log: log[:-1],
}


@pytest.mark.parametrize("change", SAME_LOG.values(), ids=SAME_LOG.keys())
def test_a_log_may_be_written_in_other_ways(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = text(tmp_path / "a.log", change(IMPSY_LOG))
    assert claims(path) == ["IMPSY log"]
    drawings = impsy.LOG.parse(path)
    np.testing.assert_allclose(drawings.points, LOG_ROWS)
    assert not drawings.repaired


BAD_LINES = {
    "cut short": "2019-01-17T12:3",
    "no values": "2019-01-17T12:37:38.4,interface",
    "no date": "yesterday,interface,0.1,0.2",
    "no number": "2019-01-17T12:37:38.400000,interface,0.1,x",
    "NaN": "2019-01-17T12:37:38.400000,interface,0.1,nan",
    "one value more": "2019-01-17T12:37:38.400000,interface,0.1,0.1,0.1",
    "endless": "2019-01-17T12:37:38.400000,interface" + ",0.1" * 10_000,
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES.keys())
@pytest.mark.parametrize("place", [0, 2])
def test_a_bad_line_is_left_out_and_told(tmp_path: Path, line: str, place: int) -> None:
    lines = IMPSY_LOG.splitlines()
    lines.insert(place, line)
    path = text(tmp_path / "a.log", "\n".join(lines))
    drawings = impsy.LOG.parse(path)
    np.testing.assert_allclose(drawings.points, LOG_ROWS)
    assert [mend.detail for mend in drawings.repaired] == [
        f"{path}, line {place + 1}: expected iso-time,source,x1,...; left out"
    ]


def test_a_clock_that_was_set_back_waits_as_shortly_as_can_be(tmp_path: Path) -> None:
    path = text(tmp_path / "a.log", IMPSY_LOG.replace("12:37:38.609979", "12:37:37.609979"))
    drawings = impsy.LOG.parse(path)
    np.testing.assert_allclose(drawings.points[:, 0], [0, 1e-4, 766])
    assert [mend.detail for mend in drawings.repaired] == [
        f"{path}: dt under 0.0001 s: -0.5 in row 1; clamped to 0.0001"
    ]


@pytest.mark.parametrize(
    ("content", "reason", "malformed"),
    [("", "empty", False), (IMPSY_LOG.replace("interface", "rnn"), "empty", False), ("hello\n", "no good line", True)],
    ids=["nothing", "the model alone", "something else"],
)
def test_a_log_without_a_played_row_is_left_out(tmp_path: Path, content: str, reason: str, malformed: bool) -> None:
    drawings = impsy.LOG.parse(text(tmp_path / "a.log", content))
    assert not len(drawings)
    assert [(drop.reason, drop.malformed) for drop in drawings.dropped] == [(reason, malformed)]


def test_a_log_longer_than_any_performance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.log has over 1048576 lines; .* split the file"):
        impsy.LOG.parse(text(tmp_path / "a.log", "\n" * (MAX_POINTS + 1)))
    with (tmp_path / "b.log").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(DataError, match=r"b\.log: over 64 MB"):
        impsy.LOG.parse(tmp_path / "b.log")


def test_the_rows_of_an_array_are_a_stream_as_they_stand(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", CONTROL_ROWS, CONTROL_ROWS[:1])
    assert claims(path) == ["IMPSY arrays"]
    (drawings,) = read(impsy.ARRAYS, path)
    np.testing.assert_array_equal(drawings.polylines(0), [CONTROL_ROWS])
    assert drawings.point_counts.tolist() == [2, 1]
    assert [record.location for record in drawings.records] == [f"{path}: perfs[{i}]" for i in range(2)]
    assert not drawings.repaired


def test_a_stream_may_have_any_number_of_controls(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", np.ones((3, 9)))
    assert claims(path) == ["IMPSY arrays"]
    assert read(impsy.ARRAYS, path)[0].points.shape == (3, 9)


@pytest.mark.parametrize("width", [2, 3, 9])
def test_a_stream_of_another_width_under_another_key_is_read_if_it_is_named(tmp_path: Path, width: int) -> None:
    rows = np.linspace(0, 90, 3 * width).reshape(3, width)
    path = save(tmp_path / "a.npz", rows, rows[:1], key="mine")
    assert claims(path) == []
    pipeline.import_corpus([path], tmp_path / "out", Recipe(format="impsy-arrays"))
    corpus = pipeline.read(tmp_path / "out")
    assert sorted(corpus.lengths.tolist()) == [1, 3]
    assert corpus.metadata.features == ("dt", *(f"x{i}" for i in range(1, width)))
    (drawings,) = read(impsy.ARRAYS, path)
    np.testing.assert_array_equal(drawings.polylines(0), [rows])


def test_what_is_no_performance_is_left_out_and_told(tmp_path: Path) -> None:
    back, hole = CONTROL_ROWS.copy(), CONTROL_ROWS.copy()
    back[1, 0], hole[1, 2] = -3, np.nan
    path = save(tmp_path / "a.npz", np.zeros((0, 4)), CONTROL_ROWS, np.ones((3, 3)), hole, back)
    (drawings,) = read(impsy.ARRAYS, path)
    assert [(drop.reason, drop.malformed) for drop in drawings.dropped] == [
        ("empty", False),
        ("wrong shape", True),
        ("not finite", True),
    ]
    np.testing.assert_array_equal(drawings.polylines(0), [CONTROL_ROWS])
    np.testing.assert_allclose(drawings.polylines(1)[0][:, 0], np.append(back[:1, 0], back[1:, 0].clip(1e-4)))
    detail = f"{path}: perfs[4]: dt under 0.0001 s: -3 in row 1; clamped to 0.0001"
    assert [mend.detail for mend in drawings.repaired] == [detail]


@pytest.mark.parametrize("header", [True, False])
def test_a_lightpad_is_a_stream_of_position_and_pressure(tmp_path: Path, header: bool) -> None:
    path = text(tmp_path / "pad.txt", LIGHTPAD_LOG if header else LIGHTPAD_LOG.partition("\n")[2])
    assert claims(path) == ["Lightpad log"]
    drawings = lightpad.FORMAT.parse(path)
    np.testing.assert_allclose(drawings.points, PAD_ROWS, atol=1e-12)
    assert not drawings.repaired


@pytest.mark.parametrize(
    "line", ["34.22, 127.0.0.1, /block 1 2", "34.22, 127.0.0.1, /light 1 2 3", "34.22", "1e300, a, /block 1 2 3"]
)
def test_other_messages_are_left_out_and_told(tmp_path: Path, line: str) -> None:
    path = text(tmp_path / "pad.txt", LIGHTPAD_LOG.replace("34.236", f"{line}\n34.236"))
    drawings = lightpad.FORMAT.parse(path)
    np.testing.assert_allclose(drawings.points, PAD_ROWS, atol=1e-12)
    assert [mend.detail for mend in drawings.repaired] == [f"{path}, line 3: expected time, ip, /block x y z; left out"]


@pytest.mark.shared
def test_the_real_streams(shared_data: Path) -> None:
    folder = shared_data / "touch"
    assert claims(folder / "impsy-4d-12ksmall.npz") == ["IMPSY arrays"]
    (drawings,) = read(impsy.ARRAYS, folder / "impsy-4d-12ksmall.npz")
    assert drawings.point_counts.tolist() == [3837, 922, 4406, 2909]
    assert drawings.points.shape == (12_074, 4)
    assert drawings.points.min() >= 0
    assert not drawings.dropped + drawings.repaired
    assert claims(folder / "lightpad-block-perf1.txt") == ["Lightpad log"]
    (drawings,) = read(lightpad.FORMAT, folder / "lightpad-block-perf1.txt")
    assert drawings.points.shape == (10_730, 4)
    assert drawings.points.min() == 0
    assert drawings.points[:, 1:].max() == 127
    assert drawings.points[:, 0].sum() == pytest.approx(349.003907 - 34.217415)
    assert not drawings.dropped + drawings.repaired


def played(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.lognormal(-4, 0.5, rows), rng.integers(0, 129, (rows, 2)) / 128]).astype(np.float32)


@pytest.mark.parametrize("split", [None, "0.5,0.2,0.3", "1,0,0"])
def test_long_streams_are_divided_by_time(tmp_path: Path, split: str | None) -> None:
    """Each split is one stretch of each stream, in their order; nothing is lost."""
    streams = [played(1000, 0), played(2501, 1)]
    np.savez(tmp_path / "log.npz", perfs=object_array(*streams))
    corpus = pipeline.read(tmp_path / "log.npz", Recipe(split=split))
    shares = [float(share) for share in (split or "0.9,0.05,0.05").split(",")]
    for name, share in zip(("train", "valid", "test"), shares, strict=True):
        first, last = corpus.splits[name]
        assert last - first == (2 if share else 0)
        for i, whole in zip(range(first, last), streams, strict=False):
            assert abs(len(corpus[i].motion) - share * len(whole)) <= 1
    for number, whole in enumerate(streams):
        parts = [corpus[first + number].motion for first, last in corpus.splits.values() if last > first]
        np.testing.assert_array_equal(np.concatenate(parts)[1:], whole[1:])


def test_short_streams_stay_whole(tmp_path: Path) -> None:
    streams = [played(rows, rows) for rows in range(2, 60)]
    np.savez(tmp_path / "log.npz", perfs=object_array(*streams))
    corpus = pipeline.read(tmp_path / "log.npz", Recipe(split="0.5,0.25,0.25"))
    assert sorted(corpus.lengths.tolist()) == list(range(2, 60))
    assert all(last > first for first, last in corpus.splits.values())


def test_streams_of_a_folder_called_after_a_split_stay_in_it(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "valid", "test")):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "log.npz", perfs=object_array(played(600, number)))
    corpus = pipeline.read(tmp_path)
    assert {name: corpus.rows(name).stop - corpus.rows(name).start for name in corpus.splits} == dict.fromkeys(
        ("train", "valid", "test"), 600
    )
