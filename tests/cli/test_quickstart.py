"""`mdnrnn quickstart` with a replaced training."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from mdnrnn.cli import main
from mdnrnn.runs.presets import PRESETS, Preset
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.progress import Progress
from mdnrnn.training.trainer import TrainingResult
from tests.cli.helpers import assert_refused, count_paths, svg_texts

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def calls(stroke_run: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replace the training by a copy of a run; return the list of its calls."""
    calls: list[tuple[Any, ...]] = []

    def copy_run(preset: Preset, data: str, folder: Path, *, training: SequenceTrainConfig) -> TrainingResult:
        calls.append((preset, data, training))
        shutil.copytree(stroke_run, folder)
        return TrainingResult(Progress(step=12), signal.SIGINT if training.minutes == 5 else None)

    monkeypatch.setattr("mdnrnn.runs.train.train", copy_run)
    return calls


def test_quickstart_trains_evaluates_and_draws(calls: list[tuple[Any, ...]], tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "quick"
    assert main(["quickstart", "--out", str(out), "--minutes", "0.5", "--seed", "3"]) == 0
    [(preset, data, training)] = calls
    assert (preset, data) == (PRESETS["stroke-small"], "doodles")
    assert (training.minutes, training.seed) == (0.5, 3)
    printed = capsys.readouterr().out
    assert "nats per point; null model: " in printed
    assert f"drawings: {out / 'doodles.svg'}" in printed
    assert f"mdnrnn generate {out} --label cat" in printed
    assert count_paths(out / "doodles.svg") >= 1
    assert len(svg_texts(out / "doodles.svg")) == 36


def test_interrupted_quickstart_reports_how_to_resume(
    calls: list[tuple[Any, ...]], tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "quick"
    assert main(["quickstart", "--out", str(out), "--minutes", "5"]) == 130
    printed, reported = capsys.readouterr()
    assert printed == ""
    assert reported.endswith(f"resume with: mdnrnn train --resume {out}\n")
    assert not (out / "doodles.svg").exists()


def test_invalid_budget_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert_refused(["quickstart", "--out", str(tmp_path / "new"), "--minutes", "0"], "budget: received 0", capsys)
    assert not list(tmp_path.iterdir())
