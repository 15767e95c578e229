"""The speed table contains the measured results and replaces the previous table of a Markdown file."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mdnrnn.benchmark import ImportFigures, benchmark_generate, benchmark_head, benchmark_live, benchmark_train
from mdnrnn.benchmark.corpora import benchmark_corpus
from mdnrnn.benchmark.suite import table
from mdnrnn.cli import main
from mdnrnn.device import single_thread
from tests.benchmark.helpers import shrink_benchmarks
from tests.helpers import shorten


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Return results as `mdnrnn benchmark all --json` prints them, for small sizes and an invented machine."""
    with pytest.MonkeyPatch.context() as patch, single_thread():
        shrink_benchmarks(patch)
        train = {
            preset: asdict(
                benchmark_train(
                    shorten(benchmark_corpus(preset, small=True), 60),
                    preset,
                    hidden=8,
                    batch_size=3,
                    repeats=1,
                    batches=1,
                )
            )
            for preset in ("stroke-small", "gesture-s")
        }
        found = {
            "date": "2026-01-02",
            "machine": {
                "device_name": "x86_64",
                "processor": "A processor",
                "threads": 2,
                "torch_version": "2.13.0",
                "python_version": "3.11.7",
            },
            "limits": {"float32": 1.78e11, "bfloat16": 4.2e11, "copy": 2.97e10},
            "head": asdict(benchmark_head(rows=64, compiled=False, repeats=1)),
            "train": train,
            "generate": asdict(benchmark_generate(hidden=8, steps=2, repeats=1)),
            "import": {
                "ndjson": asdict(
                    ImportFigures(drawings=9, per_second=5000.0, parse_per_second=2e4, peak_mb_small=1, peak_mb=1)
                ),
                "bin": asdict(
                    ImportFigures(drawings=9, per_second=7000.0, parse_per_second=None, peak_mb_small=1, peak_mb=1)
                ),
            },
            "live": asdict(benchmark_live(steps=100)),
        }
    loaded: dict[str, Any] = json.loads(json.dumps(found))
    return loaded


def test_table_contains_the_results(figures: dict[str, Any]) -> None:
    text = table(figures)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 5 for line in lines)
    assert len(lines) == 2 + len(figures["train"]) + 4 + 2 + 1 + 2 + 1
    words = " ".join(text.split())
    assert "A processor, 2 threads, torch 2.13.0, Python 3.11.7, 2026-01-02" in words
    assert "420 GFLOP/s in bfloat16 and 178 GFLOP/s in float32, copy 29.7 GB/s" in words
    stroke = figures["train"]["stroke-small"]
    row = next(line for line in lines if "`stroke-small`" in line)
    assert f"{stroke['points_per_second']:,.0f} points per second | {stroke['speedup']:.1f} |" in row
    assert f"{stroke['fraction_of_matmul']:.0%} of a matrix product" in row
    assert " |  | " in next(line for line in lines if "`gesture-s`" in line)  # no baseline
    assert "5,000 drawings per second |  | 25% of" in next(line for line in lines if "ndjson" in line)
    assert re.search(r"one step at batch size 1, H 8 \| \d+ µs \|  \| [\d.]+ times", text)


def test_table_replaces_the_previous_table(figures: dict[str, Any], tmp_path: Path) -> None:
    readme, file = tmp_path / "README.md", tmp_path / "figures.json"
    readme.write_text("above\n<!-- benchmark table -->\nprevious table\n<!-- end of benchmark table -->\nbelow\n")
    file.write_text(json.dumps(figures))
    assert main(["benchmark", "table", str(file), str(file), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("above\n<!-- benchmark table -->\nx86_64")
    assert text.endswith("|\n<!-- end of benchmark table -->\nbelow\n")
    assert "previous table" not in text
    assert text.count("`gesture-s`") == 2 + 2  # a training row and a live row on each of two machines


@pytest.mark.parametrize(
    ("readme", "figure", "complaint"),
    [
        ("no place", "{}", "missing or repeated marker lines"),
        (
            "<!-- benchmark table -->\n<!-- end of benchmark table -->",
            "{}",
            "not a result file",
        ),
        (
            "<!-- benchmark table -->\n<!-- end of benchmark table -->",
            "[",
            "not a result file",
        ),
    ],
)
def test_invalid_table_files_are_refused(
    tmp_path: Path, readme: str, figure: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text(readme)
    (tmp_path / "figures.json").write_text(figure)
    arguments = ["benchmark", "table", str(tmp_path / "figures.json"), "--readme", str(tmp_path / "README.md")]
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == readme
