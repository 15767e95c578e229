"""Rows in runs: the same from memory and from a large mapped file, whatever part of it the array is."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data import memmap
from mdnrnn.data.formats import native
from mdnrnn.data.memmap import mapping_of, rows_in_runs
from tests.helpers import random_corpus

FIRSTS, LENGTHS = np.array([7, 0, 300, 7]), np.array([3, 1, 40, 5])


@pytest.mark.parametrize("ending", ["", ".npz"], ids=["folder", "npz"])
def test_runs_are_those_of_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Arrays begin anywhere in their files; parts of them too."""
    monkeypatch.setattr(memmap, "LARGE", 0)
    corpus = random_corpus([50] * 400)
    native.write(corpus, tmp_path / f"corpus{ending}")
    read = native.read(tmp_path / f"corpus{ending}")
    part = read.part("test")
    for mapped, array in (
        (read.motion, corpus.motion),
        (read.event, corpus.event),
        (part.motion, corpus.motion[40000:]),
    ):
        assert mapping_of(mapped) is not None
        expected = np.concatenate([array[first : first + n] for first, n in zip(FIRSTS, LENGTHS, strict=True)])
        np.testing.assert_array_equal(rows_in_runs(mapped, FIRSTS, LENGTHS), expected)
        np.testing.assert_array_equal(rows_in_runs(array, FIRSTS, LENGTHS), expected)


def test_only_large_files_are_read_run_by_run(tmp_path: Path) -> None:
    native.write(random_corpus([50]), tmp_path / "corpus")
    read = native.read(tmp_path / "corpus")
    assert isinstance(getattr(read.motion, "_mmap", None), mmap.mmap)
    assert mapping_of(read.motion) is None
    assert mapping_of(np.zeros(3)) is None
    assert mapping_of(None) is None
