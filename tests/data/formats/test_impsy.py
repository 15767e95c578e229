"""IMPSY's logs and arrays: rows (dt, x1, x2, ...), interface rows only, times as measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.drawings import MAX_POINTS
from mdnrnn.data.formats import impsy, streams
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError
from tests.data.formats.samples import (
    CONTROL_ROWS,
    IMPSY_LOG,
    object_array,
    parse_chunks,
    performance_formats,
    write_text,
)

LOG_ROWS = np.array([[0, 0.25, 0.5], [0.5, 0.5, 0.75], [765, 1, 0]])


def save(path: Path, *records: Any, key: str = "perfs") -> Path:
    np.savez_compressed(path, **{key: object_array(*records)})
    return path


# Logs.


def test_interface_rows_become_a_stream_with_the_time_between_them(tmp_path: Path) -> None:
    path = write_text(tmp_path / "2019-3d-mdrnn.log", IMPSY_LOG)
    assert performance_formats(path) == ["IMPSY log"]
    drawings = impsy.LOG.parse(path)
    np.testing.assert_allclose(drawings.points, LOG_ROWS)
    assert (drawings.stroke_lengths.tolist(), drawings.stroke_counts.tolist()) == ([3], [1])
    assert not drawings.repaired
    assert impsy.LOG.layout.is_stream


SAME_LOG: dict[str, Callable[[str], str]] = {
    "blank lines": lambda log: log.replace("\n", "\n\n"),
    "Windows line ends and BOM": lambda log: "\ufeff" + log.replace("\n", "\r\n"),
    "comments": lambda log: "# a session\n" + log,
    "spaces": lambda log: log.replace(",", ", "),
    "time zone": lambda log: log.replace("9979,", "9979+02:00,"),
    "UTC": lambda log: log.replace("9979,", "9979Z,"),
    "no last newline": lambda log: log[:-1],
}


def test_fraction_of_a_second_can_have_any_number_of_digits(tmp_path: Path) -> None:
    times = ["37:38", "37:38.5", "37:38.75", "37:38.875000", "37:39.000000001"]
    path = write_text(tmp_path / "a.log", "".join(f"2019-01-17T12:{time},interface,0\n" for time in times))
    np.testing.assert_allclose(impsy.LOG.parse(path).points[:, 0], [0, 0.5, 0.25, 0.125, 0.125])


@pytest.mark.parametrize("change", SAME_LOG.values(), ids=SAME_LOG.keys())
def test_equivalent_logs_give_the_same_rows(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = write_text(tmp_path / "a.log", change(IMPSY_LOG))
    assert performance_formats(path) == ["IMPSY log"]
    drawings = impsy.LOG.parse(path)
    np.testing.assert_allclose(drawings.points, LOG_ROWS)
    assert not drawings.repaired


BAD_LINES = {
    "cut short": "2019-01-17T12:3",
    "no values": "2019-01-17T12:37:38.4,interface",
    "no date": "yesterday,interface,0.1,0.2",
    "not a number": "2019-01-17T12:37:38.400000,interface,0.1,x",
    "NaN": "2019-01-17T12:37:38.400000,interface,0.1,nan",
    "extra value": "2019-01-17T12:37:38.400000,interface,0.1,0.1,0.1",
    "too long": "2019-01-17T12:37:38.400000,interface" + ",0.1" * 10_000,
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES.keys())
@pytest.mark.parametrize("position", [0, 2])
def test_bad_line_is_left_out_and_reported(tmp_path: Path, line: str, position: int) -> None:
    lines = IMPSY_LOG.splitlines()
    lines.insert(position, line)
    path = write_text(tmp_path / "a.log", "\n".join(lines))
    drawings = impsy.LOG.parse(path)
    np.testing.assert_allclose(drawings.points, LOG_ROWS)
    assert [remark.detail for remark in drawings.repaired] == [
        f"{path}, line {position + 1}: expected iso-time,source,x1,...; ignored"
    ]


def test_negative_time_is_raised_to_the_minimum(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.log", IMPSY_LOG.replace("12:37:38.609979", "12:37:37.609979"))
    drawings = impsy.LOG.parse(path)
    np.testing.assert_allclose(drawings.points[:, 0], [0, 1e-4, 766])
    assert [remark.detail for remark in drawings.repaired] == [
        f"{path}: dt under 0.0001 s: -0.5 in row 1; clamped to 0.0001"
    ]


@pytest.mark.parametrize(
    ("content", "reason", "malformed"),
    [("", "empty", False), (IMPSY_LOG.replace("interface", "rnn"), "empty", False), ("hello\n", "no valid line", True)],
    ids=["empty file", "model rows only", "another text"],
)
def test_log_without_interface_rows_is_dropped(tmp_path: Path, content: str, reason: str, malformed: bool) -> None:
    drawings = impsy.LOG.parse(write_text(tmp_path / "a.log", content))
    assert not len(drawings)
    assert [(remark.reason, remark.malformed) for remark in drawings.dropped] == [(reason, malformed)]


def test_too_large_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINES", 99)
    with pytest.raises(DataError, match=r"a\.log has over 99 lines; .* split the file"):
        impsy.LOG.parse(write_text(tmp_path / "a.log", "\n" * 100))
    with (tmp_path / "b.log").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(DataError, match=r"b\.log: over 64 MB"):
        impsy.LOG.parse(tmp_path / "b.log")


# Arrays.


def test_rows_of_an_array_are_a_stream(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", CONTROL_ROWS, CONTROL_ROWS[:1])
    assert performance_formats(path) == ["IMPSY arrays"]
    (drawings,) = parse_chunks(impsy.ARRAYS, path)
    np.testing.assert_array_equal(drawings.polylines(0), [CONTROL_ROWS])
    assert drawings.point_counts.tolist() == [2, 1]
    assert [record.location for record in drawings.records] == [f"{path}: perfs[{i}]" for i in range(2)]
    assert not drawings.repaired


def test_stream_may_have_any_number_of_values(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", np.ones((3, 9)))
    assert performance_formats(path) == ["IMPSY arrays"]
    assert parse_chunks(impsy.ARRAYS, path)[0].points.shape == (3, 9)


@pytest.mark.parametrize("width", [2, 3, 9])
def test_array_of_another_width_under_another_key_is_read_with_an_explicit_format(tmp_path: Path, width: int) -> None:
    rows = np.linspace(0, 90, 3 * width).reshape(3, width)
    path = save(tmp_path / "a.npz", rows, rows[:1], key="mine")
    assert performance_formats(path) == []
    pipeline.import_corpus([path], tmp_path / "out", Recipe(format="impsy-arrays"))
    corpus = pipeline.read(tmp_path / "out")
    assert sorted(corpus.lengths.tolist()) == [1, 3]
    assert corpus.metadata.features == ("dt", *(f"x{i}" for i in range(1, width)))
    (drawings,) = parse_chunks(impsy.ARRAYS, path)
    np.testing.assert_array_equal(drawings.polylines(0), [rows])


def test_invalid_records_are_dropped_and_reported(tmp_path: Path) -> None:
    negative, nan = CONTROL_ROWS.copy(), CONTROL_ROWS.copy()
    negative[1, 0], nan[1, 2] = -3, np.nan
    path = save(tmp_path / "a.npz", np.zeros((0, 4)), CONTROL_ROWS, np.ones((3, 3)), nan, negative)
    (drawings,) = parse_chunks(impsy.ARRAYS, path)
    assert [(remark.reason, remark.malformed) for remark in drawings.dropped] == [
        ("empty", False),
        ("wrong shape", True),
        ("not finite", True),
    ]
    np.testing.assert_array_equal(drawings.polylines(0), [CONTROL_ROWS])
    expected_dt = np.append(negative[:1, 0], negative[1:, 0].clip(1e-4))
    np.testing.assert_allclose(drawings.polylines(1)[0][:, 0], expected_dt)
    detail = f"{path}: perfs[4]: dt under 0.0001 s: -3 in row 1; clamped to 0.0001"
    assert [remark.detail for remark in drawings.repaired] == [detail]


@pytest.mark.shared
def test_real_arrays_are_read_completely(shared_data: Path) -> None:
    path = shared_data / "touch" / "impsy-4d-12ksmall.npz"
    assert performance_formats(path) == ["IMPSY arrays"]
    (drawings,) = parse_chunks(impsy.ARRAYS, path)
    assert drawings.point_counts.tolist() == [3837, 922, 4406, 2909]
    assert drawings.points.shape == (12_074, 4)
    assert drawings.points.min() >= 0
    assert not drawings.dropped + drawings.repaired


# Splits of streams.


def random_stream(length: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dt, values = rng.lognormal(-4, 0.5, length), rng.integers(0, 129, (length, 2)) / 128
    return np.column_stack([dt, values]).astype(np.float32)


@pytest.mark.parametrize("split", [None, "0.5,0.2,0.3", "1,0,0"])
def test_long_streams_are_split_by_time(tmp_path: Path, split: str | None) -> None:
    """Each split has one contiguous part of each stream, in the order of the splits; no row is lost."""
    streams = [random_stream(1000, 0), random_stream(2501, 1)]
    np.savez(tmp_path / "log.npz", perfs=object_array(*streams))
    corpus = pipeline.read(tmp_path / "log.npz", Recipe(split=split))
    shares = [float(share) for share in (split or "0.9,0.05,0.05").split(",")]
    for name, share in zip(("train", "valid", "test"), shares, strict=True):
        first, last = corpus.splits[name]
        assert last - first == (2 if share else 0)
        for i, stream in zip(range(first, last), streams, strict=False):
            assert abs(len(corpus[i].motion) - share * len(stream)) <= 1
    for number, stream in enumerate(streams):
        parts = [corpus[first + number].motion for first, last in corpus.splits.values() if last > first]
        np.testing.assert_array_equal(np.concatenate(parts)[1:], stream[1:])


def test_short_streams_are_not_split(tmp_path: Path) -> None:
    streams = [random_stream(length, length) for length in range(2, 60)]
    np.savez(tmp_path / "log.npz", perfs=object_array(*streams))
    corpus = pipeline.read(tmp_path / "log.npz", Recipe(split="0.5,0.25,0.25"))
    assert sorted(corpus.lengths.tolist()) == list(range(2, 60))
    assert all(last > first for first, last in corpus.splits.values())


def test_folder_named_after_a_split_sets_the_split_of_streams(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "valid", "test")):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "log.npz", perfs=object_array(random_stream(600, number)))
    corpus = pipeline.read(tmp_path)
    assert {name: corpus.rows(name).stop - corpus.rows(name).start for name in corpus.splits} == dict.fromkeys(
        ("train", "valid", "test"), 600
    )


def test_stream_can_have_more_rows_than_a_drawing_can_have_points(tmp_path: Path) -> None:
    """The stream is imported from an array, divided by time, and imported again from the corpus."""
    rows = np.full((1, MAX_POINTS + 100, 2), 0.5, np.float32)
    np.savez(tmp_path / "long.npz", perfs=rows)
    report = import_corpus(tmp_path / "long.npz", tmp_path / "a")
    assert (report.points, report.dropped) == (MAX_POINTS + 100, {})
    whole = import_corpus(tmp_path / "long.npz", tmp_path / "b", Recipe(split="1,0,0"))
    again = import_corpus(tmp_path / "b", tmp_path / "c")
    assert (whole.points, again.points, again.dropped) == (MAX_POINTS + 100, MAX_POINTS + 100, {})
