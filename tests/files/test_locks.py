"""Locks: one process at a time in a folder, the holder is named, and the lock of a dead process is free."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mdnrnn.errors import InputError
from mdnrnn.files.locks import LOCK_FILE, LockedError, lock_folder, lock_path

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs fork, links and flock")


@contextmanager
def holder(folder: Path) -> Iterator[int]:
    """Fork a process that holds the lock of a folder until it is killed at the end; yield its process ID."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        with lock_folder(folder):
            os.write(writer, b"locked")
            signal.pause()
    try:
        assert os.read(reader, 6) == b"locked"
        yield process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(reader)
        os.close(writer)


def test_lock_file_contains_the_process_and_is_deleted_at_the_end(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
    assert not list(tmp_path.iterdir())


@posix_only
def test_second_process_is_refused_with_the_process_of_the_holder(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(InputError, match=rf"in use by process {process}; wait until it ends, or stop it"):
            lock_folder(tmp_path).__enter__()
        assert (tmp_path / LOCK_FILE).read_text() == f"{process}\n"


@posix_only
def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path):
        pass
    assert (tmp_path / LOCK_FILE).exists()
    with lock_folder(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
    assert not list(tmp_path.iterdir())


@posix_only
def test_links_and_other_kinds_of_files_are_not_used_as_lock_file(tmp_path: Path) -> None:
    folder, outside = tmp_path / "run", tmp_path / "outside"
    outside.write_text("outside")
    for create in (
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to(outside),
        lambda path: path.hardlink_to(outside),
    ):
        folder.mkdir()
        create(folder / LOCK_FILE)
        with pytest.raises(InputError, match=LOCK_FILE):
            lock_folder(folder).__enter__()
        assert os.path.lexists(folder / LOCK_FILE)
        assert outside.read_text() == "outside"
        (folder / LOCK_FILE).rename(tmp_path / "used")
        folder.rmdir()
        (tmp_path / "used").rmdir() if (tmp_path / "used").is_dir() else (tmp_path / "used").unlink()


@posix_only
def test_path_is_locked_until_the_descriptor_is_closed(tmp_path: Path) -> None:
    for path in (tmp_path / "file", tmp_path / "folder"):
        path.touch() if path.name == "file" else path.mkdir()
        descriptor = lock_path(path)
        assert descriptor is not None
        with pytest.raises(LockedError):
            lock_path(path)
        os.close(descriptor)
        again = lock_path(path)
        assert again is not None
        os.close(again)
    with pytest.raises(LockedError):  # deleted between its creation and the lock
        lock_path(tmp_path / "none")
