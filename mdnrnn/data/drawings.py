"""Drawings packed flat: what every reader makes of a file, and what the geometry and the corpus take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from mdnrnn.data.strokes import Polyline, Start, box, resample, simplify, to_steps

MOST_POINTS = 1 << 20
"""A drawing of more is dropped: no hand drew it, and its geometry would take forever."""
LARGEST_COORDINATE = 1e9
"""Beyond it, offsets are no longer exact."""


class Record(NamedTuple):
    """What a file says of one drawing beside its points."""

    where: str
    """File and place in it, as messages name them: "cat.ndjson, line 17"."""
    key: str | None = None
    """What makes it the same drawing elsewhere: equal keys share a split. None: its points do."""
    label: str | None = None
    """Its class."""
    text: str | None = None
    """What is written."""
    split: str | None = None
    """train, valid or test, where the file has such a division."""
    writer: str | None = None
    """Whose it is, a name that means the same in all files."""


class Remark(NamedTuple):
    """Of a record that is left out, or mended."""

    reason: str
    """The kind, by which they are counted: "not JSON"."""
    detail: str
    """File, place, and what is wrong there, in one line."""
    malformed: bool = True
    """Whether the file is at fault; else the record is whole and merely not wanted."""


@dataclass(frozen=True, eq=False)
class Drawings:
    """M drawings of S strokes of P points, one after the other.

    points (P, F), float64: x right, y down, in raw units, then further features (time in seconds, ascending);
    strokes (S,): how many points each stroke has, at least 1; counts (M,): how many strokes each drawing has, at
    least 1; records: one for each drawing; drops: what was left out; mends: what was put right and kept.
    """

    points: np.ndarray
    strokes: np.ndarray
    counts: np.ndarray
    records: list[Record]
    drops: list[Remark] = field(default_factory=list)
    mends: list[Remark] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        drawings: Iterable[tuple[list[Polyline], Record]],
        drops: Iterable[Remark] = (),
        mends: Iterable[Remark] = (),
    ) -> Drawings:
        """From polylines (n, F) for each drawing; those without a point are dropped, and so are empty strokes."""
        polylines: list[Polyline] = []
        counts: list[int] = []
        records: list[Record] = []
        dropped = list(drops)
        for strokes, record in drawings:
            strokes = [stroke for stroke in strokes if len(stroke)]
            if not strokes:
                dropped.append(Remark("empty", f"{record.where} has no points", malformed=False))
                continue
            polylines += strokes
            counts.append(len(strokes))
            records.append(record)
        points = np.concatenate(polylines).astype(np.float64) if polylines else np.zeros((0, 2))
        lengths = np.array([len(stroke) for stroke in polylines], np.int64)
        return cls(points, lengths, np.array(counts, np.int64), records, dropped, list(mends))

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def sizes(self) -> np.ndarray:
        """How many points each drawing has, shape (M,)."""
        return np.diff(self._ends, prepend=0)

    @property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.strokes)[np.cumsum(self.counts) - 1] if len(self) else np.zeros(0, np.int64)

    @property
    def _stroke_starts(self) -> np.ndarray:
        return np.cumsum(self.strokes) - self.strokes

    def polylines(self, index: int) -> list[Polyline]:
        """Drawing `index` as polylines (n, F)."""
        first = int(self.counts[:index].sum())
        lengths = self.strokes[first : first + int(self.counts[index])]
        start = int(self.strokes[:first].sum())
        return np.split(self.points[start : start + int(lengths.sum())], np.cumsum(lengths)[:-1])

    def select(self, keep: np.ndarray, drops: Iterable[Remark] = ()) -> Drawings:
        """The drawings where keep (M,) is true; `drops` joins what was dropped before."""
        dropped = [*self.drops, *drops]
        if keep.all():
            return replace(self, drops=dropped)
        strokes = keep.repeat(self.counts)
        return Drawings(
            self.points[strokes.repeat(self.strokes)],
            self.strokes[strokes],
            self.counts[keep],
            [record for record, kept in zip(self.records, keep, strict=True) if kept],
            dropped,
            self.mends,
        )

    def checked(self) -> Drawings:
        """Without drawings that hold NaN, infinity, coordinates beyond reason, or too many points."""
        if not len(self):
            return self
        largest = np.maximum.reduceat(np.abs(self.points), self._ends - self.sizes, axis=0).max(1)
        finite, small, few = np.isfinite(largest), largest <= LARGEST_COORDINATE, self.sizes <= MOST_POINTS
        if (small & few).all():
            return self
        drops = []
        for i in np.flatnonzero(~(finite & small & few)):
            where = self.records[i].where
            if not finite[i]:
                drops.append(Remark("not finite", f"{where} holds NaN or infinity; expected finite coordinates"))
            elif not small[i]:
                expected = f"expected at most {LARGEST_COORDINATE:g}"
                drops.append(Remark("too large", f"{where} has a coordinate of {largest[i]:g}; {expected}"))
            else:
                expected = f"expected at most {MOST_POINTS}"
                drops.append(Remark("too many points", f"{where} has {self.sizes[i]} points; {expected}"))
        return self.select(finite & small & few, drops)

    def without_jumps(self, most: float) -> Drawings:
        """Strokes end where the next point is farther than `most`, and go on from there as others.

        A point with such a jump on either side is a slip of the sensor: it goes, and where what is before it and behind
        it are near, they stay one stroke.
        """
        if not len(self):
            return self
        points, starts = self.points[:, :2], self._stroke_starts
        far = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T) > most
        far[starts] = False
        keep, lengths = np.ones(len(points), bool), [[int(n)] for n in self.strokes]
        for stroke in np.unique(np.searchsorted(starts, np.flatnonzero(far), side="right") - 1):
            rows = np.arange(starts[stroke], starts[stroke] + self.strokes[stroke])
            runs = np.split(rows, np.flatnonzero(far[rows]))
            keep[rows], lengths[stroke], last = False, [], rows[0]
            for run in [run for run in runs if len(run) > 1] or runs[:1]:
                if lengths[stroke] and np.hypot(*(points[run[0]] - points[last])) <= most:
                    lengths[stroke][-1] += len(run)
                else:
                    lengths[stroke].append(len(run))
                keep[run], last = True, run[-1]
        drawing = np.arange(len(self)).repeat(self.counts)
        counts = np.bincount(drawing, [len(parts) for parts in lengths], len(self)).astype(np.int64)
        strokes = np.array([length for parts in lengths for length in parts], np.int64)
        return replace(self, points=self.points[keep], strokes=strokes, counts=counts)

    def boxed(self, size: float) -> Drawings:
        """Each drawing moved to (0, 0) and scaled, both axes alike, so that its longer side is `size`."""
        return self._with(box(self.points, self.sizes, size), self.strokes)

    def resampled(self, spacing: float) -> Drawings:
        """Points at equal distances along each stroke, at most `spacing` apart; the ends of strokes are kept."""
        if not len(self):
            return self
        lengths = np.hypot(*np.diff(self.points[:, :2], axis=0, prepend=self.points[:1, :2]).T)
        lengths[self._stroke_starts] = 0
        # Before anything is made: a spacing that is tiny beside a drawing asks for more points than memory holds.
        wanted = np.add.reduceat(lengths, self._ends - self.sizes) / spacing + 2 * self.counts
        few = wanted <= MOST_POINTS
        if not few.all():
            drops = [
                Remark(
                    "too many points", f"{self.records[i].where} would have {wanted[i]:.3g}, {spacing:g} apart", False
                )
                for i in np.flatnonzero(~few)
            ]
            return self.select(few, drops).resampled(spacing)
        return self._with(*resample(self.points, spacing, self.strokes))

    def simplified(self, epsilon: float) -> Drawings:
        """The points that Ramer, Douglas and Peucker keep at a tolerance of `epsilon`."""
        return self._kept(simplify(self.points, epsilon, self.strokes))

    def rounded(self, grid: float) -> Drawings:
        """Places at the nearest multiples of `grid`; a point that falls onto the one before it goes, where time has not
        gone on either."""
        points = self.points.copy()
        points[:, :2] = np.rint(points[:, :2] / grid) * grid
        moved = np.ones(len(points), bool)
        moved[1:] = (points[1:] != points[:-1]).any(1)
        moved[self._stroke_starts] = True
        return self._with(points, self.strokes)._kept(moved)

    def _with(self, points: np.ndarray, strokes: np.ndarray) -> Drawings:
        return replace(self, points=points, strokes=strokes)

    def _kept(self, keep: np.ndarray) -> Drawings:
        if not len(keep):
            return self
        return self._with(self.points[keep], np.add.reduceat(keep, self._stroke_starts, dtype=np.int64))

    def steps(self, start: Start) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All as steps: motion (N, F), event (N,), uint8, and lengths (M,), T of each; see `to_steps`."""
        if not len(self):
            return self.points, np.zeros(0, np.uint8), self.counts
        return to_steps(self.points, self.strokes, self.counts, start)
