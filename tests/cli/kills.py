"""Kill a command before its n-th file-system event, in a forked process. Needs POSIX."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "fcntl.flock"}
"""Audit events of Python that are counted if their path is in the watched folder; `os.replace` is an `os.rename`."""
UNKILLED = 1 << 30


def run_in_fork(function: Callable[[], object], folder: Path, kill_at: int = UNKILLED) -> int:
    """Run a function in a forked process that kills itself before the event with index `kill_at`.

    Args:
        function: the function.
        folder: folder whose events are counted, in the main thread only.
        kill_at: index of the event.

    Returns:
        The number of events if the function returned; -1 if the process was killed.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reader)
            _silence()
            count = _count_events(str(folder), kill_at)
            function()
            os.write(writer, str(count()).encode())
            os._exit(0)
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-4000:])
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        output = pipe.read()
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return -1
    assert os.WEXITSTATUS(status) == 0, output
    return int(output)


def _silence() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _count_events(folder: str, kill_at: int) -> Callable[[], int]:
    """Install a hook that counts events and kills this process; return a function that returns the count."""
    count = 0
    fsync = os.fsync

    def add() -> None:
        nonlocal count
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or threading.current_thread() is not threading.main_thread():
            return
        if event == "fcntl.flock" or str(arguments[0]).startswith(folder):
            add()

    def count_fsync(descriptor: int) -> None:
        add()
        fsync(descriptor)

    os.fsync = count_fsync  # type: ignore[assignment]
    sys.addaudithook(audit)
    return lambda: count
