"""Tests of the SVG writer: files are read back unchanged, and the folder is complete or absent."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats.svg_reader import parse
from mdnrnn.data.formats.svg_writer import format_svg, write
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Drawing, from_polylines
from mdnrnn.errors import InputError
from tests.data.formats.svg_helpers import parse_svg

LINE: Drawing = [np.array([[0, 0], [1, 1]])]


def make_corpus(drawings: list[Drawing], dtype: Any, **metadata: Any) -> Corpus:
    """Pack drawings; if there are classes, drawing i has class i modulo their number."""
    sequences = []
    for i, drawing in enumerate(drawings):
        motion, event = from_polylines(drawing, "up")
        label = i % len(metadata["classes"]) if "classes" in metadata else None
        sequences.append(Sequence(motion.astype(dtype), event, label))
    return pack(Metadata(name="x", start="up", **metadata), {"train": sequences})


def drawings_of(elements: st.SearchStrategy[float], dtype: Any) -> st.SearchStrategy[Drawing]:
    stroke = st.integers(1, 6).flatmap(lambda n: arrays(dtype, (n, 2), elements=elements))
    distinct = stroke.filter(lambda points: len(points) == 1 or bool((points != points[0]).any()))
    return st.lists(distinct, min_size=1, max_size=4)


integer_drawings = drawings_of(st.integers(-3000, 3000), np.int32)
real_drawings = drawings_of(st.floats(-1e5, 1e5, width=32), np.float32)


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.tuples(st.just(np.int32), integer_drawings), st.tuples(st.just(np.float32), real_drawings)))
def test_written_drawing_is_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, case: Any) -> None:
    dtype, drawing = case
    corpus = make_corpus([drawing], dtype)
    folder = tmp_path_factory.mktemp("written") / "out"
    write(corpus, folder)
    (path,) = folder.iterdir()
    result = parse(path)
    assert not result.repaired
    # Offsets that are rounded to 0 in their type can make all points of a stroke coincide: it is read as a dot.
    expected = [stroke if (stroke != stroke[0]).any() else stroke[:1] for stroke in corpus.drawing(0)]
    for stroke, points in zip(result.polylines(0), expected, strict=True):
        np.testing.assert_array_equal(stroke, points)


def test_numbers_are_written_without_trailing_zeros(tmp_path: Path) -> None:
    drawing = [np.array([[0, 0], [10, -5]]), np.array([[3, 4]])]
    write(make_corpus([drawing], np.int16), tmp_path / "out")
    text = (tmp_path / "out" / "000000.svg").read_text()
    assert re.findall(r' d="(.*)"', text) == ["M 0 0 L 10 -5", "M 3 4 L 3 4"]
    assert 'viewBox="-0.1 -5.1 10.2 9.2"' in text


def test_class_folders_stay_inside_the_output_folder(tmp_path: Path) -> None:
    names = ("cat", "../up", "a/b", ".", "", "50%", "50%25")
    drawings: list[Drawing] = [[np.array([[i, 0], [0, 5]])] for i in range(len(names) + 1)]
    write(make_corpus(drawings, np.int16, classes=names), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    files = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.svg"))
    assert len({path.parent for path in files}) == len(names)
    assert all(len(path.parts) == 2 for path in files)
    assert [path.name for path in files if path.parts[0] == "cat"] == ["000000.svg", "000007.svg"]


@pytest.mark.parametrize("splits", [("train",), ("train", "test")])
def test_class_names_are_read_back(tmp_path: Path, splits: tuple[str, ...]) -> None:
    names = ("a/b", "a%2fb", "50%", "train", "Test", ".hidden", "..", "con:", "x.", 'a"?*|<>\\', "", "\ud800", "仂 é")
    drawings: list[Drawing] = [[np.array([[0, 0], [i + 1, 5]])] for i in range(len(names))]
    corpus = make_corpus(drawings, np.int16, classes=names)
    corpus = pack(corpus.metadata, {split: [corpus[i] for i in range(len(corpus))] for split in splits})
    write(corpus, tmp_path / "out")
    import_corpus(tmp_path / "out", tmp_path / "again")
    again = open_corpus(str(tmp_path / "again"))
    assert again.label is not None
    found = [(again[i].motion[-1, 0], again.metadata.classes[label]) for i, label in enumerate(again.label.tolist())]
    expected = [(i + 1, name or "unlabeled") for i, name in enumerate(names)]
    assert sorted(found) == sorted(expected * len(splits))
    if len(splits) > 1:
        assert dict(again.splits) == {"train": (0, 13), "valid": (13, 13), "test": (13, 26)}


def test_splits_are_folders_of_class_folders(tmp_path: Path) -> None:
    motion, event = from_polylines(LINE, "up")
    cat, dog, unlabeled = (Sequence(motion, event, label) for label in (0, 1, None))
    metadata = Metadata(name="x", start="up", classes=("cat", "dog"))
    write(pack(metadata, {"train": [cat, dog], "valid": [], "test": [dog]}), tmp_path / "a")
    write(pack(Metadata(name="x", start="up"), {"train": [unlabeled], "valid": [unlabeled]}), tmp_path / "b")
    write(pack(metadata, {"train": [], "valid": [cat, dog]}), tmp_path / "c")
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.svg"))
    assert files == [
        "a/test/dog/000002.svg", "a/train/cat/000000.svg", "a/train/dog/000001.svg",
        "b/train/000000.svg", "b/valid/000001.svg",
        "c/cat/000000.svg", "c/dog/000001.svg",
    ]  # fmt: skip


def test_corpus_with_times_is_refused(tmp_path: Path) -> None:
    motion, event = from_polylines([np.array([[0, 0, 0], [1, 1, 1]])], "up")
    metadata = Metadata(name="touches", start="up", features=("dx", "dy", "dt"))
    with pytest.raises(InputError, match=r"^touches .*expected drawings"):
        write(pack(metadata, {"train": [Sequence(motion, event)]}), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["quick brown", 'a <b> & "c" ]]>', " two\nlines\r\ttab ", "仂 é 🦊"])
def test_text_is_read_back(text: str, tmp_path: Path) -> None:
    motion, event = from_polylines(LINE, "up")
    write(pack(Metadata(name="x", start="up"), {"train": [Sequence(motion, event, text=text)]}), tmp_path / "out")
    assert parse(tmp_path / "out" / "000000.svg").records[0].text == text


def test_characters_that_xml_cannot_represent_are_replaced(tmp_path: Path) -> None:
    svg = format_svg([np.zeros((1, 2))], "a\0b\ud800c\uffff")
    assert parse_svg(tmp_path / "x.svg", svg).records[0].text == "a?b?c?"


def test_existing_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists; use another path"):
        write(make_corpus([LINE], np.int16), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_failed_write_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = make_corpus([LINE] * 3, np.int16)

    def fail(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(InputError, match=r"cannot write .*out: No space left on device"):
        write(corpus, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_killed_write_are_not_included(tmp_path: Path) -> None:
    (tmp_path / ".out.tmp").mkdir()
    (tmp_path / ".out.tmp" / "000009.svg").touch()
    write(make_corpus([LINE], np.int16), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000000.svg"]
