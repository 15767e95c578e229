"""Tests of the import options: geometry, bin widths, limits on points and drawings, and invalid options."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.data.drawings import DrawingBatch, Record
from mdnrnn.data.formats import ndjson
from mdnrnn.data.importing.recipe import Recipe, reshape
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import DataError, InputError
from tests.data.formats.samples import ndjson_line, object_array
from tests.data.importing.helpers import import_files, splits_by_number, write_text

BIN_WIDTHS: dict[str, tuple[Any, Recipe, float | None, type]] = {
    "integers": ([[[0, 7], [0, 1]]], Recipe(), 1, np.int16),
    "large integers": ([[[0, 70_000], [0, 1]]], Recipe(), 1, np.int32),
    "fractions": ([[[0, 7.5], [0, 1]]], Recipe(), None, np.float32),
    "grid": ([[[0, 7.5], [0, 1]]], Recipe(grid=0.25), 0.25, np.float32),
    "box": ([[[0, 7.5], [0, 1]]], Recipe(box=255), 1, np.int16),
    "box without rounding": ([[[0, 7.5], [0, 1.3]]], Recipe(box=255, grid=0), None, np.float32),
    "box with fine grid": ([[[0, 7.5], [0, 1.3]]], Recipe(box=255, grid=0.01), 0.01, np.float32),
    "coarse grid": ([[[0, 7.5], [0, 1]]], Recipe(grid=5), 5, np.int16),
    "fine grid": ([[[0, 3000.7], [0, 1]]], Recipe(grid=0.001), 0.001, np.float32),
}


@pytest.mark.parametrize(("drawing", "recipe", "bin_width", "dtype"), BIN_WIDTHS.values(), ids=BIN_WIDTHS)
def test_bin_width_is_the_grid_of_all_points(
    tmp_path: Path, drawing: Any, recipe: Recipe, bin_width: float | None, dtype: Any
) -> None:
    """`import_files` also checks that all points lie on the grid."""
    corpus, _ = import_files(write_text(tmp_path / "x.ndjson", json.dumps({"drawing": drawing})), recipe)
    assert corpus.metadata.bin_width == bin_width
    assert corpus.motion.dtype == dtype


TOUCH_GRIDS: dict[str, tuple[Recipe, float | None]] = {
    "default": (Recipe(), 1 / 1024),
    "grid": (Recipe(grid=0.01), 0.01),
    "box": (Recipe(box=255), 1.0),
    "small box": (Recipe(box=2), None),
    "no rounding": (Recipe(grid=0), None),
}


@pytest.mark.parametrize(("recipe", "bin_width"), TOUCH_GRIDS.values(), ids=TOUCH_GRIDS)
def test_positions_of_touches_are_rounded_and_times_are_not(
    tmp_path: Path, recipe: Recipe, bin_width: float | None
) -> None:
    rows = np.array([[0.123, 0.2, 0.5, 0], [0.7, 0.4, 0.333, 1], [0.7, 0.4, 0.25, 1], [0.9, 0.8, 0.25, 0]])
    np.savez(tmp_path / "x.npz", raw_perfs=object_array(rows))
    corpus, _ = import_files(tmp_path / "x.npz", recipe)
    assert corpus.metadata.features == ("dx", "dy", "dt")
    assert corpus.metadata.bin_width == bin_width
    assert len(corpus.event) == 4  # a touch without motion is kept, because its time is new
    np.testing.assert_allclose(corpus.motion[1:, 2], [0.333, 0.25, 0.25], rtol=1e-5)


@pytest.mark.parametrize(
    ("value", "bin_width"), [(127.0, 1.0), (127 / 128, 1 / 128), (0.3, None)], ids=["integers", "128ths", "reals"]
)
def test_bin_width_of_a_stream_is_the_coarsest_grid_of_its_values(
    tmp_path: Path, value: float, bin_width: float | None
) -> None:
    rows = np.array([[0.5, 0.0, value], [0.25, 1.0, value], [0.33, 2.0, 0.0]])
    np.savez(tmp_path / "x.npz", perfs=object_array(rows))
    corpus, _ = import_files(tmp_path / "x.npz")
    assert corpus.metadata.features == ("dt", "x1", "x2")
    assert corpus.metadata.bin_width == bin_width


def test_check_refuses_times_that_are_not_positive() -> None:
    metadata = Metadata(name="x", start="up", features=("dx", "dy", "dt"))
    motion = np.array([[0, 0, 0.0], [1, 0, 0.5], [2, 0, 0.0]])
    corpus = pack(metadata, {"train": [Sequence(motion, np.array([0, 0, 2]))]})
    message = r"in row 2; expected finite numbers, times above 0 \(in a first row 0 or more\)"
    with pytest.raises(InputError, match=message):
        corpus.check()


points = st.tuples(st.integers(-2000, 2000), st.integers(-2000, 2000))
integer_drawings = st.lists(
    st.lists(st.lists(points, min_size=1, max_size=8), min_size=1, max_size=3), min_size=1, max_size=5
)


def write_drawings(folder: Path, drawings: list[list[list[tuple[int, int]]]]) -> Path:
    records = [{"drawing": [list(zip(*stroke, strict=True)) for stroke in drawing]} for drawing in drawings]
    return write_text(folder / "x.ndjson", "".join(json.dumps(record) + "\n" for record in records))


@settings(deadline=None, max_examples=25)
@given(integer_drawings, st.sampled_from([255, 100, 64.0]))
def test_longer_side_equals_the_box(tmp_path_factory: pytest.TempPathFactory, drawings: list[Any], side: float) -> None:
    source = write_drawings(tmp_path_factory.mktemp("x"), drawings)
    corpus, _ = import_files(source, Recipe(box=side, split="1,0,0"))
    for i, drawing in enumerate(drawings):
        result = np.concatenate(corpus.drawing(i))
        extent = np.ptp(np.concatenate([np.array(stroke) for stroke in drawing]), axis=0)
        assert np.ptp(result, axis=0).max() == (side if extent.max() else 0)
        assert (result == np.rint(result)).all()


def max_distance(points: np.ndarray, stroke: np.ndarray) -> float:
    """Return the largest distance of points (n, 2) from a polyline (m, 2)."""
    starts, chords = stroke[:-1], np.diff(stroke, axis=0)
    if not len(chords):
        return float(np.hypot(*(points - stroke[0]).T).max())
    squared_lengths = np.maximum((chords**2).sum(1), 1e-300)
    position = np.clip(((points[:, None] - starts) * chords).sum(2) / squared_lengths, 0, 1)
    nearest = starts + position[..., None] * chords
    return float(np.hypot(*np.moveaxis(points[:, None] - nearest, 2, 0)).min(1).max())


@settings(deadline=None, max_examples=25)
@given(integer_drawings, st.sampled_from([1.0, 5.0, 40.0]), st.sampled_from([0.5, 2.0, 20.0]))
def test_resampled_and_simplified_drawing_is_within_tolerance(
    tmp_path_factory: pytest.TempPathFactory, drawings: list[Any], spacing: float, tolerance: float
) -> None:
    """New points lie on the drawing up to rounding. The drawing's points lie on the new lines up to the tolerance, half
    a spacing, by which a corner can be cut, and rounding."""
    source = write_drawings(tmp_path_factory.mktemp("x"), drawings)
    corpus, _ = import_files(source, Recipe(resample=spacing, simplify=tolerance, grid=1, split="1,0,0"))
    rounding = math.sqrt(0.5) + 1e-6
    for i, drawing in enumerate(drawings):
        origin = np.array(drawing[0][0])
        for stroke, result in zip(drawing, corpus.drawing(i), strict=True):
            original = np.array(stroke, float) - origin
            assert max_distance(result, original) <= rounding
            assert max_distance(original, result) <= tolerance + spacing / 2 + rounding


JUMPS: dict[str, tuple[list[Any], list[Any]]] = {
    "outlier inside a stroke": (
        [[[0, 0], [3, 4], [900, 4], [6, 8], [6, 9]], [[500, 0], [501, 0]]],
        [[[0, 0], [3, 4], [6, 8], [6, 9]], [[500, 0], [501, 0]]],
    ),
    "outlier first": ([[[900, 900], [0, 0], [3, 4], [6, 8]]], [[[0, 0], [3, 4], [6, 8]]]),
    "outlier last": ([[[0, 0], [3, 4], [900, 900]]], [[[0, 0], [3, 4]]]),
    "gap": (
        [[[0, 0], [3, 4], [300, 4], [306, 8]], [[1, 1]]],
        [[[0, 0], [3, 4]], [[300, 4], [306, 8]], [[1, 1]]],
    ),
    "only outliers": ([[[0, 0], [500, 0]]], [[[0, 0]]]),
}


@pytest.mark.parametrize(("strokes", "expected"), JUMPS.values(), ids=JUMPS)
def test_strokes_are_split_at_jumps_and_outliers_removed(strokes: list[Any], expected: list[Any]) -> None:
    """The drawings before and after do not change."""
    plain = [np.array([[7, 7], [8, 8]])]
    middle = [np.array(stroke) for stroke in strokes]
    drawings = DrawingBatch.from_polylines([(plain, Record("a")), (middle, Record("b")), (plain, Record("c"))])
    drawings = reshape(drawings, Recipe(jump=100), default_grid=0)
    assert [[stroke.tolist() for stroke in drawings.polylines(i)] for i in range(3)] == [
        [[[7, 7], [8, 8]]], expected, [[[7, 7], [8, 8]]]
    ]  # fmt: skip
    assert [record.location for record in drawings.records] == ["a", "b", "c"]


def test_drawings_outside_the_limits_on_points_are_dropped(tmp_path: Path) -> None:
    records = [{"drawing": [[list(range(n)), list(range(n))]]} for n in (2, 3, 4, 5, 6)]
    source = write_text(tmp_path / "x.ndjson", "".join(json.dumps(record) + "\n" for record in records))
    corpus, report = import_files(source, Recipe(min_points=2, max_points=4))
    assert sorted(corpus.lengths.tolist()) == [2, 3, 4]
    assert report.dropped == {
        "fewer than 2 points": (1, f"{source}, line 1 has 1 point"),
        "more than 4 points": (1, f"{source}, line 5 has 5 points"),
    }
    with pytest.raises(DataError, match=r"received no drawings; the first one dropped.*line 1 has 1 point"):
        import_files(source, Recipe(min_points=100))


@pytest.mark.parametrize("limit", [1, 7, 10, 25, 1000])
def test_limit_keeps_the_first_drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(ndjson, "CHUNK_BYTES", 200)
    source = write_text(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(1, 31)))
    corpus, report = import_files(source, Recipe(limit=limit))
    assert sorted(splits_by_number(corpus)) == list(range(1, min(limit, 30) + 1))
    assert report.kept == min(limit, 30)


def test_limit_does_not_count_dropped_drawings(tmp_path: Path) -> None:
    source = write_text(tmp_path / "x.ndjson", "no\n" * 3 + "".join(ndjson_line(i) for i in range(1, 9)))
    corpus, report = import_files(source, Recipe(limit=5))
    assert sorted(splits_by_number(corpus)) == [1, 2, 3, 4, 5]
    assert report.dropped["not JSON"][0] == 3


def test_geometric_options_are_refused_for_streams(tmp_path: Path) -> None:
    lines = "2019-01-17T12:37:38.1,interface,0.25\n2019-01-17T12:37:39.1,interface,0.5\n"
    source = write_text(tmp_path / "x.log", lines)
    corpus, _ = import_files(source)
    assert corpus.metadata.is_stream
    assert corpus.metadata.features == ("dt", "x1")
    with pytest.raises(InputError, match="apply to drawings only; omit them for streams"):
        import_files(source, Recipe(box=255))


INVALID: dict[str, tuple[Callable[[], Recipe], str]] = {
    "two shares": (lambda: Recipe(split="0.9,0.1"), "expected three shares that sum to 1"),
    "shares with a sum above 1": (lambda: Recipe(split="0.9,0.1,0.1"), "expected three shares that sum to 1"),
    "words": (lambda: Recipe(split="most,some,few"), "expected three shares that sum to 1"),
    "negative shares": (lambda: Recipe(split="1.2,-0.1,-0.1"), "expected three shares that sum to 1"),
    "NaN shares": (lambda: Recipe(split="nan,nan,nan"), "expected three shares that sum to 1"),
    "box of 0": (lambda: Recipe(box=0), "--box: received 0, expected more than 0"),
    "NaN tolerance": (lambda: Recipe(simplify=math.nan), "--simplify: received nan, expected more than 0"),
    "infinite spacing": (lambda: Recipe(resample=math.inf), "--resample: received inf, expected more than 0"),
    "negative grid": (lambda: Recipe(grid=-1), "--grid: received -1, expected 0 or more"),
    "limit of 0": (lambda: Recipe(limit=0), "--limit: received 0, expected more than 0"),
    "unknown format": (lambda: Recipe(format="docx"), "unknown format 'docx'; expected one of sketchrnn"),
}


@pytest.mark.parametrize(("make", "message"), INVALID.values(), ids=INVALID)
def test_invalid_option_is_refused(make: Callable[[], Recipe], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
