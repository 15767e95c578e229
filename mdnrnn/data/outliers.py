"""Detection of outliers: motions so large that training fails, or that they overflow a trained model's arithmetic."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.errors import InputError, InputWarning

_MAX_RATIO = 1e7
"""Maximum ratio of a value to the median absolute value of its feature. With a larger ratio, a float32 sum of both
would lose the median."""
_USUAL_RATIO = 1e4
"""Ratio above which a warning is issued: the model is likely to learn little about the other values."""
_MEDIAN_ROWS = 1 << 16


class Extreme(NamedTuple):
    """Value with the largest absolute value of a motion feature in a corpus, and its position.

    `value`: the value, with its sign. `sequence`: index of the sequence. `row`: index of the row in the sequence.
    `feature`: index of the motion feature.
    """

    value: float
    sequence: int
    row: int
    feature: int


def find_extremes(corpus: Corpus) -> list[Extreme]:
    """Return the value with the largest absolute value of each motion feature except times, in raw units."""
    features = [i for i in range(corpus.motion.shape[1]) if i not in corpus.metadata.time_features]
    largest: dict[int, tuple[float, int]] = {}
    for rows in corpus.row_blocks(slice(0, len(corpus.motion))):
        block = np.asarray(corpus.motion[rows])
        for feature in features:
            column = block[:, feature]
            row = int(max(column.argmax(), column.argmin(), key=lambda each: abs(float(column[each]))))
            if feature not in largest or abs(float(column[row])) > abs(largest[feature][0]):
                largest[feature] = float(column[row]), rows.start + row
    extremes = []
    for feature, (value, row) in largest.items():
        sequence = int(np.searchsorted(corpus.offsets, row, side="right")) - 1
        extremes.append(Extreme(value, sequence, row - int(corpus.offsets[sequence]), feature))
    return extremes


def check_outliers(corpus: Corpus) -> None:
    """Raise `InputError` if a motion is more than 10^7 times as large as the median motion of its feature.

    Such a value determines the scale of the data, and all other values become indistinguishable from 0. The median is
    computed from the nonzero absolute values in the first 65,536 rows of the corpus. From 10^4 times the median, warn
    with `InputWarning`.
    """
    for extreme in find_extremes(corpus):
        first = np.abs(np.asarray(corpus.motion[:_MEDIAN_ROWS, extreme.feature], np.float64))
        median = float(np.median(first[first > 0])) if first.any() else 0.0
        ratio = abs(extreme.value) / median if median else 0
        if ratio > _USUAL_RATIO:
            message = (
                f"{corpus.metadata.name}: sequence {extreme.sequence} has the motion {extreme.value:g} in row "
                f"{extreme.row}, but the median of the feature is {median:g}; expected at most {_USUAL_RATIO:g} times "
                "the median; correct or remove this sequence"
            )
            if ratio > _MAX_RATIO:
                raise InputError(message)
            warnings.warn(message, InputWarning, stacklevel=2)
