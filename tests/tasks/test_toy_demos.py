"""Toy demos: results, pictures, reproducibility, statistics against SciPy, signals, and with -m slow their quality."""

import contextlib
import io
import json
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import kstest, kstwobign

from mdnrnn.cli import main
from mdnrnn.data.toys import TOYS
from mdnrnn.models.feedforward import MDN, SquaredErrorNetwork
from mdnrnn.tasks.toy_demos import HELD_OUT, KS_LIMIT, ks_distance, measure, run_demo, squared_error
from mdnrnn.tasks.toy_settings import DEMOS
from mdnrnn.training.trainer import Trainer
from tests.cli.helpers import assert_refused
from tests.render.helpers import draft_bytes

Capture = pytest.CaptureFixture[str]
KEYS = ["name", "n", "test_nll", "floor", "gap", "baseline_mse", "seconds", "parameters"]
PNG = b"\x89PNG\r\n\x1a\n"


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Reduce the training of all demos to 20 steps, and the evaluation to 2,000 points."""
    for name, demo in DEMOS.items():
        patch.setitem(DEMOS, name, replace(demo, steps=20))
    patch.setattr("mdnrnn.tasks.toy_demos.HELD_OUT", 2000)


@pytest.fixture
def short_demos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce training and evaluation of all demos, and write empty pictures."""
    shorten(monkeypatch)
    monkeypatch.setattr("mdnrnn.tasks.toy_demos.figure_bytes", lambda figure, extension: b"")


@pytest.fixture(scope="module")
def all_demos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Run all demos with 300 points; return the folder and the printed results."""
    folder = tmp_path_factory.mktemp("demos")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        shorten(patch)
        patch.setattr("mdnrnn.tasks.toy_demos.figure_bytes", draft_bytes)
        assert main(["demo", "all", "--out", str(folder), "--n", "300", "--json"]) == 0
    return folder, json.loads(printed.getvalue())


def test_every_toy_problem_has_a_demo() -> None:
    assert list(DEMOS) == list(TOYS)


@pytest.mark.parametrize("name", DEMOS)
def test_demo_prints_its_result_and_saves_its_pictures(name: str, all_demos: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, results = all_demos
    result = next(result for result in results if result["name"] == name)
    assert list(result) == KEYS
    assert result["n"] == 300
    assert result["gap"] == pytest.approx(result["test_nll"] - result["floor"])
    assert result["floor"] == pytest.approx(TOYS[name].make_dataset(300).entropy())
    assert json.loads((folder / name / "result.json").read_text()) == result
    pictures = sorted((folder / name).glob("*.png"))
    assert [path.stem for path in pictures] == ["calibration", "components", "density", "loss", "samples"]
    assert all(path.read_bytes().startswith(PNG) for path in pictures)


def test_all_demos_are_on_one_page_without_external_resources(all_demos: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, results = all_demos
    assert [result["name"] for result in results] == list(DEMOS)
    page = (folder / "index.html").read_text()
    assert page.count("<img") == 5 * len(DEMOS) == page.count("data:image/png;base64")
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.usefixtures("short_demos")
def test_single_demo_prints_one_result_and_writes_to_the_folder(tmp_path: Path, capsys: Capture) -> None:
    assert main(["demo", "sine", "--out", str(tmp_path / "demo"), "--n", "50", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["name"], result["n"]) == ("sine", 50)
    assert json.loads((tmp_path / "demo" / "result.json").read_text()) == result
    assert (tmp_path / "demo" / "samples.png").exists()


@pytest.mark.usefixtures("short_demos")
def test_printed_report_has_the_figures_of_the_result(tmp_path: Path, capsys: Capture) -> None:
    assert main(["demo", "arcsine", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    nll = f"{result['test_nll']:.4f} nats per held-out point; entropy 1.2880, gap {result['gap']:.4f}"
    assert nll in printed
    assert "mixture density network: 510 parameters" in printed
    assert "squared-error network: 286 parameters" in printed


@pytest.mark.usefixtures("short_demos")
def test_same_seed_gives_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdnrnn.tasks.toy_demos.CAPTIONS", {})
    monkeypatch.setattr("mdnrnn.tasks.toy_demos._density_figures", lambda *arguments: {})
    first, second = (asdict(run_demo("spiral", n=200, seed=3).result) for _ in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert run_demo("spiral", n=200, seed=4).result.test_nll != first["test_nll"]


def test_measured_means_do_not_depend_on_the_batches() -> None:
    """12,345 points are not a multiple of the batch size."""
    dataset = TOYS["spiral-2d"].make_dataset(100)
    model, baseline = MDN(1, 2, None, dataset.points).eval(), SquaredErrorNetwork(1, 2, None, dataset.points)
    points = dataset.sample(12_345, 1)
    nll, pit = measure(model, points)
    with torch.no_grad():
        mixture = model(points.x)
        assert nll == pytest.approx(-float(mixture.log_prob(points.y).double().mean()), abs=1e-5)
        torch.testing.assert_close(pit, mixture.pit(points.y))
        expected = float((baseline(points.x) - points.y).square().mean())
    assert squared_error(baseline, points) == pytest.approx(expected, rel=1e-5)


def test_ks_distance_and_its_limit_equal_those_of_scipy() -> None:
    values = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0)) ** torch.tensor([1.0, 1.3])
    expected = [kstest(column.numpy(), "uniform").statistic for column in values.double().unbind(1)]
    assert ks_distance(values) == pytest.approx(expected)
    assert pytest.approx(kstwobign.isf(0.01), abs=1e-3) == KS_LIMIT * HELD_OUT**0.5


def test_more_points_mean_less_noise_finer_detail_and_more_steps() -> None:
    demo = DEMOS["sine"]
    few, published, many = (demo.scale_to(n / TOYS["sine"].size) for n in (100, 2500, 100_000))
    assert few[0].input_noise == 2 * published[0].input_noise == 2 * demo.model.input_noise
    assert many[0].input_noise == pytest.approx(demo.model.input_noise / 40)
    assert few[1] == published[1]
    assert many[0].detail > published[0].detail == demo.model.detail
    assert many[1].steps is not None
    assert many[1].steps > (published[1].steps or 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cosine --out x", "demo: received 'cosine', expected one of sine, forward-sine"),
        ("sine", "Missing from mdnrnn demo sine: --out"),
        ("sine --out x --n 1", "--n: received 1, expected 2 or more points"),
        ("sine --out x --seed -1", "--seed: received -1, expected 0 or more"),
    ],
    ids=["unknown demo", "no folder", "one point", "negative seed"],
)
def test_mistake_is_reported_in_one_line_and_writes_nothing(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(["demo", *line.split()], message, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops_a_demo_without_a_result(
    number: signal.Signals, status: int, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_signal(trainer: Trainer) -> bool:
        os.kill(os.getpid(), number)
        return False

    monkeypatch.setattr(Trainer, "validation_is_due", send_signal)
    assert main(["demo", "sine", "--out", str(tmp_path), "--n", "50"]) == status
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


MAX_GAP = {
    "sine": 0.05, "forward-sine": 0.04, "arcsine": 0.1, "spiral": 0.04, "spiral-jitter": 0.12, "spiral-2d": 0.04,
}  # fmt: skip
"""Maximum gap in nats per point, with the published number of points."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MAX_GAP)
def test_gap_is_small_with_the_published_number_of_points(name: str) -> None:
    assert -0.02 < run_demo(name).result.gap <= MAX_GAP[name]


@pytest.mark.slow
def test_many_points_close_the_gap_and_calibrate() -> None:
    """A perfectly calibrated model has a larger Kolmogorov-Smirnov distance with probability 1%; the seed is fixed."""
    report = run_demo("sine", n=100_000)
    assert report.result.gap <= 0.010
    assert report.distance[0] < KS_LIMIT
    assert 0.88 <= report.coverage[0] <= 0.92
