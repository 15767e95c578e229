"""Raw motion to what networks see, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mdnrnn.data.corpus import Corpus, Metadata
from mdnrnn.errors import InputError

WIDE = 1e4
"""Width, normalized, of a bin_width that holds all there is: what falls into it is no news."""
_PLACES = ("dx", "dy")


@dataclass(frozen=True)
class Normalizer:
    """Raw motion to normalized and back, per feature: (raw - mean) / scale, or (log raw - mean) / scale.

    The time of a sequence's first row, which has no row before it, is no news: normalized it is 0, its bin_width is WIDE.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    logs: tuple[int, ...] = ()
    """The features whose logarithms are taken: times, which so stay above 0."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "scale", tuple(float(value) for value in self.scale))
        object.__setattr__(self, "logs", tuple(int(value) for value in self.logs))
        if len(self.mean) != len(self.scale) or not all(np.isfinite(s) and s > 0 for s in self.scale):
            raise InputError(f"a normalizer has scales {self.scale}; expected a positive number per feature")
        if not all(0 <= feature < len(self.mean) for feature in self.logs):
            raise InputError(f"a normalizer takes logs of features {self.logs}; expected some of {len(self.mean)}")

    @classmethod
    def of(cls, corpus: Corpus, split: str = "train") -> Normalizer:
        """As the features are named.

        dx and dy, or all where there are no names: no shift, and one scale, the standard deviation of all these offsets
        together (Ha and Eck). Logs of times, and whatever else: a mean of 0 and a deviation of 1 each. What lies on a
        grid is shifted by a point of that, so that normalized it lies on a grid through 0, too.
        """
        width = corpus.motion.shape[1]
        names = corpus.metadata.features or _PLACES[:1] * width
        mean, scale = np.zeros(width), np.ones(width)
        places = [i for i, name in enumerate(names) if name in _PLACES]
        if places:
            scale[places] = _moments(corpus, split, places)[1]
        grid = corpus.metadata.bin_widths(width)
        for i in set(range(width)) - set(places):
            mean[i], scale[i] = _moments(corpus, split, [i])
            scale[i] = np.hypot(scale[i], _posterior_scale(corpus, split, i))
            mean[i] = np.rint(mean[i] / grid[i]) * grid[i] if grid[i] else mean[i]
        return cls(tuple(mean), tuple(scale), corpus.metadata.time_features)

    def normalize(
        self, motion: np.ndarray, firsts: np.ndarray | int | None = None, dtype: type = np.float32
    ) -> np.ndarray:
        """Raw (..., D) to normalized; `firsts` are the rows that begin a sequence."""
        raw = np.array(motion, dtype=np.float64)
        if self.logs:
            logs = list(self.logs)
            if firsts is not None and len(raw):
                raw[np.atleast_1d(firsts)[:, None], logs] = np.exp(np.asarray(self.mean)[logs])
            raw[..., logs] = np.log(raw[..., logs])
        return ((raw - self.mean) / self.scale).astype(dtype)

    def restore(self, motion: np.ndarray) -> np.ndarray:
        """Normalized (..., D) to raw, float64."""
        raw = np.asarray(motion, dtype=np.float64) * self.scale + self.mean
        if self.logs:
            logs = list(self.logs)
            raw[..., logs] = np.exp(raw[..., logs])
        return raw

    def bin_widths(self, metadata: Metadata, first: bool = False) -> np.ndarray | None:
        """The widths (D,), normalized, of the bin_widths that a row's features lie in; 0: the feature is continuous, and its
        density counts. None where all are, in every row."""
        if metadata.bin_width is None and not self.logs:
            return None
        widths = metadata.bin_widths(len(self.scale)) / np.asarray(self.scale)
        if first:
            widths[list(self.logs)] = WIDE
        return widths.astype(np.float32)

    def log_volume(self, motion: np.ndarray, bin_widths: np.ndarray | None) -> np.ndarray:
        """What a log density of normalized motions (n, D), in bin_widths (n, D) or (D,), has over one in raw units, (n,)."""
        counts = np.ones(motion.shape, bool) if bin_widths is None else np.broadcast_to(bin_widths == 0, motion.shape)
        logs = np.log(self.scale) + np.zeros(motion.shape)
        for i in self.logs:
            logs[:, i] += motion[:, i].astype(np.float64) * self.scale[i] + self.mean[i]
        return np.asarray((logs * counts).sum(1))


def _moments(corpus: Corpus, split: str, features: list[int]) -> tuple[float, float]:
    """Mean and standard deviation of some features of a split together, or of the log of a time."""
    count, total = 0, 0.0
    for values in _values(corpus, split, features):
        count, total = count + values.size, total + float(values.sum(dtype=np.float64))
    if not count:
        return 0.0, 1.0
    mean = total / count
    squares = sum(float(np.square(values - mean).sum()) for values in _values(corpus, split, features))
    return mean, (squares / count) ** 0.5 or 1.0


def _posterior_scale(corpus: Corpus, split: str, feature: int) -> float:
    """Root mean square of the deviations of a feature's posteriors; 0 where it has none."""
    if corpus.logvar is None:
        return 0.0
    rows = corpus.rows(split)
    total = sum(float(np.exp(corpus.logvar[part, feature], dtype=np.float64).sum()) for part in corpus.pieces(rows))
    return (total / max(1, rows.stop - rows.start)) ** 0.5


def _values(corpus: Corpus, split: str, features: list[int]) -> Iterator[np.ndarray]:
    """Values (n, features) of a split in pieces; of a time its logs, without those of first rows."""
    timed = features[0] in corpus.metadata.time_features
    for rows in corpus.pieces(corpus.rows(split)):
        motion = np.asarray(corpus.motion[rows])
        values = motion if len(features) == motion.shape[1] else motion[:, features]
        yield np.log(values[~corpus.begins(rows)].astype(np.float64)) if timed else values
