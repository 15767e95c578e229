"""Sizes of the drawings of a corpus, and estimates of the scale of other drawings relative to this corpus.

The size of a drawing is described by five measures of length: the width, the height and the longer side of its bounding
box, the root mean square of its offsets after simplification, and its mean arc length per stroke. Each measure of
another drawing is divided by the geometric mean of this measure over the corpus. The logarithm of the scale is the
weighted mean of the logarithms of these five ratios. The weight of a measure is the inverse variance of its logarithm
over the corpus, so measures that vary little determine the scale: the longer side if all drawings fill a box; the
height if the drawings are lines of handwriting, whose width depends on their text.

All measures are proportional to the size of a drawing and almost independent of the number of its points. Without
simplification, offsets would depend on the number of points: resampling a drawing at a quarter of the spacing divides
its offsets by four.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.strokes import Drawing, simplify, to_polylines

MEASURES = 5
_MAX_STROKES = 6
"""Sizes are recorded for whole drawings, and for their first 1, 2, ..., `_MAX_STROKES` strokes."""
_DRAWINGS = 300
"""Number of drawings, chosen at random from the training split, from which sizes are computed."""
_TOLERANCE = 0.03
"""Tolerance of the simplification, relative to the longer side of the drawing."""
_MIN_DEVIATION, _MAX_DEVIATION = 0.05, 1e3
"""Minimum standard deviation of the logarithm of a measure; standard deviation for a measure that is 0 in all
drawings."""


@dataclass(frozen=True)
class DrawingSizes:
    """Means and standard deviations of the logarithms of five measures of length, in raw units.

    `means` and `deviations` each contain 7 rows of 5 numbers, end to end: one row for whole drawings, then one row each
    for the first 1, 2, ..., 6 strokes of the drawings. Both are empty if the sizes are unknown.
    """

    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "means", tuple(float(value) for value in self.means))
        object.__setattr__(self, "deviations", tuple(float(value) for value in self.deviations))

    @classmethod
    def from_corpus(cls, corpus: Corpus, split: str = "train") -> DrawingSizes:
        """Compute the sizes of the drawings of a split; return empty sizes if the corpus does not contain drawings."""
        if not corpus.metadata.is_drawing or corpus.motion.shape[1] < 2:
            return cls()
        indices = corpus.indices(split)
        chosen = np.random.default_rng(0).choice(len(indices), min(_DRAWINGS, len(indices)), replace=False)
        drawings = [_to_drawing(corpus, indices[i]) for i in sorted(chosen.tolist())]
        rows = [_moments(drawings, np.zeros((2, MEASURES)))]
        for strokes in range(1, _MAX_STROKES + 1):
            rows.append(_moments([each[:strokes] for each in drawings if len(each) >= strokes], rows[0]))
        means, deviations = np.stack(rows, axis=1)
        return cls(tuple(means.ravel()), tuple(deviations.ravel()))

    def __bool__(self) -> bool:
        return bool(self.means)

    def scales(self, corpus: Corpus, *, unfinished: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Estimate the scale of each drawing of a corpus relative to the training drawings.

        Args:
            corpus: drawings.
            unfinished: if true, a drawing of k <= 6 strokes is compared with the first k strokes of the training
                drawings. All other drawings are compared with whole training drawings.

        Returns:
            The scales (M,), and the standard deviations (M,) of their logarithms. The scale of a drawing is 1 if all
            its measures are 0. The standard deviation is that of the measure that varies least over the training
            drawings.
        """
        drawings = [_to_drawing(corpus, i) for i in range(len(corpus))]
        means, deviations = (np.reshape(values, (-1, MEASURES)) for values in (self.means, self.deviations))
        counts = np.array([len(drawing) for drawing in drawings])
        rows = np.where((counts <= _MAX_STROKES) & unfinished, counts, 0)
        measures = _measure(drawings)
        is_known = measures > 0
        weights = is_known / deviations[rows] ** 2
        total = weights.sum(1)
        logs = np.log(measures, out=np.zeros_like(measures), where=is_known)
        relative = (weights * (logs - means[rows])).sum(1) / np.where(total > 0, total, 1)
        # The measures are not independent, so 1 / sqrt(total) would be too small: use the least deviation of a measure.
        return np.exp(relative), np.where(is_known, deviations[rows], _MAX_DEVIATION).min(1)


def _to_drawing(corpus: Corpus, index: int) -> Drawing:
    motion, event = corpus[index][:2]
    return to_polylines(motion[:, :2], event, corpus.metadata.start)


def _moments(drawings: list[Drawing], default: np.ndarray) -> np.ndarray:
    """Return means and standard deviations (2, 5) of the logarithms of the measures of drawings.

    Return `default` if there are no drawings.
    """
    if not drawings:
        return default
    measures = _measure(drawings)
    moments = np.tile([[0.0], [_MAX_DEVIATION]], MEASURES)
    for measure in range(MEASURES):
        logs = np.log(measures[measures[:, measure] > 0, measure])
        if len(logs):
            moments[:, measure] = logs.mean(), max(float(logs.std()), _MIN_DEVIATION)
    return moments


def _measure(drawings: list[Drawing]) -> np.ndarray:
    """Return the measures (M, 5) of M >= 1 drawings; see the top of the module. A measure can be 0."""
    strokes = [stroke for drawing in drawings for stroke in drawing]
    points = np.concatenate(strokes)
    stroke_lengths = np.array([len(stroke) for stroke in strokes])
    stroke_counts = np.array([len(drawing) for drawing in drawings])
    first_strokes = np.cumsum(stroke_counts) - stroke_counts
    firsts = (np.cumsum(stroke_lengths) - stroke_lengths)[first_strokes]
    extents = np.maximum.reduceat(points, firsts) - np.minimum.reduceat(points, firsts)
    longer = extents.max(1)
    # In units of the longer side, one tolerance applies to all drawings.
    point_counts = np.diff(np.append(firsts, len(points)))
    unit = np.where(longer > 0, longer, 1).repeat(point_counts)[:, None]
    kept = simplify(points / unit, _TOLERANCE, stroke_lengths)
    segments = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T)
    segments[np.cumsum(stroke_lengths) - stroke_lengths] = 0
    arcs = np.add.reduceat(segments, firsts) / stroke_counts
    return np.column_stack([extents, longer, _root_mean_square_offsets(points, kept, firsts), arcs])


def _root_mean_square_offsets(points: np.ndarray, kept: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Return the root mean square (M,) of the offsets between consecutive kept points of each drawing.

    Args:
        points: points (P, 2) of M drawings, end to end.
        kept: mask (P,) of the points to keep; the first point of each drawing is kept.
        firsts: index of the first point of each drawing, (M,).
    """
    squares = np.square(np.diff(points[kept], axis=0, prepend=points[:1])).sum(1)
    starts = np.cumsum(kept)[firsts] - 1
    squares[starts] = 0
    counts = np.diff(np.append(starts, len(squares))) - 1
    return np.sqrt(np.add.reduceat(squares, starts) / (2 * np.maximum(counts, 1)))
