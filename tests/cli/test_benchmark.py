"""`mdnrnn benchmark`: figures of small benchmarks, and errors."""

import json
from pathlib import Path

import pytest

from mdnrnn.cli import main
from tests.benchmark.helpers import shrink_benchmarks
from tests.cli.helpers import assert_refused

Capture = pytest.CaptureFixture[str]
BENCHMARKS = {
    "head": ("head --rows 50 --no-compiled", ("speedup", "speedup_unchecked", "memory_ratio")),
    "train": ("train --hidden 16 --batches 2 --data DATA", ("speedup", "real_fraction")),
    "train Sketch-RNN": (
        "train --preset sketch-small --hidden 16 --batch-size 4 --batches 2 --data DATA",
        ("speedup", "speedup_scale_tril", "speedup_same_memory", "plain_points_per_second", "parameters"),
    ),
    "export": ("export RUN --steps 3", ("step_bytes", "initial_bytes", "onnx_ms", "torch_ms")),
    "generate": ("generate --hidden 16 --steps 4", ("batch_256_over_1", "step_over_matvec")),
}


@pytest.mark.parametrize(("line", "keys"), BENCHMARKS.values(), ids=BENCHMARKS.keys())
def test_benchmark_prints_positive_figures(
    line: str, keys: tuple[str, ...], stroke_run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_benchmarks(monkeypatch)
    names = {"DATA": str(stroke_run.parent / "data.npz"), "RUN": str(stroke_run)}
    arguments = [names.get(word, word) for word in line.split()]
    assert main(["benchmark", *arguments, "--repeats", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert all(figures[key] > 0 for key in keys)


@pytest.mark.parametrize(
    ("line", "message"),
    [("train --preset nosuch", "received 'nosuch'"), ("generate --repeats 0", "repeats: received 0")],
    ids=["unknown preset", "no repeats"],
)
def test_mistake_is_reported_in_one_line(line: str, message: str, capsys: Capture) -> None:
    assert_refused(["benchmark", *line.split()], message, capsys)
