"""Tests of the corpus builder: the corpus does not depend on the blocks and has the narrowest type."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.importing.builder import UNLABELED, Block, Builder, narrow_integers
from mdnrnn.data.metadata import SPLITS, Metadata
from mdnrnn.errors import InputError


def make_block(*sequences: tuple[Any, int, str | None, str | None]) -> Block:
    """Return a block of sequences of motion (T, D), split, label and text, each of which ends with END."""
    motions = [np.asarray(motion) for motion, *_ in sequences]
    lengths = np.array([len(motion) for motion in motions])
    event = np.zeros(lengths.sum(), np.uint8)
    event[np.cumsum(lengths) - 1] = 2
    return Block(
        motion=np.concatenate(motions),
        event=event,
        lengths=lengths,
        split=np.array([split for _, split, *_ in sequences]),
        labels=[label for *_, label, _ in sequences],
        texts=[text for *_, text in sequences],
    )


def build_corpus(folder: Path, *blocks: Block, labeled: bool = False) -> Corpus:
    folder.mkdir(parents=True)
    builder = Builder(folder)
    for block in blocks:
        builder.add(block)
    builder.finish(Metadata(name="x"), labeled=labeled)
    return native.read(folder)


numbers = st.sampled_from([0.0, 1.0, -7.0, 2.0**15, -(2.0**20), 0.5])
motions = st.integers(1, 5).flatmap(lambda n: st.lists(st.tuples(numbers, numbers), min_size=n, max_size=n))
names = st.sampled_from([None, "a", "b", "仂\n"])
sequence_tuples = st.tuples(motions, st.integers(0, 2), names, names)


@settings(deadline=None, max_examples=25)
@given(sequences=st.lists(sequence_tuples, min_size=1, max_size=8), data=st.data())
def test_corpus_does_not_depend_on_the_blocks(
    sequences: list[Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One block and several blocks give the same fingerprint, and sequences keep their order within each split."""
    folder = tmp_path_factory.mktemp("x")
    ends = sorted(data.draw(st.sets(st.integers(1, len(sequences)))) | {len(sequences)})
    parts = [sequences[first:last] for first, last in zip([0, *ends], ends, strict=False)]
    blocks = [make_block(*part) for part in parts]
    blocks = [Block(narrow_integers(b.motion), b.event, b.lengths, b.split, b.labels, b.texts) for b in blocks]
    corpus = build_corpus(folder / "one", make_block(*sequences), labeled=True)
    assert build_corpus(folder / "several", *blocks, labeled=True).fingerprint == corpus.fingerprint
    for number, split in enumerate(SPLITS):
        expected = [sequence for sequence in sequences if sequence[1] == number]
        first, last = corpus.splits[split]
        assert last - first == len(expected)
        for index, (motion, _, label, text) in zip(range(first, last), expected, strict=True):
            sequence = corpus[index]
            np.testing.assert_array_equal(sequence.motion, motion)
            assert sequence.text == ((text or "") if corpus.text is not None else None)
            assert corpus.metadata.classes[sequence.label or 0] == (label or UNLABELED)


EXTREMES: dict[str, tuple[list[float], Any]] = {
    "no values": ([], np.int16),
    "integers": ([1.0, -3.0], np.int16),
    "largest of int16": ([2.0**15 - 1, -(2.0**15) + 1], np.int16),
    "beyond int16": ([2.0**15], np.int32),
    "largest of int32": ([2.0**31 - 1], np.int32),
    "smallest of int32": ([-(2.0**31)], np.int32),
    "beyond int32": ([2.0**31], np.float64),
    "fraction": ([0.5], np.float64),
    "NaN": ([np.nan], np.float64),
    "infinity": ([np.inf], np.float64),
}


@pytest.mark.parametrize(("values", "dtype"), EXTREMES.values(), ids=EXTREMES)
def test_narrow_integers_keeps_the_values(values: list[float], dtype: Any) -> None:
    result = narrow_integers(np.array(values, np.float64))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.array(values))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([1.0, 2.0], np.int16), ([1.0, 40_000.0], np.int32), ([1.0, 0.5], np.float32)],
    ids=["int16", "int32", "float32"],
)
def test_corpus_has_the_narrowest_type_for_all_sequences(tmp_path: Path, values: list[float], dtype: Any) -> None:
    blocks = [make_block(([[value, 0]], 0, None, None)) for value in values]
    corpus = build_corpus(tmp_path / "x", *blocks)
    assert corpus.motion.dtype == dtype
    np.testing.assert_array_equal(corpus.motion[:, 0], values)


def test_only_arrays_and_header_remain(tmp_path: Path) -> None:
    build_corpus(tmp_path / "plain", make_block(([[1, 2]], 0, "a", None)))
    assert {path.name for path in (tmp_path / "plain").iterdir()} == {
        "header.json", "motion.npy", "event.npy", "offsets.npy",
    }  # fmt: skip
    build_corpus(tmp_path / "full", make_block(([[1, 2]], 0, "a", "b")), labeled=True)
    assert {path.stem for path in (tmp_path / "full").iterdir()} == {
        "header", "motion", "event", "offsets", "label", "text", "text_offsets",
    }  # fmt: skip


def test_block_with_another_number_of_features_is_refused(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    builder.add(make_block(([[1, 2]], 0, None, None)))
    with pytest.raises(
        InputError, match="received a sequence with 3 features after sequences with 2; import them separately"
    ):
        builder.add(make_block(([[1, 2, 3]], 0, None, None)))
    builder.close()
    assert not list(tmp_path.iterdir())


def test_number_of_classes_is_limited(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    count = 1 << 16
    full = Block(
        motion=np.ones((count, 2)),
        event=np.full(count, 2),
        lengths=np.ones(count, int),
        split=np.zeros(count, int),
        labels=list(map(str, range(count))),
        texts=[None] * count,
    )
    builder.add(full)
    message = "over 65536 different labels, the last one 'one more'; import with --labels none"
    with pytest.raises(InputError, match=message):
        builder.add(make_block(([[1, 2]], 0, "one more", None)))
    builder.close()
