"""Hostile and damaged run folders: every command ends with exit status 2 and one line, in bounded time and memory."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mdnrnn.cli import main
from tests.cli.helpers import train_run
from tests.cli.hostile_runs import Variant, all_variants, window_variants
from tests.helpers import make_controls, random_corpus

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs FIFOs, symbolic links and alarms")
RESUME = "train --resume RUN"
COMMANDS = [
    "generate RUN --out OUT -n 2",
    "evaluate RUN",
    RESUME,
    "reconstruct RUN --out OUT -n 2",
    "interpolate RUN --out OUT",
    "combine RUN --out OUT --plus 0 --minus 1",
    "nearest RUN --out OUT",
    "map RUN --out OUT",
    "respond RUN DATA --out OUT",
]
STEP = 16
"""The fast test checks one of `STEP` variants, with three commands."""
MAX_SECONDS, MAX_BYTES = 60, 300 << 20
"""Time after which a command is assumed to hang, and maximum increase of the memory of all commands together."""


@pytest.fixture(scope="module")
def drawing_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a Sketch-RNN with classes, which all commands but `respond` accept."""
    corpus = random_corpus([5, 9, 4, 7] * 4, classes=("a", "b", "c"))
    sizes = "--model.encoder 4 --model.hidden 8 --model.latent 3 --model.components 2 --batch-size 8"
    options = [*sizes.split(), "--steps", "2", "--validations", "1"]
    return train_run(tmp_path_factory.mktemp("drawings"), corpus, "sketch", *options)


@pytest.fixture(scope="module")
def window_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on windows, whose checkpoint has a carried-over state."""
    options = "--window 10 --model.hidden 8 --model.components 2 --batch-size 4 --steps 6 --validations 1"
    return train_run(tmp_path_factory.mktemp("windows"), make_controls((90, 130, 40)), "gesture-s", *options.split())


@contextmanager
def limited_time() -> Iterator[None]:
    """End this process if the block takes longer than `MAX_SECONDS`, for example because it reads a FIFO."""
    signal.alarm(MAX_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def check(run: Path, variant: Variant, folder: Path, commands: list[str], capsys: Capture) -> None:
    """Apply a variant to a copy of a run and run commands on it."""
    hostile, outside = folder / "hostile", folder / "outside"
    shutil.rmtree(hostile, ignore_errors=True)
    shutil.copytree(run, hostile)
    outside.write_text("outside")
    variant.change(hostile)
    places = {"RUN": str(hostile), "OUT": str(folder / "picture.svg"), "DATA": str(run.parent / "data.npz")}
    for command in commands:
        arguments = [places.get(word, word) for word in command.split()]
        capsys.readouterr()
        with limited_time():
            status = main(arguments)
        out, err = capsys.readouterr()
        if variant.resume_only and command != RESUME:
            assert status == 0, (variant.name, command, err)
            continue
        assert (status, out) == (2, ""), (variant.name, command, err)
        assert err.startswith("error: "), (variant.name, command, err)
        assert err.count("\n") == 1, (variant.name, command, err)
        assert len(err) <= 500 + len(str(hostile)), (variant.name, command, err)
    assert outside.read_text() == "outside", variant.name
    assert not (folder / "ran").exists(), variant.name


def test_there_are_more_than_150_variants_with_different_names(drawing_run: Path) -> None:
    names = [variant.name for variant in [*all_variants(drawing_run), *window_variants()]]
    assert len(set(names)) == len(names) > 150


def test_damaged_run_is_an_error_of_one_line(
    drawing_run: Path, window_run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for run, variants in ((drawing_run, all_variants(drawing_run)), (window_run, [*window_variants()])):
        for variant in variants[::STEP]:
            check(run, variant, tmp_path, [RESUME] if variant.resume_only else COMMANDS[:3], capsys)


@pytest.mark.slow
def test_every_command_on_every_damaged_run_is_an_error_of_one_line_and_takes_little_memory(
    drawing_run: Path, window_run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    intact = Variant("intact", os.stat, resume_only=True)
    check(drawing_run, intact, tmp_path, COMMANDS[:2], capsys)  # imports all modules
    before = peak_memory()
    for variant in all_variants(drawing_run):
        check(drawing_run, variant, tmp_path, [COMMANDS[0], RESUME] if variant.resume_only else COMMANDS, capsys)
    for variant in window_variants():
        check(window_run, variant, tmp_path, [RESUME], capsys)
    assert peak_memory() - before < MAX_BYTES


def peak_memory() -> int:
    """Return the maximum memory that this process has occupied so far, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1 << 10)
