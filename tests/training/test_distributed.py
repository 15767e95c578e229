"""Distributed training with two ranks: same weights as with one rank, interruption, killed ranks, commands.

torchrun starts this file as a script: `main` at the end is the program of each rank. Starting ranks is slow, so one
start runs all cases, rank 1 is killed in the last case, and the tests check the files that the ranks leave.
"""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

import mdnrnn
from mdnrnn import cli
from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.formats import native
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.static import Points
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.data.training_windows import Windows
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss, Model, StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.models.feedforward import MDN
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.models.state import shard_state, unshard_state
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.run import load
from mdnrnn.training import distributed
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig, TrainConfig
from mdnrnn.training.metrics import METRICS_FILE, read_metrics
from mdnrnn.training.trainer import fit

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":  # without pytest's import path; Hershey-Fonts installs another package "tests"
    package = ModuleType("tests")
    package.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = package

from tests.helpers import make_controls, make_episodes, random_corpus  # noqa: E402

STOP_STEP, KILL_STEP = 12, 7
CONFIG = SequenceTrainConfig(steps=30, batch_size=8, warmup=5, validations=3, precision="float32")
HANG_SECONDS = 500
"""Time after which a test assumes that the ranks hang."""

needs_posix_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@dataclass(frozen=True)
class Case:
    """A model with its data and training options."""

    model: Model
    train: Any
    valid: Any
    config: TrainConfig


EXACT_CASES = ["drawings", "by points", "windows", "worlds", "points"]
"""Cases whose weights do not depend on the number of ranks."""
NOISY_CASES = ["sketch", "handwriting", "dropout"]
"""Cases with random numbers that differ between ranks."""


def make_corpus(name: str) -> Corpus:
    """17 sequences give batches of 8, 8 and 1: one rank has no sequence of the last batch."""
    if name == "windows":
        return make_controls((90, 130, 40))
    if name == "worlds":
        return make_episodes(tuple(range(5, 22)), posteriors=True)
    lengths = np.random.default_rng(1).integers(5, 40, 17)
    return random_corpus([int(length) for length in lengths])


def make_short_lines() -> Corpus:
    """Return 7 lines of pen text, shortened to 30 to 36 points and 5 characters."""
    lines = make_pen_text(1, {"train": 5, "valid": 1, "test": 1})

    def shorten(i: int) -> Sequence:
        line = lines[i]
        assert line.text is not None
        event = mark_end(line.event[: 30 + i])
        return line._replace(motion=line.motion[: 30 + i], event=event, text=line.text[:5])

    return pack(lines.metadata, {split: [shorten(i) for i in lines.indices(split)] for split in lines.splits})


def make_case(name: str, model_class: type[MDNRNN] = MDNRNN) -> Case:
    torch.manual_seed(0)
    if name == "points":
        x = torch.linspace(-1, 1, 65).unsqueeze(1)
        config = TrainConfig(steps=30, batch_size=16, precision="float32")
        return Case(MDN(1, 1, MDNConfig(components=3)), Points(x, x.sin()), Points(x, x.cos()), config)
    corpus, config = make_corpus(name), CONFIG
    if name == "windows":
        config = replace(CONFIG, batch_size=4, window=10, augment_scale=0.0, augment_drop=0.0)
    if name == "by points":
        config = replace(CONFIG, by_points=True)
    model = model_class(StepShape.from_corpus(corpus), MDNRNNConfig(hidden=16, components=3, dropout=0.0))
    return Case(model, *config.splits(corpus, Normalizer.from_corpus(corpus)), config)


def make_noisy_case(name: str) -> Case:
    torch.manual_seed(0)
    corpus = make_short_lines() if name == "handwriting" else make_corpus("drawings")
    shape, config = StepShape.from_corpus(corpus), replace(CONFIG, steps=3, batch_size=4)
    models: dict[str, Callable[[], Model]] = {
        "sketch": lambda: SketchRNN(shape, SketchRNNConfig(encoder=8, hidden=8, latent=4, components=2)),
        "handwriting": lambda: HandwritingRNN(shape, HandwritingConfig(hidden=8, window=2, components=2)),
        "dropout": lambda: MDNRNN(shape, MDNRNNConfig(hidden=8, components=2, dropout=0.5)),
    }
    return Case(models[name](), *config.splits(corpus, Normalizer.from_corpus(corpus)), config)


class StoppedModel(MDNRNN):
    """Rank 1 receives SIGTERM in step STOP_STEP."""

    calls = 0
    signal_step = STOP_STEP
    signal_name = "SIGTERM"

    def loss_with_state(self, batch: Batch, state: Any) -> Loss:
        self.calls += 1
        if self.calls == self.signal_step and distributed.rank() == 1:
            os.kill(os.getpid(), signal.Signals[self.signal_name])
        return super().loss_with_state(batch, state)


class KilledModel(StoppedModel):
    """Rank 1 receives SIGKILL in step KILL_STEP."""

    signal_step = KILL_STEP
    signal_name = "SIGKILL"


def run_case(case: Case, folder: Path) -> None:
    """Train a case; rank 0 writes to result.json whether all ranks have the same weights, and the signal."""
    result = fit(case.model, case.train, case.valid, folder, case.config)
    weights = distributed.gather_objects(dict(case.model.state_dict()))
    same = all(torch.equal(weights[0][name], tensor) for other in weights for name, tensor in other.items())
    if distributed.rank() == 0:
        interrupted = result.interrupted and int(result.interrupted)
        (folder / "result.json").write_text(json.dumps({"same": same, "interrupted": interrupted}))


class CountingModel(MDNRNN):
    """Counts the sequences of all training batches."""

    sequences = 0

    def loss_with_state(self, batch: Batch, state: Any) -> Loss:
        self.sequences += batch.size
        return super().loss_with_state(batch, state)


def run_group_case(folder: Path) -> None:
    """Train without this file's process group; each rank writes its weights and a record."""
    case = make_case("drawings", CountingModel)
    has_group = torch.distributed.is_initialized()
    fit(case.model, case.train, case.valid, folder, case.config)
    unchanged = torch.distributed.is_initialized() == has_group
    number = os.environ["RANK"]
    torch.save(case.model.state_dict(), folder / f"weights-{number}.pt")
    record = {"unchanged": unchanged, "has_group": has_group, "sequences": case.model.sequences}
    (folder / f"record-{number}.json").write_text(json.dumps(record))


def run_command(folder: Path, name: str, *arguments: str) -> None:
    """Run a command on this rank; write its status and output to NAME-RANK.json."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            status = cli.main(list(arguments))
        except SystemExit as error:
            status = int(error.code or 0)
    record = {"status": status, "stdout": stdout.getvalue(), "stderr": stderr.getvalue()}
    (folder / f"{name}-{os.environ['RANK']}.json").write_text(json.dumps(record))


def start_ranks(folder: Path) -> "subprocess.Popen[str]":
    """Start two ranks of this file with torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, str(folder)], stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Folder with the results of all cases and commands on two ranks, and the exit status and errors of torchrun.

    The workers of pytest-xdist share the folder: the first one that needs it starts the ranks.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "two-ranks"
    status = folder / "status.json"
    with FileLock(f"{folder}.lock"):
        if not status.exists():
            folder.mkdir()
            native.write(make_corpus("drawings"), folder / "data.npz")
            process = start_ranks(folder)
            _, errors = process.communicate(timeout=HANG_SECONDS)
            status.write_text(json.dumps({"returncode": process.returncode, "errors": errors}))
    assert (folder / NOISY_CASES[-1] / "result.json").exists(), status.read_text()  # the last case before the kill
    return folder


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Function from the name of a case to the folder of its training with one rank."""
    folders: dict[str, Path] = {}

    def train(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("one-rank")
            run_case(make_case(name), folders[name])
        return folders[name]

    return train


def max_difference(one: Path, other: Path) -> float:
    """Return the largest difference between the weights of two trainings, the last ones and the best ones."""
    last = [torch.load(folder / CHECKPOINT_FILE, weights_only=True)["model"] for folder in (one, other)]
    best = [load_file(folder / WEIGHTS_FILE) for folder in (one, other)]
    return max(float((a[name] - b[name]).abs().max()) for a, b in (last, best) for name in a)


@needs_posix_signals
@pytest.mark.parametrize("name", EXACT_CASES)
def test_two_ranks_train_the_weights_of_one_rank(two_ranks: Path, one_rank: Callable[[str], Path], name: str) -> None:
    assert max_difference(one_rank(name), two_ranks / name) < 1e-5
    one, two = read_metrics(one_rank(name)), read_metrics(two_ranks / name)
    assert [line["points"] for line in one] == [line["points"] for line in two]
    for metric in ("train_loss", "valid_loss"):
        values = [[line[metric] for line in lines if metric in line] for lines in (one, two)]
        np.testing.assert_allclose(values[0], values[1], rtol=1e-5)


@needs_posix_signals
@pytest.mark.parametrize("name", ["no group", "no group again", "existing group"])
def test_fit_forms_a_process_group_or_uses_the_existing_one(
    two_ranks: Path, one_rank: Callable[[str], Path], name: str
) -> None:
    """Each rank trains on a part of every batch, and both have the weights of one rank. The group is left as it was."""
    assert max_difference(one_rank("drawings"), two_ranks / name) < 1e-5
    weights = [torch.load(two_ranks / name / f"weights-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())
    records = [json.loads((two_ranks / name / f"record-{rank}.json").read_text()) for rank in (0, 1)]
    assert [record["has_group"] for record in records] == [name == "existing group"] * 2
    assert all(record["unchanged"] for record in records)
    assert CONFIG.steps is not None
    epochs = CONFIG.steps / 3  # of 17 sequences; with 1 sequence in the last batch, the idle rank has a placeholder
    assert records[0]["sequences"] + records[1]["sequences"] == epochs * 18


@needs_posix_signals
def test_train_uses_an_existing_process_group(two_ranks: Path, tmp_path: Path) -> None:
    out = two_ranks / "existing group run"
    config = RunConfig.read(out)
    mdnrnn.train("stroke", two_ranks / "data.npz", tmp_path, model=config.model, training=config.training)
    assert max_difference(tmp_path, out) < 1e-5


@needs_posix_signals
@pytest.mark.parametrize("name", ["drawings", "windows"])
def test_one_rank_resumes_what_two_ranks_started(two_ranks: Path, one_rank: Callable[[str], Path], name: str) -> None:
    """Both ranks stop in the step after the one in which rank 1 received the signal."""
    folder = two_ranks / f"{name} stopped"
    assert json.loads((folder / "result.json").read_text())["interrupted"] == signal.SIGTERM
    step = torch.load(folder / CHECKPOINT_FILE, weights_only=True)["progress"]["step"]
    assert STOP_STEP <= step <= STOP_STEP + 1
    run_case(make_case(name), folder)
    assert max_difference(one_rank(name), folder) < 1e-5


@needs_posix_signals
@pytest.mark.parametrize("name", [*EXACT_CASES, *NOISY_CASES])
def test_both_ranks_have_the_same_weights(two_ranks: Path, name: str) -> None:
    assert json.loads((two_ranks / name / "result.json").read_text())["same"]


@needs_posix_signals
def test_killed_rank_ends_the_other_rank_and_leaves_a_checkpoint(
    two_ranks: Path, one_rank: Callable[[str], Path]
) -> None:
    status = json.loads((two_ranks / "status.json").read_text())
    assert status["returncode"] != 0
    assert "lost the connection to another rank" in status["errors"]
    assert "Signal 9" in status["errors"]
    folder = two_ranks / "killed"
    assert not (folder / "result.json").exists()
    run_case(make_case("drawings"), folder)
    assert max_difference(one_rank("drawings"), folder) < 1e-5


def read_command(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]


@needs_posix_signals
def test_train_command_reports_once(two_ranks: Path) -> None:
    first, second = read_command(two_ranks, "train")
    out = two_ranks / "run"
    assert (first["status"], second["status"]) == (0, 0), first["stderr"] + second["stderr"]
    assert re.fullmatch(rf"{re.escape(str(out))}: 3 steps, [\d,]+ points in \d+ s, .*\n", first["stdout"])
    assert second["stdout"] == ""
    files = {"config.json", WEIGHTS_FILE, CHECKPOINT_FILE, METRICS_FILE, "loss.svg", "samples"}
    assert {path.name for path in out.iterdir()} >= files


@needs_posix_signals
def test_evaluate_command_prints_the_likelihood_of_one_rank(two_ranks: Path) -> None:
    first, second = read_command(two_ranks, "evaluate")
    assert (first["status"], second["status"]) == (0, 0), first["stderr"] + second["stderr"]
    assert second["stdout"] == ""
    figures = json.loads(first["stdout"])
    for name, value in asdict(load(two_ranks / "run").evaluate()).items():
        if isinstance(value, float):
            assert figures[name] == pytest.approx(value, rel=1e-9), name


@needs_posix_signals
def test_error_of_rank_0_ends_both_ranks_and_is_printed_once(two_ranks: Path) -> None:
    first, second = read_command(two_ranks, "train-again")
    assert (first["status"], second["status"]) == (2, 2)
    assert re.fullmatch(r"error: .* exists already.*\n", first["stderr"])
    assert second["stderr"] == ""


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_shards_partition_every_batch(world_size: int) -> None:
    """Every row is in exactly one shard, with the same augmentation and posterior sample as in the whole batch."""
    for corpus in (make_corpus("drawings"), make_corpus("worlds")):
        config = SequenceTrainConfig(batch_size=8, augment_drop=0.3)
        batches, _ = config.splits(corpus, Normalizer.from_corpus(corpus))
        assert isinstance(batches, Batches)
        shards = [list(batches.shard(rank, world_size).epoch(4)) for rank in range(world_size)]
        for number, batch in enumerate(batches.epoch(4)):
            parts = [shard[number] for shard in shards]
            assert [part.idle for part in parts] == [rank >= batch.size for rank in range(world_size)]
            parts = [part for part in parts if not part.idle]
            assert sorted(rows_of(batch)) == sorted(row for part in parts for row in rows_of(part))
            assert max(part.size for part in parts) - min(part.size for part in parts) <= 1


def rows_of(batch: Batch) -> list[tuple[int, bytes, bytes]]:
    """Return the sequence, target motion and previous motion of every row."""
    sequences = batch.indices[batch.sequence_of_row()].tolist()
    rows = zip(sequences, batch.target.motion.numpy(), batch.previous.motion.numpy(), strict=True)
    return [(sequence, target.tobytes(), previous.tobytes()) for sequence, target, previous in rows]


def test_shards_of_windows_keep_their_lanes() -> None:
    corpus = make_corpus("windows")
    windows = Windows(Batches(corpus, "train", Normalizer.from_corpus(corpus), 5), 9, carry=True)
    for rank in range(3):
        for batch, shard in zip(windows.epoch(1), windows.shard(rank, 3).epoch(1), strict=True):
            assert batch.continues is not None
            assert shard.continues is not None
            if not shard.idle:
                assert torch.equal(shard.continues, batch.continues[rank::3])
                assert torch.equal(shard.indices, batch.indices[rank::3])


@pytest.mark.parametrize(("sequences", "world_size"), [(7, 2), (6, 3), (2, 4)])
def test_unshard_state_inverts_shard_state(sequences: int, world_size: int) -> None:
    state = (torch.randn(2, sequences, 3), (torch.randn(1, sequences, 2),))
    parts = [shard_state(state, rank, world_size) for rank in range(world_size)]
    merged = unshard_state([part if part[0].shape[-2] else None for part in parts])
    assert torch.equal(merged[0], state[0])
    assert torch.equal(merged[1][0], state[1][0])
    assert unshard_state([None, None]) is None
    assert shard_state(None, 0, 2) is None


def test_collective_operations_with_one_rank_return_their_input() -> None:
    assert (distributed.world_size(), distributed.rank()) == (1, 0)
    assert distributed.all_reduce_sum(1.5, 2) == [1.5, 2]
    assert distributed.gather_objects({"a": 1}) == [{"a": 1}]
    assert distributed.from_rank_zero(lambda: "result") == "result"


def test_tensors_for_other_ranks_are_on_a_gpu_if_the_program_uses_nccl_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "choose_device", lambda name: torch.device(name, 1))
    expected = {"nccl": torch.device("cuda", 1), "gloo": torch.device("cpu"), "cpu:gloo,cuda:nccl": torch.device("cpu")}
    for backend, device in expected.items():
        monkeypatch.setattr(torch.distributed, "get_backend", lambda backend=backend: backend)
        assert distributed._collective_device() == device


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_incomplete_environment_does_not_form_a_process_group(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with distributed.process_group():
        assert distributed.world_size() == 1


def test_data_without_shards_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case("drawings")
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(InputError, match="received list with 2 ranks; expected data with a shard method"):
        fit(case.model, list(case.valid), None, None, case.config)


def main(folder: Path) -> None:
    """Program of each rank."""
    torch.set_num_threads(1)
    run_group_case(folder / "no group")
    run_group_case(folder / "no group again")
    torch.distributed.init_process_group("gloo")
    run_group_case(folder / "existing group")
    training = replace(CONFIG, steps=3)
    model = MDNRNNConfig(hidden=8, components=2, dropout=0.0)
    mdnrnn.train("stroke", folder / "data.npz", folder / "existing group run", model=model, training=training)
    torch.distributed.destroy_process_group()
    with distributed.process_group():
        options = ["--steps", "3", "--model.hidden", "8", "--validations", "1"]
        data, out = str(folder / "data.npz"), str(folder / "run")
        run_command(folder, "train", "train", "stroke", "--data", data, "--out", out, *options)
        run_command(folder, "evaluate", "evaluate", out, "--json")
        run_command(folder, "train-again", "train", "stroke", "--data", data, "--out", out)
        for name in EXACT_CASES:
            run_case(make_case(name), folder / name)
        for name in ("drawings", "windows"):
            run_case(make_case(name, StoppedModel), folder / f"{name} stopped")
        for name in NOISY_CASES:
            run_case(make_noisy_case(name), folder / name)
        run_case(make_case("drawings", KilledModel), folder / "killed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
