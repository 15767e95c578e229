"""Normalization of motion: raw units to network inputs, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import InputError, quantity

CERTAIN_BIN_WIDTH = 1e4
"""Normalized bin width so large that the bin contains all probability mass: its log-probability is 0."""
_OFFSET_NAMES = ("dx", "dy")


@dataclass(frozen=True)
class Normalizer:
    """Affine map of each feature: normalized = (raw - mean) / scale, or (log raw - mean) / scale for times.

    The time since the preceding row is undefined in the first row of a sequence. In this row, the normalized time is 0
    and the bin width of the time is `CERTAIN_BIN_WIDTH`, so that the time contributes 0 to the log-probability.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    logs: tuple[int, ...] = ()
    """Indices of the time features, whose logarithm is normalized. Denormalized times are therefore positive."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "scale", tuple(float(value) for value in self.scale))
        object.__setattr__(self, "logs", tuple(int(value) for value in self.logs))
        if len(self.mean) != len(self.scale) or not all(np.isfinite(s) and s > 0 for s in self.scale):
            raise InputError(
                f"scale: received {self.scale}, expected {quantity(len(self.mean), 'positive numbers')}: one per "
                "feature"
            )
        if not all(0 <= feature < len(self.mean) for feature in self.logs):
            raise InputError(f"logs: received {self.logs}, expected indices of features from 0 to {len(self.mean) - 1}")

    @classmethod
    def from_corpus(cls, corpus: Corpus, split: str = "train") -> Normalizer:
        """Fit the mean and scale of each feature to one split.

        The mean of the offsets dx and dy is not fitted but set to 0. The scale of both is the standard deviation of all
        offsets (Ha and Eck 2018, "A Neural Representation of Sketch Drawings"). Features without names are treated as
        offsets.

        Each other feature has its own mean and scale: the mean and the standard deviation of its values. For a time
        feature, the logarithms of the values are used. If the corpus stores Gaussian posteriors, the scale includes the
        posterior variance: scale^2 = variance of the posterior means + mean of the posterior variances. The mean of a
        feature with bins is rounded to a multiple of the bin width, so that the normalized values are multiples of the
        normalized bin width.
        """
        count = corpus.motion.shape[1]
        names = corpus.metadata.features or _OFFSET_NAMES[:1] * count
        mean, scale = np.zeros(count), np.ones(count)
        offsets = [i for i, name in enumerate(names) if name in _OFFSET_NAMES]
        if offsets:
            scale[offsets] = _moments(corpus, split, offsets)[1]
        grid = corpus.metadata.bin_widths(count)
        for i in set(range(count)) - set(offsets):
            mean[i], scale[i] = _moments(corpus, split, [i])
            scale[i] = np.hypot(scale[i], _posterior_deviation(corpus, split, i))
            mean[i] = np.rint(mean[i] / grid[i]) * grid[i] if grid[i] else mean[i]
        return cls(tuple(mean), tuple(scale), corpus.metadata.time_features)

    def normalize(
        self, motion: np.ndarray, firsts: np.ndarray | int | None = None, dtype: type = np.float32
    ) -> np.ndarray:
        """Normalize raw motion (..., D).

        Args:
            motion: (..., D), raw units.
            firsts: positions of the rows that start a sequence. The normalized times of these rows are 0.
            dtype: type of the result.
        """
        raw = np.array(motion, dtype=np.float64)
        if self.logs:
            logs = list(self.logs)
            if firsts is not None and len(raw):
                raw[np.atleast_1d(firsts)[:, None], logs] = np.exp(np.asarray(self.mean)[logs])
            raw[..., logs] = np.log(raw[..., logs])
        return ((raw - self.mean) / self.scale).astype(dtype)

    def denormalize(self, motion: np.ndarray) -> np.ndarray:
        """Convert normalized motion (..., D) to raw units, float64."""
        raw = np.asarray(motion, dtype=np.float64) * self.scale + self.mean
        if self.logs:
            logs = list(self.logs)
            raw[..., logs] = np.exp(raw[..., logs])
        return raw

    def bin_widths(self, metadata: Metadata, first: bool = False) -> np.ndarray | None:
        """Return the normalized bin width of each feature, shape (D,), 0 for a continuous feature.

        Time features are continuous, except in the first row of a sequence, where their bin width is
        `CERTAIN_BIN_WIDTH`. Return None if no row of any feature has a bin: the corpus has neither a bin width nor time
        features.

        Args:
            metadata: metadata of the corpus.
            first: whether to return the bin widths of the first row of a sequence. In this row, time features have
                the bin width `CERTAIN_BIN_WIDTH`.
        """
        if metadata.bin_width is None and not self.logs:
            return None
        widths = metadata.bin_widths(len(self.scale)) / np.asarray(self.scale)
        if first:
            widths[list(self.logs)] = CERTAIN_BIN_WIDTH
        return widths.astype(np.float32)

    def log_abs_det_jacobian(self, motion: np.ndarray, bin_widths: np.ndarray | None) -> np.ndarray:
        """Return log |d raw / d normalized| of each row, summed over the continuous features, shape (n,).

        Subtract the result from a log-density of normalized motion to obtain the log-density in raw units.

        Args:
            motion: (n, D), normalized.
            bin_widths: (n, D) or (D,), 0 for continuous features; None: all features are continuous.
        """
        continuous = (
            np.ones(motion.shape, bool) if bin_widths is None else np.broadcast_to(bin_widths == 0, motion.shape)
        )
        logs = np.log(self.scale) + np.zeros(motion.shape)
        for i in self.logs:
            logs[:, i] += motion[:, i].astype(np.float64) * self.scale[i] + self.mean[i]
        return np.asarray((logs * continuous).sum(1))


def _moments(corpus: Corpus, split: str, features: list[int]) -> tuple[float, float]:
    """Return the mean and the standard deviation of the pooled values of several features.

    If `features` contains a single time feature, the logarithms of its values are used.
    """
    count, total = 0, 0.0
    for values in _values(corpus, split, features):
        count, total = count + values.size, total + float(values.sum(dtype=np.float64))
    if not count:
        return 0.0, 1.0
    mean = total / count
    squares = sum(float(np.square(values - mean).sum()) for values in _values(corpus, split, features))
    return mean, (squares / count) ** 0.5 or 1.0


def _posterior_deviation(corpus: Corpus, split: str, feature: int) -> float:
    """Return the root mean square of the posterior standard deviations of a feature; 0 without posteriors."""
    if corpus.logvar is None:
        return 0.0
    rows = corpus.rows(split)
    total = sum(
        float(np.exp(corpus.logvar[block, feature], dtype=np.float64).sum()) for block in corpus.row_blocks(rows)
    )
    return (total / max(1, rows.stop - rows.start)) ** 0.5


def _values(corpus: Corpus, split: str, features: list[int]) -> Iterator[np.ndarray]:
    """Yield the values of the features in a split, in blocks (n, F).

    For a time feature, yield the logarithms, without the first row of each sequence.
    """
    is_time = features[0] in corpus.metadata.time_features
    for rows in corpus.row_blocks(corpus.rows(split)):
        motion = np.asarray(corpus.motion[rows])
        values = motion if len(features) == motion.shape[1] else motion[:, features]
        yield np.log(values[~corpus.is_first_row(rows)].astype(np.float64)) if is_time else values
