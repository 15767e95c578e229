"""Windows: every step of every sequence once an epoch, each after the step that it follows, lane by lane."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.windows import Windows
from mdnrnn.errors import InputError
from mdnrnn.events import START
from tests.helpers import controls, random_corpus

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def windows_of(corpus: Corpus, window: int, size: int, carry: bool = True) -> Windows:
    return Windows(Batches(corpus, "train", Normalizer.of(corpus), size), window, carry)


def rows(batch: Batch) -> list[tuple[int, bytes, bytes]]:
    """The sequence of every step, the step and the one before: what makes it known again."""
    sequences = batch.indices[batch.sequence_of_row()].tolist()
    return [
        (sequence, target.numpy().tobytes(), before.numpy().tobytes())
        for sequence, target, before in zip(sequences, batch.target.motion, batch.previous.motion, strict=True)
    ]


@given(lengths=LENGTHS, window=st.integers(2, 12), size=st.integers(1, 5), carry=st.booleans(), epoch=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_epoch_has_every_step_once_after_the_one_before_it(
    lengths: list[int], window: int, size: int, carry: bool, epoch: int
) -> None:
    corpus = random_corpus(lengths)
    data = windows_of(corpus, window, size, carry)
    whole = data.whole.batch(np.arange(len(lengths)))
    batches = list(data.epoch(epoch))
    assert sorted(row for batch in batches for row in rows(batch)) == sorted(rows(whole))
    assert all(batch.steps <= window and batch.size <= size for batch in batches)
    firsts = sum(int((batch.previous.event == START).sum()) for batch in batches)
    assert firsts == len(lengths)


@given(lengths=LENGTHS, window=st.integers(2, 12), size=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_what_goes_on_follows_the_row_of_the_batch_before(lengths: list[int], window: int, size: int) -> None:
    """And that row's window was one of the longest: a state after a batch is that of those."""
    batches = list(windows_of(random_corpus(lengths), window, size).epoch(0))
    assert batches[0].continues is not None
    assert not batches[0].continues.any()
    for one, other in pairwise(batches):
        assert other.continues is not None
        assert other.size <= one.size
        for row in torch.nonzero(other.continues).flatten().tolist():
            assert other.indices[row] == one.indices[row]
            assert one.lengths[row] == one.steps
            first = int(other.lengths[:row].sum())
            last = int(one.lengths[: row + 1].sum()) - 1
            assert torch.equal(other.previous.motion[first], one.target.motion[last])


def test_only_the_first_row_of_a_performance_has_a_time_that_is_no_news() -> None:
    corpus = controls((40,))
    (batch,) = [b for b in windows_of(corpus, 25, 8, carry=False).epoch(0) if b.size == 2 or b.size == 3]
    assert batch.bin_width is not None
    wide = batch.bin_width[:, 0] > 0
    assert torch.equal(wide, batch.previous.event == START)
    assert wide.sum() == 1


def test_an_epoch_goes_on_from_any_batch() -> None:
    data = windows_of(random_corpus([30, 41, 9]), 7, 3)
    whole, rest = list(data.epoch(2)), list(data.epoch(2, 3))
    assert len(rest) == len(whole) - 3
    for one, other in zip(whole[3:], rest, strict=True):
        assert rows(one) == rows(other)


def test_a_window_of_one_step_is_refused() -> None:
    with pytest.raises(InputError, match="a window of 1 steps was asked for; expected 2 or more"):
        windows_of(random_corpus([9]), 1, 2)
