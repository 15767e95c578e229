"""Random damage to valid files, and a check that a damaged file either imports as a valid corpus or is refused."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdnrnn.data import formats
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

EXAMPLES = int(os.environ.get("MDNRNN_FUZZ", "30"))
"""Damaged files per format."""
MANY_EXAMPLES = 2000
"""Damaged files per format in slow tests."""
_SYNTAX_BYTES = b"\0\xff<>&\"'-.,:;()[]{}%#*?!=/ \n0123456789eETMmLlAaCcZz"


def write_file(path: Path, data: bytes) -> Path:
    """Write `data` to `path` and return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@dataclass(frozen=True)
class Sample:
    """A valid file to be damaged."""

    name: str
    data: bytes
    write: Callable[[Path, bytes], Path] = write_file
    """Write the bytes at a path and return the path to import."""


@contextlib.contextmanager
def memory_limit(size: int = 1 << 30) -> Iterator[None]:
    """Limit the address space of this process to `size` bytes more than it has. Without effect on Windows."""
    if resource is None or not Path("/proc/self/statm").exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """Return `data` with 1 to 4 changes: bytes flipped or replaced, slices removed or repeated, or the end cut off."""
    damaged = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(damaged) - 1, 0)))
        end = start + draw(st.integers(1, 40))
        match draw(st.sampled_from(["byte", "flip", "replace", "remove", "repeat", "move", "truncate"])):
            case "byte":
                damaged[start : start + 1] = bytes([draw(st.sampled_from(_SYNTAX_BYTES))])
            case "flip":
                damaged[start : start + 1] = bytes(
                    byte ^ 1 << draw(st.integers(0, 7)) for byte in damaged[start : start + 1]
                )
            case "replace":
                damaged[start:end] = draw(st.binary(max_size=8))
            case "remove":
                del damaged[start:end]
            case "repeat":
                damaged[end:end] = damaged[start:end]
            case "move":
                damaged[start:end] = damaged[: end - start]
            case _:
                del damaged[start:]
    return bytes(damaged)


def check_damaged_files(samples: list[Sample], form: str | None, count: int) -> None:
    """Check `count` damaged files, see `check_damaged_file`.

    Args:
        form: format to import the files as, even if they are not recognized; None: the recognized format.
    """

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(samples))
        damaged = data.draw(damage(sample.data))
        with tempfile.TemporaryDirectory() as folder:
            check_damaged_file(sample.write(Path(folder) / sample.name, damaged), form, Path(folder) / "out")

    run()


def check_damaged_file(path: Path, form: str | None, out: Path) -> None:
    """Check that an import either writes a valid corpus or raises a one-line `DataError` and writes nothing."""
    with contextlib.suppress(DataError):
        formats.recognize_format(path)
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
