"""Callbacks that log metrics: `CSVLogger` to a CSV file, `TensorBoardLogger` to event files of TensorBoard."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mdnrnn.errors import InputError
from mdnrnn.files.atomic import write_bytes
from mdnrnn.files.regular import open_to_append, read_regular
from mdnrnn.training.callbacks import Callback, TrainingState

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_MAX_BYTES = 1 << 28


class CSVLogger(Callback):
    """Callback that writes metrics to a CSV file with a header.

    Rows with training metrics (every 20th step) and rows with validation metrics have the same columns; fields without
    a value are empty. If training resumes, the rows after the checkpoint are removed.

    Args:
        path: path of the file; its folder must exist when training starts.

    Raises:
        InputError: the file exists and is not a log of this class, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._columns: list[str] = []
        self._is_started = False

    def on_step(self, state: TrainingState) -> None:
        """Append a row after every 20th step."""
        self._start(state.step)
        if state.metrics:
            self._write(state)

    def on_validation(self, state: TrainingState) -> None:
        """Append a row."""
        self._start(state.step + 1)
        self._write(state)

    def _start(self, step: int) -> None:
        """In the first call, remove the rows of `step` and later steps from an existing file."""
        if not self._is_started:
            self._is_started = True
            rows = self._read()
            if self._columns:
                self._rewrite([row for row in rows if row["step"].isdecimal() and int(row["step"]) < step])

    def _write(self, state: TrainingState) -> None:
        counters = {
            "step": state.step,
            "epoch": state.epoch,
            "points": state.points,
            "seconds": round(state.seconds, 3),
        }
        row = {name: str(value) for name, value in {**counters, **state.metrics}.items()}
        if not row.keys() <= set(self._columns):
            rows = self._read()
            self._columns += [name for name in row if name not in self._columns]
            self._rewrite([*rows, row])
            return
        with open_to_append(self._path) as file:
            file.write(self._encode([row]))

    def _read(self) -> list[dict[str, str]]:
        """Read the columns and the rows of the file; of a missing file, none."""
        if not self._path.exists():
            return []
        reader = csv.DictReader(io.StringIO(read_regular(self._path, _MAX_BYTES).decode(errors="replace")))
        self._columns = list(reader.fieldnames or [])
        if self._columns[:1] != ["step"]:
            raise InputError(
                f"{self._path}: received a file whose first column is not step, expected a log of CSVLogger; choose "
                "another path"
            )
        return list(reader)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        """Write the whole file, with all columns."""
        header = dict(zip(self._columns, self._columns, strict=True))
        write_bytes(self._path, self._encode([header, *rows]))

    def _encode(self, rows: list[dict[str, str]]) -> bytes:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, extrasaction="ignore", lineterminator="\n").writerows(rows)
        return text.getvalue().encode()


class TensorBoardLogger(Callback):
    """Callback that writes metrics to event files of TensorBoard.

    The tags are, for example, "loss/train" and "loss/valid", so that TensorBoard shows both in one group. If training
    resumes, TensorBoard hides the metrics after the checkpoint. `mdnrnn.train` also writes pictures of samples.

    Args:
        folder: folder of the event files; it is created when training starts.

    Raises:
        InputError: the package tensorboard is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise InputError('tensorboard is not installed; install it with: pip install "mdnrnn[tensorboard]"')
        self._folder = Path(folder)
        self._writer: SummaryWriter | None = None

    def on_step(self, state: TrainingState) -> None:
        """Write the training metrics after every 20th step."""
        self._open(state.step)
        self._write(state)

    def on_validation(self, state: TrainingState) -> None:
        """Write the validation metrics."""
        self._open(state.step + 1)
        self._write(state)

    def add_picture(self, name: str, png: bytes, step: int) -> None:
        """Write a picture.

        Args:
            name: tag of the picture.
            png: content of a PNG file.
            step: number of completed training steps.
        """
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self._open(step + 1).add_image(name, pixels, step, dataformats="HWC")

    def on_end(self, state: TrainingState) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, step: int) -> SummaryWriter:
        """Return the writer. The first call creates an event file that replaces the events of `step` and later."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        return self._writer

    def _write(self, state: TrainingState) -> None:
        for name, value in state.metrics.items():
            self._open(state.step).add_scalar(_tag(name), value, state.step)


def _tag(name: str) -> str:
    """Return the tag of a metric, for example "loss/train" for "train_loss"."""
    split, _, term = name.partition("_")
    return f"{term}/{split}" if term else {"lr": "learning_rate"}.get(name, name)
