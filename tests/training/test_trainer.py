"""The training loop: learning, interruption and exact resume, non-finite losses, callbacks, damaged checkpoints."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.device import single_thread
from mdnrnn.errors import InputError
from mdnrnn.evaluation.null_model import null_model_nll
from mdnrnn.models.base import Loss, StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.training import trainer
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.loss_check import NonFiniteLoss
from mdnrnn.training.metrics import METRICS_FILE, read_metrics
from mdnrnn.training.schedule import Schedule
from mdnrnn.training.step import validation_loss
from mdnrnn.training.trainer import fit
from tests.helpers import make_controls, random_corpus

CONFIG = SequenceTrainConfig(
    steps=24, batch_size=16, warmup=5, validations=3, precision="float32", checkpoint_seconds=0.0
)
WINDOW_CONFIG = replace(CONFIG, batch_size=4, window=10, augment_scale=0.0, augment_drop=0.0)
STREAMS = make_controls((90, 130, 40))
DRAWINGS = random_corpus([5 + i % 11 for i in range(40)])


def split_data(corpus: Corpus, config: SequenceTrainConfig = CONFIG) -> tuple[Any, Batches]:
    return config.splits(corpus, Normalizer.from_corpus(corpus))


def make_model(corpus: Corpus, model_class: type[MDNRNN] = MDNRNN) -> Any:
    torch.manual_seed(0)
    return model_class(StepShape.from_corpus(corpus), MDNRNNConfig(hidden=24, components=3, dropout=0.2))


class StoppingModel(MDNRNN):
    """Raises a signal in the given training step."""

    stop_step = 0
    stop_signal = signal.SIGTERM
    calls = 0

    def loss_with_state(self, batch: Batch, state: Any) -> Loss:
        self.calls += 1
        if self.calls == self.stop_step:
            signal.raise_signal(self.stop_signal)
        return super().loss_with_state(batch, state)


class NaNModel(MDNRNN):
    """Returns a NaN loss in training step 6."""

    calls = 0

    def loss(self, batch: Batch) -> Loss:
        self.calls += self.training
        loss = super().loss(batch)
        return loss._replace(total=loss.total * float("nan")) if self.calls == 6 else loss


class StatelessModel(MDNRNN):
    """Ignores the state carried from window to window."""

    def loss_with_state(self, batch: Batch, state: Any) -> Loss:
        return super().loss_with_state(batch, None)


def assert_same_run(one: Path, other: Path) -> None:
    """Assert bit-identical last and best weights, and the same steps in metrics.jsonl."""
    last = [torch.load(folder / CHECKPOINT_FILE, weights_only=True)["model"] for folder in (one, other)]
    best = [load_file(folder / WEIGHTS_FILE) for folder in (one, other)]
    for weights in (last, best):
        assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert [line["step"] for line in read_metrics(one)] == [line["step"] for line in read_metrics(other)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training on drawings that was not interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with single_thread():  # as in the tests: the number of threads changes rounding
        fit(make_model(DRAWINGS), *split_data(DRAWINGS), folder, CONFIG)
    return folder


@pytest.fixture(scope="module")
def uninterrupted_windows(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Folders of trainings on windows that were not interrupted, with and without a carried state."""
    folders = {}
    for carry in (True, False):
        folders[carry] = tmp_path_factory.mktemp("windows")
        config = replace(WINDOW_CONFIG, carry=carry)
        with single_thread():
            fit(make_model(STREAMS), *split_data(STREAMS, config), folders[carry], config)
    return folders


def test_training_beats_the_null_model(doodles: Corpus, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=100, learning_rate=2e-2)
    result = fit(make_model(doodles), *split_data(doodles), tmp_path, config)
    points = doodles.rows("valid").stop - doodles.rows("valid").start
    assert result.progress.step == 100
    assert result.progress.best < null_model_nll(doodles, "valid", Normalizer.from_corpus(doodles)) / points - 0.3


def test_model_and_file_have_the_weights_of_the_best_validation(tmp_path: Path) -> None:
    (train, valid), model = split_data(DRAWINGS), make_model(DRAWINGS)
    result = fit(model, train, valid, tmp_path, CONFIG)
    losses = [line["valid_loss"] for line in read_metrics(tmp_path) if "valid_loss" in line]
    assert len(losses) == 3
    saved = load_file(tmp_path / WEIGHTS_FILE)
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.state_dict().items())
    loss = validation_loss(model, valid, torch.device("cpu"), "float32")["valid_loss"]
    assert loss == pytest.approx(min(losses)) == pytest.approx(result.progress.best)


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("step", [1, 7, 23])
def test_resumed_training_has_the_weights_of_an_uninterrupted_one(
    uninterrupted: Path, tmp_path: Path, step: int, stop_signal: signal.Signals
) -> None:
    model = make_model(DRAWINGS, StoppingModel)
    model.stop_step, model.stop_signal = step, stop_signal
    result = fit(model, *split_data(DRAWINGS), tmp_path, CONFIG)
    assert result.interrupted == stop_signal
    assert result.progress.step == step
    torch.manual_seed(99)  # the state of the generators comes from the checkpoint
    result = fit(make_model(DRAWINGS), *split_data(DRAWINGS), tmp_path, CONFIG)
    assert result.interrupted is None
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.parametrize("step", [1, 7, 23])
@pytest.mark.parametrize("carry", [True, False], ids=["carried state", "no state"])
def test_resumed_training_on_windows_has_the_weights_of_an_uninterrupted_one(
    uninterrupted_windows: dict[bool, Path], tmp_path: Path, step: int, carry: bool
) -> None:
    config = replace(WINDOW_CONFIG, carry=carry)
    data, model = split_data(STREAMS, config), make_model(STREAMS, StoppingModel)
    model.stop_step = step
    assert fit(model, *data, tmp_path, config).progress.step == step
    checkpoint = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    assert (checkpoint["carried_state"] is not None) == carry
    fit(make_model(STREAMS), *data, tmp_path, config)
    assert_same_run(uninterrupted_windows[carry], tmp_path)


def test_carried_state_affects_training(uninterrupted_windows: dict[bool, Path], tmp_path: Path) -> None:
    fit(make_model(STREAMS, StatelessModel), *split_data(STREAMS, WINDOW_CONFIG), tmp_path, WINDOW_CONFIG)
    name = "decoder.head.linear.weight"
    weights = [load_file(folder / WEIGHTS_FILE)[name] for folder in (uninterrupted_windows[True], tmp_path)]
    assert (weights[0] - weights[1]).abs().max() > 1e-4


def test_nan_loss_raises_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"at step 6, examples \d+, .*keeps the last good checkpoint"):
        fit(make_model(DRAWINGS, NaNModel), *split_data(DRAWINGS), tmp_path, CONFIG)
    checkpoint = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    assert checkpoint["progress"]["step"] == 5
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint["model"].values())


def test_patience_stops_a_training_without_improvement(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=100, validations=50, learning_rate=1e-12, patience=2)
    result = fit(make_model(DRAWINGS), *split_data(DRAWINGS), tmp_path, config)
    assert result.progress.step < 30


def test_finished_training_is_not_continued(uninterrupted: Path) -> None:
    before = (uninterrupted / METRICS_FILE).read_bytes()
    model = make_model(DRAWINGS)
    result = fit(model, *split_data(DRAWINGS), uninterrupted, CONFIG)
    assert result.progress.step == 24
    assert (uninterrupted / METRICS_FILE).read_bytes() == before
    saved = load_file(uninterrupted / WEIGHTS_FILE)
    assert torch.equal(model.decoder.head.linear.weight, saved["decoder.head.linear.weight"])


def test_budget_in_minutes_ends_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        """Advances by one second whenever it is read."""

        now = 0.0

        def monotonic(self) -> float:
            self.now += 1
            return self.now

    monkeypatch.setattr(trainer, "time", Clock())
    config = replace(CONFIG, steps=None, minutes=0.4)
    progress = fit(make_model(DRAWINGS), *split_data(DRAWINGS), tmp_path, config).progress
    assert 24 <= progress.seconds <= 26
    assert 18 <= progress.step <= 24  # each step takes a second, each validation another one
    assert progress.finished


def test_callbacks_receive_the_state_after_steps_and_validations(tmp_path: Path) -> None:
    class Recorder(Callback):
        def __init__(self) -> None:
            self.steps: list[TrainingState] = []
            self.losses: list[float] = []
            self.validations: list[TrainingState] = []
            self.ended: list[TrainingState] = []

        def on_step(self, state: TrainingState) -> None:
            self.steps.append(state)
            assert state.loss is not None
            assert float(state.loss) == pytest.approx(float(sum(state.terms.values())))
            self.losses.append(float(state.loss))
            assert state.optimizer.param_groups[0]["lr"] == state.learning_rate

        def on_validation(self, state: TrainingState) -> None:
            self.validations.append(state)

        def on_end(self, state: TrainingState) -> None:
            self.ended.append(state)

    recorder, model = Recorder(), make_model(DRAWINGS)
    result = fit(model, *split_data(DRAWINGS), tmp_path, CONFIG, [recorder])
    assert [state.step for state in recorder.steps] == list(range(1, 25))
    assert [state.epoch for state in recorder.steps] == [i // 3 for i in range(24)]  # 40 drawings in batches of 16
    assert [state.learning_rate for state in recorder.steps] == [
        Schedule(CONFIG).learning_rate(i, 0) for i in range(24)
    ]
    assert [state.step for state in recorder.validations] == [8, 16, 24]
    (end,) = recorder.ended
    assert (end.step, end.points, end.best) == (24, result.progress.points, result.progress.best)
    assert end.model is model
    assert 0 < end.minutes == end.seconds / 60
    assert end.folder == tmp_path
    logged = [state for state in (*recorder.steps, *recorder.validations) if state.metrics]
    logged.sort(key=lambda state: state.step)
    lines = [
        {name: line[name] for name in line if name not in ("points", "seconds")} for line in read_metrics(tmp_path)
    ]
    assert lines == [{"step": state.step, **state.metrics} for state in logged]
    assert [state.step for state in logged] == [8, 16, 20, 24]
    assert set(logged[2].metrics) == {"lr", "train_loss", "train_motion", "train_event"}
    assert logged[2].metrics["train_loss"] == pytest.approx(sum(recorder.losses[:20]) / 20)
    assert set(logged[0].metrics) == {"valid_loss", "valid_motion", "valid_event"}
    assert recorder.validations[-1].best == min(state.metrics["valid_loss"] for state in recorder.validations)


def test_callbacks_end_with_the_state_of_a_failed_training(tmp_path: Path) -> None:
    class Recorder(Callback):
        steps = -1

        def on_end(self, state: TrainingState) -> None:
            self.steps = state.step

    recorder = Recorder()
    with pytest.raises(NonFiniteLoss):
        fit(make_model(DRAWINGS, NaNModel), *split_data(DRAWINGS), tmp_path, CONFIG, [recorder])
    assert recorder.steps == 6


class Attack:
    """An object whose pickle runs a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(Attack(), 2)], ids=["empty", "nonsense", "attack"])
def test_damaged_checkpoint_is_an_error_and_is_not_executed(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(InputError, match=r"last.pt is damaged"):
        fit(make_model(DRAWINGS), *split_data(DRAWINGS), tmp_path, CONFIG)
    assert not (tmp_path / "ran").exists()


def test_bfloat16_likelihood_is_close_to_float32(doodles: Corpus) -> None:
    model, valid = make_model(doodles), split_data(doodles)[1]
    exact, fast = (validation_loss(model, valid, torch.device("cpu"), p) for p in ("float32", "bfloat16"))
    assert fast["valid_loss"] == pytest.approx(exact["valid_loss"], rel=2e-3)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_training_killed_ten_times_has_the_weights_of_an_uninterrupted_one(doodles: Corpus, tmp_path: Path) -> None:
    """Kills a training of 200 steps at random times. The times have a fixed seed; the steps depend on the machine."""
    native.write(doodles, tmp_path / "data.npz")

    def command(out: str) -> list[str]:
        if (tmp_path / out / "config.json").exists():
            return [sys.executable, "-m", "mdnrnn", "train", "--resume", out]
        options = (
            "--steps 200 --model.hidden 512 --model.layers 2 --batch-size 100 --checkpoint-seconds 0.3 --validations 8"
        )
        return [sys.executable, "-m", "mdnrnn", "train", "stroke", "--data", "data.npz", "--out", out, *options.split()]

    subprocess.run(command("whole"), cwd=tmp_path, check=True, capture_output=True)
    times = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(command("killed"), cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(times.uniform(1.0, 6.0))
        assert process.poll() is None, "the training ended before it was killed"
        process.kill()
        process.wait()
    subprocess.run(command("killed"), cwd=tmp_path, check=True, capture_output=True)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob(".*"))


def test_metrics_without_lines_that_are_cut_short_or_no_numbers(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text(json.dumps({"step": 1}) + '\n{"step": 2')
    assert read_metrics(tmp_path) == [{"step": 1}]
    lines = [b"[1]", b'{"step": "2"}', b'{"step": 1e300}', b"[" * 10**5, b"{" * 200_000, b"\xff\xfe", b'{"step": 3}']
    (tmp_path / METRICS_FILE).write_bytes(b"\n".join(lines))
    assert read_metrics(tmp_path) == [{"step": 3}]
    assert read_metrics(tmp_path / "none") == []
