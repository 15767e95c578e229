"""A corpus that is written and imported again is equal, as far as the format stores classes, texts and splits."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.formats import WRITERS
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.metadata import SPLITS, Metadata
from mdnrnn.data.strokes import from_polylines
from mdnrnn.errors import InputError
from tests.helpers import random_corpus

NAMES = {"corpus": "x", "sketchrnn": "x.npz", "ndjson": "x.ndjson", "svg": "x", "inkml": "x.inkml", "microjam": "x"}
"""File or folder name for each format."""
WITH_LABELS = {"corpus", "ndjson", "svg", "inkml"}
WITH_TEXTS = {"corpus", "ndjson", "svg", "inkml"}

integer_coordinates = st.integers(-3000, 3000)
fractional_coordinates = st.integers(-3_000_000, 3_000_000).map(lambda value: value / 1024)
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=32)
name_characters = st.characters(categories=["L", "N"], codec="utf-8")


def drawings_with(coordinates: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Drawings with dots, and with strokes that contain equal points or consist of them."""
    point = st.tuples(coordinates, coordinates)
    stroke = st.lists(point, min_size=1, max_size=5) | st.builds(
        lambda each, count: [each] * count, point, st.integers(1, 4)
    )
    return st.lists(st.lists(stroke, min_size=1, max_size=3), min_size=1, max_size=6)


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    """Drawings that start with the pen down: with integers or fractions, with or without classes and texts."""
    integers = draw(st.booleans())
    drawings = draw(drawings_with(integer_coordinates if integers else fractional_coordinates))
    classes = draw(st.lists(st.text(name_characters, min_size=1, max_size=5), unique=True, min_size=2, max_size=3))
    has_labels, has_texts = draw(st.booleans()), draw(st.booleans())
    by_split: dict[str, list[Sequence]] = {split: [] for split in SPLITS}
    for number, drawing in enumerate(drawings):
        motion, event = from_polylines([np.array(stroke, np.float64) for stroke in drawing])
        motion = motion.astype(np.int16 if integers else np.float32)
        label = number % len(classes) if has_labels else None
        text = draw(st.text(characters | st.sampled_from("\t\n\r"), min_size=1, max_size=8)) if has_texts else None
        split = draw(st.sampled_from(SPLITS))
        by_split[split].append(Sequence(motion, event, label, text=text))
    names = tuple(sorted(classes)) if has_labels else ()
    return pack(Metadata(name="x", classes=names, bin_width=1 if integers else None), by_split)


def sorted_sequences(corpus: Corpus, first: int, last: int) -> list[Any]:
    """Return the sequences `first` to `last` (exclusive) in an order that depends on their content only."""
    sequences = []
    for i in range(first, last):
        motion, event, label, _, text, *_ = corpus[i]
        name = None if label is None else corpus.metadata.classes[label]
        sequences.append((np.asarray(motion, np.float32).tolist(), event.tolist(), name, text))
    return sorted(sequences, key=repr)


def remove_unsupported(corpus: Corpus, form: str) -> Corpus:
    """Remove labels and texts if the format does not store them."""
    metadata = corpus.metadata if form in WITH_LABELS else replace(corpus.metadata, classes=())
    label = corpus.label if form in WITH_LABELS else None
    if form not in WITH_TEXTS:
        corpus = replace(corpus, text=None, text_offsets=None)
    return replace(corpus, metadata=metadata, label=label)


def write_and_import(corpus: Corpus, form: str, folder: Path) -> Corpus:
    """Write a corpus, import it, and open the result.

    The classes of SVG files are their folders; by default a single folder is not a class.
    """
    WRITERS[form](corpus, folder / NAMES[form])
    recipe = Recipe(labels="folder") if form == "svg" and corpus.label is not None else None
    pipeline.import_corpus([folder / NAMES[form]], folder / "again", recipe)
    return pipeline.read(folder / "again")


def test_every_writer_is_tested() -> None:
    assert set(NAMES) == set(WRITERS)


@pytest.mark.parametrize("form", sorted(set(WRITERS) - {"microjam"}))
@settings(max_examples=25)
@given(corpus=corpora())
def test_written_drawings_are_restored(form: str, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Splits, too, except for SVG with a single split, whose folder is not nested in another one."""
    restored = write_and_import(corpus, form, tmp_path_factory.mktemp("x"))
    expected = remove_unsupported(corpus, form)
    restored.check()
    used_splits = [split for split, (first, last) in corpus.splits.items() if first < last]
    if form == "svg" and len(used_splits) == 1:
        assert sorted_sequences(restored, 0, len(restored)) == sorted_sequences(expected, 0, len(corpus))
        return
    for split in SPLITS:
        found = sorted_sequences(restored, *restored.splits[split])
        assert found == sorted_sequences(expected, *corpus.splits[split])


@pytest.mark.parametrize("form", sorted(set(WRITERS) - {"microjam"}))
def test_equal_points_are_restored_in_the_first_stroke_and_in_others(form: str, tmp_path: Path) -> None:
    """A dot as the first stroke has the steps of two equal points."""
    drawings = [[[[5, 5]] * 3, [[9, 5], [9, 20]]], [[[5, 5]] * 2], [[[5, 5]], [[7, 7]] * 2, [[7, 7]], [[8, 8]] * 4]]
    lines = [{"word": "dot", "drawing": [list(zip(*stroke, strict=True)) for stroke in each]} for each in drawings]
    (tmp_path / "x.ndjson").write_text("\n".join(map(json.dumps, lines)))
    corpus = pipeline.read(tmp_path / "x.ndjson")
    lengths = sorted([len(stroke) for stroke in corpus.drawing(i)] for i in range(len(corpus)))
    assert lengths == [[1], [1, 2, 1, 4], [3, 2]]
    (tmp_path / "again").mkdir()
    restored = write_and_import(corpus, form, tmp_path / "again")
    assert sorted_sequences(restored, 0, 3) == sorted_sequences(remove_unsupported(corpus, form), 0, 3)


position = st.integers(0, 1024).map(lambda number: number / 1024)  # on the grid of the format
touch_steps = st.tuples(position, position, st.floats(2**-13, 5, width=32), st.booleans())


@settings(max_examples=25)
@given(performances=st.lists(st.lists(touch_steps, min_size=1, max_size=6), min_size=1, max_size=4))
def test_written_touches_are_restored(performances: list[list[Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """To 3e-5: sums of float32 offsets may be slightly off the screen and are clamped."""
    sequences = []
    for performance in performances:
        rows = np.array([row[:3] for row in performance])
        rows[:, :2] = np.diff(rows[:, :2], axis=0, prepend=np.zeros((1, 2)))
        sequences.append(Sequence(rows.astype(np.float32), mark_end(np.array([row[3] for row in performance]))))
    corpus = pack(Metadata(name="x", start="up", features=("dx", "dy", "dt")), {"train": sequences})
    restored = write_and_import(corpus, "microjam", tmp_path_factory.mktemp("x"))
    assert (restored.metadata.start, restored.metadata.features) == ("up", ("dx", "dy", "dt"))
    found = sorted(
        ([*event.tolist()], np.round(motion, 5).tolist())
        for motion, event, *_ in map(restored.__getitem__, range(len(restored)))
    )
    expected = sorted(([*s.event.tolist()], np.round(s.motion, 5).tolist()) for s in sequences)
    assert [event for event, _ in found] == [event for event, _ in expected]
    for (_, motion), (_, expected_motion) in zip(found, expected, strict=True):
        np.testing.assert_allclose(motion, expected_motion, atol=3e-5)


@pytest.mark.parametrize("form", ["svg", "inkml", "ndjson"])
def test_drawings_that_start_with_the_pen_up_keep_their_shape(form: str, tmp_path: Path) -> None:
    """They are read with the pen down, so that their first point is the origin."""
    corpus = random_corpus([4, 1, 9], seed=3)
    corpus = replace(corpus, metadata=replace(corpus.metadata, start="up"))
    restored = write_and_import(corpus, form, tmp_path)
    shapes = [sorted(relative_strokes(each, i) for i in range(len(each))) for each in (corpus, restored)]
    assert shapes[0] == shapes[1]


def relative_strokes(corpus: Corpus, index: int) -> list[list[list[float]]]:
    """Return a drawing relative to its first point."""
    drawing = corpus.drawing(index)
    return [(stroke - drawing[0][0]).tolist() for stroke in drawing]


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_equal_corpora_give_equal_bytes(form: str, tmp_path: Path) -> None:
    corpus = make_touches() if form == "microjam" else random_corpus([4, 5], classes=("a", "b"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        WRITERS[form](corpus, tmp_path / name / NAMES[form])
    assert read_files(tmp_path / "one") == read_files(tmp_path / "two")


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_touches() -> Corpus:
    """Return a corpus of one performance."""
    motion, event = np.array([[0.5, 0.5, 0.25], [0.125, 0, 0.5]], np.float32), np.array([0, 2], np.uint8)
    metadata = Metadata(name="touches", start="up", features=("dx", "dy", "dt"))
    return pack(metadata, {"train": [Sequence(motion, event)]})


def make_stream() -> Corpus:
    rows = np.array([[0.5, 0.5, 0.25], [0.125, 0, 0.5]], np.float32)
    metadata = Metadata(name="controls", start="up", features=("dt", "x1", "x2"))
    return pack(metadata, {"train": [Sequence(rows, np.zeros(2, np.uint8))]})


REFUSED: dict[str, tuple[str, Callable[[], Corpus], str]] = {
    "touches as sketch-rnn": ("sketchrnn", make_touches, "not a corpus of drawings that start with the pen down"),
    "drawings as MicroJam": ("microjam", lambda: random_corpus([3]), "expected touch performances .features dx"),
    "offsets beyond int16": (
        "sketchrnn", lambda: replace(random_corpus([3]), motion=np.full((9, 2), 40_000, np.int32)), "offsets over 32767"
    ),
    "stream as ndjson": ("ndjson", make_stream, "controls has steps of .dt, x1, x2.; expected drawings"),
    "stream as SVG": ("svg", make_stream, "controls has steps of .dt, x1, x2.; expected drawings"),
    "stream as InkML": ("inkml", make_stream, "controls has steps of .dt, x1, x2.; expected drawings"),
}  # fmt: skip


@pytest.mark.parametrize(("form", "make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_unsupported_corpus_is_refused_and_leaves_no_file(
    form: str, make: Callable[[], Corpus], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        WRITERS[form](make(), tmp_path / NAMES[form])
    assert not list(tmp_path.iterdir())


def test_ndjson_has_the_layout_of_quick_draw(tmp_path: Path) -> None:
    """Coordinates are integers with minimum 0; keys are strings."""
    corpus = random_corpus([4, 5], classes=("cat", "dog"))
    WRITERS["ndjson"](corpus, tmp_path / "x.ndjson")
    lines = [json.loads(line) for line in (tmp_path / "x.ndjson").read_text().splitlines()]
    assert len(lines) == len(corpus)
    for number, line in enumerate(lines):
        assert set(line) == {"key_id", "word", "recognized", "split", "drawing"}
        assert line["key_id"] == str(number)
        assert line["word"] in ("cat", "dog")
        values = [value for axes in line["drawing"] for axis in axes for value in axis]
        assert all(isinstance(value, int) for value in values)
        assert min(values) == 0


def test_sketchrnn_archive_is_readable_by_the_original_tools(tmp_path: Path) -> None:
    """They load object arrays of int16 rows with the encoding Latin-1; the last row has pen 1."""
    corpus = random_corpus([4, 1, 7])
    WRITERS["sketchrnn"](corpus, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=True, encoding="latin1") as archive:
        for split in SPLITS:
            first, last = corpus.splits[split]
            for i, rows in zip(range(first, last), archive[split], strict=True):
                motion, event = corpus[i][:2]
                np.testing.assert_array_equal(rows[:, :2], motion)
                np.testing.assert_array_equal(rows[:, 2], event > 0)
                assert (rows.dtype, rows[-1, 2]) == (np.int16, 1)
