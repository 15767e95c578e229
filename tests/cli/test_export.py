"""`mdnrnn export`: files of a run, formats, and errors."""

from pathlib import Path

import pytest
import torch

from mdnrnn.cli import main
from tests.cli.helpers import assert_refused
from tests.export.helpers import OnnxGraph, Pt2Graph, needs_export

pytestmark = needs_export
Capture = pytest.CaptureFixture[str]


def test_onnx_files_of_a_run(stroke_run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "model.onnx"
    assert main(["export", str(stroke_run), "--out", str(out)]) == 0
    printed, progress = capsys.readouterr()
    names = ["model.onnx", "model.initial.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert printed.splitlines() == [f"{tmp_path / name}: {(tmp_path / name).stat().st_size:,} bytes" for name in names]
    assert progress == ""
    assert OnnxGraph(out).metadata["classes"][:2] == ["butterfly", "car"]


def test_pt2_files_of_a_run(touch_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.bin"
    assert main(["export", str(touch_run), "--out", str(out), "--format", "pt2"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.initial.bin"]
    step = Pt2Graph(out)
    assert step.metadata["features"] == ["dx", "dy", "dt"]
    assert step.metadata["units"] == ["px", "px", "s"]
    assert step.metadata["logs"] == [2]
    assert torch.tensor(step.metadata["bounds"]).shape == (2, 2)
    assert step.metadata["start"] == "up"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("model.onnx --format pt2", "--format: received pt2 for model.onnx, expected onnx; omit --format"),
        ("model.txt", "--out: received model.txt, expected a file that ends in .onnx or .pt2; or pass --format"),
        ("nosuch/model.onnx", "nosuch/model.onnx: the folder nosuch does not exist; create it"),
    ],
)
def test_invalid_outputs_are_errors(
    out: str, message: str, stroke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(["export", str(stroke_run), "--out", *out.split()], message, capsys)
    assert not list(tmp_path.iterdir())
