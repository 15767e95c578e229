"""Helpers of the command-line tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from defusedxml import ElementTree

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.device import single_thread

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
"""Environment of a process with one thread."""
SVG = "{http://www.w3.org/2000/svg}"
FIRST_BYTES = {
    ".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".gif": b"GIF8", ".npz": b"PK", ".ndjson": b"{",
    ".inkml": b"<?xml",
}  # fmt: skip
"""First bytes of a file by its extension."""


def train_run(folder: Path, corpus: Corpus, preset: str, *options: str) -> Path:
    """Write `corpus` to data.npz in `folder`, train a preset on it with the command, and return the run folder."""
    native.write(corpus, folder / "data.npz")
    arguments = ["--data", str(folder / "data.npz"), "--out", str(folder / "run"), "--device", "cpu", *options]
    with single_thread():  # fixtures of a session run before those that limit the threads of a test
        assert main(["train", preset, *arguments]) == 0
    return folder / "run"


def assert_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Assert that a command exits with status 2 and prints one line with `message` on stderr, nothing on stdout."""
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


@contextmanager
def limit_file_size(max_bytes: int) -> Iterator[None]:
    """Limit the size of the files that this process writes, as on a full disk. Needs POSIX."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def svg_root(path: Path) -> Element:
    """Parse an SVG."""
    root = ElementTree.parse(path).getroot()
    assert root is not None
    return root


def svg_texts(path: Path) -> list[str | None]:
    """Return the texts of an SVG in order."""
    return [text.text for text in svg_root(path).iter(f"{SVG}text")]


def count_paths(path: Path) -> int:
    """Return the number of paths of an SVG."""
    return len(list(svg_root(path).iter(f"{SVG}path")))
