"""Outliers: their sequence, row and feature, and the limit for training."""

from dataclasses import replace

import numpy as np
import pytest

from mdnrnn.data import corpus as corpus_module
from mdnrnn.data.outliers import Extreme, check_outliers, find_extremes
from mdnrnn.errors import InputError, InputWarning
from tests.helpers import make_touches, random_corpus


def test_extremes_are_the_largest_absolute_values_without_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are read in several blocks; -32768 has no absolute value in its type."""
    monkeypatch.setattr(corpus_module, "_BLOCK_ROWS", 7)
    corpus = random_corpus([5, 9, 4])
    corpus.motion[5 + 3, 1], corpus.motion[16, 0] = -32768, 400
    assert find_extremes(corpus) == [Extreme(400.0, 2, 2, 0), Extreme(-32768.0, 1, 3, 1)]
    touches = make_touches(4)
    assert [extreme.feature for extreme in find_extremes(touches)] == [0, 1]


@pytest.mark.parametrize("value", [1e12, -1e30, 1e200])
def test_outlier_is_refused_with_its_sequence(value: float) -> None:
    corpus = random_corpus([5, 9, 4], bin_width=None)
    motion = corpus.motion.astype(np.float64)
    check_outliers(replace(corpus, motion=motion))
    motion[5 + 8, 0] = value
    with pytest.raises(
        InputError, match=r"random: sequence 1 has the motion \S+ in row 8, but the median of the feature is \d"
    ):
        check_outliers(replace(corpus, motion=motion))


def test_large_motion_is_reported() -> None:
    corpus = random_corpus([5, 9, 4], bin_width=None)
    motion = corpus.motion.astype(np.float64)
    motion[5 + 8, 0] = 1e5 * np.median(np.abs(motion[motion[:, 0] != 0, 0]))
    with pytest.warns(InputWarning, match=r"random: sequence 1 has the motion \S+ in row 8"):
        check_outliers(replace(corpus, motion=motion))
