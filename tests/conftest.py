"""What tests share: small corpora, a small model, the folder of real data."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic.corpora import make_doodles

if not torch.cuda.is_available():  # kernels are tested in Triton's interpreter; read when Triton is first imported
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _settled() -> Iterator[None]:
    """One thread, one seed."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it skip where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MDNRNN_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set MDNRNN_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def doodles() -> Corpus:
    """A few doodles of each class."""
    return make_doodles(per_class=20, seed=1)
