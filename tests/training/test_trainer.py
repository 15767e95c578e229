"""The training loop: it learns, stops when told, resumes exactly, and never saves what is no number."""

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

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.windows import Windows
from mdnrnn.errors import InputError
from mdnrnn.evaluation.null_model import null_model_nll
from mdnrnn.models.base import Loss, StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.metrics import METRICS_FILE
from mdnrnn.training.step import validation_loss
from mdnrnn.training.trainer import NonFiniteLoss, fit
from tests.helpers import controls

CONFIG = SequenceTrainConfig(
    steps=24, batch_size=16, warmup=5, validations=3, precision="float32", checkpoint_seconds=0.0
)


def data_of(corpus: Corpus, config: SequenceTrainConfig = CONFIG) -> tuple[Batches, Batches]:
    train, valid = config.splits(corpus, Normalizer.from_corpus(corpus))
    assert isinstance(train, Batches)
    return train, valid


def model_for(corpus: Corpus, kind: type[MDNRNN] = MDNRNN) -> MDNRNN:
    torch.manual_seed(0)
    return kind(StepShape.from_corpus(corpus), MDNRNNConfig(hidden=24, components=3, dropout=0.2))


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]


class StopsAt(MDNRNN):
    """Sends itself a signal on the n-th call of loss in training."""

    signal_at: tuple[int, signal.Signals] = (0, signal.SIGTERM)
    calls = 0

    def loss(self, batch: Batch) -> Loss:
        self.calls += self.training
        if self.calls == self.signal_at[0]:
            os.kill(os.getpid(), self.signal_at[1])
        return super().loss(batch)


class BreaksAt(MDNRNN):
    """The loss is no number on the n-th call in training."""

    break_at = 0
    calls = 0

    def loss(self, batch: Batch) -> Loss:
        self.calls += self.training
        loss = super().loss(batch)
        return loss._replace(total=loss.total * float("nan")) if self.calls == self.break_at else loss


def test_training_beats_the_null_model(doodles: Corpus, tmp_path: Path) -> None:
    model = model_for(doodles)
    config = replace(CONFIG, steps=200, learning_rate=1e-2)
    result = fit(model, *data_of(doodles), tmp_path, config)
    points = doodles.rows("valid").stop - doodles.rows("valid").start
    assert result.progress.step == 200
    assert result.progress.best < null_model_nll(doodles, "valid", Normalizer.from_corpus(doodles)) / points - 0.3


def test_the_model_and_the_file_hold_the_best_weights(doodles: Corpus, tmp_path: Path) -> None:
    data, model = data_of(doodles), model_for(doodles)
    result = fit(model, *data, tmp_path, CONFIG)
    valid = [line["valid_loss"] for line in metrics(tmp_path) if "valid_loss" in line]
    assert len(valid) == 3
    saved = load_file(tmp_path / WEIGHTS_FILE)
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.state_dict().items())
    again = validation_loss(model, data[1], torch.device("cpu"), "float32")
    assert again["valid_loss"] == pytest.approx(min(valid)) == pytest.approx(result.progress.best)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 7, 23])
def test_stopped_and_resumed_ends_in_the_same_weights(
    doodles: Corpus, tmp_path: Path, step: int, stop: signal.Signals
) -> None:
    folders = [tmp_path / "whole", tmp_path / "stopped"]
    for folder in folders:
        folder.mkdir()
    fit(model_for(doodles), *data_of(doodles), folders[0], CONFIG)
    stopping = model_for(doodles, StopsAt)
    assert isinstance(stopping, StopsAt)
    stopping.signal_at = (step, stop)
    result = fit(stopping, *data_of(doodles), folders[1], CONFIG)
    assert result.interrupted == stop
    assert result.progress.step == step
    torch.manual_seed(99)  # whatever the process did meanwhile
    result = fit(model_for(doodles), *data_of(doodles), folders[1], CONFIG)
    assert result.interrupted is None
    same_run(*folders)


class StopsAfter(MDNRNN):
    """The same, of windows."""

    signal_at: tuple[int, signal.Signals] = (0, signal.SIGTERM)
    calls = 0

    def loss_with_state(self, batch: Batch, carried: Any) -> Loss:
        self.calls += self.training
        if self.calls == self.signal_at[0]:
            os.kill(os.getpid(), self.signal_at[1])
        return super().loss_with_state(batch, carried)


@pytest.mark.parametrize("step", [1, 7, 23])
@pytest.mark.parametrize("carry", [True, False], ids=["state carried", "each from nothing"])
def test_windows_stopped_and_resumed_end_in_the_same_weights(tmp_path: Path, step: int, carry: bool) -> None:
    """What is carried is in the checkpoint: without it the next window would begin from nothing."""
    corpus = controls((90, 130, 40))
    config = replace(CONFIG, batch_size=4, window=10, carry=carry, augment_scale=0.0, augment_drop=0.0)
    data = config.splits(corpus, Normalizer.from_corpus(corpus))
    folders = [tmp_path / "whole", tmp_path / "stopped"]
    for folder in folders:
        folder.mkdir()
    fit(model_for(corpus), *data, folders[0], config)
    stopping = model_for(corpus, StopsAfter)
    assert isinstance(stopping, StopsAfter)
    stopping.signal_at = (step, signal.SIGTERM)
    assert fit(stopping, *data, folders[1], config).progress.step == step
    assert (torch.load(folders[1] / CHECKPOINT_FILE, weights_only=True)["carried"] is not None) == carry
    fit(model_for(corpus), *data, folders[1], config)
    same_run(*folders)


def test_the_carried_state_is_trained_with(tmp_path: Path) -> None:
    """The same windows with and without what went before them: other weights."""
    corpus, weights = controls((90, 130, 40)), []
    for carried in (True, False):
        config = replace(CONFIG, batch_size=4, window=10, augment_scale=0.0, augment_drop=0.0)
        train, valid = config.splits(corpus, Normalizer.from_corpus(corpus))
        assert isinstance(train, Windows)
        model = model_for(corpus, MDNRNN if carried else Forgets)
        fit(model, train, valid, tmp_path / str(carried), config)
        weights.append(model.decoder.head.linear.weight.detach())
    assert (weights[0] - weights[1]).abs().max() > 1e-4


class Forgets(MDNRNN):
    """Carries no state from window to window."""

    def loss_with_state(self, batch: Batch, carried: Any) -> Loss:
        return super().loss_with_state(batch, None)


def same_run(one: Path, other: Path) -> None:
    """The same last and best weights, the same steps in the metrics, each once."""
    states = [torch.load(folder / CHECKPOINT_FILE, weights_only=True) for folder in (one, other)]
    for name, tensor in states[0]["model"].items():
        assert torch.equal(tensor, states[1]["model"][name]), name
    best = [load_file(folder / WEIGHTS_FILE) for folder in (one, other)]
    assert all(torch.equal(tensor, best[1][name]) for name, tensor in best[0].items())
    assert [line["step"] for line in metrics(one)] == [line["step"] for line in metrics(other)]


def test_a_loss_that_is_no_number_ends_with_the_last_good_checkpoint(doodles: Corpus, tmp_path: Path) -> None:
    model = model_for(doodles, BreaksAt)
    assert isinstance(model, BreaksAt)
    model.break_at = 6
    with pytest.raises(NonFiniteLoss, match=r"at step 6, examples \d+, .*keeps the last good checkpoint"):
        fit(model, *data_of(doodles), tmp_path, CONFIG)
    state = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    assert state["progress"]["step"] == 5
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())


def test_patience_ends_a_training_that_gets_no_better(doodles: Corpus, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=100, validations=50, learning_rate=1e-12, patience=2)
    result = fit(model_for(doodles), *data_of(doodles), tmp_path, config)
    assert result.progress.step < 30


def test_a_finished_training_is_left_as_it_is(doodles: Corpus, tmp_path: Path) -> None:
    fit(model_for(doodles), *data_of(doodles), tmp_path, CONFIG)
    before = (tmp_path / METRICS_FILE).read_bytes()
    model = model_for(doodles)
    result = fit(model, *data_of(doodles), tmp_path, CONFIG)
    assert result.progress.step == 24
    assert (tmp_path / METRICS_FILE).read_bytes() == before
    assert torch.equal(
        model.decoder.head.linear.weight, load_file(tmp_path / WEIGHTS_FILE)["decoder.head.linear.weight"]
    )


def test_a_budget_of_minutes_is_kept(doodles: Corpus, tmp_path: Path) -> None:
    started = time.monotonic()
    fit(model_for(doodles), *data_of(doodles), tmp_path, replace(CONFIG, steps=None, minutes=0.03))
    assert 1.8 <= time.monotonic() - started < 6


class Attack:
    """Pickles into a call."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(Attack(), 2)], ids=["empty", "nonsense", "attack"])
def test_a_damaged_checkpoint_is_told_and_nothing_in_it_runs(
    doodles: Corpus, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(InputError, match=r"last.pt is damaged"):
        fit(model_for(doodles), *data_of(doodles), tmp_path, CONFIG)
    assert not (tmp_path / "ran").exists()


def test_bfloat16_gives_nearly_the_same_likelihood(doodles: Corpus) -> None:
    model, data = model_for(doodles), data_of(doodles)[1]
    exact, fast = (validation_loss(model, data, torch.device("cpu"), p) for p in ("float32", "bfloat16"))
    assert fast["valid_loss"] == pytest.approx(exact["valid_loss"], rel=2e-3)


@pytest.mark.slow
def test_killed_at_ten_instants_ends_in_the_same_weights(doodles: Corpus, tmp_path: Path) -> None:
    """SIGKILL, ten times at random over a training of 200 steps; the instants' seed is fixed, the clock is not."""
    native.write(doodles, tmp_path / "data.npz")

    def command(out: str) -> list[str]:
        if (tmp_path / out / "config.json").exists():
            return [sys.executable, "-m", "mdnrnn", "train", "--resume", out]
        options = (
            "--steps 200 --model.hidden 512 --model.layers 2 --batch-size 100 --checkpoint-seconds 0.3 --validations 8"
        )
        return [sys.executable, "-m", "mdnrnn", "train", "stroke", "--data", "data.npz", "--out", out, *options.split()]

    subprocess.run(command("whole"), cwd=tmp_path, check=True, capture_output=True)
    instants = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(command("killed"), cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(instants.uniform(1.0, 6.0))
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.wait()
    subprocess.run(command("killed"), cwd=tmp_path, check=True, capture_output=True)
    same_run(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob(".*"))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"window": 1}, "window is 1; expected 2 or more, or 0"),
        ({"window": 10, "augment_drop": 0.1, "augment_scale": 0.0}, "windows are cut from sequences as they are"),
        ({"window": 10, "augment_drop": 0.0, "augment_scale": 0.1}, "windows are cut from sequences as they are"),
        ({"window": 10, "by_points": True, "augment_drop": 0.0, "augment_scale": 0.0}, "--no-by-points"),
    ],
)
def test_windows_that_cannot_be_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        SequenceTrainConfig(**settings)
