"""Damaged files: how they are damaged, and that who reads them makes drawings of them or says what is wrong."""

import contextlib
import io
import os
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdnrnn.data import formats
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError

EXAMPLES = int(os.environ.get("MDNRNN_FUZZ", "100"))
"""How many damaged files each format is tried with; MANY where there is time."""
MANY = 2000
_TELLING = b"\0\xff<>&\"'-.,:;()[]{}%#*?!=/ \n0123456789eETMmLlAaCcZz"


def write_file(path: Path, data: bytes) -> Path:
    """A file with these bytes, in the folder that it asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def zipped(path: Path, data: bytes, member: str = "train") -> Path:
    """An archive that is whole, with a member that holds these bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{member}.npy", data)
    return path


@dataclass(frozen=True)
class Sample:
    """A good file, to be damaged."""

    name: str
    data: bytes
    write: Callable[[Path, bytes], Path] = write_file
    """From a path and bytes to the path that is to be read."""


def saved(save: Callable[..., object], *arguments: Any, **arrays: Any) -> bytes:
    """What np.save and its like write."""
    file = io.BytesIO()
    save(file, *arguments, **arrays)
    return file.getvalue()


def objects(*records: Any) -> Any:
    """Records of different lengths as NumPy saves them."""
    array = np.empty(len(records), dtype=object)
    array[:] = records
    return array


@contextlib.contextmanager
def in_bounds(seconds: float = 10, memory: int = 1 << 30) -> Iterator[None]:
    """What is done here takes no longer than this, and gets no more memory than this beyond what there is."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, before[1]))
    started = time.monotonic()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.monotonic() - started < seconds


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """A file with bytes flipped or replaced, slices cut out, repeated or elsewhere, the end gone."""
    damaged = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(damaged) - 1, 0)))
        end = place + draw(st.integers(1, 40))
        match draw(st.sampled_from(["byte", "flip", "any", "cut", "twice", "moved", "short"])):
            case "byte":
                damaged[place : place + 1] = bytes([draw(st.sampled_from(_TELLING))])
            case "flip":
                damaged[place : place + 1] = bytes(
                    byte ^ 1 << draw(st.integers(0, 7)) for byte in damaged[place : place + 1]
                )
            case "any":
                damaged[place:end] = draw(st.binary(max_size=8))
            case "cut":
                del damaged[place:end]
            case "twice":
                damaged[end:end] = damaged[place:end]
            case "moved":
                damaged[place:end] = damaged[: end - place]
            case _:
                del damaged[place:]
    return bytes(damaged)


def are_read_or_told(samples: list[Sample], form: str | None, count: int) -> None:
    """So many damaged files: each becomes a corpus that bears a check, or a DataError of one line.

    Args:
        form: the format that they are taken for, whether they are still recognized or not; None: as recognized.
    """

    @settings(max_examples=count, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(samples))
        damaged = data.draw(mutated(sample.data))
        with tempfile.TemporaryDirectory() as folder:
            is_read_or_told(sample.write(Path(folder) / sample.name, damaged), form, Path(folder) / "out")

    run()


def is_read_or_told(path: Path, form: str | None, out: Path) -> None:
    """Recognized, or not, and imported, or not."""
    with contextlib.suppress(DataError):
        formats.recognize(path)
    try:
        report = pipeline.import_corpus([path], out, Recipe(format=form))
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert not out.exists()
        return
    assert report.read == report.kept + sum(count for count, _ in report.dropped.values())
    corpus = pipeline.read(out)
    corpus.check()
    assert len(corpus) == report.kept > 0
