"""Tests of reading ranges of rows: from memory and from large mapped files."""

import gc
import mmap
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data import memmap
from mdnrnn.data.batches import Batches
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.formats import native
from mdnrnn.data.memmap import find_large_mapping, read_row_ranges
from mdnrnn.data.normalizer import Normalizer
from tests.helpers import random_corpus

FIRSTS, LENGTHS = np.array([7, 0, 300, 7]), np.array([3, 1, 40, 5])


@pytest.mark.skipif(not hasattr(os, "pread"), reason="without os.pread no mapping is read range by range")
@pytest.mark.parametrize("ending", ["", ".npz"], ids=["folder", "npz"])
def test_ranges_of_a_mapped_file_equal_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """The arrays, and views of them, begin at different offsets of their files."""
    monkeypatch.setattr(memmap, "LARGE_FILE_BYTES", 0)
    corpus = random_corpus([50] * 400)
    native.write(corpus, tmp_path / f"corpus{ending}")
    mapped_corpus = native.read(tmp_path / f"corpus{ending}")
    test_split = mapped_corpus.select_split("test")
    for mapped, array in (
        (mapped_corpus.motion, corpus.motion),
        (mapped_corpus.event, corpus.event),
        (test_split.motion, corpus.motion[40000:]),
    ):
        assert find_large_mapping(mapped) is not None
        expected = np.concatenate([array[first : first + n] for first, n in zip(FIRSTS, LENGTHS, strict=True)])
        np.testing.assert_array_equal(read_row_ranges(mapped, FIRSTS, LENGTHS), expected)
        np.testing.assert_array_equal(read_row_ranges(array, FIRSTS, LENGTHS), expected)


def test_only_large_files_have_a_large_mapping(tmp_path: Path) -> None:
    native.write(random_corpus([50]), tmp_path / "corpus")
    corpus = native.read(tmp_path / "corpus")
    assert isinstance(getattr(corpus.motion, "_mmap", None), mmap.mmap)
    assert find_large_mapping(corpus.motion) is None
    assert find_large_mapping(np.zeros(3)) is None
    assert find_large_mapping(None) is None


def test_corpus_read_from_a_large_file_of_another_format_outlives_its_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training reads ranges of rows of the corpus and of its views. The files are closed with the last view."""
    monkeypatch.setattr(memmap, "LARGE_FILE_BYTES", 0)
    lines = [f'{{"drawing": [[[0, {i}, 9], [1, 5, {i}]]]}}' for i in range(1, 41)]
    (tmp_path / "a.ndjson").write_text("\n".join(lines))
    corpus = open_corpus(str(tmp_path / "a.ndjson"))
    expected = np.array(corpus.motion)
    view = corpus.select_split("train").motion
    np.testing.assert_array_equal(read_row_ranges(view, np.array([3]), np.array([5])), expected[3:8])
    batches = list(Batches(corpus, "train", Normalizer.from_corpus(corpus), 4))
    assert sum(batch.size for batch in batches) == len(corpus.indices("train"))
    copy = pickle.loads(pickle.dumps(corpus))  # noqa: S301  as for a worker process
    np.testing.assert_array_equal(read_row_ranges(copy.motion, FIRSTS[:2], LENGTHS[:2]), expected[[7, 8, 9, 0]])
    mapped = find_large_mapping(view)
    assert mapped is not None
    descriptor = memmap._descriptors[mapped]
    del corpus, view, batches, mapped
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
