"""Arrays of strokes: the values decide the layout of the columns, padding is removed, other arrays are refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data import formats
from mdnrnn.data.formats.stroke_arrays import FORMAT
from mdnrnn.data.formats.stroke_columns import Columns, choose_columns
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.errors import DataError
from tests.data.formats.samples import object_array

ROWS = np.array([[10, 50, 0], [0, 40, 0], [50, 0, 1], [-55, -35, 0], [30, -35, 0], [30, 35, 1], [2, 3, 1]], np.float32)
STROKES = [[[10, 50], [10, 90], [60, 90]], [[5, 55], [35, 20], [65, 55]], [[67, 58]]]
PEN = ROWS[:, 2]
STROKE_5 = np.concatenate([np.c_[ROWS[:, :2], 1 - PEN, PEN, 0 * PEN], np.tile([0, 0, 0, 0, 1], (3, 1))]).astype(
    np.float32
)
END_ON_POINT = np.c_[ROWS[:, :2], 1 - PEN, PEN, 0 * PEN]
END_ON_POINT[-1, 2:] = 0, 0, 1
IS_LAST = np.arange(len(ROWS)) == len(ROWS) - 1

MATRICES = {
    "pen last": (ROWS, Columns.PEN_LAST),
    "integers": (ROWS.astype(np.int16), Columns.PEN_LAST),
    "Fortran order": (np.asfortranarray(ROWS), Columns.PEN_LAST),
    "pen first": (ROWS[:, [2, 0, 1]], Columns.PEN_FIRST),
    "stroke-5": (STROKE_5, Columns.STROKE_5),
    "stroke-5 with the end on the last point": (END_ON_POINT, Columns.STROKE_5),
    "end": (np.c_[ROWS, IS_LAST], Columns.END),
    "end and padding": (np.concatenate([np.c_[ROWS, 0 * PEN], [[0, 0, 0, 1], [0, 0, 0, 1]]]), Columns.END),
    "down and up": (np.c_[ROWS[:, :2], 1 - PEN, PEN], Columns.DOWN_UP),
    "parts": (np.c_[ROWS, np.arange(len(ROWS)) // 3], Columns.PART),
}


def strokes_of(path: Path) -> list[list[list[list[float]]]]:
    """Return the strokes of all drawings in a file, in its coordinates."""
    batches = [FORMAT.parse(chunk) for chunk in FORMAT.chunks(path)]
    return [[stroke.tolist() for stroke in batch.polylines(i)] for batch in batches for i in range(len(batch))]


@pytest.mark.parametrize(("array", "columns"), MATRICES.values(), ids=MATRICES.keys())
def test_matrix_is_one_drawing_whose_row_0_is_its_first_point(
    array: np.ndarray, columns: Columns, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", array)
    assert formats.recognize_format(tmp_path / "x.npy") is FORMAT
    assert choose_columns([array]) is columns
    assert strokes_of(tmp_path / "x.npy") == [STROKES]


@pytest.mark.parametrize(("array", "columns"), MATRICES.values(), ids=MATRICES.keys())
def test_object_array_and_padded_array_contain_several_drawings(
    array: np.ndarray, columns: Columns, tmp_path: Path
) -> None:
    """Also drawings that would fit another layout alone: the first stroke only."""
    np.save(tmp_path / "x.npy", object_array(array, array[:3]))
    assert strokes_of(tmp_path / "x.npy") == [STROKES, STROKES[:1]]
    if columns is not Columns.DOWN_UP:  # zeros are not one-hot
        padding = np.zeros((2, array.shape[1])) if columns is not Columns.STROKE_5 else STROKE_5[-2:]
        np.save(tmp_path / "x.npy", np.stack([np.concatenate([array, padding])] * 2))
        assert strokes_of(tmp_path / "x.npy") == [STROKES, STROKES]


def test_rows_of_nan_at_the_end_are_padding(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.stack([ROWS, np.where(np.arange(7)[:, None] < 3, ROWS, np.nan)]))
    assert strokes_of(tmp_path / "x.npy") == [STROKES, STROKES[:1]]


def test_row_0_of_zeros_is_the_origin(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0, 0, 0], [3, 4, 1]]))
    assert strokes_of(tmp_path / "x.npy") == [[[[0, 0], [3, 4]]]]


def test_arrays_by_other_names_are_read_and_reported(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", drawings=object_array(ROWS, ROWS[:3]), y=np.array([0, 1]), mean=np.zeros(2))
    report = import_corpus([tmp_path / "x.npz"], tmp_path / "out")
    assert (report.kept, report.classes) == (2, 0)
    assert report.repaired == {
        "layout chosen by values": (1, f"{tmp_path / 'x.npz'}: drawings is read as rows of (dx, dy, pen)")
    }
    assert report.lost == {"array not read": (2, f"{tmp_path / 'x.npz'}: arrays y, mean are not strokes")}


def test_names_of_arrays_are_classes_or_splits(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", cat=object_array(ROWS), dog=object_array(ROWS, ROWS[:3]))
    corpus = pipeline.read(tmp_path / "x.npz")
    assert corpus.metadata.classes == ("cat", "dog")
    np.savez(tmp_path / "y.npz", x_train=object_array(ROWS, ROWS[:3]), x_val=object_array(ROWS[:3]))
    corpus = pipeline.read(tmp_path / "y.npz")
    assert (corpus.splits, corpus.metadata.classes) == ({"train": (0, 2), "valid": (2, 3), "test": (3, 3)}, ())


def test_sketchrnn_archive_keeps_its_own_rule(tmp_path: Path) -> None:
    """With the names train, valid and test, there is a point before row 0."""
    np.savez(tmp_path / "x.npz", train=object_array(ROWS), extra=object_array(ROWS))
    assert formats.recognize_format(tmp_path / "x.npz") is formats.FORMATS["sketchrnn"]
    assert [len(stroke) for stroke in pipeline.read(tmp_path / "x.npz").drawing(0)] == [4, 3, 1]


FEW_PARTS = np.array([[10, 50, 0, 0], [0, 40, 0, 0], [50, 0, 1, 1]], np.float32)
"""A drawing whose column 3 could also be the end of the drawing."""
MORE_PARTS = np.c_[ROWS, np.arange(len(ROWS)) // 2]
DOWN_ONLY = np.array([[10, 50, 1, 0], [0, 40, 1, 0], [50, 0, 1, 0]], np.float32)
"""A drawing whose column 2 could also be the pen, lifted after each point."""


def lengths_of(path: Path) -> list[list[int]]:
    """Return the number of points of each stroke, for each drawing of an archive with an origin before row 0."""
    corpus = pipeline.read(path)
    return [[len(stroke) for stroke in corpus.drawing(i)] for i in range(len(corpus))]


def test_layout_is_that_of_all_drawings_of_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawings after the first chunk decide the layout of the first one, too."""
    monkeypatch.setattr("mdnrnn.data.formats.sketchrnn._CHUNK_RECORDS", 2)
    few = FEW_PARTS.copy()
    few[1, 3] = 1  # as an end, this would cut off the last point
    np.savez(tmp_path / "x.npz", train=object_array(few, FEW_PARTS, few, MORE_PARTS), test=object_array(FEW_PARTS))
    assert lengths_of(tmp_path / "x.npz") == [[4], [4], [4], [4, 3, 1], [4]]
    down_up = np.c_[ROWS[:, :2], 1 - PEN, PEN]
    np.savez(tmp_path / "x.npz", train=object_array(DOWN_ONLY, down_up))
    assert lengths_of(tmp_path / "x.npz") == [[4], [4, 3, 1]]


def test_drawings_with_part_numbers_are_counted(tmp_path: Path) -> None:
    """Part numbers are lost. Drawings that are dropped are not counted."""
    drawings = object_array(*[FEW_PARTS] * 63, MORE_PARTS, np.full((3, 4), 0.5), np.zeros((0, 4)))
    np.savez(tmp_path / "x.npz", train=drawings)
    np.save(tmp_path / "x.npy", drawings)
    for path, location in ((tmp_path / "x.npz", f"{tmp_path / 'x.npz'}: train"), (tmp_path / "x.npy",) * 2):
        report = import_corpus(path, tmp_path / f"out{path.suffix}")
        assert report.kept == 64
        assert report.lost == {"drawings with part numbers": (64, f"{location}: 64 drawings with part numbers")}


def test_drawing_that_goes_on_after_the_first_1_has_parts(tmp_path: Path) -> None:
    """Without a part above 1, the offsets after the first 1 distinguish parts from the end of the drawing."""
    parts = np.c_[ROWS, np.arange(len(ROWS)) > 3]
    np.savez(tmp_path / "x.npz", train=object_array(parts))
    assert lengths_of(tmp_path / "x.npz") == [[4, 3, 1]]
    assert choose_columns([parts]) is Columns.PART
    assert choose_columns([np.concatenate([parts[:5], [[0, 0, 0, 1], [0, 0, 0, 0]]])]) is Columns.END


def test_part_of_the_first_point_is_not_an_offset(tmp_path: Path) -> None:
    rows = np.concatenate([[[0, 0, 0, 3]], MORE_PARTS])
    np.savez(tmp_path / "x.npz", train=object_array(rows, rows[:4]))
    assert lengths_of(tmp_path / "x.npz") == [[4, 3, 1], [4]]


def test_drawing_of_another_layout_is_dropped(tmp_path: Path) -> None:
    end = np.c_[ROWS, IS_LAST]
    bad = end.copy()
    bad[1, 2] = 0.5
    np.savez(tmp_path / "x.npz", train=object_array(bad, end, ROWS, STROKE_5))
    report = import_corpus(tmp_path / "x.npz", tmp_path / "out")
    location = f"{tmp_path / 'x.npz'}: train[0]"
    assert report.kept == 2  # rows with three columns are always (dx, dy, pen)
    assert report.dropped == {
        "no rows of (dx, dy, pen)": (2, f"{location} has other values; expected rows of (dx, dy, pen, end)")
    }


@pytest.mark.parametrize("has_origin", [False, True])
@pytest.mark.parametrize("name", ["stroke-5", "end", "down and up", "parts"])
def test_sketchrnn_archive_may_have_more_columns(name: str, has_origin: bool, tmp_path: Path) -> None:
    """If row 0 of all drawings is an offset of 0 with the pen down, it is the first point, as in stroke-3."""
    array = MATRICES[name][0]
    if has_origin:
        first = np.zeros((1, array.shape[1]))
        first[0, 2] = name in ("stroke-5", "down and up")
        array = np.concatenate([first, array])
    np.savez(tmp_path / "x.npz", train=object_array(array, array[: 3 + has_origin]))
    corpus = pipeline.read(tmp_path / "x.npz")
    assert [[len(stroke) for stroke in corpus.drawing(i)] for i in range(2)] == [[4, 3, 1], [4]]


def test_bad_records_are_dropped_with_their_index(tmp_path: Path) -> None:
    bad = ROWS.copy()
    bad[1, 2] = 7
    np.save(tmp_path / "x.npy", object_array(*[ROWS] * 70, bad, ROWS[:, :2], np.full((2, 3), np.nan), ROWS[:0]))
    batches = [FORMAT.parse(chunk) for chunk in FORMAT.chunks(tmp_path / "x.npy")]
    dropped = [(remark.reason, remark.detail.partition("[")[2][:22]) for batch in batches for remark in batch.dropped]
    assert dropped == [
        ("not strokes", "70] has other values; "),
        ("not strokes", "71] has shape (7, 2); "),
        ("empty sequence", "72] has no points"),
        ("empty sequence", "73] has no points"),
    ]


OTHER = {
    "zeros": np.zeros((3, 3)),
    "labels": np.eye(3),
    "five classes": np.eye(5)[[0, 1, 2, 4]],
    "positions in space": np.array([[1.5, 2.5, 0], [3, 4, 0]]),
    "noise": np.random.default_rng(0).normal(size=(9, 3)),
    "two columns": ROWS[:, :2],
    "seven columns": np.zeros((3, 7)),
    "a vector": np.arange(9),
    "text": np.array(["a", "b"]),
    "images": np.zeros((2, 28, 28)),
}


@pytest.mark.parametrize("array", OTHER.values(), ids=OTHER.keys())
def test_other_arrays_are_refused_with_their_shape(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=r"an array .* that is not strokes") as caught:
        import_corpus([tmp_path / "x.npy"], tmp_path / "out")
    assert str(array.shape) in str(caught.value)
    np.savez(tmp_path / "x.npz", drawings=array)
    with pytest.raises(
        DataError, match=r"an .npz with the arrays drawings .*; it has none of the keys train, valid, test"
    ):
        import_corpus([tmp_path / "x.npz"], tmp_path / "out")


def test_archive_without_arrays_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(DataError, match=r"a zip archive without .npy members"):
        import_corpus([tmp_path / "x.npz"], tmp_path / "out")


def test_matrix_of_too_many_rows_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdnrnn.data.formats.stroke_arrays.MAX_POINTS", 6)
    np.save(tmp_path / "x.npy", ROWS)
    with pytest.raises(DataError, match=r"x\.npy has over 6 rows"):
        list(FORMAT.chunks(tmp_path / "x.npy"))
