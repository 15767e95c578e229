"""Parsed drawings, packed end to end: the output of the file readers, before the conversion to steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from mdnrnn.data.strokes import Drawing, Polyline, Start, fit_to_box, resample, simplify, to_steps
from mdnrnn.errors import quantity
from mdnrnn.pen_events import END

MAX_POINTS = 1 << 20
"""Maximum points per drawing; larger drawings are dropped."""
MAX_COORDINATE = 1e9
"""Maximum absolute value of a coordinate. Offsets between points with larger coordinates would be inexact."""
_MAX_KINDS, _MAX_KIND = 20, 40
"""Maximum number of kinds of lost content per file, and maximum characters of a kind. Some formats take the kinds from
the file, for example the names of columns."""


class Record(NamedTuple):
    """Metadata of one drawing in a file."""

    location: str
    """File and position in the file, for messages, for example "cat.ndjson, line 17"."""
    key: str | None = None
    """Key for the assignment to splits: drawings with the same key are assigned to the same split. None: the points of
    the drawing serve as its key."""
    label: str | None = None
    """Class name."""
    text: str | None = None
    """Transcription of the handwriting."""
    split: str | None = None
    """train, valid or test; None if the file does not assign splits."""
    writer: str | None = None
    """Name of the writer. The same name in different files refers to the same writer."""
    last_event: int = END
    """Event of the last step: END if the drawing is complete; DOWN or UP if the rest of the drawing was cut off."""


class Remark(NamedTuple):
    """Remark on a record that was dropped or repaired, or on content that is lost."""

    reason: str
    """Category of the remark, for example "not JSON". Remarks are counted per category."""
    detail: str
    """File, position and problem, in one line."""
    malformed: bool = True
    """True if the record is malformed; False if it is valid but excluded."""
    count: int = 1  # type: ignore[assignment]  # replaces `tuple.count`
    """Number of records, repairs or lost items that the remark stands for."""


def lost_remarks(counts: Mapping[str, int], location: str) -> list[Remark]:
    """Return one remark per kind of lost content, the most frequent kinds first.

    If there are more than `_MAX_KINDS` kinds, the last remark counts all remaining kinds together.

    Args:
        counts: kind of content, a plural such as "time values" -> number of lost items, which can be 0.
        location: file and position in the file, for messages.
    """
    kinds = [(kind[:_MAX_KIND], count) for kind, count in Counter(counts).most_common() if count]
    if len(kinds) > _MAX_KINDS:
        rest = sum(count for _, count in kinds[_MAX_KINDS - 1 :])
        kinds = [*kinds[: _MAX_KINDS - 1], ("items of other kinds", rest)]
    return [Remark(kind, f"{location}: {quantity(count, kind)}", count=count) for kind, count in kinds]


@dataclass(frozen=True, eq=False)
class DrawingBatch:
    """M drawings with S strokes and P points in total, packed end to end.

    Args:
        points: (P, F), float64. The first features are x (to the right) and y (down), in raw units. Further features
            may follow, such as the time in seconds, which increases from point to point.
        stroke_lengths: (S,), number of points of each stroke, at least 1.
        stroke_counts: (M,), number of strokes of each drawing, at least 1.
        records: metadata of each drawing, M records.
        dropped: remarks on the records that were dropped.
        repaired: remarks on the records that were repaired and kept.
        lost: remarks on content of the kept records that a corpus cannot represent, such as pressure or text elements;
            one remark per kind of content and file.
    """

    points: np.ndarray
    stroke_lengths: np.ndarray
    stroke_counts: np.ndarray
    records: list[Record]
    dropped: list[Remark] = field(default_factory=list)
    repaired: list[Remark] = field(default_factory=list)
    lost: list[Remark] = field(default_factory=list)

    @classmethod
    def from_polylines(
        cls,
        drawings: Iterable[tuple[Drawing, Record]],
        dropped: Iterable[Remark] = (),
        repaired: Iterable[Remark] = (),
        lost: Iterable[Remark] = (),
    ) -> DrawingBatch:
        """Pack drawings, each a list of polylines (n, F). Empty strokes and drawings without points are dropped."""
        polylines: list[Polyline] = []
        stroke_counts: list[int] = []
        records: list[Record] = []
        dropped = list(dropped)
        for strokes, record in drawings:
            strokes = [stroke for stroke in strokes if len(stroke)]
            if not strokes:
                dropped.append(Remark("empty", f"{record.location} has no points", malformed=False))
                continue
            polylines += strokes
            stroke_counts.append(len(strokes))
            records.append(record)
        points = np.concatenate(polylines).astype(np.float64) if polylines else np.zeros((0, 2))
        lengths = np.array([len(stroke) for stroke in polylines], np.int64)
        return cls(points, lengths, np.array(stroke_counts, np.int64), records, dropped, list(repaired), list(lost))

    def __len__(self) -> int:
        return len(self.stroke_counts)

    @property
    def point_counts(self) -> np.ndarray:
        """Number of points of each drawing, shape (M,)."""
        return np.diff(self._ends, prepend=0)

    @property
    def _ends(self) -> np.ndarray:
        if not len(self):
            return np.zeros(0, np.int64)
        return np.cumsum(self.stroke_lengths)[np.cumsum(self.stroke_counts) - 1]

    @property
    def _stroke_starts(self) -> np.ndarray:
        return np.cumsum(self.stroke_lengths) - self.stroke_lengths

    def polylines(self, index: int) -> Drawing:
        """Return drawing `index` as polylines (n, F)."""
        first = int(self.stroke_counts[:index].sum())
        lengths = self.stroke_lengths[first : first + int(self.stroke_counts[index])]
        start = int(self.stroke_lengths[:first].sum())
        return np.split(self.points[start : start + int(lengths.sum())], np.cumsum(lengths)[:-1])

    def select(self, keep: np.ndarray, dropped: Iterable[Remark] = ()) -> DrawingBatch:
        """Return the drawings for which `keep` (M,) is true; append `dropped` to the remarks on dropped records."""
        all_dropped = [*self.dropped, *dropped]
        if keep.all():
            return replace(self, dropped=all_dropped)
        keep_stroke = keep.repeat(self.stroke_counts)
        return DrawingBatch(
            self.points[keep_stroke.repeat(self.stroke_lengths)],
            self.stroke_lengths[keep_stroke],
            self.stroke_counts[keep],
            [record for record, kept in zip(self.records, keep, strict=True) if kept],
            all_dropped,
            self.repaired,
            self.lost,
        )

    def drop_invalid(self, max_points: float = MAX_POINTS) -> DrawingBatch:
        """Drop invalid drawings.

        A drawing is invalid if a value is NaN or infinite, if the absolute value of a feature exceeds `MAX_COORDINATE`,
        or if there are more than `max_points` points.
        """
        if not len(self):
            return self
        largest = np.maximum.reduceat(np.abs(self.points), self._ends - self.point_counts, axis=0).max(1)
        finite, small, few = np.isfinite(largest), largest <= MAX_COORDINATE, self.point_counts <= max_points
        if (small & few).all():
            return self
        dropped = []
        for i in np.flatnonzero(~(finite & small & few)):
            location = self.records[i].location
            if not finite[i]:
                dropped.append(
                    Remark("not finite", f"{location} contains NaN or infinity; expected finite coordinates")
                )
            elif not small[i]:
                expected = f"expected at most {MAX_COORDINATE:g}"
                dropped.append(Remark("too large", f"{location} has a coordinate of {largest[i]:g}; {expected}"))
            else:
                expected = f"expected at most {max_points}"
                dropped.append(Remark("too many points", f"{location} has {self.point_counts[i]} points; {expected}"))
        return self.select(finite & small & few, dropped)

    def split_at_jumps(self, max_distance: float) -> DrawingBatch:
        """Split strokes at jumps, and remove outliers.

        A jump is a pair of consecutive points of a stroke that are more than `max_distance` apart, in raw units. An
        outlier is a single point between two jumps, or between a jump and an end of the stroke. Outliers are errors of
        the sensor. If the points before and after removed outliers are at most `max_distance` apart, the stroke is not
        split there. If all points of a stroke are outliers, the first point is kept.
        """
        if not len(self):
            return self
        points, starts = self.points[:, :2], self._stroke_starts
        is_jump = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T) > max_distance
        is_jump[starts] = False
        keep, lengths = np.ones(len(points), bool), [[int(n)] for n in self.stroke_lengths]
        for stroke in np.unique(np.searchsorted(starts, np.flatnonzero(is_jump), side="right") - 1):
            rows = np.arange(starts[stroke], starts[stroke] + self.stroke_lengths[stroke])
            runs = np.split(rows, np.flatnonzero(is_jump[rows]))
            keep[rows], lengths[stroke], last = False, [], rows[0]
            for run in [run for run in runs if len(run) > 1] or runs[:1]:
                if lengths[stroke] and np.hypot(*(points[run[0]] - points[last])) <= max_distance:
                    lengths[stroke][-1] += len(run)
                else:
                    lengths[stroke].append(len(run))
                keep[run], last = True, run[-1]
        drawing = np.arange(len(self)).repeat(self.stroke_counts)
        counts = np.bincount(drawing, [len(parts) for parts in lengths], len(self)).astype(np.int64)
        strokes = np.array([length for parts in lengths for length in parts], np.int64)
        return replace(self, points=self.points[keep], stroke_lengths=strokes, stroke_counts=counts)

    def fit_to_box(self, size: float) -> DrawingBatch:
        """Translate and scale each drawing to a box.

        The minimum x and y become 0. The longer side of the bounding box becomes `size`.
        """
        return self._with_points(fit_to_box(self.points, self.point_counts, size), self.stroke_lengths)

    def resample(self, spacing: float) -> DrawingBatch:
        """Resample each stroke at equal arc lengths of at most `spacing`. The end points of strokes are kept.

        A drawing is dropped if resampling could produce more than `MAX_POINTS` points.
        """
        if not len(self):
            return self
        lengths = np.hypot(*np.diff(self.points[:, :2], axis=0, prepend=self.points[:1, :2]).T)
        lengths[self._stroke_starts] = 0
        # Check before allocation, because with a very small spacing the points would not fit in memory.
        expected_points = np.add.reduceat(lengths, self._ends - self.point_counts) / spacing + 2 * self.stroke_counts
        few = expected_points <= MAX_POINTS
        if not few.all():
            dropped = [
                Remark(
                    "too many points",
                    f"{self.records[i].location} would have {expected_points[i]:.3g} points at a spacing of "
                    f"{spacing:g}; expected at most {MAX_POINTS}",
                    malformed=False,
                )
                for i in np.flatnonzero(~few)
            ]
            return self.select(few, dropped).resample(spacing)
        return self._with_points(*resample(self.points, spacing, self.stroke_lengths))

    def simplify(self, epsilon: float) -> DrawingBatch:
        """Simplify each stroke by the Ramer-Douglas-Peucker algorithm with tolerance `epsilon`, in raw units."""
        return self._select_points(simplify(self.points, epsilon, self.stroke_lengths))

    def round_to_grid(self, grid: float) -> DrawingBatch:
        """Round x and y to multiples of `grid`, then remove points equal to the preceding point of the same stroke."""
        points = self.points.copy()
        points[:, :2] = np.rint(points[:, :2] / grid) * grid
        differs = np.ones(len(points), bool)
        differs[1:] = (points[1:] != points[:-1]).any(1)
        differs[self._stroke_starts] = True
        return self._with_points(points, self.stroke_lengths)._select_points(differs)

    def _with_points(self, points: np.ndarray, stroke_lengths: np.ndarray) -> DrawingBatch:
        return replace(self, points=points, stroke_lengths=stroke_lengths)

    def _select_points(self, keep: np.ndarray) -> DrawingBatch:
        if not len(keep):
            return self
        return self._with_points(self.points[keep], np.add.reduceat(keep, self._stroke_starts, dtype=np.int64))

    def to_steps(self, start: Start) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Convert the drawings to steps; return motion (N, D), event (N,) and lengths (M,). See `strokes.to_steps`."""
        if not len(self):
            return self.points, np.zeros(0, np.uint8), self.stroke_counts
        motion, event, lengths = to_steps(self.points, self.stroke_lengths, self.stroke_counts, start)
        event[lengths.cumsum() - 1] = [record.last_event for record in self.records]
        return motion, event, lengths
