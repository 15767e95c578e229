"""Tests of the InkML writer: every corpus is read back, and files that cannot be read back are not written."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import inkml, inkml_writer
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Start, from_polylines
from mdnrnn.errors import InputError
from tests.data.formats.fuzzing import EXAMPLES
from tests.helpers import random_corpus


def assert_read_back(corpus: Corpus, drawings: DrawingBatch) -> None:
    """Check strokes, to nine digits, and classes."""
    assert len(drawings) == len(corpus)
    for i in range(len(corpus)):
        written, read = corpus.drawing(i), drawings.polylines(i)
        assert [len(stroke) for stroke in read] == [len(stroke) for stroke in written]
        scale = max(float(np.abs(stroke).max()) for stroke in written)
        for stroke, other in zip(written, read, strict=True):
            np.testing.assert_allclose(other, stroke, rtol=1e-8, atol=1e-8 * scale)
        label = None if corpus.label is None else corpus.metadata.classes[int(corpus.label[i])]
        assert drawings.records[i].label == label


def test_integer_corpus_is_read_back_exactly(tmp_path: Path) -> None:
    corpus = random_corpus([1, 2, 30], classes=('a <b> & "c"', " two\r\nlines "))
    inkml_writer.write(corpus, tmp_path / "x.inkml")
    drawings = inkml.FORMAT.parse(tmp_path / "x.inkml")
    assert_read_back(corpus, drawings)
    for i in range(len(corpus)):
        assert all(np.array_equal(a, b) for a, b in zip(corpus.drawing(i), drawings.polylines(i), strict=True))
    assert inkml.FORMAT.recognizes(tmp_path / "x.inkml", (tmp_path / "x.inkml").read_bytes()[:4096])


coordinates = st.floats(-1e6, 1e6, width=32)
strokes = st.lists(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=6), min_size=1, max_size=4)
printable = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=32)
class_names = st.text(printable | st.sampled_from("\t\n\r"), min_size=1, max_size=8)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(strokes, min_size=1, max_size=3), st.sampled_from(["down", "up"]), class_names)
def test_real_corpus_is_read_back(drawings: list[list[list[tuple[float, float]]]], start: Start, name: str) -> None:
    sequences = []
    for drawing in drawings:
        motion, event = from_polylines([np.array(stroke) for stroke in drawing], start)
        sequences.append(Sequence(motion.astype(np.float32), event, 0))
    corpus = pack(Metadata(name="x", start=start, classes=(name,)), {"train": sequences})
    with tempfile.TemporaryDirectory() as folder:
        inkml_writer.write(corpus, Path(folder) / "x.inkml")
        assert_read_back(corpus, inkml.FORMAT.parse(Path(folder) / "x.inkml"))


def test_splits_are_read_back(tmp_path: Path) -> None:
    sequences = [random_corpus([length])[0] for length in (1, 2, 3)]
    corpus = pack(Metadata(name="x"), {"train": sequences[:1], "test": sequences[1:2], "mine": sequences[2:]})
    inkml_writer.write(corpus, tmp_path / "x.inkml")
    records = inkml.FORMAT.parse(tmp_path / "x.inkml").records
    assert [record.split for record in records] == ["train", "test", None]


def test_texts_are_read_back(tmp_path: Path) -> None:
    text = "  Mr. <Gaitskell> & \"co\"\n'é' "
    corpus = pack(Metadata(name="x"), {"train": [random_corpus([5])[0]._replace(text=text)]})
    inkml_writer.write(corpus, tmp_path / "x.inkml")
    assert inkml.FORMAT.parse(tmp_path / "x.inkml").records[0].text == text


@pytest.mark.parametrize(("limit", "value"), [("MAX_BYTES", 2 << 10), ("MAX_MARKS", 60)])
def test_file_beyond_the_limits_of_the_reader_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(inkml_writer, limit, value)
    inkml_writer.write(random_corpus([3]), tmp_path / "small.inkml")
    with pytest.raises(InputError, match="the maximum that can be imported; use --format ndjson"):
        inkml_writer.write(random_corpus([30] * 30), tmp_path / "x.inkml")
    assert [path.name for path in tmp_path.iterdir()] == ["small.inkml"]


def test_corpus_with_times_is_refused(tmp_path: Path) -> None:
    touch = Sequence(np.array([[0.5, 0.5, 0.25]], np.float32), np.array([2], np.uint8))
    metadata = Metadata(name="touches", start="up", features=("dx", "dy", "dt"))
    with pytest.raises(InputError, match="touches"):
        inkml_writer.write(pack(metadata, {"train": [touch]}), tmp_path / "x.inkml")
    assert not list(tmp_path.iterdir())


def test_numbers_are_written_without_exponents(tmp_path: Path) -> None:
    motion = np.array([[2.0**-16, -3e8], [0, 0.5]], np.float32)
    corpus = pack(Metadata(name="x"), {"train": [Sequence(motion, np.array([0, 2], np.uint8))]})
    inkml_writer.write(corpus, tmp_path / "x.inkml")
    small = "0.0000152587890625"
    traces = [line for line in (tmp_path / "x.inkml").read_text().splitlines() if "<trace>" in line]
    assert traces == [f"<trace>0 0, {small} -300000000, {small} -299999999.5</trace>"]


@pytest.mark.parametrize("name", ["a\0b", "\x1b", "\ud800", "\uffff"])
def test_class_with_invalid_character_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"the label of sequence 0 contains .* which XML cannot represent"):
        inkml_writer.write(random_corpus([3], classes=(name,)), tmp_path / "x.inkml")
    assert list(tmp_path.iterdir()) == []
