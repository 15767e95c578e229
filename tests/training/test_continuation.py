"""`fit` on a folder with a checkpoint: extended and refused runs, options that differ, state of the process."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.models.base import StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.checkpoint import CHECKPOINT_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.metrics import read_metrics
from mdnrnn.training.trainer import TrainingResult, fit
from tests.helpers import random_corpus

CORPUS = random_corpus([5 + i % 7 for i in range(20)])
CONFIG = SequenceTrainConfig(steps=4, batch_size=8, warmup=2, validations=2, precision="float32", final_rate=1.0)


def train(folder: Path, config: SequenceTrainConfig = CONFIG, *callbacks: Callback) -> TrainingResult:
    torch.manual_seed(0)
    model = MDNRNN(StepShape.from_corpus(CORPUS), MDNRNNConfig(hidden=8, components=2, dropout=0.2))
    return fit(model, *config.splits(CORPUS, Normalizer.from_corpus(CORPUS)), folder, config, callbacks)


def read(folder: Path) -> dict[str, Any]:
    return dict(torch.load(folder / CHECKPOINT_FILE, weights_only=True))


def assert_same_weights(one: Path, other: Path) -> None:
    weights = read(one)["model"], read(other)["model"]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


class Stop(Callback):
    """Raises SIGTERM after step 3."""

    def on_step(self, state: TrainingState) -> None:
        if state.step == 3:
            signal.raise_signal(signal.SIGTERM)


def test_extended_run_has_the_weights_of_a_run_with_the_whole_budget(tmp_path: Path) -> None:
    """With a constant learning rate, bit for bit; with a decaying rate the schedules of the first steps differ."""
    train(tmp_path / "whole", replace(CONFIG, steps=10))
    train(tmp_path / "extended")
    result = train(tmp_path / "extended", replace(CONFIG, steps=10))
    assert (result.progress.step, result.progress.finished) == (10, True)
    assert_same_weights(tmp_path / "whole", tmp_path / "extended")


def test_extended_run_is_validated_at_the_times_of_the_new_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path)
    train(tmp_path, replace(CONFIG, steps=20, validations=5))
    steps = [line["step"] for line in read_metrics(tmp_path) if "valid_loss" in line]
    assert steps == [2, 4, 8, 12, 16, 20]
    assert "continues with steps 20 (before: 4), validations 5 (before: 2)" in capsys.readouterr().err


def test_run_with_the_same_options_is_not_trained_further(tmp_path: Path) -> None:
    first = train(tmp_path)
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    assert train(tmp_path, replace(CONFIG, checkpoint_seconds=1.0)).progress == first.progress
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "weight_decay": (
        {"weight_decay": 0.5},
        r"received weight_decay 0.5 \(before: 0.01\), which leaves no step to train",
    ),
    "learning_rate": ({"learning_rate": 0.5}, r"learning_rate 0.5 \(before: 0.006\), which leaves no step"),
    "fewer steps": ({"steps": 2}, r"has completed 4 steps in .* minutes; received steps 2 \(before: 4\)"),
    "fewer minutes": ({"steps": None, "minutes": 1e-9}, r"received minutes 1e-09 \(before: steps 4\)"),
    "batch_size": (
        {"batch_size": 4, "steps": 9},
        "batch_size: received 4, expected 8 as in .*last.pt; pass 8, or train in a new folder",
    ),
    "seed": ({"seed": 1, "steps": 9}, "seed: received 1, expected 0 as in"),
    "augment_drop": ({"augment_drop": 0.2, "steps": 9}, "augment_drop: received 0.2, expected 0.1 as in"),
}


def test_options_that_cannot_be_changed_are_refused(tmp_path: Path) -> None:
    train(tmp_path)
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    for options, message in REFUSED.values():
        with pytest.raises(InputError, match=message):
            train(tmp_path, replace(CONFIG, **options))
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before


def test_new_weight_decay_is_applied(tmp_path: Path) -> None:
    train(tmp_path)
    train(tmp_path, replace(CONFIG, steps=6, weight_decay=0.5))
    groups = read(tmp_path)["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


def test_interrupted_run_continues_with_new_options(tmp_path: Path) -> None:
    assert train(tmp_path, CONFIG, Stop()).interrupted == signal.SIGTERM
    with pytest.raises(InputError, match=r"received steps 3 \(before: 4\), which leaves no step to train"):
        train(tmp_path, replace(CONFIG, steps=3))
    result = train(tmp_path, replace(CONFIG, steps=6, weight_decay=0.5))
    assert result.progress.finished
    assert read(tmp_path)["optimizer"]["param_groups"][0]["weight_decay"] == 0.5
    assert read(tmp_path)["config"]["steps"] == 6


def test_run_that_stopped_early_is_extended(tmp_path: Path) -> None:
    """Without improvement training stops after 2 validations; a new budget counts them from 0."""
    config = replace(CONFIG, steps=20, validations=20, patience=2, learning_rate=10.0, clip=1e9, warmup=0)
    first = train(tmp_path, config).progress
    assert first.step < 20
    assert first.validations_since_best == 2
    second = train(tmp_path, replace(config, steps=40)).progress
    assert second.step > first.step
    assert train(tmp_path, replace(config, steps=40, patience=0)).progress.step == 40


@pytest.mark.parametrize("config", [None, {"steps": torch.zeros(2)}, [1]], ids=["missing", "tensor", "list"])
def test_damaged_options_are_reported(tmp_path: Path, config: Any) -> None:
    train(tmp_path)
    torch.save({**read(tmp_path), "config": config}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(InputError, match="is damaged or belongs to another model"):
        train(tmp_path)


def test_training_does_not_change_the_random_generator_of_the_program(tmp_path: Path) -> None:
    train(tmp_path)  # `train` seeds the generator
    torch.manual_seed(5)
    model = MDNRNN(StepShape.from_corpus(CORPUS), MDNRNNConfig(hidden=8, components=2))
    expected = torch.get_rng_state()
    fit(model, *CONFIG.splits(CORPUS, Normalizer.from_corpus(CORPUS)), None, CONFIG)
    assert torch.equal(torch.get_rng_state(), expected)
