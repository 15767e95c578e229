"""`mdnrnn train`: run folders, resumption, signals, a full disk and errors."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.training.metrics import read_metrics
from mdnrnn.training.trainer import Trainer
from tests.cli.helpers import ONE_THREAD, assert_refused, limit_file_size, train_run
from tests.helpers import make_touches

Capture = pytest.CaptureFixture[str]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and resource limits")


def test_run_folder_is_complete(stroke_run: Path) -> None:
    names = {path.name for path in stroke_run.iterdir()}
    assert names == {"config.json", "model.safetensors", "last.pt", "metrics.jsonl", "loss.svg", "samples"}
    assert len(list((stroke_run / "samples").glob("*.svg"))) == 2
    assert json.loads((stroke_run / "config.json").read_text())["shape"]["classes"] == 12


def test_train_prints_steps_and_best_validation_loss(doodles: Corpus, tmp_path: Path, capsys: Capture) -> None:
    options = ["--steps", "2", "--model.hidden", "8", "--model.components", "2", "--validations", "1"]
    train_run(tmp_path, doodles, "stroke", *options)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{tmp_path / 'run'}: 2 steps, ")
    assert printed.endswith(" nats per point\n")


def test_resume_with_a_new_limit_extends_a_finished_run(stroke_run: Path, tmp_path: Path, capsys: Capture) -> None:
    run = tmp_path / "run"
    shutil.copytree(stroke_run, run)
    steps = json.loads((run / "config.json").read_text())["training"]["steps"]
    assert main(["train", "--resume", str(run), "--steps", str(steps + 2)]) == 0
    printed, reported = capsys.readouterr()
    assert printed.startswith(f"{run}: {steps + 2} steps, ")
    assert f"{run} continues with steps {steps + 2} (before: {steps})" in reported
    assert_refused(["train", "--resume", str(run), "--steps", "1"], "which leaves no step to train", capsys)
    assert_refused(["train", "--resume", str(run), "--minutes", "-1"], "budget: received -1.0, expected", capsys)


@pytest.mark.usefixtures("event_file_clock")
@pytest.mark.parametrize("data", ["doodles", "touches"])
def test_tensorboard_receives_metrics_and_samples_also_after_resumption(
    data: str, doodles: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    corpus, preset = (doodles, "stroke") if data == "doodles" else (make_touches(), "touch")
    sizes = ["--model.hidden", "8", "--model.components", "2"]
    run = train_run(tmp_path, corpus, preset, "--steps", "2", *sizes, "--validations", "1", "--tensorboard")
    assert main(["train", "--resume", str(run), "--steps", "4", "--tensorboard"]) == 0
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    logged = [line for line in read_metrics(run) if "valid_loss" in line]
    assert [line["step"] for line in logged] == [2, 4]
    assert [each.step for each in events.Scalars("loss/valid")] == [2, 4]
    assert [each.value for each in events.Scalars("loss/valid")] == pytest.approx(
        [line["valid_loss"] for line in logged]
    )
    for picture, step in zip(events.Images("samples"), (2, 4), strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)).convert("L"))
        assert picture.step == step
        assert pixels.std() > 1  # not blank
    capsys.readouterr()


def test_resume_refuses_changed_data(stroke_run: Path, doodles: Corpus, tmp_path: Path, capsys: Capture) -> None:
    run, data = tmp_path / "run", tmp_path / "data.npz"
    shutil.copytree(stroke_run, run)
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace(json.dumps(str(stroke_run.parent / "data.npz")), f'"{data}"'))
    native.write(replace(doodles, motion=doodles.motion + np.int16(1)), data)
    assert_refused(["train", "--resume", str(run)], "differs from the data that the run was trained on", capsys)


def test_resume_refuses_a_run_without_checkpoint_and_keeps_its_weights(
    stroke_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(stroke_run, run)
    (run / "last.pt").unlink()
    assert_refused(["train", f"--resume={run}"], "last.pt is missing", capsys)
    assert (run / "model.safetensors").read_bytes() == (stroke_run / "model.safetensors").read_bytes()


@pytest.mark.parametrize("form", ["--from {}", "--from={}"])
def test_fine_tuning_starts_from_a_run_without_a_preset(
    form: str, stroke_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The sizes are those of the run; the learning rate is half of the preset's, unless it is given."""
    data = str(stroke_run.parent / "data.npz")
    start = ["train", *form.format(stroke_run).split(), "--data", data, "--steps", "2", "--validations", "1"]
    assert main([*start, "--out", str(tmp_path / "tuned")]) == 0
    assert main([*start, "--out", str(tmp_path / "faster"), "--learning-rate", "0.01", "--model.dropout", "0.2"]) == 0
    capsys.readouterr()
    tuned, faster = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("tuned", "faster"))
    assert tuned["model"] == json.loads((stroke_run / "config.json").read_text())["model"]
    assert (tuned["training"]["learning_rate"], faster["training"]["learning_rate"]) == (0.002, 0.01)
    assert (tuned["init"]["run"], faster["model"]["dropout"]) == (str(stroke_run), 0.2)
    assert main(["info", str(tmp_path / "tuned")]) == 0
    assert f"command     mdnrnn train --from {stroke_run} --data {data} --out tuned" in capsys.readouterr().out


def test_help_of_fine_tuning_shows_the_values_of_the_run(capsys: Capture) -> None:
    assert main(["train", "--from", "kanji", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "usage: mdnrnn train " in printed
    assert "Hidden size, H. (default: 512)" in printed
    assert "(default: 0.003)" in printed


MISTAKES = {
    "unknown source": ("train --from nosuch --data doodles --out new", "nosuch: no such run folder"),
    "no source": ("train stroke --data doodles --out new --from", "--from: received no value, expected a run folder"),
    "preset of other sizes": (
        "train stroke-small --from kanji --data doodles --out new",
        "preset: received mdnrnn (core lstm, hidden 256, layers 1",
    ),
    "option that the source determines": (
        "train --from kanji --data doodles --out new --model.hidden 8",
        "model.hidden: received 8, expected 512 as in the run",
    ),
    "existing folder": ("train stroke --data doodles --out RUN", "exists already"),
    "nothing to resume": ("train --resume nosuch", "config.json is missing"),
    "two budgets": ("train stroke --data doodles --out new --steps 5 --minutes 1", "both steps and minutes"),
    "model too large": ("train stroke --data doodles --out new --model.hidden 3000000", "choose smaller sizes"),
    "windows for a model of whole sequences": (
        "train sketch-small --data doodles --out new --window 20 --augment-scale 0 --augment-drop 0",
        "trains on whole sequences only",
    ),
    "data without texts": (
        "train handwriting-small --data doodles --out new --steps 1",
        "6000 of 6000 drawings have no text",
    ),
}


@pytest.mark.parametrize(("line", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_reported_in_one_line_and_writes_nothing(
    line: str, message: str, stroke_run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused([str(stroke_run) if word == "RUN" else word for word in line.split()], message, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_cuda_is_reported(tmp_path: Path, capsys: Capture) -> None:
    arguments = ["train", "stroke", "--data", "doodles", "--out", str(tmp_path / "new"), "--device", "cuda"]
    assert_refused(arguments, "CUDA is not available (no GPU, or a CPU build of torch); use --device cpu", capsys)
    assert not list(tmp_path.iterdir())


@posix_only
def test_full_disk_during_training_is_reported_and_leaves_no_partial_files(
    stroke_run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--steps", "4", "--model.hidden", "64", "--validations", "2", "--device", "cpu"]
    arguments = ["train", "stroke", "--data", str(stroke_run.parent / "data.npz"), "--out", "new", *options]
    with limit_file_size(20_000):
        assert main(arguments) == 2
    reported = capsys.readouterr().err
    assert "error: cannot write new/" in reported
    assert "Traceback" not in reported
    assert not (tmp_path / "new" / "last.pt").exists()
    assert not list((tmp_path / "new").glob(".*"))


@posix_only
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_a_checkpoint_and_prints_how_to_resume(
    number: signal.Signals,
    status: int,
    stroke_run: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def send_signal(trainer: Trainer) -> bool:
        if trainer.progress.step == 3:
            os.kill(os.getpid(), number)
        return False

    monkeypatch.setattr(Trainer, "validation_is_due", send_signal)
    data, out = str(stroke_run.parent / "data.npz"), tmp_path / "new"
    sizes = ["--model.hidden", "8", "--model.components", "2"]
    arguments = ["train", "stroke", "--data", data, "--out", str(out), "--steps", "100000", *sizes]
    assert main(arguments) == status
    printed, reported = capsys.readouterr()
    assert printed == ""
    assert f"stopped by {number.name} at step " in reported
    assert reported.endswith(f"resume with: mdnrnn train --resume {out}\n")
    assert (out / "last.pt").exists()


@posix_only
def test_process_stops_on_sigterm_with_status_143(stroke_run: Path, tmp_path: Path) -> None:
    sizes = ["--model.hidden", "8", "--model.components", "2", "--batch-size", "4"]
    options = ["--out", "new", "--steps", "100000", *sizes, "--device", "cpu"]
    arguments = ["train", "stroke", "--data", str(stroke_run.parent / "data.npz"), *options]
    command = [sys.executable, "-m", "mdnrnn", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, env=ONE_THREAD, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "new" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith("resume with: mdnrnn train --resume new")
    assert (tmp_path / "new" / "last.pt").exists()
