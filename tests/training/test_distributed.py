"""Training in several processes: the same weights as in one, whoever ends, whatever is resumed.

Run as a script, under torchrun, this file is one of the processes.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.static import Points
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.data.windows import Windows
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss, Model, StepShape, shard_state, unshard_state
from mdnrnn.models.configs import HandwritingConfig, MDNConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.models.feedforward import MDN
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.runs.run import load
from mdnrnn.training import distributed
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig, TrainConfig
from mdnrnn.training.metrics import METRICS_FILE, read_metrics
from mdnrnn.training.trainer import fit

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":  # torchrun starts this file as a script
    sys.path.insert(0, str(ROOT))

from tests.helpers import controls, episodes, random_corpus  # noqa: E402

STOP_AT, DIE_AT = 20, 7
SEQUENCES = SequenceTrainConfig(steps=50, batch_size=8, warmup=5, validations=3, precision="float32")


@dataclass(frozen=True)
class Case:
    """A training."""

    model: Model
    train: Any
    valid: Any
    config: TrainConfig


def corpus_of(kind: str) -> Corpus:
    """17 drawings in batches of 8: the last of an epoch has one, and a process that has none."""
    rng = np.random.default_rng(1)
    if kind == "windows":
        return controls((90, 130, 40))
    if kind == "worlds":
        return episodes(tuple(range(5, 22)), posteriors=True)
    return random_corpus([int(n) for n in rng.integers(5, 40, 17)])


def case(kind: str, model: type[MDNRNN] = MDNRNN) -> Case:
    torch.manual_seed(0)
    if kind == "points":
        x = torch.linspace(-1, 1, 65).unsqueeze(1)
        return Case(
            MDN(1, 1, MDNConfig(components=3)),
            Points(x, x.sin()),
            Points(x, x.cos()),
            TrainConfig(steps=50, batch_size=16, precision="float32"),
        )
    corpus, settings = corpus_of(kind), SEQUENCES
    if kind == "windows":
        settings = replace(settings, batch_size=4, window=10, augment_scale=0.0, augment_drop=0.0)
    if kind == "by points":
        settings = replace(settings, by_points=True)
    splits = settings.splits(corpus, Normalizer.from_corpus(corpus))
    return Case(model(StepShape.from_corpus(corpus), MDNRNNConfig(hidden=16, components=3, dropout=0.0)), *splits, settings)


KINDS = ["drawings", "by points", "windows", "worlds", "points"]


class Stops(MDNRNN):
    """The second process receives a signal at step STOP_AT."""

    calls = 0
    number = signal.SIGTERM

    def loss_with_state(self, batch: Batch, carried: Any) -> Loss:
        self.calls += self.training
        if self.calls == STOP_AT and distributed.rank() == 1:
            os.kill(os.getpid(), self.number)
        return super().loss_with_state(batch, carried)


class Dies(Stops):
    """It is killed."""

    number = signal.SIGKILL

    def loss_with_state(self, batch: Batch, carried: Any) -> Loss:
        self.calls += STOP_AT - DIE_AT if self.calls == 0 else 0
        return super().loss_with_state(batch, carried)


def run(told: Case, folder: Path) -> None:
    result = fit(told.model, told.train, told.valid, folder, told.config)
    weights = distributed.gather_objects(dict(told.model.state_dict()))
    same = all(torch.equal(weights[0][name], other[name]) for other in weights for name in other)
    if distributed.rank() == 0:
        interrupted = result.interrupted and int(result.interrupted)
        (folder / "told.json").write_text(json.dumps({"same": same, "interrupted": interrupted}))


def worker(what: str, folder: Path) -> None:
    """What one of the processes does."""
    torch.set_num_threads(1)
    with distributed.process_group():
        if what == "die":
            run(case("drawings", Dies), folder / "died")
        elif what == "break":
            distributed.from_rank_zero(broken)
        else:
            for kind in KINDS:
                run(case(kind), folder / kind)
            for kind in ("drawings", "windows"):
                run(case(kind, Stops), folder / f"{kind} stopped")
            for name, other in others().items():
                run(other, folder / name)


def broken() -> None:
    raise InputError("no such thing, expected another")


def others() -> dict[str, Case]:
    """Models whose noise is each process's own: the weights are the same in all of them none the less."""
    torch.manual_seed(0)
    drawings, lines = corpus_of("drawings"), make_pen_text(1, {"train": 5, "valid": 1, "test": 1})
    config = replace(SEQUENCES, steps=3, batch_size=4)
    sketch = SketchRNN(StepShape.from_corpus(drawings), SketchRNNConfig(encoder=8, hidden=8, latent=4, components=2))
    writing = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=8, window=2, components=2))
    dropping = MDNRNN(StepShape.from_corpus(drawings), MDNRNNConfig(hidden=8, components=2, dropout=0.5))
    return {
        "sketch": Case(sketch, *config.splits(drawings, Normalizer.from_corpus(drawings)), config),
        "writing": Case(writing, *config.splits(lines, Normalizer.from_corpus(lines)), config),
        "dropping": Case(dropping, *config.splits(drawings, Normalizer.from_corpus(drawings)), config),
    }


def torchrun(*arguments: str, script: bool = True) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    what = [str(Path(__file__))] if script else ["-m", "mdnrnn"]
    return subprocess.Popen(
        [*command, *what, *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have trained all the cases."""
    folder = tmp_path_factory.mktemp("two")
    done = torchrun("train", str(folder))
    _, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors
    return folder


def far(one: Path, other: Path) -> float:
    """The largest difference between the weights of two trainings, the last ones and the best."""
    last = [torch.load(folder / CHECKPOINT_FILE, weights_only=True)["model"] for folder in (one, other)]
    best = [load_file(folder / WEIGHTS_FILE) for folder in (one, other)]
    return max(float((a[name] - b[name]).abs().max()) for a, b in (last, best) for name in a)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_come_to_the_weights_of_one(trained: Path, tmp_path: Path, kind: str) -> None:
    run(case(kind), tmp_path)
    assert far(tmp_path, trained / kind) < 1e-5
    one, two = read_metrics(tmp_path), read_metrics(trained / kind)
    assert [line["points"] for line in one] == [line["points"] for line in two]
    for name in ("train_loss", "valid_loss"):
        told = [[line[name] for line in lines if name in line] for lines in (one, two)]
        np.testing.assert_allclose(told[0], told[1], rtol=1e-5)


@pytest.mark.parametrize("kind", ["drawings", "windows"])
def test_what_two_processes_begin_one_ends(trained: Path, tmp_path: Path, kind: str) -> None:
    """Stopped by a signal that one of them received, in the step after it."""
    folder = trained / f"{kind} stopped"
    assert json.loads((folder / "told.json").read_text())["interrupted"] == signal.SIGTERM
    step = torch.load(folder / CHECKPOINT_FILE, weights_only=True)["progress"]["step"]
    assert STOP_AT <= step <= STOP_AT + 1
    run(case(kind), tmp_path)
    run(case(kind), folder)
    assert far(tmp_path, folder) < 1e-5


@pytest.mark.parametrize("kind", [*KINDS, "sketch", "writing", "dropping"])
def test_all_processes_hold_the_same_weights(trained: Path, kind: str) -> None:
    assert json.loads((trained / kind / "told.json").read_text())["same"]


def test_a_killed_process_ends_all_with_its_error(tmp_path: Path) -> None:
    """Within seconds; what was saved is there to go on from."""
    started, done = time.monotonic(), torchrun("die", str(tmp_path))
    _, errors = done.communicate(timeout=60)
    assert done.returncode != 0
    assert time.monotonic() - started < 30  # most of which is the start
    assert "has lost the others" in errors
    assert "Signal 9" in errors
    run(case("drawings"), tmp_path / "died")
    run(case("drawings"), tmp_path / "whole")
    assert far(tmp_path / "died", tmp_path / "whole") < 1e-5


def test_an_error_of_the_first_process_ends_all_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = torchrun("train", "stroke", "--data", "doodles", "--out", str(tmp_path), script=False)
    _, errors = done.communicate(timeout=60)
    assert done.returncode != 0
    assert len(re.findall(r"^error: .* is there already", errors, re.MULTILINE)) == 1


def test_a_training_by_the_command_line_in_two_processes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--steps", "3", "--model.hidden", "8", "--validations", "1"]
    done = torchrun("train", "stroke", "--data", "doodles", "--out", str(out), *options, script=False)
    told, errors = done.communicate(timeout=120)
    assert done.returncode == 0, errors
    assert re.fullmatch(rf"{re.escape(str(out))}: 3 steps, [\d,]+ points in \d+ s, .*\n", told)
    assert {path.name for path in out.iterdir()} >= {
        "config.json",
        WEIGHTS_FILE,
        CHECKPOINT_FILE,
        METRICS_FILE,
        "loss.svg",
        "samples",
    }
    done = torchrun("evaluate", str(out), "--json", script=False)
    told, errors = done.communicate(timeout=120)
    assert done.returncode == 0, errors
    figures = json.loads(told)
    for name, value in asdict(load(out).evaluate()).items():
        if isinstance(value, float):
            assert figures[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_make_up_the_batches(count: int) -> None:
    """Every row is in the share of one process, as it is in the whole: stretched, thinned, drawn alike."""
    for corpus in (corpus_of("drawings"), corpus_of("worlds")):
        config = SequenceTrainConfig(batch_size=8, augment_drop=0.3)
        whole, _ = config.splits(corpus, Normalizer.from_corpus(corpus))
        assert isinstance(whole, Batches)
        shares = [list(whole.shard(rank, count).epoch(4)) for rank in range(count)]
        for number, batch in enumerate(whole.epoch(4)):
            parts = [share[number] for share in shares]
            assert [part.idle for part in parts] == [rank >= batch.size for rank in range(count)]
            parts = [part for part in parts if not part.idle]
            assert sorted(rows_of(batch)) == sorted(row for part in parts for row in rows_of(part))
            assert max(part.size for part in parts) - min(part.size for part in parts) <= 1


def rows_of(batch: Batch) -> list[tuple[int, bytes, bytes]]:
    sequences = batch.indices[batch.sequence_of_row()].tolist()
    rows = zip(sequences, batch.target.motion.numpy(), batch.previous.motion.numpy(), strict=True)
    return [(sequence, target.tobytes(), before.tobytes()) for sequence, target, before in rows]


def test_shares_of_windows_go_on_along_their_own_lanes() -> None:
    corpus = corpus_of("windows")
    whole = Windows(Batches(corpus, "train", Normalizer.from_corpus(corpus), 5), 9, carry=True)
    for rank in range(3):
        for batch, share in zip(whole.epoch(1), whole.shard(rank, 3).epoch(1), strict=True):
            assert batch.continues is not None
            assert share.continues is not None
            if not share.idle:
                assert torch.equal(share.continues, batch.continues[rank::3])
                assert torch.equal(share.indices, batch.indices[rank::3])


@pytest.mark.parametrize(("lanes", "count"), [(7, 2), (6, 3), (2, 4)])
def test_states_are_dealt_out_and_put_together_again(lanes: int, count: int) -> None:
    state = (torch.randn(2, lanes, 3), (torch.randn(1, lanes, 2),))
    parts = [shard_state(state, rank, count) for rank in range(count)]
    again = unshard_state([part if part[0].shape[-2] else None for part in parts])
    assert torch.equal(again[0], state[0])
    assert torch.equal(again[1][0], state[1][0])
    assert unshard_state([None, None]) is None
    assert shard_state(None, 0, 2) is None


def test_alone_nothing_is_sent() -> None:
    assert (distributed.world_size(), distributed.rank()) == (1, 0)
    assert distributed.all_reduce_sum(1.5, 2) == [1.5, 2]
    assert distributed.gather_objects({"a": 1}) == [{"a": 1}]
    assert distributed.from_rank_zero(lambda: "told") == "told"


def test_data_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told = case("drawings")
    monkeypatch.setattr(distributed, "count", lambda: 2)
    with pytest.raises(InputError, match="list was given to 2 processes; expected data that can be shared"):
        fit(told.model, list(told.valid), None, None, told.config)  # type: ignore[arg-type]


if __name__ == "__main__":
    worker(sys.argv[1], Path(sys.argv[2]))
