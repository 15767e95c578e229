"""Corpora: what goes in comes out, from memory maps, without pickle."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.catalog import CATALOG, open_corpus
from mdnrnn.data.corpus import Corpus, Metadata
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.synthetic.corpora import make_doodles
from mdnrnn.data.synthetic.doodles import CLASSES
from mdnrnn.errors import InputError
from tests.helpers import random_corpus


@pytest.mark.parametrize("name", ["corpus.npz", "corpus"])
def test_a_corpus_is_the_same_when_opened_again(tmp_path: Path, name: str) -> None:
    corpus = random_corpus([3, 1, 7], classes=("a", "b"), inputs=2)
    native.write(corpus, tmp_path / name)
    again = pipeline.read(tmp_path / name)
    assert again.fingerprint == corpus.fingerprint
    assert again.metadata == corpus.metadata
    assert isinstance(again.motion, np.memmap)
    assert again.motion.dtype == np.int16
    np.testing.assert_array_equal(again[1].inputs, corpus[1].inputs)
    assert [again[i].label for i in range(9)] == [corpus[i].label for i in range(9)]


def test_opening_reads_no_rows(tmp_path: Path) -> None:
    """The file's motions are made NaN-like garbage after writing: opening does not notice, checking does."""
    corpus = random_corpus([50])
    native.write(corpus, tmp_path / "c")
    np.save(tmp_path / "c" / "event.npy", np.full(150, 9, np.uint8))
    opened = pipeline.read(tmp_path / "c")
    with pytest.raises(InputError, match=r"sequence 0 has motion .* and event 9 in row 0"):
        opened.check()


def test_nothing_may_follow_end_but_end_may_be_missing() -> None:
    corpus = random_corpus([4, 5])
    event = corpus.event.copy()
    event[corpus.offsets[1:] - 1] = 0  # all cut short
    replace(corpus, event=event).check()
    event[5] = 2
    with pytest.raises(InputError, match="sequence 1 goes on after END"):
        replace(corpus, event=event).check()


def test_points_off_the_grid_are_told() -> None:
    motion = np.array([[1.0, 2.0], [0.5, 1.0]])
    corpus = Corpus(Metadata(name="x", bin_width=1.0), motion, np.array([0, 2]), np.array([0, 2]), {"train": (0, 1)})
    with pytest.raises(InputError, match=r"\[0.5 1. \] and event 2 in row 1; expected finite numbers on a grid of 1 "):
        corpus.check()
    replace(corpus, metadata=Metadata(name="x", bin_width=0.5)).check()


def test_the_same_corpus_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        native.write(random_corpus([4, 5]), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_no_array_of_objects_is_opened(tmp_path: Path) -> None:
    native.write(random_corpus([4]), tmp_path / "c")
    np.save(tmp_path / "c" / "motion.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"motion.npy: not a whole array"):
        pipeline.read(tmp_path / "c")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda h: h.update(format="other"), "format is 'other'"),
        (lambda h: h.pop("splits"), "header is damaged"),
        (lambda h: h["splits"].update(train=[0, 99]), "splits .* beyond its 3 sequences"),
        (lambda h: h["facts"].update(quantum=-1), "bin_width is -1"),
        (lambda h: h["facts"].update(start="sideways"), "start is 'sideways'"),
    ],
)
def test_a_damaged_header_is_told(tmp_path: Path, change: object, complaint: str) -> None:
    native.write(random_corpus([4]), tmp_path / "c")
    path = tmp_path / "c" / "header.json"
    header = json.loads(path.read_text())
    change(header)  # type: ignore[operator]
    path.write_text(json.dumps(header))
    with pytest.raises(InputError, match=complaint):
        pipeline.read(tmp_path / "c")


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.99])
def test_a_truncated_file_is_told(tmp_path: Path, keep: float) -> None:
    native.write(random_corpus([40] * 10), tmp_path / "c.npz")
    data = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match="cut short"):
        pipeline.read(tmp_path / "c.npz")


def test_normalizing_and_restoring_are_inverse() -> None:
    corpus = random_corpus([30, 20])
    normalizer = Normalizer.of(corpus)
    normalized = normalizer.normalize(corpus.motion)
    assert normalized.std() == pytest.approx(1, rel=0.05)
    np.testing.assert_allclose(normalizer.restore(normalized), corpus.motion, atol=1e-4)
    bin_width = normalizer.bin_widths(replace(corpus.metadata, bin_width=2.0))
    assert bin_width is not None
    np.testing.assert_allclose(bin_width, [2 / scale for scale in normalizer.scale], rtol=1e-6)


@pytest.mark.parametrize(
    ("motion", "event", "offsets", "complaint"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), [0, 3], "motion .3, 2. and event .2,."),
        (np.zeros((3, 2)), np.zeros(3, int), [0, 2], "offsets that do not run from 0 to 3"),
        (np.zeros(3), np.zeros(3, int), [0, 3], "expected .N, D."),
        (np.zeros((3, 2)), np.zeros(3), [0, 3], "arrays of kinds ffi"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    motion: np.ndarray, event: np.ndarray, offsets: list[int], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        Corpus(Metadata(name="x"), motion, event, np.array(offsets), {"train": (0, 1)})


def test_the_bundled_doodles_are_those_that_the_generator_makes(tmp_path: Path) -> None:
    """Bit for bit: the whole corpus is made again from its seed."""
    native.write(make_doodles(), tmp_path / "doodles.npz")
    assert (tmp_path / "doodles.npz").read_bytes() == CATALOG["doodles"].path.read_bytes()


def test_the_bundled_doodles_are_as_promised() -> None:
    corpus = open_corpus("doodles")
    corpus.check()
    assert corpus.label is not None
    assert len(CLASSES) >= 10
    assert (np.bincount(corpus.label) == 500).all()
    assert CATALOG["doodles"].path.stat().st_size <= 2_000_000
    distinct = {corpus[i].motion.tobytes() + corpus[i].event.tobytes() for i in range(len(corpus))}
    assert len(distinct) == len(corpus)
