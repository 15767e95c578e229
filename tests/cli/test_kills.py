"""Commands killed before every file-system event: outputs are whole or absent, and the next run deletes leftovers."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mdnrnn.cli import main
from mdnrnn.data.formats import native, ndjson
from mdnrnn.training.metrics import read_metrics
from tests.cli.kills import run_in_fork
from tests.helpers import random_corpus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
CORPUS = random_corpus([5, 9, 4, 7] * 3, classes=("a", "b"))
SAMPLE = 6
"""Number of events that the fast tests select, evenly spaced."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the corpus data.npz and the drawings data.ndjson."""
    folder = tmp_path_factory.mktemp("data")
    native.write(CORPUS, folder / "data.npz")
    ndjson.write(CORPUS, folder / "data.ndjson")
    return folder


def train_command(data: Path, out: Path) -> list[str]:
    """Return the command that starts a run or, if the run has a config, the command that resumes it."""
    if (out / "config.json").exists():
        return ["train", "--resume", str(out)]
    options = "--steps 3 --validations 2 --batch-size 8 --checkpoint-seconds 0 --device cpu"
    sizes = "--model.hidden 4 --model.components 2"
    return ["train", "stroke", "--data", str(data / "data.npz"), "--out", str(out), *options.split(), *sizes.split()]


@pytest.fixture(scope="module")
def whole_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training that was not killed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(train_command(data, out)) == 0
    return out


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two runs have the same files, weights and metrics, and no leftovers."""
    assert names_in(one) == names_in(other)
    weights = [load_file(run / "model.safetensors") for run in (one, other)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    last = [torch.load(run / "last.pt", weights_only=True)["model"] for run in (one, other)]
    assert all(torch.equal(tensor, last[1][name]) for name, tensor in last[0].items())
    metrics = [[{**line, "seconds": 0} for line in read_metrics(run)] for run in (one, other)]
    assert metrics[0] == metrics[1]


def kill_points(command: Callable[[], object], folder: Path, every: bool) -> Iterator[int]:
    """Run a command once to count its events; yield all indices, or a sample."""
    count = run_in_fork(command, folder)
    shutil.rmtree(folder)
    for index in range(count) if every else sorted({count * i // SAMPLE for i in range(SAMPLE)}):
        folder.mkdir()
        assert run_in_fork(command, folder, index) == -1
        yield index
        shutil.rmtree(folder)


EVERY = [False, pytest.param(True, marks=pytest.mark.slow)]


@pytest.mark.parametrize("every", EVERY)
def test_killed_training_resumes_to_the_weights_of_an_uninterrupted_one(
    data: Path, whole_run: Path, tmp_path: Path, every: bool
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    out = folder / "run"
    for _ in kill_points(lambda: main(train_command(data, out)), folder, every):
        for path in (out / "model.safetensors", out / "last.pt"):
            if path.exists():
                (load_file if path.suffix == ".safetensors" else torch.load)(path)
        assert main(train_command(data, out)) == 0
        assert_same_run(whole_run, out)


@pytest.mark.slow
def test_training_killed_twice_resumes_to_the_weights_of_an_uninterrupted_one(
    data: Path, whole_run: Path, tmp_path: Path
) -> None:
    """The resumed training is killed, too, at an event near the one at which the first training was killed."""
    folder = tmp_path / "work"
    folder.mkdir()
    out = folder / "run"
    for index in kill_points(lambda: main(train_command(data, out)), folder, True):
        run_in_fork(lambda: main(train_command(data, out)), folder, index // 2)
        assert main(train_command(data, out)) == 0
        assert_same_run(whole_run, out)


OUTPUTS = {
    "import a file": "data import DATA/data.ndjson --out OUT.npz",
    "import a folder": "data import DATA/data.ndjson --out OUT",
    "export ndjson": "data export DATA/data.npz --out OUT.ndjson --format ndjson",
    "export inkml": "data export DATA/data.npz --out OUT.inkml --format inkml",
    "export svg": "data export DATA/data.npz --out OUT --format svg --split test",
    "export sketchrnn": "data export DATA/data.npz --out OUT.npz --format sketchrnn",
    "export corpus": "data export DATA/data.npz --out OUT --format corpus",
    "generate svg": "generate RUN --out OUT.svg -n 2 --device cpu",
    "generate npz": "generate RUN --out OUT.npz -n 2 --device cpu",
    "generate ndjson": "generate RUN --out OUT.ndjson -n 2 --device cpu",
}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("line", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_output_of_a_killed_command_is_whole_or_absent(
    line: str, data: Path, whole_run: Path, tmp_path: Path, every: bool
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    places = {"DATA": str(data), "RUN": str(whole_run), "OUT": str(folder / "out")}
    for place, path in places.items():
        line = line.replace(place, path)
    command = line.split()
    assert run_in_fork(lambda: main(command), folder) > 0
    whole = content(folder)
    for _ in kill_points(lambda: main(command), folder, every):
        done = {name: data for name, data in content(folder).items() if not name.startswith(".")}
        assert done in ({}, whole)
        assert main(command) == (2 if done and "data" in command else 0)  # `data` commands do not replace an output
        assert content(folder) == whole
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
