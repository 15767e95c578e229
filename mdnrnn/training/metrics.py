"""Training log metrics.jsonl: one JSON object per line, with the counters step, points and seconds, and metrics."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mdnrnn.files.regular import open_regular, open_to_append
from mdnrnn.training import distributed
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.progress import Progress

METRICS_FILE = "metrics.jsonl"
_MAX_BYTES, _MAX_LINE_BYTES = 1 << 28, 1 << 16
"""Maximum size of the log in bytes, enough for 30 million training steps; maximum size of a line in bytes."""
_MAX_NUMBER = 1e30


class MetricsWriter(Callback):
    """Callback that appends metrics to the training log metrics.jsonl.

    On creation, it removes the lines that were written after the checkpoint from which training resumes.

    Args:
        folder: folder of the run.
        progress: progress of the training; its `metrics_bytes` is the length of the log to keep.

    Raises:
        InputError: the log is a link or not a regular file, or cannot be written.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._path, self._progress = folder / METRICS_FILE, progress
        if os.path.lexists(self._path):
            with open_to_append(self._path) as file:
                if file.seek(0, os.SEEK_END) > progress.metrics_bytes:
                    file.truncate(progress.metrics_bytes)

    def on_step(self, state: TrainingState) -> None:
        """Append a line to the log after every 20th step."""
        if state.metrics:
            self._write(state)

    def on_validation(self, state: TrainingState) -> None:
        """Append a line to the log."""
        self._write(state)

    def _write(self, state: TrainingState) -> None:
        """Append a line to the log, and set `metrics_bytes` of the progress to the new length of the file."""
        counters = {"step": state.step, "points": state.points, "seconds": round(state.seconds, 3)}
        with open_to_append(self._path) as file:
            file.write((json.dumps({**counters, **state.metrics}) + "\n").encode())
            self._progress.metrics_bytes = file.tell()

    def flush_to_disk(self) -> None:
        """Write the log to disk with fsync, so that it survives a power failure."""
        if self._path.exists():
            with open_to_append(self._path) as file:
                os.fsync(file.fileno())


class RunningMeans:
    """Means of the loss and its terms over the training steps since the last reset, for the batches of all ranks."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def add(self, values: Mapping[str, Tensor], weight: float) -> None:
        """Add the losses of one step.

        Args:
            values: detached losses by name, each a mean over the points of this rank.
            weight: number of points of this rank divided by the number of points of all ranks.
        """
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * weight
        self._steps += 1

    def reset(self) -> dict[str, float]:
        """Return the mean of each loss by name, and start new means. All ranks must call this together."""
        sums = distributed.all_reduce_sum(*map(float, self._sums.values()))
        means = {name: total / self._steps for name, total in zip(self._sums, sums, strict=True)}
        self._sums, self._steps = {}, 0
        return means


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the records of metrics.jsonl in a folder, one per line; [] if there is no such file.

    Lines that are not a JSON object of numbers below 1e30, such as an incomplete last line, are skipped.

    Raises:
        InputError: the log is not a regular file, or has over 256 MB.
    """
    path = folder / METRICS_FILE
    records: list[dict[str, Any]] = []
    if not path.exists():
        return records
    with open_regular(path, _MAX_BYTES) as file:
        while line := file.readline(_MAX_LINE_BYTES):
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line)
                if isinstance(record, dict) and all(map(_is_number, record.values())):
                    records.append(record)
    return records


def _is_number(value: Any) -> bool:
    """Return whether a value is NaN or a number that can be plotted."""
    return type(value) in (int, float) and not abs(value) > _MAX_NUMBER
