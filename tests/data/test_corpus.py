"""Tests of corpora: arrays, checks, splits, storage and the bundled doodles."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.catalog import CATALOG, open_corpus
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.metadata import SPLITS, Metadata
from mdnrnn.data.synthetic.corpora import DOODLES_SEED, generate_doodle, make_doodles
from mdnrnn.data.synthetic.doodles import CLASSES
from mdnrnn.errors import InputError
from mdnrnn.pen_events import DOWN, END, UP
from tests.helpers import make_episodes, random_corpus

# Storage.


@pytest.mark.parametrize("name", ["corpus.npz", "corpus"])
def test_reading_inverts_writing(tmp_path: Path, name: str) -> None:
    corpus = random_corpus([3, 1, 7], classes=("a", "b"), inputs=2)
    native.write(corpus, tmp_path / name)
    stored = pipeline.read(tmp_path / name)
    assert stored.fingerprint == corpus.fingerprint
    assert stored.metadata == corpus.metadata
    assert isinstance(stored.motion, np.memmap)
    assert stored.motion.dtype == np.int16
    np.testing.assert_array_equal(stored[1].inputs, corpus[1].inputs)
    assert [stored[i].label for i in range(9)] == [corpus[i].label for i in range(9)]


def test_opening_does_not_read_rows(tmp_path: Path) -> None:
    """Invalid events in the file are found by `check`, not by opening."""
    corpus = random_corpus([50])
    native.write(corpus, tmp_path / "c")
    np.save(tmp_path / "c" / "event.npy", np.full(150, 9, np.uint8))
    opened = pipeline.read(tmp_path / "c")
    with pytest.raises(InputError, match=r"sequence 0 has motion .* and event 9 in row 0"):
        opened.check()


def test_equal_corpora_have_equal_files(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        native.write(random_corpus([4, 5]), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_arrays_of_objects_raise(tmp_path: Path) -> None:
    native.write(random_corpus([4]), tmp_path / "c")
    np.save(tmp_path / "c" / "motion.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"motion\.npy: not a \w+ array"):
        pipeline.read(tmp_path / "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format="other"), "format is 'other'"),
        (lambda h: h.pop("splits"), "header is damaged"),
        (lambda h: h["splits"].update(train=[0, 99]), "splits .* beyond its 3 sequences"),
        (lambda h: h["facts"].update(quantum=-1), "bin_width is -1"),
        (lambda h: h["facts"].update(start="sideways"), "start is 'sideways'"),
    ],
    ids=["format", "no-splits", "splits", "bin-width", "start"],
)
def test_damaged_header_raises(tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    native.write(random_corpus([4]), tmp_path / "c")
    path = tmp_path / "c" / "header.json"
    header = json.loads(path.read_text())
    change(header)
    path.write_text(json.dumps(header))
    with pytest.raises(InputError, match=message):
        pipeline.read(tmp_path / "c")


@pytest.mark.parametrize("header", [b"[" * 10**5, b"[" + b"[]," * 10**6 + b"[]]"], ids=["deep", "many lists"])
def test_header_of_too_many_lists_raises(tmp_path: Path, header: bytes) -> None:
    native.write(random_corpus([4]), tmp_path / "c")
    (tmp_path / "c" / "header.json").write_bytes(header)
    with pytest.raises(InputError, match="header is damaged"):
        pipeline.read(tmp_path / "c")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_in_place_of_a_corpus_or_its_files_raise(tmp_path: Path) -> None:
    """Reading a pipe would block."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is a pipe or a device"):
        pipeline.read(tmp_path / "pipe")
    for name in ("motion.npy", "label.npy", "header.json"):
        folder = tmp_path / name.partition(".")[0]
        native.write(random_corpus([4], classes=("a",)), folder)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(InputError):
            pipeline.read(folder)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_truncated_file_raises(tmp_path: Path, share: float) -> None:
    native.write(random_corpus([40] * 10), tmp_path / "c.npz")
    data = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="truncated"):
        pipeline.read(tmp_path / "c.npz")


# Checks of arrays and values.


@pytest.mark.parametrize(
    ("motion", "event", "offsets", "message"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), [0, 3], "motion .3, 2. and event .2,."),
        (np.zeros((3, 2)), np.zeros(3, int), [0, 2], "offsets that do not run from 0 to 3"),
        (np.zeros(3), np.zeros(3, int), [0, 3], "expected .N, D."),
        (np.zeros((3, 2)), np.zeros(3), [0, 3], "dtypes float64, float64, int64; expected .* integer events"),
    ],
    ids=["events", "offsets", "flat-motion", "float-events"],
)
def test_inconsistent_arrays_raise(motion: np.ndarray, event: np.ndarray, offsets: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Corpus(Metadata(name="x"), motion, event, np.array(offsets, np.int64), {"train": (0, 1)})


def test_inputs_of_another_length_raise() -> None:
    corpus = make_episodes()
    assert corpus.inputs is not None
    with pytest.raises(InputError, match=r"inputs \(83, 2\); expected \(84, A\)"):
        replace(corpus, inputs=corpus.inputs[:-1])


def test_log_variances_of_another_shape_raise() -> None:
    corpus = make_episodes(posteriors=True)
    assert corpus.logvar is not None
    with pytest.raises(InputError, match=r"logvar \(84, 2\); expected \(84, 3\)"):
        replace(corpus, logvar=corpus.logvar[:, :2])


@pytest.mark.parametrize(("field", "name"), [("inputs", "inputs"), ("logvar", "log variances")])
def test_inputs_and_log_variances_that_are_not_finite_raise(field: str, name: str) -> None:
    corpus = make_episodes(posteriors=True)
    array = np.array(getattr(corpus, field))
    array[10, 0] = np.nan
    changed: Any = {field: array}
    with pytest.raises(InputError, match=rf"episodes: sequence 1 has {name} .* in row 1; expected finite numbers"):
        replace(corpus, **changed).check()


def test_lifted_pen_in_a_world_raises() -> None:
    corpus = make_episodes()
    event = np.array(corpus.event)
    event[2] = UP
    with pytest.raises(InputError, match=r"sequence 0 has motion .* and event 1 in row 2"):
        replace(corpus, event=event).check()


def test_end_may_be_missing_but_nothing_may_follow_it() -> None:
    corpus = random_corpus([4, 5])
    event = corpus.event.copy()
    event[corpus.offsets[1:] - 1] = DOWN
    replace(corpus, event=event).check()
    event[5] = END
    with pytest.raises(InputError, match="sequence 1 has END before its last row"):
        replace(corpus, event=event).check()


def test_points_off_the_grid_raise() -> None:
    motion = np.array([[1.0, 2.0], [0.5, 1.0]])
    corpus = Corpus(Metadata(name="x", bin_width=1.0), motion, np.array([0, 2]), np.array([0, 2]), {"train": (0, 1)})
    with pytest.raises(InputError, match=r"\[0.5 1. \] and event 2 in row 1; expected finite numbers on a grid of 1 "):
        corpus.check()
    replace(corpus, metadata=Metadata(name="x", bin_width=0.5)).check()


# Corpora from arrays.

MOTIONS = [np.array([[i, -i], [2, 3], [4, 5]])[: 1 + i % 3] for i in range(40)]


def test_corpus_from_arrays_has_their_values() -> None:
    events = [np.arange(len(motion)) % 2 == 0 for motion in MOTIONS]
    labels = ["tree" if i % 4 else "cat" for i in range(40)]
    texts = [f"text {i}" for i in range(40)]
    corpus = Corpus.from_arrays(MOTIONS, events, labels, texts=texts, splits=["valid"] * 4 + ["train"] * 36)
    assert dict(corpus.splits) == {"train": (0, 36), "valid": (36, 40), "test": (40, 40)}
    assert corpus.metadata == Metadata(name="arrays", bin_width=1.0, classes=("cat", "tree"))
    for i, number in enumerate([*range(4, 40), *range(4)]):
        sequence = corpus[i]
        np.testing.assert_array_equal(sequence.motion, MOTIONS[number])
        assert sequence.event.tolist() == [*[UP, DOWN][: len(MOTIONS[number]) - 1], END]
        assert corpus.metadata.classes[sequence.label or 0] == labels[number]
        assert sequence.text == texts[number]


def test_padded_arrays_give_the_same_corpus() -> None:
    lengths = [len(motion) for motion in MOTIONS]
    padded = np.full((40, 4, 2), 99)
    events, inputs = np.full((40, 4), 7), np.full((40, 4, 1), np.nan)
    for i, motion in enumerate(MOTIONS):
        padded[i, : len(motion)], events[i, : len(motion)], inputs[i, : len(motion)] = motion, UP, i
    short = [row[:n] for row, n in zip(inputs, lengths, strict=True)]
    expected = Corpus.from_arrays(MOTIONS, [[UP] * n for n in lengths], inputs=short)
    assert Corpus.from_arrays(padded, events, lengths=lengths, inputs=inputs).fingerprint == expected.fingerprint
    assert Corpus.from_arrays(padded, lengths=lengths).fingerprint == Corpus.from_arrays(MOTIONS).fingerprint


def test_names_and_texts_that_look_the_same_are_the_same() -> None:
    """The second form of é is an e and a combining accent."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    corpus = Corpus.from_arrays([np.ones((2, 2))] * 3, labels=[composed, decomposed, "b"], texts=[decomposed] * 3)
    assert corpus.metadata.classes == ("b", composed)
    assert sorted(np.asarray(corpus.label).tolist()) == [0, 1, 1]
    assert corpus.metadata.class_index(decomposed) == 1
    assert corpus[0].text == composed
    assert corpus.alphabet == "acf\u00e9"


def test_classes_of_a_file_that_look_the_same_are_merged(tmp_path: Path) -> None:
    native.write(random_corpus([3] * 9, classes=("x", "y", "z")), tmp_path / "c")
    header = json.loads((tmp_path / "c" / native.HEADER).read_text())
    header["facts"]["classes"] = ["e\u0301", "b", "\u00e9"]
    (tmp_path / "c" / native.HEADER).write_text(json.dumps(header))
    labels = np.load(tmp_path / "c" / "label.npy")
    corpus = native.read(tmp_path / "c")
    assert corpus.metadata.classes == ("\u00e9", "b")
    assert np.asarray(corpus.label).tolist() == [label % 2 for label in labels.tolist()]


@pytest.mark.parametrize("field", ["label", "text", "inputs", "writer", "logvar"])
@pytest.mark.parametrize("order", [1, -1])
def test_field_of_some_sequences_only_is_refused(field: str, order: int) -> None:
    whole = Sequence(np.ones((2, 2)), np.array([DOWN, END]))
    values: dict[str, Any] = {
        "label": 0,
        "text": "a",
        "inputs": np.ones((2, 1)),
        "writer": 3,
        "logvar": np.ones((2, 2)),
    }
    sequences = [whole, whole._replace(**{field: values[field]})][::order]
    with pytest.raises(InputError, match=rf"received no {field} in sequence ., but one in .*expected a {field} in all"):
        pack(Metadata(name="x", classes=("a",)), {"train": sequences})


def test_corpus_from_arrays_divides_at_random_by_shares() -> None:
    first, again, other = (Corpus.from_arrays(MOTIONS, seed=seed) for seed in (0, 0, 1))
    assert dict(first.splits) == {"train": (0, 36), "valid": (36, 38), "test": (38, 40)}
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert sorted(first[i].motion.tobytes() for i in range(40)) == sorted(motion.tobytes() for motion in MOTIONS)
    assert all(first[i].event.tolist() == [DOWN] * (len(first[i].event) - 1) + [END] for i in range(40))


@pytest.mark.parametrize(
    ("count", "shares", "sizes"),
    [(40, (0.5, 0.25, 0.25), [20, 10, 10]), (4, (0.9, 0.05, 0.05), [2, 1, 1]), (4, (1, 0, 0), [4, 0, 0]),
     (2, (0.9, 0.05, 0.05), [2, 0, 0])],
    ids=["quarters", "at-least-one", "train-only", "too-few"],
)  # fmt: skip
def test_shares_determine_the_sizes_of_the_splits(count: int, shares: tuple[float, ...], sizes: list[int]) -> None:
    corpus = Corpus.from_arrays(MOTIONS[:count], splits=shares)
    assert [last - first for first, last in corpus.splits.values()] == sizes


def test_float_arrays_are_continuous_and_metadata_is_kept() -> None:
    motions = [motion / 3 for motion in MOTIONS]
    assert Corpus.from_arrays(motions).metadata.bin_width is None
    metadata = Metadata(name="mine", bin_width=1 / 3, units="mm", classes=("tree", "cat"))
    corpus = Corpus.from_arrays(motions, labels=["cat"] * 40, metadata=metadata)
    assert corpus.metadata == metadata
    assert corpus.label is not None
    assert (corpus.label == 1).all()


def test_worlds_and_streams_from_arrays_keep_their_events() -> None:
    rng = np.random.default_rng(0)
    motions, inputs = ([rng.normal(size=(5, width)) for _ in range(3)] for width in (2, 1))
    metadata = Metadata(name="world", features=("z1", "z2"))
    world = Corpus.from_arrays(motions, inputs=inputs, metadata=metadata)
    assert world.events == 0
    np.testing.assert_array_equal(world.inputs, np.concatenate([inputs[i] for i in _order(world, motions)]))
    ending = Corpus.from_arrays(motions, [[0, 0, 0, 0, 2]] * 3, metadata=metadata)
    assert ending.events == 2
    stream = Corpus.from_arrays(np.abs(motions), metadata=Metadata(name="stream", features=("dt", "x1")))
    assert not stream.event.any()


def _order(corpus: Corpus, motions: list[np.ndarray]) -> list[int]:
    stored = [motion.tobytes() for motion in motions]
    return [stored.index(corpus[i].motion.tobytes()) for i in range(len(corpus))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"motions": []}, "arrays contains no sequences; expected at least one"),
        ({"motions": [np.zeros(3)]}, r"motions\[0\]: received shape \(3,\), expected \(T, D\)"),
        ({"motions": [np.zeros((3, 2)), np.zeros((3, 3))]}, r"motions\[1\]: received .* expected \(T, 2\)"),
        ({"motions": [np.zeros((0, 2))]}, r"motions\[0\]: received shape \(0, 2\), expected \(T, D\) of size"),
        ({"motions": [np.array([["a", "b"]])]}, r"motions\[0\]: received dtype <U1, expected integers or floats"),
        ({"motions": [np.full((1, 2), np.nan)]}, "arrays: sequence 0 has motion .* expected finite numbers"),
        ({"events": [[0, 0, 0]]}, "events: received 1, expected 40, one per sequence"),
        ({"events": [[0]] * 40}, r"events\[1\]: received shape \(1,\), expected \(2,\): one event per row"),
        ({"events": [[3] * len(motion) for motion in MOTIONS]}, r"events\[0\]: received 3, expected DOWN .0., UP"),
        ({"events": [[0.5] * len(motion) for motion in MOTIONS]}, r"events\[0\]: received dtype float64, expected"),
        ({"labels": ["a"]}, "labels: received 1, expected 40, one per sequence"),
        ({"labels": ["b"] * 40, "metadata": Metadata(name="x", classes=("a",))}, "unknown label 'b'; expected"),
        ({"texts": ["a"] * 41}, "texts: received 41, expected 40, one per sequence"),
        ({"texts": [b"a"] * 40}, r"texts\[0\]: received b'a', expected a string"),
        ({"labels": [7] * 40}, r"labels\[0\]: received 7, expected a string"),
        ({"inputs": [np.zeros((9, 1))] * 40}, r"inputs\[0\]: received shape \(9, 1\), expected \(1, D\)"),
        ({"lengths": [1] * 39}, r"lengths: received int64 of shape \(39,\), expected 40 integers >= 1, one per"),
        ({"lengths": [2] * 40}, r"motions\[0\]: received shape \(1, 2\), expected 2 or more steps: lengths\[0\]"),
        ({"splits": (0.5, 0.5)}, r"splits: received \[0\.5, 0\.5\], expected shares of train"),
        ({"splits": (0.5, 0.5, 0.5)}, "with the sum 1"),
        ({"splits": (0.0, 0.5, 0.5)}, "with the sum 1"),
        ({"splits": ["train"]}, "splits: received 1, expected 40, one per sequence"),
        ({"splits": ["dev"] * 40}, "splits: received dev, expected train, valid, test"),
        ({"splits": ["train", 1.0, 2]}, "splits: received .*, expected shares"),
        ({"metadata": Metadata(name="x", features=("dx", "dy", "dt"))}, "corpus x has 2 features; expected dx, dy, dt"),
    ],
)  # fmt: skip
def test_invalid_arrays_raise(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Corpus.from_arrays(**{"motions": MOTIONS, **arguments})


# The bundled corpus.


def read_members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_bundled_doodles_equal_the_generated_ones(tmp_path: Path) -> None:
    """Every fortieth doodle of each class and split: a doodle depends only on the seed, its class, number and split."""
    corpus, classes = open_corpus("doodles"), len(CLASSES)
    for split in SPLITS:
        numbers = range(0, len(corpus.indices(split)) // classes, 40)
        for label, number in product(range(classes), numbers):
            generated = generate_doodle(label, number, split, DOODLES_SEED)
            stored = corpus[corpus.indices(split)[number * classes + label]]
            np.testing.assert_array_equal(stored.motion, generated.motion)
            np.testing.assert_array_equal(stored.event, generated.event)
            assert stored.label == label
    few = make_doodles(20)
    assert corpus.metadata == replace(few.metadata, source=few.metadata.source.replace("20", "500"))
    assert dict(corpus.splits) == {"train": (0, 5400), "valid": (5400, 5700), "test": (5700, 6000)}
    native.write(corpus, tmp_path / "doodles.npz")
    # Versions of Python differ in the headers of zip archives, not in the members.
    assert read_members(tmp_path / "doodles.npz") == read_members(CATALOG["doodles"].path)


@pytest.mark.slow
def test_bundled_doodles_are_reproduced_bit_for_bit(tmp_path: Path) -> None:
    native.write(make_doodles(), tmp_path / "doodles.npz")
    assert (tmp_path / "doodles.npz").read_bytes() == CATALOG["doodles"].path.read_bytes()


def test_bundled_doodles_are_valid_distinct_and_balanced() -> None:
    corpus = open_corpus("doodles")
    corpus.check()
    assert corpus.label is not None
    assert len(CLASSES) >= 10
    assert (np.bincount(corpus.label) == 500).all()
    assert CATALOG["doodles"].path.stat().st_size <= 2_000_000
    distinct = {corpus[i].motion.tobytes() + corpus[i].event.tobytes() for i in range(len(corpus))}
    assert len(distinct) == len(corpus)
