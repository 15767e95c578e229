"""Loggers: contents of CSV files and of TensorBoard's event files, also after a resumption."""

import csv
import io
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from mdnrnn.errors import InputError
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.loggers import CSVLogger, TensorBoardLogger
from mdnrnn.training.metrics import read_metrics
from mdnrnn.training.trainer import fit

pytestmark = pytest.mark.usefixtures("event_file_clock")
CONFIG = TrainConfig(steps=60, validations=3, precision="float32", checkpoint_seconds=0.0)
X = torch.linspace(-1, 1, 24).unsqueeze(1)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(1, 1)

    def loss(self, batch: Any) -> Any:
        return (self.linear(batch) - 2 * batch).square().mean()


class StopAndFail(Callback):
    """Saves a checkpoint after step 25 by a signal, or fails after step 45."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def on_step(self, state: TrainingState) -> None:
        if state.step == 25 and not self.fails:
            signal.raise_signal(signal.SIGTERM)
        if state.step == 45 and self.fails:
            raise RuntimeError("killed")


def train(folder: Path, *callbacks: Callback, config: TrainConfig = CONFIG) -> None:
    fit(Line(), list(X.split(8)), [X], folder, config, callbacks)


def read_csv(path: Path) -> list[dict[str, float]]:
    """Return the fields of each row that have a value."""
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def tag(name: str) -> str:
    return {"lr": "learning_rate", "train_loss": "loss/train", "valid_loss": "loss/valid"}[name]


def assert_same_as_metrics(folder: Path) -> None:
    """Assert that the CSV file and the event files in a folder have the values of metrics.jsonl."""
    metrics = read_metrics(folder)
    assert [line["step"] for line in metrics if "train_loss" in line] == [20, 40, 60]
    rows = read_csv(folder / "log.csv")
    assert [{name: row[name] for name in row if name != "epoch"} for row in rows] == metrics
    assert [row["epoch"] for row in rows] == [(row["step"] - 1) // 3 for row in rows]
    events = read_events(folder / "board")
    expected: dict[str, list[tuple[int, float]]] = {}
    for line in metrics:
        for name in line.keys() - {"step", "points", "seconds"}:
            expected.setdefault(tag(name), []).append((line["step"], float(np.float32(line[name]))))
    assert events == expected


def loggers(folder: Path) -> list[Callback]:
    return [CSVLogger(folder / "log.csv"), TensorBoardLogger(folder / "board")]


def test_loggers_write_the_metrics(tmp_path: Path) -> None:
    train(tmp_path, *loggers(tmp_path))
    assert_same_as_metrics(tmp_path)
    assert (tmp_path / "log.csv").read_text().startswith("step,epoch,points,seconds,")


def test_resumed_training_replaces_what_was_logged_after_the_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, *loggers(tmp_path), StopAndFail())
    checkpoint = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path, *loggers(tmp_path), StopAndFail(fails=True))
    assert max(row["step"] for row in read_csv(tmp_path / "log.csv")) == 40
    (tmp_path / "last.pt").write_bytes(checkpoint)
    train(tmp_path, *loggers(tmp_path))
    assert_same_as_metrics(tmp_path)


def test_training_without_a_step_keeps_the_log(tmp_path: Path) -> None:
    train(tmp_path, *loggers(tmp_path))
    before = (tmp_path / "log.csv").read_bytes()
    train(tmp_path, *loggers(tmp_path))
    assert (tmp_path / "log.csv").read_bytes() == before
    train(tmp_path, *loggers(tmp_path), config=replace(CONFIG, steps=80))
    assert (tmp_path / "log.csv").read_bytes().startswith(before)


def test_file_that_is_not_a_log_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("name,value\na,1\n")
    with pytest.raises(InputError, match=r"data.csv: received a file whose first column is not step, expected a log"):
        train(tmp_path / "run", CSVLogger(path))
    assert path.read_text() == "name,value\na,1\n"


def test_picture_is_read_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")

    class Pictures(TensorBoardLogger):
        def on_validation(self, state: TrainingState) -> None:
            self.add_picture("samples", png.getvalue(), state.step)

    train(tmp_path / "run", Pictures(tmp_path / "board"))
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    pictures = events.Images("samples")
    assert [picture.step for picture in pictures] == [20, 40, 60]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(pictures[0].encoded_image_string))), pixels)


def test_missing_tensorboard_is_reported_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r'install it with: pip install "mdnrnn\[tensorboard\]"'):
        TensorBoardLogger(tmp_path / "board")
    assert not list(tmp_path.iterdir())
