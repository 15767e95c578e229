"""A performance is its touches on a screen in the order of time: when, where, and which of them came down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdnrnn.errors import InputError


@dataclass(frozen=True)
class Performance:
    """T >= 1 touches.

    seconds (T,), since the first, never falling; places (T, 2) on a screen of 0 to 1, x right, y down; down (T,), bool:
    the touch came down here, as the first did; else it moved here from the one before.
    """

    seconds: np.ndarray
    places: np.ndarray
    down: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, lifted: np.ndarray) -> Performance:
        """From rows (T, 3) of (dx, dy, dt), the first of which moves from (0, 0), and whether each touch was lifted
        after its row, (T,)."""
        x, y, time = np.cumsum(np.asarray(rows, np.float64), axis=0).T
        down = np.concatenate([[True], np.asarray(lifted, bool)[:-1]])
        return cls(time - time[:1], np.column_stack([x, y]), down[: len(time)])

    @property
    def duration(self) -> float:
        """Seconds from the first touch to the last."""
        return float(self.seconds[-1])

    def check(self, index: int = 0) -> None:
        """`index`: its place among others, for the error message."""
        shapes = self.seconds.shape, self.places.shape, self.down.shape
        count = len(self.seconds) if self.seconds.ndim else 0
        if count < 1 or shapes != ((count,), (count, 2), (count,)):
            raise InputError(f"performance {index}: received arrays {shapes}, expected ((T,), (T, 2), (T,)), T >= 1")
        if not (np.isfinite(self.seconds).all() and np.isfinite(self.places).all()):
            raise InputError(f"performance {index}: received a number that is not finite, expected finite numbers")
        if self.seconds[0] != 0 or (np.diff(self.seconds) < 0).any() or not self.down[0]:
            raise InputError(
                f"performance {index}: received times that fall, or a first touch that is not down at 0 seconds; "
                "expected seconds since the first touch, in order"
            )


def to_json(performances: Sequence[Performance], name: str, labels: Sequence[str] | None = None) -> str:
    """All touches as plain text, a line each; times and places have 6 decimals, `moving` is 0 where one came down.

    {"name": .., "performances": [{"label": .., "seconds": .., "touches": [{"time": .., "x": .., "y": .., "moving": 0},
    ..]}, ..]}; label is null where there is none.
    """
    count = len(performances)
    texts: Sequence[str | None] = [None] * count if labels is None else labels
    if len(texts) != count:
        raise InputError(f"labels: received {len(texts)}, expected one for each of the {count} performances")
    entries = []
    for index, (performance, text) in enumerate(zip(performances, texts, strict=True)):
        performance.check(index)
        head = f'{{"label": {json.dumps(text or None)}, "seconds": {round(performance.duration, 6)}, "touches": ['
        entries.append("\n".join([head, ",\n".join(_touches(performance)), "]}"]))
    return f'{{"name": {json.dumps(name)}, "performances": [\n' + ",\n".join(entries) + "\n]}\n"


def _touches(performance: Performance) -> list[str]:
    """A JSON object for each touch."""
    rows = np.column_stack([performance.seconds, performance.places]).round(6) + 0.0  # no -0.0
    return [
        json.dumps({"time": time, "x": x, "y": y, "moving": int(not down)})
        for (time, x, y), down in zip(rows.tolist(), performance.down, strict=True)
    ]
