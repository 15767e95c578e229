"""Detection of strokes that are imported twice, for example as words in one folder and as sentences in another folder.

A source is a folder, or a file with many drawings. Each stroke is represented by a hash of the offsets between its
points; two sources share a stroke if they share its hash. Short strokes are ignored, because they can be equal by
chance. Memory is bounded: if there are too many hashes, only the hashes whose last binary digits are 0 are kept, as a
sample.
"""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np

from mdnrnn.data.drawings import DrawingBatch

_MIN_POINTS = 8
"""Minimum number of points of the strokes that are compared."""
_MAX_HASHES, _MAX_SOURCES = 1 << 16, 4
"""Maximum number of hashes that are kept, and maximum number of sources that are recorded per hash."""
_MIN_SHARED = 3
"""A notice requires that at least this number of strokes of one source are also in another source."""
_MIN_SHARE = 0.5
"""A notice requires that at least this fraction of the strokes of one source is also in another source."""
_MAX_NOTICES = 3


def hash_strokes(drawings: DrawingBatch) -> np.ndarray:
    """Return one hash (uint64) for each stroke that has at least 8 points. It is computed from the stroke's offsets."""
    lengths = drawings.stroke_lengths
    is_long = lengths >= _MIN_POINTS
    if not is_long.any():
        return np.zeros(0, np.uint64)
    points = drawings.points[is_long.repeat(lengths), :2]
    starts = np.cumsum(lengths[is_long]) - lengths[is_long]
    offsets = np.diff(points, axis=0, prepend=points[:1]) + 0.0  # -0.0 becomes 0.0
    offsets[starts] = 0
    position = np.arange(len(points)) - starts.repeat(lengths[is_long])
    bits = np.ascontiguousarray(offsets).view(np.uint64) * np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)
    mixed = _mix(bits[:, 0] ^ _mix(bits[:, 1] + position.astype(np.uint64)))
    return np.asarray(_mix(np.add.reduceat(mixed, starts)))


def _mix(bits: np.ndarray) -> np.ndarray:
    """Mix the bits of each 64-bit number by a one-to-one function, the finalizer of MurmurHash3 by Austin Appleby."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(factor)
    return np.asarray(bits ^ (bits >> np.uint64(33)))


class InkIndex:
    """Index from the hash of a stroke to the sources that contain the stroke."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._sources: dict[int, tuple[int, ...]] = {}
        """Hash -> numbers of the sources in which it occurs, at most `_MAX_SOURCES`."""
        self._mask = 0

    def add(self, source: str, hashes: np.ndarray) -> None:
        """Add the hashes of the strokes of a source."""
        if not len(hashes):
            return
        number = self._names.setdefault(source, len(self._names))
        for value in hashes[(hashes & np.uint64(self._mask)) == 0].tolist():
            known = self._sources.get(value, ())
            if number not in known and len(known) < _MAX_SOURCES:
                self._sources[value] = (*known, number)
        while len(self._sources) > _MAX_HASHES:
            self._mask = 2 * self._mask + 1
            self._sources = {value: known for value, known in self._sources.items() if not value & self._mask}

    def notices(self) -> list[str]:
        """Return up to 3 notices about pairs of sources.

        A pair gets a notice if at least 3 strokes, and at least half of the strokes, of one source are also in the
        other source.
        """
        totals = Counter(number for known in self._sources.values() for number in known)
        shared = Counter(pair for known in self._sources.values() for pair in permutations(known, 2))
        names = list(self._names)
        notices: dict[frozenset[int], str] = {}
        for (number, other), count in shared.most_common():
            pair, share = frozenset((number, other)), count / totals[number]
            if count < _MIN_SHARED or share < _MIN_SHARE or share < count / totals[other] or pair in notices:
                continue
            notices[pair] = (
                f"{share:.0%} of the strokes of {names[number]} are also in {names[other]}, so they are imported "
                "twice; leave one of the two out"
            )
        return list(notices.values())[:_MAX_NOTICES]
