"""Helpers of the command-line tests."""

from pathlib import Path

import pytest

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native


def train_run(folder: Path, corpus: Corpus, preset: str, *options: str) -> Path:
    """The run folder that `mdnrnn train PRESET` makes of a corpus."""
    native.write(corpus, folder / "data.npz")
    arguments = ["--data", str(folder / "data.npz"), "--out", str(folder / "run"), *options]
    assert main(["train", preset, *arguments]) == 0
    return folder / "run"


def assert_refused(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, one line on stderr that says `complaint`, nothing on stdout."""
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert complaint in err
