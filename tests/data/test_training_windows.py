"""Tests of windows: coverage of all steps, carried-over lanes, first rows, resumption and errors."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Augment, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.training_windows import Windows
from mdnrnn.errors import InputError
from mdnrnn.pen_events import START
from tests.helpers import make_controls, make_touches, random_corpus

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def make_windows(corpus: Corpus, window: int, size: int, carry: bool = True) -> Windows:
    return Windows(Batches(corpus, "train", Normalizer.from_corpus(corpus), size), window, carry)


def step_keys(batch: Batch) -> list[tuple[int, bytes, bytes]]:
    """Return sequence, motion and previous motion of every step, to identify it."""
    sequences = batch.indices[batch.sequence_of_row()].tolist()
    return [
        (sequence, target.numpy().tobytes(), previous.numpy().tobytes())
        for sequence, target, previous in zip(sequences, batch.target.motion, batch.previous.motion, strict=True)
    ]


@given(lengths=LENGTHS, window=st.integers(2, 12), size=st.integers(1, 5), carry=st.booleans(), epoch=st.integers(0, 3))
@settings(max_examples=30)
def test_epoch_holds_every_step_once_with_its_previous_step(
    lengths: list[int], window: int, size: int, carry: bool, epoch: int
) -> None:
    windows = make_windows(random_corpus(lengths), window, size, carry)
    complete = windows.batches.batch(np.arange(len(lengths)))
    batches = list(windows.epoch(epoch))
    assert sorted(key for batch in batches for key in step_keys(batch)) == sorted(step_keys(complete))
    assert all(batch.steps <= window and batch.size <= size for batch in batches)
    starts = sum(int((batch.previous.event == START).sum()) for batch in batches)
    assert starts == len(lengths)


@pytest.mark.parametrize("carry", [False, True])
def test_first_row_without_a_time_is_0_as_the_previous_step_too(carry: bool) -> None:
    """Windows that begin with row 1 of a sequence have its first row, whose time is undefined, as the previous step."""
    windows = make_windows(make_touches(), 2, 8, carry)
    expected = step_keys(windows.batches.batch(np.arange(40)))
    batches = [batch for epoch in range(4) for batch in windows.epoch(epoch)]
    assert all(batch.previous.motion.isfinite().all() for batch in batches)
    assert sorted(key for batch in batches for key in step_keys(batch)) == sorted(4 * expected)


@given(lengths=LENGTHS, window=st.integers(2, 12), size=st.integers(1, 5))
@settings(max_examples=30)
def test_continued_windows_follow_a_longest_window_in_the_same_row(lengths: list[int], window: int, size: int) -> None:
    """The state after a batch is the state after its longest windows, so that only these can be continued."""
    batches = list(make_windows(random_corpus(lengths), window, size).epoch(0))
    assert batches[0].continues is not None
    assert not batches[0].continues.any()
    for before, after in pairwise(batches):
        assert after.continues is not None
        assert after.size <= before.size
        for row in torch.nonzero(after.continues).flatten().tolist():
            assert after.indices[row] == before.indices[row]
            assert before.lengths[row] == before.steps
            first = int(after.lengths[:row].sum())
            last = int(before.lengths[: row + 1].sum()) - 1
            assert torch.equal(after.previous.motion[first], before.target.motion[last])


def test_only_the_first_row_of_a_sequence_has_a_certain_time() -> None:
    corpus = make_controls((40,))
    (batch,) = [batch for batch in make_windows(corpus, 25, 8, carry=False).epoch(0) if batch.size in (2, 3)]
    assert batch.bin_width is not None
    is_certain = batch.bin_width[:, 0] > 0
    assert torch.equal(is_certain, batch.previous.event == START)
    assert is_certain.sum() == 1


def test_epoch_resumes_at_any_batch() -> None:
    windows = make_windows(random_corpus([30, 41, 9]), 7, 3)
    complete, resumed = list(windows.epoch(2)), list(windows.epoch(2, 3))
    assert len(resumed) == len(complete) - 3
    for expected, actual in zip(complete[3:], resumed, strict=True):
        assert step_keys(expected) == step_keys(actual)


def test_window_of_one_step_raises() -> None:
    with pytest.raises(InputError, match="window: received 1 steps, expected 2 or more"):
        make_windows(random_corpus([9]), 1, 2)


def test_dropping_points_from_windows_raises() -> None:
    corpus = random_corpus([9])
    batches = Batches(corpus, "train", Normalizer.from_corpus(corpus), augment=Augment(drop=0.1))
    with pytest.raises(InputError, match=r"augment\.drop: received 0\.1, expected 0 with windows"):
        Windows(batches, 4, carry=True)
