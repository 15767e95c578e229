"""A corpus that is built block by block is the one that is packed at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import SPLITS, Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.importing.builder import UNLABELED, Block, Builder, narrow_integers
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import InputError

FACTS = Metadata(name="x")


def block(*sequences: tuple[Any, int, str | None, str | None]) -> Block:
    """Sequences of motion (T, D), split, label and text, each with one END."""
    motions = [np.asarray(motion) for motion, *_ in sequences]
    lengths = np.array([len(motion) for motion in motions])
    event = np.zeros(lengths.sum(), np.uint8)
    event[np.cumsum(lengths) - 1] = 2
    return Block(
        np.concatenate(motions),
        event,
        lengths,
        np.array([split for _, split, *_ in sequences]),
        [label for *_, label, _ in sequences],
        [text for *_, text in sequences],
    )


def built(folder: Path, *blocks: Block, labeled: bool = False) -> Corpus:
    folder.mkdir(parents=True)
    builder = Builder(folder)
    for each in blocks:
        builder.add(each)
    builder.finish(FACTS, labeled=labeled)
    return native.read(folder)


numbers = st.sampled_from([0.0, 1.0, -7.0, 2.0**15, -(2.0**20), 0.5])
motion = st.integers(1, 5).flatmap(lambda n: st.lists(st.tuples(numbers, numbers), min_size=n, max_size=n))
names = st.sampled_from([None, "a", "b", "仂\n"])
sequence = st.tuples(motion, st.integers(0, 2), names, names)


@settings(derandomize=True, deadline=None)
@given(sequences=st.lists(sequence, min_size=1, max_size=8), data=st.data())
def test_the_blocks_do_not_matter(
    sequences: list[Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In one block or in several: the same bytes, and each sequence as it was given, split by split."""
    folder = tmp_path_factory.mktemp("x")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sequences)))) | {len(sequences)})
    parts = [sequences[first:last] for first, last in zip([0, *cuts], cuts, strict=False)]
    blocks = [block(*part) for part in parts]
    blocks = [Block(narrow_integers(b.motion), b.event, b.lengths, b.split, b.labels, b.texts) for b in blocks]
    one = built(folder / "one", block(*sequences), labeled=True)
    several = built(folder / "several", *blocks, labeled=True)
    assert several.fingerprint == one.fingerprint
    for place, split in enumerate(SPLITS):
        wanted = [each for each in sequences if each[1] == place]
        first, last = one.splits[split]
        assert last - first == len(wanted)
        for index, (steps, _, label, text) in zip(range(first, last), wanted, strict=True):
            found = one[index]
            np.testing.assert_array_equal(found.motion, steps)
            assert found.text == ((text or "") if one.text is not None else None)
            assert one.metadata.classes[found.label or 0] == (label or UNLABELED)


EXTREMES: dict[str, tuple[list[float], Any]] = {
    "nothing": ([], np.int16),
    "integers": ([1.0, -3.0], np.int16),
    "the largest of int16": ([2.0**15 - 1, -(2.0**15) + 1], np.int16),
    "beyond int16": ([2.0**15], np.int32),
    "the largest of int32": ([2.0**31 - 1], np.int32),
    "the least of int32": ([-(2.0**31)], np.int32),
    "beyond int32": ([2.0**31], np.float64),
    "a fraction": ([0.5], np.float64),
    "NaN": ([np.nan], np.float64),
    "infinity": ([np.inf], np.float64),
}


@pytest.mark.parametrize(("values", "dtype"), EXTREMES.values(), ids=EXTREMES.keys())
def test_the_smallest_type_holds_the_same_numbers(values: list[float], dtype: Any) -> None:
    found = narrow_integers(np.array(values, np.float64))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array(values))


@pytest.mark.parametrize(
    ("steps", "dtype"), [([1.0, 2.0], np.int16), ([1.0, 40_000.0], np.int32), ([1.0, 0.5], np.float32)]
)
def test_a_corpus_has_the_type_that_all_its_sequences_fit(tmp_path: Path, steps: list[float], dtype: Any) -> None:
    blocks = [block(([[step, 0]], 0, None, None)) for step in steps]
    corpus = built(tmp_path / "x", *blocks)
    assert corpus.motion.dtype == dtype
    np.testing.assert_array_equal(corpus.motion[:, 0], steps)


def test_only_the_arrays_and_the_header_are_left(tmp_path: Path) -> None:
    built(tmp_path / "plain", block(([[1, 2]], 0, "a", None)))
    assert {path.name for path in (tmp_path / "plain").iterdir()} == {
        "header.json", "motion.npy", "event.npy", "offsets.npy",
    }  # fmt: skip
    built(tmp_path / "rich", block(([[1, 2]], 0, "a", "b")), labeled=True)
    assert {path.stem for path in (tmp_path / "rich").iterdir()} == {
        "header", "motion", "event", "offsets", "label", "text", "text_offsets",
    }  # fmt: skip


def test_sequences_of_other_features_are_refused(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    builder.add(block(([[1, 2]], 0, None, None)))
    with pytest.raises(InputError, match="a sequence has 3 features, the previous ones 2; import them separately"):
        builder.add(block(([[1, 2, 3]], 0, None, None)))
    builder.close()
    assert not list(tmp_path.iterdir())


def test_labels_without_end_are_refused(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    count = 1 << 16
    fill = Block(
        np.ones((count, 2)),
        np.full(count, 2),
        np.ones(count, int),
        np.zeros(count, int),
        list(map(str, range(count))),
        [None] * count,
    )
    builder.add(fill)
    with pytest.raises(InputError, match="over 65536 different labels, the last one 'one more'; import with --labels none"):
        builder.add(block(([[1, 2]], 0, "one more", None)))
    builder.close()
