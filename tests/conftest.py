"""Settings and fixtures of all tests: hypothesis profile, one thread, one seed, doodles, the folder of real data."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for subprocesses, too; tests run in parallel

import pytest
import torch
from hypothesis import settings

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic.corpora import make_doodles

torch.set_num_threads(1)  # fixtures of modules and sessions run outside of `_use_one_thread_and_seed`
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

if not torch.cuda.is_available():
    # Without a GPU, kernels are tested in Triton's interpreter; the variable is read on the first import of Triton.
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _use_one_thread_and_seed() -> Iterator[None]:
    """Run each test with one thread and random seed 0."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data; skip the test if there is none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MDNRNN_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set MDNRNN_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def doodles() -> Corpus:
    """Return 20 doodles of each class."""
    return make_doodles(per_class=20, seed=1)


@pytest.fixture
def event_file_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let seconds pass between event files of TensorBoard: they are read in the order of the second in their names."""
    seconds = itertools.count(1_000_000_000)
    clock = SimpleNamespace(time=lambda: float(next(seconds)))
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time", clock)
