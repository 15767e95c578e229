"""What is written and read again is the same: motions, events, and of classes, texts and splits what a format has."""

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
"""What is written, of each format."""
LABELS = {"corpus", "ndjson", "svg", "inkml"}
TEXTS = {"corpus", "ndjson", "svg", "inkml"}

whole = st.integers(-3000, 3000)
fractions = st.integers(-3_000_000, 3_000_000).map(lambda value: value / 1024)
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=32)
name_letters = st.characters(categories=["L", "N"], codec="utf-8")


def moves(stroke: list[tuple[float, float]]) -> bool:
    """One that stays in place over several points is the same as a dot, and read as one."""
    return len(stroke) == 1 or len(set(stroke)) > 1


def load_drawings(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    stroke = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5).filter(moves)
    return st.lists(st.lists(stroke, min_size=1, max_size=3), min_size=1, max_size=6)


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    """Drawings with the pen down, of integers or not, with or without classes and texts, in all splits or in some."""
    integers = draw(st.booleans())
    drawings = draw(load_drawings(whole if integers else fractions))
    classes = draw(st.lists(st.text(name_letters, min_size=1, max_size=5), unique=True, min_size=2, max_size=3))
    labeled, written = draw(st.booleans()), draw(st.booleans())
    by_split: dict[str, list[Sequence]] = {split: [] for split in SPLITS}
    for number, drawing in enumerate(drawings):
        motion, event = from_polylines([np.array(stroke, np.float64) for stroke in drawing])
        motion = motion.astype(np.int16 if integers else np.float32)
        label = number % len(classes) if labeled else None
        text = draw(st.text(letters | st.sampled_from("\t\n\r"), min_size=1, max_size=8)) if written else None
        split = draw(st.sampled_from(SPLITS))
        by_split[split].append(Sequence(motion, event, label, text=text))
    names = tuple(sorted(classes)) if labeled else ()
    return pack(Metadata(name="x", classes=names, bin_width=1 if integers else None), by_split)


def ordered(corpus: Corpus, first: int, last: int) -> list[Any]:
    """Sequences as they can be compared, in an order that only they decide."""
    found = []
    for i in range(first, last):
        motion, event, label, _, text, *_ = corpus[i]
        name = None if label is None else corpus.metadata.classes[label]
        found.append((np.asarray(motion, np.float32).tolist(), event.tolist(), name, text))
    return sorted(found, key=repr)


def filled(corpus: Corpus) -> list[str]:
    """The splits that have sequences; a single one is no folder of SVGs."""
    return [split for split, (first, last) in corpus.splits.items() if first < last]


def wanted(corpus: Corpus, form: str) -> Corpus:
    """Without what a format does not have."""
    metadata = corpus.metadata if form in LABELS else replace(corpus.metadata, classes=())
    label = corpus.label if form in LABELS else None
    if form not in TEXTS:
        corpus = replace(corpus, text=None, text_offsets=None)
    return replace(corpus, metadata=metadata, label=label)


def again(corpus: Corpus, form: str, folder: Path) -> Corpus:
    """Written, imported, opened. The classes of SVGs are their folders; one alone, by default, is none."""
    WRITERS[form](corpus, folder / NAMES[form])
    recipe = Recipe(labels="folder") if form == "svg" and corpus.label is not None else None
    pipeline.import_corpus([folder / NAMES[form]], folder / "again", recipe)
    return pipeline.read(folder / "again")


def test_every_writer_is_tried() -> None:
    assert set(NAMES) == set(WRITERS)


@pytest.mark.parametrize("form", sorted(set(WRITERS) - {"microjam"}))
@settings(deadline=None, max_examples=60)
@given(corpus=corpora())
def test_drawings_come_back_as_they_were(form: str, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> None:
    back, expected = again(corpus, form, tmp_path_factory.mktemp("x")), wanted(corpus, form)
    back.check()
    if form == "svg" and len(filled(corpus)) == 1:
        assert ordered(back, 0, len(back)) == ordered(expected, 0, len(corpus))
        return
    for split in SPLITS:
        assert ordered(back, *back.splits[split]) == ordered(expected, *corpus.splits[split])


places = st.integers(0, 1024).map(lambda number: number / 1024)  # on the grid that they are rounded to
steps = st.tuples(places, places, st.floats(2**-13, 5, width=32), st.booleans())


@settings(deadline=None, max_examples=60)
@given(performances=st.lists(st.lists(steps, min_size=1, max_size=6), min_size=1, max_size=4))
def test_touches_come_back_as_they_were(
    performances: list[list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """To the last digit but one: float32 offsets may sum up to a hair off the screen, and are put back on it."""
    sequences = []
    for performance in performances:
        rows = np.array([row[:3] for row in performance])
        rows[:, :2] = np.diff(rows[:, :2], axis=0, prepend=np.zeros((1, 2)))
        sequences.append(Sequence(rows.astype(np.float32), mark_end(np.array([row[3] for row in performance]))))
    corpus = pack(Metadata(name="x", start="up", features=("dx", "dy", "dt")), {"train": sequences})
    back = again(corpus, "microjam", tmp_path_factory.mktemp("x"))
    assert (back.metadata.start, back.metadata.features) == ("up", ("dx", "dy", "dt"))
    found = sorted(
        ([*event.tolist()], np.round(motion, 5).tolist())
        for motion, event, *_ in map(back.__getitem__, range(len(back)))
    )
    expected = sorted(([*s.event.tolist()], np.round(s.motion, 5).tolist()) for s in sequences)
    assert [event for event, _ in found] == [event for event, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


@pytest.mark.parametrize("form", ["svg", "inkml", "ndjson"])
def test_drawings_that_start_with_the_pen_up_look_the_same(form: str, tmp_path: Path) -> None:
    """Read with the pen down, they stand elsewhere: the first point is where the pen is."""
    corpus = random_corpus([4, 1, 9], seed=3)
    corpus = replace(corpus, metadata=replace(corpus.metadata, start="up"))
    back = again(corpus, form, tmp_path)
    places = [sorted(_placed(each, i) for i in range(len(each))) for each in (corpus, back)]
    assert places[0] == places[1]


def _placed(corpus: Corpus, index: int) -> list[list[list[float]]]:
    drawing = corpus.drawing(index)
    return [(stroke - drawing[0][0]).tolist() for stroke in drawing]


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_the_same_corpus_is_the_same_bytes(form: str, tmp_path: Path) -> None:
    corpus = make_touches() if form == "microjam" else random_corpus([4, 5], classes=("a", "b"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        WRITERS[form](corpus, tmp_path / name / NAMES[form])
    assert content(tmp_path / "one") == content(tmp_path / "two")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_touches() -> Corpus:
    """One performance."""
    motion, event = np.array([[0.5, 0.5, 0.25], [0.125, 0, 0.5]], np.float32), np.array([0, 2], np.uint8)
    metadata = Metadata(name="touches", start="up", features=("dx", "dy", "dt"))
    return pack(metadata, {"train": [Sequence(motion, event)]})


def stream() -> Corpus:
    rows = np.array([[0.5, 0.5, 0.25], [0.125, 0, 0.5]], np.float32)
    metadata = Metadata(name="controls", start="up", features=("dt", "x1", "x2"))
    return pack(metadata, {"train": [Sequence(rows, np.zeros(2, np.uint8))]})


REFUSED: dict[str, tuple[str, Callable[[], Corpus], str]] = {
    "touches as sketches": ("sketchrnn", make_touches, "not a corpus of drawings that start with the pen down"),
    "sketches as touches": ("microjam", lambda: random_corpus([3]), "not a corpus of touch performances"),
    "offsets beyond int16": (
        "sketchrnn", lambda: replace(random_corpus([3]), motion=np.full((9, 2), 40_000, np.int32)), "beyond 32767"
    ),
    "a stream as lines": ("ndjson", stream, "controls has steps of .dt, x1, x2.; expected drawings"),
    "a stream as SVG": ("svg", stream, "controls has steps of .dt, x1, x2.; expected drawings"),
    "a stream as InkML": ("inkml", stream, "controls has steps of .dt, x1, x2.; expected drawings"),
}  # fmt: skip


@pytest.mark.parametrize(("form", "make", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_format_cannot_hold_is_told_and_nothing_is_left(
    form: str, make: Callable[[], Corpus], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=complaint):
        WRITERS[form](make(), tmp_path / NAMES[form])
    assert not list(tmp_path.iterdir())


def test_lines_are_in_the_layout_of_quick_draw(tmp_path: Path) -> None:
    """Integers from 0 on, a word, and keys as strings."""
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


def test_the_archive_of_sketches_is_what_numpy_reads(tmp_path: Path) -> None:
    """As sketch-rnn's own tools load it: latin-1, object arrays of int16 rows whose last has the pen at 1."""
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
